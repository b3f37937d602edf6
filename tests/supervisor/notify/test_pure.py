"""What decides without I/O: pipelines, schedules, floods, circuits, lines of forms."""

from __future__ import annotations

import datetime
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.alarms.model import Standing
from runtime.alarms.states import State
from scan.problem import TickworkError
from supervisor.notify import breaker as circuits
from supervisor.notify import gather, lines, machine
from supervisor.notify.model import (
    SECOND,
    Address,
    AlarmFacts,
    Breaker,
    Channel,
    Mention,
    Override,
    Pipeline,
    Position,
    Rule,
    Schedule,
    Shift,
    Step,
)
from supervisor.notify.schedule import on_duty

NAMES = st.text(string.ascii_letters, min_size=1, max_size=5)
WAITS = st.builds(lambda s: Step("wait", wait_s=s), st.integers(1, 50))
CALLS = st.builds(
    lambda kind, name, by: Step(kind, f"roster:{name}", by),
    st.sampled_from(["notify", "escalate"]), NAMES, st.lists(NAMES, unique=True, max_size=2).map(tuple),
)  # fmt: skip
STEPS = st.lists(st.one_of(WAITS, CALLS), min_size=1, max_size=6).map(tuple)
FACTS = AlarmFacts("n1", "water", "Level", 1, 1, "Level high", "g", "Works", "tank")


def at(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text).timestamp()) * SECOND


@given(STEPS, st.integers(0, 3), st.lists(st.integers(0, 60), max_size=60))
def test_pipeline_when_advanced_at_any_times_then_each_step_is_done_once_a_round_in_order(
    steps, repeat, pauses
):
    pipeline, position, now = Pipeline("p", steps, repeat=repeat), Position(), 0
    calls, times = [], []
    for pause in [0, *pauses]:
        now += pause * SECOND
        position, made = machine.advance(pipeline, position, now)
        again, more = machine.advance(pipeline, position, now)
        assert (again, more) == (position, ()), "the same time again does nothing"
        calls += made
        times += [now] * len(made)
    visits = [call.visit for call in calls]
    assert visits == sorted(set(visits))
    told = [step for step in steps if step.kind != "wait"]
    assert [call.to for call in calls] == [step.to for step in told * (repeat + 1)][: len(calls)]
    for before, after, begin, end in zip(calls, calls[1:], times, times[1:], strict=False):
        if before.visit // 1000 == after.visit // 1000:
            between = steps[before.visit % 1000 : after.visit % 1000]
            assert end - begin >= sum(step.wait_s for step in between) * SECOND, "a wait was cut short"
    if position.done and any(step.wait_s for step in steps):
        assert len(calls) == len(told) * (repeat + 1)


@pytest.mark.parametrize(
    ("state", "occurrence", "acknowledge", "back", "why"),
    [
        (State.UNACKNOWLEDGED, 1, True, True, ""),
        (State.ACKNOWLEDGED, 1, True, False, "acknowledged"),
        (State.ACKNOWLEDGED, 1, False, True, ""),
        (State.RETURNED, 1, True, False, ""),
        (State.RETURNED, 1, True, True, "returned to normal"),
        (State.LATCHED, 1, True, True, "returned to normal"),
        (State.SHELVED, 1, False, False, "shelved"),
        (State.UNACKNOWLEDGED, 2, True, True, "over"),
        (State.NORMAL, 0, False, False, "over"),
    ],
)
def test_run_when_the_alarm_stands_so_then_it_goes_on_or_ends(state, occurrence, acknowledge, back, why):
    pipeline = Pipeline("p", stop_on_acknowledge=acknowledge, stop_on_return=back)
    assert machine.ended(pipeline, "e", 1, ("e", Standing(state, occurrence))) == why
    assert machine.ended(pipeline, "e", 1, ("other", Standing(state, occurrence)))
    assert machine.ended(pipeline, "e", 1, None)


def test_begin_when_it_was_acknowledged_or_is_over_by_now_then_nobody_is_told():
    assert machine.may_begin("e", 1, ("e", Standing(State.UNACKNOWLEDGED, 1)))
    assert machine.may_begin("e", 1, ("e", Standing(State.RETURNED, 1)))
    assert not machine.may_begin("e", 1, ("e", Standing(State.ACKNOWLEDGED, 1)))
    assert not machine.may_begin("e", 1, ("e", Standing(State.UNACKNOWLEDGED, 2)))
    assert not machine.may_begin("e", 0, ("e", Standing(State.NORMAL, 0)))


@pytest.mark.parametrize(
    ("rule", "picked"),
    [
        (Rule("r", "p"), True),
        (Rule("r", "p", enabled=False), False),
        (Rule("r", "p", (2, 3)), False),
        (Rule("r", "p", (1,), ("WAT*",), ("G",), ("works",), ("lev*",)), True),
        (Rule("r", "p", areas=("tank",)), True),
        (Rule("r", "p", runtimes=("other",)), False),
    ],
)
def test_rule_when_lists_are_given_then_each_must_fit(rule, picked):
    assert machine.picks(rule, FACTS) is picked


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.integers(0, 5), st.integers(1, 4))
def test_flood_when_alarms_come_at_any_times_then_no_window_has_more_messages_than_allowed(
    pauses, gather_s, burst
):
    channel = Channel("c", "email", gather_s=gather_s, burst=burst, window_s=30)
    sealed, opened_until, now = [], -1, 0
    for pause in pauses:
        now += pause * SECOND
        if now > opened_until:
            opened_until = gather.due_ns(now, sealed[::-1][:burst], channel)
            sealed.append(opened_until)
    for index, time_ns in enumerate(sealed):
        assert index < burst or time_ns - sealed[index - burst] >= 30 * SECOND
    assert sealed[0] == pauses[0] * SECOND + gather_s * SECOND


