"""Retained values survive crashes, torn writes and changes of the program; damage is never silent."""

import mmap
import os
import pathlib
import random
import signal
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.retain import SLOTS, RetainStore
from scan.abi import ABI_VERSION, Application, IecType, Region, Symbol


def application(*symbols: Symbol, size: int = 256) -> Application:
    nothing = Region(64, 0)
    return Application(
        ABI_VERSION,
        "test",
        "d1",
        "any",
        size,
        nothing,
        nothing,
        nothing,
        nothing,
        bytes(size),
        symbols,
        (),
        (),
        (),
        b"",
    )


COUNT = Symbol("P.count", IecType.DINT, offset=64, size=4, retain=True)
TEXT = Symbol("P.text", IecType.STRING, offset=72, size=9, length=8, retain=True)
BIT = Symbol("P.bit", IecType.BOOL, offset=90, size=1, bit=3, retain=True)
LOST = Symbol("P.temporary", IecType.DINT, offset=96, size=4)
PROGRAM = application(COUNT, TEXT, BIT, LOST)


def block_with(count: int) -> np.ndarray:
    block = np.zeros(256, np.uint8)
    block[64:68] = np.frombuffer(np.int32(count).tobytes(), np.uint8)
    block[72:75] = np.frombuffer(b"abc", np.uint8)
    block[90] = 1 << 3
    return block


def restored_count(store: RetainStore, program: Application = PROGRAM) -> int | None:
    pairs = dict(store.load(program).pairs)
    offset = next(symbol.offset for symbol in program.symbols if symbol.path == "P.count")
    return int(np.frombuffer(pairs[offset], np.int32)[0]) if offset in pairs else None


def test_values_when_saved_then_a_new_store_restores_them(tmp_path: pathlib.Path) -> None:
    RetainStore(tmp_path).save(PROGRAM, block_with(42), scan=7, wall_ns=9)
    restored = RetainStore(tmp_path).load(PROGRAM)
    assert restored.scan == 7
    assert dict(restored.pairs)[72] == b"abc" + bytes(6)
    assert restored.bits == ((90, 3, True),)
    assert restored_count(RetainStore(tmp_path)) == 42
    assert all(offset != LOST.offset for offset, _ in restored.pairs), "only retained variables are kept"


def test_values_when_unchanged_then_are_not_written_again(tmp_path: pathlib.Path) -> None:
    store = RetainStore(tmp_path)
    assert store.save(PROGRAM, block_with(1), 1, 1)
    assert not store.save(PROGRAM, block_with(1), 2, 2)
    assert store.save(PROGRAM, block_with(2), 3, 3)


def test_values_when_layout_changes_then_follow_path_and_type(tmp_path: pathlib.Path) -> None:
    RetainStore(tmp_path).save(PROGRAM, block_with(42), 1, 1)
    moved = application(
        Symbol("p.COUNT", IecType.DINT, offset=200, size=4, retain=True),
        Symbol("P.text", IecType.STRING, offset=72, size=5, length=4, retain=True),
    )
    restored = RetainStore(tmp_path).load(moved)
    assert dict(restored.pairs) == {200: np.int32(42).tobytes()}
    assert set(restored.dropped) == {"P.text", "P.bit"}, (
        "another length is another type; a missing one is named"
    )


def test_values_when_a_variable_is_renamed_then_it_goes_on_under_its_new_path(tmp_path: pathlib.Path) -> None:
    RetainStore(tmp_path).save(PROGRAM, block_with(42), 1, 1)
    new = application(Symbol("P.number", IecType.DINT, offset=200, size=4, retain=True), BIT)
    restored = RetainStore(tmp_path).load(new, [("p.count", "P.Number"), ("P.bit", "P.other")])
    assert dict(restored.pairs) == {200: np.int32(42).tobytes()}
    assert restored.bits == ((90, 3, True),), "what still has its path keeps it"
    assert restored.dropped == ("P.text",)
    RetainStore(tmp_path).save(new, block_with(0), 2, 2)
    again = RetainStore(tmp_path).load(new, [("P.count", "P.number")])
    assert dict(again.pairs) == {200: bytes(4)}, "a rename that is done changes nothing"


