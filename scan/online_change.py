"""What an online change carries over: a list of moves from the old block to the new one, by path and type.

Rules. A variable is carried over when the new program has one of the same path (or of the path that a rename names) and
the same type, or a larger one that holds every value of the old one (``INT`` to ``DINT``, ``UINT`` to ``DINT``,
``INT`` to ``REAL``, ``WORD`` to ``DWORD``). A variable of any other type, and a new one, starts with its initial value.
Process images and markers are carried by address. References are translated to the new places; one whose target
is gone becomes NULL.

The list is made before the exchange, in ordinary time; the exchange itself copies memory and nothing else.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

import msgspec

from scan import layout as w
from scan.abi import Application, IecType, Region, Symbol
from scan.segments import begin_path, change_path

SHARED = -1
CHANGES_KEPT = 16  # their descriptions outlive their programs, until the recorder has come by
_SCALAR_ARRAYS = (IecType.STRING, IecType.WSTRING)
_SIGNED = (IecType.SINT, IecType.INT, IecType.DINT, IecType.LINT)
_UNSIGNED = (IecType.USINT, IecType.UINT, IecType.UDINT, IecType.ULINT)
_BITS = (IecType.BYTE, IecType.WORD, IecType.DWORD, IecType.LWORD)
_REAL_BITS = {IecType.REAL: 16, IecType.LREAL: 32}  # widest integer of a standard width that it holds exactly


@dataclasses.dataclass(frozen=True, slots=True)
class Move:
    """Bytes of the old program and where they go; slots as the engine numbers tasks, -1 the shared part."""

    source: int
    target: int
    size: int
    source_slot: int
    target_slot: int
    convert: int = 0  # layout.M_CONVERT


class Change(msgspec.Struct, frozen=True):
    """An online change: what a replay needs to make it too. Generations number the programs of a node's run."""

    generation: int
    application: str  # digest
    previous: int  # generation
    previous_application: str
    slots: dict[str, int]  # of the tasks of both programs
    renames: dict[str, str] = {}
    trial_scans: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    moves: tuple[Move, ...]
    references: tuple[
        tuple[int, int, int], ...
    ]  # (slot, offset, old slot) of REF variables that were carried
    carried: int  # variables
    initial: tuple[str, ...]  # paths that start with their initial value
    dropped: tuple[str, ...]  # paths of the old program that nothing takes over


def make_plan(
    old: Application,
    new: Application,
    slots: Mapping[str, int],
    *,
    renames: Mapping[str, str] | None = None,
    single: bool = True,
) -> Plan:
    """The moves from ``old`` to ``new``; ``renames`` maps new paths to old ones; ``slots`` cover the tasks of both."""
    former = {symbol.path.upper(): symbol for symbol in old.symbols}
    names = {to.upper(): source.upper() for to, source in (renames or {}).items()}
    moves, references, initial = _image_moves(old, new), [], []
    taken: set[str] = set()
    for symbol in new.symbols:
        path = names.get(symbol.path.upper(), symbol.path.upper())
        source = former.get(path)
        if symbol.location:
            taken.add(path)
        elif source is None or source.location or not can_carry(source, symbol):
            initial.append(symbol.path)
        else:
            taken.add(path)
            if not symbol.constant:
                move = _move(source, symbol, slots)
                moves.append(move)
                if symbol.type == IecType.REF:
                    references += _references(symbol, move)
    dropped = tuple(symbol.path for path, symbol in former.items() if path not in taken)
    if not single:
        moves += _master_moves(moves)
        references += [(SHARED, offset, slot) for target, offset, slot in references if target != SHARED]
    ordered = merge_moves(moves)
    return Plan(ordered, tuple(references), len(taken), tuple(initial), dropped)


def is_same_type(old: Symbol, new: Symbol) -> bool:
    """Same elementary type, bounds and length: the bytes mean the same."""
    if old.type != new.type or old.size != new.size or old.bit != new.bit:
        return False
    if old.dims != new.dims or (old.type in _SCALAR_ARRAYS and old.length != new.length):
        return False
    # Enumerations are carried when every old name keeps its number.
    return not old.enum_values or set(old.enum_values) <= set(new.enum_values)


def can_carry(old: Symbol, new: Symbol) -> bool:
    return is_same_type(old, new) or conversion(old, new) != 0


def conversion(old: Symbol, new: Symbol) -> int:
    """How a scalar becomes one of a larger type, as ``layout.M_CONVERT`` tells the engine; 0 = it does not."""
    if old.dims or new.dims or old.enum_values or new.enum_values or old.bit >= 0 or new.bit >= 0:
        return 0
    rule = _rule(old.type, new.type)
    return rule and rule | new.size << 8


