"""Expressions by operator precedence (IEC 61131-3, 7.3.2, table 71), literals, arguments and initial values."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from programs import ast
from programs.parse_atoms import DIRECT_SIZES, Atoms
from programs.parse_cursor import LOOK_AHEAD_MAX, ParseError
from programs.tokens import (
    DIRECT,
    NAME,
    NUMBER,
    OPERATOR_WORDS,
    RESERVED,
    STRING,
    TIME,
    WSTRING,
)

# Higher binds tighter. All are left-associative, ** too (table 71, note).
PRECEDENCE = {
    "OR": 1, "OR_ELSE": 1, "XOR": 2, "AND": 3, "&": 3, "AND_THEN": 3,
    "=": 4, "<>": 4, "<": 5, ">": 5, "<=": 5, ">=": 5,
    "+": 6, "-": 6, "*": 7, "/": 7, "MOD": 7, "**": 8,
}  # fmt: skip
_POSTFIX = frozenset(("(", ".", "[", "^", "#"))
_NO_OPERAND = RESERVED - OPERATOR_WORDS - {"TRUE", "FALSE", "ARRAY"}


class Expressions(Atoms):
    """Everything that has a value."""

    in_initial = False  # inside a declaration's initial value, where (a := 1) is a structure

    def expression(self) -> ast.Expression:
        """A value."""
        left = self.binary(0)
        return left if self.keys[self.i] != ":=" else self._assignment_inside(left)

    def binary(self, above: int) -> ast.Expression:
        """Operands joined by operators that bind tighter than ``above``."""
        left = self.operand()
        keys = self.keys
        while True:
            key = keys[self.i]
            binding = PRECEDENCE.get(key)
            if binding is None or binding <= above:
                return left
            at = self.starts[self.i]
            self.i += 1
            if key == "=" and keys[self.i] == "=" and self.starts[self.i] == at + 1:
                self.report("ST1011", "== is no operator: = compares", at=(at, at + 2), remedy="write =")
                self.i += 1
            self.count_operator()
            right = self.binary(binding)
            left = ast.Binary(left.start, right.end, "AND" if key == "&" else key, left, right, at)

    def _assignment_inside(self, left: ast.Expression) -> ast.Expression:
        """``:=`` where only a value can stand: CODESYS has it, elsewhere ``=`` was meant."""
        if self.dialect not in ("codesys", "auto"):
            self.report(
                "ST2006",
                "':=' assigns, and this place needs a value",
                expected="=",
                found=":=",
                remedy="compare with =; only the dialect codesys has assignments inside expressions",
            )
            at = self.starts[self.i]
            self.i += 1
            right = self.expression()
            return ast.Binary(left.start, right.end, "=", left, right, at)
        self.other_dialect("an assignment inside an expression", "codesys")
        self.i += 1
        self.count_operator()
        self.enter()
        value = self.expression()
        self.depth -= 1
        return ast.AssignExpression(left.start, value.end, left, ":=", value)

    def operand(self) -> ast.Expression:
        """An operand with unary operators before and accesses behind it."""
        i = self.i
        kind = self.kinds[i]
        node: ast.Expression
        if kind == NAME:
            key = self.keys[i]
            special = _SPECIAL.get(key)
            if special is not None:
                node = special(self)
            elif key in _NO_OPERAND:
                self._no_operand()
            else:
                self.i = i + 1
                node = ast.Name(self.starts[i], self.ends[i], self.texts[i])
        elif kind == NUMBER:
            node = self._number("", self.starts[i])
        else:
            read = _BY_KIND.get(kind) or _BY_KEY.get(self.keys[i])
            if read is None:
                self._no_operand()
            node = read(self)
        if self.keys[self.i] in _POSTFIX:
            return self._postfix(node)
        return node

    def _no_operand(self) -> NoReturn:
        self.fail(
            "ST2011",
            f"an expression is expected, and {self.found()} is none",
            expected="a variable, a literal or (",
            found=self.found(),
        )

    # ------------------------------------------------------------ prefixes

    def _unary(self) -> ast.Expression:
        i = self.i
        self.i += 1
        key = self.keys[i]
        self.count_operator()
        if key != "NOT" and self.kinds[self.i] == NUMBER and self.keys[self.i + 1] != "**":
            return self._signed_number(i, key)
        self.enter()
        operand = self.operand()
        self.depth -= 1
        return ast.Unary(self.starts[i], operand.end, key, operand)

    def _signed_number(self, i: int, sign: str) -> ast.Expression:
        """``-5`` as one literal, so that the lowest LINT can be written."""
        number = self._number("", self.starts[i])
        if sign == "-":
            number.value = -number.value
            if isinstance(number, ast.RealLiteral):
                number.text = f"-{number.text}"
        return number

    def _function_like(self) -> ast.Expression:
        """``AND(a, b)``: an operator's word as a function."""
        if self.key(1) != "(":
            self._no_operand()
        i = self.i
        self.i += 1
        return ast.Name(self.starts[i], self.ends[i], self.texts[i])

    def _this(self) -> ast.Expression:
        i = self.i
        self.i += 1
        node = ast.This if self.keys[i] == "THIS" else ast.Super
        return node(self.starts[i], self.ends[i])

    def _reference_operand(self) -> ast.Expression:
        """``SIZEOF(POINTER TO INT)``, or a variable named POINTER."""
        i = self.i
        if self.keys[i] == "REF_TO" or self.key(1) == "TO":
            return self._type_operand()
        self.i += 1
        return ast.Name(self.starts[i], self.ends[i], self.texts[i])

    def _type_operand(self) -> ast.Expression:
        type_spec = self.type_spec()
        return ast.TypeOperand(type_spec.start, type_spec.end, type_spec)

    def _new(self) -> ast.Expression:
        """``__NEW(T)``, ``__NEW(T, count)``."""
        i = self.i
        self.other_dialect("__NEW", "codesys")
        self.i += 1
        opened = self.expect("(")
        type_spec = self.type_spec()
        count = self.expression() if self.accept(",") else None
        self.close(")", opened)
        return ast.NewExpression(self.starts[i], self.ends[self.i - 1], type_spec, count)

    def type_spec(self) -> ast.TypeSpec:
        """Given by the layer of types."""
        raise NotImplementedError

    # ------------------------------------------------------------ brackets

    def _parenthesis(self) -> ast.Expression:
        i = self.i
        if self.kind(1) == NAME and self.key(2) == ":=" and self._is_structure():
            return self.structure_initial()
        self.i += 1
        if self.in_initial and self.keys[self.i] == ")":
            self.other_dialect(
                "an empty list of initial values", "codesys", at=(self.starts[i], self.ends[i])
            )
            self.i += 1
            return ast.StructInitial(self.starts[i], self.ends[self.i - 1], [])
        self.count_operator()
        self.enter()
        inner = self.expression()
        self.depth -= 1
        if self.in_initial and self.keys[self.i] == ",":
            self.fail(
                "ST2001",
                "initial values of an array stand in square brackets",
                expected="[",
                found="(",
                at=(self.starts[i], self.ends[i]),
                remedy="write [1, 2, 3]",
            )
        self.close(")", i)
        return ast.Parenthesised(self.starts[i], self.ends[self.i - 1], inner)

    def _is_structure(self) -> bool:
        """``(a := 1 …`` is a structure; in a statement of CODESYS only if it lists several members."""
        if self.in_initial or self.dialect not in ("codesys", "auto"):
            return True
        depth = 0
        for ahead in range(LOOK_AHEAD_MAX):
            key = self.key(ahead)
            if key in ("(", "["):
                depth += 1
            elif key in (")", "]"):
                depth -= 1
            if key == "," and depth == 1:
                return True
            if depth == 0 or key in (";", "<end>"):
                return False
        return True

    def structure_initial(self) -> ast.Expression:
        """``(a := 1, b := (c := 2))``."""
        i = self.expect("(")
        self.enter()
        members: list[ast.MemberInitial] = []
        while self.keys[self.i] != ")":
            name = self.any_word("a member of the structure")
            self.expect(":=", "in the initial value of a structure")
            value = self.initial_value()
            members.append(ast.MemberInitial(name.start, value.end, name, value))
            if not self.accept(","):
                break
        self.depth -= 1
        self.close(")", i)
        return ast.StructInitial(self.starts[i], self.ends[self.i - 1], members)

    def _array_initial(self) -> ast.Expression:
        i = self.i
        self.i += 1
        self.enter()
        elements: list[ast.ArrayElement] = []
        while self.keys[self.i] != "]":
            elements.append(self.array_element())
            if not self.accept(","):
                break
        self.depth -= 1
        self.close("]", i)
        return ast.ArrayInitial(self.starts[i], self.ends[self.i - 1], elements)

    def array_element(self) -> ast.ArrayElement:
        """``value``, ``3(value, …)`` or ``3()``."""
        value = self.initial_value()
        if self.keys[self.i] != "(" or not isinstance(value, ast.IntegerLiteral):
            return ast.ArrayElement(value.start, value.end, None, [value])
        opened = self.i
        self.i += 1
        self.enter()
        values: list[ast.Expression] = []
        while self.keys[self.i] != ")":
            values.append(self.initial_value())
            if not self.accept(","):
                break
        self.depth -= 1
        self.close(")", opened)
        return ast.ArrayElement(value.start, self.ends[self.i - 1], value, values)

    def initial_value(self) -> ast.Expression:
        """The value behind ``:=`` of a declaration, or a part of it."""
        before, self.in_initial = self.in_initial, True
        operator_count, self.operator_count = self.operator_count, 0
        try:
            return self.expression()
        finally:
            self.in_initial, self.operator_count = before, operator_count

    # ------------------------------------------------------------ accesses

    def _postfix(self, node: ast.Expression) -> ast.Expression:
        keys = self.keys
        while True:
            key = keys[self.i]
            if key == ".":
                node = self._member(node)
            elif key == "(":
                if isinstance(node, _NOT_CALLABLE):
                    return node
                node = self.call(node)
            elif key == "[":
                node = self._index(node)
            elif key == "^":
                self.i += 1
                node = ast.Dereference(node.start, self.ends[self.i - 1], node)
            elif key == "#" and isinstance(node, ast.Name | ast.Member):
                node = self._typed_literal(node)
            else:
                return node
            self.count_operator()

    def _member(self, node: ast.Expression) -> ast.Expression:
        self.i += 1
        i = self.i
        kind = self.kinds[i]
        if kind == NAME:
            self.i = i + 1
            return ast.Member(
                node.start, self.ends[i], node, ast.Name(self.starts[i], self.ends[i], self.texts[i])
            )
        if kind == NUMBER and self.texts[i].isdigit():
            self.i = i + 1
            return ast.Part(node.start, self.ends[i], node, "", int(self.texts[i][:9]))
        if kind == DIRECT:
            size, number = self.texts[i][1:2].upper(), self.texts[i][2:]
            if size in DIRECT_SIZES and number.isdigit():
                self.i = i + 1
                return ast.Part(node.start, self.ends[i], node, size, int(number[:9]))
        return self.fail_expected(
            "a member's name, a bit number or %X, %B, %W, %D with a number", "after the point"
        )

    def _index(self, node: ast.Expression) -> ast.Expression:
        opened = self.i
        self.i += 1
        self.enter()
        indices = [self.expression()]
        while self.accept(","):
            indices.append(self.expression())
        self.depth -= 1
        self.close("]", opened)
        return ast.Index(node.start, self.ends[self.i - 1], node, indices)

    def _typed_literal(self, node: ast.Name | ast.Member) -> ast.Expression:
        """``INT#5``, ``STRING#'a'``, ``Colour#Red`` (6.3.1)."""
        self.i += 1
        prefix = dotted(node)
        if prefix.upper() in _ELEMENTARY:
            prefix = prefix.upper()
        i = self.i
        kind, key = self.kinds[i], self.keys[i]
        if kind == NUMBER:
            return self._number(prefix, node.start)
        if key in ("-", "+") and self.kind(1) == NUMBER:
            self.i += 1
            number = self._number(prefix, node.start)
            number.value = -number.value if key == "-" else number.value
            return number
        if kind in (STRING, WSTRING):
            return self._string(prefix, node.start)
        if key in ("TRUE", "FALSE"):
            self.i += 1
            return ast.BoolLiteral(node.start, self.ends[i], key == "TRUE", prefix)
        if kind == NAME:
            self.i += 1
            name = ast.Name(self.starts[i], self.ends[i], self.texts[i])
            return ast.EnumLiteral(node.start, name.end, node, name)
        return self.fail_expected("a literal or the name of a value", f"after {prefix[:40]}#")

    # ------------------------------------------------------------ calls

    def call(self, callee: ast.Expression) -> ast.Call:
        opened = self.i
        self.i += 1
        self.enter()
        arguments: list[ast.Argument] = []
        keys = self.keys
        if keys[self.i] != ")":
            arguments.append(self.argument())
            while keys[self.i] == ",":
                self.i += 1
                if keys[self.i] == ")":
                    break
                arguments.append(self.argument())
        self.depth -= 1
        self.close(")", opened)
        return ast.Call(callee.start, self.ends[self.i - 1], callee, arguments)

    def argument(self) -> ast.Argument:
        """``x``, ``in := x``, ``out => x``, ``NOT out => x``."""
        i = self.i
        negated = self.keys[i] == "NOT" and self.kind(1) == NAME and self.key(2) == "=>"
        if negated:
            self.i += 1
        operator = self.key(1)
        if self.kinds[self.i] == NAME and operator in (":=", "=>"):
            name = self.any_word("an argument")
            self.i += 1
            if self.keys[self.i] in (",", ")"):
                return ast.Argument(
                    self.starts[i], self.ends[self.i - 1], name, None, operator == "=>", negated
                )
            value = self.initial_value() if self.keys[self.i] == "(" else self.expression()
            return ast.Argument(self.starts[i], value.end, name, value, operator == "=>", negated)
        value = self.expression()
        return ast.Argument(self.starts[i], value.end, None, value)

    # ------------------------------------------------------------ with recovery

    def condition(self, end: str) -> ast.Expression:
        """An expression up to a keyword; after a failure the rest up to it is skipped."""
        depth, self.operator_count = self.depth, 0
        try:
            return self.expression()
        except ParseError:
            self.depth = depth
            start = self.span()
            self.skip_to(frozenset((end,)))
            return ast.Missing(*start)

    def _address(self) -> ast.Expression:
        """``&x``, RuSTy's short form of ADR(x)."""
        i = self.i
        self.other_dialect("& before a variable", "rusty")
        self.i += 1
        self.enter()
        operand = self.operand()
        self.depth -= 1
        name = ast.Name(self.starts[i], self.ends[i], "ADR")
        return ast.Call(
            name.start, operand.end, name, [ast.Argument(operand.start, operand.end, None, operand)]
        )

    def _global_name(self) -> ast.Expression:
        """``.x`` (CODESYS, RuSTy)."""
        i = self.i
        self.other_dialect("a name with a leading point", "codesys", "rusty")
        self.i += 1
        name = self.any_word("a global variable")
        return ast.GlobalName(self.starts[i], name.end, name.name)


