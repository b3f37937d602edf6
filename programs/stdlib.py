"""Library functions that compiled programs call: texts, dates, BCD; plain Python compiled with numba.

``HELPERS`` maps the name that code generation uses to the function and its native form: result, then arguments,
as ``i`` (64-bit integer), ``f`` (LREAL), ``p8``/``p16`` (pointer to the characters of a STRING/WSTRING). They also
run as they stand over numpy arrays: the evaluator does so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from programs import stdlib_numbers, stdlib_text, stdlib_time

HELPERS: dict[str, tuple[Callable[..., Any], str]] = {
    **stdlib_numbers.HELPERS,
    **stdlib_text.HELPERS,
    **stdlib_time.HELPERS,
}
