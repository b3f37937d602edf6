"""Units behind pymodbus' server, with a transport that misbehaves on request.

pymodbus takes the request apart, executes it and builds the reply, so a mistake of ``drivers.modbus`` is not answered
by the same mistake here. Listening and sending are ours, because pymodbus can send nothing but right replies, and
because it loses requests that arrive together.
"""

from __future__ import annotations

from collections import deque

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.sim.faults import Exchange, Fault, Step, parts_of
from drivers.sim.registers import RegisterDevice


class SimulatedUnits:
    """Base of the simulated devices. A unit that is missing stays silent, as behind a simple gateway.

    ``faults``: one is taken for each reply; when empty, ``always`` (if any) applies.
    """

    def __init__(self, units: dict[int, RegisterDevice], framer: FramerType) -> None:
        self.units = units
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self._framer = framer
        self._session: _Session | None = None

    async def respond(self, frame: bytes) -> list[Step]:
        """What the line carries after the request ``frame``; no steps where a device stays silent."""
        session = self._connected()
        asked = parts_of(session.framer, frame)
        if asked.unit in self.units:
            self.units[asked.unit].heard(asked.pdu)
        elif asked.unit or self._framer is not FramerType.RTU:
            return []
        reply = await session.exchange(frame)
        if not reply:
            return []
        fault = self.faults.popleft() if self.faults else self.always
        return fault(Exchange(session.framer, asked, reply)) if fault else [Step(reply)]

    def frame_size(self, start: bytes) -> int:
        """Length of the RTU request that ``start`` begins with: 0 while unknown, -1 if it cannot be one."""
        if len(start) < 2:
            return 0
        request = self._connected().server.decoder.lookupPduClass(start)
        if request is None:
            return -1
        try:
            return int(request.calculateRtuFrameSize(start))
        except IndexError:
            return 0

    def _connected(self) -> _Session:
        if self._session is None:  # pymodbus wants the running loop
            self._session = _session(self.units, self._framer)
        return self._session


def _session(units: dict[int, RegisterDevice], framer: FramerType) -> _Session:
    point = SimDevice(1, simdata=[SimData(0, count=1, values=0, datatype=DataType.REGISTERS)])
    server = ModbusTcpServer(point, framer=framer, broadcast_enable=framer is FramerType.RTU)
    server.control.Identity.VendorName = "Tickwork"  # pymodbus keeps one for the whole process
    server.control.Identity.ProductCode = "simulated device"
    server.context = _Tables(units)  # type: ignore[assignment]  # pymodbus' own tables copy each point
    return _Session(server)


class _Session(ServerRequestHandler):
    """pymodbus' side of a connection, fed by hand with one whole frame at a time."""

    def __init__(self, server: ModbusTcpServer) -> None:
        super().__init__(server, None, None, None)  # type: ignore[no-untyped-call]
        self._sent = b""

    async def exchange(self, frame: bytes) -> bytes:
        """The reply frame; b"" when the frame is damaged, a broadcast, or for a unit that is not here."""
        self._sent = b""
        self.callback_data(frame)
        await self.handle_request()  # type: ignore[no-untyped-call]
        return self._sent

    def handle_later(self) -> None:
        """Nothing: ``exchange`` has executed the request already."""

    def send(self, data: bytes, addr: tuple[object, ...] | None = None) -> None:
        self._sent = data


class _Tables:
    """What pymodbus asks for points: the interface of its ``ModbusServerContext``."""

    def __init__(self, units: dict[int, RegisterDevice]) -> None:
        self._units = units

    def device_ids(self) -> list[int]:
        return list(self._units)

    async def async_getValues(  # noqa: N802 - pymodbus' name
        self, device_id: int, func_code: int, address: int, count: int = 1
    ) -> list[int] | list[bool] | ExcCodes:
        return self._units[device_id].read(func_code, address, count)

    async def async_setValues(  # noqa: N802 - pymodbus' name
        self, device_id: int, func_code: int, address: int, values: list[int] | list[bool]
    ) -> ExcCodes | None:
        return self._units[device_id].write(func_code, address, values)
