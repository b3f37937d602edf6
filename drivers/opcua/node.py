"""What the server needs of its node beside the view: orders of people, facts, and what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from scan.abi import Symbol

from .conditions import ConditionSource
from .diagnostics import Device


class Orders(Protocol):
    """Carries out what people ask for; each answers "" when it took effect, else the reason. All are audited."""

    async def write(self, values: Mapping[Symbol, object], user: str) -> str: ...
    async def force(self, symbol: Symbol, value: object, *, user: str, reason: str, lease_s: int) -> str: ...
    async def unforce(self, symbol: Symbol, user: str) -> str: ...
    async def order(self, action: str, user: str) -> str: ...  # "start", "stop"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything of a node that an OPC UA server can use beside its view; what is None is not offered."""

    orders: Orders
    devices: Callable[[], Sequence[Device]] = tuple  # asked once a second
    alarms: ConditionSource | None = None
