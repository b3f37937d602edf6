"""The owner of the compiled engine in a process: its memory, its threads, the program that it runs.

Theory. Python prepares everything (allocations, files, tables, threads) in ordinary time and hands addresses over; the
native threads never call back. What they report (faults, alarms, the end of a trial) is found by ``poll`` in words.

Invariants. Memory that native code may touch is referenced from here until no thread can hold its address: a replaced
program is dropped once its trial is over and the watchdog has gone round since.
"""

from __future__ import annotations

import os
import pathlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from scan import layout as w
from scan import realtime
from scan.abi import Application, Symbol, encode_application
from scan.engine_memory import OWNER_SLOT, WATCH_PERIOD_NS, WATCH_SLOT, EngineMemory, SlotTable, install_plan
from scan.lane import LANES
from scan.native import NativeEngine
from scan.online_change import Begin, Change, Plan, make_plan, tell_begin, tell_change
from scan.problem import TickworkError, fail
from scan.program import (
    Program,
    SafeValue,
    TaskOptions,
    address_of,
    all_tasks,
    check_application,
    make_words,
)
from scan.segments import (
    LANE_SIZE,
    RECORDS_SIZE,
    Segment,
    create_lane,
    create_node,
    create_records,
    generation_path,
    inputs_path,
    lane_path,
    node_path,
    open_segment,
    records_path,
)
from scan.state import FaultRecord, NodeState, require_transition

GRID_LEAD_NS = 5_000_000  # from start to the first grid point: time for the threads to come up
THREAD_STACK = 1 << 20
LEAD_PERIODS = 8  # a cyclic task wakes up at most this part of its period before it is due


