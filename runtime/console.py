"""How the command line speaks: problems for people or machines, progress, exit codes.

Exit codes: 0 done · 1 problems found · 2 wrong usage · 3 node or supervisor not reachable · 4 refused (a command or
deployment was understood and not carried out) · 70 a fault in tickwork itself.
"""

from __future__ import annotations

import contextlib
import pathlib
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from scan.problem import Place, Problem, TickworkError, fail

OK, PROBLEMS, USAGE, UNREACHABLE, REFUSED, INTERNAL = 0, 1, 2, 3, 4, 70
_UNREACHABLE_CODES = {"CL3001", "CL3002", "CL3007", "CL1003", "LK3003"}

_WIDTH_PIPED = 200  # tables that go into a file or a pipe are not cut to a terminal's width


def _console(*, stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH_PIPED
    return Console(stderr=stderr, highlight=False, soft_wrap=True, width=width)


out = _console()
err = _console(stderr=True)


class _Form:
    json = False


def use_json(wanted: bool) -> None:
    """From now on results and problems are written as JSON on standard output."""
    _Form.json = wanted


def is_json() -> bool:
    return _Form.json


def say(text: str) -> None:
    """A line for people; nothing in JSON form."""
    if not _Form.json:
        out.print(text, markup=False)


def give(value: object) -> None:
    """A result for machines: one JSON document on standard output."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode() + "\n")
    sys.stdout.flush()


def give_line(value: object) -> None:
    """A result that another program waits for: one JSON line."""
    sys.stdout.write(msgspec.json.encode(value, enc_hook=str).decode() + "\n")
    sys.stdout.flush()


def show_problems(problems: Sequence[Problem]) -> None:
    """All problems, errors last so that they stand nearest to the prompt."""
    if _Form.json:
        give({"ok": not any(one.severity == "error" for one in problems), "problems": list(problems)})
        return
    for problem in sorted(problems, key=lambda one: one.severity == "error"):
        err.print(styled(problem))
        err.print()


def styled(problem: Problem) -> Text:
    """A problem with its mark in colour; files below the working directory are shown from there."""
    text = Text(problem.render().replace(f"{pathlib.Path.cwd()}/", ""))
    colour = "bold red" if problem.severity == "error" else "bold yellow"
    text.highlight_words([f"{problem.severity}[{problem.code}]"], colour)
    text.highlight_regex(r"(?m)^\s*\^+\s*$", colour)
    text.highlight_regex(r"(?m)^  remedy:", "bold")
    return text


def write_report(path: pathlib.Path, data: bytes) -> None:
    """A result in a file for another program. Raises CL5007."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise fail(
            "CL5007", "the report cannot be written", place=Place(str(path)), found=error.strerror or str(error),
            remedy="name a file in a folder that exists and may be written",
        ) from error  # fmt: skip


def leave(code: int) -> NoReturn:
    raise typer.Exit(code)


def exit_code(error: TickworkError) -> int:
    return UNREACHABLE if error.code in _UNREACHABLE_CODES else PROBLEMS


@contextlib.contextmanager
def progress(first: str) -> Iterator[Callable[[str], None]]:
    """A spinner with what is being done; plain lines where nobody watches, nothing in JSON form."""
    if _Form.json or not err.is_terminal:
        yield lambda _text: None
        return
    with err.status(first) as status:
        yield lambda text: status.update(text)


def guarded(command: Callable[[], Any]) -> int:
    """Runs the command line; never shows a traceback to somebody who made a mistake."""
    try:
        command()
    except TickworkError as error:
        show_problems(error.problems)
        return exit_code(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `tickwork … | head`
        return OK
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else OK if stop.code is None else PROBLEMS
    except Exception:
        show_problems([_internal()])
        return INTERNAL
    return OK


def _internal() -> Problem:
    lines = traceback.format_exc().strip().splitlines()
    return Problem(
        "CL9001",
        "this is a fault in tickwork, not in your plant",
        found=lines[-1],
        remedy="please report it with the lines above",
        notes=tuple(lines[-12:-1]),
    )
