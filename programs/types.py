"""The type system: names, generic families, implicit conversions, common types of operators.

Theory. A value has two types. Its *language type* says what may be done with it (``INT + INT`` is an INT, so it may
be assigned to an INT); its *computed type* is the type of the tree's expression. They differ for integer arithmetic,
which is done in at least 32 bits and wraps only when it is stored (``Value`` in ``check_expressions``).

A literal without a type prefix has one of the literal types below until its context gives it one; no literal type
ever reaches the tree. ``UNKNOWN`` is the type of everything that an error was already reported for; it fits everywhere.
"""

from __future__ import annotations

import enum

from programs import hir
from scan.abi import IecType

# Limits. A string's length fits an INT, as LEN returns it (IEC 61131-3, table 31).
STRING_LENGTH_MAX = 32_767
STRING_LENGTH_DEFAULT = 80
NUMBER_TEXT_LENGTH = 80  # of what INT_TO_STRING and its like give

ELEMENTARY: dict[str, hir.Type] = {
    kind.name: hir.Elementary(kind)
    for kind in IecType
    if kind not in (IecType.STRING, IecType.WSTRING, IecType.REF)
}
ALIASES = {
    "TIME_OF_DAY": "TOD",
    "DATE_AND_TIME": "DT",
    "LTIME_OF_DAY": "LTOD",
    "LDATE_AND_TIME": "LDT",
}
CODESYS_ALIASES = {"BIT": "BOOL", "__UXINT": "ULINT", "__XINT": "LINT", "__XWORD": "LWORD"}

BOOL = hir.Elementary(IecType.BOOL)
INT = hir.Elementary(IecType.INT)
DINT = hir.Elementary(IecType.DINT)
LINT = hir.Elementary(IecType.LINT)
UDINT = hir.Elementary(IecType.UDINT)
ULINT = hir.Elementary(IecType.ULINT)
BYTE = hir.Elementary(IecType.BYTE)
REAL = hir.Elementary(IecType.REAL)
LREAL = hir.Elementary(IecType.LREAL)
TIME = hir.Elementary(IecType.TIME)
LTIME = hir.Elementary(IecType.LTIME)
DATE = hir.Elementary(IecType.DATE)
TOD = hir.Elementary(IecType.TOD)
DT = hir.Elementary(IecType.DT)
CHAR = hir.Elementary(IecType.CHAR)
WCHAR = hir.Elementary(IecType.WCHAR)
STRING = hir.String(STRING_LENGTH_DEFAULT)
WSTRING = hir.String(STRING_LENGTH_DEFAULT, wide=True)

UNKNOWN = hir.Struct("?", ())
INT_LITERAL = hir.Elementary(IecType.LINT, "integer literal")
REAL_LITERAL = hir.Elementary(IecType.LREAL, "real literal")
VOID = hir.Struct("no value", ())
NULL = hir.Ref(hir.Struct("NULL", ()))
LITERALS = (INT_LITERAL, REAL_LITERAL)

SIGNED = (IecType.SINT, IecType.INT, IecType.DINT, IecType.LINT)
UNSIGNED = (IecType.USINT, IecType.UINT, IecType.UDINT, IecType.ULINT)
BITS = (IecType.BYTE, IecType.WORD, IecType.DWORD, IecType.LWORD)
REALS = (IecType.REAL, IecType.LREAL)
INTEGERS = SIGNED + UNSIGNED
DURATIONS = (IecType.TIME, IecType.LTIME)
DATES = (IecType.DATE, IecType.LDATE)
TODS = (IecType.TOD, IecType.LTOD)
DTS = (IecType.DT, IecType.LDT)
TIMES = DURATIONS + DATES + TODS + DTS
CHARS = (IecType.CHAR, IecType.WCHAR)

WIDTH: dict[IecType, int] = {IecType.BOOL: 1, **{
    kind: 8 << rank for ranks in (SIGNED, UNSIGNED, BITS) for rank, kind in enumerate(ranks)
}, IecType.REAL: 32, IecType.LREAL: 64, IecType.CHAR: 8, IecType.WCHAR: 16, **dict.fromkeys(TIMES, 64)}  # fmt: skip

RANGE: dict[IecType, tuple[int, int]] = {
    IecType.BOOL: (0, 1),
    **{kind: (-(1 << (WIDTH[kind] - 1)), (1 << (WIDTH[kind] - 1)) - 1) for kind in SIGNED + TIMES},
    **{kind: (0, (1 << WIDTH[kind]) - 1) for kind in UNSIGNED + BITS + CHARS},
}

