"""The supervisor as one Starlette application: stores, services, link, API and pages, wired and watched."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route, WebSocketRoute

from supervisor import guard, pages
from supervisor.alarm_engine import FleetAlarms
from supervisor.alarms import AlarmService
from supervisor.api import PREFIX, api_routes
from supervisor.api_files import file_routes
from supervisor.api_stream import AlarmStreams
from supervisor.artifact_store import ArtifactStore
from supervisor.artifacts import Artifacts
from supervisor.audit import AuditJournal
from supervisor.commands import CommandService
from supervisor.compiler import Compiler
from supervisor.config_store import ConfigStore
from supervisor.deployments import DeploymentService
from supervisor.errors import HANDLERS
from supervisor.fleet import FleetService
from supervisor.health import health_routes
from supervisor.history_embedded import open_or_quarantine
from supervisor.history_service import HistoryService
from supervisor.housekeeping import Housekeeping
from supervisor.ingest import Ingest
from supervisor.language import Language
from supervisor.link_server import LinkServer
from supervisor.live import Bus
from supervisor.log import AccessLog
from supervisor.metrics import Measured, Metrics
from supervisor.middleware import BodyLimit, RateLimit, SecurityHeaders
from supervisor.mqtt import MqttService
from supervisor.notify import NotifyService, Vault, facts_of
from supervisor.people import PeopleService
from supervisor.programs_service import ProgramService
from supervisor.recordings import RecordingService
from supervisor.screens import ScreenService
from supervisor.secrets_store import Passwords, public_base64, signing_key
from supervisor.services import Services
from supervisor.settings import Settings
from supervisor.system import SystemService
from supervisor.watch_lists import WatchListService

Clock = Callable[[], int]
Watch = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that lives as long as the application."""

    data_dir: Path
    services: Services
    people: PeopleService
    audit: AuditJournal
    fleet: FleetService
    commands: CommandService
    ingest: Ingest
    store: ConfigStore
    link: LinkServer
    system: SystemService
    metrics: Metrics
    alarms: AlarmService
    mqtt: MqttService
    language: Language
    watches: tuple[Watch, ...]

    async def start(self) -> None:
        await self.commands.start()
        self.ingest.start()
        await self.fleet.load()
        await self.alarms.load()

    async def stop(self) -> None:
        self.stop_streams()
        await self.language.stop()
        await self.ingest.stop()
        self.store.close()

    def stop_streams(self) -> None:
        """End what would otherwise never end, so that the server can close."""
        self.alarms.close()
        self.fleet.bus.close()
        self.fleet.cut_all()


def build(settings: Settings, now_ns: Clock) -> Parts:
    """Open the stores and wire the services. Raises TickworkError when a store cannot be used."""
    folder = settings.data_dir
    store = ConfigStore(folder / "config.db")
    key = signing_key(folder / "signing.pem")
    history, damage = open_or_quarantine(folder / "history.db")
    bus = Bus()
    ingest = Ingest(history, bus, now_ns)
    fleet = FleetService(store, ingest, bus, now_ns)
    compiler, language = Compiler(), Language()
    artifacts = Artifacts(store, ArtifactStore(folder / "artifacts"), compiler)
    commands = CommandService(store, fleet, now_ns)
    deployments = DeploymentService(store, fleet, artifacts, key, now_ns)
    fleet.watchers = [commands, deployments]
    alarms = AlarmService(store, fleet, commands, ingest, now_ns)
    own = FleetAlarms(
        store, fleet, alarms, data_dir=folder, certificate=settings.certificate,
        history_problem=lambda: ingest.figures.problem is not None, now_ns=now_ns,
    )  # fmt: skip
    alarms.own = own
    recordings = RecordingService(fleet)
    passwords = Passwords(PasswordHasher(memory_cost=settings.argon2_kib))
    people = PeopleService(store, now_ns, passwords)
    audit = AuditJournal(store, now_ns)
    system = SystemService(settings, ingest, public_base64(key), now_ns, damage)
    link = LinkServer(
        store, fleet, commands, deployments, alarms, recordings, history.mark, public_base64(key), now_ns
    )
    housekeeping = Housekeeping(settings, ingest, artifacts, now_ns)
    bus.last_event = history.last_event()
    mqtt = MqttService(
        folder, store=store, fleet=fleet, commands=commands, deployments=deployments, alarms=alarms, now_ns=now_ns
    )  # fmt: skip
    system.mqtt = mqtt.lines
    notifications = NotifyService(
        store, Vault(key), lambda node_id, entry: facts_of(alarms, node_id, entry), publish=mqtt.publish,
        tell=fleet.tell, changed=bus.alarms_changed,
        link=lambda: f"{system.public_url.rstrip('/')}/alarms" if system.public_url else "",
        now_ns=now_ns,
    )  # fmt: skip
    alarms.listeners.append(notifications.heard)
    own.channels = notifications.broken
    programs = ProgramService(store, compiler, language, artifacts, now_ns)
    services = Services(
        fleet=fleet,
        history=HistoryService(ingest, bus),
        programs=programs,
        deployments=deployments,
        commands=commands,
        people=people,
        audit=audit,
        system=system,
        alarms=alarms,
        screens=ScreenService(store, now_ns),
        recordings=recordings,
        watch_lists=WatchListService(store, now_ns),
        notifications=notifications,
    )
    watches: tuple[Watch, ...] = (
        commands.watch, deployments.watch, housekeeping.watch, own.watch, mqtt.watch, notifications.watch,
    )  # fmt: skip
    metrics = Metrics(fleet, ingest)
    return Parts(
        folder, services, people, audit, fleet, commands, ingest, store, link, system, metrics, alarms, mqtt, language,
        watches,
    )  # fmt: skip


def create_app(settings: Settings, *, now_ns: Clock = time.time_ns) -> Starlette:
    """The application with its stores open; its lifespan starts and ends the work.

    Raises TickworkError when a store cannot be used, ValueError when a route does not say who may call it.
    """
    parts = build(settings, now_ns)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await parts.start()
        tasks = [asyncio.ensure_future(watch()) for watch in parts.watches]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await parts.stop()

    routes: list[BaseRoute] = [
        Route("/link/enrol", guard.access(None)(parts.link.enrol), methods=["POST"]),
        WebSocketRoute("/link/ws", guard.open_websocket(parts.link.websocket)),
        *health_routes(parts.system, parts.metrics),
        *api_routes(),
        *file_routes(PREFIX),
        *AlarmStreams().routes(PREFIX),
        *pages.routes(parts.services),
    ]
    missing = guard.undeclared(routes)
    if missing:
        raise ValueError(f"routes that do not say who may call them: {', '.join(missing)}")
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers=HANDLERS,
        middleware=[
            Middleware(SecurityHeaders, headers=pages.SECURITY_HEADERS, tls=settings.tls),
            Middleware(Measured, metrics=parts.metrics),
            Middleware(AccessLog),
            Middleware(RateLimit),
            Middleware(BodyLimit),
        ],
    )
    app.state.services, app.state.parts = parts.services, parts
    return app
