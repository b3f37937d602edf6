"""What a node of our own part of the address space is, and how such nodes are put together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from asyncua import ua

_A = ua.AttributeIds
READ = ua.AccessLevel.CurrentRead.mask
WRITE = ua.AccessLevel.CurrentWrite.mask
HISTORY = ua.AccessLevel.HistoryRead.mask
NULL = ua.NodeId()


def standard(number: int) -> ua.NodeId:
    return ua.NodeId(number)


ORGANIZES = standard(ua.ObjectIds.Organizes)
HAS_COMPONENT = standard(ua.ObjectIds.HasComponent)
HAS_PROPERTY = standard(ua.ObjectIds.HasProperty)
HAS_TYPE = standard(ua.ObjectIds.HasTypeDefinition)
HAS_SUBTYPE = standard(ua.ObjectIds.HasSubtype)
HAS_ENCODING = standard(ua.ObjectIds.HasEncoding)
HAS_RULE = standard(ua.ObjectIds.HasModellingRule)
FOLDER_TYPE = standard(ua.ObjectIds.FolderType)
OBJECT_TYPE = standard(ua.ObjectIds.BaseObjectType)
VARIABLE_TYPE = standard(ua.ObjectIds.BaseDataVariableType)
PROPERTY_TYPE = standard(ua.ObjectIds.PropertyType)


class Link(NamedTuple):
    """A reference as its source sees it."""

    kind: ua.NodeId
    forward: bool
    target: ua.NodeId


class Face(NamedTuple):
    """What a reference tells of its target."""

    node_id: ua.NodeId
    node_class: ua.NodeClass
    name: ua.QualifiedName
    display: ua.LocalizedText
    type_definition: ua.NodeId


@dataclass(slots=True)
class Entry:
    """A node. ``value`` is that of a variable which is no tag; tags are read from the snapshot."""

    face: Face
    attributes: dict[ua.AttributeIds, ua.Variant]
    links: list[Link] = field(default_factory=list)
    value: ua.DataValue | None = None

    def attribute(self, number: ua.AttributeIds) -> ua.DataValue:
        if number == _A.Value and self.value is not None:
            return self.value
        found = self.attributes.get(number)
        if found is None:
            return ua.DataValue(StatusCode=ua.StatusCode(ua.StatusCodes.BadAttributeIdInvalid))
        return ua.DataValue(found)


def face(
    node_id: ua.NodeId, node_class: ua.NodeClass, name: str, type_definition: ua.NodeId, namespace: int
) -> Face:
    return Face(
        node_id, node_class, ua.QualifiedName(name, namespace), ua.LocalizedText(name), type_definition
    )


def entry(shown: Face, links: Iterable[Link] = (), description: str = "") -> Entry:
    """A node with the attributes that all classes have."""
    made = {
        _A.NodeId: ua.Variant(shown.node_id, ua.VariantType.NodeId),
        _A.NodeClass: ua.Variant(shown.node_class.value, ua.VariantType.Int32),
        _A.BrowseName: ua.Variant(shown.name, ua.VariantType.QualifiedName),
        _A.DisplayName: ua.Variant(shown.display, ua.VariantType.LocalizedText),
        _A.Description: ua.Variant(ua.LocalizedText(description or None), ua.VariantType.LocalizedText),
        _A.WriteMask: ua.Variant(0, ua.VariantType.UInt32),
        _A.UserWriteMask: ua.Variant(0, ua.VariantType.UInt32),
    }
    if shown.node_class == ua.NodeClass.Object:
        made[_A.EventNotifier] = ua.Variant(0, ua.VariantType.Byte)
    elif shown.node_class in (ua.NodeClass.ObjectType, ua.NodeClass.DataType):
        made[_A.IsAbstract] = ua.Variant(False, ua.VariantType.Boolean)
    elif shown.node_class == ua.NodeClass.Method:
        made[_A.Executable] = made[_A.UserExecutable] = ua.Variant(True, ua.VariantType.Boolean)
    found = list(links)
    if shown.type_definition != NULL:
        found.append(Link(HAS_TYPE, True, shown.type_definition))
    return Entry(shown, made, found)


def as_variable(
    made: Entry, data_type: ua.NodeId, *, lengths: tuple[int, ...] = (), level: int = READ, interval_ms: float = 0.0
) -> Entry:  # fmt: skip
    """Adds what a variable has besides; ``lengths`` are those of an array's dimensions."""
    made.attributes |= {
        _A.DataType: ua.Variant(data_type, ua.VariantType.NodeId),
        _A.ValueRank: ua.Variant(len(lengths) or -1, ua.VariantType.Int32),
        _A.ArrayDimensions: ua.Variant(list(lengths), ua.VariantType.UInt32, is_array=True),
        _A.AccessLevel: ua.Variant(level, ua.VariantType.Byte),
        _A.UserAccessLevel: ua.Variant(level, ua.VariantType.Byte),
        _A.MinimumSamplingInterval: ua.Variant(interval_ms, ua.VariantType.Double),
        _A.Historizing: ua.Variant(bool(level & HISTORY), ua.VariantType.Boolean),
        _A.AccessLevelEx: ua.Variant(level, ua.VariantType.UInt32),
    }
    return made


def scalar_property(shown: Face, parent: ua.NodeId, data_type: ua.NodeId, value: ua.Variant) -> Entry:
    made = as_variable(
        entry(shown, [Link(HAS_PROPERTY, False, parent)]), data_type,
        lengths=(len(value.Value),) if value.is_array else (),
    )  # fmt: skip
    made.value = ua.DataValue(value)
    return made
