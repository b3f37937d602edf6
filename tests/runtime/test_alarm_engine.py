"""The alarm engine: conditions, delays, deadbands, bad input, first-out, orders, and that a crash changes nothing."""

from __future__ import annotations

import copy
import pathlib
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.alarms import store
from runtime.alarms.clock import AlarmClock, Stored
from runtime.alarms.conditions import TagInfo
from runtime.alarms.engine import Engine, Moment
from runtime.alarms.expression import Expression
from runtime.alarms.life import Kept
from runtime.alarms.model import Definition, Entry, Order, Outcome
from runtime.alarms.parse import parse_attribute, parse_text, to_toml
from runtime.alarms.states import State
from scan.problem import TickworkError

S = 1_000_000_000
START = 1_700_000_000 * S
TAGS = (
    TagInfo("Level", "tank"),
    TagInfo("Pump", "drive"),
    TagInfo("Mode", "", (("Off", 0), ("On", 1), ("Tripped", 4))),
    TagInfo("Set"),
)


class Rig:
    """An engine with its values in the hands of a test; time in seconds."""

    def __init__(self, text: str, tags: Sequence[TagInfo] = TAGS, kept: Kept | None = None) -> None:
        self.tags = tags
        self.definitions = parse_text(text, origin="file")
        self.values = np.zeros(len(tags))
        self.quality = np.zeros(len(tags), np.uint16)
        self.engine = Engine(self.definitions, tags, kept or Kept("e"))
        self.now = 0.0
        self.journal: list[Entry] = []
        self.told: list[tuple[float, str, str]] = []
        self.at(0.0)

    def moment(self) -> Moment:
        return Moment(int(self.now * S), START + int(self.now * S))

    def at(self, time_s: float, /, bad: tuple[str, ...] = (), **values: float) -> list[tuple[str, str]]:
        """The events at that time: (alarm, event)."""
        self.now = time_s
        names = [tag.path for tag in self.tags]
        for name, value in values.items():
            self.values[names.index(name)] = value
        self.quality = np.array([0x8000 if name in bad else 0 for name in names], np.uint16)
        return self._keep(
            self.engine.update(self.moment(), np.arange(len(names)), self.values.copy(), self.quality)
        )

    def _keep(self, entries: list[Entry]) -> list[tuple[str, str]]:
        self.journal += entries
        self.told += [((one.time_ns - START) / S, one.alarm, one.event) for one in entries]
        return [(one.alarm, one.event) for one in entries]

    def order(self, action: Any, *targets: str, user: str = "ann", **more: Any) -> Outcome:
        outcome, entries = self.engine.order(Order(action, targets, user, **more), self.moment())
        self._keep(entries)
        return outcome

    def state(self, name: str) -> State:
        life = self.engine.standing().get(name)
        return life.state if life else State.NORMAL


def one(keys: str) -> str:
    return f'[[alarm]]\nname = "A"\n{keys}\n'


LEVEL = one('tag = "Level"\nh = 80\nhh = 90\ndeadband = 5\nhh_deadband = 2\nhh_priority = 1')


def test_limit_when_passed_then_left_beyond_its_own_deadband() -> None:
    rig = Rig(LEVEL)
    assert rig.at(1, Level=79.9) == []
    assert rig.at(2, Level=80) == [("A", "raised")]
    assert rig.at(3, Level=91) == [("A", "re-alarmed")]
    assert rig.journal[-1].standing.priority == 1 and rig.journal[-1].standing.limit == "HH 90"
    assert rig.at(4, Level=88.5) == []
    assert rig.at(5, Level=87.9) == [("A", "level")]
    assert rig.at(6, Level=75.1) == []
    assert rig.at(7, Level=74.9) == [("A", "cleared")]


def test_priority_when_it_rises_after_the_acknowledgement_then_announced_again() -> None:
    rig = Rig(LEVEL)
    rig.at(1, Level=85)
    rig.order("acknowledge", "A")
    assert rig.state("A") is State.ACKNOWLEDGED
    rig.at(2, Level=95)
    assert rig.state("A") is State.UNACKNOWLEDGED and rig.journal[-1].standing.announced


