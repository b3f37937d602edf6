"""Initial values and constants of declarations."""

from __future__ import annotations

from collections.abc import Iterator

from programs import ast, constants, hir, types
from programs.check_context import Context, Scope
from programs.check_statements import Body
from programs.check_types import ELEMENTS_MAX, TypeResolver
from programs.diagnostics import Spanned, closest
from programs.symbols import PouSymbol, State, VariableSymbol


class Initials:
    """Evaluates what stands behind ``:=`` in declarations; each variable once."""

    def __init__(self, context: Context, resolver: TypeResolver) -> None:
        self.context = context
        self.resolver = resolver
        self._states: dict[VariableSymbol, State] = {}
        self.symbols: dict[hir.Variable, VariableSymbol] = {}

    def body(self, scope: Scope) -> Body:
        body = Body(self.context, self.resolver, scope)
        body.constant_only = True
        return body

    # -- the hooks of the context

    def integer(self, node: ast.Expression, scope: Scope) -> int | None:
        """A constant whole number in a declaration: bounds, lengths, values of enumerations."""
        body = self.body(scope)
        value = body.expression(node, types.DINT)
        if value.unknown:
            if not any(problem.severity == "error" for problem in self.context.diagnostics.problems()):
                self._not_constant(
                    node, "a whole number"
                )  # such as a part of a literal: nobody has complained yet
            return None
        folded = body.folded(value)
        if folded is None or not isinstance(folded.value, int) or types.is_kind(folded.type, *types.TIMES):
            self._not_constant(node, "a whole number")
            return None
        return folded.value

    def constant_initial(self, variable: hir.Variable) -> hir.Initial | None:
        """The initial value of a variable, worked out now if it was not yet."""
        symbol = self.symbols.get(variable)
        if symbol is not None:
            self.variable(symbol)
        return variable.init

    def variable(self, symbol: VariableSymbol) -> None:
        """Fill in ``init`` of a variable's declaration."""
        state = self._states.get(symbol, State.NEW)
        if state is State.BUSY:
            self.context.error(
                "ST3019",
                symbol.node or (0, 0),
                f"the initial value of {symbol.name} depends on itself",
                remedy="give one of the constants of the circle a literal",
            )
            return
        if state is State.DONE or symbol.aliases is not None:
            return
        self._states[symbol] = State.BUSY
        kind = self.resolver.variable(symbol)
        node = symbol.node
        scope = Scope(symbol.scope or self.context.root, symbol.owner)
        if node is not None and node.initial is not None and kind is not types.UNKNOWN:
            given = self._given(_bound(node), kind, scope, symbol)
            symbol.variable.init = given if given is not None else symbol.variable.init
        elif node is not None and isinstance(node.type, ast.NamedType) and node.type.arguments:
            if not self._constructed(kind):
                symbol.variable.init = self._arguments(node.type, kind, scope)
        elif node is not None and symbol.variable.constant and not isinstance(kind, hir.Struct):
            self._missing_value(symbol, node)
        self._states[symbol] = State.DONE

    def _missing_value(self, symbol: VariableSymbol, node: ast.Variable) -> None:
        if not self.context.loose and symbol.section != "VAR_EXTERNAL":
            self.context.warn(
                "ST4113",
                node.name,
                f"the constant {symbol.name} has no value but the default of its type",
                remedy="give the constant a value",
            )

    def _given(
        self, node: ast.Expression, kind: hir.Type, scope: Scope, symbol: VariableSymbol
    ) -> hir.Initial | None:
        local = symbol.variable.storage in (hir.Storage.LOCAL, hir.Storage.INSTANCE)
        if local and isinstance(kind, hir.Array) and isinstance(kind.element, hir.Ref | hir.Interface):
            self.context.late_initials.setdefault(symbol.variable, node)
            return None
        late = self.context.loose or isinstance(kind, hir.Ref | hir.Interface)
        if local and late and self._runtime(node, kind, scope):
            self.context.late_initials.setdefault(symbol.variable, node)
            return None
        return self.initial(node, kind, scope)

    def _runtime(self, node: ast.Expression, kind: hir.Type, scope: Scope) -> bool:
        """CODESYS: an initial value that only run time knows, ``VAR p : POINTER TO INT := ADR(x)``."""
        if isinstance(node, ast.ArrayInitial | ast.StructInitial) or types.is_aggregate(kind):
            return False
        quiet = self.context.quiet()
        body = Body(quiet, TypeResolver(quiet), scope)
        value = body.expression(node, kind)
        return not value.unknown and not value.literal and constants.fold(value.expr) is None

    def _constructed(self, kind: hir.Type) -> bool:
        """The arguments behind the type are those of FB_Init: see ``check_construct``."""
        pou = self.context.pous.get(kind.pou) if isinstance(kind, hir.Instance) else None
        return pou is not None and pou.method("FB_INIT") is not None

    def _arguments(self, spec: ast.NamedType, kind: hir.Type, scope: Scope) -> hir.Initial | None:
        """``x : FB(a := 1)`` (CODESYS): initial values of inputs."""
        members = [
            ast.MemberInitial(argument.start, argument.end, argument.name, argument.value)
            for argument in spec.arguments or []
            if argument.name is not None and argument.value is not None
        ]
        return self.initial(ast.StructInitial(spec.start, spec.end, members), kind, scope)

    # -- values

    def initial(self, node: ast.Expression, kind: hir.Type, scope: Scope) -> hir.Initial | None:
        """The constant that a declaration gives; None after an error, or for all zeros."""
        if kind is types.UNKNOWN or isinstance(node, ast.Missing):
            return None
        match kind:
            case hir.Array():
                return self._array(node, kind, scope)
            case hir.Struct():
                return self._struct(node, {m.name.upper(): m.type for m in kind.members}, kind, scope)
            case hir.Instance():
                return self._struct(node, self._instance_members(kind), kind, scope)
        if isinstance(node, ast.StructInitial | ast.ArrayInitial):
            self._no_list(node, kind)
            return None
        return self._scalar(node, kind, scope)

    def _no_list(self, node: ast.Expression, kind: hir.Type) -> None:
        self.context.error(
            "ST3016",
            node,
            f"{types.type_name(kind)} takes a single value",
            expected=types.type_name(kind),
            found="a list of values",
            remedy="give one value",
        )

    def _scalar(self, node: ast.Expression, kind: hir.Type, scope: Scope) -> hir.Initial | None:
        body = self.body(scope)
        value = body.expression(node, kind)
        if value.unknown:
            return None
        expr = body.convert(value, kind, node)
        if isinstance(expr, hir.Address | hir.ToInterface):
            return self._address(expr, node)
        folded = constants.fold(expr)
        if folded is None:
            self._not_constant(node, "a constant")
            return None
        number = folded.value
        if isinstance(number, int) and isinstance(kind, hir.Elementary) and not types.holds(kind, number):
            self.context.error(
                "ST3007",
                node,
                f"{number} does not fit {types.type_name(kind)}",
                expected=f"{kind.low} to {kind.high}",
                found=str(number),
                remedy="use a value of the declared range",
            )
            return None
        return hir.Initial(number)

    def _address(self, expr: hir.Address | hir.ToInterface, node: Spanned) -> hir.Initial | None:
        path = _static_path(expr.place)
        if (
            path is not None
            and isinstance(expr, hir.ToInterface)
            and isinstance(expr.place.type, hir.Instance)
        ):
            return hir.Initial(hir.AddressOf(path, expr.place.type.pou))
        if path is None:
            self._not_constant(node, "REF of a global variable")
            return None
        return hir.Initial(hir.AddressOf(path))

    def _not_constant(self, node: Spanned, expected: str) -> None:
        self.context.error(
            "ST3008",
            node,
            "a declaration needs a constant here",
            expected=expected,
            found="a value that is known at run time only",
            remedy="declare what it uses as CONSTANT, or assign the value in the body",
        )

    # -- aggregates

    def _array(self, node: ast.Expression, kind: hir.Array, scope: Scope) -> hir.Initial | None:
        if not isinstance(node, ast.ArrayInitial):
            return self._constant_aggregate(node, kind, scope)
        count = 1
        for low, high in kind.dims:
            count *= high - low + 1
        elements: list[hir.Initial] = []
        for value in self._elements(node, kind, scope, len(kind.dims)):
            elements.append(value if value is not None else hir.Initial(0))
            if len(elements) > count:
                self.context.error(
                    "ST3016",
                    node,
                    "there are more initial values than elements",
                    expected=f"at most {count} values",
                    found="more",
                    remedy="remove values, or enlarge the array",
                )
                return None
        if not elements:
            return None
        return hir.Initial(elements)

    def _elements(
        self, node: ast.ArrayInitial, kind: hir.Array, scope: Scope, rank: int
    ) -> Iterator[hir.Initial | None]:
        """Element values in order; inner brackets of a multi-dimensional array are flattened."""
        for element in node.elements:
            repeat = 1
            if element.count is not None:
                given = self.integer(element.count, scope)
                repeat = given if given is not None and 0 <= given <= ELEMENTS_MAX else 0
            values: list[hir.Initial | None] = []
            for value in element.values:
                if self._is_repetition(value, scope):
                    assert isinstance(value, ast.Call)
                    yield from self._repetition(value, kind, scope, rank)
                    continue
                if isinstance(value, ast.ArrayInitial) and rank > 1:
                    values += self._elements(value, kind, scope, rank - 1)
                elif isinstance(value, ast.ArrayInitial) and not types.is_aggregate(kind.element):
                    values += self._elements(value, kind, scope, rank)
                else:
                    values.append(self.initial(value, kind.element, scope))
            if element.count is not None and not element.values:
                values = [hir.Initial(0)]
            for _ in range(repeat if values else 0):
                yield from values

    def _is_repetition(self, node: ast.Expression, scope: Scope) -> bool:
        """``N(0)`` with a constant N: as written it looks like a call."""
        if not isinstance(node, ast.Call) or not isinstance(node.callee, ast.Name):
            return False
        found = scope.find(node.callee.name.upper())
        return isinstance(found, VariableSymbol) and found.variable.constant

    def _repetition(
        self, node: ast.Call, kind: hir.Array, scope: Scope, rank: int
    ) -> Iterator[hir.Initial | None]:
        values = [argument.value for argument in node.arguments if argument.value is not None]
        element = ast.ArrayElement(node.start, node.end, node.callee, values)
        return self._elements(ast.ArrayInitial(node.start, node.end, [element]), kind, scope, rank)

    def _constant_aggregate(self, node: ast.Expression, kind: hir.Type, scope: Scope) -> hir.Initial | None:
        """A named constant of the same type."""
        body = self.body(scope)
        value = body.expression(node, kind)
        if value.unknown:
            return None
        body.convert(value, kind, node)
        place = value.expr.place if isinstance(value.expr, hir.Load) else None
        if isinstance(place, hir.VariablePlace) and place.variable.constant:
            return self.constant_initial(place.variable)
        if types.fit(value.type, kind, self.context.dialect) is not types.Fit.NO:
            self._not_constant(node, "a list of values [ … ] or ( … )")
        return None

    def _instance_members(self, kind: hir.Instance) -> dict[str, hir.Type]:
        pou: PouSymbol | None = self.context.pous.get(kind.pou)
        found: dict[str, hir.Type] = {}
        while pou is not None:
            for name, symbol in pou.members.items():
                if symbol.variable.storage is hir.Storage.INSTANCE:
                    found.setdefault(name, self.resolver.variable(symbol))
            pou = pou.base
        return found

    def _struct(
        self, node: ast.Expression, members: dict[str, hir.Type], kind: hir.Type, scope: Scope
    ) -> hir.Initial | None:
        if isinstance(node, ast.Parenthesised):
            return self._struct(node.inner, members, kind, scope)
        if isinstance(node, ast.AssignExpression) and isinstance(node.target, ast.Name) and node.op == ":=":
            # (a := 1) with one member reads like an assignment in brackets.
            member = ast.MemberInitial(node.start, node.end, node.target, node.value)
            node = ast.StructInitial(node.start, node.end, [member])
        if not isinstance(node, ast.StructInitial):
            return self._constant_aggregate(node, kind, scope)
        found: dict[str, hir.Initial] = {}
        for member in node.members:
            upper = member.name.name.upper()
            if upper not in members:
                meant = closest(upper, members)
                self.context.error(
                    "ST3012",
                    member.name,
                    f"{types.type_name(kind)} has no member {member.name.name}",
                    remedy=f"did you mean {meant}?" if meant else "correct the name",
                )
                continue
            value = self.initial(member.value, members[upper], scope)
            if value is not None:
                found[self._stored_name(kind, upper)] = value
        return hir.Initial(found)

    def _stored_name(self, kind: hir.Type, upper: str) -> str:
        """The declared name in lower case (CODESYS has second names for pins of standard blocks)."""
        if isinstance(kind, hir.Instance):
            symbol = self.context.pous[kind.pou].member(upper)
            if symbol is not None:
                return symbol.variable.name.lower()
        return upper.lower()


def _bound(node: ast.Variable) -> ast.Expression:
    """The initial value; ``REF= x`` (CODESYS) is REF(x)."""
    assert node.initial is not None
    if node.initial_op != "REF=":
        return node.initial
    start, end = node.initial.start, node.initial.end
    argument = ast.Argument(start, end, None, node.initial)
    return ast.Call(start, end, ast.Name(start, end, "REF"), [argument])


def _static_path(place: hir.Place) -> str | None:
    """The path of a part of a global variable, None if it is not static."""
    match place:
        case hir.VariablePlace(variable=variable):
            fixed = variable.storage in (hir.Storage.GLOBAL, hir.Storage.LOCATED)
            return variable.name if fixed else None
        case hir.MemberPlace():
            base = _static_path(place.base)
            return f"{base}.{place.member}" if base is not None else None
        case hir.IndexPlace():
            base = _static_path(place.base)
            values = [constants.fold(index) for index in place.indices]
            if base is None or any(value is None for value in values):
                return None
            return f"{base}[{','.join(str(value.value) for value in values if value is not None)}]"
    return None
