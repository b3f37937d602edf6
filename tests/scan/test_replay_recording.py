"""Recordings made in virtual time: random programs, inputs and commands replay bit for bit; questions to them."""

from __future__ import annotations

import hashlib
import random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scan import TickworkError, VirtualEngine
from scan import recording as r
from scan.compare import compare
from scan.condition import Condition
from scan.replay import replay
from scan.trace import Trace
from tests.programs.hir_builder import Machine
from tests.programs.hir_generator import Generator
from tests.scan.tape import Tape
from tests.scan.test_replay import MS, STEPS, act
from tests.scan.toy import counter


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(STEPS, min_size=1, max_size=40), every=st.integers(1, 9))
def test_replay_when_any_run_was_recorded_then_each_checkpoint_is_met(
    steps: list[tuple[str, int]], every: int
) -> None:
    tape = Tape(counter().build())
    tape.engine.scan(0)
    tape.checkpoint()
    for number, step in enumerate(steps, 1):
        act(tape.engine, step, number * MS, "")
        if number % every == 0:
            tape.checkpoint()
    report = replay(tape.recording())
    assert report.mismatches == []
    assert report.checkpoints == len(steps) // every


@pytest.mark.parametrize("seed", range(12))
def test_replay_when_any_program_was_recorded_then_each_checkpoint_is_met(seed: int) -> None:
    application = Machine(Generator(seed).program()).application
    tape, chance = Tape(application), random.Random(seed)
    writable = [
        one for one in application.symbols if one.size <= 8 and not one.dims and one.type.name == "DINT"
    ]
    if tape.engine.scan(0).fault is not None:
        pytest.skip("this program faults at once")
    tape.checkpoint()
    for number in range(1, 40):
        if tape.engine.state.name == "FAULT":
            break
        if writable and chance.random() < 0.3:
            tape.engine.force(chance.choice(writable).path, chance.randrange(-9, 9), lease_ns=3 * MS)
        inputs = chance.randbytes(application.inputs.size)
        tape.engine.scan(number * MS, inputs=inputs, wall_ns=number)
        if number % 5 == 0 and tape.engine.state.name != "FAULT":
            tape.checkpoint()
    report = replay(tape.recording())
    assert report.mismatches == []
    assert report.checkpoints == sum(one != b"" for one in tape.frames if _is_checkpoint(one)) - 1


def _is_checkpoint(frame: bytes) -> bool:
    return int.from_bytes(frame[4:6], "little") == r.FrameKind.CHECKPOINT


