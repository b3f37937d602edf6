"""Problems as SARIF 2.1.0, the form in which code hosts and editors read the findings of a check."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from runtime import errors_pages
from runtime.facts import version
from scan.problem import Place, Problem

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_ROOT = "PLANT"  # the base of relative addresses (SARIF 2.1.0, 3.14.14)


def as_sarif(problems: Sequence[Problem], folder: pathlib.Path) -> bytes:
    """One run with its rules and results; files below ``folder`` are named relative to it."""
    folder = folder.absolute()
    codes = sorted({problem.code for problem in problems})
    run = {
        "tool": {
            "driver": {"name": "tickwork", "version": version(), "rules": [_rule(code) for code in codes]}
        },
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {_ROOT: {"uri": f"{folder.as_uri()}/"}},
        "results": [_result(problem, codes.index(problem.code), folder) for problem in problems],
    }
    document = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _rule(code: str) -> dict[str, object]:
    page = errors_pages.known().get(code)
    if page is None:
        return {"id": code}
    return {
        "id": code,
        "shortDescription": {"text": errors_pages.title(page)},
        "help": {"text": errors_pages.page(code), "markdown": errors_pages.page(code)},
    }


def _result(problem: Problem, rule: int, folder: pathlib.Path) -> dict[str, object]:
    result: dict[str, object] = {
        "ruleId": problem.code,
        "ruleIndex": rule,
        "level": "warning" if problem.severity == "warning" else "error",
        "message": {"text": _text(problem)},
    }
    if problem.place.file:
        location = {"artifactLocation": _file(problem.place.file, folder)} | _region(problem.place)
        result["locations"] = [{"physicalLocation": location}]
    return result


def _text(problem: Problem) -> str:
    parts = [problem.message]
    if problem.expected or problem.found:
        parts.append(f"expected: {problem.expected or '-'}; found: {problem.found or '-'}")
    parts += [f"note: {note}" for note in problem.notes]
    if problem.remedy:
        parts.append(f"remedy: {problem.remedy}")
    return "\n".join(parts)


def _file(name: str, folder: pathlib.Path) -> dict[str, str]:
    path = folder / name
    try:
        return {"uri": quote(path.relative_to(folder).as_posix()), "uriBaseId": _ROOT}
    except ValueError:
        return {"uri": path.as_uri()}


def _region(place: Place) -> dict[str, object]:
    """Lines and columns count from 1; ``endColumn`` is the first character behind (SARIF 2.1.0, 3.30)."""
    if not place.line:
        return {}
    region = {"startLine": place.line}
    if place.column:
        region |= {"startColumn": place.column, "endColumn": place.column + max(place.length, 1)}
    return {"region": region}
