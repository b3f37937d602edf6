"""Where everything lives: sizes, alignment, members of structures and instances, offsets in the state block.

Theory. Each type has a natural alignment and no type depends on the machine: numbers are little-endian, references are
8-byte offsets, strings are zero-terminated. The layout of a POU instance is: (a 8-byte header with the POU's index if
calls can be dispatched on it,) the members of its base, its own members, hidden slots for its in-outs. A derived
instance therefore starts with a valid instance of its base.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from programs import hir
from scan.abi import HEADER_SIZE, NUMPY_TYPE, IecType, Region

POINTER_SIZE = 8
REGION_ALIGNMENT = 8
# Offset and POU index of an interface variable (hir.Interface), and the header of a dispatchable instance.
INTERFACE_SIZE = 16
INSTANCE_HEADER_SIZE = 8
# 2 GiB: offsets stay positive in 32 bits, and nothing sensible is near.
BLOCK_SIZE_MAX = 2**31 - 1

# Where variables of a call live unless something refers to them.
STACK_STORAGES = (hir.Storage.LOCAL, hir.Storage.PARAMETER, hir.Storage.OUTPUT_PARAMETER)

BACKGROUND_TASK = "background"


class TooLargeError(Exception):
    """The state block would not fit; carries the size in bytes."""


def align(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an instance or structure at its offset."""

    name: str
    type: hir.Type
    offset: int
    init: hir.Initial | None
    variable: hir.Variable | None = None  # None for members of structures
    shared: bool = False  # placed by hand: others may lie over it, so only a given value is written


@dataclass(slots=True)
class PouLayout:
    size: int
    alignment: int
    members: dict[str, Member] = field(
        default_factory=dict
    )  # by lower-case name, own ones win over the base's
    ordered: list[Member] = field(default_factory=list)
    slots: dict[int, int] = field(
        default_factory=dict
    )  # id of an in-out variable -> offset of its hidden slot
    dispatch: bool = False  # starts with the header


def element_count(dims: tuple[tuple[int, int], ...]) -> int:
    count = 1
    for low, high in dims:
        count *= high - low + 1
    return count


def scalar_type(kind: hir.Type) -> IecType | None:
    """The elementary type in which a value of this type is stored, None for aggregates, strings and interfaces."""
    match kind:
        case hir.Elementary(type=base):
            return base
        case hir.Enum(base=base):
            return base
        case hir.Ref():
            return IecType.REF
    return None


