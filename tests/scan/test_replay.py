"""Record and replay: what a run recorded, run again, ends in the same state bit for bit."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scan import IecType, TaskSpec, TickworkError, VirtualEngine
from scan import layout as w
from scan.abi import Region
from scan.native import load_engine
from scan.program import address_of, make_words
from tests.scan.test_virtual import two_tasks
from tests.scan.toy import Toy, counter, load, store

MS = 1_000_000


class Ring:
    """A records ring in memory, listening."""

    def __init__(self, engine: VirtualEngine) -> None:
        self.words = make_words((w.RECORDS_HEADER_SIZE + w.RECORDS_CAPACITY) // 8)
        self.words[w.R_ENABLED] = 1
        engine._memory.words[w.E_RECORDS] = address_of(self.words)

    def drain(self) -> bytes:
        head, tail = int(self.words[w.R_HEAD]), int(self.words[w.R_TAIL])
        places = np.arange(head // 8, tail // 8) % (w.RECORDS_CAPACITY // 8)
        self.words[w.R_HEAD] = tail
        return self.words[w.RECORDS_HEADER_SIZE // 8 + places].tobytes()


STEPS = st.one_of(
    st.tuples(st.just("scan"), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("hold"), st.integers(0, 0)),
    st.tuples(st.just("force"), st.integers(-(2**31), 2**31)),
    st.tuples(st.just("release"), st.integers(0, 0)),
    st.tuples(st.just("lease"), st.integers(1, 5)),
)


def act(engine: VirtualEngine, step: tuple[str, int], now_ns: int, task: str) -> None:
    kind, number = step
    if kind == "force":
        engine.force("In", number)
    elif kind == "release":
        engine.unforce("In")
    elif kind == "lease":
        engine.force("Out", 7, lease_ns=number * MS)
    inputs = number.to_bytes(8, "little", signed=True) if kind == "scan" else None
    engine.scan(now_ns, inputs=inputs, wall_ns=now_ns + 5, task=task)


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(STEPS, min_size=1, max_size=40), several=st.booleans())
def test_replay_when_any_run_was_recorded_then_the_state_is_the_same_bit_for_bit(
    steps: list[tuple[str, int]], several: bool
) -> None:
    toy = two_tasks() if several else counter()
    engine, again = (VirtualEngine(toy.build(), native=load_engine()) for _ in range(2))
    ring = Ring(engine)
    for number, step in enumerate(steps):
        task = ("Fast", "Slow")[number % 3 == 2] if several else ""
        act(engine, step, number * MS, task)
    records = ring.drain()
    assert again.replay(records) == len(records)
    again.flush()
    assert again.digest() == engine.digest()
    assert again.scan_count == engine.scan_count


def test_replay_when_started_at_a_checkpoint_then_the_rest_is_the_same() -> None:
    engine, again = (VirtualEngine(counter().build()) for _ in range(2))
    ring = Ring(engine)
    engine.force("In", 5, lease_ns=20 * MS)
    for scan in range(10):
        engine.scan(scan * MS, inputs=scan.to_bytes(8, "little"))
    ring.drain()
    true_inputs = engine._program.inputs_good().tobytes()
    forces = engine._program._forces[: w.FORCE_SIZE].tobytes()
    again.restore(engine.block.tobytes(), forces=forces, inputs=true_inputs, scan=10)
    for scan in range(10, 40):
        engine.scan(scan * MS, inputs=(scan // 7).to_bytes(8, "little"))
    records = ring.drain()
    assert again.replay(records) == len(records)
    assert again.digest() == engine.digest()


def test_replay_when_a_fault_was_recorded_then_it_happens_again_and_replay_stops_there() -> None:
    engine, again = (VirtualEngine(counter().build()) for _ in range(2))
    ring = Ring(engine)
    for one in (engine, again):
        one.write("Fault", 0)
    engine.scan(0)
    engine.write("Fault", 1)
    assert engine.scan(MS).fault is not None
    records = ring.drain()
    again.write("Fault", 1)
    consumed = again.replay(records)
    assert consumed < len(records)
    assert again.last_fault is not None and again.last_fault.code == "RF1001"


def test_ring_when_full_then_records_are_dropped_counted_and_the_next_is_full() -> None:
    toy = counter()
    engine = VirtualEngine(toy.build())
    ring = Ring(engine)
    engine.scan(0)
    size = len(ring.drain())
    ring.words[w.R_HEAD] = ring.words[w.R_TAIL] - w.RECORDS_CAPACITY + 8
    engine.scan(MS)
    assert ring.words[w.R_LOST] == 1
    ring.words[w.R_HEAD] = ring.words[w.R_TAIL]
    engine.scan(2 * MS)
    record = np.frombuffer(ring.drain(), np.int64)
    assert record[w.RECORD_HEAD_WORDS + 1] & w.RECORD_FLAG_FULL
    assert len(record) * 8 == size
    engine.scan(3 * MS)
    assert len(ring.drain()) < size


def test_ring_when_nobody_listens_then_nothing_is_written() -> None:
    engine = VirtualEngine(counter().build())
    ring = Ring(engine)
    ring.words[w.R_ENABLED] = 0
    engine.scan(0)
    assert ring.words[w.R_TAIL] == 0


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=400), kind=st.integers(0, 6), length=st.integers(-10, 60))
def test_replay_when_bytes_are_no_records_then_it_stops_and_harms_nothing(
    data: bytes, kind: int, length: int
) -> None:
    engine = shared_engine()
    head = np.array([length * 8 << 8 | kind, 1, 0, 5], np.int64).tobytes()
    consumed = engine.replay(head + data)
    assert 0 <= consumed <= len(head) + len(data)
    engine.flush()
    engine.reset()
    assert engine.scan(0).fault is None


_SHARED: list[VirtualEngine] = []


def shared_engine() -> VirtualEngine:
    if not _SHARED:
        _SHARED.append(VirtualEngine(counter().build()))
    return _SHARED[0]


@pytest.mark.parametrize("size", [0, 8, 1 << 20])
def test_restore_when_block_has_another_size_then_refused(size: int) -> None:
    with pytest.raises(TickworkError, match="SC3003"):
        VirtualEngine(Toy({}, {"Main": ""}).build()).restore(bytes(size))


def test_digest_when_computed_then_it_is_that_of_the_block() -> None:
    engine = shared_engine()
    assert engine.digest() == hashlib.sha256(engine.block.tobytes()).hexdigest()


def record(kind: int, scan: int, slot: int, *rest: int) -> bytes:
    words = [0, scan, slot, scan * MS, *rest]
    words[0] = 8 * len(words) << 8 | kind
    return np.array(words, np.int64).tobytes()


def test_tasks_when_they_share_a_byte_of_outputs_then_neither_undoes_the_other() -> None:
    """``Long`` begins, ``Short`` sets its bit and ends within, ``Long`` sets another bit and ends."""
    lint = IecType.LINT
    outputs = Region(64 + 64, 8)
    tasks = tuple(TaskSpec(name, name.lower(), period_ns=MS, writes=(outputs,)) for name in ("Long", "Short"))
    bodies = {
        "Long": load("o", "Out") + "  %n = or i64 %o, 1\n" + store("Out", "%n"),
        "Short": load("o", "Out") + "  %n = or i64 %o, 2\n" + store("Out", "%n"),
    }
    engine = VirtualEngine(Toy({"Out": (lint, "Q", 0)}, bodies, tasks).build())
    data = (
        record(w.RECORD_SCAN, 1, 0, 0, w.RECORD_FLAG_FIRST_SCAN, 0)
        + record(w.RECORD_SCAN, 2, 1, 0, w.RECORD_FLAG_FIRST_SCAN | 1 << w.RECORD_RUNNING_SHIFT, 0)
        + record(w.RECORD_FINISH, 2, 1, 1)
        + record(w.RECORD_FINISH, 2, 0, 0)
    )
    assert engine.replay(data) == len(data)
    assert engine.read("Out") == 3
