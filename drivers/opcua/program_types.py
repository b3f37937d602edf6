"""Types of a program in the address space: blocks as object types, structures and enumerations as data types."""

from __future__ import annotations

from collections.abc import Iterator

from asyncua import ua

from scan.abi import Symbol

from .companion import BLOCK, HAS_VAR, PROGRAM, Companion
from .entries import (
    FOLDER_TYPE,
    HAS_COMPONENT,
    HAS_ENCODING,
    HAS_PROPERTY,
    HAS_RULE,
    HAS_SUBTYPE,
    NULL,
    OBJECT_TYPE,
    ORGANIZES,
    PROPERTY_TYPE,
    VARIABLE_TYPE,
    Entry,
    Face,
    Link,
    as_variable,
    entry,
    face,
    scalar_property,
    standard,
)
from .tree import Branch, Tree, child_name
from .types import PLC_DATA_TYPE, is_enumeration, variant_type

TYPES = "/Types"
_A = ua.AttributeIds
_STRUCTURE, _ENUMERATION = standard(ua.ObjectIds.Structure), standard(ua.ObjectIds.Enumeration)
_MANDATORY = standard(ua.ObjectIds.ModellingRule_Mandatory)
_ENCODING_TYPE = standard(ua.ObjectIds.DataTypeEncodingType)


def element_name(symbol: Symbol) -> str:
    """The declared type of a variable, of its elements if it is an array."""
    return symbol.type_name.partition(" OF ")[2] if symbol.dims else symbol.type_name


