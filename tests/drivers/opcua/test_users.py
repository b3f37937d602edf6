"""Who may do what on the OPC UA server."""

import pathlib

import pytest

from drivers.opcua.users import FAILURES_MAX, OpcUaUser, UserFile, UserManager
from scan.problem import TickworkError


def login(manager: UserManager, name: str | None, password: str | None = None) -> OpcUaUser | None:
    return manager.get_user(None, username=name, password=password)


def test_user_when_password_is_right_then_has_the_role(tmp_path: pathlib.Path) -> None:
    users = UserFile(tmp_path / "users.toml")
    users.add('ann "the operator"', "operator", "correct horse")
    manager = UserManager(UserFile(tmp_path / "users.toml"), anonymous=False)
    user = login(manager, 'ann "the operator"', "correct horse")
    assert user is not None
    assert user.tickwork_role == "operator"
    assert user.may_write
    assert (tmp_path / "users.toml").stat().st_mode & 0o077 == 0
    assert "correct horse" not in (tmp_path / "users.toml").read_text()


def test_user_when_password_is_wrong_or_name_unknown_then_is_refused(tmp_path: pathlib.Path) -> None:
    users = UserFile(tmp_path / "users.toml")
    users.add("ann", "admin", "right")
    manager = UserManager(users, anonymous=False)
    assert login(manager, "ann", "wrong") is None
    assert login(manager, "ann", "") is None
    assert login(manager, "bob", "right") is None
    assert login(manager, None) is None, "no anonymous access unless it was asked for"


def test_user_when_failing_too_often_then_is_locked_even_with_the_right_password(
    tmp_path: pathlib.Path,
) -> None:
    users = UserFile(tmp_path / "users.toml")
    users.add("ann", "admin", "right")
    manager = UserManager(users, anonymous=False)
    for _ in range(FAILURES_MAX):
        assert login(manager, "ann", "wrong") is None
    assert login(manager, "ann", "right") is None


def test_anonymous_when_allowed_then_only_reads(tmp_path: pathlib.Path) -> None:
    user = login(UserManager(UserFile(tmp_path / "users.toml"), anonymous=True), None)
    assert user is not None
    assert not user.may_write


@pytest.mark.parametrize("text", ["[users", "users = 3", '[users."a"]\nrole = "admin"', "[users]\na = 1"])
def test_user_file_when_malformed_then_says_so_with_a_code(tmp_path: pathlib.Path, text: str) -> None:
    path = tmp_path / "users.toml"
    path.write_text(text)
    with pytest.raises(TickworkError) as caught:
        UserFile(path).entry("a")
    assert caught.value.code == "UA1003"