# Generic families, IEC 61131-3:2013 figure 5.
FAMILIES: dict[str, frozenset[IecType]] = {
    "ANY_SIGNED": frozenset(SIGNED),
    "ANY_UNSIGNED": frozenset(UNSIGNED),
    "ANY_INT": frozenset(INTEGERS),
    "ANY_REAL": frozenset(REALS),
    "ANY_NUM": frozenset(INTEGERS + REALS),
    "ANY_DURATION": frozenset(DURATIONS),
    "ANY_MAGNITUDE": frozenset(INTEGERS + REALS + DURATIONS),
    "ANY_BIT": frozenset((IecType.BOOL, *BITS)),
    "ANY_DATE": frozenset(DATES + TODS + DTS),
    "ANY_CHAR": frozenset(CHARS),
    "ANY_STRING": frozenset((IecType.STRING, IecType.WSTRING)),
    "ANY_CHARS": frozenset((*CHARS, IecType.STRING, IecType.WSTRING)),
    "ANY_ELEMENTARY": frozenset(set(IecType) - {IecType.REF}),
}


class Fit(enum.Enum):
    """How a value goes into a place without an explicit conversion."""

    YES = "yes"
    LOSSY = "lossy"  # allowed, but precision or sign may be lost: a warning
    NO = "no"


def is_kind(kind: hir.Type, *members: IecType) -> bool:
    return isinstance(kind, hir.Elementary) and kind.type in members


def is_integer(kind: hir.Type) -> bool:
    return isinstance(kind, hir.Elementary) and kind.type in INTEGERS


def is_real(kind: hir.Type) -> bool:
    return isinstance(kind, hir.Elementary) and kind.type in REALS


def is_bits(kind: hir.Type) -> bool:
    """BYTE … LWORD, not BOOL."""
    return isinstance(kind, hir.Elementary) and kind.type in BITS


def is_bool(kind: hir.Type) -> bool:
    return isinstance(kind, hir.Elementary) and kind.type is IecType.BOOL


def is_aggregate(kind: hir.Type) -> bool:
    return isinstance(kind, hir.Array | hir.OpenArray | hir.Struct | hir.Instance) and kind is not UNKNOWN


def stripped(kind: hir.Type) -> hir.Type:
    """The type of a value read from a place of ``kind``: without alias name and subrange."""
    if isinstance(kind, hir.Elementary) and (kind.name or kind.low is not None) and kind not in LITERALS:
        return ELEMENTARY[kind.type.name]
    return kind


def iec_type(kind: hir.Type) -> IecType | None:
    """The elementary kind of a scalar or string (an enumeration's base), None for anything else."""
    if isinstance(kind, hir.Elementary):
        return kind.type
    if isinstance(kind, hir.String):
        return IecType.WSTRING if kind.wide else IecType.STRING
    if isinstance(kind, hir.Enum):
        return kind.base
    return IecType.REF if isinstance(kind, hir.Ref) else None


def in_family(kind: hir.Type, family: str) -> bool:
    """Whether ``kind`` belongs to a generic family (ANY_NUM …) or is the elementary type of that name."""
    if family == "ANY" or kind is UNKNOWN:
        return True
    if isinstance(kind, hir.Enum):
        return family == "ANY_ELEMENTARY"
    found = iec_type(kind)
    if found is None:
        return False
    members = FAMILIES.get(family)
    if members is not None:
        return found in members
    return found.name == family


def type_name(kind: hir.Type) -> str:
    """The type as people write it."""
    match kind:
        case hir.Elementary(low=int(low), high=high) if not kind.name:
            return f"{kind.type.name}({low}..{high})"
        case hir.Elementary():
            return kind.name or kind.type.name
        case hir.String():
            return f"{'W' if kind.wide else ''}STRING[{kind.length}]"
        case hir.Array():
            bounds = ", ".join(f"{low}..{high}" for low, high in kind.dims)
            return f"ARRAY[{bounds}] OF {type_name(kind.element)}"
        case hir.OpenArray():
            return f"ARRAY[{', '.join('*' * kind.rank)}] OF {type_name(kind.element)}"
        case hir.Ref() if kind == NULL:
            return "NULL"
        case hir.Ref():
            return f"REF_TO {type_name(kind.target)}"
        case hir.Instance():
            return kind.pou
        case hir.Enum() | hir.Struct() | hir.Interface():
            return kind.name
    return "?"


# ---------------------------------------------------------------- implicit conversions


