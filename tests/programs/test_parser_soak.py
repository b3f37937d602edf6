"""A million mutated sources: the front end answers each, in bounded time."""

from __future__ import annotations

import pathlib
import random
import re
import time

import pytest

from programs.format import format_source
from programs.parser import DIALECTS, parse
from programs.source import Source, decode
from programs.tokens import RESERVED
from scan.problem import TickworkError

ROOT = pathlib.Path(__file__).parents[2]
INPUTS = 1_000_000
SECONDS_MAX = 5.0  # for one input of a few kilobytes, on a loaded machine
SIGNS = "( ) [ ] ; : := = => .. . , ^ # { } (* *) ' \" 16# T# %I $ STEP LD AND( GET"
WORDS = [*sorted(RESERVED), *SIGNS.split(), "\n"]


def corpus() -> list[str]:
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").rglob("*.st"))]
    pages = sorted((ROOT / "docs").rglob("*.md"))
    fences = [re.findall(r"^```st[ \w]*\n(.*?)^```", page.read_text("utf-8"), re.M | re.S) for page in pages]
    return texts + [text for found in fences for text in found]


def mutated(text: str, chance: random.Random) -> str:
    if chance.random() < 0.3:
        data = bytearray(text.encode())
        for _ in range(chance.randrange(1, 20)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        return decode(bytes(data))
    parts = re.findall(r"\w+|\s+|.", text)
    for _ in range(chance.randrange(1, 15)):
        at = chance.randrange(len(parts))
        if chance.random() < 0.4:
            del parts[at : at + chance.randrange(1, 8)]
        else:
            parts.insert(at, f" {chance.choice(WORDS)} ")
        parts = parts or [";"]
    return "".join(parts)


@pytest.mark.soak
def test_front_end_when_a_million_mutated_sources_then_each_is_answered() -> None:
    chance, texts, slowest = random.Random(1), corpus(), 0.0
    for _ in range(INPUTS):
        text = mutated(chance.choice(texts), chance)
        begun = time.perf_counter()
        _, problems = parse(Source("soak.st", text), chance.choice(DIALECTS))
        slowest = max(slowest, time.perf_counter() - begun)
        assert all(problem.place.line > 0 for problem in problems)
        if not problems:
            try:
                assert format_source(format_source(text)) == format_source(text)
            except TickworkError:
                continue  # clean only in the dialect that was chosen
    assert slowest < SECONDS_MAX
