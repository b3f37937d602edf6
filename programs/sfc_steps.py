"""The variables that stand for the steps of a sequential function chart (IEC 61131-3:2013, 6.7.2)."""

from __future__ import annotations

from collections.abc import Callable

from programs import ast, hir, types
from programs.symbols import PouSymbol, State, VariableSymbol

STEP = hir.Struct(
    "SFC_STEP", (hir.Member("X", types.BOOL), hir.Member("T", types.TIME), hir.Member("START", types.TIME))
)


def declare_steps(
    symbol: PouSymbol, body: ast.SfcBody, file: str, line_of: Callable[[int], int]
) -> list[ast.Name]:
    """Give the unit a variable for each step; the names that are declared twice."""
    twice: list[ast.Name] = []
    for step in body.steps:
        key = step.name.name.upper()
        if key in symbol.members:
            twice.append(step.name)
            continue
        variable = hir.Variable(step.name.name, STEP, hir.Storage.INSTANCE, comment=step.comment, file=file)
        variable.line = line_of(step.start)
        member = VariableSymbol(step.name.name, variable, None, "STEP", owner=symbol, scope=symbol.scope)
        member.state = State.DONE
        member.readonly = "a step, which only its transitions change"
        symbol.members[key] = member
        symbol.pou.variables.append(variable)
    return twice