def fit(source: hir.Type, target: hir.Type, dialect: str) -> Fit:
    """Whether a value of ``source`` may be stored in ``target`` as it is (IEC 61131-3:2013 figure 12)."""
    source, target = stripped(source), stripped(target)
    if source == target or UNKNOWN in (source, target):
        return Fit.YES
    if isinstance(source, hir.Elementary) and isinstance(target, hir.Elementary):
        verdict = _fit_elementary(source.type, target.type, dialect)
        numbers = INTEGERS + BITS + REALS
        if verdict is Fit.NO and dialect == "rusty" and source.type in numbers and target.type in numbers:
            return Fit.LOSSY  # RuSTy warns of a downcast and does it
        return verdict
    if isinstance(source, hir.String) and isinstance(target, hir.String):
        return Fit.YES if source.wide == target.wide else Fit.NO
    if isinstance(target, hir.String):
        return Fit.YES if is_kind(source, IecType.WCHAR if target.wide else IecType.CHAR) else Fit.NO
    if isinstance(source, hir.Ref) or isinstance(target, hir.Ref):
        return _fit_reference(source, target, dialect)
    if isinstance(source, hir.Enum) or isinstance(target, hir.Enum):
        return _fit_enum(source, target, dialect)
    if isinstance(source, hir.Array) and isinstance(target, hir.Array):
        return _fit_array(source, target)
    return Fit.NO


def _fit_elementary(source: IecType, target: IecType, dialect: str) -> Fit:
    loose = dialect != "iec"
    if source in INTEGERS and target in INTEGERS:
        return _fit_integer(source, target, loose)
    if source in BITS and target in BITS:
        return Fit.YES if WIDTH[source] <= WIDTH[target] else Fit.NO
    if source in INTEGERS and target in REALS:
        mantissa = 24 if target is IecType.REAL else 53
        return Fit.YES if loose or WIDTH[source] <= mantissa else Fit.LOSSY
    if source in REALS and target in REALS:
        return Fit.YES if target is IecType.LREAL or loose else Fit.LOSSY
    for short, long in (DURATIONS, DATES, TODS, DTS):
        if {source, target} == {short, long}:
            return Fit.YES if target is long or loose else Fit.LOSSY
    return _fit_loose(source, target) if loose else Fit.NO


def _fit_integer(source: IecType, target: IecType, loose: bool) -> Fit:
    low, high = RANGE[source]
    target_low, target_high = RANGE[target]
    if target_low <= low and high <= target_high:
        return Fit.YES
    same_width = WIDTH[source] <= WIDTH[target]
    return Fit.LOSSY if loose and same_width else Fit.NO


def _fit_loose(source: IecType, target: IecType) -> Fit:
    """What CODESYS converts silently: bit strings as unsigned integers, BOOL and bit strings, times as DWORD."""
    if source in BITS and target in INTEGERS:
        return Fit.YES if WIDTH[source] <= WIDTH[target] else Fit.NO
    if source in INTEGERS and target in BITS:
        return Fit.YES if WIDTH[source] <= WIDTH[target] else Fit.NO
    if source in BITS and target in REALS:
        return Fit.YES
    if source is IecType.BOOL and target in BITS + INTEGERS:
        return Fit.YES
    if source in CHARS and target in BITS + INTEGERS and WIDTH[source] <= WIDTH[target]:
        return Fit.YES
    if source in BITS and target in CHARS and WIDTH[source] <= WIDTH[target]:
        return Fit.YES
    return Fit.NO


def _fit_reference(source: hir.Type, target: hir.Type, dialect: str) -> Fit:
    loose = dialect != "iec"
    if isinstance(target, hir.Ref) and isinstance(source, hir.Ref):
        return Fit.YES if source == NULL or loose else Fit.NO
    other = source if isinstance(target, hir.Ref) else target
    number = isinstance(other, hir.Elementary) and WIDTH.get(other.type, 0) >= 32
    return Fit.YES if loose and number else Fit.NO


def _fit_enum(source: hir.Type, target: hir.Type, dialect: str) -> Fit:
    if isinstance(source, hir.Enum) and isinstance(target, hir.Enum):
        return Fit.NO
    if dialect == "iec" and not any(isinstance(kind, hir.Enum) and kind.named for kind in (source, target)):
        return Fit.NO
    if isinstance(source, hir.Enum):
        return fit(ELEMENTARY[source.base.name], target, dialect)
    assert isinstance(target, hir.Enum)
    return fit(source, ELEMENTARY[target.base.name], dialect)


def _fit_array(source: hir.Array, target: hir.Array) -> Fit:
    lengths = [[high - low for low, high in kind.dims] for kind in (source, target)]
    same = lengths[0] == lengths[1] and stripped(source.element) == stripped(target.element)
    return Fit.YES if same else Fit.NO


# ---------------------------------------------------------------- operators


