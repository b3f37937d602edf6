"""Places: where a variable, member, element or part is, and how it is read and written."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from programs import hir
from programs.layout import BlockLayout, Types, is_aggregate
from programs.layout_symbols import Image, default_value, encode_string
from programs.lower_effects import Effects
from programs.lower_ir import LIKELY, Body, Module, base_type, llvm_type, quoted, scalar_llvm, width
from scan.abi import CONTEXT_DTYPE, HEADER_SIZE, Fault, IecType


@dataclass(slots=True)
class Shared:
    """What every POU's lowering of one program looks up."""

    program: hir.Program
    layout: BlockLayout
    effects: Effects
    types: Types = field(init=False)

    def __post_init__(self) -> None:
        self.types = self.layout.types

    def by_storage(self, key: str, storage: hir.Storage) -> list[hir.Variable]:
        return [variable for variable in self.program.pous[key].variables if variable.storage is storage]


@dataclass(slots=True)
class Spot:
    """An address: bytes at ``pointer``, or one bit or part of them."""

    pointer: str
    tag: str = ""
    bit: int = -1
    part: tuple[hir.Place, Spot] | None = None
    bounds: list[tuple[str, str]] = field(default_factory=list)  # of an ARRAY[*], as i64 operands
    terminator: tuple[str, int, int] | None = (
        None  # pointer, offset and width of the zero that ends the string
    )
    through: tuple[str, int] | None = (
        None  # reference and line: of what it leads to, the end is not checked yet
    )


def context_offset(name: str) -> int:
    assert CONTEXT_DTYPE.fields is not None
    return int(CONTEXT_DTYPE.fields[name][1])


def float_text(kind: IecType, value: float) -> str:
    """An LLVM floating point literal, exact."""
    if kind is IecType.REAL:
        try:
            value = struct.unpack("<f", struct.pack("<f", value))[0]
        except OverflowError:
            value = float("inf") if value > 0 else float("-inf")
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


