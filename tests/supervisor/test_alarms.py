"""Alarms of runtimes in the supervisor: stored before they are acknowledged, never twice, ordered back."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime.alarms.model import Definition, Entry, Health, Standing
from runtime.alarms.states import State
from runtime.link import Alarms, AlarmTable, CommandResult, Committed, Status
from supervisor.alarm_figures import chattering, figures_of, floods_of
from supervisor.alarm_model import AlarmFilter
from supervisor.model import Actor, Role
from tests.supervisor.conftest import ADMIN, Supervisor, running
from tests.supervisor.fake_node import FakeNode

NOW = time.time_ns()
EPOCH = "e1"
SECOND = 1_000_000_000


def standing(state: State = State.UNACKNOWLEDGED, occurrence: int = 1, **more: Any) -> Standing:
    return Standing(
        state, occurrence, 2, 1, "91", "H 90", NOW, announced=state is State.UNACKNOWLEDGED, **more
    )


def entry(seq: int, event: str = "raised", alarm: str = "Level high", **more: Any) -> Entry:
    return Entry(seq, NOW + seq, alarm, event, 1, standing(**more))


DEFINITIONS = (
    Definition(
        "Level high", kind="limit", text="Tank 1 high", tag="Main.Level", h=4.0, priority=2, unit="tank 1"
    ),
    Definition("Pump trip", text="Pump tripped", tag="Main.Pump", priority=1),
)


def table(at_seq: int = 0, **standings: Standing) -> AlarmTable:
    return AlarmTable(
        EPOCH, at_seq, DEFINITIONS, {name.replace("_", " "): one for name, one in standings.items()}
    )


async def eventually(condition: Any, timeout_s: float = 10.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = await condition()
        if found:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come to that")


async def connected(supervisor: Supervisor, *, name: str = "water-1") -> FakeNode:
    token = await supervisor.services.people.create_enrolment_token(ADMIN)
    node = FakeNode(supervisor.url, name)
    await node.enrol(token.secret)
    await node.dial()
    await node.describe()
    return node


async def send_entries(node: FakeNode, *entries: Entry, seq: int = 0, epoch: str = EPOCH) -> None:
    node.seq = seq or node.seq + 1
    await node.send(Alarms(node.seq, epoch, entries))


async def committed(node: FakeNode, seq: int) -> bool:
    return any(isinstance(one, Committed) and one.seq >= seq for one in node.received)


async def test_alarms_of_a_runtime_when_sent_twice_then_stand_once(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as supervisor:
        node = await connected(supervisor)
        alarms = supervisor.services.alarms
        await node.send(table())
        await send_entries(node, entry(1))
        await eventually(lambda: committed(node, 1))
        await send_entries(node, entry(1), entry(2, "acknowledged", state=State.ACKNOWLEDGED), seq=2)
        await send_entries(node, entry(1), seq=3)  # late: the acknowledgement stands
        await eventually(lambda: committed(node, 3))
        lines = await alarms.journal(ADMIN, AlarmFilter(node_id=node.node_id))
        assert [(line.entry.seq, line.entry.event) for line in lines] == [(2, "acknowledged"), (1, "raised")]
        (row,) = await alarms.active(ADMIN, node_id=node.node_id)
        assert (row.standing.state, row.definition.text, row.target) == (
            State.ACKNOWLEDGED, "Tank 1 high", "Level high#1",
        )  # fmt: skip


async def test_alarms_when_the_supervisor_starts_anew_then_they_stand_as_before(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as supervisor:
        node = await connected(supervisor)
        await node.send(table())
        await send_entries(node, entry(1))
        await eventually(lambda: committed(node, 1))
    async with running(tmp_path / "data") as supervisor:
        (row,) = await supervisor.services.alarms.active(ADMIN, node_id=node.node_id)
        assert row.stale and row.standing.state is State.UNACKNOWLEDGED
        # The runtime is away, and that is an alarm by itself.
        lost = await eventually(lambda: supervisor.services.alarms.active(ADMIN, node_id=""), timeout_s=15)
        assert [one.name for one in lost] == ["$runtime.water-1"]


async def test_entries_of_an_ended_journal_when_late_then_change_nothing_that_stands(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as supervisor:
        node = await connected(supervisor)
        await node.send(AlarmTable("old", 0, DEFINITIONS, {}))
        await node.send(table(5, Level_high=standing(State.ACKNOWLEDGED, 7)))
        await send_entries(node, entry(9), epoch="old")
        await eventually(lambda: committed(node, 1))
        (row,) = await supervisor.services.alarms.active(ADMIN, node_id=node.node_id)
        assert row.standing.occurrence == 7
        assert len(await supervisor.services.alarms.journal(ADMIN)) >= 1


async def test_order_when_given_by_an_operator_then_the_runtime_gets_it_and_answers(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as supervisor:
        node = await connected(supervisor)
        await node.send(table(1, Level_high=standing()))
        http = await supervisor.http(Role.OPERATOR)
        await eventually(lambda: supervisor.services.alarms.active(ADMIN, node_id=node.node_id))
        order = {
            "node_id": node.node_id,
            "action": "acknowledge",
            "targets": ["Level high#1"],
            "comment": "seen",
        }
        answer = await http.post("/api/v1/alarms/orders", json=order)
        assert answer.status_code == 202

        async def asked() -> Any:
            return [one for one in node.received if getattr(one, "kind", "") == "alarm"]

        (command,) = await eventually(asked)
        assert command.values["targets"] == "Level high#1" and command.user == "key operator key"
        (row,) = (await http.get(f"/api/v1/alarms?node_id={node.node_id}")).json()["items"]
        assert row["pending"] == "acknowledge"
        await node.send(CommandResult(command.id, "effective", time_ns=NOW))
        await send_entries(node, entry(2, "acknowledged", state=State.ACKNOWLEDGED))
        await eventually(lambda: committed(node, 1))
        (row,) = (await http.get(f"/api/v1/alarms?node_id={node.node_id}")).json()["items"]
        assert row["pending"] == "" and row["standing"]["state"] == "acknowledged"
        refused = await http.post("/api/v1/alarms/orders", json=order | {"action": "suppress"})
        assert refused.status_code == 403
        viewer = await supervisor.http(Role.VIEWER)
        assert (await viewer.post("/api/v1/alarms/orders", json=order)).status_code == 403
        elsewhere = await supervisor.http(Role.OPERATOR, nodes=("other",))
        assert (await elsewhere.get("/api/v1/alarms")).json()["items"] == []
        assert (await elsewhere.post("/api/v1/alarms/orders", json=order)).status_code == 403


async def test_stream_when_resumed_by_number_then_every_line_comes_once_in_order(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as supervisor:
        node = await connected(supervisor)
        await node.send(table())
        await send_entries(node, *(entry(number, alarm=f"a{number}") for number in range(1, 701)))
        await eventually(lambda: committed(node, 1))
        http = await supervisor.http(Role.VIEWER)
        first = await _read_stream(http, "0", 300)
        rest = await _read_stream(http, str(first[-1]["id"]), 400)
        seqs = [line["entry"]["seq"] for line in first + rest if line["node_id"] == node.node_id]
        assert seqs == list(range(1, 701))


async def _read_stream(http: Any, after: str, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with http.stream("GET", "/api/v1/alarms/stream", headers={"Last-Event-ID": after}) as answer:
        async for text in answer.aiter_lines():
            if text.startswith("data: "):
                found.append(msgspec.json.decode(text[6:]))
                if len(found) == count:
                    break
    return found


async def test_engine_of_a_runtime_when_it_does_not_work_then_it_is_told(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as supervisor:
        node = await connected(supervisor)
        await node.send(
            Status(
                time.time_ns(), "running", 1, node.digest, (), (), alarms=Health(problem="the disk is full")
            )
        )

        async def down() -> Any:
            return (await supervisor.services.alarms.counts(ADMIN)).engines_down

        assert "water-1: the disk is full" in await eventually(down)


async def test_definitions_when_made_on_a_page_then_versioned_audited_and_sent(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as supervisor:
        node = await connected(supervisor)
        http = await supervisor.http(Role.ENGINEER)
        text = '[[alarm]]\nname = "Level low"\ntag = "Main.Level"\nl = 1.0\n'
        body = {"node_id": node.node_id, "text": text, "message": "new limit"}
        made = await http.post("/api/v1/alarms/definitions", json=body)
        assert made.status_code == 201 and made.json()["number"] == 1
        wrong = await http.post("/api/v1/alarms/definitions", json=body | {"text": "[[alarm]]\nname='x'"})
        assert wrong.status_code == 422 and wrong.json()["code"] == "AL1002"

        async def asked() -> Any:
            return [one for one in node.received if getattr(one, "kind", "") == "alarm"]

        (command,) = await eventually(asked)
        assert command.values["text"] == text
        entries = await supervisor.services.audit.entries(ADMIN, action="alarm.define")
        assert entries[0].new == text and entries[0].reason == "new limit"


async def test_condition_over_two_runtimes_when_it_holds_then_the_supervisor_raises(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as supervisor:
        one, two = await connected(supervisor), await connected(supervisor, name="water-2")
        text = (
            '[[alarm]]\nname = "Levels differ"\npriority = 2\nrealarm_s = 60\n'
            'expression = \'ABS("water-1:Main.Level" - "water-2:Main.Level") > 1\'\n'
        )
        engineer = Actor("eva", Role.ENGINEER)
        await supervisor.services.alarms.define(engineer, "", text)
        await one.batch([(0, NOW, 4.0, 0)])
        await two.batch([(0, NOW, 1.0, 0)])
        rows = await eventually(lambda: supervisor.services.alarms.active(ADMIN, node_id=""))
        assert [row.name for row in rows] == ["Levels differ"]
        done = await supervisor.services.alarms.order(
            Actor("otto", Role.OPERATOR), "", "acknowledge", (rows[0].target,)
        )
        assert done.done == (rows[0].target,)
        (row,) = await supervisor.services.alarms.active(ADMIN, node_id="")
        assert row.standing.state is State.ACKNOWLEDGED and row.standing.acked_by == "otto"


def test_floods_when_more_than_ten_in_ten_minutes_then_until_fewer_than_five() -> None:
    assert floods_of([0, 11, 7, 5, 4, 0, 20]) == (2, 4)


def test_figures_when_one_alarm_chatters_then_it_is_named() -> None:
    raised = [(second * 10 * SECOND, "n1", "bad", 3) for second in range(6)] + [
        (100 * SECOND, "n1", "good", 1)
    ]
    assert chattering(raised) == [("n1", "bad")]
    figures = figures_of(
        raised, [(SECOND, 3 * SECOND)], from_ns=0, to_ns=1200 * SECOND, operators=2, stale=0, name_of=str
    )
    assert figures.per_interval == (7, 0)
    assert figures.rate == pytest.approx(7 / 2 / 2)
    assert figures.priorities == (pytest.approx(1 / 7), 0.0, pytest.approx(6 / 7), 0.0)
    assert figures.worst[0].name == "bad" and figures.mean_ack_s == 2.0
