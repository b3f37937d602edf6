"""Screens: versions, rights, audit, and their operations in the API."""

from __future__ import annotations

import pytest

from scan.problem import TickworkError
from supervisor import drawing
from supervisor.model import Actor, Role

SVG = f'<svg xmlns="{drawing.SVG}" viewBox="0 0 10 10"><rect id="a" width="3" height="3"/></svg>'
OTHER = SVG.replace('id="a"', 'id="b"')
OPERATOR = Actor("olga", Role.OPERATOR, "session")


async def test_screen_when_saved_then_versions_stay_and_each_can_be_had(supervisor, admin):
    screens = supervisor.services.screens
    made = await screens.create(admin, "Plant", SVG, runtime="water")
    saved = await screens.save(admin, made.screen.id, OTHER, runtime="water", number=1)
    assert saved.screen.number == 2
    assert 'id="b"' in (await screens.get(admin, made.screen.id)).svg
    assert 'id="a"' in (await screens.get(admin, made.screen.id, 1)).svg
    assert [one.number for one in saved.versions] == [2, 1]


async def test_save_when_somebody_was_faster_then_it_is_refused_and_nothing_is_lost(supervisor, admin):
    screens = supervisor.services.screens
    made = await screens.create(admin, "Plant", SVG)
    await screens.save(admin, made.screen.id, OTHER, number=1)
    with pytest.raises(TickworkError, match="meanwhile"):
        await screens.save(admin, made.screen.id, SVG, number=1)
    assert (await screens.get(admin, made.screen.id)).screen.number == 2


async def test_change_when_the_role_is_too_small_then_refused(supervisor, admin):
    screens = supervisor.services.screens
    made = await screens.create(admin, "Plant", SVG)
    for attempt in (
        screens.create(OPERATOR, "Other", SVG),
        screens.save(OPERATOR, made.screen.id, SVG),
        screens.remove(OPERATOR, made.screen.id),
    ):
        with pytest.raises(TickworkError) as refused:
            await attempt
        assert refused.value.code == "SV1003"
    assert len(await screens.list(OPERATOR)) == 1


async def test_change_when_done_then_the_audit_names_it(supervisor, admin):
    screens = supervisor.services.screens
    made = await screens.create(admin, "Plant", SVG)
    await screens.remove(admin, made.screen.id)
    entries = await supervisor.services.audit.entries(admin, action="screen.")
    assert [(entry.action, entry.about) for entry in entries] == [
        ("screen.remove", "screen Plant"),
        ("screen.save", "screen Plant"),
    ]
    assert await screens.list(admin) == ()


async def test_create_when_the_name_is_taken_or_none_then_refused(supervisor, admin):
    screens = supervisor.services.screens
    await screens.create(admin, "Plant", SVG)
    for name, code in (("plant", "SV1005"), ("", "SV1001"), ("a/b", "SV1001")):
        with pytest.raises(TickworkError) as refused:
            await screens.create(admin, name, SVG)
        assert refused.value.code == code


async def test_versions_when_there_are_very_many_then_the_oldest_go(supervisor, admin, monkeypatch):
    monkeypatch.setattr("supervisor.screens.VERSIONS_MAX", 3)
    screens = supervisor.services.screens
    made = await screens.create(admin, "Plant", SVG)
    for _ in range(5):
        made = await screens.save(admin, made.screen.id, OTHER)
    assert [one.number for one in made.versions] == [6, 5, 4]


async def test_api_when_a_drawing_is_put_then_it_is_cleaned_and_told(supervisor):
    http = await supervisor.http(Role.ENGINEER)
    unsafe = SVG.replace("<rect", "<script>alert(1)</script><rect")
    made = await http.post("/api/v1/screens", params={"name": "Plant", "runtime": "water"}, content=unsafe)
    assert made.status_code == 201
    body = made.json()
    assert body["dropped"] == ["element script"]
    assert "script" not in body["svg"]
    one = f"/api/v1/screens/{body['screen']['id']}"
    assert (await http.put(one, params={"number": 7}, content=SVG)).status_code == 409
    assert (await http.put(one, params={"number": 1}, content="no drawing")).json()["code"] == "SV6001"
    assert (await http.put(one, content=b"\xff\xfe")).status_code == 400
    assert [item["name"] for item in (await http.get("/api/v1/screens")).json()["items"]] == ["Plant"]
    assert (await http.delete(one)).status_code == 204
    assert (await http.get(one)).status_code == 404
