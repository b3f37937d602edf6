"""Statements and bodies (IEC 61131-3, 7.3.3)."""

from __future__ import annotations

from collections.abc import Callable

from programs import ast
from programs.diagnostics import closest
from programs.parse_assignments import WORD_ASSIGNMENTS, Assignments
from programs.parse_cursor import LOOK_AHEAD_MAX, ParseError, RepairedError
from programs.tokens import (
    BLOCK_ENDS,
    ENDS,
    NAME,
    NUMBER,
    OPERATOR,
    STATEMENT_OPENERS,
    STRING,
    TIME,
    TOP_LEVEL,
    VARIABLE_SECTIONS,
    WSTRING,
)

_ENDS_OF_LIST = frozenset(("<end>",)) | ENDS | VARIABLE_SECTIONS | frozenset(("FUNCTION", "FUNCTION_BLOCK"))
_MAY_END_LIST = TOP_LEVEL | frozenset(
    (
        "METHOD",
        "PROPERTY",
        "STEP",
        "INITIAL_STEP",
        "TRANSITION",
        "GET",
        "SET",
        "__CATCH",
        "__FINALLY",
        "__ENDTRY",
    )
)
_LABEL_KINDS = frozenset((NUMBER, STRING, WSTRING, TIME))
_LABEL_OPERATORS = frozenset((".", "#", "+", "-", "*", "/", "(", ")", "&"))


