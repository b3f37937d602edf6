"""Characters to tokens: trivia, literals, and what cannot be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from programs.diagnostics import Diagnostics
from programs.lexer import tokenize
from programs.source import SOURCE_CHARACTERS_MAX, Source, decode
from programs.tokens import DIRECT_KEY, END_KEY, NUMBER_KEY, STRING_KEY, TIME_KEY, Tokens


def lex(text: str) -> tuple[Tokens, list[str]]:
    source = Source("test.st", text)
    diagnostics = Diagnostics(source)
    return tokenize(source, diagnostics), [problem.code for problem in diagnostics.problems()]


def keys(text: str) -> list[str]:
    return lex(text)[0].keys[:-1]


def test_words_when_in_any_case_then_keys_are_upper_case_and_texts_as_written() -> None:
    tokens, codes = lex("If Pump_1 tHen")
    assert tokens.keys == ["IF", "PUMP_1", "THEN", END_KEY]
    assert tokens.texts[:3] == ["If", "Pump_1", "tHen"]
    assert codes == []


def test_positions_when_source_has_a_base_then_they_count_from_it() -> None:
    source = Source("b.st", "ab cd", base=1000)
    tokens = tokenize(source, Diagnostics(source))
    assert list(zip(tokens.starts, tokens.ends, strict=True)) == [(1000, 1002), (1003, 1005), (1005, 1005)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:=b", ["A", ":=", "B"]),
        ("a..b", ["A", "..", "B"]),
        ("1..2", [NUMBER_KEY, "..", NUMBER_KEY]),
        ("a**b*c", ["A", "**", "B", "*", "C"]),
        ("a<=b<>c>=d", ["A", "<=", "B", "<>", "C", ">=", "D"]),
        ("q=>x", ["Q", "=>", "X"]),
        ("r?=x", ["R", "?=", "X"]),
        ("16#FF", [NUMBER_KEY]),
        ("1.5E-3", [NUMBER_KEY]),
        ("x.3", ["X", ".", NUMBER_KEY]),
        ("x.%X3", ["X", ".", DIRECT_KEY]),
        ("%IX0.3 %Q* %MW10", [DIRECT_KEY] * 3),
        ("T#1h30m", [TIME_KEY]),
        ("DT#2024-02-29-12:30:00.5", [TIME_KEY]),
        ("STATE#RUN:", ["STATE", "#", "RUN", ":"]),
        ("T#5s-T#1s", [TIME_KEY, "-", TIME_KEY]),
        ("T#1s..T#2s", [TIME_KEY, "..", TIME_KEY]),
        ("INT#16#7F", ["INT", "#", NUMBER_KEY]),
        ("'it$'s'", [STRING_KEY]),
        ("a(*)b*)c", ["A", "C"]),
        ("a//b\nc", ["A", "C"]),
        ("a/*b*/c", ["A", "C"]),
        ("a/b", ["A", "/", "B"]),
        ("\ufeffa\xa0b", ["A", "B"]),
    ],
)
def test_text_when_read_then_gives_these_tokens(text: str, expected: list[str]) -> None:
    assert keys(text) == expected
    assert lex(text)[1] == []


def test_comment_when_nested_then_inner_end_does_not_close_it() -> None:
    assert keys("a (* b (* c *) d *) e") == ["A", "E"]


def test_comment_when_nesting_would_never_end_then_first_mark_closes_it() -> None:
    assert lex("a (* b (* c *) d") == (lex("a (* b (* c *) d")[0], [])
    assert keys("a (* b (* c *) d (* e *) f") == ["A", "D", "F"]


def test_trivia_when_before_a_token_then_kept_under_its_index() -> None:
    text = "a (* one *) {two} b"
    tokens, _ = lex(text)
    assert [text[slice(*span)] for span in tokens.comments[1]] == ["(* one *)"]
    assert [text[slice(*span)] for span in tokens.pragmas[1]] == ["{two}"]


def test_pragma_when_it_holds_c_code_then_ends_at_its_own_brace() -> None:
    assert keys("{external if (x) { y = 1; } } a") == ["A"]
    assert keys("{{ if (x) { y = 1; } }} a") == ["A"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a § b", "ST1001"),
        ("'open", "ST1002"),
        ("(* open", "ST1003"),
        ("{ open\n", "ST1004"),
        ("a != b", "ST1011"),
        ("a || b", "ST1011"),
    ],
)
def test_text_when_unreadable_then_one_problem(text: str, code: str) -> None:
    assert lex(text)[1] == [code]


def test_string_when_left_open_then_rest_of_the_line_still_ends_the_statement() -> None:
    assert keys("s := 'open;\nx := 1;") == ["S", ":=", STRING_KEY, ";", "X", ":=", NUMBER_KEY, ";"]


def test_source_when_too_large_then_cut_and_reported() -> None:
    source = Source("big.st", " " * (SOURCE_CHARACTERS_MAX + 1))
    diagnostics = Diagnostics(source)
    tokenize(source, diagnostics)
    assert [problem.code for problem in diagnostics.problems()] == ["ST1012"]


@pytest.mark.parametrize(
    "data",
    [
        "größe".encode(),
        "größe".encode("latin-1"),
        b"\xef\xbb\xbf" + "größe".encode(),
        "größe".encode("utf-16"),
    ],
)
def test_decode_when_utf8_latin1_or_utf16_then_same_text(data: bytes) -> None:
    assert decode(data) == "größe"


@given(st.text())
def test_tokens_when_any_text_then_in_order_and_inside_of_it(text: str) -> None:
    tokens, _ = lex(text)
    assert tokens.keys[-1] == END_KEY
    assert tokens.starts == sorted(tokens.starts)
    assert all(start <= end <= len(text) for start, end in zip(tokens.starts, tokens.ends, strict=True))


@given(st.text(alphabet=st.characters(codec="latin-1")))
def test_tokens_when_any_text_then_every_character_is_token_trivia_or_reported(text: str) -> None:
    source = Source("t.st", text)
    diagnostics = Diagnostics(source, problems_max=10_000)
    tokens = tokenize(source, diagnostics)
    spans = list(zip(tokens.starts, tokens.ends, strict=True))
    spans += [span for kept in (tokens.comments, tokens.pragmas) for group in kept.values() for span in group]
    covered = {offset for span in spans for offset in range(*span)}
    left = {offset for offset, character in enumerate(text) if not character.isspace()} - covered
    assert not left or diagnostics.error_count > 0
