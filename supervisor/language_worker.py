"""A process of its own that answers the editor's questions: completions and hovers, one JSON line in, one out.

``python -m supervisor.language_worker``. It stays, so that an answer costs what changed and not the start of a process;
its memory is limited, and whoever asks ends it when an answer takes too long.
"""

from __future__ import annotations

import resource
import sys

import msgspec

from programs.lsp import page

MEMORY_BYTES = 2 * 1024**3
COMPLETIONS_MAX = 200


class Question(msgspec.Struct, frozen=True):
    """``what``: "complete" or "describe"; line and column from 1."""

    what: str
    files: dict[str, str]
    file: str
    line: int
    column: int


class Choice(msgspec.Struct, frozen=True):
    label: str
    kind: str
    detail: str = ""
    comment: str = ""
    insert: str = ""


class Help(msgspec.Struct, frozen=True):
    """``text``: the hover as Markdown, "" if there is nothing to say."""

    choices: tuple[Choice, ...] = ()
    text: str = ""


def answer(question: Question) -> Help:
    arguments = question.files, question.file, question.line, question.column
    if question.what == "describe":
        hover = page.describe(*arguments)
        return Help(text=hover.text if hover else "")
    found = page.complete(*arguments)[:COMPLETIONS_MAX]
    return Help(tuple(Choice(c.label, c.kind, c.detail, c.comment, c.insert) for c in found))


def main() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    decoder = msgspec.json.Decoder(Question)
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(msgspec.json.encode(answer(decoder.decode(line))) + b"\n")
        sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