class Types:
    """Sizes and member offsets of all types of one program; the answers are remembered."""

    def __init__(self, program: hir.Program) -> None:
        self.program = program
        self.pou_indices = {key: index for index, key in enumerate(program.pous)}
        self._structs: dict[str, tuple[int, int, dict[str, Member]]] = {}
        self._pous: dict[str, PouLayout] = {}
        self._variable_offsets: dict[int, int] = {}
        self.declared_in: dict[int, str] = {}  # id of a member variable -> key of the POU that declares it
        self._dispatched = self._find_dispatched()

    def _root(self, key: str) -> str:
        while self.program.pous[key].base:
            key = self.program.pous[key].base
        return key

    def _find_dispatched(self) -> set[str]:
        """Roots of the hierarchies whose instances must know their own POU."""
        roots = set()
        for key, pou in self.program.pous.items():
            if pou.methods or pou.interfaces or pou.base:
                roots.add(self._root(key))
        return roots

    # -- sizes

    def size(self, kind: hir.Type) -> int:
        scalar = scalar_type(kind)
        if scalar is not None:
            return np.dtype(NUMPY_TYPE[scalar]).itemsize
        match kind:
            case hir.String(length=length, wide=wide):
                return (length + 1) * (2 if wide else 1)
            case hir.Array(element=element, dims=dims):
                return element_count(dims) * self.stride(element)
            case hir.Struct():
                return self._struct(kind)[0]
            case hir.Instance(pou=key):
                return self.pou(key).size
            case hir.Interface():
                return INTERFACE_SIZE
            case hir.OpenArray(rank=rank):
                return POINTER_SIZE + 2 * POINTER_SIZE * rank
        raise AssertionError(f"no size: {kind}")

    def alignment(self, kind: hir.Type) -> int:
        match kind:
            case hir.String(wide=wide):
                return 2 if wide else 1
            case hir.Array(element=element):
                return self.alignment(element)
            case hir.Struct():
                return self._struct(kind)[1]
            case hir.Instance(pou=key):
                return self.pou(key).alignment
            case hir.Interface() | hir.OpenArray():
                return POINTER_SIZE
        return self.size(kind)

    def stride(self, element: hir.Type) -> int:
        """Bytes from one array element to the next."""
        return align(self.size(element), self.alignment(element))

    # -- members

    def _struct(self, kind: hir.Struct) -> tuple[int, int, dict[str, Member]]:
        if kind.name in self._structs:
            return self._structs[kind.name]
        offset, alignment, members = 0, 1, {}
        end = 0
        for member in kind.members:
            alignment = max(alignment, self.alignment(member.type))
            start = 0 if kind.union else align(offset, self.alignment(member.type))
            start = start if member.at is None else member.at
            placed = member.at is not None
            members[member.name.lower()] = Member(member.name, member.type, start, member.init, shared=placed)
            offset = start + self.size(member.type)
            end = max(end, offset)
        found = (align(end, alignment), alignment, members)
        self._structs[kind.name] = found
        return found

    def struct_members(self, kind: hir.Struct) -> dict[str, Member]:
        return self._struct(kind)[2]

    def pou(self, key: str) -> PouLayout:
        if key not in self._pous:
            self._pous[key] = self._lay_out_pou(key)
        return self._pous[key]

    def _lay_out_pou(self, key: str) -> PouLayout:
        pou = self.program.pous[key]
        layout = PouLayout(0, 1, dispatch=self._root(key) in self._dispatched)
        if pou.base:
            base = self.pou(pou.base)
            layout.size, layout.alignment = base.size, base.alignment
            layout.members, layout.ordered, layout.slots = (
                dict(base.members), list(base.ordered), dict(base.slots),
            )  # fmt: skip
        elif layout.dispatch:
            layout.size = layout.alignment = INSTANCE_HEADER_SIZE
        for variable in self._stored(pou):
            self._add(layout, variable, key)
        layout.size = align(layout.size, layout.alignment)
        return layout

    def _stored(self, pou: hir.Pou) -> Iterator[hir.Variable]:
        """Variables with a place in the instance: the POU's own, then those of its methods (VAR_INST) and actions."""
        owned = [
            other
            for other in self.program.pous.values()
            if other.owner == pou.key and other.kind in ("method", "action")
        ]
        for source in (pou, *owned):
            for variable in source.variables:
                if variable.storage is hir.Storage.INSTANCE or (
                    source is pou
                    and pou.kind in ("function_block", "program", "class")
                    and in_instance(variable)
                ):
                    yield variable

    def _add(self, layout: PouLayout, variable: hir.Variable, key: str) -> None:
        slot = variable.storage is hir.Storage.INOUT_PARAMETER
        alignment = POINTER_SIZE if slot else self.alignment(variable.type)
        offset = align(layout.size, alignment)
        if slot:
            is_open = isinstance(variable.type, hir.OpenArray)
            layout.slots[id(variable)] = offset
            layout.size = offset + (self.size(variable.type) if is_open else POINTER_SIZE)
        else:
            member = Member(variable.name, variable.type, offset, variable.init, variable)
            layout.members[variable.name.lower()] = member
            layout.ordered.append(member)
            layout.size = offset + self.size(variable.type)
            self._variable_offsets[id(variable)] = offset
            self.declared_in[id(variable)] = key
        layout.alignment = max(layout.alignment, alignment)

    def member(self, kind: hir.Type, name: str) -> Member:
        if isinstance(kind, hir.Struct):
            return self.struct_members(kind)[name]
        assert isinstance(kind, hir.Instance)
        return self.pou(kind.pou).members[name]

    def member_offset(self, variable: hir.Variable, owner: str) -> int:
        """Offset of a variable in the instances of ``owner``."""
        self.pou(owner)
        return self._variable_offsets[id(variable)]


