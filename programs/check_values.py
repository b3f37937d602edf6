"""Values while they are checked: literals that still adapt, implicit conversions, temporaries.

``Body`` is the part of the checker that works on one body. It is built up in layers, one a module: values (here),
places, operators, standard functions, calls, expressions, statements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from programs import ast, constants, hir, types
from programs.check_context import Context, Scope
from programs.check_enums import range_text
from programs.check_types import TypeResolver
from programs.diagnostics import Spanned
from programs.source import Source
from programs.symbols import PouSymbol
from scan.abi import IecType


@dataclass(slots=True, eq=False)
class Value:
    """``type`` is the language type; ``expr.type`` is what is computed (wider for integer arithmetic)."""

    expr: hir.Expression
    type: hir.Type

    @property
    def computed(self) -> hir.Type:
        """The type of the expression."""
        return self.expr.type if self.expr.type is not None else types.VOID

    @property
    def unknown(self) -> bool:
        return self.type is types.UNKNOWN

    @property
    def literal(self) -> bool:
        """An integer or real without a type yet; its expression is a ``Constant``."""
        return self.type is types.INT_LITERAL or self.type is types.REAL_LITERAL


@dataclass(slots=True, eq=False)
class Given(ast.Node):
    """An expression that has been checked already, where the tree of a call is put together."""

    value: Value


class BodyValues:
    """Layer 1: what every part of a body's checker needs."""

    def __init__(self, context: Context, resolver: TypeResolver, scope: Scope) -> None:
        self.context = context
        self.resolver = resolver
        self.scope = scope
        self.pou: PouSymbol | None = scope.pou
        self.output: list[hir.Statement] = []  # where statements go that an expression needs before it
        self._source: Source | None = None  # where the last node was
        self._line = range(0), 0  # positions of its line, and the line
        self.constant_only = False  # in a declaration: no calls, no temporaries

    # -- small things

    def line(self, node: Spanned) -> int:
        """1-based line of a node; nearly all are in the source of the unit."""
        start = node.start
        positions, line = self._line
        if start in positions:
            return line
        if self._source is None or not 0 <= start - self._source.base <= len(self._source.text):
            self._source = self.context.diagnostics.source(start)
        self._line = self._source.line_range(start)
        return self._line[1]

    def poison(self, node: Spanned) -> Value:
        """The value of something that an error was reported for."""
        return Value(hir.Constant(types.UNKNOWN, 0, self.line(node)), types.UNKNOWN)

    def error(
        self, code: str, node: Spanned, message: str, *, expected: str = "", found: str = "", remedy: str = ""
    ) -> None:
        self.context.error(code, node, message, expected=expected, found=found, remedy=remedy)

    def temporary(self, kind: hir.Type, node: Spanned) -> hir.Variable:
        """A local variable of the checker's own in the current body."""
        self.context.temporaries += 1
        variable = hir.Variable(
            f"_t{self.context.temporaries}", kind, hir.Storage.LOCAL, attributes={"access": "none"}
        )
        variable.line = self.line(node)
        if self.pou is not None:
            variable.file = self.pou.pou.file
            self.pou.pou.variables.append(variable)
        return variable

    def expression(self, node: ast.Expression, want: hir.Type | None = None) -> Value:
        raise NotImplementedError

    # -- literals

    def settle(self, value: Value, want: hir.Type | None = None) -> Value:
        """Give a literal its type: the wanted one if it fits there, else the smallest that holds it."""
        if not value.literal:
            return value
        constant = value.expr
        assert isinstance(constant, hir.Constant)
        wanted = types.stripped(want) if want is not None else None
        if wanted is not None and wanted not in types.LITERALS and self.literal_fits(value, wanted):
            return Value(self.adapt(constant, wanted), wanted)
        if value.type == types.REAL_LITERAL:
            return Value(self.adapt(constant, types.LREAL), types.LREAL)
        assert isinstance(constant.value, int)
        kind = types.literal_type(constant.value)
        return Value(self.adapt(constant, kind), kind)

    def literal_fits(self, value: Value, target: hir.Type) -> bool:
        """Whether a literal can take this type without a loss."""
        assert isinstance(value.expr, hir.Constant)
        number = value.expr.value
        assert not isinstance(number, str)
        if types.is_real(target):
            return math.isinf(number) or not math.isinf(constants.as_real(target, number))
        if value.type == types.REAL_LITERAL or not isinstance(number, int):
            return False
        if types.is_integer(target) or types.is_bits(target) or types.is_bool(target):
            return types.holds(target, number) or self._pattern_fits(number, target)
        if isinstance(target, hir.Interface):
            return self.context.loose and number == 0
        if isinstance(target, hir.Enum):
            return self.counts(target) and types.holds(types.ELEMENTARY[target.base.name], number)
        if isinstance(target, hir.Ref) or types.is_kind(target, *types.CHARS):
            return self.context.loose and types.holds(target, number)
        return types.is_kind(target, *types.DURATIONS) and number == 0 and self.context.loose

    def counts(self, kind: hir.Type) -> bool:
        """Whether it is an enumeration that may be used as the number that it is."""
        return isinstance(kind, hir.Enum) and (kind.named or self.context.loose)

    def _pattern_fits(self, number: int, target: hir.Type) -> bool:
        """CODESYS takes 16#FFFF for an INT, and -1 for a WORD."""
        found = types.iec_type(target)
        if not self.context.loose or found is None or found is IecType.BOOL:
            return False
        width = types.WIDTH[found]
        return -(1 << (width - 1)) <= number < 1 << width

    def adapt(self, constant: hir.Constant, target: hir.Type) -> hir.Constant:
        """A literal as a constant of a type that it fits."""
        value = constant.value
        assert not isinstance(value, str)
        if isinstance(target, hir.Ref | hir.Interface):
            return hir.Constant(target, int(value), constant.line)
        return hir.Constant(target, constants.normal(target, value), constant.line)

    # -- conversions

    def convert(self, value: Value, target: hir.Type, node: Spanned, *, what: str = "") -> hir.Expression:
        """``value`` as a ``target``; reports when there is no implicit conversion. ``what`` names the place."""
        if value.unknown or target is types.UNKNOWN:
            return value.expr
        if value.literal:
            return self._convert_literal(value, target, node, what)
        constant = value.expr if isinstance(value.expr, hir.Constant) else None
        if constant is not None and isinstance(constant.value, str):
            return self._convert_text(constant, value.type, target, node, what)
        verdict = self.context.fit(value.type, target)
        if verdict is not types.Fit.YES and self._constant_fits(value, target):
            verdict = types.Fit.YES
        if verdict is types.Fit.NO:
            self._mismatch(value.type, target, node, what)
            return value.expr
        if verdict is types.Fit.LOSSY:
            self._lossy(value.type, target, node)
        return self.coerce(value.expr, target)

    def _constant_fits(self, value: Value, target: hir.Type) -> bool:
        """A constant expression that lies in the range of a narrower integer type loses nothing."""
        if not (types.is_integer(target) and types.is_integer(value.type)):
            return types.is_kind(target, IecType.REAL) and isinstance(value.expr, hir.Constant)
        folded = constants.fold(value.expr)
        return folded is not None and isinstance(folded.value, int) and types.holds(target, folded.value)

    def _lossy(self, source: hir.Type, target: hir.Type, node: Spanned) -> None:
        self.context.warn(
            "ST4104",
            node,
            f"{types.type_name(source)} becomes {types.type_name(target)}: digits or the sign may be lost",
            remedy=f"write {self.conversion_name(source, target)}(…) if that is meant",
        )

    def conversion_name(self, source: hir.Type, target: hir.Type) -> str:
        """The conversion function's name: ``DINT_TO_INT``."""
        kinds = (types.iec_type(source), types.iec_type(target))
        return "_TO_".join(kind.name for kind in kinds if kind is not None)

    def coerce(self, expr: hir.Expression, target: hir.Type) -> hir.Expression:
        """The conversion itself; the caller knows that it exists."""
        target = types.stripped(target)
        if expr.type == target or isinstance(target, hir.Array | hir.OpenArray | hir.Struct | hir.Instance):
            return expr
        if isinstance(target, hir.Interface):
            if isinstance(expr, hir.Load) and isinstance(expr.type, hir.Instance):
                return hir.ToInterface(expr.place, target, expr.line)
            return expr if not isinstance(expr, hir.Constant) else hir.Constant(target, 0, expr.line)
        if isinstance(target, hir.Ref) or isinstance(expr.type, hir.Ref):
            if isinstance(expr, hir.Constant):
                return hir.Constant(target, expr.value, expr.line)
            return hir.Convert(expr, target, "bits", expr.line)
        if isinstance(expr, hir.Constant):
            folded = constants.convert(expr, target)
            if folded is not None:
                return hir.Constant(target, folded.value, expr.line)
        return hir.Convert(expr, target, "to", expr.line)

    def _convert_literal(self, value: Value, target: hir.Type, node: Spanned, what: str) -> hir.Expression:
        constant = value.expr
        assert isinstance(constant, hir.Constant)
        if self.literal_fits(value, target):
            return self.adapt(constant, types.stripped(target))
        whole = types.is_integer(target) or types.is_bits(target) or types.is_bool(target)
        if value.type == types.INT_LITERAL and whole:
            assert isinstance(target, hir.Elementary)
            self._out_of_range(int(constant.value), target, node)
        elif types.is_real(target):
            self._too_large(constant.value, target, node)
        else:
            self._mismatch(self.settle(value).type, target, node, what)
        return constant

    def _too_large(self, number: int | float | str, target: hir.Type, node: Spanned) -> None:
        self.error(
            "ST3007",
            node,
            f"{number} does not fit {types.type_name(target)}",
            expected="about 3.4E38 at most"
            if types.is_kind(target, IecType.REAL)
            else "about 1.8E308 at most",
            found=str(number),
            remedy="use a smaller value, or LREAL",
        )

    def _out_of_range(self, number: int, target: hir.Elementary, node: Spanned) -> None:
        limits = f"{target.low} to {target.high}" if target.low is not None else range_text(target.type)
        self.error(
            "ST3007",
            node,
            f"{number} does not fit {types.type_name(target)}",
            expected=limits,
            found=str(number),
            remedy="use a value in this range, or a variable of a larger type",
        )

    def _convert_text(
        self, constant: hir.Constant, source: hir.Type, target: hir.Type, node: Spanned, what: str
    ) -> hir.Expression:
        text = constant.value
        assert isinstance(text, str)
        wide = isinstance(source, hir.String) and source.wide
        if isinstance(target, hir.String) and (target.wide == wide or self.context.loose):
            if len(text) > target.length:
                self.context.warn(
                    "ST4104",
                    node,
                    f"the text has {len(text)} characters and is cut to {target.length}",
                    remedy="declare a longer string, or shorten the text",
                )
            return hir.Constant(target, text[: target.length], constant.line)
        if types.is_kind(target, IecType.WCHAR if wide else IecType.CHAR) and len(text) == 1:
            return hir.Constant(types.stripped(target), ord(text), constant.line)
        self._mismatch(source, target, node, what)
        return constant

    def _mismatch(self, source: hir.Type, target: hir.Type, node: Spanned, what: str) -> None:
        place = f" for {what}" if what else ""
        self.error(
            "ST3006",
            node,
            f"{types.type_name(source)} does not fit {types.type_name(target)}{place}",
            expected=types.type_name(target),
            found=types.type_name(source),
            remedy=self._mismatch_remedy(source, target),
        )

    def _mismatch_remedy(self, source: hir.Type, target: hir.Type) -> str:
        one, other = types.iec_type(source), types.iec_type(target)
        if isinstance(source, hir.String) and isinstance(target, hir.String):
            return "write the text in double quotes for WSTRING, in single quotes for STRING"
        if isinstance(source, hir.Ref) and not isinstance(target, hir.Ref):
            return "write ^ behind the reference to use what it points to"
        if isinstance(target, hir.Ref):
            return "assign REF(variable) or NULL"
        if types.is_kind(target, *types.DURATIONS) and types.is_integer(source):
            return "write a duration such as T#5s; a number counts milliseconds in INT_TO_TIME(…)"
        if isinstance(target, hir.Enum):
            shown = ", ".join(f"{target.name}#{name}" for name, _ in target.values[:3])
            return f"use a value of the enumeration: {shown}"
        if one is not None and other is not None and IecType.REF not in (one, other):
            hint = f"convert it: {self.conversion_name(source, target)}(…)"
            loose = types.fit(source, target, "codesys") is not types.Fit.NO
            return hint + ("; the codesys dialect converts by itself" if loose else "")
        return "use a value of the type that is expected here"

    # -- constants

    def folded(self, value: Value) -> hir.Constant | None:
        """The constant that a value is, None if it is known at run time only."""
        return None if value.unknown else constants.fold(value.expr)

    def boolean(self, node: ast.Expression, *, what: str) -> hir.Expression:
        """A condition."""
        value = self.expression(node, types.BOOL)
        if self.context.loose and types.is_bits(value.type):
            return hir.Compare("ne", value.expr, hir.Constant(value.computed, 0), types.BOOL, self.line(node))
        return self.convert(value, types.BOOL, node, what=what)

    def long_integer(self, node: ast.Expression, *, what: str) -> hir.Expression:
        """Any integer, handed over as LINT: indices, counts, lengths."""
        return self.as_long(self.expression(node, types.LINT), node, what=what)

    def as_long(self, value: Value, node: Spanned, *, what: str) -> hir.Expression:
        if value.unknown:
            return value.expr
        if value.literal or types.is_integer(value.type):
            if value.type == types.REAL_LITERAL:
                return self.convert(value, types.LINT, node, what=what)
            # The computed value, before it would wrap at the language type: an index is never narrowed.
            return self.coerce(self.settle(value, types.LINT).expr, types.LINT)
        if isinstance(value.type, hir.Enum) or (self.context.loose and types.is_bits(value.type)):
            return self.coerce(value.expr, types.LINT)
        return self.convert(value, types.LINT, node, what=what)
