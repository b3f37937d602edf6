"""Payloads of plain MQTT messages: one value out of JSON, text, a number or packed bytes, and back.

Any bytes give a value or a ``PayloadError``; nothing else.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from drivers.mqtt.config import Field, Point

Scalar = bool | int | float | str

# IEC types that a value may take in the image, as numpy has them.
STORES: dict[str, str] = {
    "SINT": "<i1", "USINT": "u1", "BYTE": "u1", "INT": "<i2", "UINT": "<u2", "WORD": "<u2", "DINT": "<i4",
    "UDINT": "<u4", "DWORD": "<u4", "LINT": "<i8", "ULINT": "<u8", "LWORD": "<u8", "REAL": "<f4", "LREAL": "<f8",
}  # fmt: skip
STRUCT_FORMAT = re.compile(r"[<>!=]?[bBhHiIqQfde?]")
PRINT_FORMAT = re.compile(r"%[-+ 0]{0,2}\d{0,2}(\.\d{1,2})?[dfgeExX]")
_PATH_PART = re.compile(r'\.?([A-Za-z_$@][\w$@:-]*)|\[(\d{1,6})\]|\.?"((?:[^"\\]|\\.)*)"')
_JSON = msgspec.json.Decoder()
NUMBER_BYTES_MAX = 64


class PayloadError(Exception):
    """The payload does not hold the value that was expected; the text says what it holds."""

    def __init__(self, text: str, *, missing: bool = False) -> None:
        super().__init__(text)
        self.missing = missing  # there is nothing at the path: many devices send only what changed


def parse_path(text: str) -> tuple[str | int, ...] | None:
    """``a.b[2]."with dot"`` as keys and indexes; None if it is no path. The empty text is the whole payload."""
    parts: list[str | int] = []
    position = 0
    while position < len(text):
        found = _PATH_PART.match(text, position)
        if found is None or (text[position] == "." and not parts):
            return None
        key, index, quoted = found.groups()
        parts.append(
            int(index) if index is not None else key if key is not None else re.sub(r"\\(.)", r"\1", quoted)
        )
        position = found.end()
    return tuple(parts)


# ---------------------------------------------------------------- payload -> value


class Message:
    """One payload, whose JSON is read once however many points look at it."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self._json: Any = None
        self._read = False

    def json(self) -> Any:
        if not self._read:
            try:
                self._json = _JSON.decode(self.payload)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise PayloadError(f"no JSON: {error}") from None
            self._read = True
        return self._json


def decode(message: Message, field: Field) -> Scalar:
    """The value as the sender wrote it. Raises PayloadError."""
    if field.kind == "json":
        return _at_path(message.json(), field)
    if field.kind == "struct":
        return _unpacked(message.payload, field)
    text = _text(message.payload)
    return text if field.kind == "text" else _number(text)


def _at_path(value: Any, field: Field) -> Scalar:
    for part in field.path:
        value = _step(value, part)
        if value is None:
            raise PayloadError(f"nothing at {part!r}", missing=True)
    if isinstance(value, bool | int | float | str):
        return value
    raise PayloadError(f"{type(value).__name__} instead of a value")


def _step(value: Any, part: str | int) -> Any:
    if isinstance(part, str):
        return value.get(part) if isinstance(value, dict) else None
    return value[part] if isinstance(value, list) and part < len(value) else None


def _unpacked(payload: bytes, field: Field) -> Scalar:
    size = struct.calcsize(field.form)
    if field.at + size > len(payload):
        raise PayloadError(f"{len(payload)} bytes, needed {field.at + size}")
    value: Scalar = struct.unpack_from(field.form, payload, field.at)[0]
    return value


def _text(payload: bytes) -> str:
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        raise PayloadError("no UTF-8") from None


def _number(text: str) -> Scalar:
    text = text.strip()
    if len(text) > NUMBER_BYTES_MAX:
        raise PayloadError(f"{len(text)} characters instead of a number")
    try:
        return int(text, 0) if text[:2].lower() in ("0x", "0b", "0o") else int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise PayloadError(f"no number: {text[:20]!r}") from None


# ---------------------------------------------------------------- value -> image


def to_image(point: Point, value: Scalar) -> bytes:
    """The bytes of the process image (a bit: one byte, 0 or 1). Raises PayloadError for a value that does not fit."""
    if point.store == "STRING":
        return _string(point, value)
    if point.store == "BOOL":
        return b"\1" if _truth(point.field, value) else b"\0"
    number = scaled(point, _as_number(point.field, value))
    kind = np.dtype(STORES[point.store])
    if kind.kind == "f":
        if abs(number) > float(np.finfo(kind).max) and not math.isinf(number):
            raise PayloadError(f"{number} is too large")
        return np.array(number, kind).tobytes()
    return _integer(number, kind)


