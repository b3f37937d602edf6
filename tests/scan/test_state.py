"""States and transitions: the table in the documentation is the table in the code."""

import pathlib
import re

import pytest

from scan import NodeState, TickworkError
from scan.state import TRANSITIONS, require_transition

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "execution-model.md"


def rows(columns: int) -> list[tuple[str, ...]]:
    """Rows of the tables of that width under the heading "States"."""
    section = PAGE.read_text(encoding="utf-8").split("\n## States\n")[1].split("\n## ")[0]
    cells = [
        tuple(re.split(r" \| ", line.strip("| "))) for line in section.splitlines() if line.startswith("| ")
    ]
    return [row for row in cells if len(row) == columns and row[0] != "state"]


def test_page_when_compared_then_its_transitions_are_those_of_the_code() -> None:
    code = [(one.state.name.lower(), one.event, one.after.name.lower(), one.outputs) for one in TRANSITIONS]
    assert rows(4) == code


def test_page_when_compared_then_it_has_every_state() -> None:
    assert [row[0] for row in rows(3)] == [state.name.lower() for state in NodeState]


def test_transitions_when_followed_then_every_state_can_be_reached_and_left() -> None:
    reached = {NodeState.EMPTY}
    for _ in NodeState:
        reached |= {one.after for one in TRANSITIONS if one.state in reached}
    assert reached == set(NodeState)
    assert {one.state for one in TRANSITIONS} == set(NodeState)


@pytest.mark.parametrize("state", list(NodeState))
@pytest.mark.parametrize("event", ["load", "start", "stop", "swap", "swap on trial"])
def test_event_when_not_in_the_table_then_refused(state: NodeState, event: str) -> None:
    known = any((one.state, one.event) == (state, event) for one in TRANSITIONS)
    try:
        require_transition(state, event)
    except TickworkError as error:
        assert not known and error.code == "SC3004"
    else:
        assert known
