"""The pages of the error catalogue: docs/errors in a checkout, beside the packages in an installation."""

from __future__ import annotations

import difflib
import pathlib
import re

from scan.problem import fail

_HERE = pathlib.Path(__file__).resolve().parent.parent
_FOLDERS = (_HERE / "docs" / "errors", _HERE / "programs" / "errors_pages")
_CODE = re.compile(r"[A-Z]{2}\d{4}")


def page(code: str) -> str:
    """The page of a code as Markdown. Raises CL1006 for a code that there is not."""
    wanted = code.strip().upper().removeprefix("ERROR[").removesuffix("]")
    codes = known()
    if wanted in codes:
        return codes[wanted].read_text("utf-8")
    near = difflib.get_close_matches(wanted, codes, n=3, cutoff=0.6)
    raise fail(
        "CL1006", f"there is no message {code!r}", expected="a code like ST1001", found=code,
        remedy=f"did you mean {' or '.join(near)}?" if near else "`tickwork explain` lists all codes",
    )  # fmt: skip


def known() -> dict[str, pathlib.Path]:
    """Code -> file of its page."""
    for folder in _FOLDERS:
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.md")) if _CODE.fullmatch(path.stem)}
    return {}


def title(path: pathlib.Path) -> str:
    """The first heading of a page, without its code."""
    with path.open(encoding="utf-8") as file:
        return file.readline().strip().lstrip("# ").partition(":")[2].strip()
