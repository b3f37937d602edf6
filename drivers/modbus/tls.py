"""TLS of both ends, and the role in a certificate (Modbus/TCP Security, MB-TCP-Security-v21)."""

from __future__ import annotations

import ssl

ROLE_OID = "1.3.6.1.4.1.50316.802.1"  # §8.4: the role, an ASN.1 UTF8String in one extension
UTF8_STRING = 0x0C
SHORT_LENGTH_MAX = 127


def client_context(*, authority: str, certificate: str, key: str) -> ssl.SSLContext:
    """For a master: mutual TLS 1.2 or newer. Raises OSError when a file cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=authority)
    return _hardened(context, certificate, key)


def server_context(*, authority: str, certificate: str, key: str) -> ssl.SSLContext:
    """For the server: a client without a certificate of the authority is refused. Raises OSError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    context.verify_mode = ssl.CERT_REQUIRED
    return _hardened(context, certificate, key)


def _hardened(context: ssl.SSLContext, certificate: str, key: str) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # §5: 1.2 or newer
    context.load_cert_chain(certificate, key)
    return context


def role_of(certificate_der: bytes) -> str:
    """The role that a certificate carries, "" if it carries none or one that is not as specified."""
    from cryptography import x509

    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        extension = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(ROLE_OID))
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return ""
    return _utf8_string(extension.value.public_bytes())


def _utf8_string(der: bytes) -> str:
    if len(der) < 2 or der[0] != UTF8_STRING or der[1] > SHORT_LENGTH_MAX or len(der) != 2 + der[1]:
        return ""
    try:
        return der[2:].decode("utf-8")
    except UnicodeDecodeError:
        return ""
