"""What this machine grants to a scan, and the taking of it: scheduling, locked memory, CPU, timers, idle states.

Everything here is a wish: what is refused is reported with its remedy and the scan runs all the same.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import pathlib
import resource
import struct

FIFO_WATCHDOG = 85
FIFO_TASK_MAX = 80
FIFO_TASK_MIN = 10

_MCL_CURRENT, _MCL_FUTURE = 1, 2
_PR_SET_TIMERSLACK = 29
_CAP_IPC_LOCK, _CAP_SYS_NICE = 14, 23
_DMA_LATENCY = pathlib.Path("/dev/cpu_dma_latency")


@dataclasses.dataclass(frozen=True, slots=True)
class Grant:
    """One thing that a scan wants of the machine; ``remedy`` says how to get it, "" = nothing to do."""

    name: str
    granted: bool
    detail: str
    remedy: str = ""


def fifo_priorities(priorities: list[int]) -> dict[int, int]:
    """SCHED_FIFO priority of each IEC priority: 0, the highest of IEC, comes first; equals stay equal."""
    ranks = sorted(set(priorities))
    return {priority: max(FIFO_TASK_MAX - rank, FIFO_TASK_MIN) for rank, priority in enumerate(ranks)}


# ---------------------------------------------------------------- taking


def lock_memory() -> Grant:
    """Keeps all pages of this process, present and future, in memory."""
    remedy = "give the service LimitMEMLOCK=infinity (ulimit -l unlimited)"
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY and not _has_capability(_CAP_IPC_LOCK):
        # Locking under a limit would make later allocations fail: worse than not locking.
        return Grant("locked memory", False, f"limit {soft} bytes", remedy)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) != 0:
        return Grant("locked memory", False, os.strerror(ctypes.get_errno()), remedy)
    return Grant("locked memory", True, "all pages, stacks included")


def set_fifo(priority: int) -> Grant:
    """Gives the calling thread SCHED_FIFO."""
    try:
        # The kernel's "process" is the calling thread.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        remedy = "give the service LimitRTPRIO=95 (ulimit -r 95) or CAP_SYS_NICE"
        return Grant("real-time scheduling", False, error.strerror or str(error), remedy)
    return Grant("real-time scheduling", True, f"SCHED_FIFO {priority}")


def set_affinity(cpu: int) -> Grant:
    """Pins the calling thread to a CPU."""
    try:
        os.sched_setaffinity(0, {cpu})
    except (OSError, ValueError) as error:
        return Grant("CPU affinity", False, f"CPU {cpu}: {error}", "name a CPU that exists and is allowed")
    return Grant("CPU affinity", True, f"CPU {cpu}")


def set_timer_slack() -> Grant:
    """Lets timers of the calling thread end at once; the kernel groups them within 50 µs otherwise."""
    libc = ctypes.CDLL(None, use_errno=True)
    granted = libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0) == 0
    return Grant("timer slack", granted, "1 ns" if granted else os.strerror(ctypes.get_errno()))


def hold_dma_latency() -> tuple[int | None, Grant]:
    """Forbids deep idle states while the returned file descriptor is open."""
    try:
        descriptor = os.open(_DMA_LATENCY, os.O_WRONLY | os.O_CLOEXEC)
        os.write(descriptor, struct.pack("<i", 0))
    except OSError as error:
        remedy = f"give the service's user write access to {_DMA_LATENCY}, or boot with idle=poll"
        return None, Grant("shallow idle states", False, error.strerror or str(error), remedy)
    return descriptor, Grant("shallow idle states", True, f"{_DMA_LATENCY} held at 0 µs")


# ---------------------------------------------------------------- looking


def examine() -> tuple[Grant, ...]:
    """What the machine would grant to a process like this one, without taking anything."""
    return (
        _examine_kernel(),
        _examine_fifo(),
        _examine_memory(),
        _examine_isolation(),
        _examine_governor(),
        _examine_idle(),
        _examine_throttling(),
    )


def _examine_kernel() -> Grant:
    realtime = _read("/sys/kernel/realtime") == "1"
    version = os.uname()
    remedy = "install a kernel with PREEMPT_RT (Debian: linux-image-rt-amd64) for bounded latency"
    return Grant(
        "PREEMPT_RT kernel", realtime, f"{version.release} {version.version}", "" if realtime else remedy
    )


def _examine_fifo() -> Grant:
    soft, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    granted = _has_capability(_CAP_SYS_NICE) or soft >= FIFO_WATCHDOG
    detail = "CAP_SYS_NICE" if _has_capability(_CAP_SYS_NICE) else f"RLIMIT_RTPRIO {soft}"
    remedy = "" if granted else "give the service LimitRTPRIO=95 (ulimit -r 95) or CAP_SYS_NICE"
    return Grant("real-time scheduling", granted, detail, remedy)


def _examine_memory() -> Grant:
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    granted = soft == resource.RLIM_INFINITY or _has_capability(_CAP_IPC_LOCK)
    detail = "CAP_IPC_LOCK" if _has_capability(_CAP_IPC_LOCK) else f"RLIMIT_MEMLOCK {soft}"
    return Grant(
        "locked memory", granted, detail, "" if granted else "give the service LimitMEMLOCK=infinity"
    )


def _examine_isolation() -> Grant:
    isolated = _read("/sys/devices/system/cpu/isolated")
    cpus = os.cpu_count() or 1
    remedy = f"boot with isolcpus={cpus - 1} nohz_full={cpus - 1} and set cpu = {cpus - 1} for the task"
    return Grant("isolated CPU", bool(isolated), isolated or f"none of {cpus}", "" if isolated else remedy)


def _examine_governor() -> Grant:
    governor = _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    granted = governor in ("", "performance")
    remedy = "" if granted else "cpupower frequency-set --governor performance"
    return Grant("constant CPU frequency", granted, governor or "not scaled by this kernel", remedy)


def _examine_idle() -> Grant:
    granted = os.access(_DMA_LATENCY, os.W_OK)
    remedy = "" if granted else f"give the service's user write access to {_DMA_LATENCY}"
    return Grant("shallow idle states", granted, str(_DMA_LATENCY), remedy)


def _examine_throttling() -> Grant:
    runtime_us = _read("/proc/sys/kernel/sched_rt_runtime_us")
    detail = f"sched_rt_runtime_us {runtime_us or 'unknown'}"
    # The default leaves 5 % of each second to others: a rescue that a node with a watchdog may keep.
    return Grant("no throttling of real-time threads", runtime_us == "-1", detail, "")


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return ""


def _has_capability(bit: int) -> bool:
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> bit & 1)
    return False
