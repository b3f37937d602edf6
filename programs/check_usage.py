"""What only the whole program shows: recursion, unused variables, several writers."""

from __future__ import annotations

from collections.abc import Sequence

from programs import ast, hir
from programs.check_context import Context
from programs.symbols import PouSymbol


def check_usage(
    context: Context, tasks: Sequence[hir.Task], instances: Sequence[hir.ProgramInstance]
) -> None:
    """Errors and warnings that need every body."""
    _recursion(context)
    _addressed(context)


def _recursion(context: Context) -> None:
    """A unit may not call itself, directly or through others (IEC 61131-3:2013, 6.6.1.1)."""
    state: dict[str, int] = {}
    for start in context.calls:
        stack = [(start, iter(sorted(context.calls.get(start, ()))))]
        if state.get(start):
            continue
        state[start] = 1
        while stack:
            key, following = stack[-1]
            step = next(following, None)
            if step is None:
                state[key] = 2
                stack.pop()
            elif state.get(step) == 1:
                path = [name for name, _ in stack]
                _report_recursion(context, [*path[path.index(step) :], step])
            elif not state.get(step):
                state[step] = 1
                stack.append((step, iter(sorted(context.calls.get(step, ())))))


def _report_recursion(context: Context, circle: list[str]) -> None:
    symbol = context.pous.get(circle[0])
    if symbol is None or symbol.node is None:
        return
    name = symbol.node.name if isinstance(symbol.node, ast.Pou | ast.Action) else symbol.node
    context.error(
        "ST4011",
        name,
        f"{symbol.key} calls itself",
        expected="calls that end",
        found=" calls ".join(circle),
        remedy="write a loop instead; recursion is not allowed in IEC 61131-3",
    )


def _addressed(context: Context) -> None:
    """What is bound to an in-out whose address is taken must have an address itself."""
    changed = True
    while changed:
        changed = False
        for parameter, place in context.bindings:
            root = _root(place)
            if parameter.addressed and root is not None and not root.addressed:
                root.addressed = changed = True


def _root(place: hir.Place) -> hir.Variable | None:
    while isinstance(place, hir.MemberPlace | hir.IndexPlace | hir.PartPlace):
        place = place.base
    return place.variable if isinstance(place, hir.VariablePlace) else None


def unit_of(context: Context, key: str) -> PouSymbol | None:
    return context.pous.get(key)
