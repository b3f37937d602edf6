"""Values between the block and OPC UA: nothing is lost, nothing wrong gets in."""

import datetime
import math

import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from drivers.opcua.types import INTEGER_RANGE, VARIANT_TYPE, from_ua, to_ua
from scan.abi import IecType, Symbol

INTEGERS = [kind for kind, variant in VARIANT_TYPE.items() if variant in INTEGER_RANGE and kind.name not in (
    "TIME", "TOD", "LTIME", "LTOD")]  # fmt: skip

BAD_RANGE = ua.StatusCodes.BadOutOfRange
BAD_TYPE = ua.StatusCodes.BadTypeMismatch


def symbol(kind: IecType, **more: object) -> Symbol:
    return Symbol(path="P.x", type=kind, offset=64, size=8, **more)  # type: ignore[arg-type]


@given(st.sampled_from(INTEGERS), st.data())
def test_integer_when_sent_and_written_back_then_is_the_same(kind: IecType, data: st.DataObject) -> None:
    low, high = INTEGER_RANGE[VARIANT_TYPE[kind]]
    value = data.draw(st.integers(low, high))
    assert from_ua(symbol(kind), to_ua(symbol(kind), value)) == (value, ua.StatusCodes.Good)


@given(st.integers(-(2**63) // 1_000_000 + 1, 2**63 // 1_000_000 - 1))
def test_time_when_written_in_milliseconds_then_is_kept_in_nanoseconds(milliseconds: int) -> None:
    variant = ua.Variant(milliseconds, ua.VariantType.Int64)
    assert from_ua(symbol(IecType.TIME), variant) == (milliseconds * 1_000_000, ua.StatusCodes.Good)
    assert to_ua(symbol(IecType.TIME), milliseconds * 1_000_000).Value == milliseconds


@given(st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)))
def test_date_and_time_when_written_then_comes_back_the_same(moment: datetime.datetime) -> None:
    moment = moment.replace(tzinfo=datetime.UTC)
    value, status = from_ua(symbol(IecType.DT), ua.Variant(moment, ua.VariantType.DateTime))
    assert status == ua.StatusCodes.Good
    assert to_ua(symbol(IecType.DT), value).Value == moment


@pytest.mark.parametrize(
    ("target", "variant", "status"),
    [
        (symbol(IecType.INT), ua.Variant(1, ua.VariantType.Int32), BAD_TYPE),
        (symbol(IecType.INT), ua.Variant([1, 2], ua.VariantType.Int16), BAD_TYPE),
        (symbol(IecType.INT, dims=((1, 3),)), ua.Variant([1], ua.VariantType.Int16), BAD_TYPE),
        (symbol(IecType.INT, dims=((1, 2),)), ua.Variant([1, 2], ua.VariantType.Int16), ua.StatusCodes.Good),
        (symbol(IecType.BOOL), ua.Variant(None, ua.VariantType.Null), BAD_TYPE),
        (symbol(IecType.REAL, low=0.0, high=10.0), ua.Variant(10.5, ua.VariantType.Float), BAD_RANGE),
        (symbol(IecType.REAL, low=0.0), ua.Variant(math.nan, ua.VariantType.Float), BAD_RANGE),
        (symbol(IecType.REAL, low=0.0, high=10.0), ua.Variant(10.0, ua.VariantType.Float), ua.StatusCodes.Good),
        (symbol(IecType.STRING, length=3), ua.Variant("four", ua.VariantType.String), BAD_RANGE),
        (symbol(IecType.INT, enum_values=(("a", 0),)), ua.Variant(2, ua.VariantType.Int32), BAD_RANGE),
        (symbol(IecType.TIME), ua.Variant(2**62, ua.VariantType.Int64), BAD_RANGE),
    ],
)  # fmt: skip
def test_write_when_type_rank_or_range_differ_then_is_refused(
    target: Symbol, variant: ua.Variant, status: int
) -> None:
    assert from_ua(target, variant)[1] == status
