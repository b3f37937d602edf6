"""Functions and methods of one name with different parameters: which is meant is decided by the arguments of a call.

The standard overloads its own functions; its third edition defines a method's signature with the types of its
parameters, and libraries written for it overload functions and methods of their own.
The first version declared keeps the plain name in tables; the others carry the types of their parameters behind ``~``.
A method stands in for the inherited or promised one with the same types, whatever the order of declarations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from programs import ast, hir, types
from programs.check_context import Context, fits_open
from programs.check_types import TypeResolver
from programs.symbols import InterfaceSymbol, PouSymbol

if TYPE_CHECKING:
    from programs.check_calls import BodyCalls

MARK = "~"
_PARAMETERS = {"VAR_INPUT": "", "VAR_IN_OUT": "", "VAR_OUTPUT": "=>"}  # what stands before the type
_SAME, _LITERAL, _CONVERTED = 3, 2, 1


def shape_of(node: ast.Pou) -> str:
    """The types of the parameters as they are written, in order."""
    base, text = node.source.base, node.source.text
    found = []
    for section in node.sections:
        if section.kind in _PARAMETERS:
            for variable in section.variables:
                spec = variable.type
                written = text[spec.start - base : spec.end - base] if spec is not None else "?"
                found.append(_PARAMETERS[section.kind] + "".join(written.upper().split()))
    return ",".join(found)


def align_methods(context: Context) -> None:
    """Give methods of overloaded names the entries of those that they replace or implement."""
    done: set[str] = set()
    for symbol in list(context.pous.values()):
        if symbol.kind in ("function_block", "class") and isinstance(symbol.node, ast.Pou):
            _align(symbol, done)


def _align(symbol: PouSymbol, done: set[str]) -> None:
    if symbol.key in done:
        return
    done.add(symbol.key)
    if symbol.base is not None:
        _align(symbol.base, done)
    inherited = _inherited(symbol)
    plain = {slot.partition(MARK)[0] for slot in symbol.methods}
    for name in plain:
        own = {slot: one for slot, one in symbol.methods.items() if slot.partition(MARK)[0] == name}
        above = {slot: one for slot, one in inherited.items() if slot.partition(MARK)[0] == name}
        if len(own) < 2 and len(above) < 2:
            continue
        by_shape = {one.shape: slot for slot, one in above.items()}
        for slot in own:
            del symbol.methods[slot]
        for slot, one in own.items():
            free = slot if slot not in above and slot not in symbol.methods else f"{name}{MARK}{one.shape}"
            one.slot = by_shape.get(one.shape, free)
            symbol.methods[one.slot] = one


def _inherited(symbol: PouSymbol) -> dict[str, PouSymbol]:
    found: dict[str, PouSymbol] = {}
    pou = symbol.base
    while pou is not None:
        found = {**pou.methods, **found}
        pou = pou.base
    for interface in symbol.interfaces:
        for one in interface.all():
            found = {**one.methods, **found}
    return found


def version(body: BodyCalls, symbol: PouSymbol, receiver: object, node: ast.Call) -> PouSymbol | None:
    """The version that a call means; reports a call that fits none, or fits several equally well as the first."""
    found = _versions(body.context, symbol, receiver)
    if len(found) < 2:
        return symbol
    scores = [_score(body, one, node) for one in found]
    if max(scores) < 0:
        body.error(
            "ST4003", node, f"no version of {symbol.name} takes these arguments",
            expected="; ".join(f"{one.name}({one.shape.replace(',', ', ')})" for one in found),
            found=f"{len(node.arguments)} arguments of other types", remedy="convert them to those of one version",
        )  # fmt: skip
        return None
    return found[scores.index(max(scores))]


def _versions(context: Context, symbol: PouSymbol, receiver: object) -> list[PouSymbol]:
    if symbol.kind != "method" or not isinstance(symbol.node, ast.Pou):
        return [symbol, *symbol.overloads]
    name = symbol.name.upper()
    found: dict[str, PouSymbol] = {}
    for methods in _tables(context, symbol, getattr(receiver, "type", None)):
        for slot, one in methods.items():
            if slot.partition(MARK)[0] == name:
                found.setdefault(slot, one)
    return list(found.values()) or [symbol]


def _tables(context: Context, symbol: PouSymbol, kind: object) -> list[dict[str, PouSymbol]]:
    """Methods of the receiver's type and of what it extends, the nearest first."""
    if isinstance(kind, hir.Interface):
        return [one.methods for one in context.interfaces[kind.name].all()]
    if isinstance(symbol.owner, InterfaceSymbol):
        return [one.methods for one in symbol.owner.all()]
    pou = context.pous.get(kind.pou) if isinstance(kind, hir.Instance) else symbol.owner
    found = []
    while pou is not None:
        found.append(pou.methods)
        pou = pou.base
    return found


def _score(body: BodyCalls, unit: PouSymbol, node: ast.Call) -> int:
    """How well the arguments fit, -1 if they do not."""
    quiet = body.context.quiet()
    trial = type(body)(quiet, TypeResolver(quiet), body.scope)
    trial.prepare_header(unit)
    bound = trial.bind_unit(unit, node)
    if quiet.diagnostics.error_count or not trial.complete(unit, bound, node):
        return -1
    score = 0
    for parameter, argument in bound.arguments.items():
        if argument.value is None:
            continue
        fit = _fit(trial, argument.value, parameter.variable.type, parameter.section)
        if fit < 0:
            return -1
        score += fit
    return score


def _fit(trial: BodyCalls, node: ast.Expression, kind: hir.Type, section: str) -> int:
    value = trial.expression(node, kind)
    wanted = types.stripped(kind)
    if value.unknown:
        return 0
    if value.literal:
        if not trial.literal_fits(value, wanted):
            return -1
        return _LITERAL if trial.settle(value).type == wanted else _CONVERTED
    if types.stripped(value.type) == wanted:
        return _SAME
    if (
        isinstance(value.type, hir.String)
        and isinstance(wanted, hir.String)
        and value.type.wide == wanted.wide
    ):
        return _LITERAL
    if section == "VAR_OUTPUT":
        return {types.Fit.YES: _CONVERTED, types.Fit.LOSSY: 0}.get(trial.context.fit(wanted, value.type), -1)
    if section == "VAR_IN_OUT":
        open_array = isinstance(wanted, hir.OpenArray) and fits_open(value.type, wanted)
        return _CONVERTED if open_array or trial.context.is_a(value.type, wanted) else -1
    verdict = trial.context.fit(value.type, wanted)
    return {types.Fit.YES: _CONVERTED, types.Fit.LOSSY: 0}.get(verdict, -1)
