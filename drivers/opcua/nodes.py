"""The address space of a node, made from its symbol table.

NodeIds are strings in the namespace ``urn:tickwork:<node>``: the symbol's path for a variable, the path of the
prefix for an instance or structure. They depend on nothing but the paths, so a rebuild or an online change never moves
them.
"""

from __future__ import annotations

from collections.abc import Sequence

from asyncua import ua

from scan.abi import Symbol

from .types import VARIANT_TYPE, can_serve

_OBJECTS = ua.NodeId(ua.ObjectIds.ObjectsFolder)
_ORGANIZES = ua.NodeId(ua.ObjectIds.Organizes)
_HAS_COMPONENT = ua.NodeId(ua.ObjectIds.HasComponent)
_HAS_PROPERTY = ua.NodeId(ua.ObjectIds.HasProperty)
_FOLDER_TYPE = ua.NodeId(ua.ObjectIds.FolderType)
_OBJECT_TYPE = ua.NodeId(ua.ObjectIds.BaseObjectType)
_VARIABLE_TYPE = ua.NodeId(ua.ObjectIds.BaseDataVariableType)
_ANALOG_TYPE = ua.NodeId(ua.ObjectIds.AnalogUnitRangeType)
_ANALOG_RANGE_TYPE = ua.NodeId(ua.ObjectIds.AnalogItemType)
_PROPERTY_TYPE = ua.NodeId(ua.ObjectIds.PropertyType)
_UNECE = "http://www.opcfoundation.org/UA/units/un/cefact"
GLOBALS = "Globals"

READ = ua.AccessLevel.CurrentRead.mask
READ_WRITE = READ | ua.AccessLevel.CurrentWrite.mask


def namespace_uri(node: str) -> str:
    return f"urn:tickwork:{node}"


def build(symbols: Sequence[Symbol], *, node: str, index: int) -> list[ua.AddNodesItem]:
    """Items in an order in which each parent comes before its children. Hidden symbols and references are left out."""
    root = ua.NodeId(node, index)
    items = [_object(root, _OBJECTS, node, index, _FOLDER_TYPE, _ORGANIZES)]
    known: dict[str, ua.NodeId] = {}
    for symbol in symbols:
        if not can_serve(symbol):
            continue
        *prefix, name = _segments(symbol)
        parent = root
        for depth, segment in enumerate(prefix, start=1):
            path = ".".join(prefix[:depth])
            if path not in known:
                known[path] = ua.NodeId(path, index)
                items.append(_object(known[path], parent, segment, index, _OBJECT_TYPE, _HAS_COMPONENT))
            parent = known[path]
        items += _variable(symbol, parent, name, index)
    return items


def _segments(symbol: Symbol) -> list[str]:
    parts = symbol.path.split(".")
    return parts if len(parts) > 1 else [GLOBALS, *parts]


def folder(identifier: str, parent: ua.NodeId, name: str, index: int) -> ua.AddNodesItem:
    """An object that holds variables."""
    return _object(ua.NodeId(identifier, index), parent, name, index, _OBJECT_TYPE, _HAS_COMPONENT)


def variable(
    identifier: str, parent: ua.NodeId, name: str, kind: ua.VariantType, unit: str, index: int
) -> ua.AddNodesItem:
    """A read-only scalar whose value asyncua keeps; none yet."""
    attributes = ua.VariableAttributes()
    attributes.DisplayName = ua.LocalizedText(name)
    attributes.Description = ua.LocalizedText(f"in {unit}" if unit else "")
    attributes.DataType = ua.NodeId(kind.value)
    attributes.ValueRank = ua.ValueRank.Scalar
    attributes.Value = ua.Variant(None, ua.VariantType.Null)
    attributes.AccessLevel = attributes.UserAccessLevel = READ
    node_id = ua.NodeId(identifier, index)
    return _item(
        node_id, parent, name, index, _HAS_COMPONENT, ua.NodeClass.Variable, attributes, _VARIABLE_TYPE
    )


def _object(
    node_id: ua.NodeId, parent: ua.NodeId, name: str, index: int, kind: ua.NodeId, reference: ua.NodeId
) -> ua.AddNodesItem:
    attributes = ua.ObjectAttributes()
    attributes.DisplayName = ua.LocalizedText(name)
    return _item(node_id, parent, name, index, reference, ua.NodeClass.Object, attributes, kind)


def _item(
    node_id: ua.NodeId,
    parent: ua.NodeId,
    name: str,
    index: int,
    reference: ua.NodeId,
    node_class: ua.NodeClass,
    attributes: object,
    kind: ua.NodeId,
) -> ua.AddNodesItem:
    item = ua.AddNodesItem()
    item.RequestedNewNodeId = node_id
    item.ParentNodeId = parent
    item.BrowseName = ua.QualifiedName(name, index)
    item.ReferenceTypeId = reference
    item.NodeClass = node_class
    item.NodeAttributes = attributes
    item.TypeDefinition = kind
    return item


