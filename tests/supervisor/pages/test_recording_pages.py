"""The program page at a recorded scan: what is asked of the runtime, and what the page makes of the answer."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import msgspec
import pytest

from runtime.link import TraceQuestion
from scan.problem import TickworkError, fail
from supervisor.model import Actor, Role
from supervisor.recordings import RecordingService
from tests.supervisor.pages.browser import Browser
from tests.supervisor.pages.fakes import HOSTILE, Plant

PAGE = "/runtimes/n1/program"
ADA = Actor("ada", Role.VIEWER, "session")


@pytest.fixture
async def browser() -> Browser:
    """Somebody who has deployed a project's version a while ago, so that the running source is known."""
    made = Browser(Plant())
    await made.log_in("ada")
    await made.post("/deployments", target="n1", project="1", version="2", reason="yes")
    rows = made.plant.deployments
    rows[:] = [msgspec.structs.replace(row, created_ns=row.created_ns - 60_000_000_000) for row in rows]
    await made.get("/deployments/2")
    await made.get("/deployments/1")
    return made


async def test_program_when_frozen_then_values_and_lines_are_of_one_scan(browser: Browser) -> None:
    text = (await browser.get(f"{PAGE}?scan=50")).text
    window = json.loads(html.unescape(re.search(r'data-frozen="([^"]*)"', text).group(1)))  # type: ignore[union-attr]
    assert [row["scan"] for row in window] == list(range(30, 71))
    assert window[20]["lines"] == [8, 9]
    assert 'data-scan="50"' in text
    assert "view=plain" in text, "a frozen page must not be overwritten by live values"
    assert HOSTILE not in text


async def test_program_when_frozen_then_steps_stay_within_the_recording(browser: Browser) -> None:
    text = (await browser.get(f"{PAGE}?scan=99")).text
    steps = re.findall(r'href="[^"]*scan=(\d+)" data-step="(-?\d+)"', text)
    assert steps == [("1", "-100"), ("98", "-1"), ("100", "1"), ("100", "100")]


async def test_program_when_there_is_no_such_scan_then_it_says_so_and_shows_the_live_source(
    browser: Browser,
) -> None:
    text = (await browser.get(f"{PAGE}?when=Gone&scan=3")).text
    assert "The recording can not be shown" in text
    assert "SC4006" in text
    assert "Freeze at a scan" in text


async def test_why_when_asked_then_it_names_scan_values_and_statement(browser: Browser) -> None:
    text = (await browser.get("/runtimes/n1/why?path=Control.Level1&scan=50", HX_Request="true")).text
    assert "It changed last in scan 47" in text
    assert "Control (main.st:9)" in text
    assert "program?scan=47&amp;file=main.st&amp;line=9" in text
    assert HOSTILE not in text
    same = (await browser.get("/runtimes/n1/why?path=Control.Auto&scan=50", HX_Request="true")).text
    assert "kept its value" in same


class Node:
    """A runtime at the end of a link: keeps what it is asked."""

    def __init__(self, linked: bool = True) -> None:
        self.linked = linked
        self.asked: list[Any] = []

    def send(self, node_id: str, message: Any) -> bool:
        self.asked.append(message)
        return self.linked


async def test_question_when_the_runtime_is_not_linked_then_it_is_refused_at_once() -> None:
    with pytest.raises(TickworkError) as refused:
        await RecordingService(Node(linked=False)).look(ADA, "n1", TraceQuestion())
    assert refused.value.code == "SV4009"


async def test_question_when_answers_cross_then_each_waiter_gets_its_own() -> None:
    import asyncio

    from runtime.link import Fetched

    node = Node()
    service = RecordingService(node)
    first = asyncio.create_task(service.why(ADA, "n1", "A", 1))
    second = asyncio.create_task(service.why(ADA, "n1", "B", 2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked = {message.question.why: message.id for message in node.asked}
    service.fetched(
        "n2", Fetched(asked["A"], b'{"variable": "other", "scan": 1}')
    )  # not its runtime: ignored
    problem = fail("SC4006", "the recording does not hold this scan").problems[0]
    service.fetched("n1", Fetched(asked["B"], b"", problem))
    service.fetched("n1", Fetched(asked["A"], b'{"variable": "A", "scan": 7}'))
    assert (await first).scan == 7
    with pytest.raises(TickworkError) as refused:
        await second
    assert refused.value.code == "SC4006"


async def test_question_when_the_actor_may_not_see_the_runtime_then_nothing_is_asked() -> None:
    node = Node()
    limited = Actor("key", Role.VIEWER, "key", nodes=("n2",))
    with pytest.raises(TickworkError) as refused:
        await RecordingService(node).look(limited, "n1", TraceQuestion())
    assert refused.value.code == "SV1003"
    assert node.asked == []