def test_message_when_one_alarm_then_it_says_what_and_where_and_what_to_do():
    facts = AlarmFacts("n1", "water", "Level", 1, 1, "Level\r\nBcc: x", response="close it", value="93")
    subject, text = gather.compose([Mention(1, 0, facts)], 1, "https://plant/alarms")
    assert subject == "[urgent] Level Bcc: x (water)"
    assert "do: close it" in text and "value 93" in text and text.endswith("https://plant/alarms\n")


def test_message_when_many_then_counts_come_first_and_the_urgent_ones_are_named():
    low = [Mention(n, 0, AlarmFacts("n1", f"w{n % 5}", f"A{n}", n, 4, f"low {n}")) for n in range(30)]
    subject, text = gather.compose([*low, Mention(99, 2, FACTS)], 400)
    assert subject.startswith("Escalated: 400 alarms (of the first 31: 1 urgent, 30 low) on w0, w1, w2 …")
    assert "… and 380 more" in text
    assert text.index("Level high") < text.index("low 0")


SHIFTS = Schedule(
    "s", "Europe/Berlin",
    (Shift((0, 1, 2, 3, 4), 6 * 60, 14 * 60, ("anna", "ben")), Shift((6,), 22 * 60, 6 * 60, ("carl",))),
    (Override("2026-12-24 18:00", "2026-12-25 06:00", ()), Override("2026-12-24 20:00", "2026-12-24 21:00", ("dora",))),
)  # fmt: skip


@pytest.mark.parametrize(
    ("time", "who"),
    [
        ("2026-11-23T05:00:00+00:00", ("anna", "ben")),  # Monday 06:00 in winter
        ("2026-11-23T13:00:00+00:00", ()),
        ("2026-07-06T04:00:00+00:00", ("anna", "ben")),  # Monday 06:00 in summer
        ("2026-11-22T21:30:00+00:00", ("carl",)),  # Sunday evening
        ("2026-11-23T04:59:00+00:00", ("carl",)),  # the Monday after
        ("2026-11-24T04:59:00+00:00", ()),
        ("2026-12-24T17:30:00+00:00", ()),
        ("2026-12-24T19:30:00+00:00", ("dora",)),
        ("2026-12-25T05:30:00+00:00", ("anna", "ben")),  # a Friday, after the override
    ],
)
def test_schedule_when_asked_then_the_local_clock_and_the_last_override_say_who(time, who):
    assert on_duty(SHIFTS, at(time)) == who


@given(st.integers(0, 4 * 10**18), st.sampled_from(["UTC", "Asia/Kathmandu", "America/St_Johns"]))
def test_schedule_when_two_shifts_share_the_day_then_exactly_one_is_on_duty(time_ns, zone):
    shifts = (Shift(tuple(range(7)), 360, 1080, ("day",)), Shift(tuple(range(7)), 1080, 360, ("night",)))
    assert len(on_duty(Schedule("s", zone, shifts), time_ns)) == 1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2000)), max_size=40), st.integers(1, 5))
def test_circuit_when_tries_fail_then_it_opens_after_so_many_and_one_success_closes_it(tries, fails_max):
    breaker, now, in_a_row = Breaker(), 0, 0
    for works, pause in tries:
        now += pause * SECOND
        state = circuits.circuit(breaker, now)
        if state == "open":
            assert now < breaker.open_until_ns <= now + circuits.PAUSE_MAX_NS
            continue
        in_a_row = 0 if works else in_a_row + 1
        breaker = circuits.succeeded(breaker) if works else circuits.failed(breaker, now, fails_max, "x")
        wanted = "closed" if works or (state == "closed" and in_a_row < fails_max) else "open"
        assert circuits.circuit(breaker, now) == wanted
        assert breaker.failures == in_a_row


def test_retries_when_they_go_on_then_they_come_less_and_less_often():
    pauses = [circuits.retry_ns(tries) for tries in range(1, 12)]
    assert pauses == sorted(pauses) and pauses[0] == 5 * SECOND and pauses[-1] == circuits.RETRY_MAX_NS


@given(STEPS)
def test_steps_when_written_as_lines_then_they_read_back_the_same(steps):
    assert lines.read_steps(lines.write_steps(steps)) == steps


DAYS = st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days)))
WHO = st.lists(NAMES, min_size=1, max_size=3, unique=True).map(tuple)
MINUTES = st.integers(0, 1439)


@given(st.lists(st.builds(Shift, DAYS, MINUTES, MINUTES, WHO), max_size=4).map(tuple))
def test_shifts_when_written_as_lines_then_they_read_back_the_same(shifts):
    assert lines.read_shifts(lines.write_shifts(shifts)) == shifts


def test_overrides_and_addresses_when_written_as_lines_then_they_read_back_the_same():
    assert lines.read_overrides(lines.write_overrides(SHIFTS.overrides)) == SHIFTS.overrides
    addresses = (Address("mail", "a@b.test"), Address("hook", "https://x.test/y z"))
    assert lines.read_addresses(lines.write_addresses(addresses)) == addresses


@given(st.text(max_size=60))
def test_lines_when_any_text_is_given_then_it_is_understood_or_refused_with_its_code(text):
    for read in (lines.read_steps, lines.read_shifts, lines.read_overrides, lines.read_addresses):
        try:
            read(text)
        except TickworkError as error:
            assert error.code == "SV7001"
