"""Report by exception: deadbands, qualities, texts, and which variables are reported at all."""

from typing import Any

import numpy as np
import pytest

from runtime import uplink_report
from runtime.plant import Deadband, SupervisorSection
from runtime.uplink_report import ROWS_MAX, Reporter, deadbands, reported_symbols
from scan.abi import Application, IecType, Region, Symbol
from scan.quality import BAD

REAL, TEXT = (
    Symbol("Main.level", IecType.REAL, 0, 4, low=0.0, high=200.0),
    Symbol("Main.text", IecType.STRING, 4, 8),
)


class FakeGather:
    """Columns that a test sets by hand; every row counts as changed."""

    def __init__(self, _view: object, symbols: tuple[Symbol, ...]) -> None:
        self.values = np.zeros(len(symbols))
        self.quality = np.zeros(len(symbols), np.uint16)
        self.times = np.ones(len(symbols), np.int64)
        self.texts: dict[int, str] = {}

    def update(self, _snapshot: object) -> Any:
        return np.arange(len(self.values))

    def exact(self, row: int) -> str:
        return self.texts.get(row, "")


class FakeView:
    def snapshot(self) -> None:
        return None


def reporter(
    monkeypatch: pytest.MonkeyPatch, symbols: tuple[Symbol, ...], *rules: Deadband
) -> tuple[Reporter, FakeGather]:
    monkeypatch.setattr(uplink_report.scan, "Gather", FakeGather)
    one = Reporter(FakeView(), symbols, SupervisorSection("", deadbands=rules))  # type: ignore[arg-type]
    return one, one._gather  # type: ignore[return-value]


def test_changes_when_below_the_deadband_then_they_add_up_against_the_last_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, gather = reporter(monkeypatch, (REAL,), Deadband(("*",), percent=1.0))
    sent = []
    for value in (10.0, 11.0, 12.0, 12.5, 9.0, np.nan, np.nan, 9.0):
        gather.values[0] = value
        sent.append([float(one) for one in one.changes().values])
    shown = [["nan" if np.isnan(value) else value for value in row] for row in sent]
    assert shown == [[10.0], [], [], [12.5], [9.0], ["nan"], [], [9.0]]


def test_changes_when_only_the_quality_changes_then_it_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    one, gather = reporter(monkeypatch, (REAL,), Deadband(("*",), absolute=100.0))
    one.changes()
    gather.quality[0] = BAD
    assert list(one.changes().quality) == [BAD]
    assert len(one.changes().ids) == 0


def test_changes_when_it_is_a_text_then_it_travels_beside_the_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, gather = reporter(monkeypatch, (REAL, TEXT))
    gather.values[1], gather.texts[1] = np.nan, "hello"
    changes = one.changes()
    assert changes.texts == ((1, "hello"),)
    assert list(one.changes(everything=True).ids) == [0, 1]


def test_batches_when_there_are_many_rows_then_each_is_bounded_and_texts_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    symbols = (*(Symbol(f"a{i}", IecType.INT, 0, 2) for i in range(ROWS_MAX)), TEXT)
    one, gather = reporter(monkeypatch, symbols)
    gather.texts[ROWS_MAX] = "last"
    parts = list(one.changes().batches())
    assert [len(part.ids) for part in parts] == [ROWS_MAX, 1]
    assert parts[1].texts == ((0, "last"),)
    batch = parts[1].batch(7, "d", historical=True)
    assert np.frombuffer(batch.ids, np.uint32)[0] == ROWS_MAX
    assert (batch.seq, batch.historical) == (7, True)


def test_deadbands_when_two_rules_name_a_tag_then_the_first_holds() -> None:
    rules = (Deadband(("Main.lev*",), absolute=1.0), Deadband(("*",), absolute=9.0))
    assert list(deadbands((REAL, TEXT), SupervisorSection("", deadbands=rules))) == [1.0, 0.0]


def test_symbols_when_hidden_constant_or_long_then_they_are_not_reported() -> None:
    symbols = (
        REAL,
        Symbol("Main.hidden", IecType.INT, 0, 2, access="none"),
        Symbol("Main.fixed", IecType.INT, 0, 2, constant=True),
        Symbol("Main.ref", IecType.REF, 0, 8),
        Symbol("Main.short", IecType.INT, 16, 8, dims=((1, 2), (0, 1)), type_name="ARRAY"),
        Symbol("Main.long", IecType.INT, 16, 2000, dims=((1, 1000),)),
    )
    region = Region(0, 0)
    application = Application(
        1, "a", "d", "t", 64, region, region, region, region, b"", symbols, (), (), (), b""
    )  # fmt: skip
    found = reported_symbols(application, SupervisorSection("", exclude=("*short[[]1,0]",)))
    assert [(one.path, one.offset) for one in found] == [
        ("Main.level", 0), ("Main.short[1,1]", 18), ("Main.short[2,0]", 20), ("Main.short[2,1]", 22)
    ]  # fmt: skip
