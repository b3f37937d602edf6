"""The scan in virtual time: order of a scan, commands, forces, tasks, faults."""

import dataclasses

import numpy as np
import pytest

from scan import AckStatus, IecType, NodeState, Symbol, TaskSpec, TickworkError, VirtualEngine, scan_limit
from scan import layout as w
from scan.abi import Region
from tests.scan.toy import Toy, context, count, counter, fault_when, load, store

MS = 1_000_000


def word(value: int) -> bytes:
    return value.to_bytes(8, "little", signed=True)


@pytest.fixture
def engine() -> VirtualEngine:
    return VirtualEngine(counter().build())


def test_scan_when_run_then_inputs_program_and_outputs_follow_in_one_scan(engine: VirtualEngine) -> None:
    result = engine.scan(5 * MS, inputs=word(-7))
    assert result.scan == 1 and result.fault is None
    assert engine.read("Out") == -7
    assert engine.read("Now") == 5 * MS


def test_first_scan_when_started_then_flag_is_set_once(engine: VirtualEngine) -> None:
    for scan in range(3):
        engine.scan(scan * MS)
    assert engine.read("First") == 1
    engine.reset()
    engine.scan(9 * MS)
    assert engine.read("First") == 1 and engine.read("Count") == 1


def test_inputs_when_not_given_then_last_ones_stay(engine: VirtualEngine) -> None:
    engine.scan(0, inputs=word(3))
    engine.scan(MS)
    assert engine.read("Out") == 3


def test_digest_when_same_history_then_same_and_else_another() -> None:
    first, second = (VirtualEngine(counter().build()) for _ in range(2))
    for scan in range(4):
        for one in (first, second):
            one.scan(scan * MS, inputs=word(scan))
    assert first.digest() == second.digest()
    second.scan(4 * MS, inputs=word(9))
    assert first.digest() != second.digest()


def test_fault_when_program_faults_then_record_and_no_scan_until_reset(engine: VirtualEngine) -> None:
    engine.scan(0, inputs=word(1))
    engine.write("Fault", 1)
    result = engine.scan(MS, inputs=word(2))
    assert result.fault is not None
    assert (result.fault.code, result.fault.pou, result.fault.file, result.fault.line) == (
        "RF1001",
        "Other",
        "other.st",
        42,
    )
    assert engine.state == NodeState.FAULT
    with pytest.raises(TickworkError, match="SC3004"):
        engine.scan(2 * MS)
    engine.reset()
    assert engine.scan(3 * MS).fault is None


# ---------------------------------------------------------------- forces


def test_force_when_on_input_then_program_sees_it_and_true_input_stays(engine: VirtualEngine) -> None:
    engine.force("In", 50)
    engine.scan(0, inputs=word(3))
    assert engine.read("Out") == 50
    engine.unforce("In")
    engine.scan(MS)
    assert engine.read("Out") == 3


def test_force_when_on_output_then_computed_value_is_kept_beside_it(engine: VirtualEngine) -> None:
    engine.force("Out", 99)
    engine.scan(0, inputs=word(3))
    assert engine.read("Out") == 99
    assert engine.read("Seen") == 3  # inside the scan the program reads what it wrote
    assert force_row(engine)["actual"] == 3


def force_row(engine: VirtualEngine) -> np.void:
    table = engine._program._forces[: w.FORCE_SIZE].view(w.FORCE_DTYPE)
    return table[0]


def test_force_when_lease_ends_then_it_is_released_at_that_time(engine: VirtualEngine) -> None:
    engine.force("In", 50, lease_ns=2 * MS)
    seen = []
    for scan in range(5):
        engine.scan(scan * MS, inputs=word(1))
        seen.append(engine.read("Out"))
    assert seen == [50, 50, 1, 1, 1]


def test_force_when_repeated_then_one_row_with_the_new_value(engine: VirtualEngine) -> None:
    engine.force("In", 50)
    engine.force("In", 60)
    engine.scan(0, inputs=word(1))
    assert engine.read("Out") == 60
    engine.unforce("In")
    engine.scan(MS)
    assert engine.read("Out") == 1


def test_unforce_when_not_forced_then_acknowledged_so(engine: VirtualEngine) -> None:
    engine.unforce("In")
    engine.scan(0)
    assert engine.acks() == [(AckStatus.NOT_FORCED, 1)]


