"""Results of step tables as JSON and as JUnit XML, the form that build servers read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from runtime.step_player import CaseResult

# What XML 1.0 cannot hold (section 2.2).
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_json(results: Sequence[CaseResult]) -> dict[str, object]:
    """``ok``, counts, and each case with its problems."""
    return {
        "ok": all(one.passed for one in results),
        "passed": sum(one.passed for one in results),
        "failed": sum(not one.passed for one in results),
        "cases": [
            {
                "table": one.table, "name": one.name, "passed": one.passed, "scans": one.scans,
                "duration_ns": one.duration_ns, "problems": list(one.problems),
            }
            for one in results
        ],
    }  # fmt: skip


def as_junit(results: Sequence[CaseResult]) -> bytes:
    """One ``testsuite`` a table, one ``testcase`` a case; ``time`` is virtual time in seconds."""
    root = ElementTree.Element("testsuites")
    for table in dict.fromkeys(one.table for one in results):
        cases = [one for one in results if one.table == table]
        suite = ElementTree.SubElement(
            root, "testsuite", name=_fit(table), tests=str(len(cases)), errors="0",
            failures=str(sum(not one.passed for one in cases)),
            time=f"{sum(one.duration_ns for one in cases) / 1e9:.3f}",
        )  # fmt: skip
        for one in cases:
            _add_case(suite, one)
    ElementTree.indent(root)
    data: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return data


def _add_case(suite: ElementTree.Element, one: CaseResult) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=_fit(one.table), name=_fit(one.name), time=f"{one.duration_ns / 1e9:.3f}",
        file=_fit(one.place.file), line=str(one.place.line),
    )  # fmt: skip
    for problem in one.problems:
        failure = ElementTree.SubElement(case, "failure", type=problem.code, message=_fit(problem.message))
        failure.text = _fit(problem.render())


def _fit(text: str) -> str:
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)
