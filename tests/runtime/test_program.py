"""What the parent hands to the scan process with a program."""

import dataclasses
import pathlib

from runtime.plant import parse_plant
from runtime.program import Program
from scan.abi import TaskSpec
from tests.scan import toy

PLANT = """
[scan]
watchdog_ms = 500
cpus = "2-3"
[[task]]
name = "slow"
cpu = 0
watchdog_ms = 40.5
overrun_limit = 3
overrun_action = "fault"
"""


def test_task_options_when_a_task_has_its_own_then_they_win_and_others_follow_the_section() -> None:
    tasks = (TaskSpec("Fast", "fast"), TaskSpec("Slow", "slow"))
    application = dataclasses.replace(toy.counter(), tasks=tasks, bodies={"Fast": "", "Slow": ""}).build()
    plant = parse_plant(PLANT, folder=pathlib.Path("/plants/p"))
    program = Program("digest", pathlib.Path("x.app"), application, plant)
    assert program.task_options() == {
        "Fast": {"watchdog_ms": 500, "cpu": 2, "overrun_limit": 0, "overrun_action": "alarm"},
        "Slow": {"watchdog_ms": 40.5, "cpu": 0, "overrun_limit": 3, "overrun_action": "fault"},
    }


def test_renames_when_done_or_unknown_then_they_are_not_asked_for() -> None:
    running = toy.counter().build()
    text = """
[online-change]
renames = { "count" = "Total", "Gone" = "Mark2", "Level" = "Now" }
"""
    program = Program(
        "digest", pathlib.Path("x.app"), running, parse_plant(text, folder=pathlib.Path("/plants/p"))
    )
    assert program.renames_from(running) == {"Total": "count"}
    assert program.renames_from(None) == {}
