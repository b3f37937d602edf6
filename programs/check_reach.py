"""What of its libraries a program uses: the rest is not compiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator

from programs import hir


def leave_out_unused(program: hir.Program, libraries: Collection[str]) -> None:
    """Take out the units of library files that nothing of the plant reaches. ``libraries``: paths of their files."""
    keys = program.pous
    todo = [key for key, pou in keys.items() if pou.file not in libraries]
    outside: list[object] = [
        *(variable.type for variable in program.globals), program.instances, program.tasks, program.interfaces,
    ]  # fmt: skip
    todo += list(_named(outside, set(), keys))
    found: set[str] = set()
    seen: set[int] = set()
    while todo:
        key = todo.pop()
        if key in found or key not in keys:
            continue
        found.add(key)
        pou = keys[key]
        todo += [*pou.methods.values(), pou.base, pou.owner]
        types = [variable.type for variable in pou.variables]
        result = [pou.result.type] if pou.result is not None else []
        todo += _named([types, result, pou.body], seen, keys)
    for key in [key for key in keys if key not in found]:
        del keys[key]


def _named(node: object, seen: set[int], keys: Collection[str]) -> Iterator[str]:
    """Keys of units that a part of the tree names."""
    todo = [node]
    while todo:
        one = todo.pop()
        if isinstance(one, list | tuple):
            todo += one
            continue
        if isinstance(one, dict):
            todo += one.values()
            continue
        if not dataclasses.is_dataclass(one) or isinstance(one, type) or id(one) in seen:
            continue
        seen.add(id(one))
        match one:
            case hir.Instance(pou=key) | hir.CallBlock(pou=key) | hir.Call(pou=key):
                yield key
            case hir.ProgramInstance(pou=key):
                yield key
        if isinstance(one, hir.Variable):
            todo.append(one.type)
            continue
        todo += [getattr(one, entry.name) for entry in dataclasses.fields(one)]
