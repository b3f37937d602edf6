"""Standard blocks: step tables on the Python form, and the compiled form against it under random inputs."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from programs import hir
from programs.blocks import Block, block, context, standard_blocks, standard_pou
from programs.blocks_compile import compile_block
from programs.native_cache import Cache, default_cache_dir
from scan.abi import CONTEXT_DTYPE
from scan.problem import TickworkError
from tests.programs.hir_builder import BOOL, INT, Machine, assign, element, load_of, place, program_of, var

MS = 1_000_000
BLOCKS = standard_blocks()
Step = tuple[int, dict[str, Any], dict[str, Any]]


def play(name: str, steps: list[Step]) -> None:
    """Each step: time in ms, inputs to set, outputs to expect."""
    found = BLOCKS[name]
    instance = found.new()
    for at_ms, inputs, outputs in steps:
        for pin, value in inputs.items():
            setattr(instance, pin, value)
        found.py_func(instance, context(at_ms * MS))
        assert {pin: int(getattr(instance, pin)) for pin in outputs} == outputs, f"at {at_ms} ms"


TABLES: dict[str, tuple[str, list[Step]]] = {
    "TON follows its input after PT": (
        "TON",
        [
            (0, {"IN": 1, "PT": 30 * MS}, {"Q": 0, "ET": 0}),
            (20, {}, {"Q": 0, "ET": 20 * MS}),
            (30, {}, {"Q": 1, "ET": 30 * MS}),
            (90, {}, {"Q": 1, "ET": 30 * MS}),
            (95, {"IN": 0}, {"Q": 0, "ET": 0}),
        ],
    ),
    "TON with PT 0 is on at once": ("TON", [(0, {"IN": 1, "PT": 0}, {"Q": 1, "ET": 0})]),
    "TON takes a shorter PT while it runs": (
        "TON",
        [
            (0, {"IN": 1, "PT": 50 * MS}, {"Q": 0}),
            (20, {"PT": 10 * MS}, {"Q": 1, "ET": 10 * MS}),
        ],
    ),
    "TON stays on when PT grows later": (
        "TON",
        [
            (0, {"IN": 1, "PT": 10 * MS}, {"Q": 0}),
            (10, {}, {"Q": 1}),
            (20, {"PT": 90 * MS}, {"Q": 1, "ET": 10 * MS}),
        ],
    ),
    "TOF is off before its input was on": ("TOF", [(0, {"IN": 0, "PT": 30 * MS}, {"Q": 0, "ET": 0})]),
    "TOF holds for PT": (
        "TOF",
        [
            (0, {"IN": 1, "PT": 30 * MS}, {"Q": 1}),
            (10, {"IN": 0}, {"Q": 1, "ET": 0}),
            (30, {}, {"Q": 1, "ET": 20 * MS}),
            (40, {}, {"Q": 0, "ET": 30 * MS}),
            (50, {"PT": 90 * MS}, {"Q": 0}),
            (60, {"IN": 1}, {"Q": 1, "ET": 0}),
        ],
    ),
    "TP is one pulse an edge": (
        "TP",
        [
            (0, {"IN": 1, "PT": 20 * MS}, {"Q": 1, "ET": 0}),
            (10, {"IN": 0}, {"Q": 1}),
            (15, {"IN": 1}, {"Q": 1, "ET": 15 * MS}),
            (20, {}, {"Q": 0, "ET": 20 * MS}),
            (60, {}, {"Q": 0, "ET": 20 * MS}),
            (70, {"IN": 0}, {"Q": 0, "ET": 0}),
            (80, {"IN": 1}, {"Q": 1, "ET": 0}),
        ],
    ),
    "CTU counts edges, not levels, and not what lasted through a reset": (
        "CTU",
        [
            (0, {"CU": 1, "PV": 2}, {"CV": 1, "Q": 0}),
            (1, {}, {"CV": 1}),
            (2, {"CU": 0}, {"CV": 1}),
            (3, {"CU": 1}, {"CV": 2, "Q": 1}),
            (4, {"CU": 0}, {}),
            (5, {"CU": 1, "R": 1}, {"CV": 0, "Q": 0}),
            (6, {"R": 0}, {"CV": 0}),
        ],
    ),
    "CTU stops at the limit of its type": (
        "CTU",
        [
            (0, {"CV": 32767, "CU": 1}, {"CV": 32767, "Q": 1}),
        ],
    ),
    "CTD counts down below zero to the limit of its type": (
        "CTD",
        [
            (0, {"LD": 1, "PV": 1}, {"CV": 1, "Q": 0}),
            (1, {"LD": 0, "CD": 1}, {"CV": 0, "Q": 1}),
            (2, {"CD": 0}, {}),
            (3, {"CD": 1}, {"CV": -1, "Q": 1}),
        ],
    ),
    "CTUD cancels both edges, R beats LD": (
        "CTUD",
        [
            (0, {"CU": 1, "CD": 1, "PV": 5}, {"CV": 0, "QD": 1, "QU": 0}),
            (1, {"CU": 0, "CD": 0, "LD": 1}, {"CV": 5, "QU": 1}),
            (2, {"R": 1}, {"CV": 0}),
        ],
    ),
    "R_TRIG": (
        "R_TRIG",
        [(0, {"CLK": 1}, {"Q": 1}), (1, {}, {"Q": 0}), (2, {"CLK": 0}, {"Q": 0}), (3, {"CLK": 1}, {"Q": 1})],
    ),
    "F_TRIG": ("F_TRIG", [(0, {"CLK": 1}, {"Q": 0}), (1, {"CLK": 0}, {"Q": 1}), (2, {}, {"Q": 0})]),
    "SR is set dominant": ("SR", [(0, {"S1": 1, "R": 1}, {"Q1": 1}), (1, {"S1": 0}, {"Q1": 0})]),
    "RS is reset dominant": (
        "RS",
        [(0, {"S": 1, "R1": 1}, {"Q1": 0}), (1, {"R1": 0}, {"Q1": 1}), (2, {"S": 0}, {"Q1": 1})],
    ),
    "SEMA tells who was first": (
        "SEMA",
        [(0, {"CLAIM": 1}, {"BUSY": 0}), (1, {}, {"BUSY": 1}), (2, {"CLAIM": 0, "RELEASE": 1}, {"BUSY": 0})],
    ),
    "RTC runs on from PDT": (
        "RTC",
        [(5, {"IN": 1, "PDT": 100 * MS}, {"Q": 1, "CDT": 100 * MS}), (9, {}, {"CDT": 104 * MS})],
    ),
    "HYSTERESIS": (
        "HYSTERESIS",
        [
            (0, {"XIN1": 6.0, "XIN2": 5.0, "EPS": 2.0}, {"Q": 0}),
            (1, {"XIN1": 8.0}, {"Q": 1}),
            (2, {"XIN1": 4.0}, {"Q": 1}),
            (3, {"XIN1": 2.0}, {"Q": 0}),
        ],
    ),
    "INTEGRAL sums over seconds": (
        "INTEGRAL",
        [
            (0, {"RUN": 1, "XIN": 4.0, "CYCLE": 500 * MS}, {"XOUT": 2, "Q": 1}),
            (1, {}, {"XOUT": 4}),
            (2, {"R1": 1, "X0": 7.0}, {"XOUT": 7, "Q": 0}),
        ],
    ),
    "RAMP": (
        "RAMP",
        [
            (0, {"X0": 1.0, "X1": 5.0, "TR": 40 * MS, "CYCLE": 20 * MS}, {"XOUT": 1, "BUSY": 0}),
            (1, {"RUN": 1}, {"XOUT": 1, "BUSY": 1}),
            (2, {}, {"XOUT": 3, "BUSY": 1}),
            (3, {}, {"XOUT": 5, "BUSY": 0}),
        ],
    ),
}


@pytest.mark.parametrize("title", TABLES)
def test_block_when_stepped_then_as_the_table_says(title: str) -> None:
    play(*TABLES[title])


def test_pid_when_manual_then_output_is_bumpless_at_auto() -> None:
    pid = BLOCKS["PID"]
    instance = pid.new()
    instance.PV, instance.SP, instance.X0, instance.KP, instance.TR, instance.CYCLE = (
        3.0,
        5.0,
        10.0,
        2.0,
        4.0,
        0,
    )
    pid.py_func(instance, context())
    manual = float(instance.XOUT)
    instance.AUTO = 1
    pid.py_func(instance, context())
    assert manual == 20.0 and float(instance.XOUT) == manual


def test_derivative_when_input_rises_steadily_then_slope_per_second() -> None:
    derivative = BLOCKS["DERIVATIVE"]
    instance = derivative.new()
    instance.CYCLE = 100 * MS
    for number in range(6):
        instance.RUN, instance.XIN = int(number > 0), 0.5 * number
        derivative.py_func(instance, context())
    assert float(instance.XOUT) == pytest.approx(5.0)


class Native:
    """A block compiled and called on its own record."""

    def __init__(self, found: Block) -> None:
        from programs.native import Compiler, frame_objects, host_target
        from scan.abi import Application, Region, TaskSpec
        from scan.loader import load

        compiler = Compiler(host_target(), Cache(None))
        code = compiler.compile(compile_block(found, Cache(default_cache_dir())), [])
        none = Region(0, 0)
        application = Application(
            1,
            "",
            "",
            str(host_target()),
            0,
            none,
            none,
            none,
            none,
            b"",
            (),
            (TaskSpec("t", f"b.{found.name}"),),
            (),
            (),
            frame_objects([code]),
        )
        self.code = load(application)
        self.call = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4)(
            self.code.entry(f"b.{found.name}")
        )
        self.data = np.zeros(1, found.record())
        self.result = np.zeros(2, np.int64)

    def step(self, now_ns: int) -> int:
        scan = np.zeros(1, CONTEXT_DTYPE)
        scan["now_ns"] = now_ns
        scratch = self.result.ctypes.data
        return self.call(scratch, scratch + 8, self.data.ctypes.data, scan.ctypes.data)


NATIVE: dict[str, Native] = {}


def inputs_of(found: Block) -> st.SearchStrategy[dict[str, Any]]:
    record = found.record()
    choices: dict[str, st.SearchStrategy[Any]] = {}
    for variable in found.inputs:
        kind = record[variable.name]
        if variable.type == BOOL:
            choices[variable.name] = st.integers(0, 1)
        elif kind.kind == "f":
            choices[variable.name] = st.floats(-1e6, 1e6, width=32)
        elif "TIME" in str(variable.type) or kind.itemsize == 8:
            choices[variable.name] = (
                st.integers(-1, 60).map(lambda ms: ms * MS) if kind.kind == "i" else st.integers(0, 9)
            )
        else:
            choices[variable.name] = st.integers(0 if kind.kind == "u" else -3, 5)
    return st.fixed_dictionaries(choices)


@pytest.mark.parametrize("name", BLOCKS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_block_when_compiled_then_it_does_what_its_python_does(name: str, data: st.DataObject) -> None:
    found = BLOCKS[name]
    native = NATIVE.setdefault(name, Native(found)) if name not in NATIVE else NATIVE[name]
    native.data[:] = np.zeros(1, found.record())
    python = found.new()
    now_ns = 0
    for inputs in data.draw(st.lists(inputs_of(found), min_size=1, max_size=12)):
        now_ns += data.draw(st.integers(0, 40)) * MS
        for pin, value in inputs.items():
            setattr(python, pin, value)
            native.data[pin] = value
        with np.errstate(all="ignore"):
            found.py_func(python, context(now_ns))
        assert native.step(now_ns) in (0, -2)
        assert native.data.tobytes() == np.array([python], found.record()).tobytes() or _same(
            native.data, python
        )


def _same(data: np.ndarray, python: Any) -> bool:
    return all(np.array_equal(data[name][0], python[name], equal_nan=True) for name in data.dtype.names)


def test_standard_pou_when_asked_then_pins_and_hidden_state() -> None:
    pou = standard_pou("TON")
    assert pou is not None and pou is standard_pou("TON")
    assert [(one.name, one.direction) for one in pou.variables][:4] == [
        ("IN", "input"), ("PT", "input"), ("Q", "output"), ("ET", "output"),
    ]  # fmt: skip
    assert all(one.attributes == {"access": "none"} for one in pou.variables[4:])
    assert standard_pou("NOSUCH") is None


@block(inputs="X : INT", outputs="Y : INT", state="history : ARRAY[0..3] OF INT")
def delayed(b: Any, context: Any) -> None:
    """X of three calls ago; faults for X = 99."""
    b.Y = b.history[0]
    for index in range(3):
        b.history[index] = b.history[index + 1]
    b.history[3 + (b.X == 99)] = b.X


def user_machine() -> Machine:
    x, y = var("x", INT), var("y", INT)
    d = var("d", hir.Instance("DELAYED"))
    pou = delayed.pou()
    pins = {one.name: one for one in pou.variables}
    body: list[hir.Statement] = [
        hir.CallBlock(place(d), "DELAYED", [(pins["X"], load_of(x))], [(pins["Y"], place(y))], line=7)
    ]
    return Machine(program_of(body, [x, y, d], pous=[pou]), blocks={"DELAYED": delayed})


def test_user_block_when_called_from_a_program_then_state_is_in_the_block() -> None:
    machine = user_machine()
    seen = []
    for number in range(1, 7):
        machine.write("Main.x", number)
        assert machine.scan() == 0
        seen.append(machine.read("Main.y"))
    assert seen == [0, 0, 0, 0, 1, 2]
    assert machine.read("Main.d.history") == [3, 4, 5, 6]


def test_user_block_when_it_raises_then_fault_at_the_call() -> None:
    machine = user_machine()
    machine.write("Main.x", 99)
    assert machine.scan() == 1006
    assert machine.fault[:3] == (1006, "Main", 7)


def test_block_when_a_pin_cannot_be_then_problem() -> None:
    with pytest.raises(TickworkError) as caught:
        block(inputs="NAME : STRING")(lambda b, context: None)
    assert caught.value.code == "ST5001"
    with pytest.raises(TickworkError) as caught:
        block(inputs="IN BOOL")(lambda b, context: None)
    assert caught.value.code == "ST5002"


@block(inputs="X : REAL", outputs="Y : REAL")
def impossible(b: Any, context: Any) -> None:
    b.Y = open("/dev/null")  # noqa: SIM115


def test_block_when_python_cannot_be_compiled_then_problem_with_its_place() -> None:
    with pytest.raises(TickworkError) as caught:
        compile_block(impossible, Cache(None))
    problem = caught.value.problems[0]
    assert problem.code == "ST5003" and problem.place.file == __file__ and problem.place.line > 0


def test_element_helpers_when_used_then_array_is_written() -> None:
    a = var("a", hir.Array(INT, ((0, 1),)))
    machine = Machine(
        program_of([assign(element(a, hir.Constant(hir.Elementary(INT.type), 1)), hir.Constant(INT, 5))], [a])
    )
    assert machine.scan() == 0 and machine.read("Main.a") == [0, 5]
