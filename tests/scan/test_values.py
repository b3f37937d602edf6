"""Values of symbols: bytes, Python and IEC literals, there and back."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scan import IecType, Symbol, TickworkError, encode_value, format_value, parse_literal, read_value
from scan.abi import NUMPY_TYPE
from scan.values import Value

INTEGERS = [
    kind for kind in IecType if kind in NUMPY_TYPE and NUMPY_TYPE[kind][-2] in "iu" and kind != IecType.BOOL
]
PLAIN_INTEGERS = [kind for kind in INTEGERS if kind <= IecType.LWORD]
TIMES = [IecType.TIME, IecType.LTIME]
DAY_NS = 86_400_000_000_000


def symbol(kind: IecType, **changes: object) -> Symbol:
    size = np.dtype(NUMPY_TYPE[kind]).itemsize if kind in NUMPY_TYPE else 0
    return Symbol("P.x", kind, 64, changes.pop("size", size), **changes)  # type: ignore[arg-type]


def round_trip(one: Symbol, value: Value) -> Value:
    block = bytes(one.offset) + encode_value(one, value)
    return read_value(block, one)


def limits(kind: IecType) -> tuple[int, int]:
    info = np.iinfo(NUMPY_TYPE[kind])
    return int(info.min), int(info.max)


@given(st.sampled_from(INTEGERS), st.data())
def test_integer_when_in_range_then_bytes_and_literal_give_it_back(
    kind: IecType, data: st.DataObject
) -> None:
    low, high = limits(kind)
    one = symbol(kind)
    value = data.draw(st.integers(low, high))
    assert round_trip(one, value) == value
    if kind in PLAIN_INTEGERS or kind in TIMES:
        assert parse_literal(one, format_value(one, value)) == value


@pytest.mark.parametrize("kind", PLAIN_INTEGERS)
def test_integer_when_out_of_range_then_refused(kind: IecType) -> None:
    low, high = limits(kind)
    for value in (low - 1, high + 1):
        with pytest.raises(TickworkError, match="SC2003"):
            encode_value(symbol(kind), value)


@given(st.floats())
def test_lreal_when_any_then_bytes_and_literal_give_it_back(value: float) -> None:
    one = symbol(IecType.LREAL)
    for result in (round_trip(one, value), parse_literal(one, format_value(one, value))):
        assert result == value or (math.isnan(value) and math.isnan(result))  # type: ignore[arg-type]


@given(st.floats(width=32))
def test_real_when_any_then_literal_gives_it_back(value: float) -> None:
    one = symbol(IecType.REAL)
    result = parse_literal(one, format_value(one, value))
    assert isinstance(result, float)
    assert struct.pack("<f", result) == struct.pack("<f", value) or (math.isnan(value) and math.isnan(result))


def test_real_when_too_large_then_refused() -> None:
    with pytest.raises(TickworkError, match="SC2003"):
        encode_value(symbol(IecType.REAL), 1e39)


@given(st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=20))
def test_string_when_any_text_then_bytes_and_literal_give_it_back(text: str) -> None:
    one = symbol(IecType.STRING, size=21, length=20)
    assert round_trip(one, text) == text
    assert parse_literal(one, format_value(one, text)) == text


@given(st.text(st.characters(min_codepoint=1, max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=20))
def test_wstring_when_any_text_then_bytes_and_literal_give_it_back(text: str) -> None:
    one = symbol(IecType.WSTRING, size=42, length=20)
    assert round_trip(one, text) == text
    assert parse_literal(one, format_value(one, text)) == text


@pytest.mark.parametrize("value", ["x" * 21, "a\0b", "€", 5, None])
def test_string_when_it_does_not_fit_then_refused(value: object) -> None:
    with pytest.raises(TickworkError, match="SC2003"):
        encode_value(symbol(IecType.STRING, size=21, length=20), value)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (IecType.BOOL, "TRUE", True),
        (IecType.BOOL, "bool#0", False),
        (IecType.INT, "-1_000", -1000),
        (IecType.INT, "INT#16#7F", 127),
        (IecType.WORD, "16#FF", 255),
        (IecType.BYTE, "2#1010_0101", 0xA5),
        (IecType.REAL, "-1.5E3", -1500.0),
        (IecType.LREAL, "12", 12.0),
        (IecType.TIME, "T#1m30s", 90_000_000_000),
        (IecType.TIME, "TIME#-1.5s", -1_500_000_000),
        (IecType.LTIME, "LT#1d2h3m4s5ms6us7ns", 93_784_005_006_007),
        (IecType.DATE, "D#1970-01-02", DAY_NS),
        (IecType.TOD, "TOD#15:36:55.36", 56_215_360_000_000),
        (IecType.DT, "DT#1970-01-02-00:00:01", DAY_NS + 1_000_000_000),
        (IecType.STRING, "'it$'s $41$N'", "it's A\n"),
        (IecType.CHAR, "'A'", 65),
    ],
)
def test_literal_when_written_as_iec_says_then_read(kind: IecType, text: str, value: object) -> None:
    one = symbol(kind, size=21, length=20) if kind == IecType.STRING else symbol(kind)
    assert parse_literal(one, text) == value
    assert parse_literal(one, format_value(one, parse_literal(one, text))) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (IecType.BOOL, "2"), (IecType.BOOL, "INT#1"), (IecType.INT, "40000"), (IecType.INT, "3#12"),
        (IecType.INT, "1.5"), (IecType.INT, ""), (IecType.REAL, "abc"), (IecType.TIME, "5"), (IecType.TIME, "T#5x"),
        (IecType.TIME, "T#"), (IecType.DATE, "D#2024-02-30"), (IecType.TOD, "TOD#25:00:00"),
        (IecType.DT, "DT#2024-01-01"), (IecType.CHAR, "'AB'"),
    ],
)  # fmt: skip
def test_literal_when_wrong_then_refused_with_what_is_expected(kind: IecType, text: str) -> None:
    with pytest.raises(TickworkError, match="SC2003") as caught:
        parse_literal(symbol(kind), text)
    assert caught.value.problems[0].expected


@given(st.sampled_from([kind for kind in IecType if kind != IecType.REF]), st.text(max_size=30))
def test_literal_when_any_text_then_a_value_or_the_one_error(kind: IecType, text: str) -> None:
    one = symbol(kind, size=22, length=10) if kind in (IecType.STRING, IecType.WSTRING) else symbol(kind)
    try:
        value = parse_literal(one, text)
    except TickworkError as error:
        assert error.code == "SC2003"
    else:
        assert len(encode_value(one, value)) == one.size


def test_array_when_read_and_written_then_flat_list() -> None:
    one = symbol(IecType.INT, size=12, dims=((1, 2), (0, 2)))
    assert round_trip(one, [1, 2, 3, 4, 5, -6]) == [1, 2, 3, 4, 5, -6]
    assert parse_literal(one, format_value(one, [1, 2, 3, 4, 5, -6])) == [1, 2, 3, 4, 5, -6]
    for value in ([1], 5, "123456"):
        with pytest.raises(TickworkError, match="SC2003"):
            encode_value(one, value)


@given(
    st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=5), min_size=3, max_size=3)
)
def test_array_of_texts_when_formatted_then_read_back(texts: list[str]) -> None:
    one = symbol(IecType.STRING, size=18, length=5, dims=((1, 3),))
    assert parse_literal(one, format_value(one, texts)) == texts


def test_enumeration_when_named_then_number_and_back() -> None:
    one = symbol(IecType.INT, enum_values=(("Off", 0), ("Auto", 5)))
    assert parse_literal(one, "auto") == 5
    assert parse_literal(one, "E_Mode#Auto") == 5
    assert format_value(one, 5) == "Auto"
    assert format_value(one, 3) == "3"


@pytest.mark.parametrize("bit", range(8))
def test_bit_when_read_then_only_its_own(bit: int) -> None:
    one = symbol(IecType.BOOL, bit=bit)
    assert read_value(bytes(64) + bytes([1 << bit]), one) is True
    assert read_value(bytes(64) + bytes([0xFF & ~(1 << bit)]), one) is False


def test_read_when_block_is_too_short_then_refused() -> None:
    with pytest.raises(TickworkError, match="SC2003"):
        read_value(bytes(10), symbol(IecType.LINT))
