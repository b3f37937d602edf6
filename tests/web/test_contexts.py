"""Each template takes exactly what its context declares: nothing more is used, nothing is declared for nothing."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Iterator
from typing import Any

import jinja2
import jinja2.meta
import jinja2.nodes
import msgspec
import pytest

import web
from tests.supervisor.pages.browser import Browser
from tests.supervisor.pages.fakes import HOSTILE, Plant
from web import (
    contexts_alarms,
    contexts_notify,
    contexts_recording,
    contexts_screens,
    contexts_strip,
    contexts_tests,
    rendering,
)

CLASSES = [
    value
    for module in (
        web.contexts,
        web.contexts_parts,
        web.contexts_work,
        web.contexts_watch,
        contexts_alarms,
        contexts_notify,
        contexts_recording,
        contexts_screens,
        contexts_strip,
        contexts_tests,
    )
    for value in vars(module).values()
    if dataclasses.is_dataclass(value) and value.__module__ == module.__name__
]
CONTEXTS = [kind for kind in CLASSES if hasattr(kind, "TEMPLATE")]
ENVIRONMENT = rendering.environment()
# Attributes of Jinja's own objects and of texts.
JINJA_NAMES = {"index", "first", "last"}


def template_tree(name: str) -> Iterator[jinja2.nodes.Template]:
    """The template and those that it extends or includes with its own names."""
    assert ENVIRONMENT.loader is not None
    tree = ENVIRONMENT.parse(ENVIRONMENT.loader.get_source(ENVIRONMENT, name)[0])
    yield tree
    for other in jinja2.meta.find_referenced_templates(tree):
        assert other is not None, "templates are named, not computed"
        if other != "macros.html":
            yield from template_tree(other)


@pytest.mark.parametrize("kind", CONTEXTS, ids=lambda kind: kind.__name__)
def test_template_when_read_then_it_uses_exactly_the_fields_of_its_context(kind: Any) -> None:
    used: set[str] = set()
    given: set[str] = set()
    for tree in template_tree(kind.TEMPLATE):
        used |= jinja2.meta.find_undeclared_variables(tree)
        given |= {target.name for node in tree.find_all(jinja2.nodes.With) for target in node.targets}  # type: ignore[attr-defined]
    fields = {field.name for field in dataclasses.fields(kind)}
    names = used - set(ENVIRONMENT.globals) - {"m"}
    assert names - given - fields == set(), "used but not declared"
    assert fields - names == set(), "declared but not used"


def test_every_template_has_a_context_or_is_part_of_one() -> None:
    assert ENVIRONMENT.loader is not None
    all_names = set(ENVIRONMENT.loader.list_templates())
    reached = {"macros.html"}
    for kind in CONTEXTS:
        stack = [kind.TEMPLATE]
        while stack:
            name = stack.pop()
            reached.add(name)
            tree = ENVIRONMENT.parse(ENVIRONMENT.loader.get_source(ENVIRONMENT, name)[0])
            stack += [other for other in jinja2.meta.find_referenced_templates(tree) if other not in reached]
    assert all_names == reached


def test_every_attribute_in_a_template_is_a_field_of_some_context() -> None:
    fields = {field.name for kind in CLASSES for field in dataclasses.fields(kind)}
    assert ENVIRONMENT.loader is not None
    macros = {
        node.name
        for node in ENVIRONMENT.parse(ENVIRONMENT.loader.get_source(ENVIRONMENT, "macros.html")[0]).find_all(
            jinja2.nodes.Macro
        )
    }
    for name in ENVIRONMENT.loader.list_templates():
        tree = ENVIRONMENT.parse(ENVIRONMENT.loader.get_source(ENVIRONMENT, name)[0])
        attributes = {node.attr for node in tree.find_all(jinja2.nodes.Getattr)}
        assert attributes - fields - macros - JINJA_NAMES == set(), name


class Recorder(jinja2.Environment):
    """Notes which attributes of which classes the templates read."""

    seen: typing.ClassVar[set[tuple[str, str]]] = set()

    def getattr(self, obj: Any, attribute: str) -> Any:
        self.seen.add((type(obj).__name__, attribute))
        return super().getattr(obj, attribute)


UNSAFE = (
    '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script>'
    '<rect width="4" height="4"/></svg>'
)
PAGES = (
    "/",
    "/?show=forced",
    "/?q=nothing-like-it",
    "/runtimes/n1",
    "/runtimes/n2",
    "/runtimes/n3",
    "/runtimes/n4",
    "/runtimes/n5",
    "/runtimes/n1?q=Level&show=write",
    "/runtimes/n1/program",
    "/runtimes/n1/program?scan=last",
    "/runtimes/n1/program?scan=7&when=Gone&line=3",
    "/runtimes/n1/why?path=Control.Level1&scan=7",
    "/runtimes/n1/forces",
    "/forces",
    "/events",
    "/runtimes/n1/events",
    f"/runtimes/n1/tag?path={HOSTILE.replace('&', '%26')}",
    "/runtimes/n1/tag?path=Control.Level1Low",
    "/runtimes/n1/confirm/stop",
    "/trend",
    "/trend?tag=n1:Control.Level1&tag=n1:PumpRun",
    "/programs",
    "/programs/1",
    "/programs/1/versions",
    "/programs/1/diff?old=1&new=2",
    "/programs/1/deploy",
    "/programs/1/deploy?step=2&version=2",
    "/programs/1/deploy?step=2&version=2&target=n1&target=n2",
    "/deployments",
    "/deployments/1",
    "/deployments/2",
    "/watch",
    "/watch?tag=n1:Control.Level1Low&tag=n1:Control.Auto&tag=n3:PumpRun&tag=n9:Gone&tag=n1:Gone",
    f"/watch?find={HOSTILE[:4]}",
    "/alarms",
    "/alarms?node=n1",
    "/alarms/hidden",
    "/alarms/journal",
    "/alarms/figures?range=7d",
    "/alarms/table",
    "/alarms/define?node=n1",
    "/notifications",
    "/notifications?all=1&run=3",
    "/notifications/settings",
    *(f"/notifications/settings/{kind}" for kind in ("person", "roster", "schedule", "pipeline", "rule")),
    "/notifications/settings/channel?kind=apprise",
    "/notifications/settings/channel/mail",
    "/notifications/settings/person/anna",
    "/notifications/settings/schedule/water",
    "/notifications/settings/nothing",
    "/screens",
    "/screens/1",
    "/screens/1?runtime=water-south",
    "/screens/2",
    "/screens/1/edit",
    "/screens/9",
    "/audit",
    "/users",
    "/enrolment",
    "/settings",
    "/account",
    "/runtimes/nowhere",
)


@pytest.fixture
async def walker(monkeypatch: pytest.MonkeyPatch) -> Browser:
    """A browser that is logged in; every page it sees is rendered by the recorder."""
    monkeypatch.setattr(rendering, "_ENVIRONMENT", rendering.environment(Recorder))
    Recorder.seen = set()
    browser = Browser(Plant())
    await browser.get("/login")
    await browser.post("/login", name="ada", password="wrong")
    await browser.log_in("ada")
    return browser


async def walk(browser: Browser) -> dict[str, str]:
    """All pages in all their states, as texts by address."""
    steps: list[tuple[str, dict[str, str]]] = [
        ("/runtimes/n1/prepare", {"path": "Control.Level1Low", "value": "abc", "kind": "write"}),
        ("/runtimes/n1/prepare", {"path": "Control.Level1Low", "value": "41", "kind": "write"}),
        (
            "/runtimes/n1/prepare",
            {"path": "Control.Auto", "value": "TRUE", "kind": "force", "lease": "600", "reason": "test"},
        ),
        (
            "/runtimes/n1/commands",
            {"kind": "force", "path": "Control.Level1", "value": "1", "lease": "600", "reason": HOSTILE},
        ),
        ("/runtimes/n1/commands", {"kind": "write", "path": "Control.Level1Low", "value": "99"}),
        ("/programs/1/files", {"path": "main.st", "text": "PROGRAM Control\nLevl1\nEND_PROGRAM"}),
        ("/programs/1/publish", {"message": HOSTILE}),
        ("/programs/1/test", {}),
        ("/programs/2/test", {}),
        ("/watch/prepare", {"tag": "n1:Control.Level1Low", "value": "abc"}),
        ("/watch/prepare", {"tag": f"n1:{HOSTILE}", "value": HOSTILE}),
        ("/watch/apply", {"tag": "n1:Control.Level1Low", "value": "40", "expected": "40"}),
        ("/programs/upload", {"name": ""}),
        ("/alarms/define", {"node": "n1", "text": "[[alarm]]", "message": HOSTILE, "do": "try"}),
        ("/alarms/define", {"node": "n1", "text": "[[alarm]]", "message": HOSTILE, "do": "save"}),
        ("/alarms/define", {"node": "n1", "text": HOSTILE, "do": "try"}),
        ("/notifications/settings/person", {"name": HOSTILE, "full_name": HOSTILE, "addresses": HOSTILE}),
        (
            "/notifications/settings/channel",
            {"name": "mail", "kind": "email", "host": HOSTILE, "secret": HOSTILE},
        ),
        ("/notifications/settings/rule", {"name": "r", "pipeline": HOSTILE, "alarms": HOSTILE}),
        ("/notifications/settings/channel/mail/remove", {}),
        ("/notifications/test/mail", {"to": HOSTILE}),
        ("/notifications/mute", {"rule": "", "duration_s": "x", "reason": HOSTILE}),
        ("/notifications/mute", {"rule": HOSTILE, "duration_s": "60", "reason": HOSTILE}),
        ("/screens", {"name": "", "runtime": "water-north"}),
        ("/screens/1/edit", {"number": "1", "svg": "no drawing", "runtime": HOSTILE}),
        ("/screens/1/edit", {"number": "1", "svg": UNSAFE, "runtime": "water-north"}),
        ("/deployments", {"target": "n1", "project": "1", "version": "2", "reason": "yes"}),
        ("/deployments", {"target": "n2", "project": "1", "version": "2", "reason": "no"}),
        ("/users", {"name": "ada", "password": "x" * 12, "role": "viewer"}),
        ("/keys", {"name": HOSTILE, "role": "engineer", "days": "30"}),
        ("/enrolment", {"node": HOSTILE, "hours": "8"}),
        ("/account", {"old": "wrong", "new": "x" * 12}),
    ]
    texts = {
        f"POST {at} {index}": (await browser.post(at, **form)).text for index, (at, form) in enumerate(steps)
    }
    return texts | {page: (await browser.get(page)).text for page in PAGES}


def age(plant: Plant, seconds: int) -> None:
    """As if deployments and commands had been started that long ago: the fakes go on by the clock."""

    def older(row: Any) -> Any:
        return msgspec.structs.replace(row, created_ns=row.created_ns - seconds * 1_000_000_000)

    plant.deployments[:] = [older(one) for one in plant.deployments]
    plant.commands[:] = [older(one) for one in plant.commands]


async def test_contexts_when_every_page_is_rendered_then_each_declared_field_was_read(
    walker: Browser,
) -> None:
    await walk(walker)
    age(walker.plant, 60)
    for page in (
        "/deployments/2",
        "/deployments/1",
        "/runtimes/n1/commands/c2",
        "/users",
        "/runtimes/n1",
        "/runtimes/n1/program",
        "/runtimes/n1/program?scan=last",
        "/runtimes/n1/tag?path=Control.Level1",
        "/deployments",
        "/enrolment",
        "/",
    ):
        await walker.get(page)
    nested = [kind for kind in CLASSES if not hasattr(kind, "TEMPLATE")]
    declared = {(kind.__name__, field.name) for kind in nested for field in dataclasses.fields(kind)}
    assert declared - Recorder.seen == set()


async def test_pages_when_names_are_hostile_then_every_one_of_them_escapes_them(walker: Browser) -> None:
    for address, text in (await walk(walker)).items():
        for raw in ("<script>alert", "<img src=x", "<b>E", "</td><script", "spare <i>"):
            assert raw not in text, address
        assert "&amp;49" not in text, f"{address}: a name was taken for a template"


async def test_pages_when_rendered_then_nothing_is_inline_or_from_elsewhere(walker: Browser) -> None:
    for address, text in (await walk(walker)).items():
        assert not re.search(r"<[^>]+\sstyle=", text), address
        assert not re.search(r"<[^>]+\son[a-z]+=", text.replace("onerror", "")), address
        assert not re.search(r"<script(?![^>]*\ssrc=)[^>]*>", text), address
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', text), address
