"""Outputs that remote nodes follow: written when they differ, confirmed by the server, safe when the scan is gone.

Rules.
* Only the latest value counts: at most one Write is open, and it carries every output that differs by then.
* A value counts as written when the server said Good; with ``verify = "read-back"`` when it was also read back so.
* After each connection everything is written anew: what the server holds then is not known.
* A refused output is tried again after a pause and does not hold up the others.
"""

from __future__ import annotations

import math
import struct
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from asyncua import Client, ua

from .client_config import Output
from .client_points import engineering, fetch, to_integer

REFUSED_WAIT_NS = 1_000_000_000
_INTEGERS = {
    ua.VariantType.SByte: (-(2**7), 2**7 - 1), ua.VariantType.Byte: (0, 2**8 - 1),
    ua.VariantType.Int16: (-(2**15), 2**15 - 1), ua.VariantType.UInt16: (0, 2**16 - 1),
    ua.VariantType.Int32: (-(2**31), 2**31 - 1), ua.VariantType.UInt32: (0, 2**32 - 1),
    ua.VariantType.Int64: (-(2**63), 2**63 - 1), ua.VariantType.UInt64: (0, 2**64 - 1),
}  # fmt: skip


class _Follower:
    """One output and what its node is known to hold."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.node_id: Any = None
        self.kind: Any = None  # VariantType of the node
        self.is_array = False
        self.target: bytes | None = None  # what the node shall hold, None: whatever it holds
        self.written: bytes | None = None
        self.refresh_ns = 0
        self.not_before_ns = 0

    def due(self, now_ns: int) -> bool:
        if self.target is None or now_ns < self.not_before_ns:
            return False
        refresh_ns = self.output.refresh_ns
        return self.target != self.written or bool(refresh_ns and now_ns >= self.refresh_ns)


class Outputs:
    """All outputs of one device."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        self._followers = [_Follower(output) for output in outputs]
        self.refusals: Counter[str] = Counter()  # by name of the status code
        self.last_error = ""

    def __bool__(self) -> bool:
        return bool(self._followers)

    @property
    def settled(self) -> bool:
        return all(one.target is None or one.target == one.written for one in self._followers)

    def follow(self, image: bytes, *, live: bool) -> bool:
        """Takes over what the outputs say, or the safe values; True when something is to be written."""
        now_ns, due = time.monotonic_ns(), False
        for one in self._followers:
            one.target = fetch(one.output.point, image) if live else one.output.safe
            due = due or one.due(now_ns)
        return due

    async def prepare(self, client: Client, node_ids: Sequence[Any]) -> None:
        """Learns the data types of the nodes, on a new connection."""
        for one, node_id in zip(self._followers, node_ids, strict=True):
            one.written, one.not_before_ns, one.node_id = None, 0, node_id
            one.kind, one.is_array = await _type_of(client, node_id)

    async def write(self, client: Client, at_once: int) -> int:
        """Writes what is due, in requests of ``at_once`` nodes; how many were confirmed. Raises when lost."""
        now_ns = time.monotonic_ns()
        due = [one for one in self._followers if one.due(now_ns)]
        confirmed = 0
        for start in range(0, len(due), at_once):
            confirmed += await self._write(client, due[start : start + at_once])
        return confirmed

    async def _write(self, client: Client, batch: list[_Follower]) -> int:
        ready, sent, parameters = [], [], ua.WriteParameters()
        for one in batch:
            variant = _variant(one)
            if variant is None:
                self._refused(one, "BadTypeMismatch")
                continue
            assert one.target is not None
            ready.append(one)
            sent.append(one.target)
            parameters.NodesToWrite.append(_write_value(one, variant))
        if not ready:
            return 0
        codes = [code.name for code in await client.uaclient.write(parameters)]
        if any(one.output.read_back for one in ready):
            codes = await _read_back(client, ready, parameters.NodesToWrite, codes)
        now_ns = time.monotonic_ns()
        for one, value, code in zip(ready, sent, codes, strict=True):
            if not code.startswith("Good"):
                self._refused(one, code)
                continue
            one.written = value
            one.refresh_ns = now_ns + one.output.refresh_ns
        return sum(code.startswith("Good") for code in codes)

    def _refused(self, one: _Follower, code: str) -> None:
        self.refusals[code] += 1
        self.last_error = f"{one.output.node}: {code}"
        one.written = None
        one.not_before_ns = time.monotonic_ns() + REFUSED_WAIT_NS


async def _type_of(client: Client, node_id: Any) -> tuple[Any, bool]:
    """(VariantType, is array) of a node; the type is None where it cannot be learned."""
    node = client.get_node(node_id)
    try:
        kind = await node.read_data_type_as_variant_type()
        rank = int(await node.read_value_rank())
    except ua.UaError:
        return None, False
    return kind, rank >= 0


def _variant(one: _Follower) -> Any:
    """The target as the node's data type has it; None where it has no such form."""
    assert one.target is not None
    values = [_convert(value, one.kind) for value in engineering(one.output.point, one.target)]
    if one.kind is None or any(value is None for value in values):
        return None
    if one.output.point.count > 1 or one.is_array:
        return ua.Variant(values, one.kind, is_array=True)
    return ua.Variant(values[0], one.kind)


def _convert(value: object, kind: Any) -> object:
    if kind in _INTEGERS:
        return to_integer(value, *_INTEGERS[kind])
    if kind == ua.VariantType.Double:
        return float(value) if isinstance(value, int | float) else None
    if kind == ua.VariantType.Float:
        return _single(float(value)) if isinstance(value, int | float) else None
    if kind == ua.VariantType.Boolean:
        return bool(value) if isinstance(value, bool) or value in (0, 1) else None
    return value if kind == ua.VariantType.String and isinstance(value, str) else None


def _single(value: float) -> float:
    """As the node will hold it: a read-back compares with this."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _write_value(one: _Follower, variant: Any) -> Any:
    item = ua.WriteValue()
    item.NodeId = one.node_id
    item.AttributeId = ua.AttributeIds.Value
    if one.output.point.index >= 0:
        item.IndexRange = str(one.output.point.index)
    # Without timestamps: many servers take none from a client (OPC 10000-4 §5.11.4).
    item.Value = ua.DataValue(variant)
    return item


async def _read_back(
    client: Client, ready: list[_Follower], written: list[Any], codes: list[str]
) -> list[str]:
    asked = [
        index for index, one in enumerate(ready) if one.output.read_back and codes[index].startswith("Good")
    ]
    parameters = ua.ReadParameters()
    for index in asked:
        item = ua.ReadValueId()
        item.NodeId, item.AttributeId = written[index].NodeId, ua.AttributeIds.Value
        item.IndexRange = written[index].IndexRange
        parameters.NodesToRead.append(item)
    found = await client.uaclient.read(parameters) if asked else []
    for index, value in zip(asked, found, strict=True):
        if value.Value is None or value.Value.Value != written[index].Value.Value.Value:
            codes[index] = "read back differently"
    return codes
