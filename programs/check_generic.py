"""Arguments and overloads of the standard functions; conversions."""

from __future__ import annotations

from collections.abc import Sequence

from programs import ast, constants, hir, signatures, types
from programs.check_operators import BodyOperators
from programs.check_values import Value
from programs.diagnostics import Spanned
from programs.signatures import Conversion, Parameter, Signature

# Results that keep the operands' width: their arguments are brought to the language type first.
_EXACT = frozenset(("SHL", "SHR", "ROL", "ROR", "TO_BIG_ENDIAN", "TO_LITTLE_ENDIAN", "FROM_BIG_ENDIAN"))
_DATE_PARTS = {"CONCAT_LTOD": "CONCAT_TOD", "CONCAT_LDT": "CONCAT_DT", "LTIME": "TIME"}


class BodyGeneric(BodyOperators):
    """Layer 5: generic standard functions."""

    # -- arguments

    def bind(
        self, name: str, parameters: Sequence[Parameter], node: ast.Call, *, extensible: bool
    ) -> list[ast.Expression] | None:
        """The arguments in the order of the parameters; None after an error."""
        given: dict[int, ast.Expression] = {}
        for position, argument in enumerate(node.arguments):
            index = (
                position
                if argument.name is None
                else self._named_index(name, parameters, argument, extensible)
            )
            if index is None or argument.value is None:
                return None
            if index in given or (index >= len(parameters) and not extensible):
                self._count_error(name, parameters, node, extensible=extensible)
                return None
            given[index] = argument.value
        count = max(len(parameters), len(given))
        if any(index not in given for index in range(count)):
            self._count_error(name, parameters, node, extensible=extensible)
            return None
        return [given[index] for index in range(count)]

    def _named_index(
        self, name: str, parameters: Sequence[Parameter], argument: ast.Argument, extensible: bool
    ) -> int | None:
        assert argument.name is not None
        upper = argument.name.name.upper()
        for index, parameter in enumerate(parameters):
            if upper == parameter.name or (upper == parameter.alias and self.context.loose):
                return index
        stem, digits = parameters[-1].name.rstrip("0123456789") if parameters else "", ""
        digits = upper[len(stem) :]
        if extensible and upper.startswith(stem) and digits.isdigit() and len(digits) < 5:
            first = int(parameters[-1].name[len(stem) :])
            return len(parameters) - 1 + int(digits) - first
        self.error(
            "ST4001",
            argument.name,
            f"{name} has no parameter {argument.name.name}",
            expected=", ".join(parameter.name for parameter in parameters),
            found=argument.name.name,
            remedy="use the parameter's name from the standard, or give the values in order without names",
        )
        return None

    def _count_error(
        self, name: str, parameters: Sequence[Parameter], node: ast.Call, *, extensible: bool
    ) -> None:
        listed = ", ".join(parameter.name for parameter in parameters) + (", …" if extensible else "")
        self.error(
            "ST4003",
            node,
            f"{name} takes other arguments than these {len(node.arguments)}",
            expected=f"{name}({listed})",
            found=f"{len(node.arguments)} arguments",
            remedy="give each parameter one value",
        )

    # -- generic functions

    def _generic(self, signature: Signature, node: ast.Call, want: hir.Type | None) -> Value:
        nodes = self.bind(signature.name, signature.parameters, node, extensible=signature.extensible)
        if nodes is None:
            return self.poison(node)
        parameters = [signature.parameters[min(i, len(signature.parameters) - 1)] for i in range(len(nodes))]
        family = next((p.type for p in parameters if p.type.startswith("ANY")), "")
        hint = want if signature.result.startswith("ANY") else None
        values: list[Value] = []
        for parameter, argument in zip(parameters, nodes, strict=True):
            value = self._argument(parameter, argument, family, hint)
            values.append(value)
            if parameter.type == family and not value.literal and not value.unknown:
                hint = value.type
        if any(value.unknown for value in values):
            return self.poison(node)
        if family == "ANY_CHARS":
            return self._text_function(signature, parameters, values, nodes, node)
        return self._typed(signature, parameters, values, nodes, node, want)

    def _argument(
        self, parameter: Parameter, node: ast.Expression, family: str, hint: hir.Type | None
    ) -> Value:
        if parameter.type == "COUNT":
            expr = self.long_integer(node, what=parameter.name)
            return Value(expr, expr.type or types.UNKNOWN)
        if parameter.type == family:
            return self.expression(node, hint)
        kind = signatures.type_of(parameter.type)
        if types.is_bool(kind):
            return Value(self.boolean(node, what=parameter.name), types.BOOL)
        expr = self.convert(self.expression(node, kind), kind, node, what=parameter.name)
        return Value(expr, expr.type or types.UNKNOWN)

    def _typed(
        self,
        signature: Signature,
        parameters: Sequence[Parameter],
        values: list[Value],
        nodes: Sequence[ast.Expression],
        node: ast.Call,
        want: hir.Type | None,
    ) -> Value:
        name = _DATE_PARTS.get(signature.name, signature.name)
        generic = [i for i, parameter in enumerate(parameters) if parameter.type.startswith("ANY")]
        kind: hir.Type | None = None
        if generic:
            family = parameters[generic[0]].type
            kind = self.unify([values[i] for i in generic], family, want, node, signature.name)
            if kind is None:
                return self.poison(node)
            computed = self._unnarrowed(kind, [values[i] for i in generic], signature.name)
            for i in generic:
                values[i] = Value(self._brought(values[i], computed, nodes[i]), kind)
        else:
            computed = kind = signatures.type_of(signature.result)
        arguments = [value.expr for value in values]
        if signature.result.startswith("ANY"):
            return Value(hir.Intrinsic(name, arguments, computed, self.line(node)), kind)
        result = signatures.type_of(signature.result)
        return Value(hir.Intrinsic(name, arguments, result, self.line(node)), result)

    def _unnarrowed(self, kind: hir.Type, values: Sequence[Value], name: str) -> hir.Type:
        """Wide enough for arguments that are computed wider than their language type."""
        if name in _EXACT or not types.is_integer(kind):
            return kind
        for value in values:
            if not value.literal and types.is_integer(value.computed):
                kind = types.common(kind, value.computed, "codesys") or kind
        return kind

    def _brought(self, value: Value, kind: hir.Type, node: Spanned) -> hir.Expression:
        if value.literal or isinstance(kind, hir.Ref | hir.Interface):
            return self.convert(value, kind, node)
        return self.coerce(value.expr, kind)

    def unify(
        self, values: Sequence[Value], family: str, want: hir.Type | None, node: Spanned, name: str
    ) -> hir.Type | None:
        """The one type that all arguments of a generic family take; None after an error."""
        kind: hir.Type | None = None
        for value in values:
            if not value.literal:
                kind = value.type if kind is None else self.context.common(kind, value.type)
                if kind is None:
                    self._no_overload(name, family, values, node)
                    return None
        for value in values:
            if value.literal:
                kind = self._with_literal(kind, value, family, want)
        found = self._into_family(kind, family) if kind is not None else None
        if found is None:
            self._no_overload(name, family, values, node)
        return found

    def _with_literal(
        self, kind: hir.Type | None, value: Value, family: str, want: hir.Type | None
    ) -> hir.Type | None:
        if kind is not None and self.literal_fits(value, kind):
            return kind
        if (
            kind is None
            and want is not None
            and types.in_family(want, family)
            and self.literal_fits(value, want)
        ):
            return types.stripped(want)
        if kind is None and family == "ANY_REAL":
            return types.LREAL
        if family == "ANY_BIT" and kind is None and value.type == types.INT_LITERAL:
            return next((k for k in map(hir.Elementary, types.BITS) if self.literal_fits(value, k)), None)
        settled = self.settle(value).type
        return settled if kind is None else self.context.common(kind, settled)

    def _into_family(self, kind: hir.Type, family: str) -> hir.Type | None:
        if types.in_family(kind, family):
            return types.stripped(kind)
        if family == "ANY_REAL" and types.is_integer(kind):
            return types.REAL if self.context.fit(kind, types.REAL) is types.Fit.YES else types.LREAL
        if not self.context.loose:
            return None
        if types.is_bits(kind) and family in ("ANY_NUM", "ANY_MAGNITUDE"):
            assert isinstance(kind, hir.Elementary)
            return types.as_unsigned(kind)
        if types.is_bits(kind) and family == "ANY_REAL":
            return types.REAL
        return kind if family == "ANY_BIT" and types.is_integer(kind) else None

    def _no_overload(self, name: str, family: str, values: Sequence[Value], node: Spanned) -> None:
        found = ", ".join(types.type_name(self.settle(value).type) for value in values)
        self.error(
            "ST3006",
            node,
            f"{name} does not take {found}",
            expected=f"values of one type of {family}",
            found=found,
            remedy="convert the arguments to one type that the function takes",
        )

    # -- strings

    def _text_function(
        self,
        signature: Signature,
        parameters: Sequence[Parameter],
        values: list[Value],
        nodes: Sequence[ast.Expression],
        node: ast.Call,
    ) -> Value:
        arguments: list[hir.Expression] = []
        lengths: list[int] = []
        wide: bool | None = None
        for parameter, value, argument in zip(parameters, values, nodes, strict=True):
            if parameter.type == "COUNT":
                arguments.append(value.expr)
                continue
            text = self._as_text(value, wide)
            if text is None:
                self._no_overload(signature.name, "ANY_CHARS", [value], argument)
                return self.poison(node)
            assert isinstance(text.type, hir.String)
            wide = text.type.wide
            arguments.append(text)
            lengths.append(text.type.length)
        total = sum(lengths) if signature.result == "ANY_CHARS+" else lengths[0]
        kind: hir.Type = hir.String(max(min(total, types.STRING_LENGTH_MAX), 1), bool(wide))
        if not signature.result.startswith("ANY"):
            kind = signatures.type_of(signature.result)
        return Value(hir.Intrinsic(signature.name, arguments, kind, self.line(node)), kind)

    def _as_text(self, value: Value, wide: bool | None) -> hir.Expression | None:
        kind = value.type
        if types.is_kind(kind, *types.CHARS):
            kind = hir.String(1, types.is_kind(kind, types.CHARS[1]))
            value = Value(self.coerce(value.expr, kind), kind)
        if not isinstance(kind, hir.String) or (wide is not None and kind.wide != wide):
            return None
        return value.expr

    def pinned(self, value: Value, node: Spanned) -> Value:
        """A value that may stand in the tree twice."""
        if (
            value.literal
            or value.unknown
            or self.constant_only
            or isinstance(value.expr, hir.Constant | hir.Load)
        ):
            return value
        kept = self.temporary(value.computed, node)
        place = hir.VariablePlace(kept, kept.type, self.line(node))
        self.output.append(hir.Assign(place, value.expr, self.line(node)))
        return Value(hir.Load(place, kept.type, self.line(node)), value.type)

    # -- conversions

    def _conversion(self, name: str, conversion: Conversion, node: ast.Call) -> Value:
        nodes = self.bind(name, [Parameter("IN", "ANY")], node, extensible=False)
        if nodes is None:
            return self.poison(node)
        source = signatures.type_of(conversion.source) if conversion.source else None
        value = self.expression(nodes[0], source)
        if value.unknown:
            return value
        if source is not None:
            value = self._source_value(value, source, nodes[0], name)
        value = self.settle(value, source)
        kind = self._source_name(value.type)
        target_name = conversion.target or kind
        if conversion.kind == "bcd" and not conversion.target:
            target_name = self._bcd_type(kind)
        if value.unknown or not kind or not signatures.convertible(kind, target_name):
            if not value.unknown:
                self._no_conversion(name, value.type, target_name, node)
            return self.poison(node)
        target = signatures.type_of(target_name)
        if isinstance(value.expr, hir.Constant) and isinstance(target, hir.Elementary):
            constant = constants.convert(value.expr, target, conversion.kind)
            if constant is not None and not isinstance(value.expr.value, str):
                return Value(hir.Constant(target, constant.value, self.line(node)), target)
        return Value(hir.Convert(value.expr, target, conversion.kind, self.line(node)), target)

    def _source_value(self, value: Value, source: hir.Type, node: Spanned, name: str) -> Value:
        """The argument as the type that the function's name promises."""
        if isinstance(source, hir.String):
            text = self._as_text(value, source.wide)
            if text is not None:
                return Value(text, text.type or source)
        if self.context.loose and self._sloppy(value, source):
            # CODESYS takes any number here, and so the conversion is from what it really is.
            return value
        expr = self.convert(value, source, node, what=name)
        return Value(expr, source if expr.type == types.stripped(source) else types.UNKNOWN)

    def _sloppy(self, value: Value, source: hir.Type) -> bool:
        number = types.is_integer(value.type) or types.is_bits(value.type) or types.is_real(value.type)
        return not value.literal and number and self.context.fit(value.type, source) is types.Fit.NO

    @staticmethod
    def _source_name(kind: hir.Type) -> str:
        if isinstance(kind, hir.String):
            return "WSTRING" if kind.wide else "STRING"
        found = types.iec_type(kind)
        return found.name if found is not None and not isinstance(kind, hir.Ref) else ""

    @staticmethod
    def _bcd_type(name: str) -> str:
        names = {"USINT": "BYTE", "UINT": "WORD", "UDINT": "DWORD", "ULINT": "LWORD"}
        return names.get(name, name)

    def _no_conversion(self, name: str, source: hir.Type, target: str, node: Spanned) -> None:
        self.error(
            "ST3006",
            node,
            f"{name} cannot convert {types.type_name(source)}",
            expected="a type that has a conversion to it",
            found=types.type_name(source),
            remedy=f"convert in two steps, or choose another target than {target}",
        )
