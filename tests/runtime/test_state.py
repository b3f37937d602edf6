"""State directory: one holder, atomic files."""

import os
import pathlib
import subprocess
import sys

import pytest

from runtime.state import Current, NodeFile, StateDirectory, state_directory, write_atomically
from scan.problem import TickworkError


@pytest.fixture
def state(tmp_path: pathlib.Path) -> StateDirectory:
    directory = StateDirectory(tmp_path / "node")
    directory.create()
    return directory


def test_lock_when_held_then_a_second_node_is_refused_with_the_holder(state: StateDirectory) -> None:
    with state.locked():
        with pytest.raises(TickworkError) as raised, state.locked():
            pass
        assert raised.value.code == "PL2001"
        assert str(os.getpid()) in str(raised.value)
    with state.locked():
        pass


def test_lock_when_its_holder_was_killed_then_it_is_free(state: StateDirectory) -> None:
    code = (
        "import os, pathlib, sys\nfrom runtime.state import StateDirectory\n"
        "with StateDirectory(pathlib.Path(sys.argv[1])).locked():\n    os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(state.root)], check=False)
    assert state.lock.read_text().strip()
    with state.locked():
        assert state.lock.read_text().strip() == str(os.getpid())


def test_current_when_written_then_it_is_read_back_and_damage_means_none(state: StateDirectory) -> None:
    assert state.current() is None
    state.set_current(Current("a" * 64, "b"))
    assert state.current() == Current("a" * 64, "b")
    (state.root / "current").write_bytes(b"{")
    assert state.current() is None


def test_node_file_when_its_process_is_gone_then_no_node_runs(state: StateDirectory) -> None:
    node = NodeFile("n", os.getpid(), "/f", "/dev/shm/x", "/s")
    state.write_node_file(node)
    assert state.read_node_file() == node
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    state.write_node_file(NodeFile("n", int(gone.stdout), "/f", "/dev/shm/x", "/s"))
    assert state.read_node_file() is None


def test_files_when_made_then_only_the_owner_reads_them(state: StateDirectory) -> None:
    write_atomically(state.root / "secret", b"x")
    assert (state.root / "secret").stat().st_mode & 0o077 == 0
    assert state.identity.stat().st_mode & 0o077 == 0
    assert list(state.root.glob(".*")) == []


def test_create_when_the_place_is_a_file_then_a_remedy_is_given(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TickworkError) as raised:
        StateDirectory(tmp_path / "file" / "node").create()
    assert raised.value.code == "PL2002"


def test_state_directory_when_given_then_it_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.delenv("TICKWORK_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_directory("n") == tmp_path / "tickwork" / "n"
    monkeypatch.setenv("TICKWORK_STATE", str(tmp_path / "all"))
    assert state_directory("n") == tmp_path / "all" / "n"
    assert state_directory("n", "/var/lib/n") == pathlib.Path("/var/lib/n")