def in_instance(variable: hir.Variable) -> bool:
    """Whether a variable of a block or program takes room in its instances, besides INSTANCE ones."""
    if variable.storage is hir.Storage.CONSTANT:
        return is_aggregate(variable.type)
    return variable.storage is hir.Storage.INOUT_PARAMETER


def is_aggregate(kind: hir.Type) -> bool:
    return isinstance(kind, hir.Array | hir.Struct | hir.Instance | hir.String | hir.OpenArray)


@dataclass(frozen=True, slots=True)
class PlacedInstance:
    instance: hir.ProgramInstance
    offset: int
    task: str


class BlockLayout:
    """Offsets of all globals and program instances in the state block."""

    def __init__(self, program: hir.Program) -> None:
        self.program = program
        self.types = Types(program)
        self.offsets: dict[int, int] = {}  # id of a global or located variable -> offset in the block
        sizes = self._image_sizes()
        position = HEADER_SIZE
        regions = {}
        for area in "IQM":
            regions[area] = Region(position, align(sizes[area], REGION_ALIGNMENT))
            position += regions[area].size
        self.inputs, self.outputs, self.markers = regions["I"], regions["Q"], regions["M"]
        self._areas = regions
        self._place_located()
        position = self._place_globals(position)
        self.shared = Region(HEADER_SIZE, position - HEADER_SIZE)
        self.instances: list[PlacedInstance] = []
        self.size = self._place_addressed(self._place_instances(position))
        if self.size > BLOCK_SIZE_MAX:
            raise TooLargeError(self.size)

    def located(self) -> Iterator[hir.Variable]:
        seen = set()
        for variable in self._all_variables():
            if variable.location is not None and id(variable) not in seen:
                seen.add(id(variable))
                yield variable

    def _all_variables(self) -> Iterator[hir.Variable]:
        yield from self.program.globals
        for pou in self.program.pous.values():
            yield from pou.variables

    def _image_sizes(self) -> dict[str, int]:
        sizes = {"I": 0, "Q": 0, "M": 0}
        for variable in self.located():
            assert variable.location is not None
            bit = variable.location.bit >= 0
            size = 1 if bit else self.types.size(variable.type)
            area = variable.location.area
            sizes[area] = max(sizes[area], variable.location.byte + size)
        return sizes

    def _place_located(self) -> None:
        for variable in self.located():
            assert variable.location is not None
            self.offsets[id(variable)] = self._areas[variable.location.area].offset + variable.location.byte

    def _place_globals(self, position: int) -> int:
        for variable in self.program.globals:
            if id(variable) in self.offsets:
                continue
            if variable.storage is hir.Storage.CONSTANT and not is_aggregate(variable.type):
                continue
            position = align(position, self.types.alignment(variable.type))
            self.offsets[id(variable)] = position
            position += self.types.size(variable.type)
        return align(position, REGION_ALIGNMENT)

    def _place_instances(self, position: int) -> int:
        order = [task.name for task in self.program.tasks] + [""]
        ranks = {name: rank for rank, name in enumerate(order)}
        for instance in sorted(self.program.instances, key=lambda one: ranks[one.task]):
            layout = self.types.pou(instance.pou)
            position = align(position, max(layout.alignment, REGION_ALIGNMENT))
            self.instances.append(PlacedInstance(instance, position, instance.task or BACKGROUND_TASK))
            position += layout.size
        return align(position, REGION_ALIGNMENT)

    def _place_addressed(self, position: int) -> int:
        """Local variables that references lead to live here instead of on the stack: references are block offsets.

        The area is nobody's state: it is written anew at each call, and each task works on its own copy of it.
        """
        for pou in self.program.pous.values():
            for variable in [*pou.variables, *([pou.result] if pou.result else [])]:
                if (
                    variable.addressed
                    and variable.storage in STACK_STORAGES
                    and id(variable) not in self.offsets
                ):
                    position = align(position, max(self.types.alignment(variable.type), REGION_ALIGNMENT))
                    self.offsets[id(variable)] = position
                    position += self.types.size(variable.type)
        return align(position, REGION_ALIGNMENT)

    def region_of(self, area: str) -> Region:
        return self._areas[area]
