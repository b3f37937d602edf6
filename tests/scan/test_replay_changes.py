"""Replay through online changes: random programs whose tasks overlap, with commands, forces and inputs, bit for bit."""

from __future__ import annotations

import dataclasses
import random

import pytest

from scan import Application, TaskSpec
from scan import layout as w
from scan.abi import IecType, Region
from scan.compare import compare
from scan.replay import replay
from scan.trace import Trace
from tests.programs.hir_builder import Machine
from tests.programs.hir_generator import Generator
from tests.scan.tape import Tape
from tests.scan.test_replay import MS, record
from tests.scan.toy import Toy, counter, load, store

LINT = IecType.LINT


def random_toy(chance: random.Random) -> Toy:
    """One to three tasks that mix inputs, shared and own variables; another layout each time."""
    names = chance.sample(["A", "B", "C", "D"], chance.randint(1, 3))
    shared = chance.sample([f"g{number}" for number in range(6)], 3)
    variables = {"In": (LINT, "I", 0), "Out": (LINT, "Q", 0)} | dict.fromkeys(shared, (LINT, "G", 1))
    bodies = {}
    for name in names:
        own = [f"{name}.v{number}" for number in chance.sample(range(4), 2)]
        variables |= dict.fromkeys(own, (LINT, name, 2))
        body = load("i", "In")
        for number, target in enumerate([*own, chance.choice(shared), "Out"]):
            read = chance.choice([*own, *shared])
            body += load(f"r{number}", read) + load(f"t{number}", target)
            body += f"  %m{number} = mul i64 %t{number}, {chance.choice((3, 5, 7))}\n"
            body += f"  %a{number} = add i64 %m{number}, %r{number}\n  %s{number} = xor i64 %a{number}, %i\n"
            body += store(target, f"%s{number}")
        bodies[name] = body
    images = 64 + 2 * 64  # header, %I, %Q; then the shared variables
    writes = (Region(64 + 64, 8), Region(images, 8 * len(shared)))
    tasks = tuple(TaskSpec(name, name.lower(), period_ns=MS, writes=writes) for name in names)
    return Toy(variables, bodies, tasks)


