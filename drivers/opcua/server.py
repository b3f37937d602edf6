"""The OPC UA server of a node, hosted by the gate process."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time

import structlog
from asyncua import ua
from asyncua.server.address_space import MethodService, NodeManagementService, ViewService

import scan
from scan.problem import fail

from . import diagnostics
from .certificates import TrustList, certificate_facts, ensure_certificate, own_certificate
from .channel import StrictServer
from .config import OpcUaConfig
from .nodes import build, namespace_uri
from .plane import Submit, TagAttributes, Tags, TagSpace
from .sessions import StrictCore, advertised
from .subscriptions import TagSubscriptions
from .types import can_serve
from .users import UserFile, UserManager

log = structlog.get_logger("tickwork.opcua")

STOP_S = 2.0
FOLLOW_S = 0.1

SECURE_POLICIES = [
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ua.SecurityPolicyType.Basic256Sha256_Sign,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_Sign,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_Sign,
]


class _InternalServer(StrictCore):
    """asyncua's core with our address space and session rules."""

    def __init__(self, tags: Tags, submit: Submit, users: UserManager, trust: TrustList | None) -> None:
        super().__init__(users, trust)
        space = TagSpace()
        space.tags = tags
        self.aspace = space
        self.attribute_service = TagAttributes(space, submit)
        self.view_service = ViewService(space)
        self.method_service = MethodService(space)
        self.node_mgt_service = NodeManagementService(space)
        self.subscription_service = TagSubscriptions(space, self)
        self.isession.aspace = space
        self.isession.subscription_service = self.subscription_service


class OpcUaServer:
    """Serves the symbols of the running program. ``submit`` hands an atomic group of writes to the scan."""

    def __init__(self, view: scan.NodeView, submit: Submit, config: OpcUaConfig) -> None:
        self._view = view
        self._submit = submit
        self._config = config
        self._server: StrictServer | None = None
        self._tags = Tags(view, 0)
        self._nodes: list[ua.NodeId] = []
        self._follower: asyncio.Task[None] | None = None
        self._shown_at = 0.0

    async def start(self) -> None:
        """Raises TickworkError: UA1001 when the port cannot be had, UA1002 for unusable certificates."""
        config = self._config
        files = await asyncio.to_thread(ensure_certificate, config.directory, config.node, config.hosts)
        users = UserManager(UserFile(config.directory / "users.toml"), config.anonymous)
        trust = None if config.trust_all else TrustList(files)
        core = _InternalServer(self._tags, self._submit, users, trust)
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
        self._tags.index = await server.register_namespace(namespace_uri(config.node))
        self._server = server
        await self.rebind()
        await self._listen(server)
        self._follower = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        """Keep the address space that of the running program, and its statistics fresh."""
        while True:
            await asyncio.sleep(FOLLOW_S)
            try:
                self._view.refresh()
                if self._view.generation != self._tags.generation:
                    await self.rebind()
                elif self._server is not None and time.monotonic() - self._shown_at >= diagnostics.INTERVAL_S:
                    await self._show_statistics(self._server.iserver)
                    await self._server.follow_identity()
            except Exception:
                log.exception("the address space could not be renewed")

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
        core = self._server.iserver
        application = self._view.application
        symbols = [symbol for symbol in application.symbols if can_serve(symbol)] if application else []
        if self._nodes:
            parameters = ua.DeleteNodesParameters()
            parameters.NodesToDelete = [
                ua.DeleteNodesItem(NodeId=node, DeleteTargetReferences=True) for node in reversed(self._nodes)
            ]
            core.node_mgt_service.delete_nodes(parameters)
        index = self._tags.index
        items = build(symbols, node=self._config.node, index=index)
        items += diagnostics.items(self._view, ua.NodeId(self._config.node, index), index)
        self._nodes = [item.RequestedNewNodeId for item in items]
        core.node_mgt_service.add_nodes(items)
        self._tags.bind(symbols, self._view.generation)
        core.subscription_service.rebind()
        await self._show_statistics(core)

    async def _show_statistics(self, core: _InternalServer) -> None:
        self._shown_at = time.monotonic()
        for path, variant in diagnostics.values(self._view).items():
            value = ua.DataValue(variant, SourceTimestamp=datetime.datetime.now(datetime.UTC))
            await core.aspace.write_attribute_value(
                ua.NodeId(path, self._tags.index), ua.AttributeIds.Value, value
            )

    async def stop(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower
            self._follower = None
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
