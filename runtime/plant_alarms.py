"""``[[alarm]]`` in a plant file."""

from __future__ import annotations

from runtime.alarms.model import Definition
from runtime.alarms.parse import parse_tables
from runtime.toml_table import Table


def parse_alarms(root: Table) -> tuple[Definition, ...]:
    """The definitions of a plant file, each with its line. A name with $ stands in for that system alarm."""
    return parse_tables(root.tables("alarm"), origin="file", file=root.document.file)
