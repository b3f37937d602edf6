"""``tickwork watch``: live values of a node in the terminal, read from shared memory without asking any process."""

from __future__ import annotations

import fnmatch
import pathlib
import time
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table

import scan
from runtime import console
from runtime.cli_node import JsonOption, NodeOption, StateOption, quality_text
from runtime.find_node import running_node
from scan.problem import fail

app = typer.Typer()

INTERVAL_S = 0.25
ROWS_MAX = 200  # more than any terminal shows


@app.command()
def watch(
    patterns: Annotated[
        list[str] | None, typer.Argument(help="Names with * and ?; default: all tags that are not internal.")
    ] = None,
    node: NodeOption = "",
    state: StateOption = None,
    once: Annotated[bool, typer.Option("--once", help="Print the values one time and end.")] = False,
    interval_s: Annotated[
        float, typer.Option(min=0.05, max=60.0, help="Time between two looks.")
    ] = INTERVAL_S,
    json: JsonOption = False,
) -> None:
    """Watch live values of a running node.

    Example: tickwork watch "Main.*level*" --once --json
    """
    console.use_json(json)
    _, file = running_node(node, state)
    rows = Rows(pathlib.Path(file.segments), tuple(patterns or ("*",)))
    if json:
        console.give(rows.plain())
    elif once or not console.out.is_terminal:
        console.out.print(rows.table(ROWS_MAX))
    else:
        _live(rows, interval_s)


def _live(rows: Rows, interval_s: float) -> None:
    try:
        with Live(console=console.out, refresh_per_second=10, screen=False) as live:
            while True:
                live.update(rows.table(max(console.out.size.height - 4, 5)))
                time.sleep(interval_s)
    except KeyboardInterrupt:
        return


class Rows:
    """The watched variables of a node, found anew when its program changes."""

    def __init__(self, segments: pathlib.Path, patterns: tuple[str, ...]) -> None:
        self._patterns = tuple(pattern.upper() for pattern in patterns)
        self._view = scan.NodeView.open(segments)
        self._symbols: tuple[scan.Symbol, ...] = ()
        self._generation = -1

    def table(self, rows_max: int) -> Table:
        """Values as people read them; at most ``rows_max`` rows."""
        snapshot, symbols = self._look()
        state = self._view.state.name.lower() if self._view.alive else "scan process not alive"
        title = f"{state}  scan {snapshot.scan if snapshot else 0}"
        table = Table(title=title, title_justify="left", box=None)
        for heading in ("variable", "value", "unit", "quality", "comment"):
            table.add_column(heading, justify="right" if heading == "value" else "left", no_wrap=True)
        if snapshot is None:
            return table
        for symbol in symbols[:rows_max]:
            value = scan.format_value(symbol, scan.read_value(snapshot.block, symbol))
            quality = quality_text(self._view.quality(symbol))
            table.add_row(symbol.path, value, symbol.unit, quality, symbol.comment)
        if len(symbols) > rows_max:
            table.caption = f"{len(symbols) - rows_max} more; name what you want to see"
        return table

    def plain(self) -> dict[str, object]:
        """The same for machines."""
        snapshot, symbols = self._look()
        if snapshot is None:
            return {"state": self._view.state.name.lower(), "scan": 0, "values": {}}
        values = {symbol.path: dict(self._fields(snapshot, symbol)) for symbol in symbols}
        return {
            "state": self._view.state.name.lower(), "alive": self._view.alive, "scan": snapshot.scan,
            "wall_ns": snapshot.wall_ns, "values": values,
        }  # fmt: skip

    def _fields(self, snapshot: scan.Snapshot, symbol: scan.Symbol) -> Iterator[tuple[str, object]]:
        value = scan.read_value(snapshot.block, symbol)
        yield "value", value
        yield "text", scan.format_value(symbol, value)
        yield "type", symbol.type_name
        yield "quality", self._view.quality(symbol)

    def _look(self) -> tuple[scan.Snapshot | None, tuple[scan.Symbol, ...]]:
        self._view.refresh()
        application = self._view.application
        if self._view.generation != self._generation:
            self._generation = self._view.generation
            self._symbols = self._chosen(application.symbols) if application else ()
        return (self._view.snapshot(), self._symbols) if application else (None, ())

    def _chosen(self, symbols: tuple[scan.Symbol, ...]) -> tuple[scan.Symbol, ...]:
        found = tuple(
            symbol
            for symbol in symbols
            if symbol.access != "none"
            and any(fnmatch.fnmatchcase(symbol.path.upper(), pattern) for pattern in self._patterns)
        )
        if not found and self._patterns != ("*",):
            raise fail(
                "CL1004", "no variable has such a name", found=", ".join(self._patterns).lower(),
                remedy="`tickwork watch --once` lists them all; * stands for any text",
            )  # fmt: skip
        return found
