"""A small water plant as equations: two tanks, inlet valve, transfer pump, consumer.

Theory. Tank 1 is filled through the inlet valve; the pump lifts water from tank 1 to tank 2 against a static head, so
that it delivers nothing below about a quarter of its speed; the consumer drains tank 2 through a valve with the flow
of an orifice (square root of the level). The motor warms with the cube of its speed, far more when it runs dry or its
cooling is blocked. ``step`` is a pure function of state, controls and time step; only ``sense`` knows noise.

Units: litres, litres per second, degrees Celsius, seconds; openings, speeds and levels are fractions 0–1.
"""

from __future__ import annotations

import enum
import math
import random
from dataclasses import dataclass, replace

TANK_VOLUME_L = 600.0
INLET_FLOW_MAX = 10.0
PUMP_FLOW_MAX = 10.0
CONSUMER_FLOW_MAX = 8.0
INLET_TRAVEL_S = 2.0
PUMP_RAMP_S = 3.0
STATIC_HEAD = 0.22  # speed at which the pump just lifts the water into an empty tank 2
HEAD_OF_LEVEL = 0.06  # further speed that a full tank 2 needs
AMBIENT_C = 20.0
MOTOR_TAU_S = 40.0
MOTOR_RISE_C = 45.0  # at full speed
DRY_RISE_C = 90.0  # in addition, running dry at full speed
BLOCKED_FACTOR = 2.6  # rise with blocked cooling
OVERTEMPERATURE_ON_C = 90.0
OVERTEMPERATURE_OFF_C = 75.0
EMPTY = 0.002  # below this level the pump sucks air
STEP_MAX_S = 0.1


class Fault(enum.IntEnum):
    """What a person may break in the plant."""

    NONE = 0
    COOLING_BLOCKED = 1
    LEVEL_2_STUCK = 2
    INLET_JAMMED = 3
    PUMP_DOES_NOT_START = 4


@dataclass(frozen=True, slots=True)
class Controls:
    """What reaches the actuators."""

    pump_run: bool = False
    inlet_open: bool = False
    horn: bool = False
    pump_speed: float = 0.0
    consumer: float = 0.4
    fault: Fault = Fault.NONE


@dataclass(frozen=True, slots=True)
class State:
    level_1: float = 0.5
    level_2: float = 0.3
    inlet: float = 0.0  # valve opening
    speed: float = 0.0  # pump speed
    motor_c: float = AMBIENT_C
    overtemperature: bool = False
    transfer_flow: float = 0.0
    inlet_flow: float = 0.0
    consumer_flow: float = 0.0
    shown_level_2: float = 0.3  # what the sensor of tank 2 sees


@dataclass(frozen=True, slots=True)
class Readings:
    """What the sensors say, with their noise."""

    level_1: float
    level_2: float
    transfer_flow: float
    inlet_flow: float
    motor_c: float
    speed: float
    overtemperature: bool
    pump_running: bool
    tank_2_high: bool
    tank_1_low: bool


def step(state: State, controls: Controls, duration_s: float) -> State:
    """The plant after ``duration_s``, in steps short enough for its time constants."""
    count = max(1, math.ceil(duration_s / STEP_MAX_S))
    for _ in range(count):
        state = _step(state, controls, duration_s / count)
    return state


def sense(state: State, noise: random.Random) -> Readings:
    """Levels with 0.1 %, flows with 0.05 l/s and the temperature with 0.1 K standard deviation."""
    return Readings(
        level_1=state.level_1 + noise.gauss(0, 0.001),
        level_2=state.shown_level_2 + noise.gauss(0, 0.001),
        transfer_flow=state.transfer_flow + noise.gauss(0, 0.05),
        inlet_flow=state.inlet_flow + noise.gauss(0, 0.05),
        motor_c=state.motor_c + noise.gauss(0, 0.1),
        speed=state.speed,
        overtemperature=state.overtemperature,
        pump_running=state.speed > 0.1,
        tank_2_high=state.level_2 >= 0.95,
        tank_1_low=state.level_1 <= 0.05,
    )


def pump_flow(speed: float, *, level_2: float) -> float:
    """Delivery at a speed: the affinity law against the static head of tank 2."""
    head = STATIC_HEAD + HEAD_OF_LEVEL * level_2
    if speed <= head:
        return 0.0
    return PUMP_FLOW_MAX * math.sqrt((speed**2 - head**2) / (1 - head**2))


def _step(state: State, controls: Controls, dt: float) -> State:
    inlet = state.inlet
    if controls.fault is not Fault.INLET_JAMMED:
        inlet = _approach(inlet, float(controls.inlet_open), dt / INLET_TRAVEL_S)
    runs = controls.pump_run and controls.fault is not Fault.PUMP_DOES_NOT_START
    speed = _approach(state.speed, controls.pump_speed if runs else 0.0, dt / PUMP_RAMP_S)
    inlet_flow = INLET_FLOW_MAX * inlet
    dry = state.level_1 <= EMPTY
    transfer = 0.0 if dry else pump_flow(speed, level_2=state.level_2)
    consumer = CONSUMER_FLOW_MAX * controls.consumer * math.sqrt(max(state.level_2, 0.0))
    level_1 = _clip(state.level_1 + (inlet_flow - transfer) * dt / TANK_VOLUME_L)
    level_2 = _clip(state.level_2 + (transfer - consumer) * dt / TANK_VOLUME_L)
    motor_c = _warm(state.motor_c, speed, dt, dry=dry, blocked=controls.fault is Fault.COOLING_BLOCKED)
    limit = OVERTEMPERATURE_OFF_C if state.overtemperature else OVERTEMPERATURE_ON_C
    return replace(
        state,
        level_1=level_1,
        level_2=level_2,
        inlet=inlet,
        speed=speed,
        motor_c=motor_c,
        overtemperature=motor_c >= limit,
        transfer_flow=transfer,
        inlet_flow=inlet_flow,
        consumer_flow=consumer,
        shown_level_2=state.shown_level_2 if controls.fault is Fault.LEVEL_2_STUCK else level_2,
    )


def _warm(motor_c: float, speed: float, dt: float, *, dry: bool, blocked: bool) -> float:
    rise = (MOTOR_RISE_C + (DRY_RISE_C if dry else 0.0)) * speed**3
    target = AMBIENT_C + rise * (BLOCKED_FACTOR if blocked else 1.0)
    return motor_c + (target - motor_c) * (1 - math.exp(-dt / MOTOR_TAU_S))


def _approach(value: float, target: float, distance: float) -> float:
    return value + max(-distance, min(distance, target - value))


def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)
