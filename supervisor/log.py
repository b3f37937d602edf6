"""Logs: one JSON object a line in the data directory, warnings also to standard error.

Loggers under ``tickwork.supervisor``: ``access`` (requests of people and programs), ``error`` (defects), ``link``, …
Rules. No body, no header, no query is logged: keys and passwords are in them. Files are bounded and rotate.
"""

from __future__ import annotations

import logging
import logging.handlers
import time
from pathlib import Path

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FILE_BYTES = 10 * 1024 * 1024
FILES = 5
_QUIET = ("/static", "/livez", "/readyz", "/metrics")

access_log = logging.getLogger("tickwork.supervisor.access")


class JsonLines(logging.Formatter):
    """``time`` (UTC), ``level``, ``logger``, ``text``; ``fields`` of the call; ``error`` with the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def start_logging(folder: Path) -> logging.Handler:
    """Add the handlers; the returned one writes ``log/supervisor.jsonl``. Close it at the end."""
    (folder / "log").mkdir(mode=0o700, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(
        folder / "log" / "supervisor.jsonl", maxBytes=FILE_BYTES, backupCount=FILES, encoding="utf-8"
    )
    handler.setFormatter(JsonLines())
    root = logging.getLogger("tickwork.supervisor")
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    logging.getLogger("uvicorn").addHandler(handler)
    return handler


def stop_logging(handler: logging.Handler) -> None:
    logging.getLogger("tickwork.supervisor").removeHandler(handler)
    logging.getLogger("uvicorn").removeHandler(handler)
    handler.close()


class AccessLog:
    """A line for each answered request: who, what, how long. Health checks and static files are left out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_QUIET):
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._note(scope, message["status"], time.perf_counter() - start)
            await send(message)

        await self._app(scope, receive, noted)

    def _note(self, scope: Scope, status: int, took_s: float) -> None:
        actor = scope.get("state", {}).get("actor")
        client = scope.get("client")
        fields = {
            "method": scope["method"],
            "path": scope["path"][:200],
            "status": status,
            "took_ms": round(took_s * 1000, 1),
            "address": client[0] if client else "",
            "who": actor.name if actor else "",
        }
        access_log.info("%s %s %d", scope["method"], fields["path"], status, extra={"fields": fields})
