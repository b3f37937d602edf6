"""The table of alarm states: complete, without dead rows, and what ISA-18.2 asks of it."""

from __future__ import annotations

import itertools
import pathlib

import pytest

from runtime.alarms.states import (
    ACTIVE_LIST,
    HIDDEN,
    LETTERS,
    TABLE,
    WAITING,
    Effect,
    Event,
    State,
    When,
    diagram,
    find_row,
)

ROOT = pathlib.Path(__file__).parent.parent.parent
CONDITIONS = [
    frozenset(found)
    for count in range(len(When))
    for found in itertools.combinations([when for when in When if when], count)
]


def test_rows_when_looked_up_then_each_is_reached() -> None:
    reached = {
        find_row(state, event, holding) for state in State for event in Event for holding in CONDITIONS
    }
    assert set(TABLE) <= reached


@pytest.mark.parametrize("state", State)
def test_raise_and_clear_when_any_state_then_a_row_or_nothing_to_do(state: State) -> None:
    raised = find_row(state, Event.RAISE, frozenset())
    cleared = find_row(state, Event.CLEAR, frozenset())
    assert (raised is None) == (state in (State.UNACKNOWLEDGED, State.ACKNOWLEDGED))
    assert (cleared is None) == (
        state in (State.NORMAL, State.RETURNED, State.LATCHED, State.LATCHED_ACKNOWLEDGED)
    )


def test_acknowledge_when_the_condition_holds_then_the_alarm_stays_in_the_list() -> None:
    row = find_row(State.UNACKNOWLEDGED, Event.ACKNOWLEDGE, frozenset({When.HOLDS}))
    assert row is not None and row.target is State.ACKNOWLEDGED and row.target in ACTIVE_LIST


@pytest.mark.parametrize("state", WAITING)
def test_acknowledge_when_it_waits_then_it_waits_no_more(state: State) -> None:
    row = find_row(state, Event.ACKNOWLEDGE, frozenset())
    assert row is not None and row.target is not None and row.target not in WAITING


@pytest.mark.parametrize("state", HIDDEN)
def test_hidden_when_raised_then_the_occurrence_is_kept_without_noise(state: State) -> None:
    row = find_row(state, Event.RAISE, frozenset())
    assert row is not None and row.target is None
    assert Effect.OPEN in row.effects and Effect.ANNOUNCE not in row.effects


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (State.SHELVED, Event.UNSHELVE),
        (State.SUPPRESSED, Event.UNSUPPRESS),
        (State.OUT_OF_SERVICE, Event.RETURN),
    ],
)
def test_leaving_what_hides_when_the_condition_decides_then_at_once(state: State, event: Event) -> None:
    true, false = find_row(state, event, frozenset({When.HOLDS})), find_row(state, event, frozenset())
    assert true is not None and true.target is State.UNACKNOWLEDGED and Effect.ANNOUNCE in true.effects
    assert false is not None and false.target is State.NORMAL and Effect.CLOSE in false.effects


def test_reset_when_not_latched_then_there_is_no_row() -> None:
    assert {row.sources for row in TABLE if row.event is Event.RESET} == {
        (State.LATCHED, State.LATCHED_ACKNOWLEDGED)
    }


def test_diagram_in_the_guide_when_compared_then_it_is_the_tables() -> None:
    text = (ROOT / "docs" / "alarms.md").read_text(encoding="utf-8")
    assert diagram() in text, (
        "python -c 'from runtime.alarms import diagram; print(diagram())' gives the new one"
    )
    assert len(LETTERS) == 9
