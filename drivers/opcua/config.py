"""The ``[opcua]`` section of a plant file. Light: reading a plant file must not load a protocol library."""

from __future__ import annotations

import fnmatch
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields

import msgspec

from drivers._table import Placer, Table, no_place
from scan.abi import Symbol

DEFAULT_PORT = 4840
ACCESS = ("r", "rw", "none")
WRITE_ROLES = ("operator", "engineer", "admin")
RULES_MAX = 1000


@dataclass(frozen=True, slots=True)
class VariableRule:
    """What the plant file says of variables whose path fits ``path`` ("*" any text); what it leaves out stays."""

    path: str
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    description: str | None = None
    access: str | None = None
    write: str | None = None  # the least role that may write

    def changes(self) -> dict[str, object]:
        named = {
            "unit": self.unit, "low": self.low, "high": self.high, "comment": self.description,
            "access": self.access, "write_role": self.write,
        }  # fmt: skip
        return {name: value for name, value in named.items() if value is not None}


def apply_rules(symbols: Iterable[Symbol], rules: tuple[VariableRule, ...]) -> Iterator[Symbol]:
    """The variables as the plant file wants them; of two rules for one variable the later one wins."""
    compiled = [(re.compile(fnmatch.translate(rule.path)), rule.changes()) for rule in rules]
    for symbol in symbols:
        changes: dict[str, object] = {}
        for pattern, wanted in compiled:
            if pattern.match(symbol.path):
                changes |= wanted
        yield msgspec.structs.replace(symbol, **changes) if changes else symbol


@dataclass(frozen=True, slots=True)
class OpcUaSection:
    """``[opcua]`` as written; becomes an ``OpcUaConfig`` when node and directory are known.

    ``insecure`` adds policy None; ``anonymous`` reads without a user; ``trust_all`` accepts every client certificate,
    otherwise unknown ones go to ``rejected`` for an administrator.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    insecure: bool = False
    anonymous: bool = False
    trust_all: bool = False
    hosts: tuple[str, ...] = ()  # further names and addresses for the certificate
    history: tuple[str, ...] = ()  # paths of variables with a history, "*" any text
    history_ms: int = 1000  # between two samples of the history
    history_mb: int = 32  # kept at most
    variables: tuple[VariableRule, ...] = ()

    def config(self, node: str, directory: pathlib.Path) -> OpcUaConfig:
        told = {one.name: getattr(self, one.name) for one in fields(OpcUaSection)}
        return OpcUaConfig(node=node, directory=directory, **told)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpcUaConfig(OpcUaSection):
    """``directory`` keeps certificates and users."""

    node: str
    directory: pathlib.Path


def parse_server(table: Mapping[str, object], place: Placer = no_place) -> OpcUaSection:
    """Raises TickworkError with all problems of the section."""
    reader = Table(table, place)
    section = OpcUaSection(
        host=reader.text("host", "127.0.0.1"),
        port=reader.integer("port", DEFAULT_PORT, low=1, high=65_535),
        insecure=reader.flag("insecure", False),
        anonymous=reader.flag("anonymous", False),
        trust_all=reader.flag("trust_all", False),
        hosts=_texts(reader, "hosts", 'names or addresses: ["plc.example"]'),
        history=_texts(reader, "history", 'paths of variables: ["Control.*"]'),
        history_ms=reader.integer("history_ms", 1000, low=100, high=3_600_000),
        history_mb=reader.integer("history_mb", 32, low=1, high=1024),
        variables=tuple(_rules(reader)),
    )
    reader.finish()
    reader.raise_problems()
    return section


def _texts(reader: Table, key: str, expected: str) -> tuple[str, ...]:
    value = reader.raw(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        reader.problem("DV1003", f"{key} has a wrong value", key=key, expected=expected)
        return ()
    return tuple(value)


def _rules(reader: Table) -> Iterator[VariableRule]:
    tables = list(reader.tables("variable"))
    if len(tables) > RULES_MAX:
        reader.problem("DV1003", "too many variables", key="variable", expected=f"at most {RULES_MAX}")
        return
    for table in tables:
        rule = VariableRule(
            path=table.text("path"),
            unit=table.text("unit") if "unit" in table else None,
            low=table.number("low", 0.0) if "low" in table else None,
            high=table.number("high", 0.0) if "high" in table else None,
            description=table.text("description") if "description" in table else None,
            access=table.choice("access", ACCESS) if "access" in table else None,
            write=table.choice("write", WRITE_ROLES) if "write" in table else None,
        )
        table.finish()
        if rule.low is not None and rule.high is not None and rule.low >= rule.high:
            table.problem("DV1003", "low is not below high", key="low", expected="low < high")
        yield rule
