"""Numbers in binary-coded decimal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def bcd_encode(value: int, digits: int) -> int:
    """The last ``digits`` decimal digits of a number, four bits each; of a negative number: 0."""
    result = 0
    if value > 0:
        for position in range(digits):
            result = result | ((value % 10) << (4 * position))
            value = value // 10
    return result


def bcd_decode(bits: int) -> int:
    """The number that the digits make; a nibble above 9 counts with its value."""
    result = 0
    for position in range(15, -1, -1):
        result = result * 10 + ((bits >> (4 * position)) & 15)
    return result


def bcd_valid(bits: int) -> int:
    """1 if no nibble is above 9."""
    for position in range(16):
        if ((bits >> (4 * position)) & 15) > 9:
            return 0
    return 1


HELPERS: dict[str, tuple[Callable[..., Any], str]] = {
    "bcd_encode": (bcd_encode, "i i i"),
    "bcd_decode": (bcd_decode, "i i"),
    "bcd_valid": (bcd_valid, "i i"),
}
