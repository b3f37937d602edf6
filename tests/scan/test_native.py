"""The cache of the compiled engine: built once, and again when it is torn."""

import pathlib
import shutil

import pytest

from scan import TickworkError, VirtualEngine
from scan._object import load_object
from scan.native import cache_directory, engine_digest, load_engine
from tests.scan.toy import counter


@pytest.fixture
def cached() -> pathlib.Path:
    load_engine()
    return cache_directory() / f"engine-{engine_digest()[:24]}.bin"


def test_engine_when_cached_then_loaded_from_any_cache_directory(
    cached: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    shutil.copy(cached, tmp_path / cached.name)
    before = (tmp_path / cached.name).stat().st_mtime_ns
    engine = VirtualEngine(counter().build(), cache=tmp_path)
    assert engine.scan(0).fault is None
    assert (tmp_path / cached.name).stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", [b"", b"TICKENG1", b"\0" * 100])
def test_engine_when_its_file_is_torn_then_it_counts_as_missing(
    cached: pathlib.Path, damage: bytes, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / cached.name
    path.write_bytes(damage)
    built: list[pathlib.Path] = []
    monkeypatch.setattr(
        "scan.native._build_in_process", lambda where: (built.append(where), shutil.copy(cached, where))
    )
    load_engine(tmp_path)
    assert built == [path]


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.999])
def test_engine_when_its_file_is_cut_anywhere_then_it_is_not_used(
    cached: pathlib.Path, keep: float, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = cached.read_bytes()
    (tmp_path / cached.name).write_bytes(data[: int(len(data) * keep)])
    monkeypatch.setattr("scan.native._build_in_process", lambda where: None)
    with pytest.raises(TickworkError, match="SC3001"):
        load_engine(tmp_path)


def test_engine_when_directory_cannot_be_written_then_code(tmp_path: pathlib.Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(TickworkError, match="SC3001"):
        load_engine(blocked / "cache")


def test_object_when_no_object_code_then_code() -> None:
    with pytest.raises(TickworkError, match="SC3002"):
        load_object(b"this is no object file", ["main"])
