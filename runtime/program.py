"""A built program on its way to the scan process: artifact, native code, plant configuration, kept values."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import msgspec

from runtime.plant import Plant, TaskOverride
from runtime.retain import Restored
from runtime.state import write_atomically
from scan.abi import Application, decode_application, encode_application
from scan.problem import Place, fail

Message = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """``plant`` is the artifact's, with what belongs to the node itself taken from the node's own plant file."""

    artifact: str  # digest
    path: pathlib.Path  # encoded Application
    application: Application  # with object code: as long as it is needed to write the prepared file
    plant: Plant

    @property
    def name(self) -> str:
        return self.application.name

    @property
    def digest(self) -> str:
        return self.application.digest

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(task.name for task in self.application.tasks)

    def safe_values(self) -> list[Message]:
        """Declared safe values of the outputs, in the form that the scan process takes."""
        return [
            {"offset": channel.offset, "bit": channel.bit, "value": channel.safe.hex()}
            for channel in self.plant.io_map().outputs
            if channel.safe
        ]

    def task_options(self) -> Message:
        """Options of each task: its own [[task]] table first, else what [scan] says for all."""
        section = self.plant.scan
        own = {override.name.upper(): override for override in self.plant.tasks}
        options: Message = {}
        for index, task in enumerate(self.application.tasks):
            one = own.get(task.name.upper(), TaskOverride(task.name))
            cpu = section.cpus[index % len(section.cpus)] if section.cpus else -1
            options[task.name] = {
                "watchdog_ms": section.watchdog_ms if one.watchdog_ms is None else one.watchdog_ms,
                "cpu": cpu if one.cpu is None else one.cpu,
                "overrun_limit": one.overrun_limit,
                "overrun_action": one.overrun_action,
            }
        return options

    def trial_scans(self) -> int:
        """How many scans of the fastest task fill the trial time of the plant file."""
        periods = [task.period_ns for task in self.application.tasks if task.kind == "cyclic"]
        return max(int(self.plant.scan.trial_s * 1e9 / min(periods, default=10_000_000)), 1)

    def renames_from(self, running: Application | None) -> dict[str, str]:
        """New path -> old path. A rename stays in the plant file when it is done: what is gone is not asked for."""
        known = {symbol.path.upper() for symbol in running.symbols} if running is not None else set()
        return {
            new: old
            for old, new in self.plant.change.renames
            if old.upper() in known and new.upper() not in known
        }

    def prepare(self, target: pathlib.Path, restored: Restored) -> None:
        """Writes what the scan process loads: the application with the kept values in its initial block."""
        application = msgspec.structs.replace(
            self.application, image=with_values(self.application.image, restored)
        )
        write_atomically(target, encode_application(application), durable=False)


def with_values(image: bytes, restored: Restored) -> bytes:
    """An initial block with kept values in it."""
    block = bytearray(image)
    for offset, data in restored.pairs:
        block[offset : offset + len(data)] = data
    for offset, bit, value in restored.bits:
        block[offset] = block[offset] & ~(1 << bit) | value << bit
    return bytes(block)


def read_application(path: pathlib.Path) -> Application:
    """Raises PL3001 when the file is damaged (the cache is then of no use)."""
    try:
        return decode_application(path.read_bytes())
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise fail(
            "PL3001", "the compiled program cannot be read", place=Place(str(path)), found=str(error),
            remedy="delete the folder `cache` in the state directory; it is made anew",
        ) from error  # fmt: skip
