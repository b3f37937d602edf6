"""Virtual time: the production scan without a clock, for unit tests of programs, simulation and replay."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from scan import layout as w
from scan.abi import Application, Symbol
from scan.engine_memory import EngineMemory, SlotTable, install_plan
from scan.native import NativeEngine, load_engine
from scan.online_change import Plan, make_plan
from scan.problem import fail
from scan.program import Program, address_of, all_tasks, check_application, make_area
from scan.scan_limit import limit_scans
from scan.segments import Bytes
from scan.state import AckStatus, NodeState
from scan.values import Value, encode_value, read_value
from scan.view import bit_mask

if TYPE_CHECKING:
    from scan.loader import LoadedCode


@dataclasses.dataclass(frozen=True, slots=True)
class ProgramFault:
    code: str  # "RF1001"
    pou: str
    file: str
    line: int
    detail: int


@dataclasses.dataclass(frozen=True, slots=True)
class ScanResult:
    scan: int
    fault: ProgramFault | None


class VirtualEngine:
    """One application in virtual time. Not for several threads.

    ``entries`` maps the entry names of the tasks to addresses of native code; without it the application's own object
    code is loaded. ``slots`` are those of the tasks in the process that wrote the records to be replayed.
    Raises TickworkError SC3002, SC3003.
    """

    def __init__(
        self,
        application: Application,
        *,
        entries: Mapping[str, int] | None = None,
        native: NativeEngine | None = None,
        cache: pathlib.Path | None = None,
        slots: Mapping[str, int] | None = None,
    ) -> None:
        self._native = native or load_engine(cache)
        self._memory = EngineMemory(clocked=False)
        self._slots = SlotTable(slots)
        self._lane = np.zeros(
            w.LANE_HEADER_SIZE // 8 + (w.COMMANDS_MAX * w.COMMAND_SIZE + w.ACKS_MAX * w.ACK_SIZE) // 8,
            np.int64,
        )
        self._memory.words[w.E_LANES] = address_of(self._lane)
        self._generation = 0
        self.busy = False
        self._code: list[LoadedCode] = []  # must live as long as the engine that calls it
        self._program = self._load(application, entries)
        self._install()
        limit_scans(self)

    def _load(self, application: Application, entries: Mapping[str, int] | None) -> Program:
        check_application(application)
        names = [spec.name for spec in all_tasks(application)]
        used = list(self._program.tasks) if self._generation else []
        slots = self._slots.claim(names, used)
        self._memory.words[w.E_SLOTS_USED] = max(slots.values()) + 1
        self._generation += 1
        if entries is None:
            code, entries = load_code(application)
            self._code.append(code)
        slim = msgspec.structs.replace(application, object_code=b"")
        return Program(slim, entries, slots, generation=self._generation)

    def _install(self) -> None:
        words = self._memory.words
        words[w.E_PROGRAM] = address_of(self._program.words)
        words[w.E_STATE] = int(NodeState.RUNNING)

    # ------------------------------------------------------------ state

    @property
    def application(self) -> Application:
        return self._program.application

    @property
    def state(self) -> NodeState:
        """RUNNING or TRIAL; FAULT after a fault until ``reset``."""
        return NodeState(int(self._memory.words[w.E_STATE]))

    @property
    def block(self) -> Bytes:
        """The state block itself, not a copy: what it shows changes with the next scan."""
        return self._program.block

    @property
    def generation(self) -> int:
        """The number that commands must carry."""
        return self._generation

    @property
    def inputs(self) -> bytes:
        """The true %I, without forces."""
        return self._program.inputs_good().tobytes()

    @property
    def force_table(self) -> bytes:
        """The forces, as ``restore`` takes them."""
        return self._program.force_table()

    @property
    def task_slots(self) -> dict[str, int]:
        return {name: task.slot for name, task in self._program.tasks.items()}

    @property
    def scan_count(self) -> int:
        return int(self._memory.words[w.E_SCAN])

    def symbol(self, path: str) -> Symbol:
        """A variable by its path, case-insensitive. Raises TickworkError SC2001."""
        for symbol in self._program.application.symbols:
            if symbol.path.upper() == path.upper():
                return symbol
        raise fail("SC2001", f"unknown variable {path}", found=self._program.application.name)

    def reset(self) -> None:
        """A cold start: initial values, no forces; scan numbers go on."""
        self._program.reset(())
        self._install()

    def restore(
        self,
        image: bytes,
        *,
        forces: bytes = b"",
        inputs: bytes | None = None,
        scan: int = 0,
        first_scan: bool = False,
        generation: int = 0,
    ) -> None:
        """The state of a checkpoint: block, force table (``Snapshot.force_table``), true inputs (default:
        those in the block), number of the last scan, generation that recorded commands carry (0: that of this engine).

        Raises TickworkError SC3003 when the sizes do not fit.
        """
        if (
            len(image) != len(self.block)
            or len(forces) % w.FORCE_SIZE
            or len(forces) > w.FORCES_MAX * w.FORCE_SIZE
        ):
            expected = f"{len(self.block)} bytes"
            raise fail(
                "SC3003", "a checkpoint of another size", expected=expected, found=f"{len(image)} bytes"
            )
        self._program.restore(image, forces, first_scan=first_scan)
        if inputs is not None:
            self.set_inputs(inputs)
        self._generation = generation or self._generation
        self._program.words[w.Q_GENERATION] = self._generation
        self._memory.words[w.E_SCAN] = scan
        self._memory.words[w.E_RUNNING] = 0
        self._memory.slots[:, w.X_STARTED_NS] = 0
        self._lane[w.L_COMMAND_HEAD] = self._lane[w.L_COMMAND_TAIL]
        self._install()

    def digest(self) -> str:
        """Hex SHA-256 of the whole block: equal digests, equal states."""
        return hashlib.sha256(self.block.tobytes()).hexdigest()

    # ------------------------------------------------------------ scans

    def scan(
        self, now_ns: int, *, inputs: bytes | None = None, wall_ns: int = 0, task: str = ""
    ) -> ScanResult:
        """One scan of a task (the first one without a name) at IEC time ``now_ns``, with %I as given or as it was.

        Raises TickworkError SC3004 after a fault, until ``reset``.
        """
        if inputs is not None:
            self.set_inputs(inputs)
        memory = self._program.tasks[task or next(iter(self._program.tasks))]
        slot = self._memory.slot_address(memory.slot)
        self.busy = True
        code = self._native.scan(self._memory.address, slot, now_ns, wall_ns)
        self.busy = False
        if code == -1:
            raise fail("SC3004", "the program has stopped with a fault", remedy="reset it")
        return ScanResult(self.scan_count, self._fault(code) if code else None)

    def replay(self, records: bytes | memoryview) -> int:
        """Runs ring records (layout.RECORD_*) in compiled code; bytes consumed.

        Stops before a START or FAULT record, one that is not whole, and one that cannot run (a fault before it); with
        several tasks the last scans stay open until ``flush``.
        """
        data = np.frombuffer(records, np.uint8)
        if int(data.ctypes.data) % 8:
            data = make_area(len(data))[: len(data)]
            data[:] = np.frombuffer(records, np.uint8)
        self.busy = True
        used = self._native.replay(self._memory.address, address_of(data), len(data))
        self.busy = False
        return used

    def abort(self) -> None:
        """From another thread: a scan that runs now ends with a fault, as by the watchdog."""
        for memory in self._program.tasks.values():
            memory.context[:4] = (1, 0, 0, 0)

    def flush(self) -> None:
        """Ends the scans that ``replay`` has left open: the state after the last record."""
        self._native.flush(self._memory.address)

    @property
    def last_fault(self) -> ProgramFault | None:
        """The last fault since this engine was made."""
        words = self._memory.words
        return self._fault(int(words[w.E_FAULT_CODE])) if words[w.E_FAULTS] else None

    def set_inputs(self, inputs: bytes) -> None:
        good = self._program.inputs_good()
        if len(inputs) > len(good):
            raise fail(
                "SC3003",
                "more inputs than the program has",
                expected=f"{len(good)} bytes",
                found=str(len(inputs)),
            )
        good[: len(inputs)] = np.frombuffer(inputs, np.uint8)

    def set_input(self, path: str, value: object) -> None:
        """Sets a variable of the input image for the scans to come."""
        symbol = self.symbol(path)
        start = symbol.offset - self.application.inputs.offset
        if not 0 <= start < self.application.inputs.size:
            raise fail("SC2002", f"{path} is no input", remedy="write it instead")
        poke(self._program.inputs_good(), start, symbol, value)

    def _fault(self, code: int) -> ProgramFault:
        words = self._memory.words
        pou = int(words[w.E_FAULT_POU])
        application = self.application
        known = 0 <= pou < len(application.pous)
        return ProgramFault(
            code=f"RF{code:04}",
            pou=application.pous[pou] if known else "",
            file=application.pou_files[pou] if known and pou < len(application.pou_files) else "",
            line=int(words[w.E_FAULT_LINE]),
            detail=int(words[w.E_FAULT_DETAIL]),
        )

    # ------------------------------------------------------------ variables

    def read(self, path: str) -> Value:
        symbol = self.symbol(path)
        return read_value(self._program.block_of(symbol), symbol)

    def write(self, path: str, value: object) -> None:
        """Sets a variable between two scans, whatever its access; inputs by ``set_input``. Raises SC2003."""
        symbol = self.symbol(path)
        poke(self._program.block, symbol.offset, symbol, value)
        for memory in self._program.tasks.values():
            poke(memory.block, symbol.offset, symbol, value)

    def force(self, path: str, value: object, *, lease_ns: int = 0) -> None:
        """Holds a variable from the next scan on, for ``lease_ns`` of virtual time (0: until released)."""
        symbol = self.symbol(path)
        data = encode_value(symbol, value)[:8].ljust(8, b"\0")
        self._command(w.COMMAND_FORCE, symbol, data, lease_ns)

    def unforce(self, path: str) -> None:
        self._command(w.COMMAND_UNFORCE, self.symbol(path), bytes(8), 0)

    def _command(self, kind: int, symbol: Symbol, data: bytes, lease_ns: int) -> None:
        row = np.zeros((), w.COMMAND_DTYPE)
        row["generation"], row["kind"], row["lease_ns"] = self._generation, kind, lease_ns
        row["offset"], row["mask"] = symbol.offset, bit_mask(symbol)
        row["size"] = 1 if symbol.bit >= 0 else min(symbol.size, 8)
        task = self._program.tasks.get(symbol.owner)
        row["owner"] = task.slot if task else -1
        row["data"] = data.ljust(w.COMMAND_DATA_SIZE, b"\0")
        self.submit(row.tobytes())

    def submit(self, command: bytes) -> None:
        """Puts a command record (layout.COMMAND_DTYPE) before the next scan, as a recording gives it."""
        tail = int(self._lane[w.L_COMMAND_TAIL])
        start = w.LANE_HEADER_SIZE + (tail & (w.COMMANDS_MAX - 1)) * w.COMMAND_SIZE
        self._lane.view(np.uint8)[start : start + w.COMMAND_SIZE] = np.frombuffer(command, np.uint8)
        self._lane[w.L_COMMAND_TAIL] = tail + 1

    def acks(self) -> list[tuple[AckStatus, int]]:
        """Status and scan of the commands since the last call."""
        head, tail = int(self._lane[w.L_ACK_HEAD]), int(self._lane[w.L_ACK_TAIL])
        start = (w.LANE_HEADER_SIZE + w.COMMANDS_MAX * w.COMMAND_SIZE) // 8
        rows = self._lane[start:].reshape(-1, w.ACK_SIZE // 8)
        self._lane[w.L_ACK_HEAD] = tail
        return [
            (AckStatus(int(rows[position & (w.ACKS_MAX - 1), 1])), int(rows[position & (w.ACKS_MAX - 1), 2]))
            for position in range(head, tail)
        ]

    # ------------------------------------------------------------ online change

    def swap(
        self,
        application: Application,
        now_ns: int,
        *,
        entries: Mapping[str, int] | None = None,
        renames: Mapping[str, str] | None = None,
        trial_scans: int = 0,
        slots: Mapping[str, int] | None = None,
        generation: int = 0,
    ) -> Plan:
        """Exchanges the program before the next scan, as the clocked engine does between two.

        ``slots`` and ``generation`` are those of a recorded exchange.
        """
        old = self._program
        if slots is not None:
            self._slots = SlotTable(slots)
        if generation:
            self._generation = generation - 1
        program = self._load(application, entries)
        slots = self._slots.claim(list(program.tasks), list(old.tasks))
        plan = make_plan(old.application, application, slots, renames=renames, single=len(program.tasks) == 1)
        install_plan(program, plan)
        self._native.exchange(self._memory.address, address_of(program.words), trial_scans, now_ns)
        self._previous, self._program = old, program
        return plan

    def follow(self) -> bool:
        """After a scan on trial: True when it has brought the previous program back."""
        if int(self._memory.words[w.E_PROGRAM]) == address_of(self._program.words):
            return False
        self._program, self._previous = self._previous, self._program
        return True


def poke(block: Bytes, offset: int, symbol: Symbol, value: object) -> None:
    """Writes a value into bytes at ``offset``, a bit without touching its neighbours."""
    data = encode_value(symbol, value)
    mask = bit_mask(symbol)
    if mask:
        block[offset] = int(block[offset]) & ~mask & 0xFF | (mask if data[0] else 0)
    else:
        block[offset : offset + len(data)] = np.frombuffer(data, np.uint8)


def load_code(application: Application) -> tuple[LoadedCode, dict[str, int]]:
    """The application's own object code in this process, and the addresses of its entries."""
    from scan.loader import load

    code = load(application)
    return code, {task.entry: code.entry(task.entry) for task in application.tasks}
