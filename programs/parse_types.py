"""Types as written behind a colon: IEC 61131-3, 6.4, with the references and strings of the dialects."""

from __future__ import annotations

from programs import ast
from programs.parse_cursor import LOOK_AHEAD_MAX, ParseError
from programs.parse_expressions import Expressions, dotted
from programs.tokens import INTEGER_TYPES, NAME


class Types(Expressions):
    """Type specifications."""

    def type_spec(self) -> ast.TypeSpec:
        key = self.keys[self.i]
        if key == "ARRAY":
            return self._array_type()
        if key in ("STRING", "WSTRING"):
            return self._string_type()
        if key == "STRUCT":
            return self._struct_type()
        if key == "UNION" and self.kind(1) == NAME:
            self.other_dialect("UNION", "codesys")
            return self._struct_type()
        if key == "(":
            return self._enum_type(None)
        if key in ("REFERENCE_TO", "POINTER_TO") and self.kind(1) == NAME:
            spaced = key.replace("_", " ")
            self.report("ST2007", f"{key} is no keyword; did you mean {spaced}?", remedy=f"write {spaced}")
            return self._reference_type()
        if key in ("REF_TO", "__FPOINTER") or (key in ("REFERENCE", "POINTER") and self.key(1) == "TO"):
            return self._reference_type()
        return self._named_type()

    def _array_type(self) -> ast.ArrayType:
        start = self.i
        self.i += 1
        opened = self.expect("[", "the bounds of an array, as in ARRAY [0..9] OF INT")
        self.enter()
        dimensions = [self._dimension()]
        while self.accept(","):
            dimensions.append(self._dimension())
        self.close("]", opened)
        self.keyword("OF", "after the bounds of an array")
        element = self.type_spec()
        self.depth -= 1
        return ast.ArrayType(self.starts[start], element.end, dimensions, element)

    def _dimension(self) -> ast.Dimension:
        i = self.i
        if self.accept("*"):
            return ast.Dimension(self.starts[i], self.ends[i], None, None)
        self.operator_count = 0
        low = self.expression()
        self.expect("..", "between the bounds of an array")
        high = self.expression()
        return ast.Dimension(low.start, high.end, low, high)

    def _string_type(self) -> ast.StringType:
        i = self.i
        self.i += 1
        length = None
        if self.keys[self.i] in ("[", "("):
            opened = self.i
            round_form = self.keys[opened] == "("
            if round_form:
                self.other_dialect(f"{self.keys[i]}(length)", "codesys", "rusty")
            self.i += 1
            length = self.expression()
            self.close(")" if round_form else "]", opened)
        return ast.StringType(self.starts[i], self.ends[self.i - 1], self.keys[i] == "WSTRING", length)

    def _reference_type(self) -> ast.ReferenceType:
        i = self.i
        kind = self.keys[i]
        self.i += 1
        if kind == "__FPOINTER":
            self.other_dialect(kind, "rusty", at=(self.starts[i], self.ends[i]))
        elif "_" in kind and kind != "REF_TO":
            kind = kind.replace("_", " ")
        elif kind != "REF_TO":
            kind = f"{kind} TO"
            self.i += 1
            self.other_dialect(kind, "codesys", "rusty", at=(self.starts[i], self.ends[self.i - 1]))
        self.enter()
        target = self.type_spec()
        self.depth -= 1
        return ast.ReferenceType(self.starts[i], target.end, kind, target)

    def _named_type(self) -> ast.TypeSpec:
        if not self.at_name():
            self.fail(
                "ST2016",
                f"a type is expected, and {self.found()} is none",
                expected="a type's name, ARRAY, STRUCT, REF_TO or (",
                found=self.found(),
            )
        name = self.dotted_name("a type")
        named = ast.NamedType(name.start, name.end, dotted(name))
        if self.keys[self.i] == "(":
            return self._behind_name(named)
        return named

    def _behind_name(self, base: ast.NamedType) -> ast.TypeSpec:
        """``INT (0..9)``, ``INT (a, b := 2)`` or ``Block (x := 1)``."""
        elementary = base.name.upper() in INTEGER_TYPES
        if elementary and self.kind(1) == NAME and self.key(2) in (",", ")", ":="):
            return self._enum_type(base)
        opened = self.i
        if not self._is_range():
            if elementary:
                return self._enum_type(base)
            call = self.call(ast.Name(base.start, base.end, base.name))
            self.other_dialect("a constructor call in a declaration", "codesys", at=(base.start, base.end))
            base.arguments, base.end = call.arguments, call.end
            return base
        self.i += 1
        low = self.expression()
        self.expect("..", "between the bounds of a subrange")
        high = self.expression()
        self.close(")", opened)
        return ast.SubrangeType(base.start, self.ends[self.i - 1], base, low, high)

    def _is_range(self) -> bool:
        """``..`` stands before the bracket that is open here is closed."""
        depth = 0
        for ahead in range(LOOK_AHEAD_MAX):
            key = self.key(ahead)
            if key == "(":
                depth += 1
            elif key == ")":
                depth -= 1
            if key == ".." and depth == 1:
                return True
            if depth == 0 or key in (";", ":=", "<end>", ","):
                return False
        return False

    def _enum_type(self, base: ast.NamedType | None) -> ast.EnumType:
        opened = self.expect("(")
        values: list[ast.EnumValue] = []
        while self.keys[self.i] != ")":
            at = self.i
            name = self.expect_name("a value of an enumeration")
            value = self.initial_value() if self.accept(":=") else None
            end = name.end if value is None else value.end
            more = self.keys[self.i] == ","
            comment = self.comment_of(at, self.i if more else self.i - 1)
            values.append(ast.EnumValue(name.start, end, name, value, comment))
            if not self.accept(","):
                break
        self.close(")", opened)
        start = self.starts[opened] if base is None else base.start
        if base is None and self.at_name() and self.keys[self.i] in INTEGER_TYPES:
            self.other_dialect("a base type behind the values of an enumeration", "codesys")
            name = self.expect_name("a type")
            base = ast.NamedType(name.start, name.end, name.name)
        return ast.EnumType(start, self.ends[self.i - 1], values, base)

    def _struct_type(self, extends: ast.Name | ast.Member | None = None) -> ast.StructType:
        """STRUCT … END_STRUCT, UNION … END_UNION."""
        i = self.i
        union = self.keys[i] == "UNION"
        end = "END_UNION" if union else "END_STRUCT"
        self.i += 1
        overlap = self.accept("OVERLAP")
        if self.keys[self.i] == "EXTENDS" and extends is None and self.key(1) != ":":
            self.i += 1
            extends = self.dotted_name("the extended structure")
        if extends is not None:
            self.other_dialect("EXTENDS of a structure", "codesys", at=(extends.start, extends.end))
        self.end_line()
        self.enter()
        self.open_ends.append(end)
        members = self.variables(end)
        self.open_ends.pop()
        self.depth -= 1
        self.end_of(end, i, "UNION" if union else "STRUCT")
        return ast.StructType(self.starts[i], self.ends[self.i - 1], members, union, overlap, extends)

    # ------------------------------------------------------------ TYPE … END_TYPE

    def type_declarations(self) -> list[ast.Declaration]:
        """``TYPE [access] name : … ; … END_TYPE``."""
        opened = self.i
        self.i += 1
        access = self.access_word()
        self.end_line()
        self.open_ends.append("END_TYPE")
        declarations: list[ast.Declaration] = []
        while self.keys[self.i] != "END_TYPE" and not self.at_block_end():
            start, depth = self.i, self.depth
            try:
                declarations.append(self._type_declaration(access))
            except ParseError:
                self.depth = depth
                self.skip_statement(start)
                if self.keys[self.i] in ("END_STRUCT", "END_UNION"):
                    self.i += 1
                    self.accept(";")
        self.open_ends.pop()
        self.end_of("END_TYPE", opened, "TYPE")
        self.accept(";")
        return declarations

    def _type_declaration(self, access: str) -> ast.TypeDeclaration:
        start = self.i
        attributes = self.attributes_of(start)
        name = self.expect_name("a type's name")
        extends = None
        if self.accept("EXTENDS"):
            extends = self.dotted_name("the extended structure")
        if not self.accept(":"):
            self.fail(
                "ST2001",
                f"{self.found()} does not fit here (declaration of the type {name.name[:40]})",
                expected=":",
                found=self.found(),
                remedy="write name : type ;",
            )
        if extends is not None and self.keys[self.i] in ("STRUCT", "UNION"):
            type_spec: ast.TypeSpec = self._struct_type(extends)
        else:
            type_spec = self.type_spec()
        initial = self.declared_initial(type_spec) if self.accept(":=") else None
        last = self.i
        if isinstance(type_spec, ast.StructType):
            self.accept(";")
        elif self.keys[self.i] == "END_TYPE":
            pass  # the last semicolon before END_TYPE is often left out, and nothing is unclear
        else:
            self.semicolon("the declaration of a type")
        declaration = ast.TypeDeclaration(
            self.starts[start], self.ends[self.i - 1], name, self.source, type_spec
        )
        declaration.initial, declaration.access, declaration.attributes = initial, access, attributes
        declaration.comment = self.comment_of(
            start, last if not isinstance(type_spec, ast.StructType) else None
        )
        return declaration

    # Given by the layer of variables.

    def variables(self, end: str) -> list[ast.Variable]:
        raise NotImplementedError

    def declared_initial(self, type_spec: ast.TypeSpec | None) -> ast.Expression:
        raise NotImplementedError

    def comment_of(self, first: int, last: int | None) -> str:
        raise NotImplementedError

    def attributes_of(self, first: int) -> dict[str, str]:
        raise NotImplementedError

    def access_word(self) -> str:
        raise NotImplementedError

    def at_block_end(self) -> bool:
        raise NotImplementedError
