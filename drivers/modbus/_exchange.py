"""One block that is read while outputs are written with the same request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.modbus import pdu
from drivers.modbus._image import fetch_registers, swap_registers
from drivers.modbus._read import Reader
from drivers.modbus.config import Exchange, ReadBlock
from drivers.modbus.link import Job
from drivers.modbus.pdu import Failure

if TYPE_CHECKING:
    from drivers.modbus.device import DevicePoller


class ExchangeReader(Reader):
    """Writes and reads in one go (FC 23). While it is not known what to write it only reads (FC 3)."""

    __slots__ = ("_exchange", "_live", "_read_only", "_sending", "_target", "_urgent", "_written")

    def __init__(self, poller: DevicePoller, block: ReadBlock, exchange: Exchange) -> None:
        super().__init__(poller, block)
        self._exchange = exchange
        self._read_only = self._request
        self._target: bytes | None = None  # what the device shall have, None: whatever it has
        self._live = False
        self._urgent = False  # the scan has gone since the last request
        self._sending: bytes | None = None
        self._written: bytes | None = None  # what the device is known to have, None: unknown

    def follow(self, image: bytes, *, live: bool) -> None:
        """What is to be written from now on. Safe values do not wait for the period."""
        exchange = self._exchange
        self._target = fetch_registers(image, exchange.offset, exchange.count) if live else exchange.safe
        self._urgent = not live and (self._urgent or self._live)
        self._live = live
        if self._urgent and not self._open and self._target is not None:
            self._urgent = False
            self._poller.trigger(self)

    @property
    def settled(self) -> bool:
        return not self._open and (self._target is None or self._target == self._written)

    def lose(self, quality: int) -> None:
        super().lose(quality)
        self._target = self._written = None

    def _send(self) -> None:
        self._sending = self._target
        self._request = self._read_only if self._target is None else self._write_request(self._target)
        super()._send()

    def _write_request(self, value: bytes) -> pdu.Request:
        self._poller.statistics.writes += 1
        return pdu.read_write_registers(  # V1.1b3 §6.17: it writes before it reads
            read_address=self.block.address,
            read_count=self.block.count,
            write_address=self._exchange.address,
            values=swap_registers(value),
        )

    def _done(self, job: Job, reply: bytes, failure: Failure | None) -> None:
        if failure is None:
            self._written = self._sending
        super()._done(job, reply, failure)
