"""Small parts of the command line: stored keys, the demo's plant file, shared memory, journal."""

import os
import pathlib
import subprocess
import sys

import pytest

from runtime import demo, shm
from runtime.credentials import Credentials
from runtime.gate_journal import FILE_NAME, Journal
from runtime.link import Event
from runtime.plant import parse_plant
from scan.problem import TickworkError


def test_credentials_when_stored_then_only_the_owner_reads_them(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TICKWORK_API_KEY", raising=False)
    path = tmp_path / "config" / "credentials.json"
    keys = Credentials(path)
    with pytest.raises(TickworkError) as raised:
        keys.key("https://s")
    assert raised.value.code == "CL2001"
    keys.store("https://s", "k1")
    keys.store("https://t", "k2")
    assert (keys.key("https://s"), keys.key("https://t")) == ("k1", "k2")
    assert path.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("TICKWORK_API_KEY", "other")
    assert keys.key("https://s") == "other"
    monkeypatch.delenv("TICKWORK_API_KEY")
    path.write_text("[]")
    with pytest.raises(TickworkError) as raised:
        keys.key("https://s")
    assert raised.value.code == "CL2002"


def test_demo_plant_when_ports_are_set_then_only_they_change(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "water"
    for ports, url in (
        (demo.Ports(1, 2222, 3333), "http://127.0.0.1:1"),
        (demo.Ports(1, 4444, 5555), "http://127.0.0.1:9"),
    ):
        demo.copy_example(demo.example_folder(), folder, ports, url)
        plant = parse_plant((folder / "plant.toml").read_text(), folder=folder)
        assert plant.device_tables[0]["port"] == ports.plant
        assert plant.opcua is not None
        assert plant.opcua.port == ports.opcua
        assert plant.supervisor is not None
        assert plant.supervisor.url == url
    assert len(list(folder.glob("*.st"))) >= 3


def test_segments_when_a_node_was_killed_then_the_next_one_removes_them(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shm, "memory_root", lambda: tmp_path)
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    stale = tmp_path / f"tickwork-n-{int(gone.stdout)}"
    other = tmp_path / f"tickwork-other-{int(gone.stdout)}"
    for folder in (stale, other):
        folder.mkdir()
    mine = shm.create("n")
    assert mine.name == f"tickwork-n-{os.getpid()}"
    assert mine.stat().st_mode & 0o077 == 0
    assert not stale.exists()
    assert other.exists()
    shm.remove(mine)
    assert not mine.exists()


def test_journal_when_it_grows_then_two_files_bound_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.gate_journal.SIZE_MAX", 1000)
    journal, seen = Journal(tmp_path), []
    journal.forward = seen.append
    for number in range(100):
        journal.note(Event(number, "k", "s", f"event {number}"))
    journal.close()
    assert len(seen) == 100
    assert [one.time_ns for one in journal.recent(3)] == [97, 98, 99]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2500
    assert "event 99" in (tmp_path / FILE_NAME).read_text()
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o077 == 0
