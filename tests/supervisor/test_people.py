"""Users, sessions, keys: what lets somebody in, and what does not."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from scan.problem import TickworkError
from supervisor import accounts
from supervisor.config_store import ConfigStore
from supervisor.model import Actor, Role
from supervisor.people import PeopleService
from supervisor.secrets_store import Passwords

PASSWORD = "four green valves open"
SECOND = 1_000_000_000
ADMIN = Actor("root", Role.ADMIN, "system")


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def people(tmp_path, clock):
    store = ConfigStore(tmp_path / "config.db")
    yield PeopleService(store, clock, Passwords(PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)))
    store.close()


async def refused(work) -> str:
    with pytest.raises(TickworkError) as error:
        await work
    return error.value.code


async def test_claim_when_link_is_used_then_it_works_once(people):
    token = await people.make_setup_token()
    login = await people.claim(token, "mara", PASSWORD, address="1.2.3.4")
    assert login.actor.role is Role.ADMIN
    assert await refused(people.claim(token, "eve", PASSWORD, address="")) == "SV1104"
    assert await people.make_setup_token() == ""


async def test_claim_when_a_newer_link_was_made_then_the_older_is_over(people):
    old = await people.make_setup_token()
    new = await people.make_setup_token()
    assert await refused(people.claim(old, "mara", PASSWORD, address="")) == "SV1104"
    await people.claim(new, "mara", PASSWORD, address="")


async def test_login_when_name_or_password_is_wrong_then_same_answer(people):
    await people.create_user(ADMIN, "mara", PASSWORD, Role.OPERATOR)
    assert await refused(people.login("mara", "wrong", address="")) == "SV1101"
    assert await refused(people.login("nobody", PASSWORD, address="")) == "SV1101"


async def test_login_when_many_failures_then_locked_longer_and_longer(people, clock):
    await people.create_user(ADMIN, "mara", PASSWORD, Role.OPERATOR)
    for _ in range(accounts.FAILURES_FREE):
        assert await refused(people.login("mara", "wrong", address="")) == "SV1101"
    assert await refused(people.login("mara", PASSWORD, address="")) == "SV1102"
    clock.now += accounts.LOCK_FIRST_NS + 1
    assert await refused(people.login("mara", "wrong", address="")) == "SV1101"
    clock.now += accounts.LOCK_FIRST_NS + 1
    assert await refused(people.login("mara", PASSWORD, address="")) == "SV1102"
    clock.now += accounts.LOCK_FIRST_NS
    assert (await people.login("mara", PASSWORD, address="")).actor.name == "mara"


async def test_session_when_idle_or_old_then_over(people, clock):
    await people.create_user(ADMIN, "mara", PASSWORD, Role.OPERATOR)
    login = await people.login("mara", PASSWORD, address="a")
    clock.now += accounts.IDLE_NS - SECOND
    assert (await people.session(login.token, address="b")).actor.address == "b"
    clock.now += accounts.IDLE_NS - SECOND
    assert await people.session(login.token, address="b") is not None
    clock.now += accounts.IDLE_NS + accounts.TOUCH_NS
    assert await people.session(login.token, address="b") is None
    fresh = await people.login("mara", PASSWORD, address="a")
    clock.now += accounts.ABSOLUTE_NS
    assert await people.session(fresh.token, address="a") is None


async def test_session_when_logged_out_disabled_or_password_changed_then_over(people):
    mara = await people.create_user(ADMIN, "mara", PASSWORD, Role.OPERATOR)
    one = await people.login("mara", PASSWORD, address="")
    await people.logout(one.token)
    assert await people.session(one.token, address="") is None
    two = await people.login("mara", PASSWORD, address="")
    assert await people.session(two.token, address="") is not None
    await people.set_password(ADMIN, mara.id, PASSWORD + "!")
    assert await people.session(two.token, address="") is None
    three = await people.login("mara", PASSWORD + "!", address="")
    assert await people.session(three.token, address="") is not None
    with pytest.raises(TickworkError):
        await people.change_user(ADMIN, mara.id, enabled=False)  # there is no administrator yet
    await people.create_user(ADMIN, "root", PASSWORD, Role.ADMIN)
    await people.change_user(ADMIN, mara.id, enabled=False)
    assert await people.session(three.token, address="") is None
    assert await refused(people.login("mara", PASSWORD + "!", address="")) == "SV1101"


async def test_change_user_when_last_administrator_then_refused(people):
    root = await people.create_user(ADMIN, "root", PASSWORD, Role.ADMIN)
    assert await refused(people.change_user(ADMIN, root.id, role=Role.VIEWER)) == "SV1107"
    assert await refused(people.change_user(ADMIN, root.id, enabled=False)) == "SV1107"
    assert (await people.users(ADMIN))[0].role is Role.ADMIN


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaa", "mara mara mara 1", "x" * 2000])
async def test_create_user_when_password_is_weak_then_refused(people, password):
    assert await refused(people.create_user(ADMIN, "mara", password, Role.VIEWER)) == "SV1103"


async def test_set_password_when_own_then_old_one_is_needed(people):
    mara = await people.create_user(ADMIN, "mara", PASSWORD, Role.VIEWER)
    actor = (await people.login("mara", PASSWORD, address="")).actor
    assert await refused(people.set_password(actor, mara.id, PASSWORD + "2", old="guess")) == "SV1101"
    await people.set_password(actor, mara.id, PASSWORD + "2", old=PASSWORD)
    assert await refused(people.set_password(actor, mara.id + 1, PASSWORD)) == "SV1003"


async def test_api_key_when_over_or_revoked_then_nobody(people, clock):
    secret = await people.create_api_key(ADMIN, "script", Role.OPERATOR, expires_days=1, nodes=("n1",))
    holder = await people.key_holder(secret.secret, address="x")
    assert (holder.role, holder.nodes, holder.via) == (Role.OPERATOR, ("n1",), "api")
    assert await people.key_holder(secret.secret + "x", address="") is None
    clock.now += 86_401 * SECOND
    assert await people.key_holder(secret.secret, address="") is None
    fresh = await people.create_api_key(ADMIN, "script", Role.OPERATOR)
    await people.revoke_api_key(ADMIN, fresh.id)
    assert await people.key_holder(fresh.secret, address="") is None


async def test_secrets_when_stored_then_only_as_digests(people, tmp_path):
    token = await people.make_setup_token()
    login = await people.claim(token, "mara", PASSWORD, address="")
    key = await people.create_api_key(ADMIN, "script", Role.VIEWER)
    enrolment = await people.create_enrolment_token(ADMIN)
    stored = (tmp_path / "config.db").read_bytes()
    for secret in (token, login.token, key.secret, enrolment.secret, PASSWORD):
        assert secret.encode() not in stored


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.ENGINEER])
async def test_people_when_not_administrator_then_refused(people, role):
    actor = Actor("x", role)
    for work in (
        people.users(actor), people.create_user(actor, "y", PASSWORD, Role.VIEWER), people.api_keys(actor),
        people.create_api_key(actor, "k", Role.VIEWER), people.enrolment_tokens(actor),
        people.create_enrolment_token(actor), people.change_user(actor, 1, enabled=True),
    ):  # fmt: skip
        assert await refused(work) == "SV1003"
