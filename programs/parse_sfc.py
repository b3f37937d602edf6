"""Textual sequential function charts (IEC 61131-3, 6.7, tables 54 to 59)."""

from __future__ import annotations

from programs import ast
from programs.parse_cursor import ParseError
from programs.parse_il import InstructionLists
from programs.tokens import NAME

QUALIFIERS = ("N", "R", "S", "L", "D", "P", "P0", "P1", "SD", "DS", "SL")
_TIMED = frozenset(("L", "D", "SD", "DS", "SL"))
_ELEMENTS = frozenset(("STEP", "INITIAL_STEP", "TRANSITION"))


class Charts(InstructionLists):
    """STEP, TRANSITION."""

    def at_chart(self) -> bool:
        key = self.keys[self.i]
        return (key in _ELEMENTS and self.kind(1) == NAME) or (
            key == "TRANSITION" and self.key(1) in ("(", "FROM")
        )

    def chart(self) -> ast.SfcBody:
        """Steps and transitions up to something else."""
        start = self.i
        body = ast.SfcBody(self.starts[start], self.ends[start], [], [])
        while self.at_chart():
            at, depth = self.i, self.depth
            end = "END_TRANSITION" if self.keys[at] == "TRANSITION" else "END_STEP"
            self.open_ends.append(end)
            try:
                if end == "END_STEP":
                    body.steps.append(self._step())
                else:
                    body.transitions.append(self._transition())
            except ParseError:
                self.depth = depth
                self._skip_element(at, end)
            self.open_ends.pop()
            body.end = self.ends[self.i - 1]
        return body

    def _skip_element(self, at: int, end: str) -> None:
        if self.i == at:
            self.i += 1
        while self.keys[self.i] not in (end, "<end>") and not self.at_chart():
            if self.keys[self.i] in self.open_ends[:-1]:
                return
            self.i += 1
        self.accept(end)
        self.accept(";")

    def _step(self) -> ast.Step:
        opened = self.i
        self.i += 1
        name = self.expect_name("a step's name")
        last = self.i
        if not self.accept(":"):
            self.semicolon("the name of a step")
        self.end_line(colon=True)
        step = ast.Step(self.starts[opened], 0, name, self.keys[opened] == "INITIAL_STEP", [])
        step.comment = self.comment_of(opened, last)
        while self.keys[self.i] != "END_STEP" and self.kinds[self.i] == NAME and not self.at_block_end():
            step.actions.append(self._association())
        self.end_of("END_STEP", opened, "STEP")
        self.accept(";")
        step.end = self.ends[self.i - 1]
        return step

    def _association(self) -> ast.ActionAssociation:
        """``name (qualifier, time, indicators);``"""
        name = self.expect_name("an action's name")
        association = ast.ActionAssociation(name.start, name.end, name, "", None, [])
        if self.keys[self.i] == "(":
            opened = self.i
            self.i += 1
            if self.keys[self.i] != ")":
                self._qualifier(association)
            self.close(")", opened)
        self.semicolon("an action of a step")
        association.end = self.ends[self.i - 1]
        return association

    def _qualifier(self, association: ast.ActionAssociation) -> None:
        key = self.keys[self.i]
        if key not in QUALIFIERS:
            self.fail(
                "ST2022",
                f"{self.found()} is no action qualifier",
                expected=", ".join(QUALIFIERS),
                found=self.found(),
                remedy="write N for an action that runs while the step is active",
            )
        association.qualifier = key
        self.i += 1
        if key in _TIMED:
            self.expect(",", f"the qualifier {key} needs a time, as in {key}, T#5s")
            association.duration = self.expression()
        while self.accept(","):
            association.indicators.append(self.expect_name("an indicator variable"))

    def _transition(self) -> ast.Transition:
        opened = self.i
        self.i += 1
        name = self.expect_name("a transition's name") if self.keys[self.i] not in ("FROM", "(") else None
        priority = None
        if self.keys[self.i] == "(":
            bracket = self.i
            self.i += 1
            if not self.accept("PRIORITY"):
                self.fail_expected("PRIORITY", "TRANSITION name (PRIORITY := n)")
            self.expect(":=", "TRANSITION name (PRIORITY := n)")
            priority = self.expression()
            self.close(")", bracket)
        if not self.accept("FROM"):
            self.fail_expected("FROM", "TRANSITION FROM step TO step := condition;")
        sources = self._steps()
        self.keyword("TO", "between the steps of a transition")
        targets = self._steps()
        transition = ast.Transition(self.starts[opened], 0, name, priority, sources, targets, None)
        if self.accept(":="):
            self.operator_count = 0
            transition.condition = self.expression()
            self.semicolon("the condition of a transition")
        elif self.accept(":"):
            self.end_line(colon=True)
            transition.il = self.instruction_list()
        else:
            self.fail_expected(":=", "the condition of a transition")
        self.end_of("END_TRANSITION", opened, "TRANSITION")
        self.accept(";")
        transition.end = self.ends[self.i - 1]
        return transition

    def _steps(self) -> list[ast.Name]:
        if self.keys[self.i] != "(":
            return [self.expect_name("a step")]
        opened = self.i
        self.i += 1
        names = [self.expect_name("a step")]
        while self.accept(","):
            names.append(self.expect_name("a step"))
        self.close(")", opened)
        return names
