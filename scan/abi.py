"""What a compiled application is to the scan engine: block layout, symbols, tasks, call convention.

Theory. All memory of an application is one contiguous *state block*. Programs address it by offset from a base
pointer, and references between variables are stored as offsets, never as machine addresses. Therefore a snapshot,
a checkpoint and the start of a replay are plain copies, and a block may be moved or given to another process.

Block layout, every region aligned to 8 bytes::

    0            header, HEADER_SIZE bytes, reserved (offset 0 is the null reference)
    inputs       process image %I          \\
    outputs      process image %Q           |  the *shared* part: seen by all tasks,
    markers      process image %M           |  copied in and out at task boundaries
    globals      VAR_GLOBAL                /
    instances    program instances, each owned by exactly one task

Byte order is little-endian. BOOL outside the process images is one byte, 0 or 1; a located BOOL is one bit
(``Symbol.bit``). STRING[n] is n + 1 bytes, zero-terminated, the rest zero; WSTRING[n] is 2 (n + 1) bytes.
TIME, LTIME and all dates and times of day are signed 64-bit nanoseconds (dates since 1970-01-01, IEC 61131-3
table 10 leaves resolution and range to the implementer). Enumerations are stored as their base type.

Call convention: ``int32 entry(uint8 *block, uint8 *context)``. ``context`` is ``CONTEXT_DTYPE``. The result is 0, or
a fault code; then the fault fields of the context say where. An entry may be called again after a fault only on
a freshly initialised block.
"""

from __future__ import annotations

import enum
import hashlib

import msgspec
import numpy as np

ABI_VERSION = 1
HEADER_SIZE = 64

CONTEXT_DTYPE = np.dtype(
    {
        # abort: set non-zero from outside to stop compiled code at its next loop or call (watchdog).
        # depth: current call depth, for the recursion limit. first_scan: 1 in the first scan after a start.
        # now_ns: IEC time of this scan, from the task grid. wall_ns: UTC at scan start, recorded, for RTC only.
        "names": ["abort", "fault_code", "fault_pou", "fault_line", "fault_detail", "depth", "first_scan",
                  "now_ns", "wall_ns", "period_ns", "scan"],
        "formats": ["<i4", "<i4", "<i4", "<i4", "<i8", "<i4", "<i4", "<i8", "<i8", "<i8", "<i8"],
        "offsets": [0, 4, 8, 12, 16, 24, 28, 32, 40, 48, 56],
        "itemsize": 128,
    }
)  # fmt: skip


class Fault(enum.IntEnum):
    """Program faults as the entry returns them; the code shown to people is ``RF`` and the number, four digits."""

    DIVISION_BY_ZERO = 1001
    INDEX_OUT_OF_RANGE = 1002
    NULL_REFERENCE = 1003
    ABORTED = 1004  # the watchdog stopped an endless loop
    CALL_TOO_DEEP = 1005
    BLOCK_EXCEPTION = 1006  # a block written in Python raised
    SUBRANGE = 1007  # a value outside its declared subrange
    ABSTRACT_CALL = 1008
    # Given by the engine, never by an entry:
    OVERRUN = 1009  # too many overruns in a row
    UNHEALTHY = 1010  # the health variable of a program on trial was FALSE
    HUNG = 1011  # a task did not obey the watchdog


class IecType(enum.IntEnum):
    """Type of a leaf in the block. The number is part of recordings and of the wire; never renumber."""

    BOOL = 1
    SINT = 2
    INT = 3
    DINT = 4
    LINT = 5
    USINT = 6
    UINT = 7
    UDINT = 8
    ULINT = 9
    BYTE = 10
    WORD = 11
    DWORD = 12
    LWORD = 13
    REAL = 14
    LREAL = 15
    TIME = 16
    LTIME = 17
    DATE = 18
    LDATE = 19
    TOD = 20
    LTOD = 21
    DT = 22
    LDT = 23
    CHAR = 24
    WCHAR = 25
    STRING = 26
    WSTRING = 27
    REF = 28  # 8 bytes: offset of the target in the block, 0 is NULL


NUMPY_TYPE: dict[IecType, str] = {
    IecType.BOOL: "u1",
    IecType.SINT: "<i1",
    IecType.INT: "<i2",
    IecType.DINT: "<i4",
    IecType.LINT: "<i8",
    IecType.USINT: "u1",
    IecType.UINT: "<u2",
    IecType.UDINT: "<u4",
    IecType.ULINT: "<u8",
    IecType.BYTE: "u1",
    IecType.WORD: "<u2",
    IecType.DWORD: "<u4",
    IecType.LWORD: "<u8",
    IecType.REAL: "<f4",
    IecType.LREAL: "<f8",
    **dict.fromkeys(
        (
            IecType.TIME,
            IecType.LTIME,
            IecType.DATE,
            IecType.LDATE,
            IecType.TOD,
            IecType.LTOD,
            IecType.DT,
            IecType.LDT,
            IecType.REF,
        ),
        "<i8",
    ),
    IecType.CHAR: "u1",
    IecType.WCHAR: "<u2",
}


