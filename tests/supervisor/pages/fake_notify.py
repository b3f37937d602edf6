"""Notifications of the made-up plant for page tests."""

from __future__ import annotations

import time

import msgspec

from supervisor.model import NEWEST, Actor, Page
from supervisor.notify import check
from supervisor.notify.model import (
    PLURALS,
    Address,
    AlarmFacts,
    Channel,
    ChannelState,
    Delivery,
    Item,
    Mention,
    Mute,
    Note,
    Override,
    Overview,
    Person,
    Pipeline,
    Position,
    Roster,
    Rule,
    Run,
    Schedule,
    Settings,
    Shift,
    Step,
)
from supervisor.problems import not_found

S = 1_000_000_000


class FakeNotify:
    """Settings with one of each, two runs and a message in each state."""

    def __init__(self, hostile: str) -> None:
        self._hostile = hostile
        self._now = time.time_ns()
        steps = (
            Step("notify", "schedule:water", ("mail",)),
            Step("wait", wait_s=600),
            Step("escalate", "roster:managers"),
        )
        mail = {
            "host": "mail.test",
            "port": "587",
            "security": "starttls",
            "sender": "plant@water.test",
            "user": "plant",
        }
        self._settings = Settings(
            {"mail": Channel("mail", "email", mail), "hook": Channel("hook", "webhook", enabled=False)},
            {
                "anna": Person("anna", hostile, (Address("mail", "anna@water.test"), Address("hook", "https://hook.test/a"))),
                "ben": Person("ben", "Ben Beck", (Address("mail", "ben@water.test"),)),
            },
            {"managers": Roster("managers", ("ben",))},
            {
                "water": Schedule(
                    "water", "Europe/Berlin", (Shift((0, 1, 2, 3, 4), 360, 840, ("anna",)),),
                    (Override("2026-12-24 18:00", "2026-12-25 06:00", ("ben",)),),
                )
            },
            {"standard": Pipeline("standard", steps, repeat=1)},
            {"urgent": Rule("urgent", "standard", (1, 2), areas=("Water*",))},
            ("mail",),
        )  # fmt: skip
        self._mutes = {"urgent": Mute("urgent", self._now + 3600 * S, "olga", hostile, self._now)}

    def _facts(self) -> AlarmFacts:
        return AlarmFacts(
            "n1", "water-north", "Tank 1 level", 7, 1, self._hostile, "", "Water works", "tank 1", "93.1",
            self._hostile, self._now - 300 * S,
        )  # fmt: skip

    def _runs(self) -> tuple[Run, ...]:
        now, pipeline = self._now, self._settings.pipelines["standard"]
        notes = (Note(now - 299 * S, "told anna by mail"), Note(now - 2 * S, f"escalated to {self._hostile}"))
        facts = self._facts()
        return (
            Run(3, "urgent", pipeline, facts, "e", Position(3, 0, 1, now + 60 * S), now - 300 * S, notes=notes),
            Run(2, "urgent", pipeline, facts, "e", Position(3, 1, 1, 0, True), now - 900 * S, "done"),
            Run(1, "urgent", pipeline, facts, "e", Position(1), now - 9000 * S, "ended", "over", "olga", now - S),
        )  # fmt: skip

    async def overview(self, actor: Actor) -> Overview:
        states = (
            ChannelState("mail", "email", True, "open", self._hostile, self._now + 60 * S, 2),
            ChannelState("hook", "webhook", False, "closed", "", 0, 0),
        )
        return Overview(self._runs()[:2], states, tuple(self._mutes.values()), ("urgent",))

    async def runs(self, actor: Actor, *, page: Page = NEWEST) -> tuple[Run, ...]:
        return self._runs() if not page.before else ()

    async def deliveries(
        self, actor: Actor, *, run_id: int = 0, channel: str = "", page: Page = NEWEST
    ) -> tuple[Delivery, ...]:
        now, mention = self._now, Mention(3, 1, self._facts())
        states = ("gathering", "queued", "sent", "delivered", "failed", "cancelled")
        return tuple(
            Delivery(
                9 - at, f"k{at}", "mail", "anna", "anna@water.test", state, now - 60 * S, now - S, now + 9 * S, now,  # type: ignore[arg-type]
                self._hostile, "text", (mention,), 1 + 30 * (at % 2), at, self._hostile if state == "failed" else "",
                "ada" if at == 2 else "",
            )
            for at, state in enumerate(states)
        )  # fmt: skip

    async def stop(self, actor: Actor, run_id: int, reason: str) -> Run:
        return self._runs()[0]

    async def mute(self, actor: Actor, rule: str, duration_s: int, reason: str) -> Mute:
        self._mutes[rule] = Mute(rule, self._now + duration_s * S, actor.name, reason, self._now)
        return self._mutes[rule]

    async def unmute(self, actor: Actor, rule: str) -> None:
        self._mutes.pop(rule, None)

    async def settings(self, actor: Actor) -> Settings:
        return self._settings

    async def put(self, actor: Actor, kind: str, item: Item, *, secret: str | None = None) -> Settings:
        check.check(item, self._settings, secret=bool(secret) or item.name in self._settings.secrets)
        items = self._settings.of(kind) | {item.name: item}
        self._settings = msgspec.structs.replace(self._settings, **{PLURALS[kind]: items})
        return self._settings

    async def remove(self, actor: Actor, kind: str, name: str) -> Settings:
        if name not in self._settings.of(kind):
            raise not_found(kind, name)
        if users := check.users_of(kind, name, self._settings):
            raise check.still_used(kind, name, users)
        items = {key: item for key, item in self._settings.of(kind).items() if key != name}
        self._settings = msgspec.structs.replace(self._settings, **{PLURALS[kind]: items})
        return self._settings

    async def test(self, actor: Actor, channel: str, to: str) -> Delivery:
        if channel not in self._settings.channels:
            raise not_found("channel", channel)
        found = await self.deliveries(actor)
        return found[4]