class Statements(Assignments):
    """Statement lists with recovery."""

    def statements(self, *, case: bool = False) -> list[ast.Statement]:
        """Statements up to a word that ends a list. ``case``: also up to the next label."""
        found: list[ast.Statement] = []
        keys = self.keys
        while True:
            start, depth = self.i, self.depth
            key = keys[start]
            try:
                if key in _ENDS_OF_LIST or (key in _MAY_END_LIST and self._ends_list(key)):
                    return found
                if case and self._at_case_label():
                    return found
                handler = _HANDLERS.get(key)
                if handler is not None and not self._is_name_here(key):
                    self.operator_count = 0
                    found.append(handler(self))
                else:
                    self.operator_count = 0
                    found.append(self._simple())
            except RepairedError:
                self.depth = depth
            except ParseError:
                self.depth = depth
                self.skip_statement(start)

    def _ends_list(self, key: str) -> bool:
        """A word like PROGRAM or METHOD starts a declaration here, or names something."""
        if key.startswith("__"):
            return True
        if key in ("GET", "SET"):
            return (
                "END_PROPERTY" in self.open_ends
                and self.on_new_line(1)
                and self.key(1) not in (":=", ".", "(")
            )
        following = self.kind(1)
        return following == NAME and not (self.key(1) in WORD_ASSIGNMENTS and self.key(2) == "=")

    def _is_name_here(self, key: str) -> bool:
        """CONTINUE, JMP: names when something is assigned to them."""
        return key in ("CONTINUE", "JMP", "EXIT") and self.key(1) in (":=", ".", "[", "^")

    # ------------------------------------------------------------ IF

    def _if(self) -> ast.Statement:
        opened = self.i
        self.open_ends.append("END_IF")
        self.enter()
        branches: list[ast.Branch] = []
        otherwise: list[ast.Statement] | None = None
        else_if = -1
        while True:
            start = self.i
            self.i += 1
            condition = self.condition("THEN")
            self.keyword("THEN", "after the condition of IF")
            body = self.statements()
            branches.append(ast.Branch(self.starts[start], self.ends[self.i - 1], condition, body))
            if self.keys[self.i] != "ELSIF":
                break
        if self.keys[self.i] == "ELSE":
            self.i += 1
            if self.keys[self.i] == "IF" and not self.on_new_line():
                else_if = self.i
            otherwise = self.statements()
        self._stray_branches()
        self.depth -= 1
        self.open_ends.pop()
        self._end_if(opened, else_if)
        return ast.If(self.starts[opened], self.ends[self.i - 1], branches, otherwise)

    def _stray_branches(self) -> None:
        """ELSE or ELSIF behind ELSE."""
        while self.keys[self.i] in ("ELSE", "ELSIF"):
            key = self.keys[self.i]
            self.report(
                "ST2012",
                f"{key} follows ELSE, which is the last branch of an IF",
                remedy="put ELSIF branches before ELSE",
            )
            self.i += 1
            if key == "ELSIF":
                self.condition("THEN")
                self.accept("THEN")
            self.statements()

    def _end_if(self, opened: int, else_if: int) -> None:
        if else_if >= 0 and self.keys[self.i] != "END_IF":
            self.report(
                "ST2004",
                "ELSE IF opens a second IF inside ELSE, and that one has no END_IF of its own; did you mean ELSIF?",
                at=(self.starts[else_if - 1], self.ends[else_if]),
                expected="ELSIF",
                found="ELSE IF",
                remedy="write ELSIF, or close the inner IF with END_IF;",
            )
            self.accept(";")
            return
        self.end_of("END_IF", opened, "IF")
        self.accept(";")

    # ------------------------------------------------------------ CASE

    def _case(self) -> ast.Statement:
        opened = self.i
        self.i += 1
        self.open_ends.append("END_CASE")
        self.enter()
        selector = self.condition("OF")
        self.keyword("OF", "after the selector of CASE")
        self.end_line()
        branches: list[ast.CaseBranch] = []
        otherwise: list[ast.Statement] | None = None
        while True:
            start, depth = self.i, self.depth
            key = self.keys[start]
            try:
                if key in BLOCK_ENDS or key in _ENDS_OF_LIST:
                    break
                if self.accept(";"):
                    continue
                branches.append(self._case_branch())
            except RepairedError:
                self.depth = depth
            except ParseError:
                self.depth = depth
                self.skip_statement(start)
                branches += self._orphans()
        if self.keys[self.i] == "ELSE":
            self.i += 1
            self.accept(":")
            otherwise = self.statements()
        self.depth -= 1
        self.open_ends.pop()
        self.end_of("END_CASE", opened, "CASE")
        self.accept(";")
        return ast.Case(self.starts[opened], self.ends[self.i - 1], selector, branches, otherwise)

    def _orphans(self) -> list[ast.CaseBranch]:
        """Statements behind a label that could not be read."""
        start = self.i
        body = self.statements(case=True)
        if not body:
            return []
        return [ast.CaseBranch(self.starts[start], self.ends[self.i - 1], [], body)]

    def _case_branch(self) -> ast.CaseBranch:
        start = self.i
        if self.kinds[start] == NAME and self.keys[start].startswith("END"):
            self.repair(["END_CASE"])
        labels = [self._case_label()]
        while self.accept(","):
            labels.append(self._case_label())
        if not self.accept(":"):
            self.fail_expected(":", "after the labels of a CASE branch")
        colon = self.i - 1
        self.layout.tight_colons.add(colon)
        body = self.statements(case=True)
        self.layout.branches.append((start, colon, self.i))
        return ast.CaseBranch(self.starts[start], self.ends[self.i - 1], labels, body)

    def _case_label(self) -> ast.CaseLabel:
        self.operator_count = 0
        low = self.expression()
        high = self.expression() if self.accept("..") else None
        return ast.CaseLabel(low.start, low.end if high is None else high.end, low, high)

    def _at_case_label(self) -> bool:
        """A label of the next branch stands here: a constant, then ``:``, ``,`` or ``..``."""
        kinds, keys, index = self.kinds, self.keys, self.i
        kind = kinds[index]
        if kind in _LABEL_KINDS:
            return True
        if kind == NAME:
            following = keys[index + 1]
            if following in (":=", ";", "[") or (following == "(" and keys[index] not in ("AND", "OR")):
                return False
        elif keys[index] not in ("-", "+", "("):
            return False
        for index in range(self.i, min(self.i + LOOK_AHEAD_MAX, len(keys))):
            key, kind = keys[index], kinds[index]
            if key in (":", ",", ".."):
                return not (key == ":" and keys[index + 1] == "=")
            if kind == OPERATOR and key not in _LABEL_OPERATORS:
                return False
            if key == "<end>" or key in STATEMENT_OPENERS or key in ENDS:
                return False
            if key == "(" and kinds[index - 1] == NAME and index > self.i:
                return False
        return False

    # ------------------------------------------------------------ loops

    def _for(self) -> ast.Statement:
        opened = self.i
        self.i += 1
        self.open_ends.append("END_FOR")
        self.enter()
        variable, first, last, step = self._for_head()
        self.keyword("DO", "after the range of FOR")
        body = self.statements()
        self.depth -= 1
        self.open_ends.pop()
        self.end_of("END_FOR", opened, "FOR")
        self.accept(";")
        return ast.For(self.starts[opened], self.ends[self.i - 1], variable, first, last, step, body)

    def _for_head(self) -> tuple[ast.Expression, ast.Expression, ast.Expression, ast.Expression | None]:
        depth = self.depth
        missing = ast.Missing(*self.span())
        try:
            variable = self.operand()
            if not self.accept(":="):
                if self.keys[self.i] != "=":
                    self.fail_expected(":=", "FOR variable := first TO last BY step DO")
                self._equals_for_assignment()
            first = self.expression()
            self.keyword("TO", "between first and last value of FOR")
            last = self.expression()
            step = self.expression() if self.accept("BY") else None
            return variable, first, last, step
        except ParseError:
            self.depth = depth
            self.skip_to(frozenset(("DO",)))
            return missing, missing, missing, None

    def _while(self) -> ast.Statement:
        opened = self.i
        self.i += 1
        self.open_ends.append("END_WHILE")
        self.enter()
        condition = self.condition("DO")
        self.keyword("DO", "after the condition of WHILE")
        body = self.statements()
        self.depth -= 1
        self.open_ends.pop()
        self.end_of("END_WHILE", opened, "WHILE")
        self.accept(";")
        return ast.While(self.starts[opened], self.ends[self.i - 1], condition, body)

    def _repeat(self) -> ast.Statement:
        opened = self.i
        self.i += 1
        self.open_ends.append("END_REPEAT")
        self.enter()
        body = self.statements()
        until: ast.Expression = ast.Missing(*self.span())
        if self.accept("UNTIL"):
            until = self.condition("END_REPEAT")
            self.accept(";")
        elif self.keys[self.i] == "END_REPEAT":
            self.report(
                "ST2014",
                "UNTIL is missing before END_REPEAT",
                expected="UNTIL",
                remedy="write UNTIL condition END_REPEAT;",
            )
        self.depth -= 1
        self.open_ends.pop()
        self.end_of("END_REPEAT", opened, "REPEAT")
        self.accept(";")
        return ast.Repeat(self.starts[opened], self.ends[self.i - 1], body, until)

    # ------------------------------------------------------------ one word

    def _exit(self) -> ast.Statement:
        i = self.i
        self.i += 1
        if self.keys[i] == "RETURN" and self.keys[self.i] == "(":
            return self._return_if(i)
        if (
            self.keys[i] == "RETURN"
            and self.kinds[self.i] in (NAME, NUMBER, STRING)
            and not self.on_new_line()
        ):
            self.fail(
                "ST2001",
                f"{self.found()} does not fit here (RETURN)",
                expected=";",
                found=self.found(),
                remedy="assign the result to the function's name, then RETURN;",
            )
        self.semicolon(self.keys[i])
        start, end = self.starts[i], self.ends[self.i - 1]
        if self.keys[i] == "RETURN":
            return ast.Return(start, end)
        return ast.Exit(start, end) if self.keys[i] == "EXIT" else ast.Continue(start, end)

    def _return_if(self, i: int) -> ast.Statement:
        """``RETURN(condition);`` (CODESYS): an IF around a RETURN."""
        self.other_dialect("RETURN with a condition", "codesys")
        condition = self.operand()
        self.semicolon("RETURN")
        leave = ast.Return(self.starts[i], self.ends[i])
        return ast.If(
            leave.start,
            self.ends[self.i - 1],
            [ast.Branch(leave.start, condition.end, condition, [leave])],
            None,
        )

    def _empty(self) -> ast.Statement:
        self.i += 1
        return ast.Empty(self.starts[self.i - 1], self.ends[self.i - 1])

    def _jump(self) -> ast.Statement:
        i = self.i
        self.other_dialect("JMP", "codesys")
        self.i += 1
        label = self.expect_name("a label")
        self.semicolon("JMP")
        return ast.Jump(self.starts[i], self.ends[self.i - 1], label)

    def _try(self) -> ast.Statement:
        """``__TRY … __CATCH(e) … __FINALLY … __ENDTRY`` (CODESYS)."""
        opened = self.i
        self.other_dialect("__TRY", "codesys")
        self.i += 1
        self.end_line()
        self.enter()
        body = self.statements()
        variable, handler, finally_body = None, list[ast.Statement](), list[ast.Statement]()
        if self.accept("__CATCH"):
            if self.keys[self.i] == "(":
                bracket = self.i
                self.i += 1
                variable = self.expression()
                self.close(")", bracket)
            self.end_line()
            handler = self.statements()
        if self.accept("__FINALLY"):
            self.end_line()
            finally_body = self.statements()
        self.depth -= 1
        self.end_of("__ENDTRY", opened, "__TRY")
        self.accept(";")
        return ast.Try(self.starts[opened], self.ends[self.i - 1], body, variable, handler, finally_body)

    def stray_end(self) -> None:
        """An END_… word, ELSE or UNTIL that closes nothing."""
        key = self.keys[self.i]
        close = closest(key, self.open_ends)
        self.report(
            "ST2012",
            f"{key} closes nothing that is open here",
            found=key,
            remedy=f"remove it{f', or write {close}' if close and close != key else ''}",
        )
        self.i += 1
        self.accept(";")


_HANDLERS: dict[str, Callable[[Statements], ast.Statement]] = {
    ";": Statements._empty,
    "IF": Statements._if,
    "CASE": Statements._case,
    "FOR": Statements._for,
    "WHILE": Statements._while,
    "REPEAT": Statements._repeat,
    "EXIT": Statements._exit,
    "CONTINUE": Statements._exit,
    "RETURN": Statements._exit,
    "JMP": Statements._jump,
    "__TRY": Statements._try,
}
