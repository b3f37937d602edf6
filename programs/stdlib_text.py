"""Texts: zero-terminated characters in a buffer. Every function writes at most ``capacity`` characters and a zero.

The same code serves STRING (8-bit characters) and WSTRING (16-bit): it only indexes. Positions are counted from 1 as in
IEC 61131-3 §6.6.2.5.11; positions and lengths outside the text are clamped, never an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from programs import stdlib_numbers_text, stdlib_parse
from programs.stdlib_compile import compiled


@compiled
def text_length(text: Any) -> int:
    count = 0
    while text[count] != 0:
        count += 1
    return count


@compiled
def _put(target: Any, capacity: int, start: int, text: Any, first: int, count: int) -> int:
    """Copy ``count`` characters behind ``start``, as far as there is room; the new length."""
    position = start
    for index in range(count):
        if position >= capacity:
            break
        target[position] = text[first + index]
        position += 1
    target[position] = 0
    return position


def text_copy(target: Any, capacity: int, text: Any) -> int:
    """Truncating copy; also between widths, where a character beyond 8 bits keeps its low 8."""
    position = 0
    while position < capacity and text[position] != 0:
        target[position] = text[position]
        position += 1
    target[position] = 0
    return position


def text_fill(target: Any, capacity: int, text: Any) -> int:
    """Truncating copy that leaves zeros behind the text, as all variables have them."""
    position = 0
    while position < capacity and text[position] != 0:
        target[position] = text[position]
        position += 1
    for rest in range(position, capacity + 1):
        target[rest] = 0
    return position


def text_append(target: Any, capacity: int, text: Any) -> int:
    return _put(target, capacity, text_length(target), text, 0, text_length(text))


def text_left(target: Any, capacity: int, text: Any, count: int) -> int:
    return _put(target, capacity, 0, text, 0, max(0, min(count, text_length(text))))


def text_right(target: Any, capacity: int, text: Any, count: int) -> int:
    length = text_length(text)
    count = max(0, min(count, length))
    return _put(target, capacity, 0, text, length - count, count)


def text_mid(target: Any, capacity: int, text: Any, count: int, position: int) -> int:
    length = text_length(text)
    first = max(0, min(position - 1, length))
    return _put(target, capacity, 0, text, first, max(0, min(count, length - first)))


def text_insert(target: Any, capacity: int, text: Any, inserted: Any, position: int) -> int:
    """``inserted`` stands after the ``position``-th character."""
    length = text_length(text)
    first = max(0, min(position, length))
    end = _put(target, capacity, 0, text, 0, first)
    end = _put(target, capacity, end, inserted, 0, text_length(inserted))
    return _put(target, capacity, end, text, first, length - first)


def text_delete(target: Any, capacity: int, text: Any, count: int, position: int) -> int:
    length = text_length(text)
    first = max(0, min(position - 1, length))
    gone = max(0, min(count, length - first))
    end = _put(target, capacity, 0, text, 0, first)
    return _put(target, capacity, end, text, first + gone, length - first - gone)


def text_replace(target: Any, capacity: int, text: Any, inserted: Any, count: int, position: int) -> int:
    length = text_length(text)
    first = max(0, min(position - 1, length))
    gone = max(0, min(count, length - first))
    end = _put(target, capacity, 0, text, 0, first)
    end = _put(target, capacity, end, inserted, 0, text_length(inserted))
    return _put(target, capacity, end, text, first + gone, length - first - gone)


def text_find(text: Any, wanted: Any) -> int:
    """Position of the first occurrence; 0 if there is none or nothing is wanted."""
    length, size = text_length(text), text_length(wanted)
    if size == 0:
        return 0
    for first in range(length - size + 1):
        index = 0
        while index < size and text[first + index] == wanted[index]:
            index += 1
        if index == size:
            return first + 1
    return 0


def text_compare(left: Any, right: Any) -> int:
    """-1, 0 or 1 by character codes; a prefix is less."""
    index = 0
    while left[index] != 0 and left[index] == right[index]:
        index += 1
    if left[index] == right[index]:
        return 0
    return -1 if left[index] < right[index] else 1


def _both(name: str, function: Callable[..., Any], form: str) -> dict[str, tuple[Callable[..., Any], str]]:
    """The two widths of a function; ``p`` in its form is the pointer."""
    return {f"{name}{bits}": (function, form.replace("p", f"p{bits}")) for bits in (8, 16)}


HELPERS: dict[str, tuple[Callable[..., Any], str]] = {
    **_both("text_length", text_length, "i p"),
    **_both("text_append", text_append, "i p i p"),
    **_both("text_left", text_left, "i p i p i"),
    **_both("text_right", text_right, "i p i p i"),
    **_both("text_mid", text_mid, "i p i p i i"),
    **_both("text_insert", text_insert, "i p i p p i"),
    **_both("text_delete", text_delete, "i p i p i i"),
    **_both("text_replace", text_replace, "i p i p p i i"),
    **_both("text_find", text_find, "i p p"),
    **_both("text_compare", text_compare, "i p p"),
    **{f"text_copy{to}{of}": (text_copy, f"i p{to} i p{of}") for to in (8, 16) for of in (8, 16)},
    **{f"text_fill{to}{of}": (text_fill, f"i p{to} i p{of}") for to in (8, 16) for of in (8, 16)},
}
for _name, (_function, _form) in {**stdlib_numbers_text.FORMS, **stdlib_parse.FORMS}.items():
    HELPERS |= _both(_name, _function, _form)
