"""The node's application certificate and the certificates that it trusts.

One certificate serves the server and the client driver; it is made at the first start and kept with its key in the
node's state directory. Profile: OPC 10000-6 §6.2.2 (ApplicationUri as URI SAN, host names as DNS and IP SANs, key
usage, extended key usage). Clients and servers that we trust are apart: a device that we read from may not
therefore come in.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import ipaddress
import os
import pathlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scan.problem import Place, fail

log = structlog.get_logger("tickwork.opcua")

KEY_BITS = 2048
REJECTED_MAX = 100
VALID_DAYS = 5 * 365
WARN_DAYS = 60  # before it ends people are told: a certificate is replaced in working hours, with its clients


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    certificate: pathlib.Path  # DER
    key: pathlib.Path  # PEM, mode 0600
    trusted: pathlib.Path  # folder of trusted client certificates, DER
    rejected: pathlib.Path  # folder of refused ones, for an administrator to move to ``trusted``

    @property
    def of_servers(self) -> CertificateFiles:
        """The same identity with the lists for servers that the client driver connects to."""
        folder = self.certificate.parent / "servers"
        return CertificateFiles(self.certificate, self.key, folder / "trusted", folder / "rejected")


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What people want to know about the own certificate."""

    application_uri: str
    hosts: tuple[str, ...]
    fingerprint: str
    not_after: datetime.datetime

    @property
    def days_left(self) -> int:
        """Whole days; negative when it has ended."""
        return (self.not_after - datetime.datetime.now(datetime.UTC)).days

    @property
    def warning(self) -> str:
        """What to do about it, "" while nothing is."""
        if self.days_left < 0:
            return f"the OPC UA certificate ended on {self.not_after:%Y-%m-%d}: run `tickwork opcua renew`"
        if self.days_left < WARN_DAYS:
            return f"the OPC UA certificate ends in {self.days_left} days: run `tickwork opcua renew`"
        return ""


def local_addresses() -> list[str]:
    """Addresses of the interfaces that are up, without loopback and link-local ones."""
    found = []
    for name, facts in psutil.net_if_stats().items():
        for address in psutil.net_if_addrs().get(name, ()) if facts.isup else ():
            text = address.address.partition("%")[0]
            if address.family in (socket.AF_INET, socket.AF_INET6):
                parsed = ipaddress.ip_address(text)
                if not (parsed.is_loopback or parsed.is_link_local):
                    found.append(text)
    return found


def application_uri(node: str) -> str:
    return f"urn:{socket.gethostname()}:tickwork:{node}"


def files_in(directory: pathlib.Path) -> CertificateFiles:
    return CertificateFiles(
        directory / "own.der", directory / "own.pem", directory / "trusted", directory / "rejected"
    )


def ensure_certificate(directory: pathlib.Path, node: str, hosts: tuple[str, ...] = ()) -> CertificateFiles:
    """Existing files, or a new key and self-signed certificate. Raises TickworkError UA1002 on unusable files."""
    files = files_in(directory)
    for folder in (
        directory,
        files.trusted,
        files.rejected,
        files.of_servers.trusted,
        files.of_servers.rejected,
    ):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(directory):  # the gate and the field process may both be the first
        if not (files.certificate.exists() and files.key.exists()):
            _make(files, application_uri(node), hosts, VALID_DAYS)
    own_certificate(files)
    return files


def renew_certificate(
    directory: pathlib.Path, node: str, hosts: tuple[str, ...] = (), days: int = VALID_DAYS
) -> CertificateFiles:
    """A new key and certificate with the ApplicationUri and names of the old one; the old pair stays beside it.

    A running server takes the new pair for new connections. Its clients have to trust the new certificate.
    """
    files = files_in(directory)
    uri, names = application_uri(node), hosts
    with contextlib.suppress(Exception):  # an unusable old pair is what renewal is for
        facts = certificate_facts(own_certificate(files))
        uri, names = facts.application_uri, tuple(dict.fromkeys((*facts.hosts, *hosts)))
    with _locked(directory):
        for path in (files.certificate, files.key):
            if path.exists():
                path.replace(path.with_name(path.name + ".old"))
        _make(files, uri, names, days)
    return files


def own_certificate(files: CertificateFiles) -> x509.Certificate:
    """Raises TickworkError UA1002 when certificate or key cannot be used."""
    try:
        certificate = x509.load_der_x509_certificate(files.certificate.read_bytes())
        key = serialization.load_pem_private_key(files.key.read_bytes(), password=None)
        same = certificate.public_key() == key.public_key()
    except (OSError, ValueError, TypeError) as error:
        raise _unusable(files, str(error)) from error
    if not same:
        raise _unusable(files, "the key does not belong to the certificate")
    return certificate