def dotted(node: ast.Name | ast.Member) -> str:
    """``a.b`` of names."""
    parts: list[str] = []
    current: ast.Expression = node
    while isinstance(current, ast.Member):
        parts.append(current.name.name)
        current = current.base
    if isinstance(current, ast.Name):
        parts.append(current.name)
    return ".".join(reversed(parts))


_NOT_CALLABLE = (
    ast.IntegerLiteral, ast.RealLiteral, ast.BoolLiteral, ast.TimeLiteral, ast.StringLiteral, ast.NullLiteral,
    ast.Parenthesised, ast.ArrayInitial, ast.StructInitial, ast.DirectVariable, ast.Unary,
)  # fmt: skip
_ELEMENTARY = frozenset((
    "BOOL", "SINT", "INT", "DINT", "LINT", "USINT", "UINT", "UDINT", "ULINT", "BYTE", "WORD", "DWORD",
    "LWORD", "REAL", "LREAL", "STRING", "WSTRING", "CHAR", "WCHAR",
))  # fmt: skip
_SPECIAL: dict[str, Callable[[Expressions], ast.Expression]] = {
    "NOT": Expressions._unary,
    "TRUE": Expressions._boolean,
    "FALSE": Expressions._boolean,
    "NULL": Expressions._null,
    "THIS": Expressions._this,
    "SUPER": Expressions._this,
    "AND": Expressions._function_like,
    "OR": Expressions._function_like,
    "XOR": Expressions._function_like,
    "MOD": Expressions._function_like,
    "ARRAY": Expressions._type_operand,
    "POINTER": Expressions._reference_operand,
    "REFERENCE": Expressions._reference_operand,
    "REF_TO": Expressions._reference_operand,
    "__NEW": Expressions._new,
}
_BY_KIND: dict[int, Callable[[Expressions], ast.Expression]] = {
    TIME: Expressions._time,
    STRING: Expressions._string,
    WSTRING: Expressions._string,
    DIRECT: Expressions._direct,
}
_BY_KEY: dict[str, Callable[[Expressions], ast.Expression]] = {
    "(": Expressions._parenthesis,
    "[": Expressions._array_initial,
    "-": Expressions._unary,
    "+": Expressions._unary,
    ".": Expressions._global_name,
    "&": Expressions._address,
}
