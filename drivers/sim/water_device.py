"""The water plant behind a Modbus TCP server of pymodbus: a peer that shares no code with our own Modbus.

The register map is documented in docs/modbus.md ("The simulated water plant").
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.sim.water import Controls, Fault, Readings, State, sense, step
from scan.problem import fail

FULL_SCALE = 27648  # what analogue modules commonly give for 100 %
FLOW_FULL_L_S = 12.0
REGISTER_MAX = 32767
STEP_S = 0.05
UNIT = 1
CONSUMER_START = 11059  # 40 %
SPACE = 16  # addresses in each table; unused ones read as 0


class WaterDevice:
    """Plant and registers. ``advance`` moves the plant; ``simdevice`` is what pymodbus serves."""

    def __init__(self, *, seed: int = 1) -> None:
        self.state = State()
        self._noise = random.Random(seed)  # noqa: S311 - sensor noise
        self._coils = [False] * SPACE
        self._holding = [0, CONSUMER_START] + [0] * (SPACE - 2)
        self.readings = sense(self.state, self._noise)

    @property
    def controls(self) -> Controls:
        fault = self._holding[2]
        return Controls(
            pump_run=self._coils[0],
            inlet_open=self._coils[1],
            horn=self._coils[2],
            pump_speed=min(self._holding[0] / FULL_SCALE, 1.0),
            consumer=min(self._holding[1] / FULL_SCALE, 1.0),
            fault=Fault(fault) if fault in Fault._value2member_map_ else Fault.NONE,
        )

    def advance(self, duration_s: float) -> None:
        self.state = step(self.state, self.controls, duration_s)
        self.readings = sense(self.state, self._noise)

    def input_registers(self) -> list[int]:
        r = self.readings
        return [
            _raw(r.level_1),
            _raw(r.level_2),
            _raw(r.transfer_flow / FLOW_FULL_L_S),
            round(10 * r.motor_c) & 0xFFFF,
            _raw(r.inlet_flow / FLOW_FULL_L_S),
            _raw(r.speed),
        ]

    def discrete_inputs(self) -> list[bool]:
        r: Readings = self.readings
        return [r.overtemperature, r.pump_running, r.tank_2_high, r.tank_1_low]

    def simdevice(self) -> SimDevice:
        bits = [SimData(0, values=[False] * SPACE, datatype=DataType.BITS)]
        registers = [SimData(0, count=SPACE, values=0, datatype=DataType.REGISTERS)]
        return SimDevice(UNIT, simdata=(bits, bits, registers, registers), action=self._access)

    async def _access(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """pymodbus asks before each access; its own copy of the registers is brought up to date here."""
        if function in (5, 15) and values:
            self._coils[address : address + len(values)] = [bool(v) for v in values]
        elif function in (6, 16, 22, 23) and values:
            self._holding[address : address + len(values)] = [int(v) for v in values]
        elif function == 1:
            registers[0] = _pack(self._coils)
        elif function == 2:
            registers[0] = _pack(self.discrete_inputs())
        elif function == 4:
            words = self.input_registers()
            registers[: len(words)] = words
        else:
            registers[:] = self._holding
        return None


async def serve_water(
    *,
    host: str,
    port: int,
    seed: int = 1,
    speed: float = 1.0,
    stop: asyncio.Event,
    ready: asyncio.Future[int],
) -> None:
    """Runs the plant ``speed`` times as fast as time until ``stop``; ``ready`` gets the port. Raises DV3001."""
    device = WaterDevice(seed=seed)
    server = ModbusTcpServer(device.simdevice(), address=(host, port))
    if not await server.listen():
        raise fail(
            "DV3001",
            f"the simulated plant cannot listen at {host}:{port}",
            expected="a free port",
            found="the address is in use or not this machine's",
            remedy="stop the other program or choose another port with --port",
        )
    listener: Any = server.transport
    ready.set_result(listener.sockets[0].getsockname()[1])
    try:
        await _run(device, speed, stop)
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus leaves it without types


async def _run(device: WaterDevice, speed: float, stop: asyncio.Event) -> None:
    last = time.monotonic()
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), STEP_S)
        now = time.monotonic()
        device.advance((now - last) * speed)
        last = now


def _raw(fraction: float) -> int:
    return min(max(round(FULL_SCALE * fraction), 0), REGISTER_MAX)


def _pack(bits: list[bool]) -> int:
    return sum(bit << index for index, bit in enumerate(bits))
