"""The served variables of a program as a tree: instances, structures and arrays of them between the variables.

A node of the address space is made from this when somebody asks for it, never before: a tree of 100,000 variables costs
its lists only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from scan.abi import Aggregate, Symbol

from .types import can_serve

GLOBALS = "/GlobalVars"
PROGRAMS = "/Resource/Programs"
CHILDREN_MAX = 200  # of one folder; more are grouped by range
STRUCTURES = ("struct",)


@dataclass(slots=True)
class Branch:
    """What is not a leaf. ``kind``: as ``Aggregate.kind``, or "folder"; "" when the program does not tell."""

    path: str
    name: str
    kind: str
    type_name: str = ""
    parent: str = ""
    dims: tuple[tuple[int, int], ...] = ()
    direction: str = ""
    owner: str = ""
    comment: str = ""
    children: list[Branch | Symbol] = field(default_factory=list)

    @property
    def element(self) -> str:
        """Type of an array's elements."""
        return self.type_name.partition(" OF ")[2] if self.kind == "array" else self.type_name

    def leaves(self) -> Iterator[Symbol]:
        """All variables below, in the order of their declaration."""
        for child in self.children:
            if isinstance(child, Branch):
                yield from child.leaves()
            else:
                yield child


def child_name(child: Branch | Symbol) -> str:
    return child.name if isinstance(child, Branch) else leaf_name(child.path)


def leaf_name(path: str) -> str:
    return path[path.rfind(".") + 1 :]


def parent_path(path: str) -> str:
    """The path of what holds this one; a global variable is in ``GLOBALS``, a program in ``PROGRAMS``."""
    if path.endswith("]"):
        return path[: path.rindex("[")]
    return path[: path.rfind(".")] if "." in path else ""


class Tree:
    """``symbols`` and ``branches`` by path; ``roots`` are the two folders that hold everything."""

    def __init__(self, symbols: Sequence[Symbol], aggregates: Sequence[Aggregate]) -> None:
        self.symbols = {symbol.path: symbol for symbol in symbols if can_serve(symbol)}
        self._told = {aggregate.path: aggregate for aggregate in aggregates}
        self.branches: dict[str, Branch] = {
            path: Branch(path, path.rpartition("/")[2], "folder") for path in (GLOBALS, PROGRAMS)
        }
        for symbol in self.symbols.values():
            parent = parent_path(symbol.path)
            (self._branch(parent) if parent else self.branches[GLOBALS]).children.append(symbol)
        self._told = {}
        self.served_structures = {
            path for path, branch in self.branches.items() if branch.kind in ("struct", "array") and _plain(branch)
        }  # fmt: skip

    def _branch(self, path: str) -> Branch:
        found = self.branches.get(path)
        if found is not None:
            return found
        parent = parent_path(path)
        told = self._told.get(path)
        name = path[len(parent) :] if path.endswith("]") else leaf_name(path)
        if path.endswith("]"):
            name = leaf_name(path)
        if told is None:
            branch = Branch(path, name, "program" if not parent else "")
        else:
            branch = Branch(
                path, name, told.kind, told.type_name, dims=told.dims, direction=told.direction,
                owner=told.owner, comment=told.comment,
            )  # fmt: skip
        if parent:
            above = self._branch(parent)
        else:
            above = self.branches[PROGRAMS if branch.kind == "program" else GLOBALS]
        branch.parent = above.path
        above.children.append(branch)
        self.branches[path] = branch
        return branch

    def programs(self) -> list[Branch]:
        return [child for child in self.branches[PROGRAMS].children if isinstance(child, Branch)]

    def parent_of(self, symbol: Symbol) -> Branch:
        return self.branches[parent_path(symbol.path) or GLOBALS]


def _plain(branch: Branch) -> bool:
    """Whether a branch has one value: a structure of variables and structures, or an array of such."""
    if branch.kind not in ("struct", "array") or not branch.children:
        return False
    return all(_plain(child) for child in branch.children if isinstance(child, Branch))


# ---------------------------------------------------------------- ranges


def span(count: int) -> int:
    """How many children one range folder stands for; 1 when no folders are needed."""
    size = 1
    while -(-count // size) > CHILDREN_MAX:
        size *= CHILDREN_MAX
    return size


def ranges(first: int, last: int) -> list[tuple[int, int]]:
    """The ranges, counted from 1 and inclusive, that the children ``first`` to ``last`` are shown as."""
    size = span(last - first + 1)
    return [(start, min(start + size - 1, last)) for start in range(first, last + 1, size)]


def range_id(path: str, first: int, last: int) -> str:
    return f"/Range/{path}/{first}-{last}"


def parse_range(identifier: str) -> tuple[str, int, int] | None:
    """(path, first, last) of a range folder's identifier, None when it is no such."""
    if not identifier.startswith("/Range/"):
        return None
    path, _, text = identifier[len("/Range/") :].rpartition("/")
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and len(first) < 10 and len(last) < 10):
        return None
    return path, int(first), int(last)
