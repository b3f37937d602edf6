"""The standard functions as data (IEC 61131-3:2013, tables 22 to 38).

A function line is ``NAME(PARAMETER: TYPE, …): RESULT``. A type is an elementary type or a generic family; all
parameters of one family take one common type, and so does a result of that family. ``COUNT`` is any integer, handed
over as LINT. A last parameter with ``…`` may be repeated. ``ANY_CHARS+`` as a result is a string with room for all
string arguments together. A parameter's second name (``IN|STR``) is the one that CODESYS gives it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from programs import hir, types
from scan.abi import IecType

_FUNCTIONS = """
ABS(IN: ANY_NUM): ANY_NUM
SQRT(IN: ANY_REAL): ANY_REAL
LN(IN: ANY_REAL): ANY_REAL
LOG(IN: ANY_REAL): ANY_REAL
EXP(IN: ANY_REAL): ANY_REAL
SIN(IN: ANY_REAL): ANY_REAL
COS(IN: ANY_REAL): ANY_REAL
TAN(IN: ANY_REAL): ANY_REAL
ASIN(IN: ANY_REAL): ANY_REAL
ACOS(IN: ANY_REAL): ANY_REAL
ATAN(IN: ANY_REAL): ANY_REAL
ATAN2(Y|IN1: ANY_REAL, X|IN2: ANY_REAL): ANY_REAL
FLOOR(IN: ANY_REAL): ANY_REAL
CEIL(IN: ANY_REAL): ANY_REAL
SHL(IN: ANY_BIT, N: COUNT): ANY_BIT
SHR(IN: ANY_BIT, N: COUNT): ANY_BIT
ROL(IN: ANY_BIT, N: COUNT): ANY_BIT
ROR(IN: ANY_BIT, N: COUNT): ANY_BIT
SEL(G: BOOL, IN0: ANY, IN1: ANY): ANY
MUX(K: COUNT, IN0: ANY, …): ANY
MAX(IN1: ANY_ELEMENTARY, …): ANY_ELEMENTARY
MIN(IN1: ANY_ELEMENTARY, …): ANY_ELEMENTARY
LIMIT(MN|MIN: ANY_ELEMENTARY, IN: ANY_ELEMENTARY, MX|MAX: ANY_ELEMENTARY): ANY_ELEMENTARY
LEN(IN|STR: ANY_CHARS): INT
LEFT(IN|STR: ANY_CHARS, L|SIZE: COUNT): ANY_CHARS
RIGHT(IN|STR: ANY_CHARS, L|SIZE: COUNT): ANY_CHARS
MID(IN|STR: ANY_CHARS, L|LEN: COUNT, P|POS: COUNT): ANY_CHARS
CONCAT(IN1|STR1: ANY_CHARS, …): ANY_CHARS+
INSERT(IN1|STR1: ANY_CHARS, IN2|STR2: ANY_CHARS, P|POS: COUNT): ANY_CHARS+
DELETE(IN|STR: ANY_CHARS, L|LEN: COUNT, P|POS: COUNT): ANY_CHARS
REPLACE(IN1|STR1: ANY_CHARS, IN2|STR2: ANY_CHARS, L: COUNT, P: COUNT): ANY_CHARS+
FIND(IN1|STR1: ANY_CHARS, IN2|STR2: ANY_CHARS): INT
CONCAT_DATE(YEAR: COUNT, MONTH: COUNT, DAY: COUNT): DATE
CONCAT_TOD(HOUR: COUNT, MINUTE: COUNT, SECOND: COUNT, MILLISECOND: COUNT): TOD
CONCAT_DT(YEAR: COUNT, MONTH: COUNT, DAY: COUNT, HOUR: COUNT, MINUTE: COUNT, SECOND: COUNT, MILLISECOND: COUNT): DT
CONCAT_LTOD(HOUR: COUNT, MINUTE: COUNT, SECOND: COUNT, MILLISECOND: COUNT): LTOD
CONCAT_LDT(YEAR: COUNT, MONTH: COUNT, DAY: COUNT, HOUR: COUNT, MINUTE: COUNT, SECOND: COUNT, MILLISECOND: COUNT): LDT
DAY_OF_WEEK(IN: DATE): INT
TO_BIG_ENDIAN(IN: ANY): ANY
TO_LITTLE_ENDIAN(IN: ANY): ANY
FROM_BIG_ENDIAN(IN: ANY): ANY
FROM_LITTLE_ENDIAN(IN: ANY): ANY
IS_VALID(IN: ANY_REAL): BOOL
IS_VALID_BCD(IN: ANY_BIT): BOOL
TIME(): TIME
LTIME(): LTIME
FIRST_SCAN(): BOOL
"""

# Functions that are an operator: name -> operator, fewest and most arguments (0: as many as wanted).
OPERATORS: dict[str, tuple[str, int, int]] = {
    "ADD": ("+", 2, 0),
    "MUL": ("*", 2, 0),
    "SUB": ("-", 2, 2),
    "DIV": ("/", 2, 2),
    "MOD": ("MOD", 2, 2),
    "EXPT": ("**", 2, 2),
    "AND": ("AND", 2, 0),
    "OR": ("OR", 2, 0),
    "XOR": ("XOR", 2, 0),
    "GT": (">", 2, 0),
    "GE": (">=", 2, 0),
    "EQ": ("=", 2, 0),
    "LE": ("<=", 2, 0),
    "LT": ("<", 2, 0),
    "NE": ("<>", 2, 2),
}

# Functions on times that are an operator between two given types (table 35); ``L`` variants are derived.
_TIMED = """
ADD_TIME + TIME TIME; ADD_TOD_TIME + TOD TIME; ADD_DT_TIME + DT TIME; SUB_TIME - TIME TIME; SUB_DATE_DATE - DATE DATE
SUB_TOD_TIME - TOD TIME; SUB_TOD_TOD - TOD TOD; SUB_DT_TIME - DT TIME; SUB_DT_DT - DT DT
MULTIME * TIME ANY_NUM; MUL_TIME * TIME ANY_NUM; DIVTIME / TIME ANY_NUM; DIV_TIME / TIME ANY_NUM
CONCAT_DATE_TOD + DATE TOD; CONCAT_DATE_LTOD + DATE LTOD
ADD_LTIME + LTIME LTIME; ADD_LTOD_LTIME + LTOD LTIME; ADD_LDT_LTIME + LDT LTIME; SUB_LTIME - LTIME LTIME
SUB_LDATE_LDATE - LDATE LDATE; SUB_LTOD_LTIME - LTOD LTIME; SUB_LTOD_LTOD - LTOD LTOD; SUB_LDT_LTIME - LDT LTIME
SUB_LDT_LDT - LDT LDT; MUL_LTIME * LTIME ANY_NUM; DIV_LTIME / LTIME ANY_NUM
"""

# Functions with outputs only (table 44): name -> argument type and the outputs' names.
SPLITS: dict[str, tuple[str, tuple[str, ...]]] = {
    "SPLIT_DATE": ("DATE", ("YEAR", "MONTH", "DAY")),
    "SPLIT_TOD": ("TOD", ("HOUR", "MINUTE", "SECOND", "MILLISECOND")),
    "SPLIT_LTOD": ("LTOD", ("HOUR", "MINUTE", "SECOND", "MILLISECOND")),
    "SPLIT_DT": ("DT", ("YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND", "MILLISECOND")),
    "SPLIT_LDT": ("LDT", ("YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND", "MILLISECOND")),
}

# Functions whose arguments are no ordinary values; the checker knows each.
SPECIAL = frozenset(
    (
        *("NOT", "MOVE", "REF", "ADR", "SIZEOF", "LOWER_BOUND", "UPPER_BOUND", "TRUNC", "TRUNC_INT", "ROUND"),
        *("__NEW", "__DELETE", "__ISVALIDREF", "__QUERYINTERFACE", "__QUERYPOINTER"),
    )
)

# What CODESYS calls the pins of standard blocks.
BLOCK_ALIASES: dict[str, dict[str, str]] = {
    "SR": {"SET1": "S1", "RESET": "R"},
    "RS": {"SET": "S", "RESET1": "R1"},
    "CTU": {"RESET": "R"},
    "CTD": {"LOAD": "LD"},
    "CTUD": {"RESET": "R", "LOAD": "LD"},
    "RTC": {"EN": "IN"},
}


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    type: str  # an elementary type, a family, or COUNT
    alias: str = ""  # CODESYS's name


@dataclass(frozen=True, slots=True)
class Signature:
    """A standard function. ``extensible``: the last parameter may be repeated (its name counts on)."""

    name: str
    parameters: tuple[Parameter, ...]
    result: str
    extensible: bool = False


@dataclass(frozen=True, slots=True)
class Conversion:
    """What ``A_TO_B`` and its like mean. ``source`` is "" for ``TO_B``; ``kind`` as in ``hir.Convert``."""

    source: str
    target: str
    kind: str


def _parse_parameter(text: str) -> Parameter:
    names, kind = text.split(":")
    name, _, alias = names.strip().partition("|")
    return Parameter(name, kind.strip(), alias)


def _parse_functions() -> dict[str, Signature]:
    found: dict[str, Signature] = {}
    for line in _FUNCTIONS.strip().splitlines():
        match = re.fullmatch(r"(\w+)\((.*)\): ([\w+]+)", line)
        assert match, line
        name, inside, result = match.groups()
        parts = [part.strip() for part in inside.split(",") if part.strip()]
        extensible = bool(parts) and parts[-1] == "…"
        parameters = tuple(_parse_parameter(part) for part in parts if part != "…")
        found[name] = Signature(name, parameters, result, extensible)
    return found


def _parse_timed() -> dict[str, tuple[str, str, str]]:
    entries = (entry.split() for line in _TIMED.strip().splitlines() for entry in line.split(";"))
    return {name: (op, left, right) for name, op, left, right in entries}


FUNCTIONS = _parse_functions()
TIMED = _parse_timed()

_CONVERTIBLE = {
    **{name: name for name in types.ELEMENTARY},
    **types.ALIASES,
    "STRING": "STRING",
    "WSTRING": "WSTRING",
}
_SCALARS = frozenset(
    kind.name for kind in (IecType.BOOL, *types.INTEGERS, *types.BITS, *types.REALS, *types.CHARS)
)
_TIME_NAMES = frozenset(kind.name for kind in types.TIMES)
_TEXTS = frozenset(("STRING", "WSTRING"))
# Conversions between times (tables 24 and 45); each also between its L variants.
_TIME_PAIRS = frozenset(
    ("TIME TIME", "DATE DATE", "TOD TOD", "DT DT", "DT DATE", "DT TOD", "DATE DT", "TIME TOD", "TOD TIME")
)


def conversion(name: str) -> Conversion | None:
    """The conversion that a function's upper-case name stands for, None if it is none."""
    for pattern, kind in (
        ("_TRUNC_", "trunc"),
        ("_BCD_TO_", "from_bcd"),
        ("_TO_BCD_", "bcd"),
        ("_TO_", "to"),
    ):
        source, found, target = name.partition(pattern)
        if found and source in _CONVERTIBLE and target in _CONVERTIBLE:
            return Conversion(_CONVERTIBLE[source], _CONVERTIBLE[target], kind)
    for prefix, kind in (("TO_", "to"), ("TRUNC_", "trunc"), ("BCD_TO_", "from_bcd")):
        if name.startswith(prefix) and name[len(prefix) :] in _CONVERTIBLE:
            return Conversion("", _CONVERTIBLE[name[len(prefix) :]], kind)
    if name.endswith("_TO_BCD") and name[:-7] in _CONVERTIBLE:
        return Conversion(_CONVERTIBLE[name[:-7]], "", "bcd")
    return None


def convertible(source: str, target: str) -> bool:
    """Whether ``source_TO_target`` exists; both are names of elementary types or STRING, WSTRING."""
    if source in _TEXTS or target in _TEXTS or (source in _SCALARS and target in _SCALARS):
        return True
    if source in _TIME_NAMES and target in _TIME_NAMES:
        return f"{source.removeprefix('L')} {target.removeprefix('L')}" in _TIME_PAIRS
    return source in _SCALARS | _TIME_NAMES and target in _SCALARS | _TIME_NAMES


def type_of(name: str) -> hir.Type:
    """The elementary type, STRING or WSTRING that a signature names."""
    if name in _TEXTS:
        return types.WSTRING if name == "WSTRING" else types.STRING
    return types.ELEMENTARY[name]


def is_standard_function(name: str) -> bool:
    """Whether an upper-case name is a standard function (conversions included)."""
    return (
        name in FUNCTIONS or name in OPERATORS or name in TIMED or name in SPLITS or name in SPECIAL
    ) or conversion(name) is not None
