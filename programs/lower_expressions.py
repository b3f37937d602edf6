"""Expressions: operators with a defined result for every operand."""

from __future__ import annotations

from programs import hir
from programs.layout import is_aggregate
from programs.lower_ir import base_type, is_float, is_signed, llvm_type, scalar_llvm, width
from programs.lower_places import Places
from scan.abi import Fault, IecType

_ORDER = {"eq": "eq", "ne": "ne", "lt": "slt", "le": "sle", "gt": "sgt", "ge": "sge"}


def is_plain(expression: hir.Expression) -> bool:
    """Cheap, without side effect and without fault: may be evaluated although its value is not needed."""
    match expression:
        case hir.Constant():
            return True
        case hir.Load(place=hir.VariablePlace(variable=variable)):
            return variable.storage is not hir.Storage.INOUT_PARAMETER
        case hir.Load(place=hir.MemberPlace(base=hir.ThisPlace())):
            return True
        case hir.Load(place=hir.MemberPlace(base=hir.VariablePlace(variable=variable))):
            return variable.storage is not hir.Storage.INOUT_PARAMETER
        case hir.Unary(op="not", operand=operand):
            return is_plain(operand)
        case hir.Logical(left=left, right=right):
            return is_plain(left) and is_plain(right)
        case hir.Compare(left=left, right=right):
            return not isinstance(left.type, hir.String) and is_plain(left) and is_plain(right)
    return False


