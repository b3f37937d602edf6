"""Where the compiled engine is kept."""

import pathlib

import pytest

from runtime.scan_host import engine_cache


def test_engine_cache_when_there_is_a_home_then_all_nodes_of_the_user_share_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TICKWORK_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert engine_cache(tmp_path / "node") == tmp_path / "home" / "tickwork"
    monkeypatch.setenv("TICKWORK_CACHE", str(tmp_path / "given"))
    assert engine_cache(tmp_path / "node") == tmp_path / "given"


def test_engine_cache_when_the_home_cannot_be_made_then_it_is_the_node_s_own(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("TICKWORK_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert engine_cache(tmp_path / "node") == tmp_path / "node"