def run(scans: int, *, change: int = 20) -> Tape:
    """``In`` is the number of the scan divided by 10."""
    tape = Tape(counter().build())
    tape.engine.scan(0)
    tape.checkpoint()
    for number in range(2, scans + 1):
        tape.engine.scan(number * MS, inputs=(number // 10).to_bytes(8, "little"), wall_ns=number * MS)
        if number % change == 0:
            tape.checkpoint()
    return tape


@pytest.fixture(scope="module")
def tape() -> Tape:
    return run(100)


def test_segment_when_cut_anywhere_then_what_is_whole_replays_faultlessly(tape: Tape) -> None:
    data = tape.data()
    for size in range(len(tape.frames[0]), len(data), 97):
        report = replay(tape.recording(data[:size]))
        assert report.mismatches == []


def test_replay_when_a_checkpoint_is_altered_then_the_variable_is_named(tape: Tape) -> None:
    frames = list(tape.frames)
    place = next(one for one in tape.application.symbols if one.path == "Count").offset
    number = [index for index, frame in enumerate(frames) if _is_checkpoint(frame)][2]
    point = r.read_segment(frames[0] + frames[number]).frames[1].checkpoint()
    block = bytearray(point.block)
    block[place] ^= 1
    digest = hashlib.sha256(block).hexdigest()
    frames[number] = r.encode_checkpoint(msgspec.structs.replace(point, block=bytes(block), digest=digest))
    report = replay(tape.recording(b"".join(frames)))
    assert next((one.scan, one.variables) for one in report.mismatches) == (point.scan, ("Count",))


def test_replay_when_records_are_lost_within_then_nothing_runs_over_the_gap(tape: Tape) -> None:
    frames = list(tape.frames)
    frames.insert(3, r.encode_loss(7, scan=1, wall_ns=0))
    report = replay(tape.recording(b"".join(frames)))
    assert report.gaps == 1
    assert report.mismatches == []


def test_trace_when_asked_for_a_scan_then_the_state_of_that_scan(tape: Tape) -> None:
    trace = Trace(tape.recording())
    assert trace.span == (2, 100)
    for scan in (2, 20, 21, 57, 100):
        moment = trace.at(scan)
        assert (moment.scan, moment.read("Count"), moment.read("Out")) == (scan, scan, scan // 10)
    assert trace.at_time(42 * MS).scan == 42
    assert trace.at_time(1_000 * MS).scan == 100


@pytest.mark.parametrize("scan", [0, 1, 101])
def test_trace_when_the_scan_is_not_recorded_then_refused(tape: Tape, scan: int) -> None:
    with pytest.raises(TickworkError, match="SC4006"):
        Trace(tape.recording()).at(scan)


def test_trace_when_stepping_then_every_scan_in_order(tape: Tape) -> None:
    scans = [moment.scan for moment in Trace(tape.recording()).moments(15)]
    assert scans == list(range(15, 101))


@pytest.mark.parametrize(
    ("text", "scan"),
    [
        ("Out = 3", 30), ("3 = Out", 30), ("Out > 2 AND NOT (Count < 35)", 35), ("Count >= 12 XOR Out = 1", 10),
        ("Out = 16#5 & Count <> 50", 51), ("NOT Flag AND In = 9", 90), ("Count = 101", 0), ("out=4 or count=200", 40),
    ],
)  # fmt: skip
def test_condition_when_searched_then_the_first_scan_in_which_it_holds(
    tape: Tape, text: str, scan: int
) -> None:
    trace = Trace(tape.recording())
    condition = Condition(text, tape.engine.symbol)
    found = trace.first(lambda moment: condition.holds(moment.read))
    assert (found.scan if found else 0) == scan


@pytest.mark.parametrize(
    "text", ["", "Out", "Out AND Flag", "(Out = 1", "Out = ", "Out + 1 = 2", "Out = 'a'", "= 3"]
)
def test_condition_when_wrong_then_refused(tape: Tape, text: str) -> None:
    with pytest.raises(TickworkError, match=r"SC4007|SC2003"):
        Condition(text, tape.engine.symbol)


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet="OutFlag 12=<>()&.#'ANDORX\n", max_size=60))
def test_condition_when_any_text_then_a_condition_or_a_problem(text: str) -> None:
    engine = _shared()
    try:
        condition = Condition(text, engine.symbol)
        assert condition.holds(engine.read) in (True, False)
    except TickworkError as error:
        assert error.code in ("SC4007", "SC2001", "SC2003")


_ENGINES: list[VirtualEngine] = []


def _shared() -> VirtualEngine:
    if not _ENGINES:
        _ENGINES.append(VirtualEngine(counter().build()))
    return _ENGINES[0]


def test_change_when_asked_then_the_scan_the_values_and_whether_an_operator_did_it(tape: Tape) -> None:
    trace = Trace(tape.recording())
    change = trace.last_change("Out", 57)
    assert change is not None
    assert (change.moment.scan, change.before, change.after, change.commanded) == (50, 4, 5, False)
    assert trace.last_change("Level", 100) is None


def test_change_when_a_force_did_it_then_it_is_told() -> None:
    tape = run(30)
    tape.engine.force("Out", 77)
    tape.engine.scan(31 * MS)
    tape.checkpoint()
    change = Trace(tape.recording()).last_change("Out", 31)
    assert change is not None
    assert (change.moment.scan, change.after, change.commanded) == (31, 77, True)


def test_change_when_a_force_ends_then_it_is_told() -> None:
    tape = run(30)
    tape.engine.force("In", 77, lease_ns=3 * MS)
    for number in range(31, 40):
        tape.engine.scan(number * MS)
    tape.checkpoint()
    change = Trace(tape.recording()).last_change("In", 39)
    assert change is not None
    assert (change.moment.scan, change.before, change.released) == (34, 77, True)


def test_comparison_when_the_program_is_the_same_then_nothing_differs_with_forces_too() -> None:
    tape = run(30)
    tape.engine.force("In", 77, lease_ns=5 * MS)
    for number in range(31, 50):
        tape.engine.scan(number * MS)
    tape.checkpoint()
    result = compare(tape.recording(), counter().build("other"))
    assert (result.scans, result.first_scan, result.commands_left_out) == (48, 0, 0)
    assert not any(one.differing for one in result.outputs.values())


def test_comparison_when_the_other_program_faults_then_it_is_told(tape: Tape) -> None:
    toy = counter()
    body = toy.bodies["Main"].replace("store i64 %i,", "store i64 9,", 1)
    result = compare(tape.recording(), counter(bodies={"Main": body}).build("other"))
    out = result.outputs["Out"]
    assert out.first_scan == 2
    assert out.differing == 99 - 10
    assert out.largest == 9
    assert "Out" in result.first_variables


def test_records_when_in_a_frame_then_positions_lead_to_each() -> None:
    tape = Tape(counter().build())
    for number in range(5):
        tape.engine.scan(number)
    words = np.frombuffer(tape.ring.drain(), np.int64)
    positions = r.record_positions(words)
    assert [int(words[one + 1]) for one in positions] == [1, 2, 3, 4, 5]
