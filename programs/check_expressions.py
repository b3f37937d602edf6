"""Expressions: literals, and the way to everything else."""

from __future__ import annotations

from programs import ast, hir, types
from programs.check_meanings import (
    PlaceMeaning,
    PropertyMeaning,
    SuperMeaning,
    SymbolMeaning,
    ValueMeaning,
)
from programs.check_properties import BodyProperties
from programs.check_types import elementary
from programs.check_values import Given, Value
from programs.symbols import EnumValueSymbol, TypeSymbol


class BodyExpressions(BodyProperties):
    """Layer 11: every expression."""

    def expression(self, node: ast.Expression, want: hir.Type | None = None) -> Value:
        """The value of an expression; ``want`` is what the context would like, and decides literals only."""
        line = self.line(node)
        match node:
            case ast.IntegerLiteral():
                return self._integer(node)
            case ast.Name():
                return self._named_value(node, want)
            case ast.Binary():
                return self.binary(node, want)
            case ast.Unary():
                return self.unary(node, want)
            case ast.Parenthesised():
                if isinstance(node.inner, ast.AssignExpression) and isinstance(
                    want, hir.Struct | hir.Instance
                ):
                    return self._initial_expression(node, want)
                return self.expression(node.inner, want)
            case ast.RealLiteral():
                return self._real(node)
            case ast.BoolLiteral():
                return Value(hir.Constant(types.BOOL, int(node.value), line), types.BOOL)
            case ast.TimeLiteral():
                return self._time(node, want)
            case ast.StringLiteral():
                return self._text(node)
            case ast.NullLiteral():
                return Value(hir.Constant(types.NULL, 0, line), types.NULL)
            case ast.EnumLiteral():
                return self._enum_literal(node)
            case ast.Call():
                return self.call(node, want)
            case ast.Missing():
                return self.poison(node)
            case ast.AssignExpression():
                return self._assignment(node, want)
            case ast.ArrayInitial() | ast.StructInitial():
                return self._initial_expression(node, want)
            case ast.NewExpression() | ast.TypeOperand():
                return self._no_expression(node)
        if isinstance(node, Given):
            return node.value
        if isinstance(node, ast.This | ast.Super) and self.context.loose:
            return self._own_reference(node)
        meaning = self.meaning(node)
        return self.rvalue(meaning, node) if meaning is not None else self.poison(node)

    def _own_reference(self, node: ast.This | ast.Super) -> Value:
        """CODESYS: THIS and SUPER are pointers to the instance."""
        meaning = self.meaning(node)
        if meaning is None:
            return self.poison(node)
        kind = hir.Instance(meaning.base.key) if isinstance(meaning, SuperMeaning) else None
        if kind is None:
            assert isinstance(meaning, PlaceMeaning)
            assert isinstance(meaning.type, hir.Instance)
            kind = meaning.type
        line = self.line(node)
        reference = hir.Ref(kind)
        return Value(hir.Address(hir.ThisPlace(kind, line), reference, line), reference)

    # -- literals

    def _literal_type(self, node: ast.Node, name: str) -> hir.Type:
        """The type that a literal's prefix names."""
        found = elementary(name.upper(), self.context.dialect)
        if found is None:
            found = self.resolver.resolve(ast.NamedType(node.start, node.end, name), self.scope, name).type
        return found

    def _integer(self, node: ast.IntegerLiteral) -> Value:
        line = self.line(node)
        value = Value(hir.Constant(types.INT_LITERAL, node.value, line), types.INT_LITERAL)
        if not node.type:
            return value
        kind = self._literal_type(node, node.type)
        if kind is types.UNKNOWN:
            return self.poison(node)
        if not isinstance(kind, hir.Elementary):
            self.error(
                "ST3007",
                node,
                f"{node.type}# is no prefix for a number",
                expected="a numeric or bit string type",
                found=types.type_name(kind),
                remedy="remove the prefix, or name an elementary type",
            )
            return self.poison(node)
        expr = self.convert(value, kind, node)
        return Value(expr, types.stripped(kind)) if expr.type == types.stripped(kind) else self.poison(node)

    def _real(self, node: ast.RealLiteral) -> Value:
        value = Value(hir.Constant(types.REAL_LITERAL, node.value, self.line(node)), types.REAL_LITERAL)
        if not node.type:
            return value
        kind = self._literal_type(node, node.type)
        if kind is types.UNKNOWN:
            return self.poison(node)
        expr = self.convert(value, kind, node)
        return Value(expr, types.stripped(kind)) if expr.type == types.stripped(kind) else self.poison(node)

    def _time(self, node: ast.TimeLiteral, want: hir.Type | None) -> Value:
        kind = types.ELEMENTARY[node.type]
        assert isinstance(kind, hir.Elementary)
        if (
            want is not None
            and types.is_kind(want, *types.TIMES)
            and types.fit(kind, want, "iec") is types.Fit.YES
        ):
            kind = hir.Elementary(want.type) if isinstance(want, hir.Elementary) else kind
        if not types.holds(kind, node.value_ns):
            self.error(
                "ST3007",
                node,
                "the time is too large",
                expected="about 292 years at most",
                found=f"{node.value_ns} ns",
                remedy="use a smaller value",
            )
            return self.poison(node)
        return Value(hir.Constant(kind, node.value_ns, self.line(node)), kind)

    def _text(self, node: ast.StringLiteral) -> Value:
        line = self.line(node)
        prefix = node.type.upper()
        if prefix in ("CHAR", "WCHAR"):
            kind = types.ELEMENTARY[prefix]
            if len(node.value) == 1 and types.holds(kind, ord(node.value)):
                return Value(hir.Constant(kind, ord(node.value), line), kind)
            self.error(
                "ST3007",
                node,
                f"{prefix}# takes exactly one character",
                expected="one character",
                found=f"{len(node.value)} characters",
                remedy=f"use one character, or a {'W' if prefix == 'WCHAR' else ''}STRING",
            )
            return self.poison(node)
        wide = node.wide or prefix == "WSTRING"
        text = node.value[: types.STRING_LENGTH_MAX]
        kind = hir.String(max(len(text), 1), wide)
        return Value(hir.Constant(kind, text, line), kind)

    def _enum_literal(self, node: ast.EnumLiteral) -> Value:
        name = ".".join(part.name for part in self.context.path(node.type))
        symbol = self.resolver.find_type(name, self.scope)
        kind: hir.Type = elementary(name.upper(), self.context.dialect) or types.UNKNOWN
        if kind is not types.UNKNOWN:
            pass
        elif isinstance(symbol, TypeSymbol):
            kind = self.resolver.type_symbol(symbol).type
        elif symbol is None:
            self.context.unknown_name(node.type, name, self.resolver.type_names(self.scope), what="type")
        if isinstance(kind, hir.Enum):
            found = self.enum_member(kind, node.value)
            return self.rvalue(found, node) if found is not None else self.poison(node)
        if isinstance(kind, hir.Elementary | hir.String):
            value = self.expression(node.value, kind)
            return Value(self.convert(value, kind, node), types.stripped(kind))
        if symbol is not None and kind is not types.UNKNOWN:
            self.error(
                "ST3015",
                node.type,
                f"{name} is no enumeration",
                expected="the name of an enumeration before #",
                found=types.type_name(kind),
                remedy="name the enumeration that has this value",
            )
        return self.poison(node)

    def _named_value(self, node: ast.Name, want: hir.Type | None) -> Value:
        """A name; among enumerations that share a value's name, the wanted one decides."""
        upper = node.name.upper()
        if isinstance(want, hir.Enum):
            found = self.scope.find(upper)
            if found is None or isinstance(found, EnumValueSymbol):
                for value, number in want.values:
                    if value.upper() == upper:
                        return Value(hir.Constant(want, number, self.line(node)), want)
        meaning = self.meaning(node)
        return self.rvalue(meaning, node) if meaning is not None else self.poison(node)

    # -- aggregates, assignments

    def _initial_expression(self, node: ast.Expression, want: hir.Type | None) -> Value:
        """``[1, 2]`` or ``(a := 1)`` where a value is expected (CODESYS): a constant of the wanted type."""
        if want is None or not types.is_aggregate(want) or self.constant_only:
            self.error(
                "ST3006",
                node,
                "a list of values can only initialise or be assigned to an array or structure",
                expected=types.type_name(want) if want is not None else "a single value",
                found="a list of values",
                remedy="use it in a declaration",
            )
            return self.poison(node)
        kept = self.temporary(want, node)
        kept.init = self.context.initial(node, want, self.scope)
        line = self.line(node)
        return Value(hir.Load(hir.VariablePlace(kept, want, line), want, line), want)

    def _no_expression(self, node: ast.NewExpression | ast.TypeOperand) -> Value:
        new = isinstance(node, ast.NewExpression)
        self.error(
            "ST4024" if new else "ST3004",
            node,
            "__NEW asks for memory at run time, which a state block does not have"
            if new
            else "a type is no value",
            expected="a value",
            found="__NEW" if new else "a type",
            remedy="declare the instance as a variable" if new else "name a variable",
        )
        return self.poison(node)

    def _assignment(self, node: ast.AssignExpression, want: hir.Type | None) -> Value:
        """``a := b := c`` (CODESYS): the inner assignment is done first, its target is the value."""
        if self.constant_only:
            return self.poison(node)
        self.assign(node.target, node.op, node.value, node)
        meaning = self.meaning(node.target)
        return self.rvalue(meaning, node) if meaning is not None else self.poison(node)

    def assign(self, target: ast.Expression, op: str, source: ast.Expression, node: ast.Node) -> None:
        """An assignment; its statements go to ``output``."""
        if op == "REF=":
            self._bind_reference(target, source, node)
            return
        found = self.meaning(target)
        if found is None:
            self.expression(source)
            return
        kind = self._target_type(found)
        value = self.expression(source, kind)
        if op in ("S=", "R="):
            self._latch(target, op, value, node)
        elif op == "?=":
            self._attempt(found, value, target, node)
        else:
            self._store(found, value, target, source)

    def _target_type(self, found: object) -> hir.Type | None:
        if isinstance(found, PlaceMeaning):
            return found.type
        return self.resolver.property(found.symbol) if isinstance(found, PropertyMeaning) else None

    def store(self, target: ast.Expression, value: Value, node: object) -> None:
        found = self.meaning(target)
        if found is not None:
            self._store(found, value, target, target)

    def _store(self, found: object, value: Value, target: ast.Expression, source: ast.Expression) -> None:
        if isinstance(found, PropertyMeaning):
            self.set_property(found, value, source)
            return
        if not isinstance(found, PlaceMeaning):
            self._not_assignable(target, self._what(found))
            return
        self.mark_written(found.root, target)
        if found.readonly:
            self._not_assignable(target, found.readonly)
            return
        self.doubtful(found, target)
        if found.type is types.UNKNOWN or value.unknown:
            return
        if value.type is types.VOID:
            self._no_result(source)
            return
        if isinstance(found.type, hir.Instance | hir.OpenArray):
            self._not_assignable(target, f"a whole {types.type_name(found.type)}")
            return
        expr = self.convert(value, found.type, source, what=self._target_name(found))
        if not (isinstance(expr, hir.Constant) and expr.type is types.UNKNOWN):
            self.output.append(hir.Assign(found.place, expr, self.line(target)))

    def _no_result(self, node: ast.Expression) -> None:
        self.error(
            "ST4006",
            node,
            "this call gives no value",
            expected="a function with a result",
            found="one without",
            remedy="call it as a statement, or declare a result type",
        )

    def doubtful(self, found: PlaceMeaning, target: ast.Expression) -> None:
        if found.doubt:
            self.context.warn(
                "ST4111",
                target,
                f"{found.doubt} is assigned by the unit that it is given to",
                remedy="copy it to a local variable and change that",
            )

    @staticmethod
    def _target_name(found: PlaceMeaning) -> str:
        place = found.place
        if isinstance(place, hir.VariablePlace):
            return place.variable.name
        return place.member if isinstance(place, hir.MemberPlace) else ""

    def _what(self, found: object) -> str:
        if isinstance(found, SymbolMeaning):
            return self.context.describe(found.symbol)
        return "a value" if isinstance(found, ValueMeaning) else "a function"

    def _not_assignable(self, node: ast.Expression, found: str) -> None:
        remedies = {
            "an input": "copy the input to a local variable and change that",
            "a constant": "remove CONSTANT from the declaration, or assign to a variable",
            "an output of a block": "only the block itself writes its outputs; use an input",
        }
        self.error(
            "ST3013",
            node,
            "this cannot be assigned",
            expected="a variable that may be written",
            found=found,
            remedy=remedies.get(found, "assign to a variable"),
        )

    def _latch(self, target: ast.Expression, op: str, value: Value, node: ast.Node) -> None:
        """``x S= c`` sets x when c is TRUE, ``x R= c`` resets it."""
        condition = self.convert(value, types.BOOL, node)
        line = self.line(node)
        constant = Value(hir.Constant(types.BOOL, int(op == "S="), line), types.BOOL)
        body = self.statements_of(lambda: self.store(target, constant, node))
        self.output.append(hir.If([(condition, body)], line))

    def _attempt(self, found: object, value: Value, target: ast.Expression, node: ast.Node) -> None:
        """``?=``: the reference if its dynamic type fits, else NULL (IEC 61131-3:2013, table 52)."""
        if value.unknown or not isinstance(found, PlaceMeaning):
            return
        kind = found.type
        possible = isinstance(kind, hir.Ref | hir.Interface) and isinstance(
            value.type, hir.Ref | hir.Interface | hir.Instance
        )
        if not possible:
            self.error(
                "ST3020",
                node,
                "?= is for references and interfaces",
                expected="a reference or interface on both sides",
                found=f"{types.type_name(kind)} and {types.type_name(value.type)}",
                remedy="use := for other types",
            )
            return
        self.mark_written(found.root, target)
        line = self.line(node)
        self.output.append(hir.Assign(found.place, hir.Query(value.expr, kind, line), line))

    def _bind_reference(self, target: ast.Expression, source: ast.Expression, node: ast.Node) -> None:
        """``r REF= x``: r refers to x from now on."""
        found = self.meaning(target)
        if found is None:
            return
        place = found.place if isinstance(found, PlaceMeaning) else None
        # The target was read through: the reference itself is what is assigned.
        load = place.reference if isinstance(place, hir.DerefPlace) else None
        if isinstance(found, PlaceMeaning) and isinstance(found.type, hir.Ref) and self.context.loose:
            load = hir.Load(found.place, found.type, self.line(node))
            self.mark_written(found.root, target)
        if not isinstance(load, hir.Load) or not isinstance(load.type, hir.Ref):
            self.error(
                "ST3020",
                target,
                "REF= is for variables of a REFERENCE TO type",
                expected="REFERENCE TO",
                found=types.type_name(self._target_type(found) or types.UNKNOWN),
                remedy="use := here",
            )
            return
        if isinstance(place, hir.DerefPlace) and isinstance(load.place, hir.VariablePlace):
            self.mark_written(load.place.variable, target)
        null = isinstance(source, ast.NullLiteral) or (
            isinstance(source, ast.IntegerLiteral) and source.value == 0
        )
        line = self.line(node)
        expr: hir.Expression = (
            hir.Constant(load.type, 0, line) if null else self.reference_to(source, load.type)
        )
        if expr.type is not types.UNKNOWN:
            self.output.append(hir.Assign(load.place, expr, line))
