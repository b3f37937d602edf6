"""The address space: asyncua's store for the standard and companion models, and our own nodes, made when asked for."""

from __future__ import annotations

from collections.abc import Iterator

from asyncua import ua
from asyncua.server.address_space import AddressSpace

from .companion import DI_URI, PLC_URI, Companion
from .entries import HAS_SUBTYPE, HAS_TYPE, NULL, Entry, Face, Link
from .fixed import FixedNodes
from .program_nodes import ProgramNodes
from .tags import Tags
from .tree import Tree

_A = ua.AttributeIds
URIS = (DI_URI, PLC_URI)


class Space(AddressSpace):
    """``tags`` gives the values of variables; ``program`` and ``fixed`` are exchanged when the program is."""

    def __init__(self, tags: Tags) -> None:
        super().__init__()
        self.tags = tags
        self.companion = Companion(0, 0)
        self.program = ProgramNodes(Tree((), ()), self.companion, 0)
        self.fixed = FixedNodes(self.companion, 0)
        self._extra: dict[ua.NodeId, list[Link]] = {}
        self._faces: dict[ua.NodeId, Face] = {}
        self._subtypes: dict[ua.NodeId, frozenset[ua.NodeId]] = {}

    def exchange(self, program: ProgramNodes, fixed: FixedNodes) -> None:
        """Other nodes of ours from now on."""
        self.program, self.fixed = program, fixed
        self._extra = {}
        self._subtypes = {}
        for source, link in [*fixed.extra, *program.types.subtypes()]:
            self._extra.setdefault(source, []).append(link)
        supported = "/Resource/Programs/SupportedTypes"
        if (folder := fixed.entries.get(supported)) is not None:
            organizes = ua.NodeId(ua.ObjectIds.Organizes)
            programs = [name for name, one in program.types.blocks.items() if one.kind == "program"]
            folder.links += [Link(organizes, True, program.types.id(name)) for name in programs]

    # ---------------------------------------------------------------- nodes

    def _identifier(self, node_id: ua.NodeId) -> str | None:
        own = node_id.NamespaceIndex == self.tags.index and isinstance(node_id.Identifier, str)
        return str(node_id.Identifier) if own else None

    def entry(self, node_id: ua.NodeId) -> Entry | None:
        """A node of ours."""
        identifier = self._identifier(node_id)
        if identifier is None:
            return None
        return self.fixed.entries.get(identifier) or self.program.entry(identifier)

    def __contains__(self, node_id: ua.NodeId) -> bool:
        identifier = self._identifier(node_id)
        if identifier is None:
            return bool(super().__contains__(node_id))
        return identifier in self.fixed.entries or self.program.has(identifier)

    def links(self, node_id: ua.NodeId) -> Iterator[Link]:
        """The references of a node in both directions; none of an unknown one."""
        found = self.entry(node_id)
        if found is not None:
            yield from found.links
        elif (data := self.get(node_id)) is not None:
            for reference in data.references:
                yield Link(reference.ReferenceTypeId, bool(reference.IsForward), reference.NodeId)
            yield from self._extra.get(node_id, ())

    def face(self, node_id: ua.NodeId) -> Face | None:
        identifier = self._identifier(node_id)
        if identifier is None:
            return self._standard_face(node_id)
        fixed = self.fixed.entries.get(identifier)
        return fixed.face if fixed is not None else self.program.face(identifier)

    def _standard_face(self, node_id: ua.NodeId) -> Face | None:
        found = self._faces.get(node_id)
        data = self.get(node_id) if found is None else None
        if data is None:
            return found

        def attribute(number: ua.AttributeIds) -> object:
            held = data.attributes[number].value
            return held.Value.Value if held is not None and held.Value is not None else None

        kinds = (one.NodeId for one in data.references if one.IsForward and one.ReferenceTypeId == HAS_TYPE)
        made = Face(
            node_id, ua.NodeClass(attribute(_A.NodeClass)), attribute(_A.BrowseName), attribute(_A.DisplayName),
            next(kinds, NULL),
        )  # fmt: skip
        self._faces[node_id] = made
        return made

    # ---------------------------------------------------------------- types

    def subtypes(self, node_id: ua.NodeId) -> frozenset[ua.NodeId]:
        """A type of the standard or companion models and all that derive from it there."""
        found = self._subtypes.get(node_id)
        if found is None:
            below = [link.target for link in self.links(node_id) if link.forward and link.kind == HAS_SUBTYPE]
            found = frozenset({node_id}).union(*(self.subtypes(one) for one in below))
            self._subtypes[node_id] = found
        return found

    # ---------------------------------------------------------------- attributes

    def read_attribute_value(self, nodeid: ua.NodeId, attr: ua.AttributeIds) -> ua.DataValue:
        if self._identifier(nodeid) is None:
            return super().read_attribute_value(nodeid, attr)
        if attr == _A.Value:
            value = self.tags.read(nodeid)
            if value is not None:
                return value
        found = self.entry(nodeid)
        if found is None:
            return ua.DataValue(StatusCode=ua.StatusCode(ua.StatusCodes.BadNodeIdUnknown))
        return found.attribute(attr)
