"""Memory of the evaluator: pointers into the block or into a call's own bytes, and what is read and written there."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

from programs import hir
from programs.evaluate_values import Number, wrap
from programs.layout import is_aggregate, scalar_type
from scan.abi import NUMPY_TYPE, Fault, IecType

_FORMATS = {
    "u1": "<B", "<i1": "<b", "<u2": "<H", "<i2": "<h", "<u4": "<I", "<i4": "<i", "<u8": "<Q", "<i8": "<q",
    "<f4": "<f", "<f8": "<d",
}  # fmt: skip


class FaultError(Exception):
    """A program fault with the place where it happened."""

    def __init__(self, fault: Fault, pou: str, line: int, detail: int = 0) -> None:
        super().__init__(fault.name, pou, line, detail)
        self.fault, self.pou, self.line, self.detail = fault, pou, line, detail


@dataclass(slots=True)
class Pointer:
    """Bytes at an offset of a buffer; ``bit`` for a located BOOL, ``part`` (width, index) for a part of a value."""

    memory: np.ndarray  # uint8[n]
    offset: int
    bit: int = -1
    part: tuple[int, int, hir.Type] | None = None
    bounds: tuple[tuple[int, int], ...] = ()
    terminator: tuple[int, int] | None = None  # offset and width of the zero that ends the string indexed
    through: tuple[int, int] | None = (
        None  # reference and line: of what it leads to, the end is not checked yet
    )

    def plus(self, offset: int) -> Pointer:
        return Pointer(self.memory, self.offset + offset, through=self.through)

    def take(self, size: int) -> bytes:
        return self.memory[self.offset : self.offset + size].tobytes()

    def put(self, data: bytes) -> None:
        self.memory[self.offset : self.offset + len(data)] = np.frombuffer(data, np.uint8)


@dataclass(frozen=True, slots=True)
class InterfaceValue:
    offset: int
    number: int


@dataclass(slots=True)
class AggregateValue:
    """A copy of the bytes of a structure, array or instance."""

    data: bytes
    bounds: tuple[tuple[int, int], ...] = field(default=())


# Strings are Python texts whose characters are the codes in memory.
Value = Number | str | InterfaceValue | AggregateValue


def number(value: Value) -> Number:
    """The value where the tree guarantees a number."""
    assert isinstance(value, int | float)
    return value


def integer(value: Value) -> int:
    return int(number(value))


def room(size: int) -> Pointer:
    return Pointer(np.zeros(max(size, 1), np.uint8), 0)


def read(pointer: Pointer, kind: hir.Type, size: int) -> Value:
    """The value of a place; ``size`` is that of the type."""
    if pointer.part is not None:
        width, index, whole = pointer.part
        base = Pointer(pointer.memory, pointer.offset, pointer.bit)
        whole_value = integer(read(base, whole, size))
        return whole_value >> (width * index) & ((1 << width) - 1)
    if isinstance(kind, hir.String):
        return read_text(pointer, kind)
    if isinstance(kind, hir.Interface):
        return InterfaceValue(*struct.unpack("<qq", pointer.take(16)))
    if is_aggregate(kind):
        return AggregateValue(pointer.take(size), pointer.bounds)
    base_kind = _scalar(kind)
    if pointer.bit >= 0:
        return int(pointer.memory[pointer.offset]) >> pointer.bit & 1
    form = _FORMATS[NUMPY_TYPE[base_kind]]
    value: Number = struct.unpack(form, pointer.take(struct.calcsize(form)))[0]
    return int(value != 0) if base_kind is IecType.BOOL else value


def read_text(pointer: Pointer, kind: hir.String) -> str:
    size = (kind.length + 1) * (2 if kind.wide else 1)
    codes = np.frombuffer(pointer.take(size), "<u2" if kind.wide else np.uint8)
    text = []
    for code in codes:
        if not code:
            break
        text.append(chr(code))
    return "".join(text)


def write_text(pointer: Pointer, kind: hir.String, text: str) -> None:
    """Truncating, zeros behind."""
    codes = np.zeros(kind.length + 1, "<u2" if kind.wide else np.uint8)
    mask = 0xFFFF if kind.wide else 0xFF
    for index, character in enumerate(text[: kind.length]):
        codes[index] = ord(character) & mask
    pointer.put(codes.tobytes())


def write(pointer: Pointer, kind: hir.Type, value: Value) -> None:
    if pointer.part is not None:
        _write_part(pointer, integer(value))
    elif isinstance(kind, hir.String):
        assert isinstance(value, str)
        write_text(pointer, kind, value)
    elif isinstance(value, InterfaceValue):
        pointer.put(struct.pack("<qq", value.offset, value.number))
    elif isinstance(value, AggregateValue):
        pointer.put(value.data)
    elif pointer.bit >= 0:
        byte = int(pointer.memory[pointer.offset])
        mask = 1 << pointer.bit
        pointer.memory[pointer.offset] = byte | mask if value else byte & ~mask
    else:
        assert not isinstance(value, str)
        pointer.put(struct.pack(_FORMATS[NUMPY_TYPE[_scalar(kind)]], wrap(_scalar(kind), value)))
        if pointer.terminator is not None:
            end, size = pointer.terminator
            pointer.memory[end : end + size] = 0


def _write_part(pointer: Pointer, value: int) -> None:
    assert pointer.part is not None
    width, index, whole = pointer.part
    base = Pointer(pointer.memory, pointer.offset, pointer.bit)
    size = np.dtype(NUMPY_TYPE[_scalar(whole)]).itemsize
    mask = ((1 << width) - 1) << (width * index)
    old = integer(read(base, whole, size))
    write(base, whole, wrap(_scalar(whole), (old & ~mask) | (value << (width * index) & mask)))


def _scalar(kind: hir.Type) -> IecType:
    found = scalar_type(kind)
    assert found is not None
    return found
