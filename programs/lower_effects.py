"""Whole-program facts: who calls whom, who may recurse, which POU writes where.

Everything errs on the safe side: a dispatched call may reach every implementation of the method, a store through a
reference may hit every variable whose address is taken somewhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field

from programs import hir

# Fields that never hold a statement, expression or place.
_PLAIN = {
    "type", "line", "op", "kind", "name", "method", "member", "pou", "variable", "width", "index", "dimension", "upper",
    "virtual", "array", "measured",
}  # fmt: skip
_LEAVES = (
    str, int, float, bool, type(None), hir.Variable, hir.Elementary, hir.Enum, hir.String, hir.Array, hir.OpenArray,
    hir.Struct, hir.Ref, hir.Instance, hir.Interface,
)  # fmt: skip
# By class: what holds further nodes, the last first; None for what is no node.
_FIELDS: dict[type, tuple[str, ...] | None] = {hir.Constant: (), **dict.fromkeys(_LEAVES)}


def _fields(kind: type) -> tuple[str, ...]:
    names = tuple(one.name for one in dataclasses.fields(kind) if one.name not in _PLAIN)
    return tuple(reversed(names))


def walk(node: object) -> Iterator[object]:
    """All statements, expressions and places below a node or list, parents first."""
    stack = [node]
    pop, push, extend = stack.pop, stack.append, stack.extend
    while stack:
        current = pop()
        kind = current.__class__
        if kind is list or kind is tuple:
            extend(reversed(current))  # type: ignore[call-overload]
            continue
        if kind not in _FIELDS:
            _FIELDS[kind] = _fields(kind)
        names = _FIELDS[kind]
        if names is not None:
            yield current
            for name in names:
                push(getattr(current, name))


def root(place: hir.Place) -> hir.Place:
    """The variable, instance or dereference that a place is part of."""
    while isinstance(place, hir.MemberPlace | hir.IndexPlace | hir.PartPlace):
        place = place.base
    return place


@dataclass(slots=True)
class PouEffects:
    calls: set[str] = field(default_factory=set)
    dispatched: set[str] = field(default_factory=set)  # upper-case method names called by dispatch
    written: dict[int, hir.Variable] = field(default_factory=dict)  # globals and located variables
    addressed: dict[int, hir.Variable] = field(default_factory=dict)  # whose address is taken
    writes_through_reference: bool = False
    writes_outside: bool = False  # anything but its own locals
    assigned: set[int] = field(default_factory=set)  # ids of all variables assigned by name
    loops: bool = False


# The nodes that have an effect: all others are passed over.
_NOTED = {
    hir.Assign, hir.For, hir.While, hir.Repeat, hir.Call, hir.CallBlock, hir.Address, hir.ToInterface,
}  # fmt: skip


class Effects:
    """Effects of each POU, and of each task when asked."""

    def __init__(self, program: hir.Program) -> None:
        self.program = program
        self.pous = {key: self._of_pou(pou) for key, pou in program.pous.items()}
        self.recursive = self._find_recursive()

    def _of_pou(self, pou: hir.Pou) -> PouEffects:
        return self.of_nodes(pou.body)

    def of_nodes(self, nodes: object) -> PouEffects:
        effects = PouEffects()
        for node in walk(nodes):
            if node.__class__ in _NOTED:
                self._note(effects, node)
        return effects

    def _note(self, effects: PouEffects, node: object) -> None:
        match node:
            case hir.Assign(place=place):
                self._write(effects, place)
            case hir.For(place=place):
                self._write(effects, place)
                effects.loops = True
            case hir.While() | hir.Repeat():
                effects.loops = True
            case hir.Call():
                self._note_call(effects, node)
            case hir.CallBlock():
                effects.calls.add(node.pou)
                if node.virtual:
                    effects.calls |= self.derived(node.pou)
                self._write(effects, node.instance)
                effects.writes_outside = True
                for _, place in [*node.outputs, *node.inouts]:
                    self._write(effects, place)
                if node.eno is not None:
                    self._write(effects, node.eno)
            case hir.Address(place=place) | hir.ToInterface(place=place):
                start = root(place)
                if isinstance(start, hir.VariablePlace):
                    effects.addressed[id(start.variable)] = start.variable

    def _note_call(self, effects: PouEffects, call: hir.Call) -> None:
        if call.virtual or call.interface is not None:
            effects.dispatched.add(call.method)
        if call.interface is not None:
            effects.writes_through_reference = True
        else:
            effects.calls.add(call.pou)
        if call.receiver is not None:
            self._write(effects, call.receiver)
        for _, place in [*call.outputs, *call.inouts]:
            self._write(effects, place)
        effects.writes_outside = True

    def _write(self, effects: PouEffects, place: hir.Place) -> None:
        start = root(place)
        match start:
            case hir.VariablePlace(variable=variable):
                effects.assigned.add(id(variable))
                if (
                    variable.storage in (hir.Storage.GLOBAL, hir.Storage.LOCATED)
                    or variable.location is not None
                ):
                    effects.written[id(variable)] = variable
                if variable.storage not in (
                    hir.Storage.LOCAL, hir.Storage.PARAMETER, hir.Storage.OUTPUT_PARAMETER,
                ):  # fmt: skip
                    effects.writes_outside = True
            case hir.DerefPlace():
                effects.writes_through_reference = True
                effects.writes_outside = True
            case _:
                effects.writes_outside = True

    # -- the call graph

    def callees(self, key: str) -> set[str]:
        effects = self.pous[key]
        found = set(effects.calls)
        for method in effects.dispatched:
            found |= self.implementations(method)
        return {one for one in found if one in self.program.pous}

    def implementations(self, method: str) -> set[str]:
        return {pou.methods[method] for pou in self.program.pous.values() if method in pou.methods}

    def derived(self, base: str) -> set[str]:
        """Keys of all POUs that extend ``base``, directly or not."""
        found = {base}
        grown = True
        while grown:
            more = {key for key, pou in self.program.pous.items() if pou.base in found} - found
            found |= more
            grown = bool(more)
        return found - {base}

    def reachable(self, keys: set[str]) -> set[str]:
        found: set[str] = set()
        todo = [key for key in keys if key in self.program.pous]
        while todo:
            key = todo.pop()
            if key not in found:
                found.add(key)
                todo.extend(self.callees(key))
        return found

    def _find_recursive(self) -> set[str]:
        return {key for key in self.program.pous if key in self.reachable(self.callees(key))}

    def addressed(self) -> dict[int, hir.Variable]:
        """Every variable whose address is taken anywhere."""
        found: dict[int, hir.Variable] = {}
        for effects in self.pous.values():
            found |= effects.addressed
        return found

    def written_by(self, keys: set[str], extra: PouEffects) -> dict[int, hir.Variable]:
        """Globals and located variables that POUs (with all they call) and some further nodes may write."""
        reached = self.reachable(keys | extra.calls)
        parts = [self.pous[key] for key in reached] + [extra]
        found: dict[int, hir.Variable] = {}
        for effects in parts:
            found |= effects.written
        if any(effects.writes_through_reference for effects in parts):
            found |= self.addressed()
        return found
