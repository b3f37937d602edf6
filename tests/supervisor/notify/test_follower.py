"""A step of notifications is done whole or not at all, wherever it is cut off."""

from __future__ import annotations

import itertools

import pytest

from runtime.alarms.model import Definition, Entry, Standing
from runtime.alarms.states import State
from scan.problem import TickworkError
from supervisor import alarm_store
from supervisor.config_store import ConfigStore, rows
from supervisor.notify import store
from supervisor.notify.follower import Follower, facts_of
from supervisor.notify.model import SECOND, Address, Channel, Person, Pipeline, Rule, Settings, Step

STEPS = (Step("notify", "person:a"), Step("wait", wait_s=10), Step("escalate", "person:b"))
SETTINGS = Settings(
    {"c": Channel("c", "webhook", gather_s=1)},
    {name: Person(name, "", (Address("c", f"https://{name}.test"),)) for name in "ab"},
    pipelines={"p": Pipeline("p", STEPS)},
    rules={"r": Rule("r", "p"), "s": Rule("s", "p", (1,))},
)


class Names:
    def definition_of(self, node_id, name):
        return Definition(name, text=name)

    def name_of(self, node_id):
        return node_id


def make(folder):
    config = ConfigStore(folder / "config.db")
    config.run_blocking(store.cursor)
    return config, Follower(lambda node, entry: facts_of(Names(), node, entry), lambda: "")


def arrive(config, seq, state, event, occurrence=1):
    standing = Standing(state, occurrence, 1)
    entry = Entry(seq, seq, "A", event, occurrence, standing)
    config.run_blocking(lambda db: alarm_store.insert_entries(db, "n", "e", [entry], 0, True))


def kept(config):
    return config.run_blocking(
        lambda db: [
            rows(db, f"SELECT * FROM {table} ORDER BY 1, 2")
            for table in ("notify_run", "notify_delivery", "notify_mention", "notify_cursor")
        ]
    )


def live(config, follower, kill):
    """An alarm, ten seconds, an escalation, an acknowledgement; ``kill`` cuts each step off first."""
    arrive(config, 1, State.UNACKNOWLEDGED, "raised")
    for now_s in (0, 1, 5, 10, 11, 12):
        if now_s == 12:
            arrive(config, 2, State.ACKNOWLEDGED, "acknowledged")
        work = lambda db, now_s=now_s: follower.step(db, SETTINGS, now_s * SECOND + 1)  # noqa: E731
        kill(config, work)
        config.run_blocking(work)


def no_kill(config, work):
    pass


@pytest.mark.parametrize("instructions", [10, 60, 200, 600, 1500])
def test_step_when_cut_off_anywhere_then_what_is_kept_is_the_same_as_without(tmp_path, instructions):
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole, follower = make(tmp_path / "whole")
    live(whole, follower, no_kill)
    cut, follower = make(tmp_path / "cut")
    cuts = itertools.count()

    def kill(config, work):
        def cut_off(db):
            db.conn.set_progress_handler(lambda: 1, instructions)
            try:
                work(db)
            finally:
                db.conn.set_progress_handler(None, 0)
            raise KeyboardInterrupt  # the step ended, and the process before its commit

        try:
            config.run_blocking(cut_off)
        except (TickworkError, KeyboardInterrupt):
            next(cuts)

    live(cut, follower, kill)
    assert kept(cut) == kept(whole) and next(cuts) == 6
    runs, deliveries, mentions, _ = kept(whole)
    assert [run["state"] for run in runs] == ["ended", "ended"]
    assert len(deliveries) == 2 and len(mentions) == 4, "both rules in one message to each person"
    whole.close()
    cut.close()


def test_journal_when_the_alarm_was_over_before_it_was_read_then_nobody_is_told(tmp_path):
    config, follower = make(tmp_path)
    arrive(config, 1, State.UNACKNOWLEDGED, "raised")
    arrive(config, 2, State.NORMAL, "cleared", 0)
    config.run_blocking(lambda db: follower.step(db, SETTINGS, SECOND))
    assert kept(config)[0] == []
    config.close()


def test_message_when_all_its_alarms_were_acknowledged_while_it_gathered_then_it_is_cancelled(tmp_path):
    config, follower = make(tmp_path)
    arrive(config, 1, State.UNACKNOWLEDGED, "raised")
    config.run_blocking(lambda db: follower.step(db, SETTINGS, SECOND))
    arrive(config, 2, State.ACKNOWLEDGED, "acknowledged")
    config.run_blocking(lambda db: follower.step(db, SETTINGS, 3 * SECOND))
    assert [row["state"] for row in kept(config)[1]] == ["cancelled"]
    config.close()


def test_runs_when_the_runtime_begins_a_new_life_then_they_end_at_the_next_sweep(tmp_path):
    config, follower = make(tmp_path)
    arrive(config, 1, State.UNACKNOWLEDGED, "raised")
    config.run_blocking(lambda db: follower.step(db, SETTINGS, SECOND))
    config.run_blocking(lambda db: db.execute("DELETE FROM alarm_standing"))
    config.run_blocking(lambda db: follower.sweep(db, 2 * SECOND))
    assert [row["state"] for row in kept(config)[0]] == ["ended", "ended"]
    config.close()
