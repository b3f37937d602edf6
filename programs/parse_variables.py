"""Variable sections, comments and attributes of what is declared (IEC 61131-3, 6.5)."""

from __future__ import annotations

import re

from programs import ast
from programs.parse_cursor import ParseError
from programs.parse_types import Types
from programs.tokens import (
    ACCESS_WORDS,
    DIRECT,
    ENDS,
    NAME,
    NUMBER,
    RESERVED,
    TOP_LEVEL,
    VARIABLE_SECTIONS,
)

_ATTRIBUTE = re.compile(
    r"\{\s*attribute\s*'([^']*)'\s*(?::=\s*'((?:[^'$]|\$.)*)')?\s*\}", re.IGNORECASE | re.DOTALL
)
_QUALIFIERS = frozenset(("CONSTANT", "RETAIN", "NON_RETAIN", "PERSISTENT")) | ACCESS_WORDS
_SECTION_WORDS = sorted(VARIABLE_SECTIONS)
_DIALECT_SECTIONS = {"VAR_STAT": ("codesys",), "VAR_INST": ("codesys",)}
_EDGES = ("R_EDGE", "F_EDGE")
COMMENT_CHARACTERS_MAX = 2_000


class Variables(Types):
    """VAR … END_VAR."""

    def section(self) -> ast.VariableSection:
        """A variable section; the current word opens it."""
        opened = self.i
        kind = self.keys[opened]
        self.other_section(kind)
        attributes = self.attributes_of(opened)
        self.i += 1
        section = ast.VariableSection(self.starts[opened], 0, kind, [], attributes=attributes)
        self._qualifiers(section)
        self.end_line()
        self.open_ends.append("END_VAR")
        section.variables = self.variables("END_VAR", kind)
        self.open_ends.pop()
        self.end_of("END_VAR", opened, kind)
        self.accept(";")
        section.end = self.ends[self.i - 1]
        return section

    def other_section(self, kind: str) -> None:
        if kind in _DIALECT_SECTIONS:
            self.other_dialect(kind, *_DIALECT_SECTIONS[kind])

    def _qualifiers(self, section: ast.VariableSection) -> None:
        while self.keys[self.i] in _QUALIFIERS and self.key(1) not in (":", ","):
            key = self.keys[self.i]
            if key in ACCESS_WORDS:
                section.access = key
            else:
                field = key.lower()
                if getattr(section, field) or (section.retain and key == "NON_RETAIN"):
                    self.report(
                        "ST2019",
                        f"{key} contradicts or repeats another word of the section",
                        remedy="keep one of RETAIN and NON_RETAIN, and each word once",
                    )
                setattr(section, field, True)
            self.i += 1

    def is_section(self) -> bool:
        """A variable section starts here; a misspelt one is put right."""
        key = self.keys[self.i]
        if key in VARIABLE_SECTIONS:
            return True
        if not key.startswith("VAR_") or self.kinds[self.i] != NAME or not self.on_new_line():
            return False
        if self.key(1) in (":=", ".", "(", "[", ";", "^"):
            return False
        meant = self.meant(_SECTION_WORDS)
        if meant:
            self._report_misspelt(meant)
            self.keys[self.i] = meant
        return bool(meant)

    def sections(self) -> list[ast.VariableSection]:
        found = []
        while self.is_section():
            found.append(self.section())
        return found

    # ------------------------------------------------------------ the variables of a section

    def variables(self, end: str, section: str = "") -> list[ast.Variable]:
        """Declarations up to ``end``."""
        found: list[ast.Variable] = []
        while self.keys[self.i] != end and (self.key(1) in (":", ",") or not self.at_block_end()):
            start, depth = self.i, self.depth
            try:
                if self.accept(";"):
                    continue
                self._misspelt_end(end)
                if section == "VAR_CONFIG" and self.key(1) == ".":
                    found.append(self._configured(start))
                elif section == "VAR_ACCESS":
                    found.append(self._access(start))
                else:
                    found.extend(self._declaration(start))
            except ParseError:
                self.depth = depth
                if self.keys[self.i] != end:
                    self.skip_statement(start)
        return found

    def _misspelt_end(self, end: str) -> None:
        key = self.keys[self.i]
        if key.startswith("END") and self.kinds[self.i] == NAME and self.key(1) not in (":", ",", "AT"):
            self.repair([end])

    def at_block_end(self) -> bool:
        """The construct that is open cannot go on here."""
        key = self.keys[self.i]
        if key == "<end>" or key in ENDS or key in VARIABLE_SECTIONS:
            return True
        if key in RESERVED:
            return key in TOP_LEVEL or (
                key in ("IF", "FOR", "WHILE", "CASE", "REPEAT") and self.on_new_line()
            )
        return key in TOP_LEVEL and self.kind(1) == NAME and self.on_new_line()

    def _declaration(self, start: int) -> list[ast.Variable]:
        """``a, b AT %QX0.0 : type := initial;``"""
        attributes = self.attributes_of(start)
        names: list[tuple[ast.Name, ast.Expression | None]] = []
        while True:
            names.append(self._declared_name())
            if not self.accept(","):
                break
        if not self.accept(":"):
            self._colon_missing(names[-1][0])
        type_spec = self.type_spec()
        edge = ""
        if self.keys[self.i] in _EDGES:
            edge = self.keys[self.i]
            self.i += 1
        if self.keys[self.i] == "." and self.key(1) == "..":
            self.i += 2
        elif self.accept("..."):
            self.other_dialect("a variable number of arguments", "rusty")
        initial_op, initial = self._initial(type_spec)
        if self.keys[self.i] == "AT" and self.kind(1) == DIRECT:
            self.fail(
                "ST2001",
                "AT stands behind the type",
                expected="name AT address : type",
                found="name : type AT address",
                remedy=f"write {names[-1][0].name[:40]} AT {self.texts[self.i + 1][:20]} : …",
            )
        last = self.i
        if not self._end_of_struct_member(type_spec):
            self.semicolon("the declaration of a variable")
        found, comment = [], self.comment_of(start, last)
        for name, at in names:
            variable = ast.Variable(
                self.starts[start], self.ends[self.i - 1], name, type_spec, initial, initial_op
            )
            variable.location = at if isinstance(at, ast.DirectVariable) else None
            variable.alias = None if isinstance(at, ast.DirectVariable) else at
            variable.edge, variable.comment, variable.attributes = edge, comment, attributes
            found.append(variable)
        return found

    def _end_of_struct_member(self, type_spec: ast.TypeSpec) -> bool:
        """END_STRUCT is also an end of its own."""
        return isinstance(type_spec, ast.StructType) and self.keys[self.i] != ";"

    def _declared_name(self) -> tuple[ast.Name, ast.Expression | None]:
        """``name``, ``name AT %IX0.0``, ``AT %IX0.0``, ``name AT other`` (RuSTy)."""
        if self.keys[self.i] == "AT" and self.kind(1) == DIRECT:
            self.i += 1
            location = self._direct()
            return ast.Name(location.start, location.end, location.text), location
        name = self.expect_name("a variable's name")
        if self.keys[self.i] != "AT":
            return name, None
        if self.kind(1) == NAME:
            self.other_dialect("AT with another variable", "rusty")
            self.i += 1
            return name, self.dotted_path()
        return name, self._location()

    def _colon_missing(self, name: ast.Name) -> None:
        if self.keys[self.i] in (":=", "="):
            self.fail(
                "ST2001",
                f"the type of {name.name[:40]} is missing",
                expected=": type",
                found=self.found(),
                remedy="declare it as name : TYPE := value;",
            )
        self.fail(
            "ST2001",
            f"{self.found()} does not fit here (declaration of {name.name[:40]})",
            expected=":",
            found=self.found(),
            remedy="declare it as name : TYPE := value;",
        )

    def _location(self) -> ast.DirectVariable | None:
        if self.keys[self.i] != "AT":
            return None
        self.i += 1
        if self.kinds[self.i] != DIRECT:
            self.fail_expected("a direct address such as %IX0.0", "after AT")
        return self._direct()

    def _initial(self, type_spec: ast.TypeSpec | None) -> tuple[str, ast.Expression | None]:
        key = self.keys[self.i]
        if key == ":=":
            self.i += 1
            return ":=", self.declared_initial(type_spec)
        if key == "[" and isinstance(type_spec, ast.ArrayType):
            self.other_dialect("a list of constructor calls behind the type", "codesys")
            return ":=", self.initial_value()
        if key == "REF" and self.key(1) == "=":
            self.other_dialect("REF=", "codesys", "rusty")
            self.i += 2
            return "REF=", self.initial_value()
        if key == "=":
            self.report(
                "ST2005",
                "= compares; an initial value is given with :=",
                expected=":=",
                found="=",
                remedy="write :=",
            )
            self.i += 1
            return ":=", self.declared_initial(type_spec)
        return ":=", None

    def declared_initial(self, type_spec: ast.TypeSpec | None) -> ast.Expression:
        """An initial value; for arrays also CODESYS 2's list without brackets, ``1, 2, 3(0)``."""
        start = self.i
        if self.kinds[start] == NUMBER and self.key(1) == "(":
            value: ast.Expression = ast.ArrayInitial(0, 0, [self.array_element()], bracketed=False)
        else:
            value = self.initial_value()
        is_array = isinstance(type_spec, ast.ArrayType) or isinstance(value, ast.ArrayInitial)
        if not (is_array and self.keys[self.i] == ",") and not (
            isinstance(value, ast.ArrayInitial) and not value.bracketed
        ):
            return value
        self.other_dialect(
            "a list of initial values without brackets", "codesys", at=(self.starts[start], self.ends[start])
        )
        if isinstance(value, ast.ArrayInitial) and not value.bracketed:
            elements = value.elements
        else:
            elements = [ast.ArrayElement(value.start, value.end, None, [value])]
        while self.accept(","):
            elements.append(self.array_element())
        return ast.ArrayInitial(self.starts[start], elements[-1].end, elements, bracketed=False)

    def _configured(self, start: int) -> ast.Variable:
        """VAR_CONFIG: ``resource.program.fb.x AT %IX0.0 : BOOL := TRUE;``"""
        path = self.dotted_path()
        location = self._location()
        type_spec, initial = None, None
        if self.accept(":"):
            type_spec = self.type_spec()
            _, initial = self._initial(type_spec)
        last = self.i
        self.semicolon("the configuration of a variable")
        name = ast.Name(path.start, path.end, self._text(path))
        variable = ast.Variable(self.starts[start], self.ends[self.i - 1], name, type_spec, initial)
        variable.location, variable.path, variable.comment = location, path, self.comment_of(start, last)
        return variable

    def _access(self, start: int) -> ast.Variable:
        """VAR_ACCESS: ``name : resource.program.x : INT READ_ONLY;``"""
        attributes = self.attributes_of(start)
        name = self.expect_name("the name of an access path")
        self.expect(":", "an access path is name : path : type READ_ONLY;")
        path = self._direct() if self.kinds[self.i] == DIRECT else self.dotted_path()
        self.expect(":", "an access path is name : path : type READ_ONLY;")
        type_spec = self.type_spec()
        access = ""
        if self.keys[self.i] in ("READ_ONLY", "READ_WRITE"):
            access = self.keys[self.i]
            self.i += 1
        last = self.i
        self.semicolon("the declaration of an access path")
        variable = ast.Variable(self.starts[start], self.ends[self.i - 1], name, type_spec)
        variable.access, variable.path, variable.attributes = access, path, attributes
        variable.comment = self.comment_of(start, last)
        return variable

    def dotted_path(self) -> ast.Expression:
        """A path with members, indices and direct addresses: ``a.b[1].%IX0.0``."""
        path: ast.Expression = self.expect_name("a path")
        while self.keys[self.i] in (".", "["):
            if self.keys[self.i] == "." and self.kind(1) == DIRECT:
                self.i += 1
                direct = self._direct()
                return ast.Member(
                    path.start, direct.end, path, ast.Name(direct.start, direct.end, direct.text)
                )
            path = self._member(path) if self.keys[self.i] == "." else self._index(path)
        return path

    def _text(self, node: ast.Expression) -> str:
        base = self.source.base
        return self.source.text[node.start - base : node.end - base]

    # ------------------------------------------------------------ words before a name

    def access_word(self) -> str:
        if self.keys[self.i] in ACCESS_WORDS and self.kind(1) == NAME:
            self.i += 1
            return self.keys[self.i - 1]
        return ""

    # ------------------------------------------------------------ comments and attributes

    def attributes_of(self, first: int) -> dict[str, str]:
        """``{attribute 'name' := 'value'}`` before the token ``first``."""
        pragmas = self.tokens.pragmas.get(first)
        if not pragmas:
            return {}
        base, text = self.source.base, self.source.text
        found: dict[str, str] = {}
        for start, end in pragmas:
            written = text[start - base : end - base]
            attribute = _ATTRIBUTE.fullmatch(written)
            if attribute is not None:
                found[attribute[1]] = (attribute[2] or "").replace("$'", "'").replace("$$", "$")
            elif (word := written.strip("{}@ \t")).isidentifier():
                found[word.lower()] = ""
        return found

    def comment_of(self, first: int, last: int | None) -> str:
        """The comment behind the token ``last`` on its line, else the one on the lines before ``first``."""
        comments = self.tokens.comments
        text, base = self.source.text, self.source.base
        if last is not None:
            for start, end in comments.get(last + 1, ()):
                if "\n" not in text[self.ends[last] - base : start - base]:
                    return _plain(text[start - base : end - base])
                break
        return self._comment_before(first)

    def _comment_before(self, first: int) -> str:
        """Comments on the lines right before the token, pragmas between them left out."""
        base, text = self.source.base, self.source.text
        spans = [(*span, True) for span in self.tokens.comments.get(first, ())]
        spans += [(*span, False) for span in self.tokens.pragmas.get(first, ())]
        previous_end = self.ends[first - 1] if first else base
        found: list[str] = []
        at = self.starts[first]
        for start, end, is_comment in sorted(spans, reverse=True):
            own_line = first == 0 or "\n" in text[previous_end - base : start - base]
            if text.count("\n", end - base, at - base) > 1 or not own_line:
                break
            if is_comment:
                found.append(_plain(text[start - base : end - base]))
            at = start
        return "\n".join(part for part in reversed(found) if part)[:COMMENT_CHARACTERS_MAX]


def _plain(comment: str) -> str:
    """The words of a comment without its marks."""
    if comment.startswith("(* @"):
        return ""  # marks that CODESYS 2 writes into its exports
    inner = comment[2:] if comment.startswith("//") else comment[2:].removesuffix("*)").removesuffix("*/")
    lines = [line.strip().strip("*").strip() for line in inner.splitlines()]
    return "\n".join(line for line in lines if line)[:COMMENT_CHARACTERS_MAX]
