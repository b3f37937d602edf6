"""What only the whole program shows: recursion, unused variables, several writers of one variable."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from programs import ast, hir
from programs.check_context import Context
from programs.symbols import InterfaceSymbol, PouSymbol, VariableSymbol

_QUIET_SECTIONS = frozenset(("VAR_EXTERNAL", "RESULT", "STEP", "VAR_CONFIG"))


def check_usage(
    context: Context, tasks: Sequence[hir.Task], instances: Sequence[hir.ProgramInstance]
) -> None:
    """Errors and warnings that need every body."""
    calls = _all_calls(context)
    _recursion(context, calls)
    _addressed(context)
    if context.diagnostics.error_count == 0:  # what is wrong may be what would have used them
        for symbol in context.pous.values():
            if symbol.node is not None and not symbol.external and symbol.pou.file not in context.libraries:
                _unused(context, symbol)
    _writers(context)
    _tasks(context, tasks, instances, calls)


# ---------------------------------------------------------------- calls


def _all_calls(context: Context) -> dict[str, set[str]]:
    """Who may call whom: a call of a method may reach each method that replaces it."""
    replaced: dict[str, set[str]] = {}
    for symbol in context.pous.values():
        if symbol.kind not in ("function_block", "class"):
            continue
        for name, method in symbol.methods.items():
            for promised in _promised(symbol, name):
                replaced.setdefault(promised.key, set()).add(method.key)
    calls = {caller: set(called) for caller, called in context.calls.items()}
    for caller, called in context.virtual_calls.items():
        calls.setdefault(caller, set()).update(called, *(replaced.get(key, ()) for key in called))
    return calls


def _promised(symbol: PouSymbol, name: str) -> list[PouSymbol]:
    """The methods that a method stands in for: the base's and the interfaces'."""
    found: list[PouSymbol] = []
    pou = symbol.base
    while pou is not None:
        if name in pou.methods:
            found.append(pou.methods[name])
        pou = pou.base
    for interface in symbol.interfaces:
        promised = interface.method(name)
        if promised is not None:
            found.append(promised)
    return found


def _recursion(context: Context, calls: dict[str, set[str]]) -> None:
    """A unit may not call itself, directly or through others (IEC 61131-3:2013, 6.6.1.1)."""
    state: dict[str, int] = {}
    for start in calls:
        if state.get(start):
            continue
        stack = [(start, iter(sorted(calls.get(start, ()))))]
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
                stack.append((step, iter(sorted(calls.get(step, ())))))


def _report_recursion(context: Context, circle: list[str]) -> None:
    symbol = context.pous.get(circle[0])
    if symbol is None or symbol.node is None:
        return
    name = symbol.node.name if isinstance(symbol.node, ast.Pou | ast.Action) else symbol.node
    # CODESYS allows methods that call themselves. A call through an interface or a derived block may end in
    # another instance, as in a tree of them. The depth of calls is watched at run time.
    allowed = symbol.kind == "method" and (context.loose or _through_others(context, circle))
    context.diagnostics.report(
        "ST4011",
        name,
        f"{symbol.key} calls itself",
        expected="calls that end",
        found=" calls ".join(circle),
        remedy="write a loop instead; recursion is not allowed in IEC 61131-3",
        severity="warning" if allowed else "error",
    )


def _through_others(context: Context, circle: list[str]) -> bool:
    """Whether one of the calls goes to whatever method the instance has."""
    return any(called not in context.calls.get(caller, ()) for caller, called in itertools.pairwise(circle))


def _reached(calls: dict[str, set[str]], start: str) -> set[str]:
    found = {start}
    rest = [start]
    while rest:
        for key in calls.get(rest.pop(), ()):
            if key not in found:
                found.add(key)
                rest.append(key)
    return found


# ---------------------------------------------------------------- addresses


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


# ---------------------------------------------------------------- unused variables


def _unused(context: Context, symbol: PouSymbol) -> None:
    if symbol.abstract or isinstance(symbol.owner, InterfaceSymbol):
        return
    for member in symbol.members.values():
        if member.node is not None and member.section not in _QUIET_SECTIONS and member.aliases is None:
            _judge(context, member)
    result = symbol.pou.result
    if result is not None and result not in context.written and isinstance(symbol.node, ast.Pou):
        context.warn(
            "ST4109",
            symbol.node.name,
            f"{symbol.name} never gets a value",
            remedy=f"assign the result: {symbol.name} := …",
        )


def _judge(context: Context, member: VariableSymbol) -> None:
    variable, node = member.variable, member.node
    assert node is not None
    read, written = variable in context.read, variable in context.written
    given = node.initial is not None or variable.constant or variable.location is not None
    given = given or variable.direction in ("input", "inout") or isinstance(variable.type, hir.Instance)
    outside = (
        bool(variable.direction) or variable.attributes.get("access", "none") != "none" or variable.retain
    )
    if not read and not written and not outside and variable.location is None:
        context.warn(
            "ST4101",
            node.name,
            f"{member.name} is never used",
            remedy="remove the declaration",
        )
    elif not written and not given and not outside:
        context.warn(
            "ST4102",
            node.name,
            f"{member.name} is read but never written",
            remedy="assign it somewhere, give it an initial value, or make it CONSTANT",
        )


# ---------------------------------------------------------------- several writers


def _unit(context: Context, key: str) -> str:
    """The unit that a method or action belongs to."""
    symbol = context.pous.get(key)
    while symbol is not None and isinstance(symbol.owner, PouSymbol):
        symbol = symbol.owner
    return symbol.key if symbol is not None else key


def _writers(context: Context) -> None:
    """Two units that write one output, or outputs with a bit in common: the later one of each scan wins."""
    outputs: list[
        tuple[int, int, str, hir.Variable, int]
    ] = []  # first bit, behind the last, who, what, where
    for variable, places in context.written.items():
        location = variable.location
        if location is None or location.area != "Q" or location.byte < 0:
            continue
        first = location.byte * 8 + max(location.bit, 0)
        behind = first + (1 if location.bit >= 0 else location.size * 8)
        outputs += [(first, behind, _unit(context, key), variable, position) for key, position in places]
    outputs.sort(key=lambda one: (one[0], -one[1]))
    told: set[int] = set()
    for at, (first, behind, unit, variable, position) in enumerate(outputs):
        for start, end, other_unit, other, place in outputs[at + 1 :]:
            if start >= behind:
                break
            same = (first, behind) == (start, end)
            # Within one unit a word that is cleared and then gets its bits is one writer.
            if (unit != other_unit or (same and other is not variable)) and id(other) not in told:
                told.add(id(other))
                _two_writers(context, (unit, variable, position), (other_unit, other, place))


def _two_writers(
    context: Context, first: tuple[str, hir.Variable, int], second: tuple[str, hir.Variable, int]
) -> None:
    location, earlier = second[1].location, first[1].location
    assert location is not None
    assert earlier is not None
    part = "" if location.text == earlier.text else f", a part of {earlier.text},"
    context.warn(
        "ST4105",
        (second[2], second[2] + 1),
        f"the output {location.text}{part} is written by {first[0]} and by {second[0]}"
        if first[0] != second[0]
        else f"the output {location.text} is written as {first[1].name} and as {second[1].name}",
        remedy="write each output at one place; collect the conditions there",
        note=f"also written at {context.diagnostics.describe(first[2])}",
    )


def _tasks(
    context: Context,
    tasks: Sequence[hir.Task],
    instances: Sequence[hir.ProgramInstance],
    calls: dict[str, set[str]],
) -> None:
    """A global that two tasks write: a value may be lost between them."""
    if len({instance.task for instance in instances}) < 2:
        return
    reached: dict[str, set[str]] = {}
    for instance in instances:
        reached.setdefault(instance.task, set()).update(_reached(calls, instance.pou))
    for variable, places in context.written.items():
        if variable.storage not in (hir.Storage.GLOBAL, hir.Storage.LOCATED):
            continue
        writers = _writing_tasks(reached, places)
        if len(writers) > 1:
            position = places[-1][1]
            context.warn(
                "ST4106",
                (position, position + len(variable.name.rpartition(".")[2])),
                f"{variable.name} is written by the tasks {_listed(writers)}",
                remedy="let one task write it, and give the other one a variable of its own",
            )


def _writing_tasks(reached: dict[str, set[str]], places: Iterable[tuple[str, int]]) -> list[str]:
    keys = {key for key, _ in places}
    return sorted(task or "without a task" for task, units in reached.items() if keys & units)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1]
