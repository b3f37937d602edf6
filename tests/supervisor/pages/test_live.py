"""The stream of a page: begins whole, then tells only what changed, holds nothing back and leaves nothing behind."""

from __future__ import annotations

import dataclasses
import json

from hypothesis import given
from hypothesis import strategies as st

from supervisor.model import Update
from supervisor.pages.live import Part, Sent, View, frame, frames
from supervisor.services import StreamEnded
from tests.supervisor.pages.fakes import Plant
from web import contexts as c


def board(text: str, quality: str = "g", name: str = "plant", ms: int = 0) -> c.DeviceList:
    device = c.DeviceView(
        key=name, name=name, protocol="modbus-tcp", address="", state="online", quality="good",
        requests=c.Cell("requests", text, quality), errors=c.Cell("errors", "0"), latency=c.Cell("latency", "1"),
        since=c.Moment(ms, "", "since"), last_error="", mark=c.Mark(0, ""),
    )  # fmt: skip
    return c.DeviceList(devices=(device,))


def part(context: c.DeviceList) -> tuple[Part, ...]:
    return (Part("devices", context),)


def test_sent_when_nothing_was_sent_then_the_whole_part_goes_out() -> None:
    html, cells, times = Sent().difference(part(board("1")), 0.0)
    assert len(html) == 1
    assert html[0].startswith('<hx-partial hx-target="#devices" hx-swap="outerMorph">')
    assert (cells, times) == ([], [])


def test_sent_when_only_a_cell_differs_then_only_the_cell_goes_out() -> None:
    sent = Sent()
    sent.difference(part(board("1")), 0.0)
    assert sent.difference(part(board("1")), 0.1) == ([], [], [])
    assert sent.difference(part(board("2")), 0.2) == ([], [("requests", "2", "g")], [])
    assert sent.difference(part(board("2", "s")), 0.3) == ([], [("requests", "2", "s")], [])


def test_sent_when_a_followed_time_moves_then_only_the_time_goes_out() -> None:
    sent = Sent()
    sent.difference(part(board("1", ms=5)), 0.0)
    assert sent.difference(part(board("1", ms=9)), 0.1) == ([], [], [("since", 9)])


def test_sent_when_the_structure_differs_then_the_part_goes_out_and_its_cells_not_again() -> None:
    sent = Sent()
    sent.difference(part(board("1")), 0.0)
    html, cells, _ = sent.difference(part(board("7", name="dosing")), 0.1)
    assert len(html) == 1
    assert "dosing" in html[0]
    assert cells == []
    assert sent.difference(part(board("7", name="dosing")), 0.2) == ([], [], [])


def test_sent_when_drawings_change_with_every_scan_then_they_are_drawn_anew_at_intervals() -> None:
    def tasks(height: float) -> tuple[Part, ...]:
        bar = c.Bar(x=0, y=0, width=1, height=height, late=False, title="")
        drawing = c.Histogram("Execution", "", (bar,), (), -1.0)
        task = c.TaskView(
            "t", "t", "", c.Cell("s", "1"), c.Cell("o", "0"), (), (drawing,), None, c.Mark(0, "")
        )
        return (Part("tasks", c.TaskList(tasks=(task,), known=True)),)

    sent = Sent()
    assert len(sent.difference(tasks(1), 100.0)[0]) == 1
    assert sent.difference(tasks(2), 101.0)[0] == []
    assert len(sent.difference(tasks(3), 110.0)[0]) == 1
    assert sent.difference(tasks(3), 120.0)[0] == []


@given(st.text(), st.sampled_from(["", "tick"]))
def test_frame_when_any_text_is_sent_then_an_event_stream_reader_gets_it_back(text: str, event: str) -> None:
    raw = frame(text, event).decode()
    assert raw.endswith("\n\n")
    lines = raw[:-2].split("\n")
    data = "\n".join(line.removeprefix("data: ") for line in lines if line.startswith("data"))
    assert data == text.replace("\r\n", "\n").replace("\r", "\n")
    assert all(line.startswith(("data: ", "event: ")) for line in lines)


@dataclasses.dataclass
class Script:
    """A subscription that plays the given updates and then ends."""

    updates: list[Update]
    closed: bool = False

    async def next(self, *, interval_ms: int = 250, beat_ms: int = 2000) -> Update:
        if not self.updates:
            raise StreamEnded
        return self.updates.pop(0)

    def close(self) -> None:
        self.closed = True


async def played(script: Script, by_node: bool = False) -> list[tuple[str, dict[str, object]]]:
    async def make(whole: bool) -> tuple[Part, ...]:
        return part(board("1"))

    view = View(make, {}, lambda update: bool(update.runtimes), by_node=by_node)
    found = []
    async for piece in frames(view, script, lambda: 1000):
        head, _, data = piece.decode().partition("data: ")
        name = head.removeprefix("event: ").strip()
        found.append((name, json.loads(data) if name else {}))
    return found


async def test_frames_when_nothing_happens_then_a_beat_says_that_the_server_lives() -> None:
    script = Script([Update()])
    messages = await played(script)
    assert [name for name, _ in messages] == ["beat", "", "tick", "beat"]
    assert messages[-1][1] == {"now": 1000, "c": [], "m": []}
    assert script.closed


async def test_frames_when_values_change_then_one_tick_holds_them_all() -> None:
    plant = Plant()
    values = (plant.value("n1", "Control.Level1Low"), plant.value("n2", "Level1Raw"))
    messages = await played(Script([Update(values=values)]))
    cells = messages[-1][1]["c"]
    assert isinstance(cells, list)
    assert [cell[:3] for cell in cells] == [["t:Control.Level1Low", "40.0", "g"], ["t:Level1Raw", "–", "b"]]
    assert cells[1][4] == "bad: no communication"


async def test_frames_when_tags_of_several_runtimes_are_shown_then_cells_carry_the_runtime() -> None:
    messages = await played(Script([Update(values=(Plant().value("n2", "PumpRun"),))]), by_node=True)
    assert messages[-1][1]["c"][0][0] == "n2:PumpRun"  # type: ignore[index]
