"""The symbol table and the first image of the block: the layout walked once over globals and instances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from programs import hir
from programs.layout import POINTER_SIZE, BlockLayout, Member, Types, element_count, is_aggregate, scalar_type
from scan.abi import NUMPY_TYPE, Aggregate, IecType, Symbol

FLOATS = (IecType.REAL, IecType.LREAL)


@dataclass(frozen=True, slots=True)
class _Origin:
    """What a leaf inherits from the declarations around it."""

    owner: str
    file: str
    line: int
    retain: bool = False
    constant: bool = False
    access: str = "r"
    direction: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    comment: str = ""
    location: str = ""
    bit: int = -1
    write_role: str = ""
    alarm: str = ""


def type_name(kind: hir.Type) -> str:
    """As one would declare it: ``INT``, ``STRING[80]``, ``ARRAY[1..4] OF REAL``."""
    match kind:
        case hir.Elementary(type=base, name=name, low=low, high=high):
            text = name or base.name
            return f"{text}({low}..{high})" if low is not None and not name else text
        case hir.String(length=length, wide=wide):
            return f"{'W' if wide else ''}STRING[{length}]"
        case hir.Array(element=element, dims=dims):
            bounds = ", ".join(f"{low}..{high}" for low, high in dims)
            return f"ARRAY[{bounds}] OF {type_name(element)}"
        case hir.OpenArray(element=element, rank=rank):
            return f"ARRAY[{', '.join('*' * rank)}] OF {type_name(element)}"
        case hir.Ref(target=target):
            return f"REF_TO {type_name(target)}"
        case hir.Instance(pou=key):
            return key
    return kind.name


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _inherit(origin: _Origin, variable: hir.Variable) -> _Origin:
    attributes = {key.lower(): value for key, value in variable.attributes.items()}
    hidden = origin.access == "none"
    return replace(
        origin,
        retain=origin.retain or variable.retain or variable.persistent,
        constant=origin.constant or variable.constant or variable.storage is hir.Storage.CONSTANT,
        access="none" if hidden else attributes.get("access", "r"),
        direction=variable.direction,
        unit=attributes.get("unit", ""),
        low=_number(attributes.get("low")),
        high=_number(attributes.get("high")),
        comment=variable.comment or attributes.get("comment", ""),
        file=variable.file or origin.file,
        line=variable.line or origin.line,
        write_role=attributes.get("write", "").lower(),
        alarm=attributes.get("alarm", ""),
    )


def indices(dims: tuple[tuple[int, int], ...]) -> Iterator[tuple[int, ...]]:
    """All index tuples of an array in storage order."""
    for flat in np.ndindex(*(high - low + 1 for low, high in dims)):
        yield tuple(position + low for position, (low, _) in zip(flat, dims, strict=True))


class SymbolTable:
    """Collects the leaves of a block."""

    def __init__(self, layout: BlockLayout) -> None:
        self.layout = layout
        self.types: Types = layout.types
        self.symbols: list[Symbol] = []
        self.aggregates: list[Aggregate] = []
        # Paths of everything with an address, leaves and aggregates: what REF(x) as an initial value may name.
        self.addresses: dict[str, int] = {}

    def collect(self) -> tuple[Symbol, ...]:
        for variable in self.layout.program.globals:
            self._variable(variable, "", _Origin("", variable.file, variable.line))
        for placed in self.layout.instances:
            pou = self.layout.program.pous[placed.instance.pou]
            origin = _Origin(placed.task, pou.file, pou.line)
            self._aggregate(placed.instance.name, "program", hir.Instance(pou.key), origin)
            self._instance(placed.instance.name, pou.key, placed.offset, origin)
        return tuple(self.symbols)

    def _variable(self, variable: hir.Variable, prefix: str, origin: _Origin) -> None:
        """A global, or a located variable wherever it is declared."""
        if id(variable) not in self.layout.offsets:
            return
        origin = _inherit(origin, variable)
        if variable.location is not None:
            origin = replace(origin, location=variable.location.text, bit=variable.location.bit, owner="")
        self._leaf(prefix + variable.name, variable.type, self.layout.offsets[id(variable)], origin)

    def _instance(self, path: str, key: str, offset: int, origin: _Origin) -> None:
        self.addresses[path.lower()] = offset
        layout = self.types.pou(key)
        if layout.dispatch:
            hidden = replace(origin, access="none", constant=True, direction="")
            self._leaf(f"{path}.__pou", hir.Elementary(IecType.ULINT), offset, hidden)
        for member in layout.ordered:
            assert member.variable is not None
            inner = _inherit(origin, member.variable)
            self._leaf(f"{path}.{member.name}", member.type, offset + member.offset, inner)
        chain: str = key
        while chain:
            pou = self.layout.program.pous[chain]
            for variable in pou.variables:
                if variable.location is not None:
                    self._variable(variable, f"{path}.", origin)
            chain = pou.base

    def _aggregate(self, path: str, what: str, kind: hir.Type, origin: _Origin) -> None:
        dims = kind.dims if isinstance(kind, hir.Array) else ()
        self.aggregates.append(
            Aggregate(path, what, type_name(kind), dims, origin.direction, origin.owner, origin.comment)
        )

    def _leaf(self, path: str, kind: hir.Type, offset: int, origin: _Origin) -> None:
        self.addresses[path.lower()] = offset
        match kind:
            case hir.Instance(pou=key):
                self._aggregate(path, "block", kind, origin)
                self._instance(path, key, offset, origin)
            case hir.Struct():
                self._aggregate(path, "union" if kind.union else "struct", kind, origin)
                for member in self.types.struct_members(kind).values():
                    self._member(path, member, offset, origin)
            case hir.Array(element=element, dims=dims) if is_aggregate(element) or isinstance(
                element, hir.Interface
            ):
                self._aggregate(path, "array", kind, origin)
                stride = self.types.stride(element)
                for number, index in enumerate(indices(dims)):
                    inner = f"{path}[{','.join(map(str, index))}]"
                    self._leaf(inner, element, offset + number * stride, origin)
            case hir.Interface():
                self._emit(path, kind, IecType.REF, offset, 8, origin)
                hidden = replace(origin, access="none", constant=True)
                self._emit(f"{path}.__type", kind, IecType.LINT, offset + 8, 8, hidden)
            case hir.Array(element=element):
                scalar = scalar_type(element)
                assert scalar is not None
                self._emit(path, kind, scalar, offset, self.types.size(kind), origin)
            case hir.String(wide=wide):
                base = IecType.WSTRING if wide else IecType.STRING
                self._emit(path, kind, base, offset, self.types.size(kind), origin)
            case _:
                scalar = scalar_type(kind)
                assert scalar is not None
                self._emit(path, kind, scalar, offset, self.types.size(kind), origin)

    def _member(self, path: str, member: Member, offset: int, origin: _Origin) -> None:
        inner = replace(origin, unit="", low=None, high=None, comment=origin.comment)
        self._leaf(f"{path}.{member.name}", member.type, offset + member.offset, inner)

    def _emit(
        self, path: str, kind: hir.Type, base: IecType, offset: int, size: int, origin: _Origin
    ) -> None:
        element = kind.element if isinstance(kind, hir.Array) else kind
        low, high = origin.low, origin.high
        if isinstance(element, hir.Elementary) and element.low is not None and element.high is not None:
            low = float(element.low) if low is None else low
            high = float(element.high) if high is None else high
        self.symbols.append(
            Symbol(
                path=path, type=base, offset=offset, size=size, bit=origin.bit,
                dims=kind.dims if isinstance(kind, hir.Array) else (),
                length=kind.length if isinstance(kind, hir.String) else 0,
                type_name=type_name(kind),
                enum_values=element.values if isinstance(element, hir.Enum) else (),
                location=origin.location, owner=origin.owner, retain=origin.retain, constant=origin.constant,
                access=origin.access, direction=origin.direction, unit=origin.unit, low=low, high=high,
                comment=origin.comment, file=origin.file, line=origin.line, write_role=origin.write_role,
                alarm=origin.alarm,
            )
        )  # fmt: skip


class Image:
    """The bytes of the block at a cold start."""

    def __init__(self, layout: BlockLayout, addresses: dict[str, int]) -> None:
        self.layout = layout
        self.types = layout.types
        self.addresses = addresses
        self.data = bytearray(layout.size)

    def build(self) -> bytes:
        for variable in self.layout.program.globals:
            if id(variable) in self.layout.offsets and variable.location is None:
                self.write(self.layout.offsets[id(variable)], variable.type, variable.init)
        for variable in self.layout.located():
            self._write_located(variable)
        for placed in self.layout.instances:
            self.write(placed.offset, hir.Instance(placed.instance.pou), placed.instance.init)
        return bytes(self.data)

    def _write_located(self, variable: hir.Variable) -> None:
        assert variable.location is not None
        offset = self.layout.offsets[id(variable)]
        if variable.location.bit < 0:
            if variable.init is not None:
                self.write(offset, variable.type, variable.init)
        elif variable.init is not None and variable.init.value:
            self.data[offset] |= 1 << variable.location.bit

    def write(self, offset: int, kind: hir.Type, init: hir.Initial | None) -> None:
        value = None if init is None else init.value
        match kind:
            case hir.Instance(pou=key):
                self._write_instance(offset, key, value)
            case hir.Struct():
                given = value if isinstance(value, dict) else {}
                for name, member in self.types.struct_members(kind).items():
                    chosen = given.get(name, member.init)
                    if (not kind.union and not member.shared) or chosen is not None:
                        self.write(offset + member.offset, member.type, chosen)
            case hir.Array(element=element, dims=dims):
                items = value if isinstance(value, list) else []
                stride = self.types.stride(element)
                for number in range(element_count(dims) if items or _has_defaults(element) else 0):
                    self.write(
                        offset + number * stride, element, items[number] if number < len(items) else None
                    )
            case hir.String():
                data = encode_string(kind, value if isinstance(value, str) else "")
                self.data[offset : offset + len(data)] = data
            case hir.Interface():
                if isinstance(value, hir.AddressOf):
                    self._write_scalar(offset, IecType.REF, self.addresses[value.path.lower()])
                    if value.pou:
                        number = self.types.pou_indices[value.pou] + 1  # as in the instance itself
                        self._write_scalar(offset + POINTER_SIZE, IecType.ULINT, number)
            case _:
                self._write_plain(offset, kind, value)

    def _write_plain(self, offset: int, kind: hir.Type, value: object) -> None:
        scalar = scalar_type(kind)
        assert scalar is not None
        if isinstance(value, hir.AddressOf):
            value = self.addresses[value.path.lower()]
        if value is None:
            value = default_value(kind)
        assert isinstance(value, int | float)
        self._write_scalar(offset, scalar, value)

    def _write_instance(self, offset: int, key: str, value: object) -> None:
        layout = self.types.pou(key)
        given = value if isinstance(value, dict) else {}
        if layout.dispatch:
            self._write_scalar(offset, IecType.ULINT, self.types.pou_indices[key] + 1)
        for member in layout.ordered:
            self.write(offset + member.offset, member.type, given.get(member.name.lower(), member.init))

    def _write_scalar(self, offset: int, kind: IecType, value: float) -> None:
        data = encode_scalar(kind, value)
        self.data[offset : offset + len(data)] = data


def _has_defaults(kind: hir.Type) -> bool:
    """Whether the default of a type may be other than zero bytes."""
    return isinstance(kind, hir.Instance | hir.Struct | hir.Enum | hir.Array) or (
        isinstance(kind, hir.Elementary) and kind.low is not None
    )


def default_value(kind: hir.Type) -> int | float:
    """IEC 61131-3 §6.4.2: zero; the first value of an enumeration; a subrange without zero takes its lower bound."""
    if isinstance(kind, hir.Enum) and kind.values:
        return kind.values[0][1]
    if isinstance(kind, hir.Elementary) and kind.low is not None and kind.high is not None:
        return 0 if kind.low <= 0 <= kind.high else kind.low
    return 0


def encode_scalar(kind: IecType, value: float) -> bytes:
    """Little-endian bytes of a value; integers wrap to the width."""
    if kind in FLOATS:
        return np.array(value, np.float64).astype(NUMPY_TYPE[kind]).tobytes()
    size = np.dtype(NUMPY_TYPE[kind]).itemsize
    return (int(value) & ((1 << (8 * size)) - 1)).to_bytes(size, "little")


def encode_string(kind: hir.String, text: str) -> bytes:
    """All bytes of a string variable: text truncated to its length, zeros behind. STRING is Latin-1."""
    if kind.wide:
        data = text.encode("utf-16-le", "surrogatepass")[: 2 * kind.length]
        return data.ljust(2 * (kind.length + 1), b"\0")
    data = text.encode("latin-1", "replace")[: kind.length]
    return data.ljust(kind.length + 1, b"\0")
