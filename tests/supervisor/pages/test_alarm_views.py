"""What the alarm pages show: an engine that is down is never an empty list, a flood is grouped and bounded."""

from __future__ import annotations

from runtime.alarms.model import Definition, Standing
from runtime.alarms.states import State
from supervisor.alarm_model import AlarmCounts, AlarmRow
from supervisor.model import Role
from supervisor.pages import alarm_views
from web import render


def row(number: int, *, first_out: bool = False) -> AlarmRow:
    name = f"alarm {number}"
    standing = Standing(State.UNACKNOWLEDGED, number, 2, 1, raised_ns=number, first_out=first_out)
    return AlarmRow("n1", "water", name, standing, Definition(name, text=name, unit=f"unit {number % 3}"))


def shown(rows: list[AlarmRow], *down: str) -> str:
    counts = AlarmCounts(engines_down=down, checked_ns=1_700_000_000_000_000_000)
    return render(alarm_views.alarm_list(rows, counts, Role.OPERATOR, "token", "/alarms"))


def test_list_when_an_engine_is_down_then_it_says_so_and_never_that_nothing_stands() -> None:
    text = shown([], "water: the disk is full")
    assert "This list is not complete" in text and "water: the disk is full" in text
    assert "0 alarms stand" not in text
    assert "Alarms are not complete" in render(
        alarm_views.alarm_strip(AlarmCounts(engines_down=("water: the disk is full",)))
    )


def test_list_when_it_is_empty_then_it_says_when_it_was_looked_at() -> None:
    text = shown([])
    assert "0 alarms stand" in text and "Last checked" in text


def test_list_when_flooded_then_grouped_by_unit_with_the_first_out_on_top_and_bounded() -> None:
    rows = [row(number, first_out=number == 300) for number in range(1, 10_001)]
    made = alarm_views.alarm_list(rows, AlarmCounts(), Role.OPERATOR, "", "/alarms")
    assert made.flood and made.total == 10_000
    assert [group.count for group in made.groups] == [3334, 3333, 3333]
    assert made.shown == 3 * alarm_views.ROWS_OF_GROUP_MAX <= alarm_views.ROWS_MAX
    tops = [group.rows[0].name for group in made.groups]
    assert "alarm 300" in tops


def test_acknowledge_all_when_rows_are_left_out_then_only_those_shown_are_named() -> None:
    text = shown([row(number) for number in range(1, 200)])
    count = 3 * alarm_views.ROWS_OF_GROUP_MAX
    assert f"Acknowledge all {count} shown" in text
    assert text.count('name="shown"') == count
