"""The OPC UA server of a node, hosted by the gate process."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time

import structlog
from asyncua import ua

import scan
from scan.problem import fail

from . import diagnostics, history, model_change, node_methods, server_state
from .certificates import TrustList, certificate_facts, ensure_certificate, own_certificate
from .channel import StrictServer
from .companion import Companion
from .conditions import Conditions
from .config import OpcUaConfig, apply_rules
from .core import Core
from .fixed import FixedNodes, Identity, build
from .history import History
from .history_buffer import HistoryBuffer
from .node import Surroundings
from .node_methods import NodeMethods
from .program_nodes import ProgramNodes, namespace_uri
from .server_state import Health, capabilities
from .sessions import advertised
from .space import URIS
from .tags import Tags
from .tree import Tree
from .users import UserFile, UserManager

log = structlog.get_logger("tickwork.opcua")

STOP_S = 2.0
FOLLOW_S = 0.1
AWAY_S = 2.0  # without a sign of life of the scan process

SECURE_POLICIES = [
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ua.SecurityPolicyType.Basic256Sha256_Sign,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_Sign,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_Sign,
]


class OpcUaServer:
    """Serves the symbols of the running program; writes, forces and orders go to the node's ``orders``."""

    def __init__(self, view: scan.NodeView, node: Surroundings, config: OpcUaConfig) -> None:
        self._view = view
        self._node = node
        self._config = config
        self._server: StrictServer | None = None
        self._tags = Tags(view, 0)
        self._health = Health()
        self._buffer = HistoryBuffer(config.history, config.history_mb * 1024 * 1024)
        self._sampled_at = 0.0
        self._conditions: Conditions | None = None
        self._follower: asyncio.Task[None] | None = None
        self._shown_at = 0.0
        self._seen_alive_at = time.monotonic()

    async def start(self) -> None:
        """Raises TickworkError: UA1001 when the port cannot be had, UA1002 for unusable certificates."""
        config = self._config
        files = await asyncio.to_thread(ensure_certificate, config.directory, config.node, config.hosts)
        users = UserManager(UserFile(config.directory / "users.toml"), config.anonymous)
        trust = None if config.trust_all else TrustList(files)
        core = Core(self._tags, self._node.orders.write, users, trust, History(self._tags, self._buffer))
        server = StrictServer(iserver=core)
        await server.init()
        server.set_server_name(f"Tickwork {config.node}")
        await server.set_application_uri(certificate_facts(own_certificate(files)).application_uri)
        server.set_endpoint(f"opc.tcp://{config.host}:{config.port}/tickwork")
        policies = ([ua.SecurityPolicyType.NoSecurity] if config.insecure else []) + SECURE_POLICIES
        server.set_security_policy(policies)
        tokens: list[type] = [ua.UserNameIdentityToken, ua.X509IdentityToken]
        server.set_identity_tokens([ua.AnonymousIdentityToken, *tokens] if config.anonymous else tokens)
        await server.load_identity(files)
        await self._fill(server, core)
        self._server = server
        await self.rebind()
        NodeMethods(core.space, self._node.orders).add_to(core.methods)
        if self._node.alarms is not None:
            self._conditions = Conditions(core.space, core.subscription_service, self._node.alarms)
            self._conditions.add_methods(core.methods)
            await self._conditions.start()
        await self._listen(server)
        self._follower = asyncio.create_task(self._follow())

    async def _fill(self, server: StrictServer, core: Core) -> None:
        """Namespaces, the companion models and what the server says of itself."""
        self._tags.index = await server.register_namespace(namespace_uri(self._config.node))
        indexes = [await server.register_namespace(uri) for uri in URIS]
        companion = Companion(*indexes)
        core.space.companion = companion
        for result in core.node_mgt_service.add_nodes(companion.items()):
            result.StatusCode.check()
        core.node_mgt_service.add_references(companion.rules())
        await core.show(capabilities())

    async def _follow(self) -> None:
        """Keep the address space that of the running program, and its statistics fresh."""
        while True:
            await asyncio.sleep(FOLLOW_S)
            try:
                self._view.refresh()
                if self._view.alive:
                    self._seen_alive_at = time.monotonic()
                self._sample_history()
                self._tags.away = time.monotonic() - self._seen_alive_at > AWAY_S
                if self._view.generation != self._tags.generation:
                    await self.rebind()
                elif self._server is not None and time.monotonic() - self._shown_at >= diagnostics.INTERVAL_S:
                    await self._show(self._server.iserver)
                    await self._server.follow_identity()
            except Exception:
                log.exception("the address space could not be renewed")

    def _sample_history(self) -> None:
        now_s = time.monotonic()
        if now_s - self._sampled_at >= self._config.history_ms / 1000 and self._config.history:
            self._sampled_at = now_s
            self._buffer.sample(self._tags)

    async def _listen(self, server: StrictServer) -> None:
        try:
            await server.start()
        except OSError as error:
            self._server = None
            raise fail(
                "UA1001",
                f"the OPC UA server cannot listen on {self._config.host}:{self._config.port}",
                found=str(error),
                remedy="free the port or set another one: [opcua] port = … in plant.toml",
            ) from error

    async def rebind(self) -> None:
        """Bring the address space in line with the running program; NodeIds of equal paths stay."""
        if self._server is None:
            return
        core: Core = self._server.iserver
        application = self._view.application
        rules = self._config.variables
        tree = Tree((), ())
        if application is not None:
            tree = Tree(tuple(apply_rules(application.symbols, rules)), application.aggregates)
        index, companion = self._tags.index, core.space.companion
        version = application.digest[:16] if application is not None else ""
        nodes = ProgramNodes(tree, companion, index, version=version, historized=self._buffer.keeps)
        fixed = FixedNodes(companion, index)
        build(fixed, Identity(self._config.node), application.tasks if application is not None else ())
        diagnostics.build(fixed, self._view, self._node.devices())
        node_methods.build(fixed)
        fixed.extra += history.links()
        before = core.space.program
        core.space.exchange(nodes, fixed)
        self._tags.bind(tree, nodes.types, self._view.generation)
        self._buffer.bind(self._tags)
        core.subscription_service.rebind()
        changed = model_change.event(before, nodes, time.time_ns()) if before.version else None
        if changed is not None:
            core.subscription_service.publish_event(changed)
        await self._show(core)

    async def _show(self, core: Core) -> None:
        """What is brought up to date once a second."""
        self._shown_at = time.monotonic()
        moment, devices = datetime.datetime.now(datetime.UTC), self._node.devices()
        for path, variant in diagnostics.values(self._view, devices).items():
            core.space.fixed.set(path, variant, moment)
        await core.show(server_state.diagnostics(core))
        level = self._health.level(self._view, devices, self._shown_at)
        await core.show([(ua.ObjectIds.Server_ServiceLevel, ua.Variant(level, ua.VariantType.Byte))])

    async def stop(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower
            self._follower = None
        if self._conditions is not None:
            self._conditions.stop()
        if self._server is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._server.stop(), STOP_S)
            self._server = None

    def clients(self) -> list[str]:
        if self._server is None or self._server.bserver is None:
            return []
        peers = (client.peer_name for client in self._server.bserver.clients)
        return [f"opcua {peer[0]}:{peer[1]}" for peer in peers if peer]

    def endpoints(self) -> list[str]:
        return advertised(self._config.host, self._config.port) if self._server else []
