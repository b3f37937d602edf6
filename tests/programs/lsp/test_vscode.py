"""The VS Code extension knows the words and dialects that the language has."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

from programs.parser import DIALECTS
from programs.tokens import MODIFIER_WORDS, RESERVED

FOLDER = pathlib.Path(__file__).parents[3] / "programs" / "lsp" / "vscode"


def read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def test_extension_when_it_offers_dialects_then_those_of_the_parser() -> None:
    properties = read("package.json")["contributes"]["configuration"]["properties"]
    assert set(properties["tickwork.dialect"]["enum"]) == set(DIALECTS)


def test_grammar_when_a_word_is_reserved_then_it_is_highlighted() -> None:
    patterns = [
        re.compile(entry["match"]) for entry in read("iecst.tmLanguage.json")["patterns"] if "match" in entry
    ]
    words = RESERVED | MODIFIER_WORDS
    assert {word for word in words if not any(pattern.fullmatch(word) for pattern in patterns)} == set()


def test_grammar_when_literals_and_addresses_then_each_is_one_token() -> None:
    patterns = [
        re.compile(entry["match"]) for entry in read("iecst.tmLanguage.json")["patterns"] if "match" in entry
    ]
    texts = ["16#FF", "1.5E-3", "T#1d2h3m4.5s", "DT#2024-02-29-12:00:00", "%IX0.3", "%Q*", "// note"]
    assert [text for text in texts if not any(pattern.fullmatch(text) for pattern in patterns)] == []


def test_indentation_when_a_line_opens_a_block_then_the_next_is_indented() -> None:
    rules = read("language-configuration.json")["indentationRules"]
    increase, decrease = (
        re.compile(rules["increaseIndentPattern"]),
        re.compile(rules["decreaseIndentPattern"]),
    )
    opening = [
        "IF a THEN",
        "  elsif b then",
        "ELSE",
        "FOR i := 1 TO 3 DO",
        "CASE x OF",
        "VAR_INPUT",
        "Tank : STRUCT",
    ]
    assert [line for line in opening if not increase.match(line)] == []
    assert [
        line for line in ["END_IF;", "ELSE", "  ELSIF b THEN", "UNTIL x"] if not decrease.match(line)
    ] == []
