"""What is checked when a program is loaded, and the tables that are made for the engine."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scan import Application, IecType, Symbol, TaskSpec, TickworkError, VirtualEngine
from scan.abi import Region
from scan.program import (
    SafeValue,
    all_tasks,
    check_application,
    make_area,
    make_safe_image,
    owned_regions,
)
from scan.realtime import FIFO_TASK_MAX, FIFO_TASK_MIN, examine, fifo_priorities
from tests.scan.test_virtual import two_tasks
from tests.scan.toy import counter

GOOD = counter().build()


def changed(**changes: object) -> Application:
    return msgspec.structs.replace(GOOD, **changes)


TASK = TaskSpec("Main", "main", period_ns=1_000_000)


@pytest.mark.parametrize(
    "application",
    [
        changed(abi=99),
        changed(block_size=8),
        changed(block_size=1 << 40),
        changed(image=b""),
        changed(inputs=Region(-8, 8)),
        changed(outputs=Region(64, 1 << 30)),
        changed(shared=Region(64, -1)),
        changed(symbols=(Symbol("x", IecType.LINT, GOOD.block_size - 4, 8),)),
        changed(tasks=()),
        changed(tasks=(TASK, TASK)),
        changed(tasks=tuple(TaskSpec(f"T{n}", "main") for n in range(40))),
        changed(tasks=(TaskSpec("_tick", "main"),)),
        changed(tasks=(TaskSpec("Main", "main", period_ns=0),)),
        changed(tasks=(TaskSpec("Main", "main", kind="sometimes"),)),
        changed(tasks=(TaskSpec("Main", "main", kind="event", event="Nothing"),)),
        changed(tasks=(TaskSpec("Main", "main", kind="event", event="Count"),)),
        changed(tasks=(TaskSpec("Main", "main", writes=(Region(0, 1 << 30),)),)),
    ],
)
def test_application_when_it_contradicts_itself_then_refused(application: Application) -> None:
    with pytest.raises(TickworkError, match="SC3003"):
        check_application(application)


def test_application_when_its_code_is_of_another_machine_or_damaged_then_refused() -> None:
    damaged = changed(object_code=msgspec.msgpack.encode([b"no object file"]))
    for application in (changed(target="riscv64 z80 toy"), damaged):
        with pytest.raises(TickworkError, match="SC3002"):
            VirtualEngine(application)


def test_tasks_when_none_ticks_then_one_that_does() -> None:
    event = TaskSpec("Main", "main", kind="event", event="Flag", priority=3)
    tasks = all_tasks(changed(tasks=(event,)))
    assert [task.kind for task in tasks] == ["event", "cyclic"]
    assert tasks[1].priority > event.priority
    assert all_tasks(GOOD) == GOOD.tasks


def test_owned_when_two_tasks_then_regions_cover_each_and_do_not_meet() -> None:
    application = two_tasks().build()
    covered = np.zeros(application.block_size, np.int8)
    for task in application.tasks:
        for start, size in owned_regions(application, task.name):
            covered[start : start + size] += 1
    assert covered.max() == 1
    for symbol in application.symbols:
        assert covered[symbol.offset] == (1 if symbol.owner else 0)


# ---------------------------------------------------------------- safe values


def test_safe_when_bits_and_bytes_then_image_and_mask() -> None:
    image, mask = make_safe_image(
        4, [SafeValue(0, b"\x01", bit=3), SafeValue(0, b"\x00", bit=4), SafeValue(2, b"\xaa\xbb")]
    )
    assert image[:4].tobytes() == b"\x08\x00\xaa\xbb"
    assert mask[:4].tobytes() == b"\x18\x00\xff\xff"


@pytest.mark.parametrize(
    "value",
    [
        SafeValue(4, b"\0"),
        SafeValue(3, b"\0\0"),
        SafeValue(-1, b"\0"),
        SafeValue(0, b""),
        SafeValue(0, b"\1", 8),
    ],
)
def test_safe_when_outside_the_outputs_then_refused(value: SafeValue) -> None:
    with pytest.raises(TickworkError, match="SC3007"):
        make_safe_image(4, [value])


# ---------------------------------------------------------------- memory and machine


@given(st.integers(0, 5000))
def test_area_when_made_then_on_a_cache_line_and_zero(size: int) -> None:
    area = make_area(size)
    assert area.ctypes.data % 64 == 0
    assert len(area) >= size and not area.any()


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=100))
def test_priorities_when_mapped_then_order_is_kept_and_zero_is_highest(priorities: list[int]) -> None:
    mapped = fifo_priorities(priorities)
    ordered = [mapped[priority] for priority in sorted(set(priorities))]
    assert ordered == sorted(ordered, reverse=True)
    assert ordered[0] == FIFO_TASK_MAX and ordered[-1] >= FIFO_TASK_MIN


def test_machine_when_examined_then_each_wish_is_answered_and_what_is_refused_has_a_remedy() -> None:
    grants = examine()
    assert len({grant.name for grant in grants}) == len(grants)
    assert all(grant.detail for grant in grants)
    refused = [grant for grant in grants if not grant.granted and "throttling" not in grant.name]
    assert all(grant.remedy for grant in refused)


def test_retained_when_started_warm_then_only_retain_variables_and_single_bits_come_back() -> None:
    toy = counter()
    symbols = tuple(
        msgspec.structs.replace(symbol, retain=symbol.path == "Level") for symbol in toy.build().symbols
    )
    outputs = toy.build().outputs.offset
    bit = Symbol("Bit", IecType.BOOL, outputs + 8, 1, bit=2, retain=True)
    engine = VirtualEngine(msgspec.structs.replace(toy.build(), symbols=(*symbols, bit)))
    engine.write("Level", 70)
    engine.write("Mark", 71)
    engine.block[outputs + 8] = 0xFF
    program = engine._program
    program.reset(program.retained())
    assert (engine.read("Level"), engine.read("Mark")) == (70, 5)
    assert engine.block[outputs + 8] == 0b100
