"""Packed notifications say exactly what a plain model of queue and deadband says, read by asyncua's own decoder."""

import math

import numpy as np
import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.opcua.columns import OVERFLOW_BITS, Item, ItemSet, Stamps, notification
from drivers.opcua.types import VARIANT_TYPE, to_datetime
from scan.abi import NUMPY_TYPE, IecType, Symbol

SIZE = 512
BAD = 0x8031_0000


def decode(count: int, data: bytes) -> list[ua.MonitoredItemNotification]:
    packed = notification([(count, data)])
    if packed is None:
        return []
    return list(struct_from_binary(ua.DataChangeNotification, Buffer(packed.Body)).MonitoredItems)


def item(number: int, kind: IecType, offset: int, **more: object) -> Item:
    size = np.dtype(NUMPY_TYPE[kind]).itemsize
    symbol = Symbol(f"P.v{number}", kind, offset=offset, size=size)
    return Item(number, symbol, client_handle=1000 + number, **more)  # type: ignore[arg-type]


def sample(
    items: ItemSet, block: np.ndarray, codes: list[int] | None = None, wall_ns: int = 1_000_000_000
) -> None:
    status = np.array(codes or [0] * len(items.items), np.uint32)
    items.sample(block, status, wall_ns)


NUMBERS = [
    kind for kind in NUMPY_TYPE if kind not in (IecType.BOOL, IecType.REF, IecType.REAL, IecType.LREAL)
    and kind not in range(IecType.TIME, IecType.LDT + 1)
]  # fmt: skip


@given(st.sampled_from(NUMBERS), st.data())
def test_number_when_sampled_then_arrives_with_its_type_and_exact_value(
    kind: IecType, data: st.DataObject
) -> None:
    info = np.iinfo(NUMPY_TYPE[kind])
    value = data.draw(st.integers(int(info.min), int(info.max)))
    block = np.zeros(SIZE, np.uint8)
    block[64 : 64 + info.bits // 8] = np.frombuffer(np.array([value], NUMPY_TYPE[kind]).tobytes(), np.uint8)
    items = ItemSet([item(1, kind, 64)], Stamps(source=True, server=True))
    sample(items, block, wall_ns=1_700_000_000_123_456_700)
    (one,) = decode(*items.take(0))
    assert (one.ClientHandle, one.Value.Value.Value) == (1001, value)
    assert one.Value.Value.VariantType == VARIANT_TYPE[kind]
    assert one.Value.SourceTimestamp == one.Value.ServerTimestamp == to_datetime(1_700_000_000_123_456_000)


def test_times_and_bits_when_sampled_then_arrive_in_their_units() -> None:
    block = np.zeros(SIZE, np.uint8)
    block[64:72] = np.frombuffer(np.int64(-1_500_000).tobytes(), np.uint8)
    block[80] = 0b0100
    bit = Item(2, Symbol("P.b", IecType.BOOL, offset=80, size=1, bit=2), 1002)
    items = ItemSet([item(1, IecType.TIME, 64), bit], Stamps())
    sample(items, block)
    values = {one.ClientHandle: one.Value.Value.Value for one in decode(*items.take(0))}
    assert values == {1001: -1, 1002: True}


def test_value_when_unchanged_then_is_not_reported_again_but_its_status_is() -> None:
    block = np.zeros(SIZE, np.uint8)
    items = ItemSet([item(1, IecType.INT, 64)], Stamps())
    for code, expected in ((0, 1), (0, 0), (BAD, 1), (BAD, 0), (0, 1)):
        sample(items, block, [code])
        found = decode(*items.take(0))
        assert len(found) == expected
        assert all(one.Value.StatusCode.value == code for one in found)
        assert all(
            (one.Value.Value is None or one.Value.Value.Value is None) == (code == BAD) for one in found
        )


def test_deadband_when_a_ramp_is_slow_then_counts_from_the_last_reported_value() -> None:
    block = np.zeros(SIZE, np.uint8)
    items = ItemSet([item(1, IecType.LREAL, 64, deadband=1.0)], Stamps())
    reported = []
    for step in range(100):
        block[64:72] = np.frombuffer(np.float64(step * 0.25).tobytes(), np.uint8)
        sample(items, block)
        reported += [one.Value.Value.Value for one in decode(*items.take(0))]
    assert reported == [0.0, *(1.25 * number for number in range(1, 20))]


def test_nan_when_it_stays_then_is_reported_once() -> None:
    block = np.zeros(SIZE, np.uint8)
    block[64:68] = np.frombuffer(np.float32(math.nan).tobytes(), np.uint8)
    items = ItemSet([item(1, IecType.REAL, 64)], Stamps())
    for _ in range(3):
        sample(items, block)
    assert len(decode(*items.take(0))) == 1


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=4),
    samples=st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), max_size=12),
    limit=st.integers(0, 5),
)
def test_queue_when_it_overflows_then_matches_the_model(
    sizes: list[tuple[int, bool]], samples: list[list[int]], limit: int
) -> None:
    kinds = [IecType.INT, IecType.DINT]
    members = [
        item(number, kinds[number % 2], 64 + 8 * number, queue_size=size, discard_oldest=oldest)
        for number, (size, oldest) in enumerate(sizes)
    ]
    items = ItemSet(members, Stamps())
    queues: list[list[tuple[int, bool]]] = [[] for _ in members]
    last: list[int | None] = [None] * len(members)
    for values in samples:
        block = np.zeros(SIZE, np.uint8)
        for number in range(len(members)):
            block[64 + 8 * number] = values[number]
            if last[number] != values[number]:
                last[number] = values[number]
                _enqueue(queues[number], values[number], *sizes[number])
        sample(items, block)
    found: list[list[tuple[int, bool]]] = [[] for _ in members]
    while items.has_pending():
        for one in decode(*items.take(limit)):
            overflow = one.Value.StatusCode.value & OVERFLOW_BITS == OVERFLOW_BITS
            found[one.ClientHandle - 1000].append((one.Value.Value.Value, overflow))
    assert found == queues


def _enqueue(queue: list[tuple[int, bool]], value: int, size: int, discard_oldest: bool) -> None:
    """OPC 10000-4 §5.13.1.5 and §7.39.1, the plain way; all marks are judged when the queue is read."""
    queue.append((value, False))
    if len(queue) <= size:
        return
    if discard_oldest:
        queue.pop(0)
        queue[0] = (queue[0][0], size > 1)
    else:
        queue.pop(-2)
        queue[-1] = (value, size > 1)


@pytest.mark.parametrize("count", [10_000])
def test_set_when_ten_thousand_items_change_then_all_arrive(count: int) -> None:
    members = [item(number, IecType.DINT, 64 + 4 * number) for number in range(count)]
    items = ItemSet(members, Stamps())
    block = np.zeros(64 + 4 * count, np.uint8)
    block[64:].view("<i4")[:] = np.arange(count)
    sample(items, block)
    number, data = items.take(0)
    assert number == count
    found = decode(number, data)
    assert [one.Value.Value.Value for one in found] == list(range(count))
