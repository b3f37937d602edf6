"""The code of a block in Python: what is put into its body before it is compiled.

* Each loop counts its passes: one without an end raises, which is a program fault, compiled or not.
* Before a statement that may raise, its line is noted in the scan's context, so that the fault names the Python line.
* Annotations go; ``x: int = 3`` means ``x = 3``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

# Of all loops of one call together; each pass takes about a nanosecond or more, a scan lasts milliseconds.
PASSES_MAX = 10_000_000
_PASSES = "__passes"
_MAY_RAISE = (
    ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.LShift, ast.RShift, ast.Subscript, ast.Call, ast.Raise, ast.Assert,
)  # fmt: skip
_LOOPS = (ast.While, ast.For)


def guarded(body: list[ast.stmt], first_line: int, context: str) -> list[ast.stmt]:
    """A function's body with the guards. ``context`` is its parameter, "" for a helper, which has none."""
    made = _Guards(first_line, context).block(body)
    start: list[ast.stmt] = []
    if any(isinstance(node, _LOOPS) for one in body for node in ast.walk(one)):
        start.append(_parsed(f"{_PASSES} = 0", first_line))
    if context:
        start.append(_parsed(f"{context}.fault_line = 0", first_line))
    return [*start, *made]


class _Guards:
    def __init__(self, first_line: int, context: str) -> None:
        self._first_line = first_line
        self._context = context

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        return [one for statement in statements for one in self._one(statement)]

    def _one(self, statement: ast.stmt) -> Iterator[ast.stmt]:
        if isinstance(statement, ast.AnnAssign):
            if statement.value is None:
                yield ast.copy_location(ast.Pass(), statement)
                return
            statement = ast.copy_location(ast.Assign([statement.target], statement.value), statement)
        if self._context and _may_raise(statement):
            yield self._noted(statement.lineno)
        if isinstance(statement, ast.If | ast.While | ast.For):
            statement.body = self.block(statement.body)
            statement.orelse = self.block(statement.orelse)
        if isinstance(statement, _LOOPS):
            line = statement.lineno
            note = f"{self._context}.fault_line = {line - self._first_line}\n    " if self._context else ""
            check = f"if {_PASSES} > {PASSES_MAX}:\n    {note}raise OverflowError"
            statement.body[:0] = [_parsed(f"{_PASSES} += 1", line), _parsed(check, line)]
        yield statement

    def _noted(self, line: int) -> ast.stmt:
        return _parsed(f"{self._context}.fault_line = {line - self._first_line}", line)


def _may_raise(statement: ast.stmt) -> bool:
    """Whether the statement itself, without the statements inside of it, may raise."""
    todo: list[ast.AST] = [statement]
    while todo:
        node = todo.pop()
        if isinstance(node, _MAY_RAISE):
            return True
        todo += [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]
    return False


def _parsed(text: str, line: int) -> ast.stmt:
    made = ast.parse(text).body[0]
    for node in ast.walk(made):
        if isinstance(node, ast.stmt | ast.expr):
            node.lineno = node.end_lineno = line
            node.col_offset = node.end_col_offset = 0
    return made
