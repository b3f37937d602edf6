"""How an operation of the REST API is declared: once, as a table row from which routes and OpenAPI are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from supervisor.model import Actor, Page, Role
from supervisor.services import Services

Item = TypeVar("Item")


class Items(msgspec.Struct, Generic[Item], frozen=True):
    """A list. ``next``: the value of ``before`` for the following page; 0 when this is the last one."""

    items: tuple[Item, ...]
    next: int = 0


class NoQuery(msgspec.Struct, frozen=True):
    pass


class Paged(msgspec.Struct, frozen=True):
    before: int = 0
    limit: int = 50

    @property
    def page(self) -> Page:
        return Page(self.before, max(1, min(self.limit, 1000)))


@dataclass(frozen=True, slots=True)
class Call:
    """One request, understood: who, which path parameters, query and body in the declared types."""

    services: Services
    actor: Actor
    path: dict[str, str]
    query: Any
    body: Any

    def number(self, name: str) -> int:
        text = self.path[name]
        return int(text) if text.isdecimal() and len(text) < 16 else -1  # -1 is nobody's number: 404


Handler = Callable[[Call], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Operation:
    """``body``: a struct type for JSON, ``bytes`` for a raw body, None for none. ``result``: None is 204."""

    method: str
    path: str
    role: Role
    summary: str
    handler: Handler
    result: Any = None
    query: type[msgspec.Struct] = NoQuery
    body: Any = None
    status: int = 200
    tag: str = ""


def items(found: tuple[Item, ...], limit: int, number: Callable[[Item], int]) -> Items[Item]:
    """A page; ``number`` gives what ``before`` is compared with."""
    return Items(found, number(found[-1]) if found and len(found) >= limit else 0)