def test_low_limits_when_passed_then_the_mirror_image() -> None:
    rig = Rig(one('tag = "Level"\nl = 20\nll = 10\ndeadband = 3'))
    assert rig.at(0, Level=50) == [("A", "cleared")]  # it began at 0, below both
    assert rig.at(1, Level=20) == [("A", "closed"), ("A", "raised")]
    assert rig.at(2, Level=9) == [("A", "level")]
    assert rig.at(3, Level=12.9) == []
    assert rig.at(4, Level=23.1) == [("A", "cleared")]


def test_delays_when_the_condition_is_short_then_nothing_and_times_are_exact() -> None:
    rig = Rig(one('tag = "Pump"\non_delay_ms = 2000\noff_delay_ms = 1000'))
    rig.at(1, Pump=1)
    rig.at(2.5, Pump=0)
    assert rig.at(10) == []
    rig.at(11, Pump=1)
    rig.at(20)
    assert rig.told == [(13.0, "A", "raised")]
    rig.at(21, Pump=0)
    rig.at(21.5, Pump=1)
    assert rig.at(30) == []
    rig.at(31, Pump=0)
    rig.at(40)
    assert rig.told[-1] == (32.0, "A", "cleared")


def test_deviation_state_and_digital_when_they_hold_then_raised() -> None:
    rig = Rig(
        '[[alarm]]\nname = "D"\ntag = "Level"\nsetpoint = "Set"\nh = 5\nl = -5\n'
        '[[alarm]]\nname = "M"\ntag = "Mode"\nstates = ["Tripped"]\n'
        '[[alarm]]\nname = "N"\ntag = "Pump"\nactive_when = false\n'
    )
    assert rig.told == [(0.0, "N", "raised")]
    assert rig.at(1, Level=50, Set=44, Mode=1, Pump=1) == [("D", "raised"), ("N", "cleared")]
    assert rig.at(2, Set=50, Mode=4) == [("D", "cleared"), ("M", "raised")]


def test_rate_when_faster_than_its_limit_then_raised_and_a_resting_value_clears_it() -> None:
    rig = Rig(one('tag = "Level"\nkind = "rate"\nh = 2\nl = -2\nover_ms = 1000'))
    for second in range(1, 4):
        rig.at(second, Level=second)
    assert rig.told == []
    rig.at(4, Level=9)
    assert rig.told == [(4.0, "A", "raised")]
    assert rig.at(4.5) == []
    assert rig.at(5) == [("A", "cleared")]


def test_expression_when_enumerations_and_functions_then_evaluated() -> None:
    rig = Rig(one("expression = 'Mode = Tripped OR ABS(Level - Set) * 2 > 10 AND NOT (Pump = 1)'"))
    assert rig.at(1, Level=10, Set=4) == [("A", "raised")]
    assert rig.at(2, Pump=1) == [("A", "cleared")]
    assert rig.at(3, Mode=4) == [("A", "closed"), ("A", "raised")]


def test_bad_input_when_it_lasts_then_the_state_is_held_and_its_source_alarms() -> None:
    rig = Rig(one('tag = "Level"\nh = 80\ncomms_delay_ms = 3000'))
    rig.at(1, Level=90)
    assert rig.at(2, bad=("Level",), Level=0) == [("A", "input bad")]
    assert rig.state("A") is State.UNACKNOWLEDGED
    assert rig.at(6, bad=("Level",)) == [("$comms.tank", "raised")]
    assert rig.at(7) == [("$comms.tank", "cleared"), ("A", "input good"), ("A", "cleared")]


def test_bad_input_when_a_delay_ends_in_it_then_nothing_is_raised_before_the_input_is_good_for_the_delay() -> (
    None
):
    rig = Rig(one('tag = "Level"\nh = 80\non_delay_ms = 2000'))
    rig.at(1, Level=90)
    rig.at(2, bad=("Level",))
    assert rig.at(10, bad=("Level",)) == [("$comms.tank", "raised")]
    assert rig.at(11) == [("$comms.tank", "cleared")]
    rig.at(14)
    assert rig.told[-1] == (13.0, "A", "raised")