class Engine:
    """Runs programs against the clock, in the segments of a directory. One a process, driven from one thread."""

    def __init__(
        self,
        native: NativeEngine,
        directory: pathlib.Path,
        *,
        use_realtime: bool = True,
        lead_ns: int = 50_000,
    ) -> None:
        self.native = native
        self.directory = directory
        self.memory = EngineMemory(clocked=True)
        self.grants: list[realtime.Grant] = []
        self._realtime, self._lead_ns = use_realtime, lead_ns
        self._slots = SlotTable()
        self._threads: dict[int, threading.Thread] = {}
        self._program: Program | None = None
        self._previous: Program | None = None
        self._dropped: list[tuple[int, Program]] = []
        self._options: dict[str, TaskOptions] = {}
        self._inputs: tuple[Segment, object] | None = None
        self._old_inputs: list[tuple[Segment, object]] = []
        self._seen_faults = 0
        self._hung = False
        self._map_files()
        self._watchdog = threading.Thread(target=self._run_watchdog, name="watchdog", daemon=True)
        self._watchdog.start()

    # ------------------------------------------------------------ files

    def _map_files(self) -> None:
        words = self.memory.words
        self.node = _open_or_create(
            node_path(self.directory), w.KIND_NODE, w.NODE_SIZE, lambda: create_node(self.directory)
        )
        self._generation = self._last_generation()
        self.node.words[w.N_STATE : w.N_FAULT_GENERATION + 1] = 0
        self.node.words[w.N_PID], self.node.words[w.N_STARTED_WALL_NS] = os.getpid(), time.time_ns()
        self.lanes = [_open_lane(self.directory, lane) for lane in LANES]
        self.records = _open_or_create(
            records_path(self.directory), w.KIND_RECORDS, RECORDS_SIZE, lambda: create_records(self.directory)
        )
        words[w.E_NODE], words[w.E_RECORDS] = self.node.address, self.records.address
        words[w.E_LANES], words[w.E_LANE_PARENT] = (lane.address for lane in self.lanes)

    def _last_generation(self) -> int:
        """The highest generation of a predecessor, whose files go."""
        last = int(self.node.words[w.N_GENERATION])
        for path in self.directory.glob("*.[0-9]*"):
            if path.suffix[1:].isdigit():
                last = max(last, int(path.suffix[1:]))
        return last

    # ------------------------------------------------------------ program

    @property
    def state(self) -> NodeState:
        return NodeState(int(self.memory.words[w.E_STATE]))

    @property
    def program(self) -> Program | None:
        return self._program

    @property
    def generation(self) -> int:
        """Number of the running or loaded program, 0 = none."""
        return int(self.node.words[w.N_GENERATION])

    def load(
        self,
        application: Application,
        entries: Mapping[str, int],
        *,
        safe: Sequence[SafeValue] = (),
        options: Mapping[str, TaskOptions] | None = None,
    ) -> int:
        """Takes a program in, stopped, with safe outputs; its generation. Raises SC3003, SC3004, SC3007."""
        require_transition(self.state, "load")
        self._options = dict(options or {})
        self._join()
        program = self._make_program(application, entries, safe)
        old = self._program
        self._program = program
        self.memory.words[w.E_PREVIOUS] = self.memory.words[w.E_TRIAL_LEFT] = 0
        self.memory.words[w.E_PROGRAM] = address_of(program.words)
        self._publish(NodeState.STOPPED)
        self.node.words[w.N_GENERATION] = program.generation
        self._drop(old)
        self._remove_older(program.generation)
        return program.generation

    def _make_program(
        self, application: Application, entries: Mapping[str, int], safe: Sequence[SafeValue]
    ) -> Program:
        check_application(application)
        names = [spec.name for spec in all_tasks(application)]
        used = list(self._program.tasks) if self._program else []
        slots = self._slots.claim(names, used)
        self.memory.words[w.E_SLOTS_USED] = max(slots.values()) + 1
        generation = self._generation + 1
        slim = msgspec.structs.replace(application, object_code=b"")
        path = generation_path(self.directory, "application", generation)
        temporary = path.with_name(f".{path.name}")
        temporary.write_bytes(encode_application(slim))
        temporary.replace(path)
        try:
            program = Program(
                slim,
                entries,
                slots,
                generation=generation,
                directory=self.directory,
                safe=safe,
                options=self._options,
            )
        except TickworkError:
            self._unlink(generation)
            raise
        self._generation = generation
        return program

    def _publish(self, state: NodeState, *, safe: bool = True) -> None:
        self.native.publish_state(
            self.memory.address, self.memory.slot_address(OWNER_SLOT), int(state), safe=safe
        )

    def _drop(self, program: Program | None) -> None:
        """Removes the files of a program now and its memory when no native thread can still see it."""
        if program is not None:
            self._unlink(program.generation)
            self._dropped.append((time.monotonic_ns(), program))

    def _remove_older(self, generation: int) -> None:
        """Files of a predecessor that crashed; until now they showed its last state."""
        for path in self.directory.glob("*.[0-9]*"):
            if path.suffix[1:].isdigit() and int(path.suffix[1:]) < generation:
                path.unlink(missing_ok=True)

    def _unlink(self, generation: int) -> None:
        for name in ("application", "outputs", "snapshot", "stats"):
            generation_path(self.directory, name, generation).unlink(missing_ok=True)

    # ------------------------------------------------------------ running

    def start(self, retained: Iterable[tuple[int, bytes]] = ()) -> None:
        """Starts with initial values and the retained ones. Raises SC3004 unless a program is loaded and stopped."""
        require_transition(self.state, "start")
        program = self._program
        assert program is not None, "only an empty node has no program"
        if self._hung:
            raise fail("SC3004", "a task does not end", remedy="restart the scan process")
        self._join()
        program.reset(retained)
        program.has_run = True
        self._attach_inputs()
        words = self.memory.words
        if words[w.E_EPOCH_NS] == 0:
            words[w.E_EPOCH_NS] = time.monotonic_ns() + GRID_LEAD_NS
        words[w.E_STOP] = words[w.E_SNAPSHOT_DUE_NS] = words[w.E_RECORDS_SEEN] = 0
        words[w.E_RECORDS_CUT] = 1
        self._tell_begin(program)
        words[w.E_STATE] = self.node.words[w.N_STATE] = int(NodeState.RUNNING)
        for task in program.tasks.values():
            self._start_thread(program, task.spec.name)

    def _tell_begin(self, program: Program) -> None:
        slots = {name: task.slot for name, task in program.tasks.items()}
        block, scan = program.block.tobytes(), int(self.memory.words[w.E_SCAN])
        tell_begin(self.directory, Begin(program.generation, program.application.digest, scan, block, slots))

    def _start_thread(self, program: Program, name: str) -> None:
        task = program.tasks[name]
        slot = self.memory.slots[task.slot]
        period_ns = int(task.words[w.K_PERIOD_NS])
        epoch_ns = int(self.memory.words[w.E_EPOCH_NS])
        earliest_ns = max(time.monotonic_ns() + GRID_LEAD_NS, epoch_ns)
        slot[w.X_DUE_NS] = epoch_ns + -(-(earliest_ns - epoch_ns) // period_ns) * period_ns
        slot[w.X_STOP] = slot[w.X_STARTED_NS] = slot[w.X_ABORTED_NS] = 0
        slot[w.X_ACTIVE] = 1
        before = threading.stack_size(THREAD_STACK)
        thread = threading.Thread(
            target=self._run_task, args=(program, name), name=f"task {name}", daemon=True
        )
        thread.start()
        threading.stack_size(before)
        self._threads[task.slot] = thread

    def _run_task(self, program: Program, name: str) -> None:
        task = program.tasks[name]
        if self._realtime and task.spec.kind != "free":
            priorities = realtime.fifo_priorities([one.spec.priority for one in program.tasks.values()])
            granted = realtime.set_fifo(priorities[task.spec.priority])
            self._note(granted)
            self._note(realtime.set_timer_slack())
            row = task.slot * w.TASK_STATS_WORDS + w.T_REALTIME
            program.stats_words[row] = priorities[task.spec.priority] if granted.granted else 0
            if granted.granted and task.spec.kind == "cyclic":
                task.words[w.K_LEAD_NS] = min(task.spec.period_ns // LEAD_PERIODS, self._lead_ns)
        cpu = self._options.get(name, TaskOptions()).cpu
        if cpu >= 0:
            self._note(realtime.set_affinity(cpu))
        self.native.run(self.memory.address, self.memory.slot_address(task.slot))
        self.memory.slots[task.slot, w.X_ACTIVE] = 0

    def _run_watchdog(self) -> None:
        if self._realtime:
            self._note(realtime.set_fifo(realtime.FIFO_WATCHDOG))
        self.native.watch(self.memory.address, self.memory.slot_address(WATCH_SLOT))

    def _note(self, grant: realtime.Grant) -> None:
        if grant not in self.grants:
            self.grants.append(grant)

    def stop(self) -> None:
        """Ends the tasks at their boundaries and makes the outputs safe. Raises SC3004 without a running program."""
        require_transition(self.state, "stop")
        self._join()
        if int(self.memory.words[w.E_STATE]) != NodeState.FAULT:
            self.memory.words[w.E_PREVIOUS] = self.memory.words[w.E_TRIAL_LEFT] = 0
            self._publish(NodeState.STOPPED)

    def _join(self) -> None:
        self.memory.words[w.E_STOP] = 1
        for slot in self._threads:
            self.memory.wake(slot)
        tasks = self._program.tasks.values() if self._program else ()
        limit_ns = 2 * max((int(task.words[w.K_WATCHDOG_NS]) for task in tasks), default=0)
        for thread in self._threads.values():
            thread.join(limit_ns / 1e9 + 1)
            self._hung = self._hung or thread.is_alive()
        self._threads.clear()

    def close(self) -> None:
        """Stops everything; the node stays visible as stopped."""
        if self.state in (NodeState.RUNNING, NodeState.TRIAL):
            self.stop()
        self.memory.words[w.E_WATCH_STOP] = 1
        self._watchdog.join(1)

    # ------------------------------------------------------------ exchange

    def swap(
        self,
        application: Application,
        entries: Mapping[str, int],
        *,
        safe: Sequence[SafeValue] = (),
        options: Mapping[str, TaskOptions] | None = None,
        renames: Mapping[str, str] | None = None,
        trial_scans: int = 0,
        health: str = "",
    ) -> tuple[Plan, int]:
        """Exchanges the running program between two scans; what was carried over and the pause in ns.

        Raises SC3004 unless a program runs and is not on trial, SC3005 when no moment between scans was found.
        """
        require_transition(self.state, "swap on trial" if trial_scans else "swap")
        old = self._program
        assert old is not None, "what runs is a program"
        self._options = dict(options or self._options)
        program = self._make_program(application, entries, safe)
        slots = self._slots.claim(list(program.tasks), list(old.tasks))
        single = len(program.tasks) == 1
        plan = make_plan(old.application, application, slots, renames=renames, single=single)
        install_plan(program, plan)
        if health:
            program.set_health(find_health(application, health), slots)
        names = (program.application.digest, old.application.digest)
        change = Change(
            program.generation, names[0], old.generation, names[1], slots, dict(renames or {}), trial_scans
        )
        tell_change(self.directory, change)
        address = address_of(program.words)
        owner = self.memory.slot_address(OWNER_SLOT)
        pause_ns = self.native.swap(self.memory.address, owner, address, trial_scans)
        if pause_ns == 0:
            self._drop(program)
            remedy = "the tasks leave no moment between scans: lengthen a period, or stop and load"
            raise fail("SC3005", "the exchange found no moment between two scans", remedy=remedy)
        program.has_run = True
        self._program, self._previous = program, old
        for name, task in program.tasks.items():
            if not self.memory.slots[task.slot, w.X_ACTIVE]:
                self._start_thread(program, name)
        return plan, pause_ns

    # ------------------------------------------------------------ what happened

    def poll(self) -> list[dict[str, object]]:
        """What the native threads have done since the last call, as events; looks after inputs and old memory."""
        events = self._poll_inputs() + self._poll_trial() + self._poll_faults()
        beat_ns = int(self.memory.words[w.E_WATCH_BEAT_NS])
        self._dropped = [(when, one) for when, one in self._dropped if beat_ns < when + 2 * WATCH_PERIOD_NS]
        alarms = int(self.memory.words[w.E_OVERRUN_ALARMS])
        if alarms:
            self.memory.words[w.E_OVERRUN_ALARMS] -= alarms
            events.append({"event": "overrun", "alarms": alarms})
        if self._hung or self.memory.words[w.E_HUNG]:
            self._hung = True
            events.append({"event": "hung"})
        return events

    def _poll_faults(self) -> list[dict[str, object]]:
        words = self.memory.words
        count = int(words[w.E_FAULTS])
        if count == self._seen_faults:
            return []
        self._seen_faults = count
        return [
            {
                "event": "fault",
                "fault": msgspec.to_builtins(self._show_fault()),
                "state": self.state.name.lower(),
            }
        ]

    def _show_fault(self) -> FaultRecord:
        """Writes the last fault with its names where readers find it."""
        words, node = self.memory.words, self.node
        programs = [one for one in (self._program, self._previous, *(old for _, old in self._dropped)) if one]
        generation = int(words[w.E_FAULT_GENERATION])
        application = next((one.application for one in programs if one.generation == generation), None)
        pou = int(words[w.E_FAULT_POU])
        known = application is not None and 0 <= pou < len(application.pous)
        names = {task.slot: name for one in programs for name, task in one.tasks.items()}
        record = FaultRecord(
            code=f"RF{int(words[w.E_FAULT_CODE]):04}",
            task=names.get(int(words[w.E_FAULT_TASK]), ""),
            pou=application.pous[pou] if known and application else "",
            file=application.pou_files[pou]
            if known and application and pou < len(application.pou_files)
            else "",
            line=int(words[w.E_FAULT_LINE]),
            detail=int(words[w.E_FAULT_DETAIL]),
            scan=int(words[w.E_FAULT_SCAN]),
            wall_ns=int(words[w.E_FAULT_WALL_NS]),
            generation=generation,
        )
        for index, text in enumerate((record.task, record.pou, record.file)):
            data = text.encode()[: w.NODE_TEXT_SIZE].ljust(w.NODE_TEXT_SIZE, b"\0")
            node.bytes_at(w.NODE_TEXTS + index * w.NODE_TEXT_SIZE, w.NODE_TEXT_SIZE)[:] = bytearray(data)
        node.words[w.N_FAULT_CODE : w.N_FAULT_GENERATION + 1] = (
            words[w.E_FAULT_CODE], record.line, record.detail, record.scan, record.wall_ns, generation,
        )  # fmt: skip
        node.words[w.N_FAULTS] += 1
        return record

    def _poll_trial(self) -> list[dict[str, object]]:
        """Notices the end of a trial: the program that lost goes."""
        if self._previous is None or self._program is None or self.memory.words[w.E_PREVIOUS] != 0:
            return []
        current = int(self.node.words[w.N_GENERATION])
        rolled_back = current == self._previous.generation
        if rolled_back:
            self._program, self._previous = self._previous, self._program
        loser, self._previous = self._previous, None
        for name, task in loser.tasks.items():
            if name not in self._program.tasks:
                self._retire_thread(task.slot)
        self._poll_stopped()
        self._drop(loser)
        return [
            {"event": "swap", "state": "rolled_back" if rolled_back else "running", "generation": current}
        ]

    def _retire_thread(self, slot: int) -> None:
        self.memory.slots[slot, w.X_STOP] = 1
        self.memory.wake(slot)
        thread = self._threads.pop(slot, None)
        if thread is not None:
            thread.join(1)

    def _poll_stopped(self) -> None:
        """Tasks of the running program that left while the other program had no use for them."""
        assert self._program is not None
        for name, task in self._program.tasks.items():
            if not self.memory.slots[task.slot, w.X_ACTIVE] and self.state == NodeState.RUNNING:
                self._start_thread(self._program, name)

    # ------------------------------------------------------------ inputs

    def _poll_inputs(self) -> list[dict[str, object]]:
        changed = self._attach_inputs()
        seen = int(self.memory.words[w.E_INPUTS_SEEN])
        current = int(self.memory.words[w.E_INPUTS])
        if seen == current:
            self._old_inputs.clear()
        return [{"event": "inputs", "attached": True}] if changed else []

    def _attach_inputs(self) -> bool:
        """Maps the inputs file when the field process has made another one."""
        path = inputs_path(self.directory)
        try:
            inode = path.stat().st_ino
        except FileNotFoundError:
            return False
        if self._inputs is not None and self._inputs[0].inode == inode:
            return False
        try:
            segment = open_segment(path, w.KIND_INPUTS, size_min=w.INPUTS_HEADER_SIZE)
        except TickworkError:
            return False
        size = min(int(segment.words[w.I_IMAGE_SIZE]), len(segment.data) - w.INPUTS_HEADER_SIZE)
        attachment = make_words(w.ATTACHMENT_WORDS)
        attachment[w.J_SEGMENT] = segment.address
        attachment[w.J_IMAGE] = segment.address + w.INPUTS_HEADER_SIZE
        attachment[w.J_SIZE] = max(size, 0)
        if self._inputs is not None:
            self._old_inputs.append(self._inputs)
        self._inputs = (segment, attachment)
        self.memory.words[w.E_INPUTS] = address_of(attachment)
        return True


def find_health(application: Application, path: str) -> Symbol:
    for symbol in application.symbols:
        if symbol.path.upper() == path.upper() and symbol.size == 1 and not symbol.dims:
            return symbol
    raise fail(
        "SC2001", f"unknown health variable {path}", expected="a BOOL", remedy="name a BOOL of the program"
    )


def _open_lane(directory: pathlib.Path, lane: str) -> Segment:
    return _open_or_create(
        lane_path(directory, lane), w.KIND_LANE, LANE_SIZE, lambda: create_lane(directory, lane)
    )


def _open_or_create(path: pathlib.Path, kind: int, size: int, create: Callable[[], Segment]) -> Segment:
    """The file of a predecessor, or a new one when there is none that can be used."""
    try:
        return open_segment(path, kind, size_min=size, writable=True)
    except TickworkError:
        return create()
