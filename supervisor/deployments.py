"""Deployments: an artifact on its way to runtimes whose list is frozen when the deployment is made.

States of a target::

    pending -> sent -> received -> compiling -> swapping -> trial -> running     (success)
                 any of them -> refused | rolled_back | timed_out | aborted      (failure)

Rules. "running" is set only when the runtime itself reports the digest in its *status*; a runtime that says so once
and then falls back is no success. Every state has a deadline. All of it is on disk before a frame leaves, and every
step may be repeated: the same deployment id sent twice is one deployment for the runtime. A runtime takes its
deployments in the order of their creation, one at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlite_utils import Database

from runtime.link import ARTIFACT_SIGNED, Deploy, DeployState, Status
from scan.problem import Problem, fail
from supervisor import audit
from supervisor.artifact_store import ArtifactStore
from supervisor.artifacts import ArtifactInfo, Artifacts
from supervisor.config_store import ConfigStore, Row, one, page_clause, rows
from supervisor.deployment_plan import plan_for
from supervisor.fleet import FleetService
from supervisor.model import NEWEST, Actor, Deployment, Page, Plan, Role, Target
from supervisor.node_state import NodeState
from supervisor.problems import not_found, not_understood, require

SECOND_NS = 1_000_000_000
PENDING_S = 7 * 86_400  # an absent runtime gets its deployment when it returns within a week
STEP_S = 300  # each state of one that is under way
HEALTHY_SCANS = 10
TARGETS_MAX = 1000
CHECK_PERIOD_S = 1
FINAL = ("running", "refused", "rolled_back", "timed_out", "aborted")
_UNDER_WAY = ("sent", "received", "compiling", "swapping", "trial")
_ORDER = {state: index for index, state in enumerate(("pending", *_UNDER_WAY))}


class DeploymentService:
    """``services.Deployments`` and the link's part of it."""

    def __init__(
        self,
        store: ConfigStore,
        fleet: FleetService,
        artifacts: Artifacts,
        key: Ed25519PrivateKey,
        now_ns: Callable[[], int],
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._artifacts = artifacts
        self._key = key  # a runtime runs only what its supervisor signed
        self._files: ArtifactStore = artifacts.files
        self._now_ns = now_ns
        # node -> (deployment, digest) of a runtime that says it runs and has yet to show it in its status
        self._claimed: dict[str, tuple[int, str]] = {}

    # ------------------------------------------------------------ services.Deployments

    async def create(
        self,
        actor: Actor,
        *,
        targets: tuple[str, ...],
        project_id: int = 0,
        version: int = 0,
        artifact: bytes = b"",
        reason: str = "",
        cold: bool = False,
    ) -> Deployment:
        nodes = self._targets(actor, targets)
        if artifact:
            info = await self._artifacts.take_in(artifact)
        else:
            info, version = await self._artifacts.of_version(project_id, version)
        now = self._now_ns()

        def work(db: Database) -> int:
            number = db.table("deployment").insert(
                {"artifact": info.digest, "application": info.application, "project_id": project_id,
                 "version": version, "created_ns": now, "created_by": actor.name, "reason": reason[:500],
                 "cold": int(cold)}
            ).last_pk  # fmt: skip
            for node in nodes:
                db.table("target").insert(
                    {"deployment_id": number, "node_id": node.node_id, "node": node.name, "state": "pending",
                     "changed_ns": now, "deadline_ns": now + PENDING_S * SECOND_NS,
                     "timeline": msgspec.json.encode([("pending", now)]).decode()}
                )  # fmt: skip
            names = ", ".join(node.name for node in nodes)
            audit.record(db, actor, "deployment.create", f"deployment {number}", now_ns=now,
                         new=f"{info.application} {info.digest[:12]} to {names}", reason=reason)  # fmt: skip
            return int(number or 0)

        number = await self._store.run(work)
        for node in nodes:
            await self._dispatch(node.node_id)
        return await self._publish(number)

    def _targets(self, actor: Actor, targets: tuple[str, ...]) -> list[NodeState]:
        require(actor, Role.ENGINEER)
        if not 1 <= len(targets) <= TARGETS_MAX:
            raise not_understood(f"1 to {TARGETS_MAX} runtimes", len(targets))
        nodes = {node.node_id: node for node in map(self._fleet.find, targets)}
        for node in nodes.values():
            require(actor, Role.ENGINEER, node.node_id)
            if node.link == "revoked":
                raise fail(
                    "SV4004", f"runtime {node.name} is revoked", remedy="enrol it anew, or leave it out"
                )
        return list(nodes.values())

    async def list(self, actor: Actor, *, node_id: str = "", page: Page = NEWEST) -> tuple[Deployment, ...]:
        require(actor, Role.VIEWER, node_id)
        sql = (
            "SELECT id FROM deployment d WHERE id<?2 AND (?1='' OR EXISTS "
            "(SELECT 1 FROM target WHERE deployment_id=d.id AND node_id=?1)) ORDER BY id DESC LIMIT ?3"
        )
        limit = min(page.limit, 500)
        found = await self._store.run(
            lambda db: [_load(db, r["id"]) for r in rows(db, sql, node_id, page_clause(page.before), limit)]
        )
        return tuple(d for d in found if _visible(actor, d))

    async def get(self, actor: Actor, deployment_id: int) -> Deployment:
        require(actor, Role.VIEWER)
        found = await self._store.run(lambda db: _load(db, deployment_id))
        if not _visible(actor, found):
            raise not_found("deployment", deployment_id)
        return found

    async def plan(
        self, actor: Actor, *, targets: tuple[str, ...], project_id: int, version: int = 0
    ) -> tuple[Plan, ...]:
        nodes = self._targets(actor, targets)
        info, _ = await self._artifacts.of_version(project_id, version)
        return tuple(plan_for(node, info) for node in nodes)

    async def abort(self, actor: Actor, deployment_id: int) -> Deployment:
        require(actor, Role.ENGINEER)
        before = await self.get(actor, deployment_id)
        for target in before.targets:
            require(actor, Role.ENGINEER, target.node_id)
        now = self._now_ns()

        def work(db: Database) -> None:
            for target in before.targets:
                row = _target(db, deployment_id, target.node_id)
                if row and row["state"] == "pending":
                    _set(db, row, "aborted", now)
            audit.record(db, actor, "deployment.abort", f"deployment {deployment_id}", now_ns=now)

        await self._store.run(work)
        return await self._publish(deployment_id)

    # ------------------------------------------------------------ towards the runtime

    async def link_up(self, node_id: str) -> None:
        """A deployment whose arrival the runtime never confirmed is sent again, with the same id."""
        sql = "SELECT * FROM target WHERE node_id=? AND state='sent' ORDER BY deployment_id LIMIT 1"
        row = await self._store.run(lambda db: one(db, sql, node_id))
        if row is not None:
            await self._send(row["deployment_id"], node_id)
        await self._dispatch(node_id)

    async def link_down(self, node_id: str) -> None:
        """Nothing changes: what is under way goes on without us, and deadlines run."""

    async def _dispatch(self, node_id: str) -> None:
        """Send the oldest pending deployment, unless one is under way."""
        if not self._fleet.is_ready(node_id):
            return
        now = self._now_ns()

        def work(db: Database) -> int:
            open_ = rows(db, "SELECT * FROM target WHERE node_id=? AND state NOT IN (?,?,?,?,?) ORDER BY deployment_id",
                         node_id, *FINAL)  # fmt: skip
            if not open_ or open_[0]["state"] != "pending":
                return 0
            _set(db, open_[0], "sent", now)
            return int(open_[0]["deployment_id"])

        number = await self._store.run(work)
        if number:
            await self._send(number, node_id)
            await self._publish(number)

    async def _send(self, number: int, node_id: str) -> None:
        row = await self._store.run(lambda db: one(db, "SELECT * FROM deployment WHERE id=?", number))
        if row is None:
            return
        try:
            artifact = await asyncio.to_thread(self._files.get, row["artifact"])
        except Exception as error:
            problem = getattr(error, "problems", (Problem("SV4003", str(error)),))
            await self._move(number, node_id, "refused", problems=problem)
            return
        digest = str(row["artifact"])
        signature = self._key.sign(ARTIFACT_SIGNED + digest.encode())
        order = Deploy(
            f"d{number}", artifact, digest, row["created_by"], bool(row["cold"]), signature=signature
        )
        self._fleet.send(node_id, order)

    async def progressed(self, node_id: str, message: DeployState) -> None:
        """What the runtime says of a deployment."""
        number = int(message.id[1:]) if message.id[1:].isdecimal() and len(message.id) < 12 else 0
        if message.state != "running":
            await self._move(number, node_id, message.state, digest=message.digest, problems=message.problems)
            return
        self._claimed[node_id] = (number, message.digest)
        await self._move(number, node_id, "trial", digest=message.digest)
        node = self._fleet.node(node_id)
        if node.status is not None:
            await self.reported(node, node.status)

    async def reported(self, node: NodeState, status: Status) -> None:
        """The runtime's status is the proof: the digest that it says it runs, scanning."""
        claim = self._claimed.get(node.node_id)
        if claim is None or status.digest != claim[1] or status.state == "fault":
            return
        if status.scan < HEALTHY_SCANS and status.state == "running":
            return
        del self._claimed[node.node_id]
        await self._move(claim[0], node.node_id, "running", digest=claim[1])

    async def _move(
        self, number: int, node_id: str, state: str, *, digest: str = "", problems: tuple[Problem, ...] = ()
    ) -> None:
        now = self._now_ns()

        def work(db: Database) -> bool:
            row = _target(db, number, node_id)
            if row is None or row["state"] in FINAL or _ORDER.get(state, 99) <= _ORDER[row["state"]]:
                return False
            _set(db, row, state, now, digest=digest, problems=problems)
            if state in FINAL:
                actor = Actor(f"node {row['node']}", Role.VIEWER, "system")
                text = "; ".join(f"{p.code} {p.message}" for p in problems[:3])
                audit.record(db, actor, f"deployment.{state}", f"deployment {number}", now_ns=now,
                             new=digest, reason=text, result="ok" if state == "running" else "refused")  # fmt: skip
            return True

        if not await self._store.run(work):
            return
        deployment = await self._publish(number)
        if state in FINAL:
            self._claimed.pop(node_id, None)
            severity = "info" if state == "running" else "error"
            text = f"deployment {number} of {deployment.application}: {state.replace('_', ' ')}"
            self._fleet.tell(node_id, "deploy", severity, text, {"deployment": str(number), "state": state})
            await self._dispatch(node_id)

    async def watch(self) -> None:
        """Ends what passed its deadline. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(CHECK_PERIOD_S)
            now = self._now_ns()
            late = await self._store.run(partial(_late_targets, now=now))
            for row in late:
                await self._move(
                    row["deployment_id"], row["node_id"], "timed_out", problems=(_late(row["state"]),)
                )

    async def _publish(self, number: int) -> Deployment:
        deployment = await self._store.run(lambda db: _load(db, number))
        self._fleet.bus.publish(deployment)
        return deployment


def _visible(actor: Actor, deployment: Deployment) -> bool:
    return not actor.nodes or any(target.node_id in actor.nodes for target in deployment.targets)


def _target(db: Database, number: int, node_id: str) -> Row | None:
    return one(db, "SELECT * FROM target WHERE deployment_id=? AND node_id=?", number, node_id)


def _set(
    db: Database, row: Row, state: str, now: int, *, digest: str = "", problems: tuple[Problem, ...] = ()
) -> None:
    timeline = msgspec.json.decode(row["timeline"], type=list[tuple[str, int]])
    changed: dict[str, Any] = {
        "state": state,
        "changed_ns": now,
        "deadline_ns": now + STEP_S * SECOND_NS,
        "digest": digest or row["digest"],
        "problems": msgspec.json.encode(problems).decode() if problems else row["problems"],
        "timeline": msgspec.json.encode([*timeline, (state, now)]).decode(),
    }
    db.table("target").update((row["deployment_id"], row["node_id"]), changed)


def _load(db: Database, number: int) -> Deployment:
    row = one(db, "SELECT * FROM deployment WHERE id=?", number)
    if row is None:
        raise not_found("deployment", number)
    targets = tuple(
        Target(
            t["node_id"], t["node"], t["state"], t["changed_ns"], t["deadline_ns"], t["digest"],
            msgspec.json.decode(t["problems"], type=tuple[Problem, ...]),
            msgspec.json.decode(t["timeline"], type=tuple[tuple[str, int], ...]),
        )
        for t in rows(db, "SELECT * FROM target WHERE deployment_id=? ORDER BY node", number)
    )  # fmt: skip
    open_ = any(t.state not in FINAL for t in targets)
    state = "running" if open_ else "succeeded" if all(t.state == "running" for t in targets) else "failed"
    return Deployment(
        row["id"], row["artifact"], row["application"], row["project_id"], row["version"], row["created_ns"],
        row["created_by"], row["reason"], state, targets, bool(row["cold"]),
    )  # fmt: skip


def _late_targets(db: Database, now: int) -> list[Row]:
    return rows(db, "SELECT * FROM target WHERE state NOT IN (?,?,?,?,?) AND deadline_ns<?", *FINAL, now)


def _late(state: str) -> Problem:
    return Problem(
        "SV4005",
        "the deployment did not come to an end in time",
        expected=f"the next state after {state!r} within its deadline",
        found="silence",
        remedy="look at the runtime's state and events, then deploy again",
    )


__all__ = ["ArtifactInfo", "DeploymentService"]