def test_force_when_table_is_full_then_refused() -> None:
    lint = IecType.LINT
    variables = {f"V{index}": (lint, "Main", 0) for index in range(w.FORCES_MAX + 1)}
    engine = VirtualEngine(Toy(variables, {"Main": ""}).build())
    for index in range(w.FORCES_MAX + 1):
        engine.force(f"V{index}", index)
    engine.scan(0)
    engine.scan(MS)
    statuses = [status for status, _ in engine.acks()]
    assert statuses == [AckStatus.APPLIED] * w.FORCES_MAX + [AckStatus.TABLE_FULL]


def test_force_when_on_a_bit_then_its_neighbours_follow_the_program() -> None:
    toy = counter()
    bits = tuple(
        Symbol(f"Bit{bit}", IecType.BOOL, toy.build().outputs.offset, 1, bit=bit, location=f"%QX0.{bit}")
        for bit in (0, 1)
    )
    engine = VirtualEngine(dataclasses.replace(toy, extra=bits).build())
    engine.force("Bit1", True)
    engine.scan(0, inputs=word(0b101))
    assert engine.read("Out") == 0b111
    engine.unforce("Bit1")
    engine.scan(MS, inputs=word(0b100))
    assert engine.read("Out") == 0b100


# ---------------------------------------------------------------- commands


def command(
    engine: VirtualEngine, kind: int, path: str, data: bytes, /, *, more: bool = False, **changes: int
) -> None:
    symbol = engine.symbol(path)
    row = np.zeros((), w.COMMAND_DTYPE)
    row["generation"], row["kind"], row["more"] = 1, kind, more
    row["offset"], row["size"], row["owner"], row["data"] = (
        symbol.offset,
        len(data),
        -1,
        data.ljust(80, b"\0"),
    )
    for name, value in changes.items():
        row[name] = value
    engine.submit(row.tobytes())


def test_group_when_expectation_holds_then_all_in_one_scan(engine: VirtualEngine) -> None:
    command(engine, w.COMMAND_EXPECT, "Level", word(7), more=True)
    command(engine, w.COMMAND_WRITE, "Level", word(8), more=True)
    command(engine, w.COMMAND_WRITE, "Mark", word(9))
    engine.scan(0)
    assert (engine.read("Level"), engine.read("Mark")) == (8, 9)
    assert engine.acks() == [(AckStatus.APPLIED, 1)]


def test_group_when_expectation_differs_then_nothing_is_written(engine: VirtualEngine) -> None:
    command(engine, w.COMMAND_WRITE, "Mark", word(9), more=True)
    command(engine, w.COMMAND_EXPECT, "Level", word(6))
    engine.scan(0)
    assert (engine.read("Level"), engine.read("Mark")) == (7, 5)
    assert engine.acks() == [(AckStatus.EXPECTED_DIFFERS, 1)]


@pytest.mark.parametrize(
    "changes",
    [{"offset": 8}, {"offset": 1 << 40}, {"offset": -8}, {"size": 0}, {"size": 81}, {"size": -1}, {"kind": 77},
     {"owner": 5}, {"owner": 1 << 40}, {"mask": 256}, {"mask": -1}, {"mask": 1}],
)  # fmt: skip
def test_command_when_its_place_is_none_then_refused_and_block_unchanged(
    engine: VirtualEngine, changes: dict[str, int]
) -> None:
    twin = VirtualEngine(counter().build())
    command(engine, w.COMMAND_WRITE, "Level", word(1), **changes)
    engine.scan(0)
    twin.scan(0)
    assert engine.acks() == [(AckStatus.REFUSED, 1)]
    assert engine.digest() == twin.digest()


def test_command_when_of_another_generation_then_stale(engine: VirtualEngine) -> None:
    command(engine, w.COMMAND_WRITE, "Level", word(1), generation=9)
    engine.scan(0)
    assert engine.acks() == [(AckStatus.STALE, 1)]
    assert engine.read("Level") == 7


def test_commands_when_more_than_one_scan_takes_then_the_rest_follows_in_the_next(
    engine: VirtualEngine,
) -> None:
    for value in range(w.GROUP_MAX + 10):
        command(engine, w.COMMAND_WRITE, "Level", word(value))
    engine.scan(0)
    assert engine.read("Level") == w.GROUP_MAX - 1
    engine.scan(MS)
    assert engine.read("Level") == w.GROUP_MAX + 9
    assert [scan for _, scan in engine.acks()] == [1] * w.GROUP_MAX + [2] * 10