def common(left: hir.Type, right: hir.Type, dialect: str) -> hir.Type | None:
    """The type in which two operands meet, None if they do not. Literal types count as fitting everything alike."""
    left, right = stripped(left), stripped(right)
    if UNKNOWN in (left, right):
        return UNKNOWN
    if left == right:
        return left
    if isinstance(left, hir.Elementary) and isinstance(right, hir.Elementary):
        return _common_elementary(left, right, dialect)
    if isinstance(left, hir.String) and isinstance(right, hir.String) and left.wide == right.wide:
        return left if left.length >= right.length else right
    for one, other in ((left, right), (right, left)):
        if fit(one, other, dialect) is not Fit.NO:
            return other
    return None


def _common_elementary(left: hir.Elementary, right: hir.Elementary, dialect: str) -> hir.Type | None:
    if left.type in INTEGERS and right.type in INTEGERS:
        return _common_integer(left, right, dialect)
    if left.type in REALS and right.type in INTEGERS + REALS:
        return LREAL if IecType.LREAL in (left.type, right.type) else left
    if right.type in REALS and left.type in INTEGERS:
        return right
    if dialect != "iec" and left.type in BITS + INTEGERS and right.type in BITS + INTEGERS:
        return _common_mixed(left, right, dialect)
    for one, other in ((left, right), (right, left)):
        if fit(one, other, dialect) is Fit.YES:
            return other
    return None


def _common_mixed(left: hir.Elementary, right: hir.Elementary, dialect: str) -> hir.Type | None:
    """A bit string and an integer, or two bit strings (CODESYS): bit strings count as unsigned integers."""
    if left.type in BITS and right.type in BITS:
        return left if WIDTH[left.type] >= WIDTH[right.type] else right
    return _common_integer(as_unsigned(left), as_unsigned(right), dialect)


def as_unsigned(kind: hir.Elementary) -> hir.Elementary:
    """The unsigned integer of a bit string's width; integers as they are."""
    return hir.Elementary(UNSIGNED[BITS.index(kind.type)]) if kind.type in BITS else kind


def _common_integer(left: hir.Elementary, right: hir.Elementary, dialect: str) -> hir.Type | None:
    both_signed = left.type in SIGNED and right.type in SIGNED
    both_unsigned = left.type in UNSIGNED and right.type in UNSIGNED
    wide = max(WIDTH[left.type], WIDTH[right.type])
    if both_signed or both_unsigned:
        return left if WIDTH[left.type] == wide else right
    signed, unsigned = (left, right) if left.type in SIGNED else (right, left)
    if WIDTH[signed.type] > WIDTH[unsigned.type]:
        return signed
    needed = 2 * WIDTH[unsigned.type]
    if needed <= 64:
        return next(hir.Elementary(kind) for kind in SIGNED if WIDTH[kind] == needed)
    return None if dialect == "iec" else LINT


def arithmetic_type(kind: hir.Type) -> hir.Type:
    """In what an integer operation is computed: at least 32 bits (see docs/language/semantics.md)."""
    if isinstance(kind, hir.Elementary) and kind.type in INTEGERS + BITS:
        return as_unsigned(kind) if WIDTH[kind.type] >= 32 else DINT
    return kind


def literal_type(value: int) -> hir.Type:
    """What an integer literal is where nothing else decides: the smallest of INT, DINT, LINT, ULINT that holds it."""
    for kind in (INT, DINT, LINT, ULINT):
        low, high = RANGE[kind.type]
        if low <= value <= high:
            return kind
    return UNKNOWN


def holds(kind: hir.Type, value: int) -> bool:
    """Whether an integer lies in the range (or subrange) of an elementary type."""
    if not isinstance(kind, hir.Elementary) or kind.type not in RANGE:
        return True
    low, high = RANGE[kind.type]
    if kind.low is not None and kind.high is not None:
        low, high = kind.low, kind.high
    return low <= value <= high


def wrapped(kind: hir.Type, value: int) -> int:
    """``value`` modulo the width of an integer, bit string, time or enumeration."""
    found = iec_type(kind)
    if found is None or found not in RANGE:
        return value
    if found is IecType.BOOL:
        return int(value != 0)
    low, _ = RANGE[found]
    return (value - low) % (1 << WIDTH[found]) + low


def same_layout(one: hir.Type, other: hir.Type) -> bool:
    """Whether a place of one type may be bound to a VAR_IN_OUT or reference of the other."""
    one, other = stripped(one), stripped(other)
    if UNKNOWN in (one, other) or one == other:
        return True
    if isinstance(one, hir.Array) and isinstance(other, hir.Array):
        return one.dims == other.dims and same_layout(one.element, other.element)
    return False