class ProgramTypes:
    """The types that a tree's variables have. Identifiers: ``/Types/NAME`` and, below, members and encodings."""

    def __init__(self, tree: Tree, companion: Companion, index: int) -> None:
        self._tree = tree
        self._companion = companion
        self._index = index
        self.blocks: dict[str, Branch] = {}
        self.structures: dict[str, Branch] = {}
        self.enumerations: dict[str, tuple[tuple[str, int], ...]] = {}
        self._members: dict[str, dict[str, Branch | Symbol]] = {}
        for branch in tree.branches.values():
            if branch.kind in ("program", "block") and branch.type_name:
                self.blocks.setdefault(branch.type_name, branch)
            elif branch.kind == "struct" and branch.path in tree.served_structures:
                self.structures.setdefault(branch.type_name, branch)
        for symbol in tree.symbols.values():
            if symbol.enum_values and is_enumeration(symbol) and (name := element_name(symbol)):
                self.enumerations.setdefault(name, symbol.enum_values)

    def id(self, *parts: str) -> ua.NodeId:
        return ua.NodeId("/".join((TYPES, *parts)), self._index)

    def encoding(self, name: str) -> ua.NodeId:
        return self.id(name, "Binary")

    # ---------------------------------------------------------------- what variables refer to

    def of_symbol(self, symbol: Symbol) -> ua.NodeId:
        """DataType of a variable."""
        if is_enumeration(symbol):
            name = element_name(symbol)
            return self.id(name) if name in self.enumerations else _ENUMERATION
        if symbol.type in PLC_DATA_TYPE:
            return self._companion.node_id(("plc", PLC_DATA_TYPE[symbol.type]))
        return standard(variant_type(symbol).value)

    def of_branch(self, branch: Branch) -> ua.NodeId:
        """Type definition of an object, or DataType of a structure."""
        if branch.path in self._tree.served_structures:
            return self.id(branch.element)
        if branch.kind in ("program", "block") and branch.type_name in self.blocks:
            return self.id(branch.type_name)
        return FOLDER_TYPE if branch.kind in ("folder", "array") else OBJECT_TYPE

    def reference(self, parent: Branch, child: Branch | Symbol) -> ua.NodeId:
        """How a parent refers to what it holds: by direction in a block, as component elsewhere."""
        if parent.kind not in ("program", "block"):
            return HAS_COMPONENT
        return self._companion.node_id(HAS_VAR.get(child.direction, HAS_VAR[""]))

    # ---------------------------------------------------------------- nodes

    def subtypes(self) -> Iterator[tuple[ua.NodeId, Link]]:
        """(standard or companion type, link to one of ours)."""
        for name, branch in self.blocks.items():
            base = PROGRAM if branch.kind == "program" else BLOCK
            yield self._companion.node_id(base), Link(HAS_SUBTYPE, True, self.id(name))
        for name in self.structures:
            yield _STRUCTURE, Link(HAS_SUBTYPE, True, self.id(name))
        for name in self.enumerations:
            yield _ENUMERATION, Link(HAS_SUBTYPE, True, self.id(name))

    def face(self, parts: list[str]) -> Face | None:
        """``parts`` is the identifier behind ``/Types/``; None when there is no such type."""
        made = self.entry(parts)
        return made.face if made is not None else None

    def entry(self, parts: list[str]) -> Entry | None:
        name, *rest = parts
        if len(rest) > 1:
            return None
        if name in self.blocks:
            return self._member(name, rest[0]) if rest else self._block(name)
        if name in self.structures:
            return self._encoding(name, rest[0]) if rest else self._structure(name)
        if name in self.enumerations:
            return self._strings(name, rest[0]) if rest else self._enumeration(name)
        return None

    def _face(self, node_id: ua.NodeId, node_class: ua.NodeClass, name: str, kind: ua.NodeId = NULL) -> Face:
        return face(node_id, node_class, name, kind, self._index)

    def _block(self, name: str) -> Entry:
        branch = self.blocks[name]
        base = self._companion.node_id(PROGRAM if branch.kind == "program" else BLOCK)
        links = [Link(HAS_SUBTYPE, False, base)]
        for child in branch.children:
            links.append(Link(self.reference(branch, child), True, self.id(name, child_name(child))))
        supported = ua.NodeId("/Resource/Programs/SupportedTypes", self._index)
        if branch.kind == "program":
            links.append(Link(ORGANIZES, False, supported))
        return entry(self._face(self.id(name), ua.NodeClass.ObjectType, name), links)

    def _member(self, name: str, member: str) -> Entry | None:
        """An instance declaration: what each instance of the block has."""
        branch = self.blocks[name]
        members = self._members.get(name)
        if members is None:
            members = self._members[name] = {child_name(one): one for one in branch.children}
        child = members.get(member)
        if child is None:
            return None
        node_id = self.id(name, member)
        links = [
            Link(self.reference(branch, child), False, self.id(name)),
            Link(HAS_RULE, True, _MANDATORY),
        ]
        if isinstance(child, Branch) and child.path not in self._tree.served_structures:
            return entry(self._face(node_id, ua.NodeClass.Object, member, self.of_branch(child)), links)
        made = entry(self._face(node_id, ua.NodeClass.Variable, member, VARIABLE_TYPE), links)
        made.value = ua.DataValue(StatusCode=ua.StatusCode(ua.StatusCodes.BadWaitingForInitialData))
        data_type = self.of_branch(child) if isinstance(child, Branch) else self.of_symbol(child)
        return as_variable(made, data_type, lengths=lengths(child.dims))

    def _structure(self, name: str) -> Entry:
        links = [
            Link(HAS_SUBTYPE, False, _STRUCTURE),
            Link(HAS_ENCODING, True, self.encoding(name)),
        ]
        made = entry(self._face(self.id(name), ua.NodeClass.DataType, name), links)
        definition = ua.StructureDefinition()
        definition.DefaultEncodingId = self.encoding(name)
        definition.BaseDataType = _STRUCTURE
        definition.StructureType = ua.StructureType.Structure
        definition.Fields = [self._field(child) for child in self.structures[name].children]
        made.attributes[_A.DataTypeDefinition] = ua.Variant(definition, ua.VariantType.ExtensionObject)
        return made

    def _field(self, child: Branch | Symbol) -> ua.StructureField:
        one = ua.StructureField()
        one.Name = child_name(child)
        one.Description = ua.LocalizedText(child.comment or None)
        one.DataType = self.of_branch(child) if isinstance(child, Branch) else self.of_symbol(child)
        # Several dimensions travel as one list in a structure: see ``structures``.
        one.ValueRank = ua.ValueRank.OneDimension if child.dims else ua.ValueRank.Scalar
        one.ArrayDimensions = []
        one.MaxStringLength = child.length if isinstance(child, Symbol) else 0
        one.IsOptional = False
        return one

    def _encoding(self, name: str, what: str) -> Entry | None:
        if what != "Binary":
            return None
        shown = face(self.encoding(name), ua.NodeClass.Object, "Default Binary", _ENCODING_TYPE, 0)
        return entry(shown, [Link(HAS_ENCODING, False, self.id(name))])

    def _enumeration(self, name: str) -> Entry:
        values = self.enumerations[name]
        links = [
            Link(HAS_SUBTYPE, False, _ENUMERATION),
            Link(HAS_PROPERTY, True, self.id(name, _strings_name(values))),
        ]
        made = entry(self._face(self.id(name), ua.NodeClass.DataType, name), links)
        definition = ua.EnumDefinition()
        for text, number in values:
            one = ua.EnumField()
            one.Value, one.Name = number, text
            one.DisplayName, one.Description = ua.LocalizedText(text), ua.LocalizedText()
            definition.Fields.append(one)
        made.attributes[_A.DataTypeDefinition] = ua.Variant(definition, ua.VariantType.ExtensionObject)
        return made

    def _strings(self, name: str, what: str) -> Entry | None:
        values = self.enumerations[name]
        if what != _strings_name(values):
            return None
        return enumeration_property(self.id(name, what), self.id(name), values)


def _strings_name(values: tuple[tuple[str, int], ...]) -> str:
    """EnumStrings only for values that count from zero (OPC 10000-3 §8.40.3)."""
    return "EnumStrings" if [number for _, number in values] == list(range(len(values))) else "EnumValues"


def enumeration_property(node_id: ua.NodeId, parent: ua.NodeId, values: tuple[tuple[str, int], ...]) -> Entry:
    name = _strings_name(values)
    shown = face(node_id, ua.NodeClass.Variable, name, PROPERTY_TYPE, 0)
    if name == "EnumStrings":
        texts = [ua.LocalizedText(text) for text, _ in values]
        value = ua.Variant(texts, ua.VariantType.LocalizedText, is_array=True)
        return scalar_property(shown, parent, standard(ua.ObjectIds.LocalizedText), value)
    pairs = [ua.EnumValueType(Value=number, DisplayName=ua.LocalizedText(text)) for text, number in values]
    value = ua.Variant(pairs, ua.VariantType.ExtensionObject, is_array=True)
    return scalar_property(shown, parent, standard(ua.ObjectIds.EnumValueType), value)


def strings_name(symbol: Symbol) -> str:
    """The property that names the values of a variable whose enumeration has no name of its own, "" for others."""
    nameless = symbol.enum_values and (not is_enumeration(symbol) or not element_name(symbol))
    return _strings_name(symbol.enum_values) if nameless else ""


def lengths(dims: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    return tuple(high - low + 1 for low, high in dims)
