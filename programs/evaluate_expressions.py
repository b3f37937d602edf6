"""Places and expressions of the evaluator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from programs import hir
from programs.blocks import Block
from programs.evaluate_intrinsics import intrinsic
from programs.evaluate_memory import (
    FaultError,
    InterfaceValue,
    Pointer,
    Value,
    integer,
    read,
    read_text,
    room,
)
from programs.evaluate_values import (
    FLOATS,
    UNSIGNED,
    compare,
    convert,
    float_operation,
    integer_operation,
    library,
    wrap,
)
from programs.layout import BlockLayout, Types, is_aggregate, scalar_type
from programs.layout_symbols import default_value, encode_string
from programs.stdlib import HELPERS
from scan.abi import HEADER_SIZE, Fault, IecType, Symbol

if TYPE_CHECKING:
    from programs.evaluate import Frame

_TIME_NAMES = {
    IecType.TIME: "time", IecType.LTIME: "time", IecType.DATE: "date", IecType.LDATE: "date", IecType.TOD: "tod",
    IecType.LTOD: "tod", IecType.DT: "dt", IecType.LDT: "dt",
}  # fmt: skip


class Expressions:
    """Evaluates in the frame on top of the stack."""

    program: hir.Program
    layout: BlockLayout
    types: Types
    symbols: dict[str, Symbol]
    block: np.ndarray
    context: Any
    blocks: dict[str, Block]
    frames: list[Frame]
    # In-outs of blocks while they run: by offset of the instance and id of the variable.
    bound: dict[tuple[int, int], Pointer] = {}  # noqa: RUF012

    def fail(self, fault: Fault, line: int, detail: int = 0) -> FaultError:
        raise NotImplementedError

    def call(self, call: hir.Call) -> Value | None:
        raise NotImplementedError

    def read(self, pointer: Pointer, kind: hir.Type) -> Value:
        return read(pointer, kind, self.types.size(kind))

    # -- places

    def place(self, place: hir.Place) -> Pointer:
        """Where a place is. Of what a reference leads to, the part that is meant must lie in the block."""
        pointer = self._path(place)
        if pointer.through is not None:
            reference, line = pointer.through
            if pointer.offset + self.types.size(place.type) > self.layout.size:
                raise self.fail(Fault.NULL_REFERENCE, line, reference)
            pointer.through = None
        return pointer

    def _base(self, place: hir.Place) -> Pointer:
        return self._path(place) if isinstance(place.type, hir.Array | hir.Struct) else self.place(place)

    def _path(self, place: hir.Place) -> Pointer:
        match place:
            case hir.VariablePlace(variable=variable):
                return self.variable(variable)
            case hir.ThisPlace():
                this = self.frames[-1].this
                assert this is not None
                return this
            case hir.MemberPlace(base=base, member=name):
                return self._base(base).plus(self.types.member(base.type, name).offset)
            case hir.IndexPlace():
                return self._element(place)
            case hir.DerefPlace(reference=reference, line=line):
                value = self.value(reference)
                offset = value.offset if isinstance(value, InterfaceValue) else integer(value)
                return Pointer(self.block, self.follow(offset, 1, line).offset, through=(offset, line))
            case hir.PartPlace(base=base, width=width, index=index):
                whole = self.place(base)
                return Pointer(whole.memory, whole.offset, whole.bit, (width, index, base.type))

    def follow(self, offset: int, size: int, line: int) -> Pointer:
        if not HEADER_SIZE <= offset <= self.layout.size - size:
            raise self.fail(Fault.NULL_REFERENCE, line, offset)
        return Pointer(self.block, offset)

    def variable(self, variable: hir.Variable) -> Pointer:
        frame = self.frames[-1]
        if id(variable) in frame.places:
            return frame.places[id(variable)]
        offset = self.layout.offsets.get(id(variable))
        if offset is not None:
            return Pointer(self.block, offset, variable.location.bit if variable.location else -1)
        if variable.storage is hir.Storage.INOUT_PARAMETER:
            assert frame.this is not None
            found = self.bound.get((frame.this.offset, id(variable)))
            if found is None:
                raise self.fail(Fault.NULL_REFERENCE, frame.pou.line)
            return found
        return self._member(variable, frame)

    def _member(self, variable: hir.Variable, frame: Frame) -> Pointer:
        owner = frame.pou.owner or frame.pou.key
        if variable.storage is hir.Storage.CONSTANT and (
            frame.this is None or (variable in frame.pou.variables and frame.pou.owner)
        ):
            from programs.layout_symbols import Image

            image = Image(self.layout, {})
            image.data = bytearray(self.types.size(variable.type))
            image.write(0, variable.type, variable.init)
            pointer = room(len(image.data))
            pointer.put(bytes(image.data))
            return pointer
        assert frame.this is not None
        return frame.this.plus(self.types.member_offset(variable, owner))

    def _element(self, place: hir.IndexPlace) -> Pointer:
        pointer = self._base(place.base)
        kind = place.base.type
        indices = [integer(self.value(index)) for index in place.indices]
        if isinstance(kind, hir.String):
            size = 2 if kind.wide else 1
            if not 0 <= indices[0] <= kind.length:
                raise self.fail(Fault.INDEX_OUT_OF_RANGE, place.line, indices[0])
            end = (pointer.offset + size * kind.length, size)
            return Pointer(pointer.memory, pointer.offset + size * indices[0], terminator=end)
        assert isinstance(kind, hir.Array | hir.OpenArray)
        dims = kind.dims if isinstance(kind, hir.Array) else pointer.bounds
        position = 0
        for index, (low, high) in zip(indices, dims, strict=True):
            if not low <= index <= high:
                raise self.fail(Fault.INDEX_OUT_OF_RANGE, place.line, index)
            position = position * (high - low + 1) + index - low
        return pointer.plus(position * self.types.stride(kind.element))

    # -- expressions

    def value(self, expression: hir.Expression) -> Value:
        match expression:
            case hir.Constant(type=kind, value=value):
                return self._constant(kind, value)
            case hir.Load(place=place):
                return self._load(place)
            case hir.Convert():
                return self._convert(expression)
            case hir.Unary():
                return self._unary(expression)
            case hir.Binary():
                return self._binary(expression)
            case hir.Compare():
                return self._compare(expression)
            case hir.Logical(op=op, left=left, right=right):
                first = self.value(left)
                return self.value(right) if bool(first) == (op == "and") else first
            case hir.Intrinsic():
                return self._intrinsic(expression)
            case hir.Call():
                result = self.call(expression)
                assert result is not None
                return result
        return self._reference(expression)

    def _constant(self, kind: hir.Type, value: float | str) -> Value:
        if isinstance(kind, hir.String):
            assert isinstance(value, str)
            pointer = room(self.types.size(kind))
            pointer.put(encode_string(kind, value))
            return read_text(pointer, kind)
        if isinstance(kind, hir.Interface):
            return InterfaceValue(0, 0)
        scalar = scalar_type(kind)
        assert scalar is not None and not isinstance(value, str)
        return wrap(scalar, value)

    def _load(self, place: hir.Place) -> Value:
        if isinstance(place, hir.VariablePlace):
            variable = place.variable
            if variable.storage is hir.Storage.CONSTANT and not is_aggregate(variable.type):
                value = default_value(variable.type) if variable.init is None else variable.init.value
                return self._constant(variable.type, value)  # type: ignore[arg-type]
        pointer = self.place(place)
        size = 0 if isinstance(place.type, hir.OpenArray) else self.types.size(place.type)
        if isinstance(place, hir.PartPlace):
            size = self.types.size(place.base.type)
        return read(pointer, place.type, size)

    def _unary(self, unary: hir.Unary) -> Value:
        value = self.value(unary.operand)
        kind = scalar_type(unary.type)
        assert kind is not None and isinstance(value, int | float)
        if unary.op == "not":
            return int(not value) if kind is IecType.BOOL else wrap(kind, ~int(value))
        return wrap(kind, -value)

    def _binary(self, binary: hir.Binary) -> Value:
        left, right = self.value(binary.left), self.value(binary.right)
        kind = scalar_type(binary.type)
        assert kind is not None and isinstance(left, int | float) and isinstance(right, int | float)
        if kind in FLOATS:
            if binary.op == "pow":
                return wrap(kind, library("pow", float(left), float(right)))
            return wrap(kind, float_operation(binary.op, float(left), float(right)))
        if binary.op in ("div", "mod") and right == 0:
            raise self.fail(Fault.DIVISION_BY_ZERO, binary.line)
        return wrap(kind, integer_operation(binary.op, int(left), int(right)))

    def _compare(self, node: hir.Compare) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(left, InterfaceValue) and isinstance(right, InterfaceValue):
            left, right = left.offset, right.offset
        return int(compare(node.op, left, right))  # type: ignore[arg-type]

    def _intrinsic(self, node: hir.Intrinsic) -> Value:
        if node.name in ("TIME", "TIME_NOW"):
            return int(self.context.now_ns)
        if node.name == "ADVANCE_TIME":
            self.context.now_ns += integer(self.value(node.arguments[0]))
            return int(self.context.now_ns)
        if node.name == "FIRST_SCAN":
            return int(self.context.first_scan != 0)
        result = intrinsic(node, [self.value(argument) for argument in node.arguments])
        return result[: node.type.length] if isinstance(node.type, hir.String) else result  # type: ignore[index]

    def _reference(self, expression: hir.Expression) -> Value:
        match expression:
            case hir.Address(place=place):
                return self.place(place).offset
            case hir.SizeOf(measured=measured, type=kind):
                scalar = scalar_type(kind)
                assert scalar is not None
                return wrap(scalar, self.types.size(measured))
            case hir.Bound(array=array, dimension=dimension, upper=upper):
                return self.variable(array).bounds[dimension - 1][int(upper)]
            case hir.ToInterface(place=place):
                pointer = self.place(place)
                return InterfaceValue(pointer.offset, self._number(pointer))
            case hir.Query():
                return self._query(expression)
        raise AssertionError(type(expression).__name__)

    def _number(self, pointer: Pointer) -> int:
        return integer(read(pointer, hir.Elementary(IecType.ULINT), 8))

    def _query(self, query: hir.Query) -> Value:
        value = self.value(query.operand)
        if isinstance(value, InterfaceValue):
            offset, number = value.offset, value.number
        else:
            offset = integer(value)
            number = self._number(Pointer(self.block, offset))
        name = query.type.name if isinstance(query.type, hir.Interface) else ""
        if isinstance(query.type, hir.Ref) and isinstance(query.type.target, hir.Instance):
            name = query.type.target.pou
        fits = number > 0 and self._fits(list(self.program.pous)[number - 1], name)
        if isinstance(query.type, hir.Interface):
            return InterfaceValue(offset, number) if fits else InterfaceValue(0, 0)
        return offset if fits else 0

    def _fits(self, key: str, name: str) -> bool:
        while key:
            pou = self.program.pous[key]
            if key == name or name in pou.interfaces:
                return True
            key = pou.base
        return False

    # -- conversions

    def convert_value(self, value: Value, source: IecType, target: IecType, kind: str = "to") -> Value:
        assert isinstance(value, int | float)
        return convert(value, source, target, kind)

    def _convert(self, node: hir.Convert) -> Value:
        value = self.value(node.operand)
        source, target = node.operand.type, node.type
        if isinstance(value, str):
            return self._from_text(value, source, target)
        if isinstance(target, hir.String):
            return self._to_text(value, source, target)
        a, b = scalar_type(source) if source else None, scalar_type(target)
        if a is None or b is None:
            return value
        return self.convert_value(value, a, b, node.kind)

    def _to_text(self, value: Value, source: hir.Type | None, target: hir.String) -> str:
        """By the library's own functions run as Python: they are the specification of the texts."""
        kind = scalar_type(source) if source else None
        assert kind is not None and isinstance(value, int | float)
        extra: tuple[int, ...] = ()
        if kind in _TIME_NAMES:
            name, extra = f"{_TIME_NAMES[kind]}_to_text", (int(kind.name.startswith("L")),)
        elif kind in FLOATS:
            name, extra = "real_to_text", (9 if kind is IecType.REAL else 17,)
        elif kind is IecType.BOOL:
            name = "bool_to_text"
        elif kind in (IecType.CHAR, IecType.WCHAR):
            name = "char_to_text"
        else:
            name, extra = "int_to_text", (int(kind not in UNSIGNED),)
            value = wrap(IecType.LINT, value)
        buffer = [0] * (target.length + 1)
        HELPERS[f"{name}{'16' if target.wide else '8'}"][0](buffer, target.length, value, *extra)
        return "".join(map(chr, buffer)).split("\0")[0]

    def _from_text(self, text: str, source: hir.Type | None, target: hir.Type) -> Value:
        assert isinstance(source, hir.String)
        if isinstance(target, hir.String):
            mask = 0xFFFF if target.wide else 0xFF
            return "".join(chr(ord(one) & mask) for one in text)[: target.length].split("\0")[0]
        kind = scalar_type(target)
        assert kind is not None
        if kind in (IecType.CHAR, IecType.WCHAR):
            return wrap(kind, ord(text[0])) if text else 0
        name = "text_to_int"
        if kind is IecType.BOOL:
            name = "text_to_bool"
        elif kind in FLOATS:
            name = "text_to_real"
        elif kind in _TIME_NAMES:
            name = f"text_to_{_TIME_NAMES[kind]}"
        return wrap(kind, HELPERS[f"{name}8"][0]([*map(ord, text), 0, 0], *()))