def test_bad_input_behind_a_computed_value_when_named_then_held_too() -> None:
    rig = Rig(one('tag = "Set"\nh = 80\ndepends_on = ["Level"]'))
    assert rig.at(1, bad=("Level",), Set=100) == []
    assert rig.at(2) == [("A", "raised")]


def test_latched_when_the_condition_is_gone_then_reset_only_then() -> None:
    rig = Rig(one('tag = "Pump"\nlatching = true'))
    rig.at(1, Pump=1)
    assert rig.order("reset", "A").refused == (("A", "its condition still holds"),)
    rig.at(2, Pump=0)
    assert rig.state("A") is State.LATCHED
    rig.order("acknowledge", "A")
    assert rig.state("A") is State.LATCHED_ACKNOWLEDGED
    assert rig.order("reset", "A").done == ("A",)
    assert rig.state("A") is State.NORMAL


def test_acknowledge_when_of_an_earlier_occurrence_then_the_present_one_stays() -> None:
    rig = Rig(one('tag = "Pump"'))
    rig.at(1, Pump=1)
    rig.at(2, Pump=0)
    rig.at(3, Pump=1)
    assert [entry.occurrence for entry in rig.journal] == [1, 1, 1, 2]
    assert rig.order("acknowledge", "A#1").done == ("A#1",)
    assert rig.state("A") is State.UNACKNOWLEDGED
    assert rig.order("acknowledge", "A#2", comment="seen").done == ("A#2",)
    assert rig.order("acknowledge", "A#2").done == ("A#2",)  # a repetition is no fault and no second entry
    assert [entry.event for entry in rig.journal].count("acknowledged") == 1


def test_alarm_when_it_needs_no_acknowledgement_then_it_goes_by_itself() -> None:
    rig = Rig(one('tag = "Pump"\nacknowledge = false'))
    rig.at(1, Pump=1)
    rig.at(2, Pump=0)
    assert rig.state("A") is State.NORMAL


def test_realarm_when_its_time_is_over_then_announced_again() -> None:
    rig = Rig(one('tag = "Pump"\nrealarm_s = 60'))
    rig.at(1, Pump=1)
    rig.order("acknowledge", "A")
    assert rig.at(60) == []
    assert rig.at(62) == [("A", "re-alarmed")]
    assert rig.told[-1][0] == 61.0


def test_shelf_when_over_then_evaluated_without_on_delay() -> None:
    rig = Rig(one('tag = "Pump"\non_delay_ms = 5000\nshelve_s_max = 600'))
    assert rig.order("shelve", "A").refused
    assert rig.order("shelve", "A", comment="x", duration_s=700).refused
    rig.order("shelve", "A", comment="x", duration_s=60)
    rig.at(58, Pump=1)
    assert rig.state("A") is State.SHELVED
    assert rig.at(60) == [("A", "unshelved")]
    assert rig.state("A") is State.UNACKNOWLEDGED


def test_shelf_when_until_it_clears_then_it_ends_with_the_excursion() -> None:
    rig = Rig(one('tag = "Pump"'))
    rig.at(1, Pump=1)
    rig.order("shelve", "A", comment="x")
    assert not rig.journal[-1].standing.announced
    rig.at(2, Pump=0)
    assert rig.state("A") is State.NORMAL


def test_suppression_by_design_when_its_predicate_holds_then_hidden_and_back() -> None:
    rig = Rig(one('tag = "Pump"\nsuppress_when = "Level < 5"'))
    assert rig.told == [(0.0, "A", "suppressed")]
    assert rig.at(1, Pump=1) == [("A", "raised")]
    assert rig.state("A") is State.SUPPRESSED
    assert rig.at(2, Level=50) == [("A", "unsuppressed")]
    assert rig.state("A") is State.UNACKNOWLEDGED
    assert rig.journal[-1].occurrence == 1  # the excursion went on underneath


