"""Sources to tree: ``./dev bench front_end``.

Reads every .st, .EXP and .iec file of the folder in ``TICKWORK_BENCH_SOURCES`` (a library such as OSCAT Basic; without
it, the project's examples repeated to 30,000 lines) in the dialect that their forms need. The reference, in the same
rounds, is Python's own ``tokenize`` in splitting the same number of characters of Python source into tokens, without
making a tree.
"""

from __future__ import annotations

import io
import os
import pathlib
import statistics
import time
import tokenize

from programs.format import format_source
from programs.parser import parse
from programs.source import Source, read_source
from scan.problem import TickworkError

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROUNDS = 5
LINES = 30_000


def sources(folder: str) -> list[Source]:
    if folder:
        kinds = {".st", ".exp", ".iec"}
        found = sorted(path for path in pathlib.Path(folder).rglob("*") if path.suffix.lower() in kinds)
        return [read_source(path) for path in found if path.is_file()]
    examples = [read_source(path) for path in sorted((ROOT / "examples").rglob("*.st"))]
    lines = sum(source.text.count("\n") for source in examples)
    return examples * (LINES // lines + 1)


def python_text(characters: int) -> str:
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "programs").glob("parse*.py")))
    return text * (characters // len(text) + 1)


def seconds_of_reference(text: str) -> float:
    begun = time.perf_counter()
    for _ in tokenize.generate_tokens(io.StringIO(text).readline):
        pass
    return time.perf_counter() - begun


def seconds_of_parser(files: list[Source]) -> float:
    begun = time.perf_counter()
    for source in files:
        parse(source, "auto")
    return time.perf_counter() - begun


def formatted_share(files: list[Source]) -> tuple[float, int]:
    """Seconds to lay all files out, and how many have errors of syntax."""
    begun, wrong = time.perf_counter(), 0
    for source in files:
        try:
            format_source(source.text)
        except TickworkError:
            wrong += 1
    return time.perf_counter() - begun, wrong


def main() -> None:
    files = sources(os.environ.get("TICKWORK_BENCH_SOURCES", ""))
    lines = sum(source.text.count("\n") for source in files)
    characters = sum(len(source.text) for source in files)
    reference_text = python_text(characters)
    rounds = [(seconds_of_parser(files), seconds_of_reference(reference_text)) for _ in range(ROUNDS)]
    ours, theirs = (statistics.median(column) for column in zip(*rounds, strict=True))
    per_character = theirs * characters / len(reference_text)
    format_s, wrong = formatted_share(files)
    print(f"{len(files)} files, {lines} lines, {characters} characters, {wrong} with errors of syntax")
    print(f"parse     {ours:7.3f} s  {lines / ours:10,.0f} lines/s")
    print(f"format    {format_s:7.3f} s  {lines / format_s:10,.0f} lines/s")
    print(f"reference {per_character:7.3f} s  Python's tokenize, the same number of characters")
    print(f"ratio parse / reference: {ours / per_character:.2f}")


if __name__ == "__main__":
    main()
