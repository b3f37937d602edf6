"""Source text to tree: the front end's door."""

from __future__ import annotations

import contextlib

from programs import ast
from programs.diagnostics import Diagnostics
from programs.lexer import tokenize
from programs.parse_configurations import Configurations
from programs.parse_cursor import GiveUpError, ParseError, RepairedError
from programs.source import Source
from programs.tokens import BLOCK_ENDS, ENDS, NAME, STRING, WSTRING
from scan.problem import Problem

DIALECTS = ("iec", "codesys", "rusty", "auto")
_POUS = frozenset(("FUNCTION", "FUNCTION_BLOCK", "FUNCTIONBLOCK", "PROGRAM", "CLASS"))
_OPENERS = [
    "FUNCTION", "FUNCTION_BLOCK", "PROGRAM", "CLASS", "INTERFACE", "TYPE", "CONFIGURATION", "NAMESPACE", "VAR_GLOBAL",
    "VAR_CONFIG", "ACTIONS", "ACTION", "USING",
]  # fmt: skip


class Parser(Configurations):
    """Declarations of a file."""

    def unit(self) -> ast.Unit:
        node = ast.Unit(self.starts[0], self.ends[-1], self.source, self.dialect, [])
        with contextlib.suppress(GiveUpError):
            self._declarations(node.declarations, node.using, "<end>")
        if self.dialect == "auto":
            node.dialect = self._dialect_by_use()
        return node

    def _dialect_by_use(self) -> str:
        for dialect in ("codesys", "rusty"):
            if frozenset((dialect,)) in self.used_dialects:
                return dialect
        return "codesys" if self.used_dialects else "iec"

    def _declarations(self, found: list[ast.Declaration], using: list[ast.Using], end: str) -> None:
        while self.keys[self.i] not in (end, "<end>"):
            start = self.i
            try:
                if self.accept(";"):
                    continue
                if self.keys[start] == "USING" and self.kind(1) == NAME:
                    using.append(self.using())
                else:
                    found.extend(self._declaration_or_skip(start))
            except RepairedError:
                self.depth = 0
            except ParseError:
                self.depth = 0
                self._skip_declaration(start)

    def _declaration_or_skip(self, start: int) -> list[ast.Declaration]:
        key = self.keys[start]
        open_ends = len(self.open_ends)
        try:
            if key in _POUS:
                return [self.pou()]
            if key == "METHOD" and self.kind(1) == NAME:
                return [self.pou()]
            if key == "TEST" and self.kind(1) in (STRING, WSTRING):
                return [self.test()]
            if self.is_section():
                section = self.section()
                return [ast.GlobalSection(section.start, section.end, self.source, section)]
            if key == "TYPE":
                return self.type_declarations()
            if key == "INTERFACE":
                return [self.interface()]
            if key == "CONFIGURATION":
                return [self.configuration()]
            if key == "NAMESPACE":
                return [self._namespace()]
            if key in ("ACTIONS", "ACTION"):
                return [self._actions(start)]
        finally:
            del self.open_ends[open_ends:]
        self._not_a_declaration()
        return []

    def _not_a_declaration(self) -> None:
        key = self.keys[self.i]
        if key in BLOCK_ENDS or key in ENDS:
            self.stray_end()
            return
        if self.kinds[self.i] == NAME and self.kind(1) == NAME and not self.on_new_line(1):
            self.repair(_OPENERS)
        self.fail(
            "ST2020",
            f"{self.found()} stands outside of any declaration",
            expected="FUNCTION, FUNCTION_BLOCK, PROGRAM, TYPE, VAR_GLOBAL, CONFIGURATION …",
            found=self.found(),
            remedy="put statements into a PROGRAM, FUNCTION_BLOCK or FUNCTION",
        )

    def _skip_declaration(self, start: int) -> None:
        """To the next word at the start of a line that opens a declaration."""
        if self.i == start:
            self.i += 1
        while self.keys[self.i] != "<end>":
            if self.keys[self.i] in _OPENERS and self.on_new_line() and self.kind(1) != 0:
                return
            if self.keys[self.i] in self.open_ends:
                return
            self.i += 1

    def _namespace(self) -> ast.Namespace:
        opened = self.i
        self.i += 1
        internal = self.accept("INTERNAL")
        name = self.dotted_name("a namespace's name")
        self.accept(";")
        self.end_line()
        node = ast.Namespace(self.starts[opened], 0, name, self.source, internal, [])
        self.open_ends.append("END_NAMESPACE")
        self.enter()
        self._declarations(node.declarations, node.using, "END_NAMESPACE")
        self.end_of("END_NAMESPACE", opened, "NAMESPACE")
        self.accept(";")
        node.end = self.ends[self.i - 1]
        return node

    def _actions(self, opened: int) -> ast.ActionsOf:
        """``ACTIONS owner … END_ACTIONS``, ``ACTION owner.name … END_ACTION`` (RuSTy)."""
        self.other_dialect(f"{self.keys[opened]} outside of its block", "rusty", "codesys")
        node = ast.ActionsOf(self.starts[opened], 0, self.source, None, [])
        if self.keys[opened] == "ACTION":
            self.i += 1
            full = self.dotted_name("an action's name")
            self.accept(":")
            self.end_line(colon=True)
            if isinstance(full, ast.Member) and isinstance(full.base, ast.Name | ast.Member):
                node.owner = full.base
                node.actions.append(self._action_body(opened, full.name))
            elif isinstance(full, ast.Name):
                node.actions.append(self._action_body(opened, full))
            node.end = self.ends[self.i - 1]
            return node
        self.i += 1
        if self.keys[self.i] != "ACTION" and self.at_name():
            node.owner = self.dotted_name("the block that the actions belong to")
        self.end_line()
        self.open_ends.append("END_ACTIONS")
        while self.keys[self.i] == "ACTION":
            node.actions.append(self.action())
        self.end_of("END_ACTIONS", opened, "ACTIONS")
        self.accept(";")
        node.end = self.ends[self.i - 1]
        return node


def parse_into(source: Source, dialect: str, diagnostics: Diagnostics) -> ast.Unit:
    """As ``parse``, with the problems going to a collector that may serve several sources."""
    tokens = tokenize(source, diagnostics)
    parser = Parser(source, tokens, dialect, diagnostics)
    try:
        return parser.unit()
    except RecursionError:
        # Nesting is limited to what the default stack holds; a caller that is itself deep in the stack ends here.
        diagnostics.report(
            "ST2010",
            parser.span(),
            "the source is nested too deep here",
            remedy="move the inner part to a function",
        )
        return ast.Unit(source.base, source.base + len(source.text), source, "iec", [])


def parse(source: Source, dialect: str = "iec") -> tuple[ast.Unit, list[Problem]]:
    """The tree of a source and every lexical and syntax problem in it.

    ``dialect``: "iec", "codesys", "rusty", or "auto" (all forms are read; ``Unit.dialect`` tells which one was
    needed). Never raises, whatever the text; with problems the tree holds what could be read.
    """
    diagnostics = Diagnostics(source)
    unit = parse_into(source, dialect, diagnostics)
    return unit, diagnostics.problems()