def test_out_of_service_when_urgent_then_a_second_person_confirms() -> None:
    rig = Rig(one('tag = "Pump"\npriority = 1'))
    rig.order("remove", "A", comment="sensor", work_order="W-1")
    assert rig.state("A") is State.NORMAL and rig.journal[-1].standing.asked_by == "ann"
    assert rig.order("remove", "A", comment="sensor").refused
    assert rig.order("remove", "A", user="bob", comment="confirmed").done == ("A",)
    assert rig.state("A") is State.OUT_OF_SERVICE and rig.journal[-1].standing.by == "ann, bob"
    rig.at(1, Pump=1)
    rig.order("return", "A")
    assert rig.state("A") is State.UNACKNOWLEDGED


def test_overlays_when_several_hold_then_the_next_one_shows() -> None:
    rig = Rig(one('tag = "Pump"\nsuppress_when = "Level > 5"'))
    rig.order("shelve", "A", comment="x", duration_s=600)
    rig.at(1, Level=10)
    assert rig.state("A") is State.SUPPRESSED
    rig.order("remove", "A", comment="x")
    rig.at(2, Level=0)
    assert rig.state("A") is State.OUT_OF_SERVICE
    rig.order("return", "A")
    assert rig.state("A") is State.SHELVED
    rig.order("unshelve", "A")
    assert rig.state("A") is State.NORMAL


def test_first_out_when_a_group_trips_then_the_first_is_marked() -> None:
    text = "".join(
        f'[[alarm]]\nname = "{name}"\ntag = "{tag}"\nh = 1\ngroup = "g"\nfirst_out = true\n'
        for name, tag in (("X", "Level"), ("Y", "Pump"))
    )
    rig = Rig(text)
    names = [tag.path for tag in TAGS]
    rig.values[names.index("Level")] = rig.values[names.index("Pump")] = 5
    rig.now = 1.0
    times = np.array([START + S, START + S - 1000, 0, 0])  # the pump's value is the older one
    rig._keep(rig.engine.update(rig.moment(), np.arange(4), rig.values, np.zeros(4, np.uint16), times))
    assert [(one.alarm, one.standing.first_out) for one in rig.journal] == [("Y", True), ("X", False)]


def test_definition_when_removed_then_its_open_occurrence_ends_in_the_journal() -> None:
    rig = Rig(one('tag = "Pump"'))
    rig.at(1, Pump=1)
    after = Rig(one('tag = "Level"\nh = 5').replace('"A"', '"B"'), kept=rig.engine.kept)
    assert after.told == [(0.0, "A", "definition removed")]


def test_variable_when_it_does_not_exist_then_the_alarm_is_listed_as_unbound() -> None:
    rig = Rig(one('tag = "Nowhere"'))
    assert "A" in rig.engine.problems and rig.engine.health().unbound == ("A",)


# ---------------------------------------------------------------- definitions as texts


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ('tag = "x"\nkind = "limit"', "AL1002"),
        ('tag = "x"\nh = 9\nhh = 8', "AL1002"),
        ('expression = "a AND"', "AL1003"),
        ('tag = "x"\nsuppress_when = "((("', "AL1003"),
        ('tag = "x"\nhigh = 4', "PL1002"),
        ('tag = "x"\npriority = 7', "PL1005"),
        ("", "AL1002"),
    ],
)
def test_definition_when_wrong_then_it_is_told(keys: str, code: str) -> None:
    with pytest.raises(TickworkError) as raised:
        parse_text(one(keys), origin="file")
    assert code in {problem.code for problem in raised.value.problems}


def test_attribute_when_of_a_variable_then_a_definition_of_its_path() -> None:
    made = parse_attribute('h = 80, deadband = 2, text = "high"', "Main.Level", file="main.st", line=7)
    assert (made.name, made.tag, made.h, made.h_deadband, made.line, made.origin) == (
        "Main.Level", "Main.Level", 80.0, 2.0, 7, "program",
    )  # fmt: skip
    with pytest.raises(TickworkError, match="AL1006"):
        parse_attribute("h 80", "Main.Level")


