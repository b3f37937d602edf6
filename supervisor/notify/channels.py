"""How each kind of channel sends one message. Everything here does I/O and may take ``TIMEOUT_S``.

Reasons never hold a secret: they are built from codes and kinds of errors, and what a server says is cut and cleaned.
"""

from __future__ import annotations

import asyncio
import email.message
import email.utils
import functools
import logging
import smtplib
import ssl
import time
from collections.abc import Callable
from urllib.parse import quote

import httpx
import msgspec

from runtime.http import tls_context
from scan.problem import TickworkError
from supervisor.notify.gather import plain
from supervisor.notify.model import Channel, Delivery
from supervisor.signature import sign

TIMEOUT_S = 15.0
PERMANENT_HTTP = frozenset({400, 401, 403, 404, 405, 410, 413, 422})
Publish = Callable[[str, str, bytes], None]
log = logging.getLogger("tickwork.supervisor.notify")


class NotSentError(Exception):
    """``permanent``: the same message to the same address would be refused for ever; the channel itself works."""

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.permanent = plain(reason)[:300], permanent


async def send(channel: Channel, secret: str, delivery: Delivery, publish: Publish) -> str:
    """ "delivered" when the receiver itself confirmed, else "sent". Raises NotSentError."""
    try:
        async with asyncio.timeout(TIMEOUT_S * 2):
            if channel.kind == "email":
                return await asyncio.to_thread(_email, channel, secret, delivery)
            if channel.kind == "webhook":
                return await _webhook(channel, secret, delivery)
            if channel.kind == "mqtt":
                publish(channel.settings["bridge"], f"notifications/{delivery.address}", payload(delivery))
                return "sent"
            return await asyncio.to_thread(_apprise, secret, delivery)
    except TimeoutError as error:
        raise NotSentError("no answer in time") from error
    except TickworkError as error:
        raise NotSentError(f"{error.code}: {error.problems[0].message}") from error
    except LookupError as error:
        raise NotSentError(str(error.args[0]) if error.args else "not configured") from error


def payload(delivery: Delivery) -> bytes:
    """What webhooks and MQTT carry."""
    return msgspec.json.encode(
        {
            "key": delivery.key,
            "test": bool(delivery.test_by),
            "subject": delivery.subject,
            "text": delivery.text,
            "person": delivery.person,
            "count": delivery.count,
            "level": max((one.level for one in delivery.mentions), default=0),
            "alarms": [one.facts for one in delivery.mentions],
        }
    )


# ---------------------------------------------------------------- e-mail


def message_of(channel: Channel, delivery: Delivery) -> email.message.EmailMessage:
    """The same Message-ID at every try, so that mail programs show a repetition once."""
    sender = channel.settings["sender"]
    made = email.message.EmailMessage()
    made["From"], made["To"], made["Subject"] = sender, delivery.address, plain(delivery.subject)
    made["Message-ID"] = f"<{delivery.key}@{sender.rpartition('@')[2]}>"
    made["Date"] = email.utils.formatdate(delivery.sealed_ns / 1e9)
    made["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answer from a vacation program
    if any(one.facts.priority == 1 for one in delivery.mentions):
        made["Importance"] = "high"
    made.set_content(delivery.text)
    return made


def _email(channel: Channel, secret: str, delivery: Delivery) -> str:
    given = channel.settings
    try:
        with _connect(given) as smtp:
            if given["security"] == "starttls":
                smtp.starttls(context=tls_context(given.get("ca_file", "")))
            if given.get("user"):
                smtp.login(given["user"], secret)
            smtp.send_message(message_of(channel, delivery))
    except smtplib.SMTPRecipientsRefused as error:
        code, said = next(iter(error.recipients.values()), (0, b""))
        raise NotSentError(
            f"the server refuses the address: {code} {_said(said)}", permanent=code >= 500
        ) from None
    except smtplib.SMTPAuthenticationError as error:
        raise NotSentError(f"the server refuses user or password: {error.smtp_code}") from None
    except smtplib.SMTPResponseException as error:
        told = f"the server refuses: {error.smtp_code} {_said(error.smtp_error)}"
        raise NotSentError(
            told, permanent=isinstance(error, smtplib.SMTPDataError) and error.smtp_code >= 500
        ) from None
    except ssl.SSLError as error:
        raise NotSentError(f"TLS: {error.reason or type(error).__name__}") from None
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise NotSentError(f"{type(error).__name__}: {_cause(error)}") from None
    return "sent"


def _connect(given: dict[str, str]) -> smtplib.SMTP:
    host, port = given["host"], int(given["port"])
    if given["security"] == "tls":
        return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=tls_context(given.get("ca_file", "")))
    return smtplib.SMTP(host, port, timeout=TIMEOUT_S)


def _said(text: bytes | str) -> str:
    return plain(text.decode("utf-8", "replace") if isinstance(text, bytes) else text)[:200]


def _cause(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or "the connection failed or was closed")


# ---------------------------------------------------------------- webhook


async def _webhook(channel: Channel, secret: str, delivery: Delivery) -> str:
    body = payload(delivery)
    headers = {"Content-Type": "application/json", "Idempotency-Key": delivery.key}
    headers |= sign(secret.encode(), body, int(time.time()))
    context = await asyncio.to_thread(tls_context, channel.settings.get("ca_file", ""))
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_S, verify=context, follow_redirects=False) as http:
            response = await http.post(delivery.address, content=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotSentError(f"{type(error).__name__}: {_cause(error)}") from None
    if not response.is_success:
        code = response.status_code
        raise NotSentError(f"the receiver answers HTTP {code}", permanent=code in PERMANENT_HTTP)
    return "delivered"


# ---------------------------------------------------------------- apprise


@functools.cache
def _silenced() -> None:
    """The library's own log names addresses with their tokens."""
    library = logging.getLogger("apprise")
    library.handlers = [logging.NullHandler()]
    library.propagate = False


def _apprise(secret: str, delivery: Delivery) -> str:
    import apprise

    _silenced()
    service = apprise.Apprise()
    if not service.add(secret.replace("{to}", quote(delivery.address, safe=""))):
        raise NotSentError("the address of the service is not one that apprise knows")
    if not service.notify(body=delivery.text, title=delivery.subject):
        raise NotSentError("the service refused the message or did not answer")
    return "sent"