class Places(Body):
    """Addresses, loads and stores of one POU's function."""

    def __init__(self, module: Module, shared: Shared, pou: hir.Pou) -> None:
        super().__init__(module)
        self.shared = shared
        self.types = shared.types
        self.pou = pou
        self.this_key = pou.owner or pou.key
        self.variables: dict[int, Spot] = {}
        self.registers: dict[int, str] = {}  # loop counters that live in a register while the loop runs
        self.aligned: set[str] = set()  # pointers of own stack slots, aligned by construction
        self._faults: list[tuple[str, str, str, str]] = []
        self._failures: list[tuple[str, str]] = []

    def expression(self, expression: hir.Expression) -> str:
        """Operand with the value; for aggregates a pointer to bytes that stay until the statement ends."""
        raise NotImplementedError

    # -- faults

    def guard(self, condition: str, fault: Fault, line: int, detail: str = "0") -> None:
        """Go on where ``condition`` holds, else stop the program with ``fault``."""
        good = self.new_label("ok")
        self._faults.append((str(int(fault)), self._relative(line), detail, self.block))
        self.split(condition, good, "fault", LIKELY)
        self.start(good)

    def fail(self, fault: Fault, line: int) -> None:
        self._faults.append((str(int(fault)), self._relative(line), "0", self.block))
        self.jump("fault")

    def _relative(self, line: int) -> str:
        """Lines count from the POU's first, so that text before a POU does not change its code."""
        return str(line - self.pou.line)

    def check_status(self, status: str) -> None:
        """A callee's fault ends the caller too."""
        good = self.new_label("ok")
        clear = self.op(f"icmp eq i32 {status}, 0")
        self._failures.append((status, self.block))
        self.split(clear, good, "failed", LIKELY)
        self.start(good)

    def check_abort(self, line: int) -> None:
        pointer = self.at("%ctx", context_offset("abort"))
        flag = self.op(f"load volatile i32, ptr {pointer}, align 4")
        self.guard(self.op(f"icmp eq i32 {flag}, 0"), Fault.ABORTED, line)

    def write_failures(self) -> None:
        """The shared blocks at the end of the function to which all checks go."""
        if self._faults:
            self.start_detached("fault")
            code, line, detail = (
                self.phi(kind, *((fault[index], fault[3]) for fault in self._faults))
                for index, kind in enumerate(("i32", "i32", "i64"))
            )
            where = "@" + quoted(f"f.{self.pou.key}")
            self.module.declare(where, f"{where} = external constant {{ i32, i32 }}")
            self.module.declare("@fault", "declare i32 @fault(ptr, i32, i32, i64, ptr) cold")
            status = self.op(f"call i32 @fault(ptr %ctx, i32 {code}, i32 {line}, i64 {detail}, ptr {where})")
            self._failures.append((status, "fault"))
            self.jump("failed")
        if self._failures:
            self.start_detached("failed")
            self.leave_failed(self.phi("i32", *self._failures))

    def start_detached(self, label: str) -> None:
        self.ended = True
        self.start(label)

    def leave_failed(self, status: str) -> None:
        raise NotImplementedError

    # -- places

    def place(self, place: hir.Place) -> Spot:
        """Address of a place. Of what a reference leads to, only the part that is meant must lie in the block: pointers
        to arrays longer than what they point to are in common use.
        """
        if isinstance(place, hir.DerefPlace):
            return Spot(self.follow(self._reference_value(place), self.types.size(place.type), place.line))
        spot = self._path(place)
        if spot.through is not None:
            reference, line = spot.through
            end = self.op(f"add i64 {self.offset_of(spot)}, {self.types.size(place.type) - HEADER_SIZE}")
            inside = self.op(f"icmp ule i64 {end}, {self.program_constant('limit')}")
            self.guard(inside, Fault.NULL_REFERENCE, line, reference)
            spot.through = None
        return spot

    def _base(self, place: hir.Place) -> Spot:
        """What a member or element is taken of."""
        return self._path(place) if isinstance(place.type, hir.Array | hir.Struct) else self.place(place)

    def _reference_value(self, place: hir.DerefPlace) -> str:
        offset = self.expression(place.reference)
        if isinstance(place.reference.type, hir.Interface):
            offset = self.op(f"extractvalue {{ i64, i64 }} {offset}, 0")
        return offset

    def offset_of(self, spot: Spot) -> str:
        address, base = (self.op(f"ptrtoint ptr {pointer} to i64") for pointer in (spot.pointer, "%base"))
        return self.op(f"sub i64 {address}, {base}")

    def _path(self, place: hir.Place) -> Spot:
        match place:
            case hir.VariablePlace():
                return self.variable(place.variable)
            case hir.ThisPlace():
                return Spot("%this")
            case hir.MemberPlace(base=base, member=name):
                spot = self._base(base)
                member = self.types.member(base.type, name)
                location = member.variable.location if member.variable else None
                assert location is None
                tag = "" if isinstance(base.type, hir.Instance) else spot.tag
                return Spot(self.at(spot.pointer, member.offset), tag, through=spot.through)
            case hir.IndexPlace():
                return self._element(place)
            case hir.DerefPlace(line=line):
                offset = self._reference_value(place)
                return Spot(self.follow(offset, 0, line), through=(offset, line))
            case hir.PartPlace(base=base):
                return Spot("", part=(place, self.place(base)))

    def follow(self, offset: str, size: int, line: int) -> str:
        """Pointer for a reference: NULL, and anything that does not lie in the block with its size, is a fault.

        Arithmetic on pointers and values from outside may make any number; none of them may reach other memory.
        """
        limit = self.program_constant("limit")
        relative = self.op(f"sub i64 {offset}, {HEADER_SIZE}")
        rest = self.op(f"sub i64 {limit}, {relative}")
        begins = self.op(f"icmp ult i64 {relative}, {limit}")
        if size == 0:
            self.guard(begins, Fault.NULL_REFERENCE, line, offset)
            return self.at("%base", offset)
        fits = self.op(f"icmp uge i64 {rest}, {size}")
        self.guard(self.op(f"and i1 {begins}, {fits}"), Fault.NULL_REFERENCE, line, offset)
        return self.at("%base", offset)

    def program_constant(self, name: str) -> str:
        """A number that only the whole program decides, kept out of this module's text."""
        symbol = "@" + quoted(f"k.{name}")
        self.module.declare(symbol, f"{symbol} = external constant i64")
        return self.op(f"load i64, ptr {symbol}, align 8, !invariant.load !2")

    def dereference(self, offset: str, line: int) -> str:
        self.guard(self.op(f"icmp ne i64 {offset}, 0"), Fault.NULL_REFERENCE, line)
        return self.at("%base", offset)

    def variable(self, variable: hir.Variable) -> Spot:
        known = self.variables.get(id(variable))
        if known is not None:
            return known
        offset = self.shared.layout.offsets.get(id(variable))
        if offset is not None:
            bit = variable.location.bit if variable.location else -1
            return Spot(self.at("%base", offset), bit=bit)
        if variable.storage is hir.Storage.INOUT_PARAMETER:
            return self._bound_inout(variable)
        if variable.storage is hir.Storage.CONSTANT and self._is_functions_own(variable):
            return Spot(self.module.constant(self._constant_bytes(variable)))
        offset = self.types.member_offset(variable, self.this_key)
        return Spot(self.at("%this", offset), self._tag(variable))

    def _is_functions_own(self, variable: hir.Variable) -> bool:
        owner = self.shared.program.pous[self.this_key]
        return owner.kind in ("function", "method") or (
            variable in self.pou.variables and bool(self.pou.owner)
        )

    def _constant_bytes(self, variable: hir.Variable) -> bytes:
        return self.initial_bytes(variable.type, variable.init)

    def initial_bytes(self, kind: hir.Type, init: hir.Initial | None) -> bytes:
        image = Image(self.shared.layout, {})
        image.data = bytearray(self.types.size(kind))
        image.write(0, kind, init)
        return bytes(image.data)

    def _tag(self, variable: hir.Variable) -> str:
        """Two members of one block never overlap: say so to LLVM, but only for plain data.

        Members that contain instances are reached by their own code under other tags, so they get none.
        """
        if _holds_instance(variable.type):
            return ""
        return self.module.tag(f"{self.types.declared_in[id(variable)]}.{variable.name}")

    def _bound_inout(self, variable: hir.Variable) -> Spot:
        """An in-out of the block that this code belongs to; its slot is filled while the block is called."""
        slot = self.at("%this", self.types.pou(self.this_key).slots[id(variable)])
        offset = self.op(f"load i64, ptr {slot}, align 8")
        pointer = self.dereference(offset, self.pou.line)
        spot = Spot(pointer)
        if isinstance(variable.type, hir.OpenArray):
            spot.bounds = self.load_bounds(slot, variable.type.rank)
        return spot

    def load_bounds(self, slot: str, rank: int) -> list[tuple[str, str]]:
        pairs = []
        for dimension in range(rank):
            low = self.op(f"load i64, ptr {self.at(slot, 8 + 16 * dimension)}, align 8")
            high = self.op(f"load i64, ptr {self.at(slot, 16 + 16 * dimension)}, align 8")
            pairs.append((low, high))
        return pairs

    def _element(self, place: hir.IndexPlace) -> Spot:
        spot = self._base(place.base)
        kind = place.base.type
        if isinstance(kind, hir.String):
            return self._character(place, spot, kind)
        if isinstance(kind, hir.Array):
            bounds = [(str(low), str(high)) for low, high in kind.dims]
        else:
            bounds = spot.bounds
        assert isinstance(kind, hir.Array | hir.OpenArray)
        position = "0"
        for index, (low, high) in zip(place.indices, bounds, strict=True):
            relative, count = self._index(index, low, high, place.line)
            position = relative if position == "0" else self.add(self.multiply(position, count), relative)
        offset = self.multiply(position, str(self.types.stride(kind.element)))
        return Spot(self.at(spot.pointer, offset), spot.tag, through=spot.through)

    def _character(self, place: hir.IndexPlace, spot: Spot, kind: hir.String) -> Spot:
        """Index 0 is the first character; the terminating zero may be read, and is restored after a write."""
        relative, _ = self._index(place.indices[0], "0", str(kind.length), place.line)
        size = 2 if kind.wide else 1
        end = (spot.pointer, size * kind.length, size)
        return Spot(self.at(spot.pointer, self.multiply(relative, str(size))), spot.tag, terminator=end)

    def _index(self, index: hir.Expression, low: str, high: str, line: int) -> tuple[str, str]:
        """Checked index relative to the lower bound, and the number of elements, both i64 operands."""
        value = self.expression(index)
        known = all(text.lstrip("-").isdigit() for text in (value, low, high))
        if known and int(low) <= int(value) <= int(high):
            return str(int(value) - int(low)), str(int(high) - int(low) + 1)
        relative = self.subtract(value, low)
        span = self.subtract(high, low)
        inside = self.op(f"icmp ule i64 {relative}, {span}")
        if not span.isdigit():  # an ARRAY[*] may be empty
            some = self.op(f"icmp sge i64 {high}, {low}")
            inside = self.op(f"and i1 {inside}, {some}")
        self.guard(inside, Fault.INDEX_OUT_OF_RANGE, line, value)
        return relative, self.add(span, "1")

    def add(self, left: str, right: str) -> str:
        if left.lstrip("-").isdigit() and right.lstrip("-").isdigit():
            return str(int(left) + int(right))
        return left if right == "0" else self.op(f"add i64 {left}, {right}")

    def subtract(self, left: str, right: str) -> str:
        if left.lstrip("-").isdigit() and right.lstrip("-").isdigit():
            return str(int(left) - int(right))
        return left if right == "0" else self.op(f"sub i64 {left}, {right}")

    def multiply(self, left: str, right: str) -> str:
        if left.lstrip("-").isdigit() and right.isdigit():
            return str(int(left) * int(right))
        return left if right == "1" else self.op(f"mul i64 {left}, {right}")

    # -- loads and stores

    def load(self, spot: Spot, kind: hir.Type) -> str:
        if spot.part is not None:
            return self._load_part(spot)
        if is_aggregate(kind):
            return spot.pointer
        if spot.bit >= 0:
            byte = self.op(f"load i8, ptr {spot.pointer}, align 1")
            masked = self.op(f"and i8 {byte}, {1 << spot.bit}")
            return self.op(f"icmp ne i8 {masked}, 0")
        if isinstance(kind, hir.Interface):
            return self.op(f"load {{ i64, i64 }}, ptr {spot.pointer}, align 8")
        base = base_type(kind)
        if base is IecType.BOOL:
            byte = self.op(f"load i8, ptr {spot.pointer}, align 1{spot.tag}")
            return self.op(f"icmp ne i8 {byte}, 0")
        return self.op(
            f"load {scalar_llvm(base)}, ptr {spot.pointer}, align {self._alignment(spot, base)}{spot.tag}"
        )

    def _alignment(self, spot: Spot, base: IecType) -> int:
        """Located variables may stand at any byte, and references may lead to them: promise nothing there."""
        return width(base) // 8 if spot.tag or spot.pointer in self.aligned else 1

    def store(self, spot: Spot, kind: hir.Type, value: str, line: int) -> None:
        """Store a scalar; checks a subrange."""
        self.check_subrange(kind, value, line)
        if spot.part is not None:
            self._store_part(spot, value)
        elif spot.bit >= 0:
            old = self.op(f"load i8, ptr {spot.pointer}, align 1")
            cleared = self.op(f"and i8 {old}, {~(1 << spot.bit) & 255}")
            chosen = self.op(f"select i1 {value}, i8 {1 << spot.bit}, i8 0")
            self.do(f"store i8 {self.op(f'or i8 {cleared}, {chosen}')}, ptr {spot.pointer}, align 1")
        elif isinstance(kind, hir.Interface):
            self.do(f"store {{ i64, i64 }} {value}, ptr {spot.pointer}, align 8")
        else:
            base = base_type(kind)
            if base is IecType.BOOL:
                byte = self.op(f"zext i1 {value} to i8")
                self.do(f"store i8 {byte}, ptr {spot.pointer}, align 1{spot.tag}")
            else:
                where = f"ptr {spot.pointer}, align {self._alignment(spot, base)}{spot.tag}"
                self.do(f"store {scalar_llvm(base)} {value}, {where}")
                if spot.terminator is not None:
                    pointer, offset, size = spot.terminator
                    self.do(f"store i{8 * size} 0, ptr {self.at(pointer, offset)}, align 1{spot.tag}")

    def check_subrange(self, kind: hir.Type, value: str, line: int) -> None:
        if not isinstance(kind, hir.Elementary) or kind.low is None or kind.high is None:
            return
        text = scalar_llvm(kind.type)
        shifted = self.op(f"sub {text} {value}, {kind.low}")
        inside = self.op(f"icmp ule {text} {shifted}, {kind.high - kind.low}")
        detail = value if text == "i64" else self.op(f"sext {text} {value} to i64")
        self.guard(inside, Fault.SUBRANGE, line, detail)

    def _load_part(self, spot: Spot) -> str:
        assert spot.part is not None
        place, inner = spot.part
        assert isinstance(place, hir.PartPlace)
        kind = place.base.type
        whole = self.load(inner, kind)
        text = llvm_type(kind)
        shifted = self.op(f"lshr {text} {whole}, {place.width * place.index}")
        if width(base_type(kind)) == place.width:
            return shifted
        return self.op(f"trunc {text} {shifted} to i{place.width}")

    def _store_part(self, spot: Spot, value: str) -> None:
        assert spot.part is not None
        place, inner = spot.part
        assert isinstance(place, hir.PartPlace)
        kind = place.base.type
        text, bits = llvm_type(kind), width(base_type(kind))
        if bits == place.width:
            self.store(inner, kind, value, place.line)
            return
        shift = place.width * place.index
        mask = ((1 << place.width) - 1) << shift
        kept = self.op(f"and {text} {self.load(inner, kind)}, {~mask & ((1 << bits) - 1)}")
        widened = self.op(f"zext i{place.width} {value} to {text}")
        moved = self.op(f"shl {text} {widened}, {shift}")
        self.store(inner, kind, self.op(f"or {text} {kept}, {moved}"), place.line)

    def copy_bytes(self, target: str, source: str, size: int | str) -> None:
        self.module.declare("memmove", "declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1 immarg)")
        self.do(f"call void @llvm.memmove.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, i1 false)")

    def constant_value(self, kind: hir.Type, value: object) -> str:
        """Operand of a constant scalar, or pointer to a constant string."""
        if isinstance(kind, hir.String):
            assert isinstance(value, str)
            return self.module.constant(encode_string(kind, value))
        if isinstance(kind, hir.Interface):
            return "zeroinitializer"
        base = base_type(kind)
        assert isinstance(value, int | float)
        if base is IecType.BOOL:
            return "true" if value else "false"
        if base in (IecType.REAL, IecType.LREAL):
            return float_text(base, float(value))
        return _wrapped(int(value), width(base))

    def initial_scalar(self, kind: hir.Type, init: hir.Initial | None) -> str:
        value = default_value(kind) if init is None else init.value
        return self.constant_value(kind, value)


def _wrapped(value: int, bits: int) -> str:
    """An integer literal in the signed range that LLVM's text takes for the width."""
    value &= (1 << bits) - 1
    return str(value - (1 << bits) if value >> (bits - 1) else value)


def _holds_instance(kind: hir.Type) -> bool:
    match kind:
        case hir.Instance():
            return True
        case hir.Array(element=element):
            return _holds_instance(element)
        case hir.Struct(members=members):
            return any(_holds_instance(member.type) for member in members)
    return False