class Region(msgspec.Struct, frozen=True):
    """A run of bytes in the block."""

    offset: int
    size: int


class Symbol(msgspec.Struct, frozen=True):
    """A leaf variable: elementary, string, or array of elementary. Structures and instances are flattened.

    ``path`` is ``Program.instance.member`` (globals: ``Global``), array elements of structures as ``a[1,2].x``.
    """

    path: str
    type: IecType
    offset: int  # bytes from the start of the block, to element 0 for arrays
    size: int  # bytes of the whole symbol
    bit: int = -1  # bit in the byte at ``offset`` for a located BOOL, else -1
    dims: tuple[tuple[int, int], ...] = ()  # declared bounds for an array of elementary type
    length: int = 0  # characters of a STRING or WSTRING
    type_name: str = ""  # as declared: "INT", "STRING[80]", "E_Mode", "ARRAY[1..4] OF REAL"
    enum_values: tuple[tuple[str, int], ...] = ()
    location: str = ""  # "%QX0.3"
    owner: str = ""  # task that owns it; "" for the shared part
    retain: bool = False
    constant: bool = False
    access: str = "r"  # "r" read-only, "rw" writable from outside, "none" hidden
    direction: str = ""  # "input", "output", "inout", "" as declared in its POU
    unit: str = ""
    low: float | None = None  # engineering range
    high: float | None = None
    comment: str = ""
    file: str = ""
    line: int = 0
    write_role: str = ""  # who may write it from outside; "" = every role that may write at all
    alarm: str = ""  # definition of its alarm, as runtime.alarms reads it


class Aggregate(msgspec.Struct, frozen=True):
    """What holds leaves under one path: an instance, a structure, an array of either. Parents come before children.

    ``kind``: "program", "block", "struct", "union" or "array" (elements are aggregates with paths ``path[1,2]``).
    """

    path: str
    kind: str
    type_name: str  # key of the POU, name of the structure, or "ARRAY[1..4] OF Pump"
    dims: tuple[tuple[int, int], ...] = ()  # of an array
    direction: str = ""  # as Symbol.direction
    owner: str = ""  # task of a program and all that is in it
    comment: str = ""


class TaskSpec(msgspec.Struct, frozen=True):
    """A task: what runs when. ``kind``: "cyclic" (period), "event" (rising edge of a BOOL), "free" (back to back)."""

    name: str
    entry: str  # name of the native function
    kind: str = "cyclic"
    period_ns: int = 10_000_000
    priority: int = 1  # IEC: 0 is the highest
    event: str = ""  # path of the BOOL symbol for kind "event"
    programs: tuple[str, ...] = ()
    # Parts of the shared region which this task may write; exactly these are copied out at its end.
    writes: tuple[Region, ...] = ()


class Application(msgspec.Struct, frozen=True):
    """A compiled application, ready to be loaded: everything but the plant configuration."""

    abi: int
    name: str
    digest: str  # hex sha256 over sources, configuration and generator version: identifies behaviour
    target: str  # CPU and numba version the object code was made for
    block_size: int
    inputs: Region
    outputs: Region
    markers: Region
    shared: Region  # header excluded; inputs to globals
    image: bytes  # the initial block, block_size bytes
    symbols: tuple[Symbol, ...]
    tasks: tuple[TaskSpec, ...]
    pous: tuple[str, ...]  # fault_pou indexes here
    pou_files: tuple[str, ...]  # source file of each POU
    object_code: bytes  # relocatable object in the machine's format
    aggregates: tuple[Aggregate, ...] = ()  # what the symbols' paths lead through


_MAGIC = b"TWAPP\1\0\0"
_HEAD_SIZE = len(_MAGIC) + hashlib.sha256().digest_size


def encode_application(application: Application) -> bytes:
    """``decode_application`` takes it back: a magic, the SHA-256 of the rest, the rest as msgpack."""
    body = msgspec.msgpack.encode(application)
    return _MAGIC + hashlib.sha256(body).digest() + body


def decode_application(data: bytes) -> Application:
    """Raises msgspec.DecodeError or msgspec.ValidationError on anything that is not a whole application.

    The checksum comes first: LLVM ends the process on damaged object code, so none may reach it.
    """
    body = data[_HEAD_SIZE:]
    if data[:_HEAD_SIZE] != _MAGIC + hashlib.sha256(body).digest():
        raise msgspec.DecodeError("the checksum differs: the file is damaged, or of another version")
    return msgspec.msgpack.decode(body, type=Application)
