"""What a deployment would change on a runtime: its tags and devices against those of the artifact."""

from __future__ import annotations

from supervisor.artifacts import ArtifactInfo
from supervisor.iec_text import type_name
from supervisor.model import Plan, PlanChange
from supervisor.node_state import NodeState


def plan_for(node: NodeState, info: ArtifactInfo) -> Plan:
    describe = node.board.describe if node.board else None
    warnings = []
    if node.link != "up":
        warnings.append("the runtime is not connected: it is deployed to when it returns")
    if node.status and node.status.forces:
        warnings.append(f"{node.status.forces} forces are in effect")
    if describe is None:
        return Plan(node.node_id, node.name, "", info.digest, (), tuple(warnings))
    running = {tag.path: type_name(tag.type) for tag in describe.tags}
    changes = [
        *_changes("tag", running, dict(info.tags)),
        *_changes("device", dict.fromkeys(describe.devices, ""), dict.fromkeys(info.devices, "")),
    ]
    return Plan(node.node_id, node.name, describe.digest, info.digest, tuple(changes), tuple(warnings))


def _changes(kind: str, old: dict[str, str], new: dict[str, str]) -> list[PlanChange]:
    found = [PlanChange(kind, "removed", name, old=old[name]) for name in old if name not in new]
    found += [PlanChange(kind, "added", name, new=new[name]) for name in new if name not in old]
    both = (name for name in new if name in old and old[name] != new[name])
    return found + [PlanChange(kind, "changed", name, old[name], new[name]) for name in both]
