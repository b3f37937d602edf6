"""Help while typing: the worker's answers, and what happens when it dies or is asked too much."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from supervisor.language import NOTHING, Language
from supervisor.language_worker import Question, answer

SOURCE = "PROGRAM Main\nVAR\n    Level : REAL; (* of the tank *)\n    Timer : TON;\nEND_VAR\nLe\nTimer.\nEND_PROGRAM\n"
FILES = {"main.st": SOURCE, "plant.toml": '[node]\nname = "water"\n'}


@pytest.fixture
async def language() -> AsyncIterator[Language]:
    made = Language()
    yield made
    await made.stop()


def test_answer_when_a_name_begins_then_what_is_in_scope_is_offered() -> None:
    labels = [choice.label for choice in answer(Question("complete", FILES, "main.st", 6, 3)).choices]
    assert "Level" in labels


def test_answer_when_behind_a_point_then_only_members_are_offered() -> None:
    labels = {choice.label for choice in answer(Question("complete", FILES, "main.st", 7, 7)).choices}
    assert {"IN", "PT", "Q", "ET"} <= labels
    assert "Level" not in labels


def test_answer_when_a_name_is_pointed_at_then_type_and_comment_are_told() -> None:
    text = answer(Question("describe", FILES, "main.st", 3, 6)).text
    assert "REAL" in text
    assert "of the tank" in text


@pytest.mark.parametrize("place", [(0, 0), (99, 1), (6, 999)])
def test_answer_when_the_place_is_nowhere_then_it_is_empty_or_plain(place: tuple[int, int]) -> None:
    assert answer(Question("describe", FILES, "main.st", *place)).text == ""
    assert answer(Question("complete", {}, "gone.st", *place)).choices is not None


async def test_ask_when_the_worker_is_killed_then_the_next_question_has_an_answer(language: Language) -> None:
    question = Question("complete", FILES, "main.st", 6, 3)
    assert (await language.ask(question)).choices
    assert language._worker is not None
    language._worker.kill()
    await language._worker.wait()
    assert (await language.ask(question)).choices


async def test_ask_when_many_ask_at_once_then_the_late_ones_get_nothing_at_once(language: Language) -> None:
    question = Question("complete", FILES, "main.st", 6, 3)
    answers = await asyncio.gather(*(language.ask(question) for _ in range(6)))
    assert sum(one is NOTHING for one in answers) == 4
    assert sum(bool(one.choices) for one in answers) == 2
