"""A secured, authenticated connection to a remote server; used by the field driver and by the command line.

The server's certificate is asked for without security, judged by our own trust list, and the secure channel is then
opened to exactly that certificate: who does not hold its key cannot answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pathlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from asyncua import Client, ua
from asyncua.crypto import security_policies, uacrypto
from cryptography import x509

from scan.problem import Place, TickworkError, fail

from .certificates import (
    CertificateFiles,
    TrustList,
    certificate_facts,
    ensure_certificate,
    leaf_of,
    own_certificate,
)
from .client_config import Remote

# asyncua tells of each lost request; people are told once by the state of the device.
logging.getLogger("asyncua").setLevel(logging.CRITICAL)

SESSION_TIMEOUT_MS = 60_000
CHANNEL_LIFETIME_MS = 600_000
PASSWORD_SIZE_MAX = 4096
CLOSE_S = 1.0
_POLICIES = {
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256_Sha256_RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
}
# What a connection may fail with: our own problems, the stack's, and the system's.
CONNECT_ERRORS = (
    TickworkError,
    ua.UaError,
    OSError,
    asyncio.TimeoutError,
    x509.ExtensionNotFound,
    ValueError,
)


async def connect(remote: Remote, directory: pathlib.Path, *, name: str = "node") -> Client:
    """A connected client with an activated session. ``directory`` keeps our certificate and the trust list.

    Raises TickworkError UA2001 (not reachable), UA2002 (certificate not trusted), UA2003 (no such security), UA2004
    (user or session refused), UA2006 (a file of ours cannot be used).
    """
    timeout_s = remote.timeout_ms / 1000
    client = Client(remote.url, timeout=timeout_s, watchdog_intervall=max(timeout_s, 1.0))
    client.name = client.description = f"Tickwork {name}"
    client.product_uri = "urn:tickwork"
    client.session_timeout = SESSION_TIMEOUT_MS
    client.secure_channel_timeout = CHANNEL_LIFETIME_MS
    client.max_messagesize = client.max_chunkcount = 0
    await _identify(client, remote)
    if remote.policy != "None":
        await _secure(client, remote, directory, name)
    try:
        await client.connect()
    except CONNECT_ERRORS as error:
        await close(client)
        raise _refused(remote, error) from error
    except asyncio.CancelledError:
        await close(client)
        raise
    return client


@contextlib.asynccontextmanager
async def connected(remote: Remote, directory: pathlib.Path) -> AsyncIterator[Client]:
    client = await connect(remote, directory)
    try:
        yield client
    finally:
        await close(client)


async def close(client: Client) -> None:
    """Ends session and channel, for a second at most: a server that is gone must not hold us up."""
    protocol = client.uaclient.protocol
    try:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(client.disconnect(), CLOSE_S)
    finally:
        _abandon(client, protocol)


def _abandon(client: Client, protocol: Any) -> None:
    """Whatever the library has left running or open: it forgets a socket that it has given up, without closing it."""
    session = client.uaclient.session
    tasks = (
        client._supervisor_task,
        client._stale_watchdog_task,
        client._renew_channel_task,
        session._publish_task,
    )
    for task in tasks:
        if task is not None:
            task.cancel()
    for one in (protocol, client.uaclient.protocol):
        if one is not None and one.transport is not None:
            one.transport.abort()


async def endpoints(url: str, timeout_s: float) -> list[Any]:
    """What the server at ``url`` offers. Raises TickworkError UA2001."""
    client = Client(url, timeout=timeout_s)
    try:
        return list(await client.connect_and_get_server_endpoints())
    except CONNECT_ERRORS as error:
        raise _unreachable(url, error) from error
    finally:
        _abandon(client, client.uaclient.protocol)


async def _secure(client: Client, remote: Remote, directory: pathlib.Path, name: str) -> None:
    files = await asyncio.to_thread(ensure_certificate, directory, name)
    offered = await endpoints(remote.url, remote.timeout_ms / 1000)
    policy, mode = _POLICIES[remote.policy], getattr(ua.MessageSecurityMode, remote.mode)
    fitting = [one for one in offered if one.SecurityPolicyUri == policy.URI and one.SecurityMode == mode]
    if not fitting:
        known = sorted(
            {f"{one.SecurityPolicyUri.rpartition('#')[2]} {one.SecurityMode.name}" for one in offered}
        )
        raise fail(
            "UA2003", "the OPC UA server does not offer this security", place=Place(remote.url),
            expected=f"{remote.policy} {remote.mode}", found=", ".join(known) or "nothing",
            remedy="set security and security_mode of the device to what it offers, or change the server",
        )  # fmt: skip
    certificate = _trusted(fitting[0].ServerCertificate, remote, files)
    client.application_uri = certificate_facts(own_certificate(files)).application_uri
    await client.set_security(
        policy, str(files.certificate), str(files.key), server_certificate=certificate, mode=mode
    )


def _trusted(chain: bytes | None, remote: Remote, files: CertificateFiles) -> x509.Certificate:
    """The server's own certificate, if an administrator trusts it."""
    try:
        leaf = x509.load_der_x509_certificate(leaf_of(chain or b""))
    except ValueError as error:
        raise fail("UA2003", "the OPC UA server shows no certificate", place=Place(remote.url), found=str(error),
                   remedy="the server needs a certificate for this security") from error  # fmt: skip
    if not TrustList(files.of_servers).accepts(leaf_of(chain or b"")):
        facts = certificate_facts(leaf)
        raise fail(
            "UA2002", "the certificate of the OPC UA server is not trusted", place=Place(remote.url),
            expected="a certificate that an administrator has approved",
            found=f"{facts.application_uri} {facts.fingerprint}",
            remedy=f"compare it with the server's own, then: tickwork opcua trust {facts.fingerprint[:16]}",
        )  # fmt: skip
    return uacrypto.CertProperties(leaf_of(chain or b""), extension="der")


