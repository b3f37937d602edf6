"""What an online change did to the address space, as a GeneralModelChangeEvent (OPC 10000-3 §9.32)."""

from __future__ import annotations

from asyncua import ua

from .entries import Entry, standard
from .events import Event, make
from .program_nodes import ProgramNodes
from .tree import PROGRAMS, parent_path
from .types import variant_type

CHANGES_MAX = 200  # beyond this only the folder of programs is named
_NODE_ADDED, _NODE_DELETED, _REFERENCE_ADDED, _REFERENCE_DELETED, _TYPE_CHANGED = 1, 2, 4, 8, 16
_KIND = standard(ua.ObjectIds.GeneralModelChangeEventType)


def changes(before: ProgramNodes, after: ProgramNodes) -> dict[str, int]:
    """Verbs by identifier: nodes that came or went, those that hold them, variables of another type."""
    found: dict[str, int] = {}

    def mark(identifier: str, verb: int) -> None:
        found[identifier] = found.get(identifier, 0) | verb

    for paths, others, verb, reference in (
        (_paths(after), _paths(before), _NODE_ADDED, _REFERENCE_ADDED),
        (_paths(before), _paths(after), _NODE_DELETED, _REFERENCE_DELETED),
    ):
        for path in paths - others:
            mark(path, verb)
            holder = parent_path(path) or PROGRAMS
            if holder in others:
                mark(holder, reference)
    for path, symbol in after.tree.symbols.items():
        old = before.tree.symbols.get(path)
        if old is not None and (variant_type(old), old.dims) != (variant_type(symbol), symbol.dims):
            mark(path, _TYPE_CHANGED)
    if len(found) > CHANGES_MAX:
        return {PROGRAMS: _REFERENCE_ADDED | _REFERENCE_DELETED}
    return found


def _paths(nodes: ProgramNodes) -> set[str]:
    return set(nodes.tree.symbols) | set(nodes.tree.branches)


def event(before: ProgramNodes, after: ProgramNodes, time_ns: int) -> Event | None:
    """None when nothing in the model is other than it was."""
    found = changes(before, after)
    if not found:
        return None
    listed = []
    for path, verb in sorted(found.items()):
        one = ua.ModelChangeStructureDataType()
        one.Affected = after.id(path)
        one.AffectedType = _type_of(after.entry(path) or before.entry(path))
        one.Verb = verb
        listed.append(one)
    more = {"Changes": ua.Variant(listed, ua.VariantType.ExtensionObject, is_array=True)}
    return make(_KIND, "The program has changed", severity=100, time_ns=time_ns, more=more)


def _type_of(found: Entry | None) -> ua.NodeId:
    return found.face.type_definition if found is not None else ua.NodeId()
