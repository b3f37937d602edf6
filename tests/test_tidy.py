"""The house rules that a machine can check, with the reason in the message."""

import ast
import importlib
import importlib.metadata
import importlib.util
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FOLDERS = ("runtime", "scan", "supervisor", "drivers", "programs", "web")
DISTRIBUTION = "tickwork"
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 500
# Longer modules, each with its reason; the list only shrinks.
MODULES_EXEMPT = {
    "programs/ast.py": "one vocabulary, read as a whole",
    "programs/hir.py": "one vocabulary, read as a whole",
}
SOURCES = [p for f in FOLDERS for p in sorted((ROOT / f).rglob("*.py")) if "node_modules" not in p.parts]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_sizes_stay_readable(path: pathlib.Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.relative_to(ROOT).as_posix() not in MODULES_EXEMPT:
        assert text.count("\n") <= MODULE_LINES_MAX, "split the module by responsibility"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name}: {lines} lines; push the loop body down"


@pytest.mark.parametrize("name", FOLDERS)
def test_import_name_is_ours(name: str) -> None:
    """The six names are generic: PyPI `supervisor` and `web.py` own two of them."""
    owners = set(importlib.metadata.packages_distributions().get(name, ())) - {DISTRIBUTION}
    assert not owners, f"`import {name}` also belongs to {owners}: uninstall it or use a clean environment"
    assert importlib.util.find_spec(name) is not None


def _declared_codes() -> dict[str, str]:
    """Every ``CODES`` table of a module named ``codes``."""
    found: dict[str, str] = {}
    for path in SOURCES:
        if path.name == "codes.py":
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            table: dict[str, str] = importlib.import_module(name).CODES
            assert not set(table) & set(found), "a code is declared once"
            found |= table
    return found


def test_each_code_has_a_page_and_each_page_a_code() -> None:
    codes = set(_declared_codes())
    pages = {path.stem for path in (ROOT / "docs" / "errors").glob("[A-Z]*.md")} - {"README"}
    assert codes - pages == set(), "write docs/errors/<code>.md: when, example, why, fix"
    assert pages - codes == set(), "a page without a code: delete it or declare the code"


def test_each_code_used_in_the_sources_is_declared() -> None:
    pattern = re.compile(r'"((?:AL|ST|RF|SC|PL|AR|DV|UA|LK|SV|CL)\d{4})"')
    used = {code for path in SOURCES for code in pattern.findall(path.read_text(encoding="utf-8"))}
    assert used - set(_declared_codes()) == set(), "declare the code in the package's codes.py"
