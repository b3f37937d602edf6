"""Statements that start with a place: assignments, calls, labels, and words that are misspelt."""

from __future__ import annotations

from programs import ast
from programs.parse_variables import Variables
from programs.tokens import ENDS, NAME, NUMBER, OPERATOR, OPERATOR_WORDS, STATEMENT_OPENERS, STRING, WSTRING

_ASSIGNMENTS = frozenset((":=", "?="))
WORD_ASSIGNMENTS = frozenset(("S", "R", "REF"))
_OPENERS = sorted(STATEMENT_OPENERS)
_PLACES = (
    ast.Name, ast.Member, ast.Index, ast.Dereference, ast.Part, ast.DirectVariable, ast.GlobalName, ast.Missing,
)  # fmt: skip


class Assignments(Variables):
    """One statement that is no keyword's."""

    def _simple(self) -> ast.Statement:
        """An assignment, a call, a label, or something misspelt."""
        start = self.i
        keys = self.keys
        if self.kinds[start] == NAME:
            if keys[start + 1] == ":" and self.key(2) != "=":
                return self._label()
            self._misspelt_statement()
        target = self.operand()
        key = keys[self.i]
        if key in _ASSIGNMENTS:
            self.i += 1
            return self._assignment(target, key)
        if key == ";" or isinstance(target, ast.Call):
            return self._without_assignment(target)
        if key in WORD_ASSIGNMENTS and self.key(1) == "=":
            return self._word_assignment(target)
        if key == "=" or (key == ":" and self.key(1) == "="):
            self._equals_for_assignment()
            return self._assignment(target, ":=")
        return self._without_assignment(target)

    def _assignment(self, target: ast.Expression, op: str) -> ast.Statement:
        if not isinstance(target, _PLACES):
            self.report(
                "ST2018",
                "this cannot be assigned to",
                at=(target.start, target.end),
                expected="a variable",
                remedy="put a variable, a member or an array element on the left",
            )
        value = self.binary(0)
        key = self.keys[self.i]
        if key in (":=", "?=") or (key in WORD_ASSIGNMENTS and self.key(1) == "="):
            value = self._chained(value)
        self.semicolon("an assignment")
        return ast.Assign(target.start, self.ends[self.i - 1], target, op, value)

    def _chained(self, first: ast.Expression) -> ast.Expression:
        """``a := b := c`` (CODESYS)."""
        self.other_dialect("a chained assignment", "codesys")
        op = self.keys[self.i]
        self.i += 1
        if op in WORD_ASSIGNMENTS:
            op = f"{op}="
            self.i += 1
        self.count_operator()
        self.enter()
        value = self.binary(0)
        key = self.keys[self.i]
        if key in (":=", "?=") or (key in WORD_ASSIGNMENTS and self.key(1) == "="):
            value = self._chained(value)
        return ast.AssignExpression(first.start, value.end, first, op, value)

    def _word_assignment(self, target: ast.Expression) -> ast.Statement:
        """``x S= y``, ``x R= y``, ``x REF= y``."""
        op = f"{self.keys[self.i]}="
        dialects = ("codesys", "rusty") if op == "REF=" else ("codesys",)
        self.other_dialect(op, *dialects)
        self.i += 2
        return self._assignment(target, op)

    def _equals_for_assignment(self) -> None:
        at = self.i
        self.i += 1 if self.keys[at] == "=" else 2
        written = "=" if self.keys[at] == "=" else ": ="
        self.report(
            "ST2005",
            "= compares; a value is assigned with :=" if written == "=" else ":= is written without a space",
            at=(self.starts[at], self.ends[self.i - 1]),
            expected=":=",
            found=written,
            remedy="write :=",
        )

    def _without_assignment(self, target: ast.Expression) -> ast.Statement:
        if isinstance(target, ast.Call):
            self.semicolon("a call")
            return ast.CallStatement(target.start, self.ends[self.i - 1], target)
        callable_name = isinstance(
            target, ast.Name | ast.Member | ast.Index | ast.Dereference | ast.GlobalName
        )
        if callable_name and (self.keys[self.i] == ";" or self.on_new_line()):
            self.semicolon("a statement")
            return ast.ExpressionStatement(target.start, self.ends[self.i - 1], target)
        is_operator = self.keys[self.i] in OPERATOR_WORDS
        if callable_name and not is_operator and self.kinds[self.i] in (NAME, NUMBER, STRING, WSTRING):
            self.fail_expected(":= or (", f"after {self._text(target)[:40]}")
        at = self.i
        if is_operator or (self.keys[at] != ";" and self.kinds[at] == OPERATOR):
            self.i = at
            self._rest_of_expression()
        if self.dialect in ("rusty", "auto"):
            self.semicolon("a statement")
            return ast.ExpressionStatement(target.start, self.ends[self.i - 1], target)
        self.report(
            "ST2017",
            "this computes a value and does nothing with it",
            at=(target.start, self.ends[self.i - 1]),
            remedy="assign it: variable := value;",
        )
        self.semicolon("a statement")
        return ast.Empty(target.start, self.ends[self.i - 1])

    def _rest_of_expression(self) -> None:
        """The operators behind a first operand of what turned out to be no statement."""
        if self.keys[self.i] in (")", "]", ",", ":", "..", "=>"):
            self.fail_expected(":=, ( or ;")
        self.i += 1
        self.expression()

    def _label(self) -> ast.Statement:
        self.other_dialect("a jump label", "codesys")
        name = self.expect_name("a label")
        self.i += 1
        self.end_line(colon=True)
        self.accept(";")
        return ast.Label(name.start, self.ends[self.i - 1], name)

    # ------------------------------------------------------------ misspelt words

    def _misspelt_statement(self) -> None:
        """``ENDIF;``, ``ELSEIF x THEN``, ``WHLE x DO``: put right where nothing else can be meant."""
        following, kind = self.key(1), self.kind(1)
        if following in (":=", "(", ".", "[", "^", "?=", "=") and following != "(":
            return
        key = self.keys[self.i]
        if following == "(":
            if key in ("ELSEIF", "ELIF", "ELSE_IF"):
                self.repair(["ELSIF"])
            return
        if key.startswith("E"):
            known = [end for end in self.open_ends if end in ENDS]
            known += ["ELSIF", "ELSE"] if "END_IF" in self.open_ends else []
            known += ["ELSE"] if "END_CASE" in self.open_ends else []
            if key.startswith("END") or following not in (";",):
                self.repair(known)
        new_line = self.on_new_line(1)
        if not new_line and (
            kind in (NAME, NUMBER) and following not in ("S", "R", "REF", "AND", "OR", "XOR", "MOD")
        ):
            self.repair(_OPENERS)