def _variable(symbol: Symbol, parent: ua.NodeId, name: str, index: int) -> list[ua.AddNodesItem]:
    node_id = ua.NodeId(symbol.path, index)
    kind = VARIANT_TYPE[symbol.type]
    attributes = ua.VariableAttributes()
    attributes.DisplayName = ua.LocalizedText(name)
    attributes.Description = ua.LocalizedText(symbol.comment)
    attributes.DataType = ua.NodeId(kind.value)
    attributes.ValueRank = len(symbol.dims) or ua.ValueRank.Scalar
    attributes.ArrayDimensions = [high - low + 1 for low, high in symbol.dims]
    # The value stays in the scan's snapshot; asyncua only needs to see the attribute.
    attributes.Value = ua.Variant(None, ua.VariantType.Null)
    level = READ_WRITE if symbol.access == "rw" else READ
    attributes.AccessLevel = attributes.UserAccessLevel = level
    ranged = symbol.low is not None and symbol.high is not None
    variable_type = _VARIABLE_TYPE
    if not symbol.dims and symbol.unit:
        variable_type = _ANALOG_TYPE if ranged else _VARIABLE_TYPE
    elif ranged and not symbol.dims:
        variable_type = _ANALOG_RANGE_TYPE
    items = [
        _item(node_id, parent, name, index, _HAS_COMPONENT, ua.NodeClass.Variable, attributes, variable_type)
    ]
    if ranged:
        value = ua.Variant(ua.Range(Low=float(symbol.low or 0.0), High=float(symbol.high or 0.0)))
        items.append(_property(node_id, symbol.path, "EURange", ua.ObjectIds.Range, value, index))
    if symbol.unit:
        value = ua.Variant(_unit(symbol.unit))
        items.append(
            _property(node_id, symbol.path, "EngineeringUnits", ua.ObjectIds.EUInformation, value, index)
        )
    if symbol.enum_values:
        strings = [
            ua.EnumValueType(Value=number, DisplayName=ua.LocalizedText(text))
            for text, number in symbol.enum_values
        ]
        value = ua.Variant(strings, ua.VariantType.ExtensionObject)
        items.append(
            _property(
                node_id, symbol.path, "EnumValues", ua.ObjectIds.EnumValueType, value, index, array=True
            )
        )
    return items


def _property(
    parent: ua.NodeId,
    path: str,
    name: str,
    data_type: int,
    value: ua.Variant,
    index: int,
    *,
    array: bool = False,
) -> ua.AddNodesItem:
    attributes = ua.VariableAttributes()
    attributes.DisplayName = ua.LocalizedText(name)
    attributes.DataType = ua.NodeId(data_type)
    attributes.ValueRank = ua.ValueRank.OneDimension if array else ua.ValueRank.Scalar
    attributes.Value = value
    attributes.AccessLevel = attributes.UserAccessLevel = READ
    node_id = ua.NodeId(f"{path}/{name}", index)
    return _item(node_id, parent, name, 0, _HAS_PROPERTY, ua.NodeClass.Variable, attributes, _PROPERTY_TYPE)


# UN/CEFACT Recommendation 20 codes of units that plants use most; the id is the code's characters as a number
# (OPC 10000-8 §5.6.4.3).
_UNIT_CODES = {
    "%": "P1", "°C": "CEL", "K": "KEL", "°F": "FAH", "bar": "BAR", "mbar": "MBR", "Pa": "PAL",
    "kPa": "KPA", "l": "LTR", "m3": "MTQ", "m³": "MTQ", "l/s": "G51", "l/min": "L2", "m3/h": "MQH",
    "m³/h": "MQH", "m": "MTR", "mm": "MMT", "cm": "CMT", "s": "SEC", "ms": "C26", "min": "MIN",
    "h": "HUR", "A": "AMP", "mA": "4K", "V": "VLT", "mV": "2Z", "W": "WTT", "kW": "KWT", "kWh": "KWH",
    "Hz": "HTZ", "kg": "KGM", "g": "GRM", "t": "TNE", "N": "NEW", "Nm": "NU", "rpm": "RPM",
    "1/min": "RPM", "m/s": "MTS",
}  # fmt: skip


def _unit(text: str) -> ua.EUInformation:
    code = _UNIT_CODES.get(text, "")
    number = 0
    for character in code:
        number = number << 8 | ord(character)
    return ua.EUInformation(
        NamespaceUri=_UNECE if code else "",
        UnitId=number if code else -1,
        DisplayName=ua.LocalizedText(text),
        Description=ua.LocalizedText(text),
    )