def certificate_facts(certificate: x509.Certificate) -> CertificateFacts:
    uris: list[str] = []
    hosts: list[str] = []
    with contextlib.suppress(x509.ExtensionNotFound):
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        hosts = names.get_values_for_type(x509.DNSName)
        hosts += [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return CertificateFacts(
        uris[0] if uris else "", tuple(hosts), fingerprint(certificate), certificate.not_valid_after_utc
    )


@contextlib.contextmanager
def _locked(directory: pathlib.Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (directory / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _make(files: CertificateFiles, uri: str, hosts: tuple[str, ...], days: int) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    certificate = _self_signed(key, uri, hosts, days)
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(files.key, text)
    _write(files.certificate, certificate.public_bytes(serialization.Encoding.DER))


def _write(path: pathlib.Path, data: bytes) -> None:
    """Whole or not at all; for the owner's eyes."""
    temporary = path.with_name(path.name + ".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(data)
    temporary.replace(path)


class TrustList:
    """The certificates in ``trusted``; refused ones are kept in ``rejected`` for an administrator to approve.

    Both folders are looked at anew each time: no restart is needed.
    """

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files

    def accepts(self, certificate: bytes) -> bool:
        """``certificate`` is DER, possibly followed by its chain; validity dates count, a chain alone does not."""
        try:
            leaf = x509.load_der_x509_certificate(leaf_of(certificate))
        except ValueError:
            return False
        now = datetime.datetime.now(datetime.UTC)
        valid = leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc
        name = fingerprint(leaf)
        if valid and name in self._trusted():
            return True
        rejected = self._files.rejected / f"{name}.der"
        # Bounded, or a stranger fills the disk with certificates.
        if not rejected.exists() and len(list(self._files.rejected.iterdir())) < REJECTED_MAX:
            rejected.write_bytes(leaf.public_bytes(serialization.Encoding.DER))
        log.warning("certificate is not trusted", subject=leaf.subject.rfc4514_string(), fingerprint=name)
        return False

    def add(self, certificate: bytes) -> str:
        """Trusts a DER certificate; its fingerprint. Raises ValueError if it is none."""
        leaf = x509.load_der_x509_certificate(certificate)
        name = fingerprint(leaf)
        self._files.trusted.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._files.trusted / f"{name}.der").write_bytes(leaf.public_bytes(serialization.Encoding.DER))
        (self._files.rejected / f"{name}.der").unlink(missing_ok=True)
        return name

    def entries(self) -> list[tuple[str, x509.Certificate]]:
        """("trusted" or "rejected", certificate) of all that are kept."""
        found = []
        for name, folder in (("trusted", self._files.trusted), ("rejected", self._files.rejected)):
            for path in sorted(folder.glob("*.der")):
                with contextlib.suppress(OSError, ValueError):
                    found.append((name, x509.load_der_x509_certificate(path.read_bytes())))
        return found

    def approve(self, beginning: str) -> str | None:
        """Moves the one rejected certificate whose fingerprint begins so; None when it is not exactly one."""
        found = [path for path in self._files.rejected.glob("*.der") if path.stem.startswith(beginning)]
        if len(found) != 1:
            return None
        self._files.trusted.mkdir(parents=True, exist_ok=True, mode=0o700)
        found[0].replace(self._files.trusted / found[0].name)
        return found[0].stem

    def revoke(self, beginning: str) -> str | None:
        """Trusts it no longer: back to the rejected ones; None when it is not exactly one."""
        found = []
        for name, certificate in self.entries():
            if name == "trusted" and fingerprint(certificate).startswith(beginning):
                found.append(fingerprint(certificate))
        if len(found) != 1:
            return None
        for path in self._files.trusted.iterdir():
            with contextlib.suppress(OSError, ValueError):
                if fingerprint(x509.load_der_x509_certificate(path.read_bytes())) == found[0]:
                    path.replace(self._files.rejected / f"{found[0]}.der")
        return found[0]

    def _trusted(self) -> set[str]:
        found = set()
        for path in self._files.trusted.iterdir():
            try:
                found.add(fingerprint(x509.load_der_x509_certificate(path.read_bytes())))
            except (OSError, ValueError):
                log.warning("not a DER certificate", file=str(path))
        return found


def leaf_of(chain: bytes) -> bytes:
    """The first certificate of DER certificates that follow one another (OPC 10000-6 §6.2.6)."""
    if len(chain) < 4 or chain[0] != 0x30 or not chain[1] & 0x80:
        return chain
    count = chain[1] & 0x7F
    return chain[: 2 + count + int.from_bytes(chain[2 : 2 + count], "big")]


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 in hex; names the files in ``trusted`` and ``rejected``."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def _unusable(files: CertificateFiles, found: str) -> Exception:
    return fail(
        "UA1002",
        "the OPC UA certificate or key cannot be used",
        place=Place(str(files.certificate)),
        expected="a DER certificate and its PEM key",
        found=found,
        remedy="put both back, or delete both: a new pair is made at the next start",
    )


def _self_signed(key: rsa.RSAPrivateKey, uri: str, hosts: tuple[str, ...], days: int) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, f"tickwork {uri.rpartition(':')[2]}"[:64]),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "tickwork"),
        ]
    )
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    extended = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(_names(uri, hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(extended, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        # Its own issuer: without this some stacks take it for the certificate of an authority that they miss.
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _names(uri: str, hosts: tuple[str, ...]) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
    for host in dict.fromkeys((socket.gethostname(), "localhost", "127.0.0.1", *local_addresses(), *hosts)):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return x509.SubjectAlternativeName(names)
