"""Which tags stand in which line of a source, so that their values can be shown beside it.

The lexis of Structured Text suffices for that: the compiler's tree is not needed, and a source that does not compile
can be shown as well. A name is looked up in the instance that is looked at, then among the global variables, and is
only kept when the runtime reports a tag of that path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

VALUES_PER_LINE = 4  # more do not fit beside a line
INSTANCES_MAX = 200
DEPTH_MAX = 12

_HIDDEN = re.compile(
    r"\(\*.*?\*\)|/\*.*?\*/|//[^\n]*|\{[^}\n]*\}|'(?:\$.|[^'$\n])*'|\"(?:\$.|[^\"$\n])*\"", re.S
)
_POU = re.compile(
    r"\b(PROGRAM|FUNCTION_BLOCK|FUNCTION)\s+([A-Za-z_]\w*)(?!\s+WITH\b)(.*?)\bEND_\1\b", re.S | re.I
)
_VARIABLES = re.compile(r"\bVAR(?:_\w+)?\b(.*?)\bEND_VAR\b", re.S | re.I)
_DECLARATION = re.compile(r"([A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*)\s*(?:AT\s+%\S+\s*)?:\s*([A-Za-z_]\w*)")
_PROGRAM_INSTANCE = re.compile(
    r"\bPROGRAM\s+([A-Za-z_]\w*)\s+(?:WITH\s+[A-Za-z_]\w*\s*)?:\s*([A-Za-z_]\w*)", re.I
)
_NAME = re.compile(r"(?<![\w.#%])[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")


@dataclass(frozen=True, slots=True)
class Pou:
    kind: str
    name: str
    start: int  # offset of its text
    end: int
    variables: dict[str, str] = field(default_factory=dict)  # name as declared to type in lower case


def plain(text: str) -> str:
    """The text with comments, pragmas and strings blanked out, every line and column where it was."""
    return _HIDDEN.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def pous(text: str) -> list[Pou]:
    found = []
    for match in _POU.finditer(plain(text)):
        variables: dict[str, str] = {}
        for section in _VARIABLES.finditer(match.group(3)):
            for names, kind in _DECLARATION.findall(section.group(1)):
                variables |= {name.strip(): kind.lower() for name in names.split(",")}
        found.append(Pou(match.group(1).upper(), match.group(2), match.start(), match.end(), variables))
    return found


def instances(sources: Iterable[str]) -> dict[str, list[str]]:
    """POU name in lower case to the paths of its instances, as tags are called."""
    texts = list(sources)
    known = {pou.name.lower(): pou for text in texts for pou in pous(text)}
    waiting = [
        (name, kind.lower(), 0) for text in texts for name, kind in _PROGRAM_INSTANCE.findall(plain(text))
    ]
    found: dict[str, list[str]] = {}
    while waiting and sum(map(len, found.values())) < INSTANCES_MAX:
        path, kind, depth = waiting.pop(0)
        if kind not in known or depth > DEPTH_MAX:
            continue
        found.setdefault(kind, []).append(path)
        waiting += [(f"{path}.{name}", of, depth + 1) for name, of in known[kind].variables.items()]
    return found


def values_by_line(
    text: str, chosen: dict[str, str], tags: Iterable[str]
) -> list[tuple[int, list[tuple[str, str]]]]:
    """(line, [(name as written, tag path)]) for the lines that name tags.

    ``chosen``: POU name in lower case to the path of the instance that is looked at.
    """
    exact = {path.lower(): path for path in tags}
    blank = plain(text)
    lines: dict[int, dict[str, str]] = {}
    for pou in pous(text):
        prefix = chosen.get(pou.name.lower(), "").lower()
        if not prefix:
            continue
        first = text.count("\n", 0, pou.start) + 1
        for offset, line in enumerate(blank[pou.start : pou.end].split("\n")):
            for name in _NAME.findall(line):
                path = exact.get(f"{prefix}.{name.lower()}") or exact.get(name.lower())
                if path and name not in lines.setdefault(first + offset, {}):
                    lines[first + offset][name] = path
    return [(line, list(names.items())[:VALUES_PER_LINE]) for line, names in sorted(lines.items()) if names]
