"""A process image, a device table and a way to wait: what the tests of the Modbus driver share."""

import asyncio
import contextlib
import datetime
import pathlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from drivers.modbus import DevicePoller, ModbusDevice, open_link, parse_device
from drivers.modbus.tls import ROLE_OID
from scan.quality import BAD_WAITING_FOR_INITIAL_DATA

DEADLINE_S = 5.0


class FakeImage:
    """The working copy of the inputs segment, without a segment. ``history`` keeps each published state."""

    def __init__(self, device: ModbusDevice) -> None:
        self.image = np.zeros(max(device.input_bytes, 1), np.uint8)
        self.quality = np.full(len(device.inputs), BAD_WAITING_FOR_INITIAL_DATA, np.uint16)
        self.times = np.zeros(len(device.inputs), np.int64)
        self.history: list[tuple[bytes, bytes]] = []

    def changed(self) -> None:
        self.history.append((self.image.tobytes(), self.quality.tobytes()))

    def words(self, count: int) -> list[int]:
        return [int(word) for word in self.image[: 2 * count].view("<u2")]


class World:
    def table(self, port: int, **changes: Any) -> dict[str, Any]:
        """A device table with quick times for a simulated device at ``port``."""
        return {
            "name": "plant", "protocol": "modbus-tcp", "host": "127.0.0.1", "port": port,
            "timeout_ms": 200, "retries": 0, "probe_ms": 100, "backoff_max_ms": 500, **changes,
        }  # fmt: skip

    def read(self, **changes: Any) -> dict[str, Any]:
        return {
            "function": "holding-registers", "address": 0, "count": 4, "to": "%IW0", "period_ms": 20, **changes,
        }  # fmt: skip

    def image(self, device: ModbusDevice) -> FakeImage:
        return FakeImage(device)

    @contextlib.asynccontextmanager
    async def polling(
        self, definition: dict[str, Any], **options: Any
    ) -> AsyncIterator[tuple[DevicePoller, FakeImage]]:
        """A running poller on its own link, and its image."""
        device = parse_device(definition)
        image = FakeImage(device)
        link = open_link(device.connection)
        poller = DevicePoller(device, link, image, **options)
        poller.start()
        link.start()
        try:
            yield poller, image
        finally:
            poller.stop()
            await link.stop()

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Waits for ``condition``, at most five seconds."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
            await asyncio.sleep(0.002)


def certificate(folder: pathlib.Path, name: str, issuer: Any = None, *, role: str = "") -> Any:
    """A key and a certificate ``name``.pem/.key, signed by ``issuer`` or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    signer = issuer[1] if issuer else key
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
    ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=issuer is None, crl_sign=issuer is None, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip
    if role:
        data = bytes((0x0C, len(role))) + role.encode()
        builder = builder.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier(ROLE_OID), data), critical=False
        )
    made = builder.add_extension(usage, critical=True).sign(signer, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / f"{name}.key").write_bytes(pem)
    return made, key


@pytest.fixture
def certificates(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with the certificates and keys of an authority, a device, nodes, and a stranger."""
    authority = certificate(tmp_path, "authority")
    certificate(tmp_path, "device", authority)
    certificate(tmp_path, "node", authority)
    certificate(tmp_path, "operator", authority, role="operator")
    certificate(tmp_path, "stranger")
    return tmp_path


@pytest.fixture
def world() -> World:
    return World()