class Run:
    """Scans of several tasks that begin and end in any order, on a tape."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.tape = Tape(random_toy(chance).build("0"))
        self.now_ns = 0
        self.open: set[int] = set()
        self.fresh: set[int] = set()
        self.checkpoints = self.changes = 0

    def scan(self) -> None:
        engine, slots = self.tape.engine, self.tape.engine.task_slots
        idle = [slot for slot in slots.values() if slot not in self.open]
        if not idle:
            self.end()
            return
        slot = self.chance.choice(idle)
        self.now_ns += MS
        flags = 0 if slot in self.fresh else w.RECORD_FLAG_FIRST_SCAN
        self.fresh.add(slot)
        if len(slots) > 1:
            flags |= sum(1 << one for one in self.open) << w.RECORD_RUNNING_SHIFT
            self.open.add(slot)
        inputs = (1, 0, self.chance.getrandbits(62)) if self.chance.random() < 0.5 else (0,)
        data = record(w.RECORD_SCAN, engine.scan_count + 1, slot, self.now_ns, flags, *inputs)
        assert engine.replay(data) == len(data)

    def end(self) -> None:
        if self.open:
            slot = self.chance.choice(sorted(self.open))
            self.open.discard(slot)
            running = sum(1 << one for one in self.open)
            data = record(w.RECORD_FINISH, self.tape.engine.scan_count, slot, running)
            assert self.tape.engine.replay(data) == len(data)

    def command(self) -> None:
        engine = self.tape.engine
        symbol = self.chance.choice([one for one in engine.application.symbols if one.size == 8])
        if self.chance.random() < 0.3:
            engine.unforce(symbol.path)
        else:
            engine.force(symbol.path, self.chance.getrandbits(40), lease_ns=self.chance.choice((0, 3 * MS)))

    def quiet(self) -> None:
        self.tape.engine.flush()
        self.open.clear()

    def checkpoint(self) -> None:
        self.quiet()
        self.tape.checkpoint(self.now_ns)
        self.checkpoints += 1

    def change(self) -> None:
        self.quiet()
        self.changes += 1
        application = random_toy(self.chance).build(str(self.changes))
        old = self.tape.engine.application
        mine, theirs = ([one.path for one in app.symbols if one.path[0] == "g"] for app in (application, old))
        renames = {self.chance.choice(mine): self.chance.choice(theirs)} if self.chance.random() < 0.4 else {}
        self.tape.swap(application, self.now_ns, renames=renames, trial_scans=self.chance.choice((0, 2)))


@pytest.mark.parametrize("seed", range(60))
def test_replay_when_any_tasks_overlap_and_programs_change_then_each_checkpoint_is_met(seed: int) -> None:
    chance = random.Random(seed)
    run = Run(chance)
    run.scan()
    run.checkpoint()
    actions = (run.scan, run.scan, run.scan, run.end, run.command, run.checkpoint, run.change)
    for action in chance.choices(actions, weights=(6, 6, 6, 6, 4, 1, 1), k=120):
        action()
    run.checkpoint()
    report = replay(run.tape.recording())
    assert (report.mismatches, report.faults, report.gaps) == ([], [], 0)
    assert (report.checkpoints, report.changes) == (run.checkpoints - 1, run.changes)
    assert report.scans == run.tape.engine.scan_count - 1


@pytest.mark.parametrize("seed", range(6))
def test_replay_when_compiled_programs_change_then_each_checkpoint_is_met(seed: int) -> None:
    chance = random.Random(seed)
    applications = [Machine(Generator(10 * seed + number).program()).application for number in range(3)]
    applications = [dataclasses_replace(one, f"{number}") for number, one in enumerate(applications)]
    tape, met = Tape(applications[0]), 0
    if tape.engine.scan(0).fault is not None:
        pytest.skip("this program faults at once")
    tape.checkpoint()
    for number in range(1, 60):
        if tape.engine.state.name == "FAULT":
            break
        if number % 10 == 0:
            tape.swap(chance.choice(applications), number * MS)
        inputs = chance.randbytes(tape.engine.application.inputs.size)
        tape.engine.scan(number * MS, inputs=inputs, wall_ns=number)
        if number % 7 == 0 and tape.engine.state.name != "FAULT":
            tape.checkpoint()
            met += 1
    report = replay(tape.recording())
    assert (report.mismatches, report.checkpoints) == ([], met)


def dataclasses_replace(application: Application, digest: str) -> Application:
    import msgspec

    return msgspec.structs.replace(application, digest=digest)


def test_replay_when_a_trial_fails_then_it_goes_on_with_the_program_before_and_its_state() -> None:
    tape = Tape(counter().build("old"))
    tape.engine.scan(0)
    tape.checkpoint()
    for number in range(1, 10):
        tape.engine.scan(number * MS, inputs=bytes([number]) + bytes(7))
    tape.swap(counter().build("new"), 10 * MS, trial_scans=9)
    tape.engine.scan(10 * MS)
    tape.checkpoint()  # within the trial
    tape.engine.write("Fault", 1)  # not a command: the replay of the trial does not know of it
    assert tape.engine.scan(11 * MS).fault is not None
    assert tape.engine.follow()
    for number in range(12, 20):
        tape.engine.scan(number * MS, inputs=bytes([number]) + bytes(7))
    tape.engine._generation = 1  # as the scan process goes back to the generation of the program
    tape.checkpoint()
    report = replay(tape.recording())
    assert (report.mismatches, report.checkpoints, report.changes) == ([], 2, 2)
    assert Trace(tape.recording()).at(15).read("Count") == tape.engine.read("Count") - 5


def test_replay_when_the_change_is_not_described_then_it_goes_on_at_the_next_checkpoint() -> None:
    tape = Tape(counter().build("old"))
    tape.engine.scan(0)
    tape.checkpoint()
    tape.engine.scan(MS)
    tape.swap(counter().build("new"), 2 * MS)
    del tape.frames[-1]
    for number in range(3, 6):
        tape.engine.scan(number * MS)
        tape.checkpoint()
    report = replay(tape.recording())
    assert (report.mismatches, report.checkpoints, report.changes) == ([], 2, 0)


def test_trace_and_comparison_when_the_program_changes_then_they_go_through_it() -> None:
    tape = Tape(counter().build("old"))
    tape.engine.scan(0)
    tape.checkpoint()
    for number in range(1, 10):
        tape.engine.scan(number * MS, inputs=bytes([number]) + bytes(7))
    toy = counter()
    more = dataclasses.replace(toy, variables={**toy.variables, "Extra": (LINT, "G", 4)})
    tape.swap(more.build("new"), 10 * MS)
    for number in range(10, 20):
        tape.engine.scan(number * MS, inputs=bytes([number]) + bytes(7))
    tape.checkpoint()
    trace = Trace(tape.recording())
    assert trace.span == (2, 20)
    assert [moment.read("Count") for moment in trace.moments()] == list(range(2, 21))
    assert trace.at(15).read("Extra") == 4
    began = trace.last_change("Extra", 20)
    assert began is not None
    assert (began.exchanged, began.before, began.after, began.moment.scan) == (True, None, 4, 11)
    result = compare(tape.recording(), counter().build("other"))
    assert (result.scans, result.first_scan) == (19, 0)
