"""kill -9 of the supervisor at random moments: nothing acknowledged is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import websockets

from runtime import link
from tests.supervisor.fake_node import FakeNode

KILLS = int(os.environ.get("TICKWORK_KILLS", "8"))  # ./dev soak raises it
PER_BATCH = 50
T0 = 1_790_000_000_000_000_000

pytestmark = pytest.mark.system


class Process:
    """A real supervisor. ``url`` once it is ready."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "supervisor.main", str(folder), str(port)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        line = self.child.stdout.readline().split(" ")
        if not line[0].startswith("http"):
            raise AssertionError(self.child.stderr.read())
        self.url = line[0]

    def end(self, number: int) -> int:
        self.child.send_signal(number)
        code = self.child.wait(15)
        self.child.stdout.close()
        self.child.stderr.close()
        return code


class Sender:
    """Sends numbered samples and events; remembers what was acknowledged, resends the rest after a reconnect."""

    def __init__(self, node: FakeNode) -> None:
        self.node = node
        self.acknowledged = 0
        self.made = 0

    async def run(self, until: float) -> None:
        try:
            welcome = await self.node.dial()
            assert welcome.committed >= self.acknowledged, "an acknowledged batch is gone"
            await self.node.describe()
            seq = welcome.committed
            while time.monotonic() < until:
                seq += 1
                self.made = max(self.made, seq)
                await self._send(seq)
                self._collect()
                await asyncio.sleep(0.002)
        except (OSError, websockets.ConnectionClosed, TimeoutError):
            pass  # it was killed
        self._collect()

    async def _send(self, seq: int) -> None:
        if seq % 10 == 0:
            await self.node.send(link.Journal(seq, (link.Event(T0 + seq, "test", "t", f"event {seq}"),)))
            return
        first = seq * PER_BATCH
        rows = [(0, T0 + (first + k) * 1_000_000, float(first + k), 0) for k in range(PER_BATCH)]
        await self.node.batch(rows, seq=seq)

    def _collect(self) -> None:
        seqs = [m.seq for m in self.node.received if isinstance(m, link.Committed)]
        self.acknowledged = max([self.acknowledged, *seqs])


async def test_supervisor_when_killed_at_random_then_acknowledged_samples_and_events_are_there_once(tmp_path):
    rng = random.Random(7)
    folder = tmp_path / "data"
    process = await asyncio.to_thread(Process, folder)
    node = FakeNode(process.url)
    assert (await node.enrol((folder / "enrolment.token").read_text().strip())).status_code == 200
    sender = Sender(node)
    for _ in range(KILLS):
        running = asyncio.create_task(sender.run(time.monotonic() + 20))
        await asyncio.sleep(rng.uniform(0.1, 1.2))
        await asyncio.to_thread(process.end, signal.SIGKILL)
        await running
        process = await asyncio.to_thread(Process, folder)
        node.url = process.url
    await sender.run(time.monotonic() + 1.0)
    await node.hang_up()
    assert sender.acknowledged > KILLS
    await _check(process.url, (folder / "api.key").read_text().strip(), node.node_id, sender.acknowledged)
    assert await asyncio.to_thread(process.end, signal.SIGTERM) == 0


async def _check(url: str, key: str, node_id: str, acknowledged: int) -> None:
    async with httpx.AsyncClient(
        base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60
    ) as http:
        query = {
            "node_id": node_id,
            "path": "Main.Level",
            "from_ns": T0,
            "to_ns": T0 + 10**15,
            "limit": 200_000,
        }
        samples = -1
        while samples != (stored := (await http.get("/api/v1/about")).json()["samples"]):
            samples = stored  # what was sent last may still be on its way to the disk
            await asyncio.sleep(0.5)
        trace = (await http.get("/api/v1/history/samples", params=query)).json()
        events, before = [], 0
        while True:
            page = {"node_id": node_id, "kind": "test", "limit": 1000, "before": before}
            found = (await http.get("/api/v1/events", params=page)).json()
            events += [event["text"] for event in found["items"]]
            before = found["next"]
            if not before:
                break
    values = np.array(trace["values"])
    assert np.all(np.diff(values) > 0), "a sample is there twice or out of order"
    got = {int(value) // PER_BATCH for value in values}
    assert {seq for seq in range(1, acknowledged + 1) if seq % 10} <= got
    assert len(values) == samples, "samples are stored more than once"
    assert len(set(events)) == len(events)
    assert {f"event {seq}" for seq in range(10, acknowledged + 1, 10)} <= set(events)


def test_supervisor_when_started_twice_then_second_says_why_and_what_to_do(tmp_path):
    process = Process(tmp_path / "data")
    again = [sys.executable, "-m", "supervisor.main", str(tmp_path / "data"), "0"]
    second = subprocess.run(again, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert f"another supervisor uses {tmp_path / 'data'}" in second.stderr
    assert f"process {process.child.pid}" in second.stderr
    port = process.url.rsplit(":", 1)[1]
    third = subprocess.run(
        [sys.executable, "-m", "supervisor.main", str(tmp_path / "other"), port],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert third.returncode == 1
    assert f"port {port} on 127.0.0.1 is taken" in third.stderr
    assert "remedy" in third.stderr
    assert process.end(signal.SIGINT) == 0


def test_supervisor_when_ended_then_secret_files_are_the_owners_alone(tmp_path):
    process = Process(tmp_path / "data")
    process.end(signal.SIGTERM)
    for file in (tmp_path / "data").rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, file