@pytest.mark.parametrize(("damaged", "left"), [(SLOTS[0], 1), (SLOTS[1], 2)])
def test_slot_when_corrupt_then_the_other_counts(tmp_path: pathlib.Path, damaged: str, left: int) -> None:
    store = RetainStore(tmp_path)
    store.save(PROGRAM, block_with(1), 1, 1)
    store.save(PROGRAM, block_with(2), 2, 2)
    path = tmp_path / damaged
    data = bytearray(path.read_bytes())
    data[-1] ^= 0xFF
    path.write_bytes(data)
    assert restored_count(RetainStore(tmp_path)) == left
    again = RetainStore(tmp_path)
    again.save(PROGRAM, block_with(3), 3, 3)
    assert restored_count(RetainStore(tmp_path)) == 3


def test_slots_when_both_corrupt_then_is_a_problem_and_never_initial_values(tmp_path: pathlib.Path) -> None:
    for name in SLOTS:
        (tmp_path / name).write_bytes(b"garbage")
    restored = RetainStore(tmp_path).load(PROGRAM)
    assert [problem.code for problem in restored.problems] == ["PL5001"]


def test_write_when_cut_at_every_byte_then_the_last_whole_value_is_there(tmp_path: pathlib.Path) -> None:
    """A power cut leaves a prefix of the new bytes over the old ones; whatever the length, one slot is whole."""
    store = RetainStore(tmp_path)
    store.save(PROGRAM, block_with(1), 1, 1)
    store.save(PROGRAM, block_with(2), 2, 2)
    before = {name: (tmp_path / name).read_bytes() for name in SLOTS}
    store.save(PROGRAM, block_with(3), 3, 3)
    after = {name: (tmp_path / name).read_bytes() for name in SLOTS}
    (written,) = [name for name in SLOTS if before[name] != after[name]]
    for cut in range(len(after[written]) + 1):
        torn = after[written][:cut] + before[written][cut:]
        (tmp_path / written).write_bytes(torn)
        assert restored_count(RetainStore(tmp_path)) == (3 if torn == after[written] else 2)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(data=st.binary(max_size=400), other=st.binary(max_size=400))
def test_slots_when_any_bytes_then_loading_never_raises(
    tmp_path: pathlib.Path, data: bytes, other: bytes
) -> None:
    (tmp_path / SLOTS[0]).write_bytes(data)
    (tmp_path / SLOTS[1]).write_bytes(b"TWRETAIN" + other)
    restored = RetainStore(tmp_path).load(PROGRAM)
    assert restored.empty
    assert restored.problems


def save_for_ever(directory: pathlib.Path, first: int, saved: mmap.mmap) -> None:
    """A child's work: counts up, and shows each number once it is safe."""
    store, number = RetainStore(directory), first
    while True:
        number += 1
        store.save(PROGRAM, block_with(number), scan=number, wall_ns=0)
        saved[:8] = number.to_bytes(8, "little")


def kill_while_saving(directory: pathlib.Path, kills: int, seed: int) -> None:
    """Kills a saving process at random moments; whatever it had reported as saved is there afterwards."""
    chance, shown = random.Random(seed), mmap.mmap(-1, 8)
    at = 0
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            try:
                save_for_ever(directory, at, shown)
            finally:
                os._exit(1)
        time.sleep(chance.uniform(0.0005, 0.008))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        reported = int.from_bytes(shown[:8], "little")
        restored = RetainStore(directory).load(PROGRAM)
        assert restored.problems == ()
        assert (restored_count(RetainStore(directory)) or 0) in (reported, reported + 1)
        at = restored_count(RetainStore(directory)) or 0
        shown[:8] = at.to_bytes(8, "little")
    assert at > kills // 4


def test_values_when_the_saver_is_killed_at_any_moment_then_nothing_reported_is_lost(
    tmp_path: pathlib.Path,
) -> None:
    kill_while_saving(tmp_path, 300, seed=1)


@pytest.mark.soak
def test_values_when_the_saver_is_killed_thousands_of_times_then_nothing_reported_is_lost(
    tmp_path: pathlib.Path,
) -> None:
    kill_while_saving(tmp_path, 5000, seed=2)
