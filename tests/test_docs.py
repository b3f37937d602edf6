"""The documentation points at what is there."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
PATH = re.compile(r"`((?:runtime|scan|supervisor|drivers|programs|web)(?:\.[a-z_*]+)+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_when_it_links_inside_the_project_then_the_target_exists(page: pathlib.Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [link for link in LINK.findall(text) if "://" not in link]
    missing = [link for link in targets if not (page.parent / link).exists()]
    assert missing == []


def test_architecture_when_it_names_a_module_then_there_is_one() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = {name for name in PATH.findall(text) if "*" not in name}
    assert len(named) > 15
    missing = [name for name in named if not _is_module_or_name(name)]
    assert missing == []


def _is_module_or_name(name: str) -> bool:
    """A module, a package, or a name in one (``scan.CommandLane`` begins with a capital and is not matched)."""
    path = ROOT.joinpath(*name.split("."))
    return (
        path.with_suffix(".py").exists()
        or (path / "__init__.py").exists()
        or (path / "__init__.pyi").exists()
    )
