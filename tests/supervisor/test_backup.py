"""Backups: made while samples come in, restored on a blank machine, refused when they are not whole."""

from __future__ import annotations

import io
import tarfile
import time

import pytest

from scan.problem import TickworkError
from supervisor import backup
from supervisor.model import Role, SeriesKey

NOW = time.time_ns()


@pytest.fixture
async def made(supervisor, make_node, tmp_path):
    node = await make_node()
    await node.committed(await node.batch([(0, NOW + k, float(k), 0) for k in range(2000)]))
    http = await supervisor.http(Role.ADMIN)
    info = (await http.post("/api/v1/backups")).json()
    assert (await http.get("/api/v1/backups")).json()["items"][0]["name"] == info["name"]
    answer = await http.get(f"/api/v1/backups/{info['name']}")
    path = tmp_path / info["name"]
    path.write_bytes(answer.content)
    assert len(answer.content) == info["size"]
    return path, node


async def test_restore_when_directory_is_blank_then_the_same_supervisor(
    made, run_supervisor, tmp_path, admin
):
    path, node = made
    found = backup.restore(path, tmp_path / "blank")
    assert (found.samples, found.runtimes) == (2000, 1)
    async with run_supervisor(tmp_path / "blank") as again:
        key = SeriesKey(node.node_id, "Main.Level")
        trace = await again.services.history.raw(admin, key, from_ns=NOW, to_ns=NOW + 10_000)
        assert len(trace.values) == 2000
        assert (await again.services.audit.verify(admin)).ok
        node.url = again.url
        await node.hang_up()
        assert (await node.dial()).committed == 1
        await node.hang_up()


async def test_restore_when_directory_is_not_empty_then_refused(made, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(TickworkError) as error:
        backup.restore(made[0], tmp_path / "full")
    assert error.value.code == "SV2007"


@pytest.mark.parametrize("damage", ["cut", "flip", "noise", "escape"])
async def test_check_when_file_is_damaged_then_refused_and_nothing_left(made, tmp_path, damage):
    path, _ = made
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flip":
        data[data.rindex(b"SQLite format 3") + 4000] ^= 0xFF
    elif damage == "noise":
        data = bytearray(b"x" * 5000)
    else:
        buffer = io.BytesIO()
        member = backup.Member("../../evil", 0, "")
        text = backup.msgspec.json.encode(backup.Manifest(1, "x", 0, (member,)))
        with tarfile.open(fileobj=buffer, mode="w") as pack:
            head = tarfile.TarInfo(backup.MANIFEST)
            head.size = len(text)
            pack.addfile(head, io.BytesIO(text))
            pack.addfile(tarfile.TarInfo("../../evil"), io.BytesIO())
        data = bytearray(buffer.getvalue())
    bad = tmp_path / "bad" / "bad.tar"
    bad.parent.mkdir()
    bad.write_bytes(data)
    with pytest.raises(TickworkError) as error:
        backup.check(bad)
    assert error.value.code == "SV2007"
    assert [file.name for file in bad.parent.iterdir()] == ["bad.tar"]


async def test_download_when_name_leaves_the_folder_then_not_found(supervisor):
    http = await supervisor.http(Role.ADMIN)
    for name in ("..%2Fconfig.db", "config.db", "tickwork-1.tar", "%2e%2e%2fsigning.pem"):
        assert (await http.get(f"/api/v1/backups/{name}")).status_code == 404


async def test_export_when_range_is_long_then_csv_of_all_samples(supervisor, make_node):
    node = await make_node()
    hour = 3_600_000_000_000
    await node.committed(
        await node.batch([(0, NOW + k * hour // 10, k / 4, 0x8000 * (k == 3)) for k in range(50)])
    )
    await node.committed(await node.batch([(2, NOW, float("nan"), 0)], texts=((0, '=cmd "x"'),)))
    http = await supervisor.http(Role.VIEWER)
    query = {"node_id": node.node_id, "path": "Main.Level", "from_ns": 0, "to_ns": 10 * 365 * 24 * hour}
    refused = await http.get("/api/v1/history/export.csv", params=query | {"to_ns": 2**62})
    assert refused.status_code == 400
    lines = (
        await http.get(
            "/api/v1/history/export.csv", params=query | {"from_ns": NOW, "to_ns": NOW + 100 * hour}
        )
    ).text
    rows = [line.split(",") for line in lines.splitlines()]
    assert rows[0] == ["time_utc", "time_ns", "value", "quality"]
    assert [(int(r[1]), float(r[2]), int(r[3])) for r in rows[1:]] == [
        (NOW + k * hour // 10, k / 4, 0x8000 * (k == 3)) for k in range(50)
    ]
    window = {"from_ns": NOW, "to_ns": NOW + hour}
    texts = await http.get("/api/v1/history/export.csv", params=query | {"path": "Main.Text"} | window)
    assert '"\'=cmd ""x"""' in texts.text
