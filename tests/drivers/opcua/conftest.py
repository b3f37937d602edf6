"""A real server on a free port with real certificates; what stands behind it is a fake node."""

import contextlib
import pathlib
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

import pytest
from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from asyncua.server.address_space import AttributeValue, NodeData
from asyncua.server.internal_server import InternalServer

from drivers.opcua.certificates import CertificateFiles, ensure_certificate
from drivers.opcua.config import OpcUaConfig
from drivers.opcua.guard import Guard
from drivers.opcua.node import Surroundings
from drivers.opcua.server import OpcUaServer
from drivers.opcua.users import UserFile
from scan import NodeState
from scan.abi import Application, Symbol


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class EmptyNode:
    """A node without a program."""

    application: Application | None = None
    generation = 0
    state = NodeState.EMPTY
    alive = True

    def refresh(self) -> bool:
        return False


@dataclass
class FakeOrders:
    """Takes everything that people order; ``refusal`` refuses it."""

    writes: list[tuple[dict[Symbol, object], str]] = field(default_factory=list)
    others: list[tuple[object, ...]] = field(default_factory=list)
    refusal: str = ""

    async def write(self, values: Mapping[Symbol, object], user: str) -> str:
        self.writes.append((dict(values), user))
        return self.refusal

    async def force(self, symbol: Symbol, value: object, *, user: str, reason: str, lease_s: int) -> str:
        self.others.append(("force", symbol.path, value, user, reason, lease_s))
        return self.refusal

    async def unforce(self, symbol: Symbol, user: str) -> str:
        self.others.append(("unforce", symbol.path, user))
        return self.refusal

    async def order(self, action: str, user: str) -> str:
        self.others.append((action, user))
        return self.refusal


@dataclass
class Bench:
    """The server under test, its files, and what the node was asked to do."""

    server: OpcUaServer
    config: OpcUaConfig
    writes: list[tuple[dict[Symbol, object], str]] = field(default_factory=list)
    orders: FakeOrders = field(default_factory=FakeOrders)

    @property
    def guard(self) -> Guard:
        """Counts failures by address."""
        assert self.server._server is not None
        return self.server._server.iserver.guard  # type: ignore[no-any-return]

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.config.port}/tickwork"


@pytest.fixture(scope="session")
def identities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CertificateFiles]:
    """Key pairs are slow to make: one server and three clients for all tests."""
    root = tmp_path_factory.mktemp("identities")
    return {name: ensure_certificate(root / name, name) for name in ("server", "known", "other", "stranger")}


@pytest.fixture(scope="session")
def user_file(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Hashes of passwords are slow to make by design: once for all tests."""
    path = tmp_path_factory.mktemp("users") / "users.toml"
    users = UserFile(path)
    for name, role in (("ann", "operator"), ("otto", "observer"), ("eva", "engineer")):
        users.add(name, role, "secret")
    return path


_standard_nodes: dict[object, NodeData] = {}


async def _load_standard_nodes(core: InternalServer, shelf_file: object = None) -> None:
    """The 7,000 standard nodes are made once and copied: making them takes seconds, and each test has a server."""
    if not _standard_nodes:
        await _load_once(core)
        _standard_nodes.update({key: _copy(node) for key, node in core.aspace._nodes.items()})
    core.aspace._nodes = {key: _copy(node) for key, node in _standard_nodes.items()}


def _copy(node: NodeData) -> NodeData:
    other = NodeData(node.nodeid)
    other.attributes = dict(node.attributes)
    held = node.attributes.get(ua.AttributeIds.Value)
    if held is not None:  # nothing else is ever written
        other.attributes[ua.AttributeIds.Value] = AttributeValue(held.value)
    other.references = list(node.references)
    return other


_load_once = InternalServer.load_standard_address_space


@pytest.fixture(autouse=True)
def quick_standard_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InternalServer, "load_standard_address_space", _load_standard_nodes)


Start = Callable[..., contextlib.AbstractAsyncContextManager[Bench]]


@pytest.fixture
def start(tmp_path: pathlib.Path, identities: dict[str, CertificateFiles], user_file: pathlib.Path) -> Start:
    @contextlib.asynccontextmanager
    async def run(
        view: object | None = None, surroundings: dict[str, object] | None = None, **options: object
    ) -> AsyncIterator[Bench]:
        directory = tmp_path / "opcua"
        shutil.copytree(identities["server"].certificate.parent, directory, dirs_exist_ok=True)
        for name in ("known", "other"):
            shutil.copy(identities[name].certificate, directory / "trusted" / f"{name}.der")
        shutil.copy(user_file, directory / "users.toml")
        config = OpcUaConfig(node="water", directory=directory, port=free_port(), **options)  # type: ignore[arg-type]
        orders = FakeOrders()
        node = Surroundings(orders, **(surroundings or {}))  # type: ignore[arg-type]
        server = OpcUaServer(view or EmptyNode(), node, config)  # type: ignore[arg-type]
        await server.start()
        try:
            yield Bench(server, config, orders.writes, orders)
        finally:
            await server.stop()

    return run


@contextlib.asynccontextmanager
async def connected(
    bench: Bench, client: CertificateFiles, user: str | None = "ann", password: str = "secret"
) -> AsyncIterator[Client]:
    """A client over Basic256Sha256, SignAndEncrypt."""
    one = Client(bench.url, timeout=5)
    await one.set_security(
        SecurityPolicyBasic256Sha256,
        certificate=str(client.certificate),
        private_key=str(client.key),
        server_certificate=str(bench.config.directory / "own.der"),
    )
    one.application_uri = f"urn:{socket.gethostname()}:tickwork:{client.certificate.parent.name}"
    if user is not None:
        one.set_user(user)
        one.set_password(password)
    async with one:
        yield one