# ---------------------------------------------------------------- several tasks


def two_tasks() -> Toy:
    """``Fast`` counts into the shared ``Ticks``; ``Slow`` copies it to ``Copied`` and writes ``Answer``."""
    lint = IecType.LINT
    variables = {
        "In": (lint, "I", 0), "Out": (lint, "Q", 0), "Ticks": (lint, "G", 0), "Answer": (lint, "G", 40),
        "Mine": (lint, "Fast", 0), "Copied": (lint, "Slow", 0), "Broken": (lint, "Slow", 0),
    }  # fmt: skip
    # Layout: header 64, I 64, Q 64, M 0, G 16: places of the shared variables are known.
    ticks, answer, out = 64 + 128, 64 + 136, 64 + 64
    tasks = (
        TaskSpec("Fast", "fast", period_ns=MS, priority=1, writes=(Region(ticks, 8), Region(out, 8))),
        TaskSpec("Slow", "slow", period_ns=10 * MS, priority=5, writes=(Region(answer, 8),)),
    )
    bodies = {
        "Fast": count("Ticks") + count("Mine", "m") + load("i", "In") + store("Out", "%i"),
        "Slow": load("t", "Ticks") + store("Copied", "%t") + store("Ticks", "-1")
        + "  %a = add i64 %t, 1000\n" + store("Answer", "%a") + load("b", "Broken") + fault_when("%b", 1002, 7),
    }  # fmt: skip
    return Toy(variables, bodies, tasks)


def test_tasks_when_sharing_then_only_declared_writes_come_out() -> None:
    engine = VirtualEngine(two_tasks().build())
    engine.scan(0, inputs=word(4), task="Fast")
    engine.scan(0, task="Slow")
    # Slow wrote Ticks in its own copy only: it does not declare that write.
    assert (engine.read("Ticks"), engine.read("Answer"), engine.read("Out")) == (1, 1001, 4)
    engine.scan(MS, task="Fast")
    assert engine.read("Ticks") == 2
    assert (engine.read("Copied"), engine.read("Mine")) == (1, 2)


def test_tasks_when_one_faults_then_the_node_is_in_fault() -> None:
    engine = VirtualEngine(two_tasks().build())
    engine.write("Broken", 1)
    assert engine.scan(0, task="Fast").fault is None
    fault = engine.scan(0, task="Slow").fault
    assert fault is not None and fault.code == "RF1002"
    with pytest.raises(TickworkError, match="SC3004"):
        engine.scan(MS, task="Fast")


def test_force_when_owned_by_another_task_then_held_in_that_task_only() -> None:
    engine = VirtualEngine(two_tasks().build())
    engine.force("Copied", 77)
    engine.scan(0, task="Fast")
    engine.scan(0, task="Slow")
    assert engine.read("Copied") == 77
    assert force_row(engine)["actual"] == 1


def test_force_when_shared_and_written_then_every_task_sees_it() -> None:
    engine = VirtualEngine(two_tasks().build())
    engine.force("Ticks", 500)
    engine.scan(0, task="Fast")
    engine.scan(0, task="Slow")
    assert (engine.read("Ticks"), engine.read("Copied"), engine.read("Answer")) == (500, 500, 1500)
    assert force_row(engine)["actual"] == 501  # what Fast computed from the forced value


def test_context_when_task_has_a_period_then_it_is_told() -> None:
    lint = IecType.LINT
    variables = {"Period": (lint, "Main", 0), "Wall": (lint, "Main", 0), "Scan": (lint, "Main", 0)}
    body = (
        context("p", 48)
        + store("Period", "%p")
        + context("u", 40)
        + store("Wall", "%u")
        + context("s", 56)
        + store("Scan", "%s")
    )
    engine = VirtualEngine(Toy(variables, {"Main": body}).build())
    engine.scan(0, wall_ns=123)
    engine.scan(MS, wall_ns=124)
    assert (engine.read("Period"), engine.read("Wall"), engine.read("Scan")) == (MS, 124, 2)


def test_scan_when_it_does_not_end_then_it_is_ended_as_by_the_watchdog(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scan_limit, "LIMIT_S", 0.1)
    engine = VirtualEngine(counter().build())
    assert engine.scan(0).fault is None
    engine.write("Spin", 1)
    fault = engine.scan(MS).fault
    assert fault is not None and fault.code == "RF1004"
