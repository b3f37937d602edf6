"""The producer's end of a command lane: writes, groups and forces, each acknowledged with the scan of its effect."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np

from scan import layout as w
from scan.abi import IecType, Symbol
from scan.problem import TickworkError, fail
from scan.segments import LANE_SIZE, Segment, fence, lane_path, open_segment
from scan.state import Ack, AckStatus
from scan.values import encode_value
from scan.view import NodeView, bit_mask

LANES = ("gate", "parent")
WHO_SIZE, WHY_SIZE = 24, 40
_UNFORCEABLE = (IecType.STRING, IecType.WSTRING, IecType.REF)


class CommandLane:
    """One producer process a lane. Every method returns the id that ``poll`` acknowledges, or raises before anything
    is sent. Nothing here waits: a full lane raises SC2004."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        commands = int(segment.words[w.L_COMMANDS_OFFSET])
        acks = int(segment.words[w.L_ACKS_OFFSET])
        self._commands = segment.bytes_at(commands, w.COMMANDS_MAX * w.COMMAND_SIZE).view(w.COMMAND_DTYPE)
        self._acks = segment.bytes_at(acks, w.ACKS_MAX * w.ACK_SIZE).view(w.ACK_DTYPE)
        self._slots: dict[tuple[int, str], int] = {}

    @classmethod
    def open(cls, directory: pathlib.Path, lane: str) -> CommandLane:
        """Opens a lane and forgets acknowledgements for a predecessor. Raises TickworkError SC1001–SC1004."""
        path = lane_path(directory, lane)
        segment = open_segment(path, w.KIND_LANE, size_min=LANE_SIZE, writable=True)
        segment.words[w.L_ACK_HEAD] = segment.words[w.L_ACK_TAIL]
        return cls(segment)

    # ------------------------------------------------------------ commands

    def write(self, view: NodeView, symbol: Symbol, value: object) -> int:
        """Writes a variable at the next scan boundary. Raises SC2002 (not writable), SC2003 (value), SC2004 (full)."""
        return self.write_group(view, {symbol: value})

    def write_group(
        self,
        view: NodeView,
        values: Mapping[Symbol, object],
        *,
        expected: Mapping[Symbol, object] | None = None,
    ) -> int:
        """Writes all values in one scan, or none if a variable in ``expected`` holds something else."""
        for symbol in values:
            _require_writable(symbol)
        rows = self._rows(view, w.COMMAND_EXPECT, expected or {}) + self._rows(view, w.COMMAND_WRITE, values)
        return self._send(rows)

    def force(
        self, view: NodeView, symbol: Symbol, value: object, *, owner: str, reason: str, lease_s: float = 0
    ) -> int:
        """Holds a variable until the lease ends (0: until released). Raises SC2003, SC2004, SC2007, SC2008."""
        if symbol.dims or symbol.type in _UNFORCEABLE or symbol.constant or symbol.access == "none":
            remedy = "force single numbers, times and BOOLs"
            raise fail(
                "SC2007",
                f"{symbol.path} cannot be forced",
                found=symbol.type_name or symbol.type.name,
                remedy=remedy,
            )
        texts = _text("owner", owner, WHO_SIZE) + _text("reason", reason, WHY_SIZE)
        row = self._row(view, w.COMMAND_FORCE, symbol, 0, encode_value(symbol, value).ljust(8, b"\0") + texts)
        row["size"] = symbol.size if symbol.bit < 0 else 1
        row["lease_ns"] = int(lease_s * 1e9)
        return self._send([row])

    def unforce(self, view: NodeView, symbol: Symbol) -> int:
        """Releases a variable; acknowledged NOT_FORCED if it was not held."""
        return self._send([self._row(view, w.COMMAND_UNFORCE, symbol, 0, encode_nothing(symbol))])

    def reset_statistics(self, view: NodeView) -> int:
        row = np.zeros((), w.COMMAND_DTYPE)
        row["generation"], row["kind"] = view.generation, w.COMMAND_RESET_STATISTICS
        return self._send([row])

    # ------------------------------------------------------------ acknowledgements

    def poll(self) -> list[Ack]:
        """The acknowledgements that have come since the last call, in order."""
        words = self._segment.words
        head, tail = int(words[w.L_ACK_HEAD]), int(words[w.L_ACK_TAIL])
        fence()
        acks = []
        for position in range(head, tail):
            identity, status, scan, task = self._acks[position & (w.ACKS_MAX - 1)].item()
            acks.append(Ack(identity, AckStatus(status), scan, task))
        fence()
        words[w.L_ACK_HEAD] = tail
        return acks

    @property
    def waiting(self) -> int:
        """Records that the scan has not taken yet."""
        return int(self._segment.words[w.L_COMMAND_TAIL] - self._segment.words[w.L_COMMAND_HEAD])

    # ------------------------------------------------------------ records

    def _rows(self, view: NodeView, kind: int, values: Mapping[Symbol, object]) -> list[np.ndarray]:
        rows = []
        for symbol, value in values.items():
            data = encode_value(symbol, value)
            for start in range(0, len(data), w.COMMAND_DATA_SIZE):
                part = data[start : start + w.COMMAND_DATA_SIZE]
                rows.append(self._row(view, kind, symbol, start, part))
        return rows

    def _row(self, view: NodeView, kind: int, symbol: Symbol, start: int, data: bytes) -> np.ndarray:
        row = np.zeros((), w.COMMAND_DTYPE)
        row["generation"], row["kind"], row["more"] = view.generation, kind, 1
        row["offset"], row["mask"] = symbol.offset + start, bit_mask(symbol)
        row["size"] = len(data)
        row["owner"] = self._slot(view, symbol.owner)
        row["data"] = data.ljust(w.COMMAND_DATA_SIZE, b"\0")
        return row

    def _slot(self, view: NodeView, task: str) -> int:
        """Slot of the task that owns a symbol; -1 for the shared part."""
        if not task:
            return -1
        key = (view.generation, task)
        if key not in self._slots:
            self._slots = {(view.generation, name): slot for name, slot in view.task_slots().items()}
        return self._slots[key]

    def _send(self, rows: list[np.ndarray]) -> int:
        """Puts a group into the ring and shows it at once."""
        if not rows:
            raise fail("SC2005", "a group without a value", expected="at least one variable")
        if len(rows) > w.GROUP_MAX:
            raise fail(
                "SC2005", "the group is too large", expected=f"{w.GROUP_MAX} records", found=str(len(rows))
            )
        if len({int(row["owner"]) for row in rows if row["owner"] >= 0}) > 1:
            remedy = "write the variables of each task in a group of its own"
            raise fail("SC2006", "the group spans variables of several tasks", remedy=remedy)
        words = self._segment.words
        tail = int(words[w.L_COMMAND_TAIL])
        if tail + len(rows) - int(words[w.L_COMMAND_HEAD]) > w.COMMANDS_MAX:
            raise fail(
                "SC2004", "the command lane is full", remedy="wait for acknowledgements; is a task running?"
            )
        rows[-1]["more"] = 0
        for number, row in enumerate(rows):
            row["id"] = tail + 1
            self._commands[(tail + number) & (w.COMMANDS_MAX - 1)] = row
        fence()
        words[w.L_COMMAND_TAIL] = tail + len(rows)
        return tail + 1


def encode_nothing(symbol: Symbol) -> bytes:
    return bytes(1 if symbol.bit >= 0 else min(symbol.size, 8))


def _require_writable(symbol: Symbol) -> None:
    if symbol.access != "rw" or symbol.constant:
        raise fail(
            "SC2002",
            f"{symbol.path} cannot be written from outside",
            expected='access "rw"',
            found=f'access "{symbol.access}"' + (", constant" if symbol.constant else ""),
            remedy="declare it with {attribute 'access' := 'rw'}, or force it",
        )


def _text(name: str, text: str, size: int) -> bytes:
    data = text.encode()
    if not data or len(data) > size:
        remedy = "say who forces and why, briefly"
        expected = f"1 to {size} bytes"
        raise fail(
            "SC2008",
            f"the {name} of a force is missing or too long",
            expected=expected,
            found=text,
            remedy=remedy,
        )
    return data.ljust(size, b"\0")


__all__ = ["LANES", "CommandLane", "TickworkError"]
