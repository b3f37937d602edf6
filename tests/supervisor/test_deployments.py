"""Deployments: success is what the runtime itself shows, and every other end has a name and a reason."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import programs
from runtime import link
from scan.problem import Problem, TickworkError
from supervisor import deployments as module
from supervisor.model import Role

PLANT = '[node]\nname = "water"\n'
SOURCE = """PROGRAM Main
VAR
    Level : REAL;
END_VAR
Level := Level + 1.0;
END_PROGRAM
CONFIGURATION Plant
    RESOURCE Main ON Cpu
        TASK Fast(INTERVAL := T#10ms, PRIORITY := 1);
        PROGRAM MainInstance WITH Fast : Main;
    END_RESOURCE
END_CONFIGURATION
"""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> bytes:
    folder: Path = tmp_path_factory.mktemp("plant")
    (folder / "plant.toml").write_text(PLANT)
    (folder / "main.st").write_text(SOURCE)
    return programs.build(folder).data


async def deploy(supervisor, admin, artifact, *targets: str, **options):
    return await supervisor.services.deployments.create(admin, targets=targets, artifact=artifact, **options)


async def state_of(supervisor, admin, number: int, node: str = "water-1"):
    found = await supervisor.services.deployments.get(admin, number)
    return next(target for target in found.targets if target.node == node)


async def test_deploy_when_runtime_shows_the_digest_then_succeeded(
    supervisor, make_node, admin, artifact, eventually
):
    node = await make_node()
    created = await deploy(supervisor, admin, artifact, "water-1", reason="new level")
    order = await node.wait_for(link.Deploy)
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(node.supervisor_key))
    key.verify(order.signature, link.ARTIFACT_SIGNED + order.digest.encode())
    assert order.artifact == artifact
    for state in ("received", "compiling", "swapping"):
        await node.send(link.DeployState(order.id, state))
    await node.send(link.DeployState(order.id, "running", "a" * 64))

    async def in_trial():
        return (await state_of(supervisor, admin, created.id)).state == "trial"

    await eventually(in_trial)
    await node.status(digest="a" * 64, scan=50)

    async def finished():
        found = await supervisor.services.deployments.get(admin, created.id)
        return found.state == "succeeded" and found

    found = await eventually(finished)
    target = found.targets[0]
    assert target.digest == "a" * 64
    assert [state for state, _ in target.timeline] == [
        "pending", "sent", "received", "compiling", "swapping", "trial", "running"
    ]  # fmt: skip


async def test_deploy_when_runtime_falls_back_to_the_old_digest_then_no_success(
    supervisor, make_node, admin, artifact, eventually, monkeypatch
):
    monkeypatch.setattr(module, "STEP_S", 1)
    monkeypatch.setattr(module, "CHECK_PERIOD_S", 0.05)
    node = await make_node()
    created = await deploy(supervisor, admin, artifact, "water-1")
    order = await node.wait_for(link.Deploy)
    await node.send(link.DeployState(order.id, "running", "a" * 64))
    await node.status(digest="0" * 64, scan=5000)

    async def ended():
        return (await state_of(supervisor, admin, created.id)).state == "timed_out"

    await eventually(ended)
    target = await state_of(supervisor, admin, created.id)
    assert target.problems[0].code == "SV4005"


async def test_deploy_when_refused_then_reason_is_kept_and_next_one_goes(
    supervisor, make_node, admin, artifact, eventually
):
    node = await make_node()
    first = await deploy(supervisor, admin, artifact, "water-1")
    second = await deploy(supervisor, admin, artifact, "water-1")
    order = await node.wait_for(link.Deploy)
    problem = Problem("PL1001", "no such device", remedy="name it")
    await node.send(link.DeployState(order.id, "refused", problems=(problem,)))
    assert (await node.wait_for(link.Deploy)).id == f"d{second.id}"

    async def ended():
        return (await state_of(supervisor, admin, first.id)).state == "refused"

    await eventually(ended)
    assert (await state_of(supervisor, admin, first.id)).problems == (problem,)


async def test_deploy_when_runtime_is_away_then_pending_and_sent_when_it_comes(
    supervisor, make_node, admin, artifact
):
    node = await make_node(connect=False)
    created = await deploy(supervisor, admin, artifact, "water-1")
    assert (await state_of(supervisor, admin, created.id)).state == "pending"
    await node.dial()
    await node.describe()
    assert (await node.wait_for(link.Deploy)).id == f"d{created.id}"


async def test_deploy_when_link_is_lost_before_receipt_then_sent_again_with_same_id(
    supervisor, make_node, admin, artifact
):
    node = await make_node()
    created = await deploy(supervisor, admin, artifact, "water-1")
    await node.wait_for(link.Deploy)
    await node.hang_up()
    await node.dial()
    await node.describe()
    assert (await node.wait_for(link.Deploy)).id == f"d{created.id}"


async def test_deploy_when_list_of_targets_is_frozen_then_later_runtimes_do_not_join(
    supervisor, make_node, admin, artifact
):
    await make_node("a")
    created = await deploy(supervisor, admin, artifact, "a")
    await make_node("b")
    found = await supervisor.services.deployments.get(admin, created.id)
    assert [target.node for target in found.targets] == ["a"]


async def test_abort_when_pending_then_never_sent(supervisor, make_node, admin, artifact):
    node = await make_node(connect=False)
    created = await deploy(supervisor, admin, artifact, "water-1")
    aborted = await supervisor.services.deployments.abort(admin, created.id)
    assert aborted.state == "failed"
    await node.dial()
    await node.describe()
    await node.committed(await node.batch([(0, 1_700_000_000_000_000_000, 1.0, 0)]))
    assert not [m for m in node.received if isinstance(m, link.Deploy)]


@pytest.mark.parametrize("data", [b"no artifact", b"PK\x03\x04" + b"\0" * 100])
async def test_deploy_when_bytes_are_no_artifact_then_problem_and_nothing_kept(
    supervisor, make_node, admin, data
):
    await make_node(connect=False)
    with pytest.raises(TickworkError) as error:
        await deploy(supervisor, admin, data, "water-1")
    assert error.value.code == "AR1001"
    assert await supervisor.services.deployments.list(admin) == ()


async def test_deploy_when_made_over_the_api_then_201_and_readable(supervisor, make_node, artifact):
    node = await make_node()
    http = await supervisor.http(Role.ENGINEER)
    answer = await http.post(
        "/api/v1/deployments", params={"targets": "water-1", "reason": "why"}, content=artifact
    )
    assert answer.status_code == 201
    order = await node.wait_for(link.Deploy)
    assert order.artifact == artifact
    found = (await http.get(f"/api/v1/deployments/{answer.json()['id']}")).json()
    assert found["targets"][0]["state"] == "sent"
    unknown = await http.post("/api/v1/deployments", params={"targets": "nobody"}, content=artifact)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "SV1004")


async def test_deploy_when_supervisor_restarts_then_it_goes_on(
    run_supervisor, fake_node, admin, artifact, tmp_path
):
    async with run_supervisor(tmp_path / "data") as first:
        node = fake_node(first.url)
        await node.enrol((await first.services.people.create_enrolment_token(admin)).secret)
        created = await first.services.deployments.create(admin, targets=("water-1",), artifact=artifact)
    async with run_supervisor(tmp_path / "data") as again:
        node.url = again.url
        await node.dial()
        await node.describe()
        assert (await node.wait_for(link.Deploy)).id == f"d{created.id}"
        await node.hang_up()
