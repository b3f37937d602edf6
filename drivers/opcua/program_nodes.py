"""Nodes of a program's variables, made from the tree when they are asked for.

NodeIds are strings in the namespace ``urn:tickwork:<node>``: the path of a variable, instance or structure, and for
what has no path an identifier that begins with ``/``. They depend on nothing but the paths, so a rebuild or an online
change never moves them. Properties are ``PATH/Name``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from asyncua import ua

from scan.abi import IecType, Symbol

from .companion import CONFIGURABLE, GROUP, WITH, Companion
from .entries import (
    FOLDER_TYPE,
    HAS_COMPONENT,
    HAS_PROPERTY,
    HISTORY,
    ORGANIZES,
    PROPERTY_TYPE,
    READ,
    VARIABLE_TYPE,
    WRITE,
    Entry,
    Face,
    Link,
    as_variable,
    entry,
    face,
    scalar_property,
    standard,
)
from .program_types import TYPES, ProgramTypes, enumeration_property, lengths, strings_name
from .tree import (
    CHILDREN_MAX,
    GLOBALS,
    PROGRAMS,
    Branch,
    Tree,
    child_name,
    leaf_name,
    parse_range,
    range_id,
    ranges,
)
from .types import variant_type
from .units import engineering_unit

CACHE_SIZE = 2000  # nodes kept after they were asked for
SAMPLING_MS = 50.0
TASK_FOLDER = "/Resource/Tasks"
_ANALOG_UNIT = standard(ua.ObjectIds.AnalogUnitType)
_ANALOG_UNIT_RANGE = standard(ua.ObjectIds.AnalogUnitRangeType)
_ANALOG = standard(ua.ObjectIds.AnalogItemType)
_TEXTS = (IecType.STRING, IecType.WSTRING, IecType.BOOL)


def namespace_uri(node: str) -> str:
    return f"urn:tickwork:{node}"


class ProgramNodes:
    """``version`` names the state of the model; ``historized`` tells which variables have a history."""

    def __init__(
        self,
        tree: Tree,
        companion: Companion,
        index: int,
        *,
        version: str = "",
        historized: Callable[[str], bool] = lambda _path: False,
    ) -> None:
        self.tree = tree
        self.types = ProgramTypes(tree, companion, index)
        self.version = version
        self._companion = companion
        self._index = index
        self._historized = historized
        self._cache: OrderedDict[str, Entry] = OrderedDict()
        self._positions: dict[str, dict[str, int]] = {}

    def id(self, identifier: str) -> ua.NodeId:
        return ua.NodeId(identifier, self._index)

    # ---------------------------------------------------------------- look-up

    def has(self, identifier: str) -> bool:
        if identifier in self.tree.symbols or identifier in self.tree.branches:
            return True
        return self.entry(identifier) is not None

    def entry(self, identifier: str) -> Entry | None:
        found = self._cache.get(identifier)
        if found is not None:
            self._cache.move_to_end(identifier)
            return found
        found = self._make(identifier)
        if found is not None:
            self._cache[identifier] = found
            if len(self._cache) > CACHE_SIZE:
                self._cache.popitem(last=False)
        return found

    def face(self, identifier: str) -> Face | None:
        """As ``entry(…).face`` without making the node where a child of a folder is shown."""
        if (symbol := self.tree.symbols.get(identifier)) is not None:
            return self._symbol_face(symbol)
        if (branch := self.tree.branches.get(identifier)) is not None:
            return self._branch_face(branch)
        made = self.entry(identifier)
        return made.face if made is not None else None

    def _make(self, identifier: str) -> Entry | None:
        if (symbol := self.tree.symbols.get(identifier)) is not None:
            return self._symbol(symbol)
        if (branch := self.tree.branches.get(identifier)) is not None:
            return self._branch(branch)
        if identifier.startswith(f"{TYPES}/"):
            return self.types.entry(identifier[len(TYPES) + 1 :].split("/"))
        if (found := parse_range(identifier)) is not None:
            return self._range(*found)
        path, _, name = identifier.rpartition("/")
        if (symbol := self.tree.symbols.get(path)) is not None:
            make = self._properties(symbol).get(name)
            return make() if make is not None else None
        if name == "NodeVersion" and (branch := self.tree.branches.get(path)) and self._versioned(branch):
            return self._version(path)
        return None

    # ---------------------------------------------------------------- variables

    def level(self, symbol: Symbol) -> int:
        """AccessLevel of a variable (OPC 10000-3 §8.57)."""
        written = WRITE if symbol.access == "rw" else 0
        return READ | written | (HISTORY if self._historized(symbol.path) else 0)

    def branch_level(self, branch: Branch) -> int:
        """A structure can be written when all of its variables can."""
        return READ | (WRITE if all(leaf.access == "rw" for leaf in branch.leaves()) else 0)

    def _symbol_face(self, symbol: Symbol) -> Face:
        name = leaf_name(symbol.path)
        return face(self.id(symbol.path), ua.NodeClass.Variable, name, _variable_type(symbol), self._index)

    def _symbol(self, symbol: Symbol) -> Entry:
        links = [self._to_parent(symbol)]
        links += [
            Link(HAS_PROPERTY, True, self.id(f"{symbol.path}/{name}")) for name in self._properties(symbol)
        ]
        made = entry(self._symbol_face(symbol), links, symbol.comment)
        return as_variable(
            made, self.types.of_symbol(symbol), lengths=lengths(symbol.dims), level=self.level(symbol),
            interval_ms=SAMPLING_MS,
        )  # fmt: skip

    def _properties(self, symbol: Symbol) -> dict[str, Callable[[], Entry]]:
        """Makers of a variable's properties by name."""
        made: dict[str, Callable[[], Entry]] = {}

        def add(name: str, data_type: int, value: Callable[[], ua.Variant], namespace: int = 0) -> None:
            def make() -> Entry:
                node_id = self.id(f"{symbol.path}/{name}")
                shown = face(node_id, ua.NodeClass.Variable, name, PROPERTY_TYPE, namespace)
                return scalar_property(shown, self.id(symbol.path), standard(data_type), value())

            made[name] = make

        low, high = symbol.low, symbol.high
        if low is not None and high is not None and symbol.type not in _TEXTS:
            add("EURange", ua.ObjectIds.Range, lambda: ua.Variant(ua.Range(Low=low, High=high)))
        if symbol.unit and symbol.type not in _TEXTS:
            unit = symbol.unit
            add("EngineeringUnits", ua.ObjectIds.EUInformation, lambda: ua.Variant(engineering_unit(unit)))
        if name := strings_name(symbol):
            node_id = self.id(f"{symbol.path}/{name}")
            made[name] = lambda: enumeration_property(node_id, self.id(symbol.path), symbol.enum_values)
        self._add_plc_properties(symbol, add)
        return made

    def _add_plc_properties(self, symbol: Symbol, add: Callable[..., None]) -> None:
        """OPC 30000 §9.1: bounds of arrays, RETAIN, CONSTANT and the location."""
        plc = self._companion.name(WITH, "").NamespaceIndex
        boolean, text = ua.ObjectIds.Boolean, ua.ObjectIds.String
        if symbol.dims:
            bounds = list(zip(*symbol.dims, strict=True))
            for name, values in (("IndexMin", bounds[0]), ("IndexMax", bounds[1])):
                listed = ua.Variant(list(values), ua.VariantType.Int32, is_array=True)
                add(name, ua.ObjectIds.Int32, lambda listed=listed: listed, plc)
        for name, told in (("RETAIN", symbol.retain), ("CONSTANT", symbol.constant)):
            if told:
                add(name, boolean, lambda: ua.Variant(True, ua.VariantType.Boolean), plc)
        if symbol.location:
            add("AT", text, lambda: ua.Variant(symbol.location, ua.VariantType.String), plc)

    # ---------------------------------------------------------------- instances, structures, folders

    def _branch_face(self, branch: Branch) -> Face:
        if branch.path in (GLOBALS, PROGRAMS):
            kind = self._companion.node_id(GROUP if branch.path == GLOBALS else CONFIGURABLE)
            namespace = self._companion.name(WITH, "").NamespaceIndex
            return face(self.id(branch.path), ua.NodeClass.Object, branch.name, kind, namespace)
        if branch.path in self.tree.served_structures:
            return face(self.id(branch.path), ua.NodeClass.Variable, branch.name, VARIABLE_TYPE, self._index)
        kind = self.types.of_branch(branch)
        return face(self.id(branch.path), ua.NodeClass.Object, branch.name, kind, self._index)

    def _branch(self, branch: Branch) -> Entry:
        links = [
            self._to_parent(branch) if branch.parent else Link(HAS_COMPONENT, False, self.id("/Resource"))
        ]
        if branch.path == PROGRAMS:
            links.append(Link(HAS_COMPONENT, True, self.id(f"{PROGRAMS}/SupportedTypes")))
        if branch.kind == "program" and branch.owner:
            task = self.id(f"{TASK_FOLDER}/{branch.owner}")
            links.append(Link(self._companion.node_id(WITH), True, task))
        if self._versioned(branch):
            links.append(Link(HAS_PROPERTY, True, self.id(f"{branch.path}/NodeVersion")))
        made = entry(self._branch_face(branch), links, branch.comment)
        made.links += self._shown(branch, 1, len(branch.children))
        if branch.path in self.tree.served_structures:
            as_variable(
                made, self.types.of_branch(branch), lengths=lengths(branch.dims), level=self.branch_level(branch),
                interval_ms=SAMPLING_MS,
            )  # fmt: skip
        return made

    def _versioned(self, branch: Branch) -> bool:
        return branch.kind in ("program", "folder")

    def _version(self, path: str) -> Entry:
        node_id = self.id(f"{path}/NodeVersion")
        shown = face(node_id, ua.NodeClass.Variable, "NodeVersion", PROPERTY_TYPE, 0)
        value = ua.Variant(self.version, ua.VariantType.String)
        return scalar_property(shown, self.id(path), standard(ua.ObjectIds.String), value)

    def _shown(self, branch: Branch, first: int, last: int) -> list[Link]:
        """Links to the children ``first`` to ``last``, or to folders of ranges of them."""
        if last - first + 1 <= CHILDREN_MAX:
            return [
                Link(self.types.reference(branch, child), True, self.id(child.path))
                for child in branch.children[first - 1 : last]
            ]
        return [
            Link(ORGANIZES, True, self.id(range_id(branch.path, *bounds))) for bounds in ranges(first, last)
        ]

    def _range(self, path: str, first: int, last: int) -> Entry | None:
        branch = self.tree.branches.get(path)
        if branch is None:
            return None
        above = self._holder(branch, first, (first, last))
        if above is None:
            return None
        shown = face(
            self.id(range_id(path, first, last)), ua.NodeClass.Object,
            f"{child_name(branch.children[first - 1])} … {child_name(branch.children[last - 1])}",
            FOLDER_TYPE, self._index,
        )  # fmt: skip
        made = entry(shown, [Link(ORGANIZES, False, above)])
        made.links += self._shown(branch, first, last)
        return made

    def _holder(self, branch: Branch, position: int, wanted: tuple[int, int] | None) -> ua.NodeId | None:
        """What shows the range ``wanted``, or the child at a position; None when there is no such range."""
        bounds, holder = (1, len(branch.children)), self.id(branch.path)
        while bounds[1] - bounds[0] + 1 > CHILDREN_MAX:
            inner = next(one for one in ranges(*bounds) if one[0] <= position <= one[1]) if (
                bounds[0] <= position <= bounds[1]
            ) else None  # fmt: skip
            if inner is None or inner == wanted:
                return holder if inner is not None else None
            bounds, holder = inner, self.id(range_id(branch.path, *inner))
        return None if wanted is not None else holder

    def _to_parent(self, child: Branch | Symbol) -> Link:
        above = self.tree.branches[child.parent] if isinstance(child, Branch) else self.tree.parent_of(child)
        holder = self.id(above.path)
        if len(above.children) > CHILDREN_MAX:
            holder = self._holder(above, self._position(above, child.path), None) or holder
        return Link(self.types.reference(above, child), False, holder)

    def _position(self, branch: Branch, path: str) -> int:
        places = self._positions.get(branch.path)
        if places is None:
            places = {child.path: number for number, child in enumerate(branch.children, start=1)}
            self._positions[branch.path] = places
        return places[path]


def _variable_type(symbol: Symbol) -> ua.NodeId:
    """The type definition that says which properties an analogue value has (OPC 10000-8 §5.3)."""
    if symbol.type in _TEXTS or symbol.enum_values or variant_type(symbol) == ua.VariantType.DateTime:
        return VARIABLE_TYPE
    ranged = symbol.low is not None and symbol.high is not None
    if symbol.unit:
        return _ANALOG_UNIT_RANGE if ranged else _ANALOG_UNIT
    return _ANALOG if ranged else VARIABLE_TYPE
