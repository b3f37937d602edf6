"""Definitions over recorded history: rate, floods, missed and new occurrences."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from runtime.alarms.conditions import TagInfo
from runtime.alarms.model import Definition
from supervisor.alarm_whatif import compare, story_of
from supervisor.history_codec import Columns
from tests.supervisor.conftest import ADMIN, running
from tests.supervisor.test_alarms import connected

S = 1_000_000_000
FROM = 1_700_000_000 * S


def columns(*samples: tuple[float, float]) -> Columns:
    times = np.array([FROM + int(second * S) for second, _ in samples], np.int64)
    return Columns(times, np.array([value for _, value in samples]), np.zeros(len(samples), np.uint16))


def limit(h: float, **more: int) -> Definition:
    return Definition("Level", kind="limit", tag="Level", h=h, **more)  # type: ignore[arg-type]


def test_trial_when_the_limit_is_higher_then_what_is_missed_is_told() -> None:
    story = story_of((TagInfo("Level"),), (columns((0, 0), (10, 85), (20, 0), (100, 95), (130, 0)),), FROM)
    trial = compare([limit(80)], [limit(90)], story, from_ns=FROM, to_ns=FROM + 1200 * S)
    (alarm,) = trial.alarms
    assert (alarm.before, alarm.after, alarm.missed, alarm.new) == (2, 1, (FROM + 10 * S,), ())
    assert trial.rate == (1.0, 0.5)


def test_trial_when_a_delay_is_added_then_a_flood_is_over() -> None:
    noise = [(second, 85.0 * (second % 2)) for second in range(201)]
    story = story_of((TagInfo("Level"),), (columns(*noise),), FROM)
    trial = compare([limit(80)], [limit(80, on_delay_ms=2000)], story, from_ns=FROM, to_ns=FROM + 600 * S)
    assert trial.floods == (1, 0) and trial.peak == (100, 0)
    assert len(trial.alarms[0].missed) == 100


def test_trial_when_a_variable_has_no_history_then_it_is_told() -> None:
    trial = compare([], [limit(80)], story_of((), (), FROM), from_ns=FROM, to_ns=FROM + S)
    assert trial.untried == ("Level",)


async def test_trial_when_asked_for_over_the_api_then_stored_samples_decide(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as supervisor:
        node = await connected(supervisor)
        now = time.time_ns()
        seq = await node.batch(
            [(0, now - 50 * S, 1.0, 0), (0, now - 40 * S, 4.5, 0), (0, now - 30 * S, 1.0, 0)]
        )
        await node.committed(seq)
        text = '[[alarm]]\nname = "High"\ntag = "main.level"\nh = 4\n'
        trial = await supervisor.services.alarms.attempt(
            ADMIN, node.node_id, text, from_ns=now - 60 * S, to_ns=now
        )
        assert [(one.name, one.before, one.after) for one in trial.alarms] == [("High", 0, 1)]
        assert trial.alarms[0].new == (now - 40 * S,)
        http = await supervisor.http()
        answer = await http.post("/api/v1/alarms/trials", json={"node_id": node.node_id, "text": text})
        assert answer.json()["samples"] == 3
