"""Program organisation units: functions, blocks, programs, classes, methods, properties, interfaces, actions."""

from __future__ import annotations

from programs import ast
from programs.parse_cursor import ParseError
from programs.parse_sfc import Charts
from programs.tokens import (
    ACCESS_WORDS,
    BLOCK_ENDS,
    END_KEY,
    ENDS,
    MODIFIER_WORDS,
    NAME,
    OPERATOR_WORDS,
    TOP_LEVEL,
    VARIABLE_SECTIONS,
)

_STOPS = ENDS | VARIABLE_SECTIONS | frozenset((END_KEY,))
_POU_END = {
    "FUNCTION": "END_FUNCTION",
    "FUNCTION_BLOCK": "END_FUNCTION_BLOCK",
    "PROGRAM": "END_PROGRAM",
    "CLASS": "END_CLASS",
    "METHOD": "END_METHOD",
    "TEST": "END_TEST",
}
_SPOKEN = {
    "FUNCTION": "a function",
    "FUNCTION_BLOCK": "a function block",
    "PROGRAM": "a program",
    "CLASS": "a class",
    "METHOD": "a method",
}


TEST_PATH_CHARACTERS_MAX = 80  # of a source's path in the name of a test


class Declarations(Charts):
    """FUNCTION … INTERFACE."""

    # ------------------------------------------------------------ POUs

    def pou(self) -> ast.Pou:
        """FUNCTION, FUNCTION_BLOCK, PROGRAM, CLASS or METHOD; the current word opens it."""
        opened = self.i
        if self.keys[opened] == "FUNCTIONBLOCK":
            self.other_dialect("FUNCTIONBLOCK", "codesys")
            self.keys[opened] = "FUNCTION_BLOCK"
        kind = self.keys[opened]
        self.i += 1
        modifiers = self._modifiers()
        name = self.expect_name(f"the name of {_SPOKEN[kind]}")
        pou = ast.Pou(
            kind=kind, name=name, source=self.source, sections=[], body=None, start=self.starts[opened], end=0
        )
        pou.comment, pou.attributes = self.comment_of(opened, None), self.attributes_of(opened)
        pou.external = "external" in pou.attributes
        self._apply(pou, modifiers)
        end = _POU_END[kind]
        self.open_ends.append(end)
        self._head(pou)
        self._contents(pou, end)
        self.open_ends.pop()
        self._end(pou, end, opened)
        return pou

    def test(self) -> ast.Pou:
        """``TEST 'what' VAR … END_VAR statements END_TEST``: named by its line, for it has a text instead."""
        opened = self.i
        line = self.source.line(self.starts[opened])
        before = self.source.text[: self.starts[opened] - self.source.base].rpartition("\n")[2]
        column = f"_{len(before)}" if before.strip() else ""
        path = "".join(c if c.isalnum() else "_" for c in self.source.path.rpartition(".")[0])
        title = f"Test_{line}{column}_{path[-TEST_PATH_CHARACTERS_MAX:]}"
        name = ast.Name(self.starts[opened + 1], self.ends[opened + 1], title)
        pou = ast.Pou(
            kind="TEST",
            name=name,
            source=self.source,
            sections=[],
            body=None,
            start=self.starts[opened],
            end=0,
        )
        pou.title = self.texts[opened + 1][1:-1]
        pou.comment, pou.attributes = self.comment_of(opened, None), self.attributes_of(opened)
        self.i += 2
        pou.head_end = self.ends[self.i - 1]
        self.end_line()
        self.open_ends.append("END_TEST")
        self._contents(pou, "END_TEST")
        self.open_ends.pop()
        self.end_of("END_TEST", opened, "TEST")
        self.accept(";")
        pou.end = self.ends[self.i - 1]
        return pou

    def _end(self, pou: ast.Pou, end: str, opened: int) -> None:
        if self.keys[self.i] == "END_FUNCTIONBLOCK":
            self.other_dialect("END_FUNCTIONBLOCK", "codesys")
            self.keys[self.i] = "END_FUNCTION_BLOCK"
        self.end_of(end, opened, f"{pou.kind} {pou.name.name[:40]}")
        self.accept(";")
        pou.end = self.ends[self.i - 1]

    def _modifiers(self) -> list[str]:
        """PUBLIC, ABSTRACT, …: as long as a name still follows."""
        found = []
        while self.keys[self.i] in MODIFIER_WORDS and self.kind(1) == NAME and not self.on_new_line(1):
            if self.key(1) in ("EXTENDS", "IMPLEMENTS"):
                break
            found.append(self.keys[self.i])
            self.i += 1
        return found

    def _apply(self, node: ast.Pou | ast.Property, modifiers: list[str]) -> None:
        for word in modifiers:
            if word in ACCESS_WORDS:
                if node.access and node.access != word:
                    self.report("ST2019", f"{word} contradicts {node.access}", remedy="keep one of them")
                node.access = word
            else:
                setattr(node, word.lower(), True)

    def _head(self, pou: ast.Pou) -> None:
        """``<T : ANY> : type EXTENDS a IMPLEMENTS b, c``."""
        depth = self.depth
        try:
            if self.keys[self.i] == "<" and pou.kind in ("FUNCTION", "METHOD", "FUNCTION_BLOCK"):
                pou.type_parameters = self._type_parameters()
            if self.accept(":"):
                if self.keys[self.i] == "VOID":
                    self.i += 1
                else:
                    pou.result = self.type_spec()
            self.accept(";")
            while self.keys[self.i] in ("EXTENDS", "IMPLEMENTS") and self.kind(1) == NAME:
                target = pou.extends if self.keys[self.i] == "EXTENDS" else pou.implements
                self.i += 1
                target += self._names("a block or class")
            self.accept(";")
        except ParseError:
            self.depth = depth
            while not self.on_new_line() and self.keys[self.i] != "<end>":
                self.i += 1
        pou.head_end = self.ends[self.i - 1]
        self.end_line()

    def _names(self, what: str) -> list[ast.Name | ast.Member]:
        names = [self.dotted_name(what)]
        while self.accept(","):
            names.append(self.dotted_name(what))
        return names

    def _type_parameters(self) -> list[ast.TypeParameter]:
        opened = self.i
        self.other_dialect("a type parameter", "rusty")
        self.i += 1
        found = []
        while True:
            name = self.expect_name("a type parameter")
            self.expect(":", "a type parameter is <T : ANY_NUM>")
            family = self.expect_name("a family of types")
            found.append(ast.TypeParameter(name.start, family.end, name, family.name.upper()))
            if not self.accept(","):
                break
        if not self.accept(">"):
            self.close(">", opened)
        return found

    def _contents(self, pou: ast.Pou, end: str) -> None:
        """Sections, members and body in any order; declarations behind statements are reported."""
        while True:
            key = self.keys[self.i]
            if key == end or key == "<end>":
                return
            if self.is_section():
                self._section_of(pou)
            elif self.at_member():
                self.member(pou)
            elif key == "USING" and self.kind(1) == NAME:
                pou.using.append(self.using())
            elif key == "END_FUNCTIONBLOCK" and end == "END_FUNCTION_BLOCK":
                return
            elif key in BLOCK_ENDS:
                self.stray_end()
            elif key in ENDS or self._at_next_pou(key):
                return
            else:
                self._part_of_body(pou)

    def _at_next_pou(self, key: str) -> bool:
        return key in TOP_LEVEL and (self.kind(1) == NAME or key == "VAR_GLOBAL")

    def _section_of(self, pou: ast.Pou) -> None:
        if isinstance(pou.body, ast.StatementBody) and pou.body.statements:
            self.report(
                "ST2015",
                f"{self.keys[self.i]} stands behind statements",
                remedy="declare variables before the first statement",
            )
        pou.sections.append(self.section())

    def _part_of_body(self, pou: ast.Pou) -> None:
        body = self.body()
        if pou.body is None:
            pou.body = body
        elif isinstance(pou.body, ast.StatementBody) and isinstance(body, ast.StatementBody):
            pou.body.statements += body.statements
            pou.body.end = body.end
        elif isinstance(pou.body, ast.SfcBody) and isinstance(body, ast.SfcBody):
            pou.body.steps += body.steps
            pou.body.transitions += body.transitions
        else:
            self.report(
                "ST2001",
                f"the body of {pou.name.name[:40]} is written in two languages",
                at=(body.start, min(body.end, body.start + 1)),
                remedy="write it in one language and move the rest to actions",
            )

    def body(self) -> ast.Body:
        """Statements, a chart or an instruction list, up to a word that closes or opens something else."""
        if self.at_chart():
            return self.chart()
        if self.at_instruction_list():
            return self.instruction_list()
        start = self.i
        statements = self.statements()
        if self.i == start:
            # A word that ends a list but belongs to nothing here; passing it keeps the parser moving.
            self.report("ST2001", f"{self.found()} does not fit here", found=self.found())
            self.i += 1
        return ast.StatementBody(self.starts[start], self.ends[self.i - 1], statements)

    # ------------------------------------------------------------ members

    def at_member(self) -> bool:
        key = self.keys[self.i]
        if key in ("METHOD", "PROPERTY", "ACTION", "PROPERTY_GET", "PROPERTY_SET"):
            return self.kind(1) == NAME and self.key(1) not in OPERATOR_WORDS
        return False

    def member(self, owner: ast.Pou) -> None:
        start, depth, open_ends = self.i, self.depth, len(self.open_ends)
        try:
            if self.keys[start] == "METHOD":
                owner.methods.append(self.pou())
            elif self.keys[start] == "ACTION":
                owner.actions.append(self.action())
            else:
                owner.properties.append(self.property_())
        except ParseError:
            self.depth = depth
            del self.open_ends[open_ends:]
            self.skip_statement(start)

    def action(self) -> ast.Action:
        """``ACTION name : … END_ACTION``."""
        opened = self.i
        self.i += 1
        name = self.expect_name("an action's name")
        self.accept(":")
        self.end_line(colon=True)
        return self._action_body(opened, name)

    def _action_body(self, opened: int, name: ast.Name) -> ast.Action:
        self.open_ends.append("END_ACTION")
        comment = self.comment_of(opened, None)
        body: ast.Body = ast.StatementBody(self.ends[self.i - 1], self.ends[self.i - 1], [])
        while self.keys[self.i] != "END_ACTION":
            if self.keys[self.i] in BLOCK_ENDS:
                self.stray_end()
                continue
            key = self.keys[self.i]
            if key in _STOPS or self._at_next_pou(key) or self.at_member():
                break
            part = self.body()
            if isinstance(body, ast.StatementBody) and isinstance(part, ast.StatementBody):
                body.statements += part.statements
                body.end = part.end
            else:
                body = part
        self.open_ends.pop()
        self.end_of("END_ACTION", opened, f"ACTION {name.name[:40]}")
        self.accept(";")
        return ast.Action(self.starts[opened], self.ends[self.i - 1], name, body, comment)

    def property_(self) -> ast.Property:
        """``PROPERTY name : type GET … END_GET SET … END_SET END_PROPERTY``."""
        opened = self.i
        single = self.keys[opened][9:]
        self.i += 1
        modifiers = self._modifiers()
        name = self.expect_name("a property's name")
        node = ast.Property(self.starts[opened], 0, name, None, [])
        node.comment, node.attributes = self.comment_of(opened, None), self.attributes_of(opened)
        self._apply(node, modifiers)
        if self.accept(":"):
            node.type = self.type_spec()
        self.accept(";")
        self.end_line()
        self.open_ends.append("END_PROPERTY")
        if single:
            node.accessors.append(self._accessor_contents(opened, single))
        else:
            self._accessors(node)
        self.open_ends.pop()
        self.end_of("END_PROPERTY", opened, f"PROPERTY {name.name[:40]}")
        self.accept(";")
        node.end = self.ends[self.i - 1]
        return node

    def _accessors(self, node: ast.Property) -> None:
        shared = self.sections()
        while self.keys[self.i] in ("GET", "SET") or (
            self.keys[self.i] in ACCESS_WORDS and self.key(1) in ("GET", "SET")
        ):
            access = ""
            if self.keys[self.i] in ACCESS_WORDS:
                access = self.keys[self.i]
                self.i += 1
            opened = self.i
            kind = self.keys[opened]
            self.i += 1
            if self.keys[self.i] in ACCESS_WORDS and self.key(1) not in ("GET", "SET"):
                access = self.keys[self.i]  # CODESYS writes it behind the word
                self.i += 1
            self.accept(";")
            self.end_line()
            if self.keys[self.i] in ("GET", "SET", "END_PROPERTY") or self.keys[self.i] in ACCESS_WORDS:
                node.accessors.append(
                    ast.Accessor(self.starts[opened], self.ends[opened], kind, shared, None, access)
                )
                continue
            self.open_ends.append(f"END_{kind}")
            accessor = self._accessor_contents(opened, kind)
            accessor.sections = shared + accessor.sections
            accessor.access = access
            self.open_ends.pop()
            self.end_of(f"END_{kind}", opened, kind)
            self.accept(";")
            accessor.end = self.ends[self.i - 1]
            node.accessors.append(accessor)

    def _accessor_contents(self, opened: int, kind: str) -> ast.Accessor:
        holder = ast.Pou(
            kind="METHOD", name=ast.Name(0, 0, ""), source=self.source, sections=[], body=None, start=0, end=0
        )
        self._contents(holder, self.open_ends[-1])
        return ast.Accessor(self.starts[opened], self.ends[self.i - 1], kind, holder.sections, holder.body)

    # ------------------------------------------------------------ interfaces

    def interface(self) -> ast.Interface:
        opened = self.i
        self.i += 1
        modifiers = self._modifiers()
        name = self.expect_name("an interface's name")
        node = ast.Interface(self.starts[opened], 0, name, self.source, [], [], [])
        node.comment, node.attributes = self.comment_of(opened, None), self.attributes_of(opened)
        node.access = next((word for word in modifiers if word in ACCESS_WORDS), "")
        if self.accept("EXTENDS"):
            node.extends = self._names("an interface")
        self.accept(";")
        self.end_line()
        holder = ast.Pou(kind="CLASS", name=name, source=self.source, sections=[], body=None, start=0, end=0)
        self.open_ends.append("END_INTERFACE")
        while self.keys[self.i] != "END_INTERFACE" and not self.at_block_end():
            if self.at_member():
                self.member(holder)
            elif self.keys[self.i] == "USING":
                node.using.append(self.using())
            elif not self.accept(";"):
                self.report(
                    "ST2001", f"{self.found()} does not fit in an interface", expected="METHOD, PROPERTY"
                )
                self.skip_statement(self.i)
                if self.keys[self.i] in ENDS and self.keys[self.i] not in self.open_ends:
                    self.i += 1
        self.open_ends.pop()
        node.methods, node.properties = holder.methods, holder.properties
        self.end_of("END_INTERFACE", opened, f"INTERFACE {name.name[:40]}")
        self.accept(";")
        node.end = self.ends[self.i - 1]
        return node

    def using(self) -> ast.Using:
        """``USING a.b, c;``"""
        start = self.i
        self.i += 1
        names = self._names("a namespace")
        self.semicolon("USING")
        return ast.Using(self.starts[start], self.ends[self.i - 1], names)
