"""What the API gives as files: samples as CSV, backups."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from supervisor import audit, backup
from supervisor.backup import BackupInfo
from supervisor.guard import access
from supervisor.model import Role, SeriesKey
from supervisor.problems import not_found, not_understood, require

HOUR_NS = 3_600_000_000_000
WINDOWS_MAX = 24 * 3660  # ten years by the hour
_BACKUP = re.compile(r"tickwork-\d{8}T\d{6}Z\.tar")


class ExportQuery(msgspec.Struct, frozen=True):
    node_id: str
    path: str
    from_ns: int
    to_ns: int


def file_routes(prefix: str) -> list[BaseRoute]:
    return [
        Route(f"{prefix}/history/export.csv", export, methods=["GET"]),
        Route(f"{prefix}/backups", backups, methods=["GET"]),
        Route(f"{prefix}/backups", make_backup, methods=["POST"]),
        Route(f"{prefix}/backups/{{name}}", download, methods=["GET"]),
    ]


@access(Role.VIEWER)
async def export(request: Request) -> Response:
    """Samples of a tag as CSV, hour by hour, however long the range: time (ISO 8601, UTC), value, quality."""
    try:
        query = msgspec.convert(dict(request.query_params), ExportQuery, strict=False)
    except msgspec.ValidationError as error:
        raise not_understood("node_id, path, from_ns and to_ns", error) from error
    hours = (query.to_ns - query.from_ns) // HOUR_NS
    if not 0 <= hours <= WINDOWS_MAX:
        raise not_understood("a time range of at most ten years", f"{query.from_ns} to {query.to_ns}")
    actor = request.state.actor
    require(actor, Role.VIEWER, query.node_id)
    history = request.app.state.parts.ingest
    found = await history.on_query_thread(partial(history.store.find, query.node_id, query.path))
    if found is None:
        raise not_found("tag with history", query.path)
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", query.path)
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    lines = _lines(history, found[0], SeriesKey(query.node_id, query.path), query.from_ns, query.to_ns)
    return StreamingResponse(lines, headers=headers, media_type="text/csv; charset=utf-8")


async def _lines(history: Any, number: int, key: SeriesKey, from_ns: int, to_ns: int) -> AsyncIterator[str]:
    yield "time_utc,time_ns,value,quality\r\n"
    _, series = await history.on_query_thread(partial(history.store.find, key.node_id, key.path))
    # Hours without samples at either end are not asked for one by one.
    start, end = max(from_ns, series.first_ns), min(to_ns, series.last_ns)
    while start <= end:
        stop = min(start + HOUR_NS - 1, end)
        yield await history.on_query_thread(partial(_hour, history.store, number, start, stop))
        start = stop + 1


def _hour(store: Any, number: int, from_ns: int, to_ns: int) -> str:
    columns = store.read(number, from_ns, to_ns)
    texts = {at: text for at, _, text in store.texts(number, from_ns, to_ns, 1_000_000)}
    rows = zip(columns.times.tolist(), columns.values.tolist(), columns.quality.tolist(), strict=True)
    return "".join(
        f"{_iso(at)},{at},{_field(texts.get(at), value)},{quality}\r\n" for at, value, quality in rows
    )


def _iso(at_ns: int) -> str:
    seconds, rest = divmod(at_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09}Z"


def _field(text: str | None, value: float) -> str:
    """RFC 4180; a text that a spreadsheet would take for a formula gets an apostrophe in front."""
    if text is None:
        return repr(value) if math.isfinite(value) else ""
    guarded = "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
    return '"' + guarded.replace('"', '""') + '"'


@access(Role.ADMIN)
async def backups(request: Request) -> Response:
    found = await asyncio.to_thread(backup.list_backups, request.app.state.parts.data_dir)
    return _json({"items": found})


@access(Role.ADMIN)
async def make_backup(request: Request) -> Response:
    """Made while the supervisor runs; answered when it is complete."""
    parts, actor = request.app.state.parts, request.state.actor
    now = parts.ingest.now_ns()
    made: BackupInfo = await asyncio.to_thread(
        backup.make, parts.data_dir, parts.store, parts.ingest.store, now
    )
    await parts.store.run(lambda db: audit.record(db, actor, "backup.make", made.name, now_ns=now))
    return _json(made, 201)


@access(Role.ADMIN)
async def download(request: Request) -> Response:
    parts, name = request.app.state.parts, request.path_params["name"]
    path = parts.data_dir / "backups" / name
    if not _BACKUP.fullmatch(name) or not await asyncio.to_thread(path.exists):
        raise not_found("backup", name[:80])
    now = parts.ingest.now_ns()
    actor = request.state.actor
    await parts.store.run(lambda db: audit.record(db, actor, "backup.download", name, now_ns=now))
    return FileResponse(path, filename=name, media_type="application/x-tar")


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
