"""Unary and binary operators: which types meet, in what type they are computed."""

from __future__ import annotations

from programs import ast, constants, hir, types
from programs.check_places import BodyPlaces
from programs.check_values import Value
from programs.diagnostics import Spanned
from scan.abi import IecType

_NAMES = {"+": "add", "-": "sub", "*": "mul", "/": "div", "MOD": "mod", "**": "pow"}
_COMPARISONS = {"=": "eq", "<>": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
_BITS = {"AND": "and", "OR": "or", "XOR": "xor", "AND_THEN": "and", "OR_ELSE": "or"}
# Left, right -> result of + and - on times (IEC 61131-3:2013, table 35); "*" stands for each L variant alike.
_TIME_SUMS = {
    ("DURATION", "+", "DURATION"): "DURATION",
    ("DURATION", "-", "DURATION"): "DURATION",
    ("TOD", "+", "DURATION"): "TOD",
    ("TOD", "-", "DURATION"): "TOD",
    ("TOD", "-", "TOD"): "DURATION",
    ("DT", "+", "DURATION"): "DT",
    ("DT", "-", "DURATION"): "DT",
    ("DT", "-", "DT"): "DURATION",
    ("DATE", "-", "DATE"): "DURATION",
    ("DATE", "+", "TOD"): "DT",
}
_TIME_CLASSES = {
    "DURATION": types.DURATIONS,
    "TOD": types.TODS,
    "DT": types.DTS,
    "DATE": types.DATES,
}


def time_class(kind: hir.Type) -> str:
    return next((name for name, members in _TIME_CLASSES.items() if types.is_kind(kind, *members)), "")


class BodyOperators(BodyPlaces):
    """Layer 4: operators on checked values."""

    # -- unary

    def unary(self, node: ast.Unary, want: hir.Type | None) -> Value:
        operand = self.expression(node.operand, want)
        if operand.unknown:
            return operand
        if node.op == "NOT":
            return self.invert(operand, node, want)
        if not self._numeric(operand.type) and not types.is_kind(operand.type, *types.DURATIONS):
            return self._not_applicable(node.op, node, operand.type)
        return operand if node.op == "+" else self._negate(operand, node)

    def _negate(self, operand: Value, node: Spanned) -> Value:
        line = self.line(node)
        if operand.literal:
            assert isinstance(operand.expr, hir.Constant)
            assert not isinstance(operand.expr.value, str)
            return Value(hir.Constant(operand.type, -operand.expr.value, line), operand.type)
        kind = operand.type
        if types.is_bits(kind):
            assert isinstance(kind, hir.Elementary)
            kind = types.as_unsigned(kind)
        computed = types.arithmetic_type(operand.computed if types.is_integer(operand.computed) else kind)
        if types.is_kind(computed, IecType.UDINT):
            computed = types.LINT
        return Value(hir.Unary("neg", self.coerce(operand.expr, computed), computed, line), kind)

    def invert(self, operand: Value, node: Spanned, want: hir.Type | None) -> Value:
        operand = self.settle(operand, want if want is not None else types.INT)
        kind = operand.type
        allowed = (
            types.is_bool(kind) or types.is_bits(kind) or (self.context.loose and types.is_integer(kind))
        )
        if operand.unknown:
            return operand
        if not allowed:
            return self._not_applicable("NOT", node, kind)
        return Value(hir.Unary("not", self.coerce(operand.expr, kind), kind, self.line(node)), kind)

    def _numeric(self, kind: hir.Type) -> bool:
        return (
            types.is_integer(kind)
            or types.is_real(kind)
            or kind in types.LITERALS
            or (self.context.loose and types.is_bits(kind))
        )

    def _not_applicable(self, op: str, node: Spanned, *kinds: hir.Type) -> Value:
        names = " and ".join(types.type_name(kind) for kind in kinds)
        expected = {"NOT": "BOOL or a bit string", "AND": "BOOL or bit strings"}.get(op, "numbers")
        if op in _BITS:
            expected = "BOOL or bit strings"
        elif op in _COMPARISONS:
            expected = "two values of one type"
        self.error(
            "ST3014",
            node,
            f"{op} cannot be applied to {names}",
            expected=expected,
            found=names,
            remedy=self._operator_remedy(op, kinds),
        )
        return self.poison(node)

    def _operator_remedy(self, op: str, kinds: tuple[hir.Type, ...]) -> str:
        if any(types.is_bits(kind) for kind in kinds) and not self.context.loose and op not in _BITS:
            bits = next(kind for kind in kinds if types.is_bits(kind))
            assert isinstance(bits, hir.Elementary)
            number = types.as_unsigned(bits)
            return f"convert it with {bits.type.name}_TO_{number.type.name}(…); the codesys dialect does so by itself"
        if op in _BITS and any(types.is_integer(kind) for kind in kinds):
            return "convert the integer to a bit string (INT_TO_WORD …), or compare it (x <> 0)"
        if any(isinstance(kind, hir.Ref) for kind in kinds):
            return "write ^ behind the reference to use what it points to"
        return "convert one side so that both have one type that the operator is defined for"

    # -- binary

    def binary(self, node: ast.Binary, want: hir.Type | None) -> Value:
        """An operator expression; long chains like ``a + b + c …`` are walked, not recursed into."""
        chain: list[ast.Binary] = []
        current: ast.Expression = node
        while isinstance(current, ast.Binary):
            chain.append(current)
            current = current.left
        hint = want if node.op not in _COMPARISONS else None
        left = self.expression(current, hint)
        for link in reversed(chain):
            outer = hint if link is not node or node.op not in _COMPARISONS else None
            right = self.expression(link.right, self._operand_hint(link, left, outer))
            left = self.combine(link.op, left, right, link, outer)
        return left

    def _operand_hint(self, node: ast.Binary, left: Value, want: hir.Type | None) -> hir.Type | None:
        if left.unknown or left.literal or types.is_kind(left.type, *types.TIMES):
            return want
        if node.op == "**":
            return None
        return left.type

    def combine(
        self, op: str, left: Value, right: Value, node: Spanned, want: hir.Type | None = None
    ) -> Value:
        """``left op right`` for checked operands."""
        if left.unknown or right.unknown:
            return self.poison(node)
        if op in _COMPARISONS:
            return self._compare(op, left, right, node)
        if op in _BITS:
            return self._bitwise(op, left, right, node, want)
        if time_class(left.type) or time_class(right.type):
            return self._times(op, left, right, node)
        if isinstance(left.type, hir.Ref) or isinstance(right.type, hir.Ref):
            return self._pointers(op, left, right, node)
        return self._arithmetic(op, left, right, node, want)

    # -- arithmetic

    def _arithmetic(self, op: str, left: Value, right: Value, node: Spanned, want: hir.Type | None) -> Value:
        left, right = self._enum_base(left), self._enum_base(right)
        if not self._numeric(left.type) or not self._numeric(right.type):
            return self._not_applicable(op, node, left.type, right.type)
        if op == "**":
            return self._power(left, right, node, want)
        if left.literal and right.literal:
            return self._literals(op, left, right, node)
        kind = self._meet(left, right, want)
        if kind is None or (op == "MOD" and types.is_real(kind)):
            return self._not_applicable(op, node, left.type, right.type)
        if op in ("/", "MOD") and self._divides_by_zero(right, kind, node):
            return self.poison(node)
        computed = self._computed(left, right, kind)
        line = self.line(node)
        one, other = self._operand(left, computed), self._operand(right, computed)
        return Value(hir.Binary(_NAMES[op], one, other, computed, line), kind)

    def _enum_base(self, value: Value) -> Value:
        """The number of an enumeration that may be calculated with."""
        if isinstance(value.type, hir.Enum) and self.counts(value.type):
            base = types.ELEMENTARY[value.type.base.name]
            return Value(self.coerce(value.expr, base), base)
        return value

    def _computed(self, left: Value, right: Value, kind: hir.Type) -> hir.Type:
        """In what to compute: at least 32 bits, and as wide as the operands already are."""
        computed = types.arithmetic_type(kind)
        for value in (left, right):
            if not value.literal and types.is_integer(value.computed) and types.is_integer(computed):
                computed = types.common(computed, value.computed, "codesys") or computed
        return computed

    def _operand(self, value: Value, computed: hir.Type) -> hir.Expression:
        if value.literal:
            assert isinstance(value.expr, hir.Constant)
            return self.adapt(value.expr, computed)
        return self.coerce(value.expr, computed)

    def _meet(self, left: Value, right: Value, want: hir.Type | None) -> hir.Type | None:
        """The language type of an arithmetic result."""
        if not left.literal and not right.literal:
            kind = self.context.common(left.type, right.type)
            if kind is not None and types.is_bits(kind) and self.context.loose:
                return kind
            return kind
        literal, other = (left, right) if left.literal else (right, left)
        if self.literal_fits(literal, other.type):
            return other.type
        if literal.type == types.REAL_LITERAL:
            return want if want is not None and types.is_real(want) else types.REAL
        settled = self.settle(literal)
        return self.context.common(settled.type, other.type)

    def _literals(self, op: str, left: Value, right: Value, node: Spanned) -> Value:
        real = types.REAL_LITERAL in (left.type, right.type)
        assert isinstance(left.expr, hir.Constant)
        assert isinstance(right.expr, hir.Constant)
        one, other = left.expr.value, right.expr.value
        assert not isinstance(one, str)
        assert not isinstance(other, str)
        kind = types.REAL_LITERAL if real else types.INT_LITERAL
        if op in ("/", "MOD") and not real and self._divides_by_zero(right, kind, node):
            return self.poison(node)
        value = constants.calculate(_NAMES[op], one, other, real=real)
        if value is None or (abs(value) >= 1 << 128 and not real):
            return self._not_applicable(op, node, left.type, right.type)
        return Value(hir.Constant(kind, value, self.line(node)), kind)

    def _divides_by_zero(self, right: Value, kind: hir.Type, node: Spanned) -> bool:
        if types.is_real(kind) and kind != types.INT_LITERAL:
            return False
        folded = self.folded(right)
        if folded is None or folded.value != 0 or isinstance(folded.value, str):
            return False
        self.error(
            "ST4023",
            node,
            "division by zero",
            expected="a divisor other than 0",
            found="0",
            remedy="correct the divisor",
        )
        return True

    def _power(self, left: Value, right: Value, node: Spanned, want: hir.Type | None) -> Value:
        """``a ** b`` is a real number (IEC 61131-3:2013, table 28)."""
        if left.literal and right.literal and left.type == right.type == types.INT_LITERAL:
            folded = self._literals("**", left, right, node) if self._natural_power(right) else None
            if folded is not None:
                return folded
        whole = (
            types.is_integer(left.type)
            and types.is_integer(right.type)
            and not (left.literal or right.literal)
        )
        if whole and want is not None and types.is_integer(want):
            return self._whole_power(left, right, node)
        kind = left.type if types.is_real(left.type) and not left.literal else None
        if kind is None:
            kind = want if want is not None and types.is_real(want) and want not in types.LITERALS else None
        if kind is None:
            kind = right.type if types.is_real(right.type) and not right.literal else self._real_for(left)
        line = self.line(node)
        base = self._operand(left, kind)
        if right.literal and right.type == types.INT_LITERAL:
            exponent: hir.Expression = self.settle(right, types.DINT).expr
        elif types.is_integer(right.type):
            exponent = right.expr
        else:
            exponent = self._operand(right, kind)
        return Value(hir.Binary("pow", base, exponent, kind, line), kind)

    def _whole_power(self, left: Value, right: Value, node: Spanned) -> Value:
        """Where a whole number is wanted from whole numbers; exact up to 2**53."""
        line = self.line(node)
        power = hir.Binary("pow", self.coerce(left.expr, types.LREAL), right.expr, types.LREAL, line)
        kind = types.stripped(left.type)
        return Value(hir.Convert(power, types.LINT, "to", line), kind)

    @staticmethod
    def _natural_power(right: Value) -> bool:
        assert isinstance(right.expr, hir.Constant)
        return isinstance(right.expr.value, int) and right.expr.value >= 0

    def _real_for(self, value: Value) -> hir.Type:
        """The real type that an integer becomes where a real number is needed."""
        if value.literal:
            return types.LREAL
        return types.REAL if self.context.fit(value.type, types.REAL) is types.Fit.YES else types.LREAL

    # -- comparison

    def _compare(self, op: str, left: Value, right: Value, node: Spanned) -> Value:
        line = self.line(node)
        if left.literal and right.literal:
            kind: hir.Type | None = (
                types.LREAL if types.REAL_LITERAL in (left.type, right.type) else types.LINT
            )
        elif left.literal or right.literal:
            kind = self._literal_comparison(left, right)
        else:
            kind = self._comparison_type(left, right)
        if kind is None or not self._comparable(op, kind):
            return self._not_applicable(op, node, left.type, right.type)
        computed = self._computed(left, right, kind) if types.is_integer(kind) else kind
        one, other = (self._comparand(value, computed) for value in (left, right))
        return Value(hir.Compare(_COMPARISONS[op], one, other, types.BOOL, line), types.BOOL)

    def _literal_comparison(self, left: Value, right: Value) -> hir.Type | None:
        literal, other = (left, right) if left.literal else (right, left)
        if types.is_bool(other.type) and not self.literal_fits(literal, other.type):
            return None
        if isinstance(other.type, hir.Enum) and self.counts(other.type):
            return types.ELEMENTARY[other.type.base.name]
        if not self._numeric(other.type) and not self.literal_fits(literal, other.type):
            return None
        return self._meet(left, right, None)

    def _comparison_type(self, left: Value, right: Value) -> hir.Type | None:
        for text, other in ((left, right), (right, left)):
            # 'A' is a STRING until it meets a CHAR.
            constant = text.expr.value if isinstance(text.expr, hir.Constant) else None
            if isinstance(constant, str) and len(constant) == 1 and types.is_kind(other.type, *types.CHARS):
                return other.type
        for one, other in ((left, right), (right, left)):
            if isinstance(one.type, hir.Interface | hir.Ref) and other.type == types.NULL:
                return one.type
            if isinstance(one.type, hir.Interface) and isinstance(other.type, hir.Interface | hir.Instance):
                return one.type if self.context.related(one.type, other.type) else None
        return self.context.common(left.type, right.type)

    def _comparand(self, value: Value, kind: hir.Type) -> hir.Expression:
        if value.literal:
            assert isinstance(value.expr, hir.Constant)
            return self.adapt(value.expr, kind)
        if isinstance(kind, hir.String) and isinstance(value.computed, hir.String):
            return value.expr  # strings of all lengths compare as they are
        return self.coerce(value.expr, kind)  # also 'A' beside a CHAR

    @staticmethod
    def _comparable(op: str, kind: hir.Type) -> bool:
        if isinstance(kind, hir.Ref | hir.Interface):
            return op in ("=", "<>") or isinstance(kind, hir.Ref)
        if types.is_bool(kind):
            return True
        return not types.is_aggregate(kind)

    # -- BOOL and bit strings

    def _bitwise(self, op: str, left: Value, right: Value, node: Spanned, want: hir.Type | None) -> Value:
        line = self.line(node)
        left, right = self._enum_base(left), self._enum_base(right)
        left, right = self._bit_literal(left, right, want), self._bit_literal(right, left, want)
        kind = self.context.common(left.type, right.type)
        if kind is None or kind is types.UNKNOWN:
            return self._not_applicable(op, node, left.type, right.type)
        if types.is_bool(kind):
            one, other = self.coerce(left.expr, kind), self.coerce(right.expr, kind)
            if op != "XOR":
                return Value(hir.Logical(_BITS[op], one, other, kind, line), kind)
            return Value(hir.Binary("xor", one, other, kind, line), kind)
        allowed = types.is_bits(kind) or (self.context.loose and types.is_integer(kind))
        if not allowed or op in ("AND_THEN", "OR_ELSE"):
            return self._not_applicable(op, node, left.type, right.type)
        one, other = self.coerce(left.expr, kind), self.coerce(right.expr, kind)
        return Value(hir.Binary(_BITS[op], one, other, kind, line), kind)

    def _bit_literal(self, value: Value, other: Value, want: hir.Type | None) -> Value:
        """A literal takes the other operand's type, the wanted one, or the smallest bit string for it."""
        if not value.literal or value.type == types.REAL_LITERAL:
            return value
        for kind in (other.type if not other.literal else None, want):
            if kind is not None and self.literal_fits(value, types.stripped(kind)):
                return self.settle(value, kind)
        for bits in types.BITS:
            if self.literal_fits(value, hir.Elementary(bits)):
                return self.settle(value, hir.Elementary(bits))
        return self.settle(value)

    # -- times

    def _times(self, op: str, left: Value, right: Value, node: Spanned) -> Value:
        line = self.line(node)
        one, other = time_class(left.type), time_class(right.type)
        if one and other:
            result = _TIME_SUMS.get((one, op, other))
            if result is None and (one, other) == ("DURATION", "DURATION") and self.context.loose:
                return self._time_ratio(op, left, right, node)
            if result is None:
                return self._not_applicable(op, node, left.type, right.type)
            long = types.is_kind(left.type, *_LONG) or types.is_kind(right.type, *_LONG)
            kind = hir.Elementary(_TIME_CLASSES[result][1 if long else 0])
            name = "ADD_TIME" if op == "+" else "SUB_TIME"
            return Value(hir.Intrinsic(name, [left.expr, right.expr], kind, line), kind)
        return self._scaled_time(op, left, right, node)

    def _time_ratio(self, op: str, left: Value, right: Value, node: Spanned) -> Value:
        """CODESYS: TIME is a number of milliseconds in ``t1 / t2`` and ``t1 MOD t2``."""
        if op not in ("/", "MOD", "*"):
            return self._not_applicable(op, node, left.type, right.type)
        one, other = (self.coerce(value.expr, types.LINT) for value in (left, right))
        ratio = hir.Binary(_NAMES[op], one, other, types.LINT, self.line(node))
        return Value(self.coerce(ratio, left.type), left.type)

    def _scaled_time(self, op: str, left: Value, right: Value, node: Spanned) -> Value:
        line = self.line(node)
        time, factor = (left, right) if time_class(left.type) else (right, left)
        if op in ("+", "-") and self.context.loose and self._numeric(factor.type):
            # CODESYS: a number beside a time counts milliseconds (seconds beside a date).
            amount = self.coerce(self.settle(factor, types.LINT).expr, types.LINT)
            scaled = self.coerce(
                amount, types.TIME if time_class(time.type) in ("DURATION", "TOD") else types.DT
            )
            pair = [time.expr, scaled] if time is left else [scaled, time.expr]
            return Value(
                hir.Intrinsic("ADD_TIME" if op == "+" else "SUB_TIME", pair, time.type, line), time.type
            )
        possible = op == "*" or (op == "/" and time is left)
        if not possible or time_class(time.type) != "DURATION" or not self._numeric(factor.type):
            return self._not_applicable(op, node, left.type, right.type)
        if op == "/" and self._divides_by_zero(factor, factor.type, node):
            return self.poison(node)
        settled = self.settle(factor, types.LINT if factor.type == types.INT_LITERAL else types.LREAL)
        number = settled.expr
        if types.is_bits(settled.type):
            number = self.coerce(number, types.LINT)
        name = "MUL_TIME" if op == "*" else "DIV_TIME"
        return Value(hir.Intrinsic(name, [time.expr, number], time.type, line), time.type)

    # -- pointers

    def _pointers(self, op: str, left: Value, right: Value, node: Spanned) -> Value:
        """CODESYS: pointers are numbers of bytes; ``p + 4`` is a pointer, ``p - q`` a distance."""
        if not self.context.loose or op not in ("+", "-", "*", "/", "MOD"):
            return self._not_applicable(op, node, left.type, right.type)
        line = self.line(node)
        parts: list[hir.Expression] = []
        for value in (left, right):
            if isinstance(value.type, hir.Ref):
                parts.append(hir.Convert(value.expr, types.LINT, "bits", line))
            elif self._numeric(value.type) and not types.is_real(value.type):
                parts.append(self.coerce(self.settle(value, types.LINT).expr, types.LINT))
            else:
                return self._not_applicable(op, node, left.type, right.type)
        total = hir.Binary(_NAMES[op], parts[0], parts[1], types.LINT, line)
        both = isinstance(left.type, hir.Ref) and isinstance(right.type, hir.Ref)
        if both or op not in ("+", "-"):
            return Value(total, types.LINT)
        kind = left.type if isinstance(left.type, hir.Ref) else right.type
        return Value(hir.Convert(total, kind, "bits", line), kind)


_LONG = (IecType.LTIME, IecType.LDATE, IecType.LTOD, IecType.LDT)