def _integer(number: int | float, kind: np.dtype[Any]) -> bytes:
    if isinstance(number, float):
        if not math.isfinite(number):
            raise PayloadError(f"{number} is no integer")
        number = round(number)
    limits = np.iinfo(kind)
    if not int(limits.min) <= number <= int(limits.max):
        raise PayloadError(f"{number} is out of range")
    return number.to_bytes(kind.itemsize, "little", signed=kind.kind == "i")


def scaled(point: Point, number: int | float) -> int | float:
    """An integer stays exact when nothing scales it."""
    if point.scale != 1.0 or point.shift != 0.0:
        try:
            number = number * point.scale + point.shift
        except OverflowError:
            raise PayloadError("the number is too large") from None
    if point.low is not None and number < point.low:
        return point.low
    if point.high is not None and number > point.high:
        return point.high
    return number


def _as_number(field: Field, value: Scalar) -> int | float:
    if isinstance(value, str):
        if value in (field.true, field.false):
            return int(value == field.true)
        parsed = _number(value)
        assert not isinstance(parsed, str)
        return parsed
    return int(value) if isinstance(value, bool) else value


def _truth(field: Field, value: Scalar) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = value.strip()
        if text in (field.true, field.false):
            return text == field.true
        if text.lower() in _TRUE or text.lower() in _FALSE:
            return text.lower() in _TRUE
        raise PayloadError(f"neither {field.true!r} nor {field.false!r}: {text[:20]!r}")
    if value in (0, 1):
        return value == 1
    raise PayloadError(f"neither 0 nor 1: {value}")


_TRUE = frozenset({"true", "1", "on"})
_FALSE = frozenset({"false", "0", "off"})


def _string(point: Point, value: Scalar) -> bytes:
    text = value if isinstance(value, str) else _shown(value)
    data = text.encode("latin-1", "replace").split(b"\0", 1)[0]
    if len(data) >= point.size:
        raise PayloadError(f"{len(data)} characters, at most {point.size - 1} fit")
    return data.ljust(point.size, b"\0")


def _shown(value: bool | int | float) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else repr(value)


# ---------------------------------------------------------------- image -> payload


def from_image(point: Point, image: bytes) -> Scalar:
    """The scaled value of an output point in %Q, as it is published."""
    if point.store == "BOOL":
        return bool(image[point.offset] >> point.bit & 1)
    data = image[point.offset : point.offset + point.size]
    return value_of(point, data)


def value_of(point: Point, data: bytes) -> Scalar:
    """The value of image bytes: of a point in the image, or of its safe value."""
    if point.store == "BOOL":
        return data != b"\0"
    if point.store == "STRING":
        return data.split(b"\0", 1)[0].decode("latin-1")
    number: int | float = np.frombuffer(data, STORES[point.store])[0].item()
    if point.scale != 1.0 or point.shift != 0.0:
        number = (number - point.shift) / point.scale
    if point.low is not None and number < point.low:
        return point.low
    if point.high is not None and number > point.high:
        return point.high
    return number


def encode(kind: str, points: Sequence[Point], values: Sequence[Scalar]) -> bytes:
    """One message out of the values of its points. Raises PayloadError for a value that its form cannot hold."""
    if kind == "json":
        return msgspec.json.encode(_object(points, values))
    if kind == "struct":
        return _packed(points, values)
    return _written(points[0].field, values[0]).encode("utf-8")


def _object(points: Sequence[Point], values: Sequence[Scalar]) -> Any:
    root: Any = None
    for point, value in zip(points, values, strict=True):
        # JSON knows no infinity and no NaN (RFC 8259 §6).
        shown = None if isinstance(value, float) and not math.isfinite(value) else value
        root = _placed(root, point.field.path, shown)
    return root


def _placed(node: Any, path: tuple[str | int, ...], value: Any) -> Any:
    if not path:
        return value
    first, rest = path[0], path[1:]
    if isinstance(first, str):
        node = node if isinstance(node, dict) else {}
        node[first] = _placed(node.get(first), rest, value)
        return node
    node = node if isinstance(node, list) else []
    node.extend([None] * (first + 1 - len(node)))
    node[first] = _placed(node[first], rest, value)
    return node


def _packed(points: Sequence[Point], values: Sequence[Scalar]) -> bytes:
    size = max(point.field.at + struct.calcsize(point.field.form) for point in points)
    data = bytearray(size)
    for point, value in zip(points, values, strict=True):
        form = point.field.form
        try:
            number = value if form[-1] in "fde" else bool(value) if form[-1] == "?" else round(float(value))
            if isinstance(value, int) and form[-1] not in "fde?":
                number = value
            struct.pack_into(form, data, point.field.at, number)
        except (struct.error, ValueError, OverflowError, TypeError):
            raise PayloadError(f"{value!r} does not fit {form}") from None
    return bytes(data)


def _written(field: Field, value: Scalar) -> str:
    if isinstance(value, bool):
        return field.true if value else field.false
    if isinstance(value, str):
        return value
    if field.form:
        try:
            return field.form % (value if field.form[-1] in "fgeE" else round(value))
        except (ValueError, OverflowError):
            raise PayloadError(f"{value} cannot be written as {field.form}") from None
    return repr(value)