def _rule(old: IecType, new: IecType) -> int:
    if (old, new) == (IecType.REAL, IecType.LREAL):
        return w.CONVERT_REAL
    if old in _BITS and new in _BITS and _BITS.index(old) < _BITS.index(new):
        return w.CONVERT_UNSIGNED
    signed = old in _SIGNED
    if not signed and old not in _UNSIGNED:
        return 0
    bits = 8 << (_SIGNED if signed else _UNSIGNED).index(old)
    if new in _REAL_BITS and bits <= _REAL_BITS[new]:
        return w.CONVERT_SIGNED_TO_REAL if signed else w.CONVERT_UNSIGNED_TO_REAL
    larger_signed = new in _SIGNED and 8 << _SIGNED.index(new) > bits
    larger_unsigned = not signed and new in _UNSIGNED and 8 << _UNSIGNED.index(new) > bits
    if larger_signed or larger_unsigned:
        return w.CONVERT_SIGNED if signed else w.CONVERT_UNSIGNED
    return 0


def _image_moves(old: Application, new: Application) -> list[Move]:
    pairs = ((old.inputs, new.inputs), (old.outputs, new.outputs), (old.markers, new.markers))
    return [_region_move(before, after) for before, after in pairs if min(before.size, after.size) > 0]


def _region_move(old: Region, new: Region) -> Move:
    return Move(old.offset, new.offset, min(old.size, new.size), SHARED, SHARED)


def _move(old: Symbol, new: Symbol, slots: Mapping[str, int]) -> Move:
    convert = 0 if is_same_type(old, new) else conversion(old, new)
    source, target = slots.get(old.owner, SHARED), slots.get(new.owner, SHARED)
    return Move(old.offset, new.offset, old.size, source, target, convert)


def _references(symbol: Symbol, move: Move) -> list[tuple[int, int, int]]:
    return [
        (move.target_slot, offset, move.source_slot)
        for offset in range(symbol.offset, symbol.offset + symbol.size, 8)
    ]


def _master_moves(moves: list[Move]) -> list[Move]:
    """With several tasks the master block shows the instances as well: it gets the same bytes."""
    return [dataclasses.replace(move, target_slot=SHARED) for move in moves if move.target_slot != SHARED]


def merge_moves(moves: list[Move]) -> tuple[Move, ...]:
    """Sorted by old slot and place, as the engine searches them; neighbours that stay neighbours become one."""
    merged: list[Move] = []
    for move in sorted(moves, key=lambda one: (one.source_slot, one.source, one.target_slot, one.target)):
        last = merged[-1] if merged else None
        if (
            last is not None
            and (last.source_slot, last.target_slot) == (move.source_slot, move.target_slot)
            and last.source + last.size == move.source
            and last.target + last.size == move.target
            and last.convert == move.convert == 0
        ):
            merged[-1] = dataclasses.replace(last, size=last.size + move.size)
        else:
            merged.append(move)
    return tuple(merged)


class Begin(msgspec.Struct, frozen=True):
    """The state with which a program was started, before its first scan."""

    generation: int
    application: str  # digest
    scan: int  # the last one before it
    block: bytes
    slots: dict[str, int]


def tell_begin(directory: pathlib.Path, begin: Begin) -> None:
    """Leaves it for a recorder: the first scans are over before one could look."""
    _leave(begin_path(directory), begin)


def read_begin(directory: pathlib.Path) -> Begin | None:
    """The last start, if the scan process has told of one."""
    try:
        return msgspec.msgpack.decode(begin_path(directory).read_bytes(), type=Begin)
    except (OSError, msgspec.MsgspecError):
        return None


def _leave(path: pathlib.Path, what: msgspec.Struct) -> None:
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(msgspec.msgpack.encode(what))
    temporary.replace(path)


def tell_change(directory: pathlib.Path, change: Change) -> None:
    """Leaves for a recorder what an exchange does, before it happens: it may be over in a few scans."""
    _leave(change_path(directory, change.generation), change)
    change_path(directory, change.generation - CHANGES_KEPT).unlink(missing_ok=True)


def read_change(directory: pathlib.Path, generation: int) -> Change | None:
    """How that program took over, if it did so online and the scan process still tells."""
    try:
        return msgspec.msgpack.decode(change_path(directory, generation).read_bytes(), type=Change)
    except (OSError, msgspec.MsgspecError):
        return None
