"""Calls of standard functions: operators in function form, the special ones, and the way to the generic ones."""

from __future__ import annotations

import itertools

from programs import ast, hir, signatures, types
from programs.check_generic import BodyGeneric
from programs.check_meanings import PlaceMeaning, SymbolMeaning
from programs.check_values import Value
from programs.diagnostics import Spanned
from programs.signatures import Parameter
from programs.symbols import PouSymbol, TypeSymbol

# SIZEOF of a pointer.
POINTER_BYTES = 4


class BodyStandard(BodyGeneric):
    """Layer 6: standard functions."""

    def standard_call(self, name: str, node: ast.Call, want: hir.Type | None) -> Value:
        """A call of the standard function of this upper-case name."""
        if name in signatures.FUNCTIONS:
            return self._generic(signatures.FUNCTIONS[name], node, want)
        if name in signatures.OPERATORS:
            return self._operator(name, node, want)
        if name in signatures.TIMED:
            return self._timed(name, node)
        if name in signatures.SPLITS:
            return self._split(name, node)
        if name in signatures.SPECIAL:
            return self._special(name, node, want)
        conversion = signatures.conversion(name)
        if conversion is None:
            return self.poison(node)
        return self._conversion(name, conversion, node)

    # -- operators in function form

    def _operator(self, name: str, node: ast.Call, want: hir.Type | None) -> Value:
        op, fewest, most = signatures.OPERATORS[name]
        stem = [Parameter("IN1", "ANY"), Parameter("IN2", "ANY")]
        nodes = self.bind(name, stem, node, extensible=most == 0)
        if nodes is None or len(nodes) < fewest:
            return self.poison(node)
        comparison = op in (">", ">=", "=", "<=", "<", "<>")
        hint = None if comparison else want
        values = [self.expression(nodes[0], hint)]
        for argument in nodes[1:]:
            known = values[0].type
            plain = values[0].literal or values[0].unknown or op == "**" or types.is_kind(known, *types.TIMES)
            values.append(self.expression(argument, hint if plain else known))
        if comparison:
            return self._chain(op, values, node)
        result = values[0]
        for value in values[1:]:
            result = self.combine(op, result, value, node, hint)
        return result

    def _chain(self, op: str, values: list[Value], node: Spanned) -> Value:
        """GT(a, b, c) is a > b AND b > c."""
        if len(values) > 2:
            values = [values[0], *(self.pinned(value, node) for value in values[1:-1]), values[-1]]
        result = self.combine(op, values[0], values[1], node)
        for left, right in itertools.pairwise(values[1:]):
            result = self.combine("AND", result, self.combine(op, left, right, node), node)
        return result

    def _timed(self, name: str, node: ast.Call) -> Value:
        op, left, right = signatures.TIMED[name]
        nodes = self.bind(name, [Parameter("IN1", left), Parameter("IN2", right)], node, extensible=False)
        if nodes is None:
            return self.poison(node)
        values: list[Value] = []
        for kind_name, argument in zip((left, right), nodes, strict=True):
            if kind_name == "ANY_NUM":
                values.append(self.expression(argument))
                continue
            kind = signatures.type_of(kind_name)
            expr = self.convert(self.expression(argument, kind), kind, argument)
            values.append(Value(expr, kind))
        return self.combine(op, values[0], values[1], node)

    # -- special functions

    def _special(self, name: str, node: ast.Call, want: hir.Type | None) -> Value:
        if name in ("__NEW", "__DELETE"):
            self.error(
                "ST4024",
                node,
                f"{name} asks for memory at run time, which a state block does not have",
                remedy="declare the instances as variables or as an array",
            )
            return self.poison(node)
        if name in ("__QUERYINTERFACE", "__QUERYPOINTER"):
            return self._query(node)
        if name in ("LOWER_BOUND", "UPPER_BOUND"):
            return self._bound(name, node)
        nodes = self.bind(name, [Parameter("IN", "ANY")], node, extensible=False)
        if nodes is None:
            return self.poison(node)
        argument = nodes[0]
        match name:
            case "NOT":
                operand = self.expression(argument, want)
                return operand if operand.unknown else self.invert(operand, node, want)
            case "MOVE":
                return self.expression(argument, want)
            case "REF" | "ADR":
                return self._address(argument, node)
            case "SIZEOF":
                return self._size(argument, node, want)
            case "__ISVALIDREF":
                return self._valid(argument, node)
        return self._truncate(name, argument, node, want)

    def _truncate(self, name: str, argument: ast.Expression, node: Spanned, want: hir.Type | None) -> Value:
        value = self.settle(self.expression(argument), types.LREAL)
        if value.unknown:
            return value
        if types.is_integer(value.type):
            return value
        if not types.is_real(value.type):
            self._no_overload(name, "ANY_REAL", [value], argument)
            return self.poison(node)
        kind = types.stripped(want) if want is not None and types.is_integer(want) else types.DINT
        kind = types.INT if name == "TRUNC_INT" else kind
        how = "to" if name == "ROUND" else "trunc"
        return Value(hir.Convert(value.expr, kind, how, self.line(node)), kind)

    def _address(self, argument: ast.Expression, node: Spanned) -> Value:
        found = self.meaning(argument)
        if (
            isinstance(found, SymbolMeaning)
            and isinstance(found.symbol, PouSymbol)
            and found.symbol.kind == "program"
        ):
            found = self.program_place(found.symbol, argument) if self.context.loose else found
        if not isinstance(found, PlaceMeaning) or isinstance(found.place, hir.PartPlace):
            if found is not None:
                self.error(
                    "ST3013",
                    argument,
                    "only a variable has an address",
                    expected="a variable, a member or an array element",
                    found="a value or a single bit",
                    remedy="assign the value to a variable and refer to that",
                )
            return self.poison(node)
        self.mark_used(found.root, node)
        self.mark_addressed(found.place)
        kind = hir.Ref(found.type)
        return Value(hir.Address(found.place, kind, self.line(node)), kind)

    def mark_addressed(self, place: hir.Place) -> None:
        """The variable at the start of a place must stay where a reference finds it."""
        while isinstance(place, hir.MemberPlace | hir.IndexPlace | hir.PartPlace):
            place = place.base
        if isinstance(place, hir.VariablePlace):
            place.variable.addressed = True

    def _size(self, argument: ast.Expression, node: Spanned, want: hir.Type | None) -> Value:
        kind = self._measured(argument)
        if kind is None or kind is types.UNKNOWN:
            return self.poison(node)
        whole = want is not None and (types.is_integer(want) or types.is_bits(want))
        result = types.stripped(want) if whole and want is not None else types.UDINT
        size = _flat_size(kind)
        if size is not None:
            return Value(hir.Constant(types.INT_LITERAL, size, self.line(node)), types.INT_LITERAL)
        if isinstance(kind, hir.Ref):
            # Libraries of 32-bit controllers count in pointers where they mean REALs (OSCAT's arrays do); an offset
            # in the block fits into 32 bits.
            return Value(hir.Constant(result, POINTER_BYTES, self.line(node)), result)
        return Value(hir.SizeOf(kind, result, self.line(node)), result)

    def _measured(self, argument: ast.Expression) -> hir.Type | None:
        if isinstance(argument, ast.TypeOperand):
            return self.resolver.resolve(argument.type, self.scope, "SIZEOF").type
        if isinstance(argument, ast.Name):
            spec = ast.NamedType(argument.start, argument.end, argument.name)
            known = self.scope.find(argument.name.upper())
            symbol = self.resolver.find_type(argument.name, self.scope) if known is None else known
            elementary = argument.name.upper() in types.ELEMENTARY
            block = isinstance(symbol, PouSymbol) and symbol.kind in ("function_block", "class")
            if isinstance(symbol, TypeSymbol) or elementary or block:
                return self.resolver.resolve(spec, self.scope, "SIZEOF").type
        found = self.meaning(argument)
        if isinstance(found, PlaceMeaning):
            self.mark_read(found.root)
            return found.type
        return self.rvalue(found, argument).type if found is not None else None

    def _valid(self, argument: ast.Expression, node: Spanned) -> Value:
        found = self.meaning(argument)
        line = self.line(node)
        if isinstance(found, PlaceMeaning) and isinstance(found.place, hir.DerefPlace):
            reference = found.place.reference
            null = hir.Constant(Value(reference, types.NULL).computed, 0, line)
            return Value(hir.Compare("ne", reference, null, types.BOOL, line), types.BOOL)
        value = self.rvalue(found, argument) if found is not None else self.poison(node)
        if isinstance(value.type, hir.Ref):
            null = hir.Constant(value.type, 0, line)
            return Value(hir.Compare("ne", value.expr, null, types.BOOL, line), types.BOOL)
        if not value.unknown:
            self._no_overload("__ISVALIDREF", "references", [value], argument)
        return self.poison(node)

    def _query(self, node: ast.Call) -> Value:
        """``__QUERYINTERFACE(from, to)``: TRUE, and ``to`` set, if the instance has the other interface."""
        parameters = [Parameter("FROM", "ANY"), Parameter("TO", "ANY")]
        nodes = self.bind("__QUERYINTERFACE", parameters, node, extensible=False)
        if nodes is None:
            return self.poison(node)
        source = self.expression(nodes[0])
        target = self.meaning(nodes[1])
        if source.unknown or not isinstance(target, PlaceMeaning):
            return self.poison(node)
        if not isinstance(target.type, hir.Interface | hir.Ref):
            self._no_overload("__QUERYINTERFACE", "interfaces", [self.load(target, nodes[1])], nodes[1])
            return self.poison(node)
        line = self.line(node)
        self.mark_written(target.root, node)
        self.output.append(hir.Assign(target.place, hir.Query(source.expr, target.type, line), line))
        result = hir.Load(target.place, target.type, line)
        null = hir.Constant(target.type, 0, line)
        return Value(hir.Compare("ne", result, null, types.BOOL, line), types.BOOL)

    def _bound(self, name: str, node: ast.Call) -> Value:
        parameters = [Parameter("ARR", "ANY"), Parameter("DIM", "COUNT")]
        nodes = self.bind(name, parameters, node, extensible=False)
        found = self.meaning(nodes[0]) if nodes is not None else None
        if nodes is None or not isinstance(found, PlaceMeaning):
            return self.poison(node)
        wanted = self.expression(nodes[1], types.LINT)
        dimension = self.folded(wanted)
        number = dimension.value if dimension is not None else None
        rank = found.type.rank if isinstance(found.type, hir.OpenArray) else 0
        if dimension is None and not wanted.unknown and isinstance(found.place, hir.VariablePlace) and rank:
            return self._chosen_bound(name == "UPPER_BOUND", found, wanted, nodes[1])
        rank = len(found.type.dims) if isinstance(found.type, hir.Array) else rank
        if not isinstance(number, int) or not 1 <= number <= rank:
            self.error(
                "ST3011",
                nodes[1] if rank else nodes[0],
                f"{name} asks for a dimension that the array does not have",
                expected=f"a constant from 1 to {rank}" if rank else "an array",
                found=str(number) if isinstance(number, int) else "no constant",
                remedy="give an array and the number of one of its dimensions",
            )
            return self.poison(node)
        upper = name == "UPPER_BOUND"
        line = self.line(node)
        self.mark_read(found.root)
        if isinstance(found.type, hir.Array):
            bound = found.type.dims[number - 1][1 if upper else 0]
            return Value(hir.Constant(types.INT_LITERAL, bound, line), types.INT_LITERAL)
        assert isinstance(found.place, hir.VariablePlace)
        return Value(hir.Bound(found.place.variable, number, upper, types.DINT, line), types.DINT)

    def _chosen_bound(self, upper: bool, found: PlaceMeaning, wanted: Value, node: ast.Expression) -> Value:
        """A dimension that only run time knows."""
        assert isinstance(found.place, hir.VariablePlace)
        assert isinstance(found.type, hir.OpenArray)
        self.mark_read(found.root)
        line = self.line(node)
        first = Value(hir.Constant(types.LINT, 1, line), types.LINT)
        number = self.combine(
            "-", Value(self.as_long(wanted, node, what="the dimension"), types.LINT), first, node
        )
        bounds = [
            hir.Bound(found.place.variable, dimension, upper, types.DINT, line)
            for dimension in range(1, found.type.rank + 1)
        ]
        return Value(hir.Intrinsic("MUX", [number.expr, *bounds], types.DINT, line), types.DINT)

    # -- functions with outputs only

    def _split(self, name: str, node: ast.Call) -> Value:
        source, outputs = signatures.SPLITS[name]
        kind = signatures.type_of(source)
        line = self.line(node)
        positional: list[str] = ["IN", *outputs]
        value: hir.Expression | None = None
        targets: list[tuple[str, ast.Expression]] = []
        for index, argument in enumerate(node.arguments):
            written = argument.name.name.upper() if argument.name is not None else ""
            which = written or (positional[index] if index < len(positional) else "")
            if which not in positional or argument.value is None:
                self._count_error(name, [Parameter(p, "") for p in positional], node, extensible=False)
                return self.poison(node)
            if which == "IN":
                given = self.expression(argument.value, kind)
                value = self.pinned(Value(self.convert(given, kind, argument.value), kind), node).expr
            else:
                targets.append((which, argument.value))
        if value is None:
            self._count_error(name, [Parameter(p, "") for p in positional], node, extensible=False)
            return self.poison(node)
        for which, target in targets:
            part = Value(hir.Intrinsic(which, [value], types.INT, line), types.INT)
            self.store(target, part, node)
        return Value(hir.Constant(types.VOID, 0, line), types.VOID)

    def store(self, target: ast.Expression, value: Value, node: Spanned) -> None:
        raise NotImplementedError


def _flat_size(kind: hir.Type) -> int | None:
    """Bytes of what has no members (the layout of structures is the back end's); as in ``programs.layout``."""
    if isinstance(kind, hir.String):
        return (kind.length + 1) * (2 if kind.wide else 1)
    if isinstance(kind, hir.Elementary):
        return max(types.WIDTH[kind.type] // 8, 1)
    if isinstance(kind, hir.Enum):
        return types.WIDTH[kind.base] // 8
    if isinstance(kind, hir.Array):
        size = _flat_size(kind.element)
        for low, high in kind.dims:
            size = size * (high - low + 1) if size is not None else None
        return size
    return None