_TEXTS = st.text(
    st.characters(exclude_characters="#\"'<>", exclude_categories=("C", "Z")), min_size=1, max_size=20
)


@given(
    name=_TEXTS,
    text=st.text(min_size=1, max_size=30).filter(str.isprintable),
    h=st.floats(-1e6, 1e6),
    latching=st.booleans(),
)
def test_toml_when_written_then_read_back_the_same(name: str, text: str, h: float, latching: bool) -> None:
    definition = Definition(name, kind="limit", text=text, tag="x", h=h, latching=latching)
    (read,) = parse_text(to_toml((definition,)), origin="page")
    assert msgspec.structs.replace(read, origin="file", file="", line=0) == definition


@given(st.text(alphabet='abAND OR()<>=+-*/,."[]#1 9$NOT', max_size=60))
def test_expression_when_any_text_then_understood_or_refused(text: str) -> None:
    try:
        expression = Expression(text)
    except TickworkError as error:
        assert error.code == "AL1003"
    else:
        assert isinstance(expression.evaluate([1.0] * len(expression.tags)), float)


# ---------------------------------------------------------------- crashes

MODEL = """
[[alarm]]
name = "Level"
tag = "Level"
h = 5
hh = 8
deadband = 1
hh_priority = 1
on_delay_ms = 2000
off_delay_ms = 1000
realarm_s = 7
[[alarm]]
name = "Trip"
tag = "Pump"
latching = true
group = "g"
first_out = true
suppress_when = "Set > 5"
[[alarm]]
name = "Mode"
tag = "Mode"
states = ["Tripped"]
acknowledge = false
group = "g"
first_out = true
[[alarm]]
name = "Fast"
tag = "Level"
kind = "rate"
h = 3
over_ms = 2000
"""
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("value"), st.sampled_from(["Level", "Pump", "Mode", "Set"]), st.integers(0, 9)),
        st.tuples(st.just("bad"), st.sampled_from(["Level", "Pump"]), st.booleans()),
        st.tuples(st.just("wait"), st.just(""), st.integers(1, 9)),
        st.tuples(
            st.just("order"),
            st.sampled_from(
                [
                    "acknowledge",
                    "shelve",
                    "once",
                    "unshelve",
                    "suppress",
                    "unsuppress",
                    "remove",
                    "return",
                    "reset",
                ]
            ),
            st.sampled_from(["Level", "Trip", "Mode", "Fast", "Level#1", "Trip#2"]),
        ),
        st.tuples(st.just("clock"), st.just(""), st.integers(-5000, 5000)),
        st.tuples(st.just("kill"), st.just(""), st.integers(0, 1)),
    ),
    max_size=40,
)


