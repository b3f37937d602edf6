"""The REST API: its description fits what it does, its answers can be cached, its errors carry codes."""

from __future__ import annotations

import time

import pytest

from supervisor import api
from supervisor.model import Role

NOW = time.time_ns()


async def test_openapi_when_read_then_every_operation_is_described_and_references_resolve(supervisor):
    http = await supervisor.http(Role.VIEWER)
    document = (await http.get("/api/v1/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert described == {(o.method, api.PREFIX + o.path) for o in api.OPERATIONS}
    schemas = document["components"]["schemas"]

    def references(value):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    found = set(references(document))
    assert found
    assert all(ref.removeprefix("#/components/schemas/") in schemas for ref in found)


async def test_get_when_unchanged_then_304_by_etag(supervisor, make_node):
    await make_node(connect=False)
    http = await supervisor.http(Role.VIEWER)
    first = await http.get("/api/v1/runtimes")
    assert first.json()["items"][0]["name"] == "water-1"
    again = await http.get("/api/v1/runtimes", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("GET", "/api/v1/runtimes/none", {}, 404, "SV1004"),
        ("GET", "/api/v1/nothing", {}, 404, "SV1004"),
        ("DELETE", "/api/v1/runtimes", {}, 405, "SV1001"),
        ("GET", "/api/v1/events", {"params": {"limt": 3}}, 400, "SV1001"),
        ("GET", "/api/v1/events", {"params": {"limit": "many"}}, 400, "SV1001"),
        ("GET", "/api/v1/history/samples", {"params": {"node_id": "n"}}, 400, "SV1001"),
        ("GET", "/api/v1/deployments/99999999999999999999", {}, 404, "SV1004"),
        ("POST", "/api/v1/history/trend", {"content": b"{"}, 400, "SV1001"),
        ("POST", "/api/v1/history/trend", {"json": {"keys": [], "from_ns": 0, "to_ns": 1}}, 400, "SV1001"),
        ("POST", "/api/v1/users", {"json": {"name": "x", "password": "x", "role": "king"}}, 400, "SV1001"),
        ("POST", "/api/v1/users", {"json": {"name": "x", "password": "x", "role": "viewer"}}, 422, "SV1103"),
        ("POST", "/api/v1/deployments", {"params": {"targets": "x"}}, 400, "SV1001"),
    ],
)
async def test_request_when_wrong_then_problem_details_with_code(
    supervisor, method, path, options, status, code
):
    http = await supervisor.http()
    answer = await http.request(method, path, **options)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_list_when_longer_than_a_page_then_next_leads_on(supervisor, make_node):
    await make_node()
    http = await supervisor.http()
    for name in ("a1", "a2", "a3"):
        await http.post("/api/v1/keys", json={"name": name, "role": "viewer"})
    first = (await http.get("/api/v1/audit", params={"limit": 3})).json()
    second = (await http.get("/api/v1/audit", params={"limit": 3, "before": first["next"]})).json()
    ids = [entry["id"] for entry in first["items"] + second["items"]]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == len(ids) > 3
    assert (await http.get("/api/v1/audit/verify")).json()["ok"]


async def test_history_when_queried_then_trend_samples_and_aggregates_agree(supervisor, make_node):
    node = await make_node()
    rows = [(0, NOW + k * 1_000_000_000, float(k % 10), 0) for k in range(600)]
    await node.committed(await node.batch(rows))
    http = await supervisor.http(Role.VIEWER)
    key = {"node_id": node.node_id, "path": "Main.Level"}
    window = {"from_ns": NOW, "to_ns": NOW + 600_000_000_000}
    raw = (await http.get("/api/v1/history/samples", params={**key, **window})).json()
    assert (raw["samples"], len(raw["values"]), raw["unit"]) == (600, 600, "m")
    trend = (await http.post("/api/v1/history/trend", json={"keys": [key], "points": 20, **window})).json()[
        "items"
    ][0]
    assert trend["decimated"]
    assert len(trend["values"]) <= 80
    assert (min(trend["values"]), max(trend["values"])) == (0.0, 9.0)
    series = (await http.get("/api/v1/history/series", params={"search": "level"})).json()["items"]
    assert [(s["node"], s["path"], s["last_ns"]) for s in series] == [("water-1", "Main.Level", rows[-1][1])]


async def test_key_when_limited_to_a_runtime_then_others_are_not_seen(supervisor, make_node):
    one, other = await make_node("one"), await make_node("other")
    http = await supervisor.http(Role.ADMIN, nodes=(one.node_id,))
    assert [r["name"] for r in (await http.get("/api/v1/runtimes")).json()["items"]] == ["one"]
    assert (await http.get(f"/api/v1/runtimes/{other.node_id}/tags")).status_code == 403
    events = (await http.get("/api/v1/events")).json()["items"]
    assert {e["node_id"] for e in events} <= {one.node_id}


async def test_metrics_when_scraped_then_figures_of_links_and_storage(supervisor, make_node):
    node = await make_node()
    await node.committed(await node.batch([(0, NOW, 1.0, 0)]))
    text = (await (await supervisor.http(Role.VIEWER)).get("/metrics")).text
    assert 'tickwork_link_up{runtime="water-1"} 1.0' in text
    assert "tickwork_samples_total 1.0" in text
    assert (await supervisor.anonymous().get("/readyz")).json() == {"ready": True}
