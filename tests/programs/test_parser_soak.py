"""A million mutated and generated sources: the front end answers each, in bounded time and memory."""

from __future__ import annotations

import os
import pathlib
import random
import re
import resource
import time

import pytest

from programs.check import DIALECTS, check
from programs.format import format_source
from programs.source import Source, decode
from programs.tokens import RESERVED
from scan.problem import TickworkError
from tests.programs.verify_hir import violations

ROOT = pathlib.Path(__file__).parents[2]
INPUTS = int(os.environ.get("TICKWORK_FUZZ_INPUTS", "1000000"))
SECONDS_MAX = 5.0  # for one input of a few kilobytes, on a loaded machine
MEMORY_GROWTH_MAX_KB = 300_000
LENGTH_MAX = 1_500
SIGNS = "( ) [ ] ; : := = => .. . , ^ # { } (* *) ' \" 16# T# %I $ STEP LD AND( GET 0 1 2.5 TRUE x y INT BOOL"
WORDS = [*sorted(RESERVED), *SIGNS.split(), "\n"]
OPENINGS = (
    "PROGRAM Main VAR x, y : INT; b : BOOL; s : STRING[9]; a : ARRAY[1..3] OF INT; t : TON; END_VAR ",
    "FUNCTION F : DINT VAR_INPUT x : DINT; y : REAL; END_VAR ",
    "FUNCTION_BLOCK B VAR_INPUT x : INT; END_VAR VAR_OUTPUT y : INT; END_VAR METHOD M : INT ",
    "TYPE ",
    "CLASS C VAR x : INT; END_VAR ",
    "CONFIGURATION C RESOURCE R ON PLC ",
    "",
)


def corpus() -> list[str]:
    """Programs of this repository, and of the folder that ``TICKWORK_FUZZ_SOURCES`` may name."""
    roots = [ROOT / "examples", ROOT / "bench" / "matiec_programs"]
    paths = [path for root in roots for path in sorted(root.rglob("*.st"))]
    if given := os.environ.get("TICKWORK_FUZZ_SOURCES"):
        paths += sorted(path for path in pathlib.Path(given).rglob("*") if path.is_file())
    texts = [decode(path.read_bytes()) for path in paths]
    pages = sorted((ROOT / "docs").rglob("*.md"))
    fences = [re.findall(r"^```st[ \w]*\n(.*?)^```", page.read_text("utf-8"), re.M | re.S) for page in pages]
    return [text for text in [*texts, *(text for found in fences for text in found)] if text]


def mutated(text: str, chance: random.Random) -> str:
    if len(text) > LENGTH_MAX:
        start = chance.choice((0, chance.randrange(len(text))))
        text = text[start : start + LENGTH_MAX]
    if chance.random() < 0.3:
        data = bytearray(text.encode())
        for _ in range(chance.randrange(1, 20)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        return decode(bytes(data))
    parts = re.findall(r"\w+|\s+|.", text)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(parts))
        if chance.random() < 0.4:
            del parts[at : at + chance.randrange(1, 8)]
        else:
            parts.insert(at, f" {chance.choice(WORDS)} ")
        parts = parts or [";"]
    return "".join(parts)


def generated(chance: random.Random) -> str:
    """Words of the language in any order, or one of them very often, behind the beginning of a unit."""
    if chance.random() < 0.05:
        return chance.choice(OPENINGS) + f"{chance.choice(WORDS)} " * chance.randrange(1, 400)
    words = [chance.choice(WORDS) for _ in range(chance.randrange(1, 80))]
    return chance.choice(OPENINGS) + " ".join(words)


def answer(text: str, dialect: str) -> None:
    """Checks one input; formats it if it is clean."""
    result = check([Source("soak.st", text)], dialect=dialect)
    assert (result.program is None) == bool(result.errors), text
    assert all(problem.place.line >= 0 for problem in result.problems), text
    if result.program is None:
        return
    assert violations(result.program) == [], text
    try:
        assert format_source(format_source(text)) == format_source(text)
    except TickworkError:
        return  # clean only in the dialect that was chosen


@pytest.mark.soak
def test_front_end_when_a_million_sources_are_mutated_or_generated_then_each_is_answered() -> None:
    chance, texts, slowest = random.Random(1), corpus(), 0.0
    memory_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(INPUTS):
        text = generated(chance) if chance.random() < 0.3 else mutated(chance.choice(texts), chance)
        begun = time.perf_counter()
        answer(text, chance.choice(DIALECTS))
        slowest = max(slowest, time.perf_counter() - begun)
    assert slowest < SECONDS_MAX
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_kb < MEMORY_GROWTH_MAX_KB
