"""Saved watch lists: who sees, replaces and removes them."""

from __future__ import annotations

import pytest

from scan.problem import TickworkError
from supervisor.model import Actor, Role

TAGS = ("n1:Main.Level", "n2:Main.Level")
OLGA = Actor("olga", Role.OPERATOR, "session")
VERA = Actor("vera", Role.VIEWER, "session")


async def test_list_when_saved_then_it_is_one_s_own_until_it_is_shared(supervisor):
    lists = supervisor.services.watch_lists
    await lists.save(OLGA, "Levels", TAGS)
    assert await lists.list(VERA) == ()
    await lists.save(OLGA, "Levels", TAGS[:1], shared=True)
    assert [(one.name, one.owner, one.tags) for one in await lists.list(VERA)] == [
        ("Levels", "olga", TAGS[:1])
    ]


async def test_list_when_somebody_else_s_then_only_an_administrator_removes_it(supervisor, admin):
    lists = supervisor.services.watch_lists
    shared = await lists.save(OLGA, "Levels", TAGS, shared=True)
    hidden = await lists.save(OLGA, "Mine", TAGS)
    for list_id, code in ((shared.id, "SV1003"), (hidden.id, "SV1004"), (99, "SV1004")):
        with pytest.raises(TickworkError) as refused:
            await lists.remove(VERA, list_id)
        assert refused.value.code == code
    await lists.remove(admin, shared.id)
    assert [one.name for one in await lists.list(OLGA)] == ["Mine"]


@pytest.mark.parametrize(("name", "tags"), [("", TAGS), ("x" * 81, TAGS), ("x", ()), ("x", ("a:b",) * 201)])
async def test_save_when_name_or_tags_can_not_be_then_refused(supervisor, name, tags):
    with pytest.raises(TickworkError) as refused:
        await supervisor.services.watch_lists.save(OLGA, name, tags)
    assert refused.value.code == "SV1001"


async def test_share_when_only_a_viewer_then_refused(supervisor):
    with pytest.raises(TickworkError) as refused:
        await supervisor.services.watch_lists.save(VERA, "Levels", TAGS, shared=True)
    assert refused.value.code == "SV1003"
    assert (await supervisor.services.watch_lists.save(VERA, "Levels", TAGS)).owner == "vera"
