"""Ingest: nothing is acknowledged that is not on disk, and a full disk is told, survived and left behind."""

from __future__ import annotations

import random
import time

from runtime import link
from supervisor import ingest
from supervisor.model import SeriesKey

NOW = time.time_ns()


async def test_commit_when_disk_is_full_then_not_acknowledged_and_caught_up_later(
    supervisor, make_node, admin, monkeypatch, eventually
):
    monkeypatch.setattr(ingest, "RETRY_MS", 50)
    node = await make_node()
    await node.committed(await node.batch([(0, NOW, 1.0, 0)]))
    store = supervisor.parts.ingest.store
    db = store._writer._db
    await supervisor.parts.ingest.on_history_thread(
        lambda: db.execute(f"PRAGMA max_page_count={db.execute('PRAGMA page_count').get}").fetchall()
    )
    rows = [(0, NOW + 1 + k, random.random(), 0) for k in range(20_000)]
    seq = await node.batch(rows)
    client = supervisor.anonymous()

    async def not_ready():
        answer = await client.get("/readyz")
        return answer.status_code == 503 and answer.json()

    problem = await eventually(not_ready)
    assert problem["code"] == "SV2004"
    assert not [m for m in node.received if isinstance(m, link.Committed) and m.seq >= seq]
    await node.status(scan=555)

    async def alive():
        (runtime,) = await supervisor.services.fleet.runtimes(admin)
        return runtime.scan == 555

    await eventually(alive)
    await supervisor.parts.ingest.on_history_thread(
        lambda: db.execute("PRAGMA max_page_count=1000000").fetchall()
    )
    await node.committed(seq)
    assert (await client.get("/readyz")).status_code == 200
    trace = await supervisor.services.history.raw(
        admin, SeriesKey(node.node_id, "Main.Level"), from_ns=NOW, to_ns=NOW + 10**9, limit=100_000
    )
    assert len(trace.values) == 20_001


async def test_submit_when_too_much_waits_then_links_are_read_no_faster(supervisor, make_node, monkeypatch):
    monkeypatch.setattr(ingest, "SAMPLES_WAITING_MAX", 1000)
    node = await make_node()
    for first in range(0, 20_000, 500):
        await node.batch([(0, NOW + first + k, float(k), 0) for k in range(500)])
    await node.committed(40)
    assert supervisor.parts.ingest.waiting == 0
    assert supervisor.parts.ingest.figures.samples == 20_000
