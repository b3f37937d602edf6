"""Tests written in Structured Text: ``TEST 'what' VAR … END_VAR statements END_TEST``.

A test becomes a block. An assertion keeps what was found and what was wanted in variables of that block, and ends the
call with its number in ``_failed`` if it does not hold; whoever runs the test reads them. ADVANCE_TIME moves the time
of the scan itself, so that timers, calls and assertions may stand in any statements, loops included.
"""

from __future__ import annotations

from programs import ast, hir, types
from programs.check_calls import BodyCalls
from programs.check_values import Value
from programs.constants import fold
from programs.symbols import PouSymbol

# Name -> the comparison, and whether something is wanted beside what is found.
_COMPARISONS = {
    "ASSERT_EQ": "=", "ASSERT_NEQ": "<>", "ASSERT_NE": "<>", "ASSERT_GT": ">", "ASSERT_GE": ">=", "ASSERT_LT": "<",
    "ASSERT_LE": "<=",
}  # fmt: skip
_ARGUMENTS = {
    "ASSERT_TRUE": ("CONDITION",), "ASSERT_FALSE": ("CONDITION",), "ASSERT_NEAR": ("FOUND", "WANTED", "TOLERANCE"),
    "ADVANCE_TIME": ("AMOUNT",), **dict.fromkeys(_COMPARISONS, ("FOUND", "WANTED")),
}  # fmt: skip
FAILED, NOW, MESSAGE, FOUND, WANTED = "_failed", "_now", "_message", "_found", "_wanted"
MESSAGE_TYPE = hir.String(254)


class BodyTests(BodyCalls):
    """Layer 9: assertions."""

    def call(self, node: ast.Call, want: hir.Type | None = None) -> Value:
        callee = node.callee
        name = callee.name.upper() if isinstance(callee, ast.Name) else ""
        if name in _ARGUMENTS and self.pou is not None and self.pou.test is not None:
            return self._assertion(name, node, self.pou, self.pou.test)
        return super().call(node, want)

    def _assertion(self, name: str, node: ast.Call, unit: PouSymbol, test: hir.Test) -> Value:
        wanted = _ARGUMENTS[name]
        if not len(wanted) <= len(node.arguments) <= len(wanted) + (name != "ADVANCE_TIME") or any(
            argument.name is not None or argument.value is None for argument in node.arguments
        ):
            self.error(
                "ST4003", node, f"{name} takes other arguments than these {len(node.arguments)}",
                expected=f"{name}({', '.join(wanted)}{'' if name == 'ADVANCE_TIME' else ', a text'})".lower(),
                found=f"{len(node.arguments)} arguments", remedy="give them in this order",
            )  # fmt: skip
            return self.poison(node)
        nodes = [argument.value for argument in node.arguments if argument.value is not None]
        line = self.line(node)
        nothing = Value(hir.Constant(types.VOID, 0, line), types.VOID)
        if name == "ADVANCE_TIME":
            amount = self.convert(
                self.expression(nodes[0], types.TIME), types.TIME, nodes[0], what="the time"
            )
            moved = hir.Intrinsic(name, [amount], types.TIME, line)
            self.output.append(hir.Assign(self._test_variable(unit, NOW, types.TIME), moved, line))
            return nothing
        number = len(test.assertions) + 1
        test.assertions.append(hir.Assertion(name, line, *self._test_message(nodes[len(wanted) :], unit)))
        holds = self._test_holds(name, nodes, unit, number, node)
        if holds.unknown:
            return holds
        failed = hir.Assign(
            self._test_variable(unit, FAILED, types.DINT), hir.Constant(types.DINT, number, line), line
        )
        condition = hir.Unary("not", holds.expr, types.BOOL, line)
        self.output.append(hir.If([(condition, [failed, hir.Return(line)])], line))
        return nothing

    def _test_message(self, nodes: list[ast.Expression], unit: PouSymbol) -> tuple[str, bool]:
        """The text of an assertion; one that only run time knows is kept in a variable."""
        if not nodes:
            return "", False
        value = self.expression(nodes[0], MESSAGE_TYPE)
        folded = fold(value.expr) if not value.unknown else None
        if folded is not None and isinstance(folded.value, str):
            return folded.value, False
        expr = self.convert(value, MESSAGE_TYPE, nodes[0], what="the text")
        self.output.append(
            hir.Assign(self._test_variable(unit, MESSAGE, MESSAGE_TYPE), expr, self.line(nodes[0]))
        )
        return "", True

    def _test_holds(
        self, name: str, nodes: list[ast.Expression], unit: PouSymbol, number: int, node: ast.Call
    ) -> Value:
        """Whether the assertion holds; found and wanted are kept on the way."""
        if name in ("ASSERT_TRUE", "ASSERT_FALSE"):
            expr = self.boolean(nodes[0], what="the condition")
            if expr.type != types.BOOL:
                return self.poison(node)
            found = self._test_kept(Value(expr, types.BOOL), unit, f"{FOUND}{number}", node)
            constant = Value(
                hir.Constant(types.BOOL, int(name == "ASSERT_TRUE"), self.line(node)), types.BOOL
            )
            return self.combine("=", found, self._test_kept(constant, unit, f"{WANTED}{number}", node), node)
        left = self.expression(nodes[0])
        right = self.expression(nodes[1], None if left.literal or left.unknown else left.type)
        if left.unknown or right.unknown:
            return self.poison(node)
        left = self.settle(left, None if right.literal else right.type)
        right = self.settle(right, left.type)
        if types.is_aggregate(left.type) or types.is_aggregate(right.type):
            return self.combine("=", left, right, node)  # says that there is no such comparison
        left = self._test_kept(left, unit, f"{FOUND}{number}", nodes[0])
        right = self._test_kept(right, unit, f"{WANTED}{number}", nodes[1])
        if name != "ASSERT_NEAR":
            return self.combine(_COMPARISONS[name], left, right, node)
        apart = self.combine("-", self._test_number(left, node), self._test_number(right, node), node)
        amount = Value(hir.Intrinsic("ABS", [apart.expr], types.LREAL, self.line(node)), types.LREAL)
        limit = self.convert(
            self.expression(nodes[2], types.LREAL), types.LREAL, nodes[2], what="the tolerance"
        )
        return self.combine("<=", amount, Value(limit, types.LREAL), node)

    def _test_number(self, value: Value, node: ast.Node) -> Value:
        return Value(self.convert(value, types.LREAL, node), types.LREAL)

    def _test_kept(self, value: Value, unit: PouSymbol, name: str, node: ast.Node) -> Value:
        line = self.line(node)
        place = self._test_variable(unit, name, value.computed)
        self.output.append(hir.Assign(place, value.expr, line))
        return Value(hir.Load(place, types.stripped(value.computed), line), value.type)

    def _test_variable(self, unit: PouSymbol, name: str, kind: hir.Type) -> hir.VariablePlace:
        """A variable of the test that is there for whoever runs it."""
        for variable in unit.pou.variables:
            if variable.name == name:
                return hir.VariablePlace(variable, variable.type)
        variable = hir.Variable(name, kind, hir.Storage.INSTANCE, file=unit.pou.file, line=unit.pou.line)
        unit.pou.variables.append(variable)
        return hir.VariablePlace(variable, kind)