async def _identify(client: Client, remote: Remote) -> None:
    try:
        if remote.user:
            client.set_user(remote.user)
            client.set_password(await asyncio.to_thread(_password, remote.password_file))
        if remote.user_certificate:
            await client.load_client_certificate(remote.user_certificate)
            await client.load_private_key(remote.user_key)
    except (OSError, ValueError, TypeError) as error:
        raise fail(
            "UA2006", "a file for logging in to an OPC UA server cannot be used", place=Place(remote.url),
            expected="password_file: a text; user_certificate and user_key: PEM or DER", found=str(error),
            remedy="correct the path or the rights of the file",
        ) from error  # fmt: skip


def _password(path: str) -> str:
    with pathlib.Path(path).open("rb") as stream:
        return stream.read(PASSWORD_SIZE_MAX).decode().rstrip("\r\n")


def _unreachable(url: str, error: BaseException) -> TickworkError:
    parts = urlsplit(url)
    return fail(
        "UA2001", "the OPC UA server does not answer", place=Place(url), expected=f"a server at {parts.netloc}",
        found=describe(error), remedy="check address, cable and firewall; see `tickwork opcua endpoints URL`",
    )  # fmt: skip


def _refused(remote: Remote, error: BaseException) -> TickworkError:
    if isinstance(error, ua.UaStatusCodeError) and not isinstance(error, ua.uaerrors.BadTimeout):
        return fail(
            "UA2004", "the OPC UA server refuses us", place=Place(remote.url), found=describe(error),
            expected="a session" + (f" for {remote.user}" if remote.user else ""),
            remedy="the server has to trust our certificate (tickwork opcua certificates) and know the user",
        )  # fmt: skip
    return _unreachable(remote.url, error)


def describe(error: BaseException) -> str:
    """One line for people."""
    if isinstance(error, TickworkError):
        return f"{error.problems[0].message}: {error.problems[0].found}"
    if isinstance(error, ua.UaStatusCodeError):
        return str(ua.StatusCode(error.code).name)
    if isinstance(error, asyncio.TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
