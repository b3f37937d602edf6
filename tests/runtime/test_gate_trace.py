"""Questions to the recording as command lines: what a question holds is never taken for an option."""

from __future__ import annotations

import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.gate_trace import STEPS_MAX, VARIABLES_MAX, answer, arguments
from runtime.link import TraceQuestion
from scan.problem import TickworkError

FOLDER = pathlib.Path("/recordings")


@given(
    st.builds(
        TraceQuestion,
        st.lists(st.text(), max_size=5).map(tuple),
        st.integers(),
        st.text(),
        st.text(),
        st.integers(),
        st.integers(),
        st.text(),
        st.booleans(),
    )
)
def test_arguments_when_a_question_holds_anything_then_values_stay_values(question: TraceQuestion) -> None:
    given_line = arguments(question, FOLDER)
    options, variables = (
        given_line[: given_line.index("--")],
        given_line[given_line.index("--") + 1 :],
    )
    names = {one.partition("=")[0] for one in options}
    assert names <= {"--scan", "--time", "--when", "--back", "--forward", "--why", "--lines", "--json"}
    assert variables == [str(FOLDER), *question.variables]


def test_arguments_when_a_question_asks_for_very_much_then_it_is_bounded() -> None:
    line = arguments(TraceQuestion(("x",) * 2000, back=10**9, forward=-5), FOLDER)
    assert f"--back={STEPS_MAX}" in line
    assert "--forward=0" in line
    assert len(line) - line.index("--") - 2 == VARIABLES_MAX


async def test_answer_when_there_is_no_recording_then_its_problem_comes(tmp_path: pathlib.Path) -> None:
    with pytest.raises(TickworkError) as refused:
        await answer(TraceQuestion(), tmp_path / "none")
    assert refused.value.code == "SC4005"
