"""Lets library functions call each other both as Python and compiled, without importing numba before it is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

# Library functions that other ones call; ``programs.blocks_compile`` makes numba know them.
CALLABLE: dict[str, Callable[..., Any]] = {}


def compiled(function: Function) -> Function:
    """Mark a function that other library functions call."""
    CALLABLE[f"{function.__module__}.{function.__qualname__}"] = function
    return function
