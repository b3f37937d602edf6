import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sim.water import (
    CONSUMER_FLOW_MAX,
    OVERTEMPERATURE_ON_C,
    TANK_VOLUME_L,
    Controls,
    Fault,
    State,
    pump_flow,
    sense,
    step,
)

CONTROLS = st.builds(
    Controls,
    pump_run=st.booleans(),
    inlet_open=st.booleans(),
    pump_speed=st.floats(0, 1),
    consumer=st.floats(0, 1),
    fault=st.sampled_from(Fault),
)


def run(controls: Controls, seconds: float, state: State | None = None) -> State:
    return step(state or State(), controls, seconds)


@given(st.lists(CONTROLS, max_size=8))
def test_plant_when_driven_by_anything_then_levels_and_speed_stay_physical(sequence: list[Controls]) -> None:
    state = State()
    for controls in sequence:
        state = run(controls, 20.0, state)
        assert 0 <= state.level_1 <= 1
        assert 0 <= state.level_2 <= 1
        assert 0 <= state.speed <= 1
        assert 15 < state.motor_c < 400


def test_plant_when_nothing_is_driven_then_tank_2_drains_through_the_consumer() -> None:
    state = run(Controls(consumer=0.4), 5.0)
    expected = 0.3 - CONSUMER_FLOW_MAX * 0.4 * 0.3**0.5 * 5 / TANK_VOLUME_L
    assert state.level_2 == pytest.approx(expected, abs=0.0005)
    assert state.level_1 == 0.5


def test_transfer_when_the_pump_runs_then_water_is_conserved() -> None:
    state = run(Controls(pump_run=True, pump_speed=0.8, consumer=0.0), 30.0)
    assert state.level_1 + state.level_2 == pytest.approx(0.8, abs=1e-9)
    assert state.level_2 > 0.5


def test_pump_when_started_then_it_needs_three_seconds_to_full_speed() -> None:
    controls = Controls(pump_run=True, pump_speed=1.0)
    assert run(controls, 1.5).speed == pytest.approx(0.5, abs=0.01)
    assert run(controls, 3.1).speed == 1.0


def test_pump_when_slow_then_the_static_head_holds_the_water() -> None:
    assert pump_flow(0.21, level_2=0.0) == 0
    assert pump_flow(1.0, level_2=0.5) == 10.0


@pytest.mark.parametrize("fault", [Fault.COOLING_BLOCKED, Fault.NONE])
def test_motor_when_at_full_speed_then_only_blocked_cooling_trips_it(fault: Fault) -> None:
    controls = Controls(pump_run=True, inlet_open=True, pump_speed=1.0, consumer=1.0, fault=fault)
    state = run(controls, 120.0)
    assert state.overtemperature == (fault is Fault.COOLING_BLOCKED)
    assert (state.motor_c > OVERTEMPERATURE_ON_C) == state.overtemperature


def test_switch_when_it_has_tripped_then_it_stays_until_the_motor_is_cool() -> None:
    hot = State(motor_c=85.0, overtemperature=True)
    assert run(Controls(), 1.0, hot).overtemperature
    assert not run(Controls(), 30.0, hot).overtemperature


def test_tank_1_when_pumped_empty_then_the_pump_runs_dry_and_hot() -> None:
    state = run(Controls(pump_run=True, pump_speed=1.0), 200.0)
    assert state.level_1 < 0.01
    assert state.transfer_flow == 0
    assert state.overtemperature


def test_sensor_when_stuck_then_it_shows_the_old_level() -> None:
    state = run(Controls(inlet_open=True, pump_run=True, pump_speed=1.0, fault=Fault.LEVEL_2_STUCK), 20.0)
    assert state.level_2 > 0.35
    assert sense(state, random.Random(1)).level_2 == pytest.approx(0.3, abs=0.01)


def test_readings_when_the_seed_is_the_same_then_they_are_the_same() -> None:
    assert sense(State(), random.Random(5)) == sense(State(), random.Random(5))
    assert sense(State(), random.Random(5)) != sense(State(), random.Random(6))
