"""Constructors of CODESYS: ``fb : Valve(channel := 3)`` calls FB_Init of the instance before anything else runs.

For each block that contains instances with such a method, or extends one that does, a method ``_construct`` is made.
It constructs the base, then for each member its own members and the member itself. Programs call it once, at their
first call, after the initial values; FB_Init of a base runs before that of the block that extends it, with those
arguments that it has parameters for. The first two parameters (bInitRetains, bInCopyCode) are TRUE and FALSE.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from programs import ast, hir, types
from programs.check_context import Context, Scope
from programs.check_meanings import CallableMeaning
from programs.check_statements import Body
from programs.check_types import TypeResolver
from programs.symbols import PouSymbol, State, VariableSymbol

FB_INIT = "FB_INIT"
SPECIAL_METHODS = frozenset((FB_INIT, "FB_EXIT", "FB_REINIT"))
GLOBALS = "_construct_globals"
_OWN_PARAMETERS = 2


class Constructors:
    """Makes the methods, when the first program asks for one."""

    def __init__(self, context: Context, resolver: TypeResolver) -> None:
        self.context = context
        self.resolver = resolver
        self._needed: dict[str, bool] = {}
        self._made: dict[str, PouSymbol] = {}
        self._ready: hir.Variable | None = None

    def needed(self, symbol: PouSymbol) -> bool:
        """Whether something in an instance has to be constructed."""
        if symbol.key not in self._needed:
            self._needed[symbol.key] = False  # a block cannot contain itself
            inner = [self._block(member.variable.type) for member in _stored(symbol)]
            self._needed[symbol.key] = any(
                one is not None and (one.method(FB_INIT) or self.needed(one)) for one in inner
            ) or (symbol.base is not None and self.needed(symbol.base))
        return self._needed[symbol.key]

    def _block(self, kind: hir.Type) -> PouSymbol | None:
        while isinstance(kind, hir.Array):
            kind = kind.element
        return self.context.pous.get(kind.pou) if isinstance(kind, hir.Instance) else None

    def call(self, symbol: PouSymbol, line: int) -> list[hir.Statement]:
        """Statements that construct everything in THIS."""
        if not self.needed(symbol):
            return []
        made = self._method(symbol)
        this = hir.ThisPlace(hir.Instance(symbol.key), line)
        return [hir.CallStatement(hir.Call(made.key, [], None, receiver=this, line=line), line)]

    def globals_call(self, line: int) -> list[hir.Statement]:
        """Statements that construct the global instances, in the first program that runs."""
        found = [
            (one, block)
            for one in self.context.globals
            if (block := self._block(one.variable.type)) is not None
            and one.variable.storage is hir.Storage.GLOBAL
            and (block.method(FB_INIT) or self.needed(block))
        ]
        if not found:
            return []
        if self._ready is None:
            self._ready = hir.Variable(
                "_constructed", types.BOOL, hir.Storage.GLOBAL, attributes={"access": "none"}
            )
            pou = hir.Pou(GLOBALS, "function", [], [])
            made = PouSymbol(GLOBALS, "function", self.context.root, pou, None, state=State.DONE)
            self.context.pous[GLOBALS] = made
            checker = Body(self.context, self.resolver, Scope(self.context.root, made))
            pou.body = checker.statements_of(partial(self._members, checker, found))
            flag = VariableSymbol(self._ready.name, self._ready, None, "VAR_GLOBAL", state=State.DONE)
            self.context.globals.append(flag)
        place = hir.VariablePlace(self._ready, types.BOOL, line)
        condition = hir.Unary("not", hir.Load(place, types.BOOL, line), types.BOOL, line)
        done = hir.Assign(place, hir.Constant(types.BOOL, 1, line), line)
        work = hir.CallStatement(hir.Call(GLOBALS, [], None, line=line), line)
        return [hir.If([(condition, [done, work])], line)]

    def _method(self, symbol: PouSymbol) -> PouSymbol:
        if symbol.key in self._made:
            return self._made[symbol.key]
        key = f"{symbol.key}._construct"
        pou = hir.Pou(key, "method", [], [], owner=symbol.key, file=symbol.pou.file, line=symbol.pou.line)
        made = PouSymbol(key, "method", symbol.scope, pou, None, owner=symbol, state=State.DONE)
        self._made[symbol.key] = self.context.pous[key] = made
        checker = Body(self.context, self.resolver, Scope(symbol.scope, made))
        pou.body = checker.statements_of(lambda: self._contents(checker, symbol))
        return made

    def _contents(self, checker: Body, symbol: PouSymbol) -> None:
        line = symbol.pou.line
        if symbol.base is not None and self.needed(symbol.base):
            base = self._method(symbol.base)
            this = hir.ThisPlace(hir.Instance(symbol.base.key), line)
            checker.output.append(
                hir.CallStatement(hir.Call(base.key, [], None, receiver=this, line=line), line)
            )
        for member in _stored(symbol):
            block = self._block(member.variable.type)
            if block is not None and (block.method(FB_INIT) or self.needed(block)):
                self._member(checker, member, block)

    def _members(self, checker: Body, found: list[tuple[VariableSymbol, PouSymbol]]) -> None:
        for member, block in found:
            self._member(checker, member, block)

    def _member(self, checker: Body, member: VariableSymbol, block: PouSymbol) -> None:
        place = hir.VariablePlace(member.variable, member.variable.type, member.variable.line)
        self._each(checker, place, place.type, partial(self._one, checker, member, block))

    def _each(
        self, checker: Body, place: hir.Place, kind: hir.Type, work: Callable[[hir.Place], None]
    ) -> None:
        """``work`` for an instance, or for each of an array in loops."""
        if not isinstance(kind, hir.Array):
            work(place)
            return
        line = place.line
        node = ast.Empty(0, 0)
        counters = [checker.temporary(types.LINT, node) for _ in kind.dims]
        loads: list[hir.Expression] = [
            hir.Load(hir.VariablePlace(one, types.LINT, line), types.LINT, line) for one in counters
        ]
        element = hir.IndexPlace(place, loads, kind.element, line)
        body = checker.statements_of(lambda: self._each(checker, element, kind.element, work))
        for counter, (low, high) in zip(reversed(counters), reversed(kind.dims), strict=True):
            first, last, step = (hir.Constant(types.LINT, value, line) for value in (low, high, 1))
            body = [hir.For(hir.VariablePlace(counter, types.LINT, line), first, last, step, body, line)]
        checker.output += body

    def _one(self, checker: Body, member: VariableSymbol, block: PouSymbol, place: hir.Place) -> None:
        line = member.variable.line
        if self.needed(block):
            inner = self._method(block)
            checker.output.append(
                hir.CallStatement(hir.Call(inner.key, [], None, receiver=place, line=line), line)
            )
        spec, node = _arguments(member)
        for method in _constructors(block):
            kept = _fitting(method, spec)
            start, end = (node.start, node.end) if node is not None else (0, 0)
            given = [
                ast.Argument(start, end, None, ast.BoolLiteral(start, end, value, ""))
                for value in (True, False)[: len(method.parameters)]
            ]
            call = ast.Call(start, end, ast.Name(start, end, "FB_Init"), [*given, *kept])
            value = checker.call_method(CallableMeaning(method, place, exact=True), call)
            if isinstance(value.expr, hir.Call):
                checker.output.append(hir.CallStatement(value.expr, line))


def _stored(symbol: PouSymbol) -> list[VariableSymbol]:
    return [one for one in symbol.members.values() if one.variable.storage is hir.Storage.INSTANCE]


def _constructors(block: PouSymbol) -> list[PouSymbol]:
    """FB_Init of the block and of its bases, the base's first."""
    found: list[PouSymbol] = []
    pou: PouSymbol | None = block
    while pou is not None:
        if FB_INIT in pou.methods:
            found.insert(0, pou.methods[FB_INIT])
        pou = pou.base
    return found


def _arguments(member: VariableSymbol) -> tuple[list[ast.Argument], ast.Node | None]:
    """What stands in brackets behind the block's name in the declaration."""
    spec = member.node.type if member.node is not None else None
    while isinstance(spec, ast.ArrayType):
        spec = spec.element
    return (list(spec.arguments or []), spec) if isinstance(spec, ast.NamedType) else ([], spec)


def _fitting(method: PouSymbol, given: list[ast.Argument]) -> list[ast.Argument]:
    """The arguments that a constructor has parameters for."""
    own = method.parameters[_OWN_PARAMETERS:]
    names = {parameter.name.upper() for parameter in own}
    positional = [one for one in given if one.name is None][: len(own)]
    return positional + [one for one in given if one.name is not None and one.name.name.upper() in names]
