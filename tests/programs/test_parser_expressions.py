"""Expressions and literals: what is written gives which tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from programs import ast
from programs.parse_cursor import OPERATORS_MAX
from programs.parser import parse
from programs.source import Source


def statements(body: str, dialect: str = "iec") -> list[ast.Statement]:
    unit, problems = parse(Source("t.st", f"PROGRAM Main\n{body}\nEND_PROGRAM"), dialect)
    assert problems == []
    (pou,) = unit.declarations
    assert isinstance(pou, ast.Pou)
    assert isinstance(pou.body, ast.StatementBody)
    return pou.body.statements


def expression(text: str, dialect: str = "iec") -> ast.Expression:
    (statement,) = statements(f"x := {text};", dialect)
    assert isinstance(statement, ast.Assign)
    return statement.value


def shape(node: object) -> object:
    """The tree as nested tuples of what matters."""
    match node:
        case ast.Name() | ast.GlobalName():
            return node.name
        case ast.IntegerLiteral(value=value, type=prefix):
            return (prefix, value) if prefix else value
        case ast.RealLiteral() | ast.BoolLiteral() | ast.StringLiteral():
            return (node.type, node.value) if node.type else node.value
        case ast.TimeLiteral():
            return (node.type, node.value_ns)
        case ast.EnumLiteral():
            return ("#", shape(node.type), shape(node.value))
        case ast.Binary():
            return (node.op, shape(node.left), shape(node.right))
        case ast.Unary():
            return (node.op, shape(node.operand))
        case ast.Parenthesised():
            return ("()", shape(node.inner))
        case ast.Member():
            return (".", shape(node.base), node.name.name)
        case ast.Part():
            return (".%" + node.size, shape(node.base), node.index)
        case ast.Index():
            return ("[]", shape(node.base), *map(shape, node.indices))
        case ast.Dereference():
            return ("^", shape(node.base))
        case ast.Call():
            return ("call", shape(node.callee), *map(shape, node.arguments))
        case ast.Argument():
            name = node.name.name if node.name else ""
            mark = ("NOT " if node.negated else "") + name + ("=>" if node.output else ":=" if name else "")
            return (mark, shape(node.value)) if mark else shape(node.value)
        case ast.DirectVariable():
            return node.text
        case ast.ArrayInitial():
            return ["array", *map(shape, node.elements)]
        case ast.ArrayElement(count=None):
            return shape(node.values[0])
        case ast.ArrayElement():
            return (shape(node.count), *map(shape, node.values))
        case ast.StructInitial():
            return {member.name.name: shape(member.value) for member in node.members}
        case ast.AssignExpression():
            return (node.op, shape(node.target), shape(node.value))
        case None:
            return None
        case _:
            return type(node).__name__


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b * c", ("+", "a", ("*", "b", "c"))),
        ("a - b - c", ("-", ("-", "a", "b"), "c")),
        ("a ** b ** c", ("**", ("**", "a", "b"), "c")),
        ("-a ** b", ("**", ("-", "a"), "b")),
        ("NOT a AND b", ("AND", ("NOT", "a"), "b")),
        ("a OR b XOR c AND d", ("OR", "a", ("XOR", "b", ("AND", "c", "d")))),
        ("a & b", ("AND", "a", "b")),
        ("a = b < c", ("=", "a", ("<", "b", "c"))),
        ("a MOD b / c", ("/", ("MOD", "a", "b"), "c")),
        ("a AND_THEN b OR_ELSE c", ("OR_ELSE", ("AND_THEN", "a", "b"), "c")),
        ("(a + b) * c", ("*", ("()", ("+", "a", "b")), "c")),
        ("a > -5", (">", "a", -5)),
        ("a-1", ("-", "a", 1)),
        ("f(1, b := 2, NOT c => d, e =>)", ("call", "f", 1, ("b:=", 2), ("NOT c=>", "d"), ("e=>", None))),
        ("AND(a, b)", ("call", "AND", "a", "b")),
        ("a.b[1, i + 1].c^.d", (".", ("^", (".", ("[]", (".", "a", "b"), 1, ("+", "i", 1)), "c")), "d")),
        ("w.7 ", (".%", "w", 7)),
        ("w.%B1", (".%B", "w", 1)),
        ("THIS^.x", (".", ("^", "This"), "x")),
        ("SUPER^.m(1)", ("call", (".", ("^", "Super"), "m"), 1)),
        ("%IX0.3", "%IX0.3"),
        ("NULL", "NullLiteral"),
        ("[1, 2(3, 4), 5()]", ["array", 1, (2, 3, 4), (5,)]),
        ("(a := 1, b := (c := 2))", {"a": 1, "b": {"c": 2}}),
    ],
)
def test_expression_when_parsed_then_has_this_shape(text: str, expected: object) -> None:
    assert shape(expression(text)) == expected


HOUR = 3_600_000_000_000
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1_000", 1000),
        ("16#FF_FF", 65535),
        ("2#1010", 10),
        ("8#17", 15),
        ("UINT#16#FF", ("UINT", 255)),
        ("int#-5", ("INT", -5)),
        ("MyRange#5", ("MyRange", 5)),
        ("BOOL#TRUE", ("BOOL", True)),
        ("BOOL#1", ("BOOL", 1)),
        ("FALSE", False),
        ("1.5E-3", 0.0015),
        ("REAL#1.0", ("REAL", 1.0)),
        ("-2.5", -2.5),
        ("-9223372036854775808", -(2**63)),
        ("T#1d2h3m4s5ms6us7ns", ("TIME", DAY + 2 * HOUR + 184_005_006_007)),
        ("TIME#90m", ("TIME", 90 * 60 * 10**9)),
        ("t#1.5h", ("TIME", HOUR * 3 // 2)),
        ("T#-1s", ("TIME", -(10**9))),
        ("T#1h_30m", ("TIME", HOUR * 3 // 2)),
        ("LTIME#1us", ("LTIME", 1000)),
        ("D#1970-01-02", ("DATE", DAY)),
        ("LDATE#1969-12-31", ("LDATE", -DAY)),
        ("TOD#23:59:59.5", ("TOD", DAY - 500_000_000)),
        ("TIME_OF_DAY#12:30", ("TOD", 12 * HOUR + HOUR // 2)),
        ("DT#1970-01-02-01:00:00", ("DT", DAY + HOUR)),
        ("LDATE_AND_TIME#1970-01-01-00:00:00.000000001", ("LDT", 1)),
        ("'a$'b$24c$N$$'", "a'b$c\n$"),
        ('"w$00E9$""', 'wé"'),
        ("CHAR#'a'", ("CHAR", "a")),
        ('WSTRING#"ab"', ("WSTRING", "ab")),
        ("Colour#Red", ("#", "Colour", "Red")),
        ("lib.Colour#Red", ("#", (".", "lib", "Colour"), "Red")),
    ],
)
def test_literal_when_parsed_then_has_this_value(text: str, expected: object) -> None:
    assert shape(expression(text)) == expected


@pytest.mark.parametrize(
    ("text", "dialect", "expected"),
    [
        (".g", "codesys", "g"),
        ("&v", "rusty", ("call", "ADR", "v")),
        ("b := c", "codesys", (":=", "b", "c")),
        ("(b := c)", "codesys", ("()", (":=", "b", "c"))),
        ("(b := 1, c := 2)", "codesys", {"b": 1, "c": 2}),
        ("__NEW(INT, 5)", "codesys", "NewExpression"),
        ("SIZEOF(ARRAY[0..3] OF INT)", "codesys", ("call", "SIZEOF", "TypeOperand")),
        ("SIZEOF(POINTER TO INT)", "codesys", ("call", "SIZEOF", "TypeOperand")),
        ("pointer + 1", "iec", ("+", "pointer", 1)),
    ],
)
def test_dialect_form_when_read_in_its_dialect_then_has_this_shape(
    text: str, dialect: str, expected: object
) -> None:
    assert shape(expression(text, dialect)) == expected


def test_binary_when_parsed_then_spans_cover_operands_and_operator() -> None:
    text = "PROGRAM Main\nx := aa + bb;\nEND_PROGRAM"
    unit, _ = parse(Source("t.st", text))
    (pou,) = unit.declarations
    assert isinstance(pou, ast.Pou) and isinstance(pou.body, ast.StatementBody)
    (statement,) = pou.body.statements
    assert isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Binary)
    value = statement.value
    assert text[value.start : value.end] == "aa + bb"
    assert text[value.op_start] == "+"
    assert text[statement.start : statement.end] == "x := aa + bb;"


def test_expression_when_it_has_too_many_operators_then_one_problem() -> None:
    body = "+".join(["1"] * (OPERATORS_MAX + 2))
    _, problems = parse(Source("t.st", f"PROGRAM Main\nx := {body};\ny := 1;\nEND_PROGRAM"))
    assert [problem.code for problem in problems] == ["ST2010"]


OPERATORS = {"OR": 1, "XOR": 2, "AND": 3, "=": 4, "<": 5, "+": 6, "*": 7, "**": 8}


@st.composite
def trees(draw: st.DrawFn, depth: int = 4) -> tuple[str, object]:
    """An expression with as few brackets as possible, and its shape."""
    if depth == 0 or draw(st.booleans()):
        name = draw(st.sampled_from(["a", "b", "c"]))
        return name, name
    op = draw(st.sampled_from(sorted(OPERATORS)))
    parts = []
    for side in ("left", "right"):
        text, tree = draw(trees(depth=depth - 1))
        inner = OPERATORS.get(tree[0], 9) if isinstance(tree, tuple) else 9
        if inner < OPERATORS[op] or (inner == OPERATORS[op] and side == "right"):
            text, tree = f"({text})", ("()", tree)
        parts.append((text, tree))
    (left_text, left), (right_text, right) = parts
    return f"{left_text} {op} {right_text}", (op, left, right)


@given(trees())
def test_expression_when_written_with_fewest_brackets_then_same_tree_is_read(
    case: tuple[str, object],
) -> None:
    text, tree = case
    assert shape(expression(text)) == tree
