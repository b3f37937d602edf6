"""Statements."""

from __future__ import annotations

from collections.abc import Sequence

from programs import ast, hir, types
from programs.check_expressions import BodyExpressions
from programs.check_meanings import CallableMeaning, PlaceMeaning
from programs.check_values import Value
from scan.abi import IecType


class Body(BodyExpressions):
    """Layer 12: statements; a whole body."""

    loops = 0

    def body(self, statements: Sequence[ast.Statement]) -> list[hir.Statement]:
        """The tree of a statement list."""
        return self.statements_of(lambda: self._all(statements))

    def _all(self, statements: Sequence[ast.Statement]) -> None:
        ended: ast.Statement | None = None
        for statement in statements:
            if ended is not None and not isinstance(statement, ast.Empty | ast.Label):
                self._dead(ended, statement)
                ended = None
            self.statement(statement)
            if isinstance(statement, ast.Return | ast.Exit | ast.Continue):
                ended = statement

    def _dead(self, ended: ast.Statement, statement: ast.Statement) -> None:
        word = type(ended).__name__.upper()
        self.context.warn(
            "ST4103",
            statement,
            f"this is never reached: {word} stands before it",
            remedy="remove it, or make the statement before it conditional",
        )

    def statement(self, node: ast.Statement) -> None:
        """One statement; what it becomes goes to ``output``."""
        line = self.line(node)
        match node:
            case ast.Assign():
                self.assign(node.target, node.op, node.value, node)
            case ast.CallStatement():
                self._call_statement(node)
            case ast.If():
                self._if(node)
            case ast.Case():
                self._case(node)
            case ast.For():
                self._for(node)
            case ast.While():
                self._while(node)
            case ast.Repeat():
                self._repeat(node)
            case ast.Exit() | ast.Continue():
                self._leave(node)
            case ast.Return():
                self.output.append(hir.Return(line))
            case ast.ExpressionStatement():
                self._expression_statement(node)
            case ast.Label() | ast.Jump():
                self._jump(node)
            case ast.Try():
                self._try(node)
            case ast.Empty():
                pass

    # -- calls

    def _call_statement(self, node: ast.CallStatement) -> None:
        value = self.call(node.call)
        if value.unknown or value.type is types.VOID:
            return
        expr = value.expr
        while isinstance(expr, hir.Load) and isinstance(expr.place, hir.DerefPlace):
            expr = expr.place.reference
        if isinstance(expr, hir.Call):
            self.output.append(hir.CallStatement(expr, self.line(node)))
        elif not isinstance(expr, hir.Load):
            self.context.warn(
                "ST4108",
                node,
                "the result of this function is not used",
                remedy="assign it, or remove the call",
            )

    def _expression_statement(self, node: ast.ExpressionStatement) -> None:
        found = self.meaning(node.expression)
        if found is None:
            return
        callable_ = isinstance(found, CallableMeaning) and found.symbol.kind in ("action", "method")
        instance = isinstance(found, PlaceMeaning) and isinstance(found.type, hir.Instance)
        if callable_ or (instance and self.context.loose):
            call = ast.Call(node.start, node.end, node.expression, [])
            self._call_statement(ast.CallStatement(node.start, node.end, call))
            return
        if isinstance(found, PlaceMeaning):
            self.mark_read(found.root)
        self.context.diagnostics.report(
            "ST4108",
            node,
            "this statement does nothing",
            expected="an assignment or a call",
            found="a name alone",
            remedy="write name := value; or name(); or remove it",
            severity="warning" if self.context.dialect == "rusty" else "error",
        )

    # -- branches

    def _if(self, node: ast.If) -> None:
        branches: list[tuple[hir.Expression | None, list[hir.Statement]]] = []
        outer = self.output
        rest: list[hir.Statement] = []
        for index, branch in enumerate(node.branches):
            before = self.output = []
            condition = self.boolean(branch.condition, what="the condition")
            self.output = outer
            self._constant_condition(condition, branch)
            if before and index == 0:
                outer += before
            elif before:
                # The condition needs statements of its own: the rest becomes an IF in the ELSE branch.
                inner = ast.If(branch.start, node.end, node.branches[index:], node.otherwise)
                rest = self.statements_of(lambda inner=inner: self._if(inner))
                branches.append((None, rest))
                break
            branches.append((condition, self.body(branch.body)))
        if node.otherwise is not None and not rest:
            branches.append((None, self.body(node.otherwise)))
        self.output.append(hir.If(branches, self.line(node)))

    def _constant_condition(self, condition: hir.Expression, branch: ast.Branch) -> None:
        if (
            isinstance(condition, hir.Constant)
            and condition.type == types.BOOL
            and not condition.value
            and branch.body
        ):
            self.context.warn(
                "ST4103",
                branch.body[0],
                "this is never reached: the condition is always FALSE",
                remedy="remove the branch, or correct the condition",
            )

    def _case(self, node: ast.Case) -> None:
        selector = self.settle(self.expression(node.selector))
        kind = selector.type
        if isinstance(kind, hir.String):
            self._text_case(node, selector)
            return
        discrete = (*types.INTEGERS, *types.BITS, *types.CHARS, *types.TIMES, IecType.BOOL)
        allowed = isinstance(kind, hir.Enum) or types.is_kind(kind, *discrete)
        if not allowed and not selector.unknown:
            self.error(
                "ST4010",
                node.selector,
                "CASE needs a whole number or an enumeration",
                expected="an integer, bit string, enumeration, character or time",
                found=types.type_name(kind),
                remedy="use IF … ELSIF for other types",
            )
            selector = self.poison(node.selector)
        branches: list[tuple[list[tuple[int, int]], list[hir.Statement]]] = []
        seen: list[tuple[int, int]] = []
        for branch in node.branches:
            ranges = [
                found for label in branch.labels if (found := self._label(label, selector, seen)) is not None
            ]
            branches.append((ranges, self.body(branch.body)))
        otherwise = self.body(node.otherwise) if node.otherwise is not None else []
        if not selector.unknown:
            self.output.append(hir.Case(self._ordinal(selector), branches, otherwise, self.line(node)))

    def _text_case(self, node: ast.Case, selector: Value) -> None:
        """CASE over texts, which are elementary too (7.3.3.3.3): comparisons in order."""
        selector = self.pinned(selector, node.selector)
        branches: list[tuple[hir.Expression | None, list[hir.Statement]]] = []
        for branch in node.branches:
            condition = Value(hir.Constant(types.BOOL, 0, self.line(node)), types.BOOL)
            for at, label in enumerate(branch.labels):
                low = self.expression(label.low, selector.type)
                met = self.combine("=" if label.high is None else ">=", selector, low, label)
                if label.high is not None:
                    high = self.combine("<=", selector, self.expression(label.high, selector.type), label)
                    met = self.combine("AND", met, high, label)
                condition = met if at == 0 else self.combine("OR", condition, met, label)
            branches.append((condition.expr, self.body(branch.body)))
        if node.otherwise is not None:
            branches.append((None, self.body(node.otherwise)))
        if branches and branches[0][0] is not None:
            self.output.append(hir.If(branches, self.line(node)))

    def _ordinal(self, selector: Value) -> hir.Expression:
        """The selector as the number that labels are: characters by their code, times by their nanoseconds."""
        if types.is_kind(selector.type, *types.TIMES):
            return hir.Convert(selector.expr, types.LINT, "bits", selector.expr.line)
        if types.is_kind(selector.type, *types.CHARS):
            return hir.Convert(selector.expr, types.UDINT, "to", selector.expr.line)
        return selector.expr

    def _label(
        self, label: ast.CaseLabel, selector: Value, seen: list[tuple[int, int]]
    ) -> tuple[int, int] | None:
        low = self._label_value(label.low, selector)
        high = low if label.high is None else self._label_value(label.high, selector)
        if low is None or high is None:
            return None
        if low > high:
            self.error(
                "ST4010",
                label,
                f"the range {low}..{high} is empty",
                expected="the smaller value first",
                found=f"{low}..{high}",
                remedy="exchange the two values",
            )
            return None
        if any(low <= other_high and other_low <= high for other_low, other_high in seen):
            self.context.warn(
                "ST4110",
                label,
                "an earlier branch already has this value; this one never gets it",
                remedy="remove the label here or there",
            )
        seen.append((low, high))
        return low, high

    def _label_value(self, node: ast.Expression, selector: Value) -> int | None:
        value = self.expression(node, selector.type)
        if value.unknown or selector.unknown:
            return None
        if isinstance(selector.type, hir.Enum) and not isinstance(value.type, hir.Enum) and not value.literal:
            value = Value(self.convert(value, selector.type, node), selector.type)
        elif value.literal and types.is_integer(selector.type):
            value = self.settle(value, selector.computed)
        else:
            value = Value(self.convert(value, selector.type, node, what="the selector"), selector.type)
        folded = self.folded(value)
        if folded is None or not isinstance(folded.value, int):
            if folded is None:
                self.error(
                    "ST3008",
                    node,
                    "a label of CASE must be a constant",
                    expected="a literal, a constant or a value of an enumeration",
                    found="a value that is known at run time only",
                    remedy="use IF … ELSIF",
                )
            return None
        return folded.value

    # -- loops

    def _loop_body(self, statements: Sequence[ast.Statement]) -> list[hir.Statement]:
        self.loops += 1
        found = self.body(statements)
        self.loops -= 1
        return found

    def _for(self, node: ast.For) -> None:
        found = self.meaning(node.variable)
        kind = types.stripped(found.type) if isinstance(found, PlaceMeaning) else types.UNKNOWN
        whole = types.is_integer(kind) or (self.context.loose and types.is_bits(kind))
        if found is not None and kind is not types.UNKNOWN and not whole:
            self.error(
                "ST4009",
                node.variable,
                "FOR counts with an integer variable",
                expected="a variable of an integer type",
                found=types.type_name(kind),
                remedy="declare the variable as INT or DINT",
            )
            found = None
        bounds: list[hir.Expression] = []
        for bound, name in ((node.first, "the start"), (node.last, "the end"), (node.step, "the step")):
            if bound is None:
                bounds.append(hir.Constant(kind, 1, self.line(node)))
                continue
            value = self.expression(bound, kind if whole else None)
            bounds.append(self._for_bound(value, kind, bound, name) if whole else value.expr)
        if not isinstance(found, PlaceMeaning) or not whole:
            self._loop_body(node.body)
            return
        if found.readonly:
            self._not_assignable(node.variable, found.readonly)
        self.doubtful(found, node.variable)
        self.mark_written(found.root, node.variable)
        self._check_step(bounds[2], node)
        body = self._loop_body(node.body)
        self.mark_read(found.root)
        place: hir.Place = found.place
        line = self.line(node)
        if isinstance(place.type, hir.Elementary) and place.type.low is not None:
            # The first value past the end may be outside of the subrange: another variable counts.
            place = hir.VariablePlace(self.temporary(kind, node), kind, line)
            body.insert(0, hir.Assign(found.place, hir.Load(place, kind, line), line))
        self.output.append(hir.For(place, bounds[0], bounds[1], bounds[2], body, line))

    def _for_bound(self, value: Value, kind: hir.Type, node: ast.Expression, name: str) -> hir.Expression:
        """A bound in the variable's type. A step may be negative although the variable is unsigned."""
        folded = self.folded(value)
        if name == "the step" and folded is not None and isinstance(folded.value, int) and folded.value < 0:
            assert isinstance(kind, hir.Elementary)
            if kind.type in types.UNSIGNED + types.BITS:
                signed = hir.Elementary(types.SIGNED[types.WIDTH[kind.type].bit_length() - 4])
                return self.convert(value, signed, node, what=name)
        return self.convert(value, kind, node, what=name)

    def _check_step(self, step: hir.Expression, node: ast.For) -> None:
        if isinstance(step, hir.Constant) and step.value == 0 and node.step is not None:
            self.context.warn(
                "ST4103",
                node.step,
                "a step of 0 ends the loop before its first pass",
                remedy="give another step",
            )

    def _condition(self, node: ast.Expression) -> tuple[list[hir.Statement], hir.Expression]:
        """A loop's condition, and the statements that it needs before it."""
        outer, self.output = self.output, []
        condition = self.boolean(node, what="the condition")
        before, self.output = self.output, outer
        return before, condition

    def _while(self, node: ast.While) -> None:
        line = self.line(node)
        before, condition = self._condition(node.condition)
        body = self._loop_body(node.body)
        if before:
            leave = hir.If([(hir.Unary("not", condition, types.BOOL, line), [hir.Exit(line)])], line)
            body = [*before, leave, *body]
            condition = hir.Constant(types.BOOL, 1, line)
        self.output.append(hir.While(condition, body, line))

    def _repeat(self, node: ast.Repeat) -> None:
        line = self.line(node)
        body = self._loop_body(node.body)
        before, condition = self._condition(node.until)
        if not before:
            self.output.append(hir.Repeat(body, condition, line))
            return
        # CONTINUE goes on with the condition: it is evaluated at the start of each pass but the first.
        again = hir.VariablePlace(self.temporary(types.BOOL, node), types.BOOL, line)
        leave = hir.If([(condition, [hir.Exit(line)])], line)
        check = hir.If([(hir.Load(again, types.BOOL, line), [*before, leave])], line)
        self.output.append(hir.Assign(again, hir.Constant(types.BOOL, 0, line), line))
        first = hir.Assign(again, hir.Constant(types.BOOL, 1, line), line)
        self.output.append(hir.While(hir.Constant(types.BOOL, 1, line), [check, first, *body], line))

    def _leave(self, node: ast.Exit | ast.Continue) -> None:
        word = "EXIT" if isinstance(node, ast.Exit) else "CONTINUE"
        if not self.loops:
            self.error(
                "ST4008",
                node,
                f"{word} stands outside of a loop",
                expected="FOR, WHILE or REPEAT around it",
                found="none",
                remedy="remove it, or use RETURN to leave the unit",
            )
            return
        line = self.line(node)
        self.output.append(hir.Exit(line) if isinstance(node, ast.Exit) else hir.Continue(line))

    def _jump(self, node: ast.Label | ast.Jump) -> None:
        self.error(
            "ST4025",
            node,
            "jumps and labels are not translated",
            expected="IF, CASE or a loop",
            found="JMP" if isinstance(node, ast.Jump) else "a label",
            remedy="write the condition around the statements, or use EXIT, CONTINUE or RETURN",
        )

    def _try(self, node: ast.Try) -> None:
        self.error(
            "ST4025",
            (node.start, node.start + 5),  # type: ignore[arg-type]
            "__TRY is not translated: a fault stops the task in a defined way instead",
            expected="checks before the operation",
            found="__TRY",
            remedy="test the divisor, the index or the reference first",
        )
