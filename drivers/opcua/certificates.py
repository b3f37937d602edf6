"""The server's application certificate: made at the first start, kept with its key in the node's state directory.

Profile: OPC 10000-6 §6.2.2 (ApplicationUri as URI SAN, host names as DNS and IP SANs, key usage, extended key usage).
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import pathlib
import socket
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    certificate: pathlib.Path  # DER
    key: pathlib.Path  # PEM, mode 0600
    trusted: pathlib.Path  # folder of trusted client certificates, DER
    rejected: pathlib.Path  # folder of refused ones, for an administrator to move to ``trusted``


def application_uri(node: str) -> str:
    return f"urn:{socket.gethostname()}:tickwork:{node}"


def ensure_certificate(directory: pathlib.Path, node: str, hosts: tuple[str, ...] = ()) -> CertificateFiles:
    """Existing files, or a new key and self-signed certificate. Raises TickworkError UA1002 on unusable files."""
    files = CertificateFiles(
        directory / "own.der", directory / "own.pem", directory / "trusted", directory / "rejected"
    )
    for folder in (directory, files.trusted, files.rejected):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if files.certificate.exists() and files.key.exists():
        _check(files)
        return files
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    certificate = _self_signed(key, node, hosts)
    descriptor = os.open(files.key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    return files


class TrustList:
    """The client certificates in ``trusted``; refused ones are kept in ``rejected`` for an administrator to approve."""

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files

    def accepts(self, certificate: bytes) -> bool:
        """``certificate`` is DER, possibly followed by its chain; validity dates count, a chain alone does not."""
        try:
            leaf = x509.load_der_x509_certificate(certificate)
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
        log.warning(
            "client certificate is not trusted", subject=leaf.subject.rfc4514_string(), fingerprint=name
        )
        return False

    def _trusted(self) -> set[str]:
        found = set()
        for path in self._files.trusted.iterdir():
            try:
                found.add(fingerprint(x509.load_der_x509_certificate(path.read_bytes())))
            except (OSError, ValueError):
                log.warning("not a DER certificate", file=str(path))
        return found


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 in hex; names the files in ``trusted`` and ``rejected``."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def _check(files: CertificateFiles) -> None:
    try:
        certificate = x509.load_der_x509_certificate(files.certificate.read_bytes())
        key = serialization.load_pem_private_key(files.key.read_bytes(), password=None)
        same = certificate.public_key() == key.public_key()
    except (OSError, ValueError, TypeError) as error:
        raise _unusable(files, str(error)) from error
    if not same:
        raise _unusable(files, "the key does not belong to the certificate")


def _unusable(files: CertificateFiles, found: str) -> Exception:
    return fail(
        "UA1002",
        "the OPC UA certificate or key cannot be used",
        place=Place(str(files.certificate)),
        expected="a DER certificate and its PEM key",
        found=found,
        remedy="put both back, or delete both: a new pair is made at the next start",
    )


def _self_signed(key: rsa.RSAPrivateKey, node: str, hosts: tuple[str, ...]) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, f"tickwork {node}"[:64]),
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
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(_names(node, hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(extended, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _names(node: str, hosts: tuple[str, ...]) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(application_uri(node))]
    for host in dict.fromkeys((socket.gethostname(), "localhost", "127.0.0.1", *hosts)):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return x509.SubjectAlternativeName(names)