class Expressions(Places):
    """Operands for expressions; calls, conversions and standard functions are in the classes below this one."""

    def expression(self, expression: hir.Expression) -> str:
        match expression:
            case hir.Constant():
                return self._constant(expression)
            case hir.Load():
                return self._load(expression)
            case hir.Convert():
                return self.convert(expression)
            case hir.Unary():
                return self._unary(expression)
            case hir.Binary():
                return self._binary(expression)
            case hir.Compare():
                return self._compare(expression)
            case hir.Logical():
                return self._logical(expression)
            case hir.Intrinsic():
                return self.intrinsic(expression)
            case hir.Call():
                return self.call(expression)
        return self._reference(expression)

    def convert(self, convert: hir.Convert) -> str:
        raise NotImplementedError

    def intrinsic(self, intrinsic: hir.Intrinsic) -> str:
        raise NotImplementedError

    def call(self, call: hir.Call) -> str:
        raise NotImplementedError

    def compare_strings(self, left: str, right: str, wide: bool) -> str:
        raise NotImplementedError

    def power(self, binary: hir.Binary, left: str, right: str) -> str:
        raise NotImplementedError

    def _constant(self, constant: hir.Constant) -> str:
        return self.constant_value(constant.type, constant.value)

    def _load(self, load: hir.Load) -> str:
        place = load.place
        if isinstance(place, hir.VariablePlace):
            variable = place.variable
            if id(variable) in self.registers:
                return self.registers[id(variable)]
            if variable.storage is hir.Storage.CONSTANT and not is_aggregate(variable.type):
                return self.initial_scalar(variable.type, variable.init)
        return self.load(self.place(place), place.type)

    # -- operators

    def _unary(self, unary: hir.Unary) -> str:
        value = self.expression(unary.operand)
        kind = base_type(unary.type)
        text = scalar_llvm(kind)
        if unary.op == "not":
            return self.op(f"xor {text} {value}, {'true' if kind is IecType.BOOL else '-1'}")
        if is_float(kind):
            return self.op(f"fneg {text} {value}")
        return self.op(f"sub {text} 0, {value}")

    def _binary(self, binary: hir.Binary) -> str:
        kind = base_type(binary.type)
        left = self.expression(binary.left)
        right = self.expression(binary.right)
        if binary.op == "pow":
            return self.power(binary, left, right)
        text = scalar_llvm(kind)
        if binary.op in ("and", "or", "xor"):
            return self.op(f"{binary.op} {text} {left}, {right}")
        if is_float(kind):
            return self._float_operation(binary, kind, left, right)
        if binary.op in ("add", "sub", "mul"):
            return self.op(f"{binary.op} {text} {left}, {right}")
        return self.divide(binary.op, kind, left, right, binary.line)

    def _float_operation(self, binary: hir.Binary, kind: IecType, left: str, right: str) -> str:
        """IEEE 754 in the declared precision, one rounding an operation; x / 0.0 is infinite or not a number."""
        name = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv", "mod": "frem"}[binary.op]
        return self.op(f"{name} {scalar_llvm(kind)} {left}, {right}")

    def divide(self, op: str, kind: IecType, left: str, right: str, line: int) -> str:
        """Truncating division and its remainder; the smallest number by -1 wraps to itself, remainder 0."""
        text = scalar_llvm(kind)
        constant = right.lstrip("-").isdigit()
        if not constant or right == "0":
            self.guard(self.op(f"icmp ne {text} {right}, 0"), Fault.DIVISION_BY_ZERO, line)
        if not is_signed(kind):
            return self.op(f"{'udiv' if op == 'div' else 'urem'} {text} {left}, {right}")
        name = "sdiv" if op == "div" else "srem"
        if constant and right != "-1":
            return self.op(f"{name} {text} {left}, {right}")
        special = self.op(f"icmp eq {text} {right}, -1")
        divisor = self.op(f"select i1 {special}, {text} 1, {text} {right}")
        plain = self.op(f"{name} {text} {left}, {divisor}")
        other = self.op(f"sub {text} 0, {left}") if op == "div" else "0"
        return self.op(f"select i1 {special}, {text} {other}, {text} {plain}")

    def _compare(self, compare: hir.Compare) -> str:
        kind = compare.left.type
        left = self.expression(compare.left)
        right = self.expression(compare.right)
        if isinstance(kind, hir.String):
            order = self.compare_strings(left, right, kind.wide)
            return self.op(f"icmp {_ORDER[compare.op]} i32 {order}, 0")
        if isinstance(kind, hir.Interface):
            left, right = (self.op(f"extractvalue {{ i64, i64 }} {value}, 0") for value in (left, right))
            return self.op(f"icmp {compare.op} i64 {left}, {right}")
        return self.compare(compare.op, base_type(kind), left, right)

    def compare(self, op: str, kind: IecType, left: str, right: str) -> str:
        text = scalar_llvm(kind)
        if is_float(kind):
            # Only <> holds for a number that is not one (IEEE 754 §5.11).
            return self.op(f"fcmp {'une' if op == 'ne' else 'o' + op} {text} {left}, {right}")
        if op in ("eq", "ne"):
            return self.op(f"icmp {op} {text} {left}, {right}")
        return self.op(f"icmp {'s' if is_signed(kind) else 'u'}{op} {text} {left}, {right}")

    def _logical(self, logical: hir.Logical) -> str:
        left = self.expression(logical.left)
        if is_plain(logical.right):
            return self.op(f"{logical.op} i1 {left}, {self.expression(logical.right)}")
        first, more, end = self.block, self.new_label(logical.op), self.new_label("end")
        yes, no = (more, end) if logical.op == "and" else (end, more)
        self.split(left, yes, no)
        self.start(more)
        right = self.expression(logical.right)
        last = self.block
        self.start(end)
        return self.phi("i1", ("false" if logical.op == "and" else "true", first), (right, last))

    # -- references and bounds

    def _reference(self, expression: hir.Expression) -> str:
        match expression:
            case hir.Address(place=place):
                return self.offset_of(self.place(place))
            case hir.Bound(array=array, dimension=dimension, upper=upper, type=kind):
                low, high = self.variable(array).bounds[dimension - 1]
                return self.resize(high if upper else low, "i64", llvm_type(kind), signed=True)
            case hir.SizeOf(measured=measured, type=kind):
                return self.constant_value(kind, self.types.size(measured))
            case hir.ToInterface(place=place):
                return self._to_interface(place)
            case hir.Query():
                return self._query(expression)
        raise AssertionError(f"expression {type(expression).__name__}")

    def _to_interface(self, place: hir.Place) -> str:
        spot = self.place(place)
        number = self.op(f"load i64, ptr {spot.pointer}, align 8")
        return self.pair(self.offset_of(spot), number)

    def pair(self, offset: str, number: str) -> str:
        half = self.op(f"insertvalue {{ i64, i64 }} zeroinitializer, i64 {offset}, 0")
        return self.op(f"insertvalue {{ i64, i64 }} {half}, i64 {number}, 1")

    def _query(self, query: hir.Query) -> str:
        """The operand if the instance's own POU fits the wanted type, else NULL."""
        value = self.expression(query.operand)
        if isinstance(query.operand.type, hir.Interface):
            offset = self.op(f"extractvalue {{ i64, i64 }} {value}, 0")
            number = self.op(f"extractvalue {{ i64, i64 }} {value}, 1")
        else:
            offset = value
            number = self._dynamic_type(offset)
        symbol = self.query_table(query.type)
        fits = self.op(f"load i8, ptr {self.at(symbol, number)}, align 1")
        chosen = self.op(f"icmp ne i8 {fits}, 0")
        offset = self.op(f"select i1 {chosen}, i64 {offset}, i64 0")
        if not isinstance(query.type, hir.Interface):
            return offset
        return self.pair(offset, self.op(f"select i1 {chosen}, i64 {number}, i64 0"))

    def _dynamic_type(self, offset: str) -> str:
        """Number of an instance's POU, 0 for the null reference: offset 0 of the block holds zeros."""
        return self.op(f"load i64, ptr {self.at('%base', offset)}, align 8")

    def query_table(self, kind: hir.Type) -> str:
        raise NotImplementedError

    # -- widths

    def resize(self, value: str, source: str, target: str, *, signed: bool) -> str:
        if source == target:
            return value
        if int(source[1:]) > int(target[1:]):
            return self.op(f"trunc {source} {value} to {target}")
        return self.op(f"{'sext' if signed else 'zext'} {source} {value} to {target}")

    def to_i64(self, value: str, kind: IecType) -> str:
        if value.lstrip("-").isdigit() and is_signed(kind):
            return value
        return self.resize(value, scalar_llvm(kind), "i64", signed=is_signed(kind))

    def bits(self, kind: hir.Type) -> int:
        return width(base_type(kind))
