"""The ``[opcua]`` section of a plant file. Light: reading a plant file must not load a protocol library."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from dataclasses import dataclass

from drivers._table import Placer, Table, no_place

DEFAULT_PORT = 4840


@dataclass(frozen=True, slots=True)
class OpcUaConfig:
    """``directory`` keeps certificates and users. ``insecure`` adds policy None; ``anonymous`` reads without a user.

    ``trust_all`` accepts every client certificate; otherwise unknown ones go to ``rejected`` for an administrator.
    """

    node: str
    directory: pathlib.Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    insecure: bool = False
    anonymous: bool = False
    trust_all: bool = False
    hosts: tuple[str, ...] = ()  # further names and addresses for the certificate


@dataclass(frozen=True, slots=True)
class OpcUaSection:
    """``[opcua]`` as written; becomes an ``OpcUaConfig`` when node and directory are known."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    insecure: bool = False
    anonymous: bool = False
    trust_all: bool = False
    hosts: tuple[str, ...] = ()

    def config(self, node: str, directory: pathlib.Path) -> OpcUaConfig:
        return OpcUaConfig(
            node, directory, self.host, self.port, self.insecure, self.anonymous, self.trust_all, self.hosts
        )


def parse_server(table: Mapping[str, object], place: Placer = no_place) -> OpcUaSection:
    """Raises TickworkError with all problems of the section."""
    reader = Table(table, place)
    section = OpcUaSection(
        host=reader.text("host", "127.0.0.1"),
        port=reader.integer("port", DEFAULT_PORT, low=1, high=65_535),
        insecure=reader.flag("insecure", False),
        anonymous=reader.flag("anonymous", False),
        trust_all=reader.flag("trust_all", False),
        hosts=_hosts(reader),
    )
    reader.finish()
    reader.raise_problems()
    return section


def _hosts(reader: Table) -> tuple[str, ...]:
    value = reader.raw("hosts")
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        reader.problem(
            "DV1003", "hosts has a wrong value", key="hosts", expected='names or addresses: ["plc.example"]'
        )
        return ()
    return tuple(value)
