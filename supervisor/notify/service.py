"""``services.Notifications``: settings, what is under way, and the work itself.

``watch`` follows the journal of alarms and moves runs; each channel has a sender of its own, so that a mail server
that does not answer delays nothing but its own messages.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable

import msgspec
from sqlite_utils import Database

from scan.problem import TickworkError, fail
from supervisor import audit
from supervisor.config_store import ConfigStore
from supervisor.model import NEWEST, Actor, Page, Role
from supervisor.notify import breaker as circuits
from supervisor.notify import channels, check, store
from supervisor.notify.channels import NotSentError, Publish
from supervisor.notify.follower import Describe, Done, Follower, cancelled, end_run
from supervisor.notify.model import (
    SECOND,
    TYPES,
    Breaker,
    Channel,
    ChannelState,
    Delivery,
    Item,
    Mute,
    Overview,
    Run,
    Settings,
)
from supervisor.notify.vault import Vault
from supervisor.problems import not_found, not_understood, require

PERIOD_S = 1.0
SWEEP_NS = 10 * SECOND
EXPIRES_NS = 24 * 3600 * SECOND
MUTE_S_MAX = 8 * 3600
SENT_TOGETHER = 50
TEST_WAIT_S = 40.0
REASON_MAX = 500
Tell = Callable[[str, str, str, str, dict[str, str]], None]
log = logging.getLogger("tickwork.supervisor.notify")


class NotifyService:
    """Used on the event loop. ``publish``: to a bridge of MQTT; ``tell``: an event; ``changed``: pages look again."""

    def __init__(
        self,
        config: ConfigStore,
        vault: Vault,
        describe: Describe,
        *,
        publish: Publish,
        tell: Tell,
        link: Callable[[], str],
        changed: Callable[[], None],
        now_ns: Callable[[], int],
    ) -> None:
        self._config, self._vault, self._publish, self._tell, self._now_ns = (
            config,
            vault,
            publish,
            tell,
            now_ns,
        )
        self._follower = Follower(describe, link)
        self._pages_changed = changed
        self._settings = Settings()
        self._breakers: dict[str, Breaker] = {}
        self._senders: dict[str, asyncio.Task[None]] = {}
        self._news = asyncio.Event()

    # ------------------------------------------------------------ the work

    def heard(self, node_id: str, entries: object) -> None:
        """There are new lines in the journal of alarms."""
        self._news.set()

    async def load(self) -> None:
        def work(db: Database) -> tuple[Settings, dict[str, Breaker]]:
            store.cursor(db)
            return store.load_settings(db), store.breakers(db)

        self._settings, self._breakers = await self._config.run(work)

    async def watch(self) -> None:
        """Runs until it is cancelled."""
        await self.load()
        swept_ns = swept_to = 0
        try:
            while True:
                self._news.clear()
                try:
                    done = await self.step()
                    if self._now_ns() - swept_ns >= SWEEP_NS:
                        swept_to = await self._sweep(swept_to)
                        swept_ns = swept_ns if swept_to else self._now_ns()
                except TickworkError as error:
                    log.error("notifications wait: %s", error.problems[0].message)
                    done = Done(False, 0, False)
                self._send_due()
                if not done.more:
                    await self._sleep(done.next_ns)
        finally:
            for task in self._senders.values():
                task.cancel()
            await asyncio.gather(*self._senders.values(), return_exceptions=True)

    async def step(self) -> Done:
        settings, now = self._settings, self._now_ns()
        done = await self._config.run(lambda db: self._follower.step(db, settings, now))
        if done.changed:
            self._pages_changed()
        return done

    def broken(self) -> dict[str, bool]:
        """Each channel that is in use, and whether its circuit is open: for the system alarms."""
        return {
            name: bool(self._breakers.get(name, Breaker()).open_until_ns)
            for name, channel in self._settings.channels.items()
            if channel.enabled
        }

    async def _sweep(self, after: int) -> int:
        now = self._now_ns()
        return await self._config.run(lambda db: self._follower.sweep(db, now, after))

    async def _sleep(self, next_ns: int) -> None:
        left_s = (next_ns - self._now_ns()) / SECOND if next_ns else PERIOD_S
        try:
            async with asyncio.timeout(min(max(left_s, 0.02), PERIOD_S)):
                await self._news.wait()
        except TimeoutError:
            pass

    # ------------------------------------------------------------ sending

    def _send_due(self) -> None:
        """Each channel that has no sender at work gets one."""
        for name in self._settings.channels.keys() | self._senders.keys():
            task = self._senders.get(name)
            if task is None or task.done():
                self._senders[name] = asyncio.create_task(self._send_channel(name), name=f"notify {name}")

    async def _send_channel(self, name: str) -> None:
        now = self._now_ns()
        if circuits.circuit(self._breakers.get(name, Breaker()), now) == "open":
            return
        due = await self._config.run(lambda db: store.due_deliveries(db, "queued", now, SENT_TOGETHER, name))
        for delivery in due:
            if circuits.circuit(self._breakers.get(name, Breaker()), self._now_ns()) == "open":
                return
            try:
                await self._attempt(delivery)
            except TickworkError as error:
                log.error("channel %s waits: %s", name, error.problems[0].message)
                return
            except Exception:
                log.exception("channel %s", name)
                await self._not_sent(delivery, NotSentError("a defect of tickwork: see the log"))

    async def _attempt(self, delivery: Delivery) -> Delivery:
        """Try once, unless nobody needs it any more; what came of it is stored."""
        now = self._now_ns()
        channel = self._settings.channels.get(delivery.channel)

        def ready(db: Database) -> tuple[Delivery, bytes]:
            current = store.delivery(db, delivery.id) or delivery
            if current.state == "queued" and not store.still_wanted(db, current):
                current = cancelled(current, now)
                store.save_delivery(db, current)
            return current, store.secret_of(db, delivery.channel)

        current, sealed = await self._config.run(ready)
        if current.state != "queued":
            return current
        try:
            if channel is None or (not channel.enabled and not current.test_by):
                raise NotSentError("there is no such channel any more, or it is off", permanent=True)
            if now - current.created_ns > EXPIRES_NS:
                raise NotSentError(f"it is too old; {current.problem}", permanent=True)
            secret = self._vault.open(channel.name, sealed) if sealed else ""
            word = await channels.send(channel, secret, current, self._publish)
        except NotSentError as error:
            return await self._not_sent(current, error)
        except TickworkError as error:
            return await self._not_sent(current, NotSentError(error.problems[0].message))
        return await self._sent(current, word)

    async def _sent(self, delivery: Delivery, word: str) -> Delivery:
        now = self._now_ns()
        done = msgspec.structs.replace(
            delivery, state=word, changed_ns=now, tries=delivery.tries + 1, problem=""
        )
        before = self._breakers.get(delivery.channel, Breaker())
        await self._record(done, circuits.succeeded(before))
        if before.open_until_ns:
            self._event(delivery.channel, "info", "works again", "")
        return done

    async def _not_sent(self, delivery: Delivery, error: NotSentError) -> Delivery:
        now, tries = self._now_ns(), delivery.tries + 1
        channel = self._settings.channels.get(delivery.channel)
        over = error.permanent or channel is None or tries >= channel.tries_max or bool(delivery.test_by)
        done = msgspec.structs.replace(
            delivery, state="failed" if over else "queued", changed_ns=now, tries=tries, problem=error.reason,
            next_ns=0 if over else now + circuits.retry_ns(tries),
        )  # fmt: skip
        before = self._breakers.get(delivery.channel, Breaker())
        after = before
        if channel is not None and not error.permanent:
            after = circuits.failed(before, now, channel.fails_max, error.reason)
        await self._record(done, after)
        if after.open_until_ns and not before.open_until_ns:
            self._event(delivery.channel, "error", "does not work; its circuit is open", error.reason)
        if over:
            text = (
                f"A message to {delivery.person or delivery.test_by} by {delivery.channel} was not delivered"
            )
            self._tell("", "notify", "warning", text, {"reason": error.reason})
        return done

    def _event(self, channel: str, severity: str, words: str, reason: str) -> None:
        log.warning("channel %s %s: %s", channel, words, reason)
        self._tell("", "notify", severity, f"The notification channel {channel} {words}", {"reason": reason})

    async def _record(self, delivery: Delivery, breaker: Breaker) -> None:
        def work(db: Database) -> None:
            store.save_delivery(db, delivery)
            store.save_breaker(db, delivery.channel, breaker)

        await self._config.run(work)
        self._breakers[delivery.channel] = breaker
        self._pages_changed()

    # ------------------------------------------------------------ what is under way

    async def overview(self, actor: Actor) -> Overview:
        """Open runs, newest first, channels and mutes."""
        require(actor, Role.OPERATOR)
        now = self._now_ns()

        def work(db: Database) -> tuple[list[Run], dict[str, int], dict[str, Mute]]:
            open_runs = store.runs(db, open_only=True, before=0, limit=1000, nodes=actor.nodes)
            return open_runs, store.waiting(db), store.mutes(db, now)

        open_runs, waiting, mutes = await self._config.run(work)
        return Overview(
            tuple(open_runs),
            tuple(self._channel_state(one, waiting, now) for one in self._settings.channels.values()),
            tuple(mutes.values()),
            tuple(self._settings.rules),
        )

    def _channel_state(self, channel: Channel, waiting: dict[str, int], now_ns: int) -> ChannelState:
        breaker = self._breakers.get(channel.name, Breaker())
        word = circuits.circuit(breaker, now_ns)
        return ChannelState(
            channel.name, channel.kind, channel.enabled, word, breaker.problem, breaker.open_until_ns,
            waiting.get(channel.name, 0),
        )  # fmt: skip

    async def runs(self, actor: Actor, *, page: Page = NEWEST) -> tuple[Run, ...]:
        """Newest first, those that have ended too."""
        require(actor, Role.OPERATOR)
        return tuple(
            await self._config.run(
                lambda db: store.runs(
                    db, open_only=False, before=page.before, limit=page.limit, nodes=actor.nodes
                )
            )
        )

    async def deliveries(
        self, actor: Actor, *, run_id: int = 0, channel: str = "", page: Page = NEWEST
    ) -> tuple[Delivery, ...]:
        """Newest first. An actor who is limited to some runtimes sees what is about these alone."""
        require(actor, Role.OPERATOR)
        found = await self._config.run(
            lambda db: store.deliveries(
                db, run_id=run_id, channel=channel, before=page.before, limit=page.limit
            )
        )
        return tuple(one for one in found if not actor.nodes or _within(one, actor.nodes))

    async def stop(self, actor: Actor, run_id: int, reason: str) -> Run:
        """End one run: nobody else is told of this occurrence."""
        require(actor, Role.OPERATOR)
        _reasoned(reason)
        now = self._now_ns()

        def work(db: Database) -> Run:
            run = store.run(db, run_id)
            if run is None:
                raise not_found("notification", run_id)
            require(actor, Role.OPERATOR, run.facts.node_id)
            if run.state != "ended":
                end_run(db, run, f"stopped: {reason}", actor.name, now)
                about = f"{run.facts.node} {run.facts.alarm}"
                audit.record(db, actor, "notify.stop", about, now_ns=now, new=run.rule, reason=reason)
            return store.run(db, run_id) or run

        found = await self._config.run(work)
        self._pages_changed()
        return found

    async def mute(self, actor: Actor, rule: str, duration_s: int, reason: str) -> Mute:
        """Nobody is told because of a rule ("": of any) for a time; runs go on and say so."""
        require(actor, Role.OPERATOR)
        _whole(actor)
        _reasoned(reason)
        if rule and rule not in self._settings.rules:
            raise not_found("rule", rule)
        if not 1 <= duration_s <= MUTE_S_MAX:
            raise not_understood(f"1 to {MUTE_S_MAX} seconds", duration_s)
        now = self._now_ns()
        made = Mute(rule, now + duration_s * SECOND, actor.name, reason, now)

        def work(db: Database) -> None:
            store.put_mute(db, made)
            audit.record(
                db,
                actor,
                "notify.mute",
                rule or "all rules",
                now_ns=now,
                new=f"{duration_s} s",
                reason=reason,
            )

        await self._config.run(work)
        self._pages_changed()
        return made

    async def unmute(self, actor: Actor, rule: str) -> None:
        require(actor, Role.OPERATOR)
        _whole(actor)
        now = self._now_ns()

        def work(db: Database) -> None:
            if not store.remove_mute(db, rule):
                raise not_found("mute", rule or "all rules")
            audit.record(db, actor, "notify.unmute", rule or "all rules", now_ns=now)

        await self._config.run(work)
        self._pages_changed()

    # ------------------------------------------------------------ settings

    async def settings(self, actor: Actor) -> Settings:
        require(actor, Role.OPERATOR)
        return self._settings

    async def put(self, actor: Actor, kind: str, item: Item, *, secret: str | None = None) -> Settings:
        """Make or change an item. ``secret`` of a channel: None leaves the old one, "" removes it."""
        require(actor, _configurer(kind))
        _whole(actor)
        if not isinstance(item, TYPES[kind]):
            raise not_understood(f"a {kind}", type(item).__name__)
        if secret and (len(secret) > 4000 or not secret.isprintable()):
            raise fail(
                "SV7001", "the secret has a wrong value", expected="one line of at most 4,000 characters"
            )
        now = self._now_ns()

        def work(db: Database) -> Settings:
            current = store.load_settings(db)
            check.check(
                item, current, secret=bool(secret) or (secret is None and item.name in current.secrets)
            )
            if secret is not None:
                sealed = self._vault.seal(item.name, secret)
                db.execute("DELETE FROM notify_secret WHERE channel=?", [item.name])
                if secret:
                    store.put_secret(db, item.name, sealed)
            old = current.of(kind).get(item.name)
            if kind == "rule" and not current.rules and not store.any_open(db):
                store.skip_journal(db)
            store.put_item(db, kind, item, now, actor.name)
            audit.record(
                db, actor, f"notify.{kind}", item.name, now_ns=now, old=_told(old),
                new=_told(item) + (" and a new secret" if secret else ""),
            )  # fmt: skip
            return store.load_settings(db)

        return await self._changed(work)

    async def remove(self, actor: Actor, kind: str, name: str) -> Settings:
        """SV7002 while another item uses it."""
        require(actor, _configurer(kind))
        _whole(actor)
        now = self._now_ns()

        def work(db: Database) -> Settings:
            current = store.load_settings(db)
            old = current.of(kind).get(name)
            if old is None:
                raise not_found(kind, name)
            if users := check.users_of(kind, name, current):
                raise check.still_used(kind, name, users)
            store.remove_item(db, kind, name)
            audit.record(db, actor, f"notify.{kind}", name, now_ns=now, old=_told(old), new="removed")
            return store.load_settings(db)

        return await self._changed(work)

    async def _changed(self, work: Callable[[Database], Settings]) -> Settings:
        self._settings = await self._config.run(work)
        self._breakers = {
            name: one for name, one in self._breakers.items() if name in self._settings.channels
        }
        self._news.set()
        self._pages_changed()
        return self._settings

    async def test(self, actor: Actor, channel: str, to: str) -> Delivery:
        """Send a message now and say what came of it. Raises SV7001 for an address that the channel cannot have."""
        require(actor, Role.ENGINEER)
        _whole(actor)
        found = self._settings.channels.get(channel)
        if found is None:
            raise not_found("channel", channel)
        if fault := check.address_fault(found, to):
            raise fail("SV7001", "the address has a wrong value", expected=fault, found=to[:200])
        now = self._now_ns()
        text = f"{actor.name} tests the channel {channel}. No alarm stands behind this message.\n"
        made = Delivery(
            0, secrets.token_hex(16), channel, "", to, "queued", now, now, now + EXPIRES_NS, now, "Test", text,
            test_by=actor.name,
        )  # fmt: skip

        def work(db: Database) -> Delivery:
            audit.record(db, actor, "notify.test", channel, now_ns=now, new=to)
            return store.add_delivery(db, made)

        delivery = await self._config.run(work)
        return await self._attempt(delivery)


def _configurer(kind: str) -> Role:
    """Channels hold credentials and reach out of the plant: for administrators."""
    if kind not in TYPES:
        raise not_found("kind of setting", kind)
    return Role.ADMIN if kind == "channel" else Role.ENGINEER


def _whole(actor: Actor) -> None:
    """Settings and mutes concern all runtimes: a key that is limited to some may not."""
    if actor.nodes:
        require(actor, Role.VIEWER, "all runtimes")


def _reasoned(reason: str) -> None:
    if not 1 <= len(reason.strip()) <= REASON_MAX:
        raise not_understood(f"a reason of 1 to {REASON_MAX} characters", reason[:50])


def _within(delivery: Delivery, nodes: tuple[str, ...]) -> bool:
    return bool(delivery.mentions) and all(one.facts.node_id in nodes for one in delivery.mentions)


def _told(item: Item | None) -> str:
    return msgspec.json.encode(item).decode() if item is not None else ""