class Machine:
    """An engine over its file, driven by steps. With ``crashes``, a kill loses everything but the file."""

    def __init__(self, crashes: bool) -> None:
        self.crashes = crashes
        self.file = sqlite3.connect(":memory:", isolation_level=None)
        for statement in store.SCHEMA.split(";"):
            self.file.execute(statement)
        self.definitions = parse_text(MODEL, origin="file")
        self.values, self.bad = np.zeros(4), [False] * 4
        self.mono, self.wall = 0, START
        self.open()

    def open(self) -> None:
        self.kept, stored = store.load(self.file)
        self.kept.epoch = "e"
        self.clock = AlarmClock(stored, wall_ns=self.wall, mono_ns=self.mono)
        self.engine = Engine(self.definitions, TAGS, self.kept)
        self.update()

    def now(self) -> Moment:
        return Moment(self.clock.at(self.mono), self.wall)

    def save(self, entries: Sequence[Entry], *, lost: bool = False) -> None:
        changed, _ = self.engine.take_kept()
        if lost:  # killed within the transaction
            return
        with store.transaction(self.file):
            at = self.now()
            store.save(self.file, self.engine.kept, changed, entries, Stored(at.engine_ns, at.wall_ns))

    def update(self, *, lost: bool = False) -> None:
        quality = np.array([0x8000 if bad else 0 for bad in self.bad], np.uint16)
        self.save(self.engine.update(self.now(), np.arange(4), self.values.copy(), quality), lost=lost)

    def order(self, action: str, target: str, *, lost: bool = False) -> None:
        order = Order(
            "shelve" if action == "once" else action, (target,), "ann", "why", 5 if action == "shelve" else 0
        )  # type: ignore[arg-type]
        _, entries = self.engine.order(order, self.now())
        self.save(entries, lost=lost)

    def run(self, steps: Sequence[tuple[str, str, Any]]) -> list[Entry]:
        for index, step in enumerate(steps):
            killed = index + 1 < len(steps) and steps[index + 1][0] == "kill" and steps[index + 1][2] == 1
            if killed and self.crashes and step[0] in ("value", "bad", "order"):
                self.step(step, lost=True)  # the kill comes before the commit: nobody was told
                self.open()
            self.step(step)
        return store.newest_entries(self.file, 100_000)

    def step(self, step: tuple[str, str, Any], *, lost: bool = False) -> None:
        kind, name, value = step
        names = [tag.path for tag in TAGS]
        if kind == "value":
            self.values[names.index(name)] = value
            self.update(lost=lost)
        elif kind == "bad":
            self.bad[names.index(name)] = value
            self.update(lost=lost)
        elif kind == "wait":
            self.mono += value * S
            self.wall += value * S
            self.update()
        elif kind == "clock":  # the wall clock is set; deadlines do not follow it
            self.wall += value * S
            self.update()
        elif kind == "order":
            self.order(name, value, lost=lost)
        elif self.crashes:
            self.open()


def timeless(entries: Sequence[Entry]) -> list[Any]:
    return [(one.seq, one.time_ns, one.alarm, one.event, one.occurrence, one.standing) for one in entries]


def same_journal(steps: list[tuple[str, str, Any]]) -> None:
    assert timeless(Machine(True).run(steps)) == timeless(Machine(False).run(copy.deepcopy(steps)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_STEPS)
def test_journal_when_killed_at_any_moment_then_the_same_as_without(
    steps: list[tuple[str, str, Any]],
) -> None:
    same_journal(steps)


@pytest.mark.soak
@settings(max_examples=100_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_STEPS)
def test_journal_when_killed_a_hundred_thousand_times_then_the_same(
    steps: list[tuple[str, str, Any]],
) -> None:
    same_journal(steps)


def test_file_when_opened_again_then_epoch_numbers_and_lives_go_on(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "alarms.db"
    connection = store.open_file(path)
    kept, stored = store.load(connection)
    assert stored == Stored()
    rig = Rig(one('tag = "Pump"'), kept=kept)
    rig.at(1, Pump=1)
    changed, _ = rig.engine.take_kept()
    with store.transaction(connection):
        store.save(connection, rig.engine.kept, changed, rig.journal, Stored(S, START))
    connection.close()
    again, stored = store.load(store.open_file(path))
    assert (again.epoch, again.seq, again.occurrence, stored) == (kept.epoch, 1, 1, Stored(S, START))
    assert again.lives["A"].state is State.UNACKNOWLEDGED


def test_file_when_damaged_then_it_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "alarms.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(TickworkError, match="AL2001"):
        store.open_file(tmp_path / "alarms.db")


def test_clock_when_the_wall_is_set_then_deadlines_stay_and_time_away_counts() -> None:
    clock = AlarmClock(Stored(10 * S, START), wall_ns=START + 5 * S, mono_ns=1000)
    assert clock.at(1000) == 15 * S
    assert clock.at(1000 + 2 * S) == 17 * S
    assert AlarmClock(Stored(10 * S, START), wall_ns=START - 5 * S, mono_ns=0).at(0) == 10 * S
