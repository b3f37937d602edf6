"""Single requests for people at a device: ask once, find units, make captured traffic readable."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from typing import NamedTuple

import numpy as np

from drivers.modbus import rtu
from drivers.modbus.config import Point
from drivers.modbus.link import Job, Link
from drivers.modbus.mbap import HEADER, HEADER_SIZE, LENGTH_MAX, LENGTH_MIN
from drivers.modbus.pdu import (
    EXCEPTION_FLAG,
    EXCEPTION_TEXT,
    Failure,
    FailureKind,
    Function,
    Request,
    comm_event_counter,
    diagnostics,
    identification_objects,
    read_device_identification,
    read_exception_status,
    read_registers,
    report_server_id,
)
from drivers.modbus.points import KINDS, STORES, PointDecoder
from scan.problem import fail
from scan.quality import is_bad

UNITS = range(1, 248)  # Modbus over Serial Line V1.02 §2.2
CONNECT_S = 5.0


REMEDIES = {
    FailureKind.TIMEOUT: "check the unit number and, on a serial line, baud rate, parity and wiring",
    FailureKind.EXCEPTION: "look up table and address in the device's manual; lists that count from 1 are one too high",
    FailureKind.MISMATCH: "see with --check what pymodbus reads, and whether another master is on the line",
}


class Found(NamedTuple):
    """A unit that answered: how, and what it says of itself."""

    unit: int
    text: str


async def open_and_wait(link: Link, *, timeout_s: float = CONNECT_S) -> None:
    """Starts ``link`` and waits for its connection; one refusal is enough. Raises TickworkError DV2002."""
    answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def changed(up: bool, text: str) -> None:
        if not answered.done():
            answered.set_result("" if up else text)

    link.listen(changed)
    link.start()
    try:
        reason = await asyncio.wait_for(answered, timeout_s)
    except TimeoutError:
        reason = "no answer"
    if reason:
        await link.stop()
        raise fail(
            "DV2002",
            f"{link.address} cannot be reached",
            expected=f"a connection within {timeout_s:g} s",
            found=reason,
            remedy="check address, port and cable, and whether another master has the connection",
        )


async def ask(link: Link, unit: int, request: Request, *, timeout_s: float) -> bytes:
    """The reply PDU. Raises TickworkError DV2001 and others as ``FailureKind`` names them."""
    reply, failure = await attempt(link, unit, request, timeout_s=timeout_s)
    if failure is not None:
        raise fail(
            failure.kind.value,
            failure.text,
            found=f"{link.address} unit {unit}",
            remedy=REMEDIES.get(failure.kind, ""),
        )
    return reply


async def attempt(
    link: Link, unit: int, request: Request, *, timeout_s: float
) -> tuple[bytes, Failure | None]:
    """The reply PDU and the failure, one of which is empty."""
    future: asyncio.Future[tuple[bytes, Failure | None]] = asyncio.get_running_loop().create_future()

    def done(_job: Job, reply: bytes, failure: Failure | None) -> None:
        if not future.done():
            future.set_result((reply, failure))

    link.submit(Job(unit, request, done, timeout_s=timeout_s, priority=0))
    link.flush()
    return await future


async def find_units(link: Link, units: Iterable[int], *, timeout_s: float) -> AsyncIterator[Found]:
    """Asks each unit for its identification; also an exception is a sign of life."""
    link.gives_up_silent = False
    for unit in units:
        reply, failure = await attempt(link, unit, read_device_identification(), timeout_s=timeout_s)
        if failure is None:
            yield Found(unit, _identity(reply) or "answers, with an empty identification")
        elif failure.kind is FailureKind.EXCEPTION:
            if failure.exception not in (10, 11):
                yield Found(unit, "answers, without identification")
        elif failure.kind is FailureKind.TIMEOUT:
            # Some devices ignore functions that they do not know.
            request = read_registers(Function.READ_HOLDING_REGISTERS, 0, 1)
            _, failure = await attempt(link, unit, request, timeout_s=timeout_s)
            if failure is None or (
                failure.kind is FailureKind.EXCEPTION and failure.exception not in (10, 11)
            ):
                yield Found(unit, "answers")


async def diagnose(link: Link, unit: int, *, timeout_s: float) -> AsyncIterator[tuple[str, str]]:
    """Questions and answers of the diagnostic functions 43/14, 17, 7, 11 and 8; a refusal is an answer too."""
    link.gives_up_silent = False
    for question, request, show in DIAGNOSTICS:
        reply, failure = await attempt(link, unit, request, timeout_s=timeout_s)
        data = reply if show is _identity else reply[request.data_at :]
        yield question, show(data) if failure is None else failure.text


def _number(data: bytes) -> str:
    return str(int.from_bytes(data, "big"))


def _event_counter(data: bytes) -> str:
    status, events = struct.unpack(">HH", data)
    return f"{events}{', busy' if status else ''}"


def _server_id(data: bytes) -> str:
    return data.hex(" ") + "  " + "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)


def _identity(reply: bytes) -> str:
    try:
        objects = identification_objects(reply)
    except ValueError as error:
        return str(error)
    return " ".join(objects[number].decode("ascii", "replace") for number in sorted(objects))


def show_registers(data: bytes, *, kind: str, order: str) -> list[str]:
    """Registers as on the wire as texts of values of ``kind``."""
    registers, dtype = KINDS[kind]
    store = dtype if not kind.startswith("bcd") else STORES["UDINT"]
    size = np.dtype(store).itemsize
    texts = []
    for at in range(len(data) // 2 // registers):
        point = Point("", at * registers, kind, 0, size, order=order, registers=registers, store=store)
        image = np.zeros(size, np.uint8)
        quality = PointDecoder([point], bits=False).store(image, data)
        value = image.view(store)[0].item()
        texts.append("invalid" if is_bad(int(quality[0])) else f"{value:g}" if "f" in store else str(value))
    return texts


def encode_number(text: str, *, kind: str, order: str) -> bytes:
    """The registers for a number as a person writes it. Raises TickworkError DV1003 if it does not fit."""
    from drivers.modbus.points import encode_point

    registers, dtype = KINDS[kind]
    store = "<f8" if "f" in dtype or kind.startswith("bcd") else dtype
    try:
        number = float(text) if "f" in store else int(text, 0)
        image = np.array([number], store).tobytes()
    except (ValueError, OverflowError) as error:
        raise fail("DV1003", f"{text} is no {kind}", expected=f"a value of {kind}", found=text) from error
    point = Point("", 0, kind, 0, 8, order=order, registers=registers, store=store)
    return encode_point(point, image)


DIAGNOSTICS: tuple[tuple[str, Request, Callable[[bytes], str]], ...] = (
    ("identification", read_device_identification(code=2), _identity),
    ("server id", report_server_id(), _server_id),
    ("exception status", read_exception_status(), _number),
    ("events", comm_event_counter(), _event_counter),
    ("echo", diagnostics(0, 0x5A5A), _number),
    ("messages on the bus", diagnostics(11), _number),
    ("checksum errors on the bus", diagnostics(12), _number),
    ("exceptions answered", diagnostics(13), _number),
    ("messages to this unit", diagnostics(14), _number),
    ("messages without an answer", diagnostics(15), _number),
)


# ---------------------------------------------------------------- captured traffic


def explain(frame: bytes) -> str:
    """One RTU frame in words; both directions are tried, as a listener cannot know which it hears."""
    if not rtu.is_frame(frame):
        return f"? {frame.hex(' ')}"
    return _in_words(frame[0], frame[1:-2])


def explain_tcp(frame: bytes) -> str:
    """One Modbus TCP frame in words, as ``split_tcp_frames`` gives it."""
    if not _tcp_frame_size(frame, 0):
        return f"? {frame.hex(' ')}"
    return f"transaction {int.from_bytes(frame[:2])}, {_in_words(frame[6], frame[7:])}"


def _in_words(unit: int, pdu: bytes) -> str:
    if pdu[0] & EXCEPTION_FLAG and len(pdu) == 2:
        return f"unit {unit}: exception {pdu[1]}, {EXCEPTION_TEXT.get(pdu[1], 'unknown')}"
    name = Function(pdu[0]).name.lower() if pdu[0] in set(Function) else f"function {pdu[0]}"
    if len(pdu) == 5 and pdu[0] in (1, 2, 3, 4):
        address, count = struct.unpack(">HH", pdu[1:5])
        return f"unit {unit}: {name} {address} x {count}"
    if pdu[0] in (1, 2, 3, 4, 23) and len(pdu) >= 2 and len(pdu) == 2 + pdu[1]:
        return f"unit {unit}: {name} answered {pdu[2:].hex(' ')}"
    return f"unit {unit}: {name} {pdu[1:].hex(' ')}"


def split_tcp_frames(data: bytes) -> list[bytes]:
    """The frames of one direction of a connection; what follows a header that is none is the last piece."""
    frames: list[bytes] = []
    position = 0
    while size := _tcp_frame_size(data, position):
        frames.append(data[position : position + size])
        position += size
    return [*frames, data[position:]] if position < len(data) else frames


def _tcp_frame_size(data: bytes, position: int) -> int:
    """Length of the frame at ``position``, 0 if none is complete there."""
    if len(data) - position < HEADER_SIZE + 1:
        return 0
    _, protocol, length, _ = HEADER.unpack_from(data, position)
    size = 6 + int(length)
    legal = not protocol and LENGTH_MIN <= length <= LENGTH_MAX
    return size if legal and position + size <= len(data) else 0


def split_frames(data: bytes, *, final: bool = False) -> tuple[list[bytes], bytes]:
    """Valid frames in what was heard, bytes that belong to none as pieces of their own, and the undecided rest.

    ``final``: nothing follows, so there is no rest.
    """
    frames: list[bytes] = []
    lost = b""
    position = 0
    while len(data) - position >= rtu.FRAME_SIZE_MIN:
        size = _frame_size(data, position)
        if size:
            if lost:
                frames.append(lost)
                lost = b""
            frames.append(data[position : position + size])
            position += size
        elif not final and len(data) - position < rtu.FRAME_SIZE_MAX:
            break
        else:
            lost += data[position : position + 1]
            position += 1
    if final:
        lost += data[position:]
        position = len(data)
    if lost:
        frames.append(lost)
    return frames, data[position:]


def _frame_size(data: bytes, position: int) -> int:
    """Length of the valid frame at ``position``, 0 if none is complete there."""
    for pdu_size in (rtu.request_size(data, position + 1), rtu.reply_size(data, position + 1)):
        frame = data[position : position + pdu_size + 3]
        if pdu_size > 0 and len(frame) == pdu_size + 3 and rtu.is_frame(frame):
            return len(frame)
    return 0
