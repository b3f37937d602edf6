"""The nodes of two companion models that our address space refers to: types, their declarations, reference types.

Sources: OPC 10000-100 (*Devices*, namespace DI) and OPC 30000 1.02 (*OPC UA Information Model for IEC 61131-3*,
namespace PLC). Names and numbers are theirs; only what a program is made of is here, therefore both are declared as
subsets.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from asyncua import ua

DI_URI = "http://opcfoundation.org/UA/DI/"
PLC_URI = "http://PLCopen.org/OpcUa/IEC61131-3/"

Key = tuple[str, int]  # ("ua" | "di" | "plc", number)

_MANDATORY, _OPTIONAL = 78, 80
_OPTIONAL_PLACEHOLDER, _MANDATORY_PLACEHOLDER = 11508, 11510
_COMPONENT, _PROPERTY, _SUBTYPE, _ORGANIZES = ("ua", 47), ("ua", 46), ("ua", 45), ("ua", 35)
_TEXT, _LOCALIZED, _INT32, _UINT32 = ("ua", 12), ("ua", 21), ("ua", 6), ("ua", 7)

DEVICE_SET: Key = ("di", 5001)
CONFIGURABLE: Key = ("di", 1004)
GROUP: Key = ("di", 1005)
CONFIGURATION, RESOURCE, PROGRAM, BLOCK, TASK = (("plc", number) for number in (1001, 1002, 1004, 1005, 1006))
HAS_VAR: dict[str, Key] = {
    "input": ("plc", 4001),
    "output": ("plc", 4002),
    "inout": ("plc", 4003),
    "": ("plc", 4004),
}
WITH: Key = ("plc", 4006)


@dataclass(frozen=True, slots=True)
class _Type:
    """A type: (namespace, number), name, supertype."""

    key: Key
    name: str
    base: Key
    node_class: ua.NodeClass = ua.NodeClass.ObjectType
    abstract: bool = False
    inverse: str = ""  # of a reference type


_REFERENCE, _DATA = ua.NodeClass.ReferenceType, ua.NodeClass.DataType
_TYPES = (
    _Type(("di", 1001), "TopologyElementType", ("ua", 58), abstract=True),
    _Type(("di", 15063), "ComponentType", ("di", 1001), abstract=True),
    _Type(("di", 1002), "DeviceType", ("di", 15063), abstract=True),
    _Type(("di", 1003), "BlockType", ("di", 1001), abstract=True),
    _Type(CONFIGURABLE, "ConfigurableObjectType", ("ua", 58)),
    _Type(GROUP, "FunctionalGroupType", ("ua", 61)),
    _Type(CONFIGURATION, "CtrlConfigurationType", ("di", 1001)),
    _Type(RESOURCE, "CtrlResourceType", ("di", 1002)),
    _Type(("plc", 1003), "CtrlProgramOrganizationUnitType", ("di", 1003), abstract=True),
    _Type(PROGRAM, "CtrlProgramType", ("plc", 1003), abstract=True),
    _Type(BLOCK, "CtrlFunctionBlockType", ("plc", 1003), abstract=True),
    _Type(TASK, "CtrlTaskType", ("ua", 58)),
    _Type(("plc", 1007), "SFCType", ("ua", 58)),
    _Type(("plc", 4001), "HasInputVar", ("ua", 47), _REFERENCE, inverse="InputVarOf"),
    _Type(("plc", 4002), "HasOutputVar", ("ua", 47), _REFERENCE, inverse="OutputVarOf"),
    _Type(("plc", 4003), "HasInOutVar", ("ua", 47), _REFERENCE, inverse="InOutVarOf"),
    _Type(("plc", 4004), "HasLocalVar", ("ua", 47), _REFERENCE, inverse="LocalVarOf"),
    _Type(("plc", 4005), "HasExternalVar", ("ua", 35), _REFERENCE, inverse="ExternalVarOf"),
    _Type(WITH, "With", ("ua", 32), _REFERENCE, inverse="Executes"),
    *(
        _Type(("plc", number), name, ("ua", base), _DATA)
        for number, name, base in (
            (3001, "BYTE", 3), (3002, "WORD", 5), (3003, "DWORD", 7), (3004, "LWORD", 9), (3005, "TIME", 8),
            (3006, "LTIME", 8), (3007, "DATE", 13), (3008, "TOD", 7), (3009, "LTOD", 8), (3010, "DT", 13),
            (3011, "CHAR", 3), (3012, "WCHAR", 5), (3013, "STRING", 12), (3014, "LDATE", 8), (3015, "LDT", 8),
        )
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Member:
    """An instance declaration of a type, or a well-known object."""

    key: Key
    name: str
    parent: Key
    reference: Key = _COMPONENT
    kind: Key = ("ua", 58)  # type definition
    rule: int = _OPTIONAL
    data_type: Key | None = None  # of a variable


def _property(number: int, name: str, parent: Key, data_type: Key, rule: int = _MANDATORY) -> _Member:
    return _Member((parent[0], number), name, parent, _PROPERTY, ("ua", 68), rule, data_type)


_MEMBERS = (
    _Member(DEVICE_SET, "DeviceSet", ("ua", 85), _ORGANIZES, rule=0),
    _Member(("di", 5002), "ParameterSet", ("di", 1001)),
    _Member(("di", 5003), "MethodSet", ("di", 1001)),
    _Member(("di", 6014), "Identification", ("di", 1001), kind=GROUP),
    _property(6003, "Manufacturer", ("di", 1002), _LOCALIZED),
    _property(6004, "Model", ("di", 1002), _LOCALIZED),
    _property(6008, "HardwareRevision", ("di", 1002), _TEXT),
    _property(6007, "SoftwareRevision", ("di", 1002), _TEXT),
    _property(6006, "DeviceRevision", ("di", 1002), _TEXT),
    _property(6005, "DeviceManual", ("di", 1002), _TEXT),
    _property(6001, "SerialNumber", ("di", 1002), _TEXT),
    _property(6002, "RevisionCounter", ("di", 1002), _INT32),
    _property(6009, "RevisionCounter", ("di", 1003), _INT32, _OPTIONAL),
    _Member(("di", 5004), "SupportedTypes", CONFIGURABLE, kind=("ua", 61), rule=_MANDATORY),
    _Member(("plc", 5002), "MethodSet", CONFIGURATION),
    _Member(("plc", 5004), "Resources", CONFIGURATION, kind=CONFIGURABLE, rule=_MANDATORY),
    _Member(("plc", 5006), "GlobalVars", CONFIGURATION, kind=GROUP),
    _Member(("plc", 5010), "Status", CONFIGURATION, kind=GROUP),
    _Member(("plc", 5012), "MethodSet", RESOURCE),
    _Member(("plc", 5014), "Tasks", RESOURCE, kind=CONFIGURABLE, rule=_MANDATORY),
    _Member(("plc", 5016), "Programs", RESOURCE, kind=CONFIGURABLE, rule=_MANDATORY),
    _Member(("plc", 5018), "GlobalVars", RESOURCE, kind=GROUP),
    _Member(("plc", 5020), "Status", RESOURCE, kind=GROUP),
    _property(6004, "Priority", TASK, _UINT32),
    _property(6005, "Interval", TASK, _TEXT, _OPTIONAL),
    _property(6006, "Single", TASK, _TEXT, _OPTIONAL),
)

# Version and publication date of the models, for the metadata under Server/Namespaces.
_METADATA = (
    ("di", 15001, DI_URI, "1.04.0", datetime.datetime(2022, 11, 3, tzinfo=datetime.UTC)),
    ("plc", 15001, PLC_URI, "1.02", datetime.datetime(2020, 11, 25, tzinfo=datetime.UTC)),
)


class Companion:
    """The two models at the namespace indexes that this server gave them."""

    def __init__(self, di: int, plc: int) -> None:
        self._index = {"ua": 0, "di": di, "plc": plc}

    def node_id(self, key: Key) -> ua.NodeId:
        return ua.NodeId(key[1], self._index[key[0]])

    def name(self, key: Key, text: str) -> ua.QualifiedName:
        return ua.QualifiedName(text, self._index[key[0]])

    def items(self) -> list[ua.AddNodesItem]:
        """All nodes, each after its parent."""
        metadata = [item for entry in _METADATA for item in self._metadata(*entry)]
        return [
            *(self._type(entry) for entry in _TYPES),
            *(self._member(entry) for entry in _MEMBERS),
            *metadata,
        ]

    def rules(self) -> list[ua.AddReferencesItem]:
        """The modelling rules of the declarations (OPC 10000-3 §6.4.4)."""
        return [
            ua.AddReferencesItem(
                SourceNodeId=self.node_id(entry.key),
                ReferenceTypeId=ua.NodeId(ua.ObjectIds.HasModellingRule),
                IsForward=True,
                TargetNodeId=ua.NodeId(entry.rule),
                TargetNodeClass=ua.NodeClass.Object,
            )
            for entry in _MEMBERS
            if entry.rule
        ]

    def _item(
        self, key: Key, parent: Key, reference: Key, name: str, node_class: ua.NodeClass
    ) -> ua.AddNodesItem:
        item = ua.AddNodesItem()
        item.RequestedNewNodeId = self.node_id(key)
        item.ParentNodeId = self.node_id(parent)
        item.ReferenceTypeId = self.node_id(reference)
        item.BrowseName = self.name(key, name)
        item.NodeClass = node_class
        return item

    def _type(self, entry: _Type) -> ua.AddNodesItem:
        item = self._item(entry.key, entry.base, _SUBTYPE, entry.name, entry.node_class)
        made = {
            ua.NodeClass.ObjectType: ua.ObjectTypeAttributes,
            _REFERENCE: ua.ReferenceTypeAttributes,
            _DATA: ua.DataTypeAttributes,
        }[entry.node_class]
        item.NodeAttributes = made()
        item.NodeAttributes.DisplayName = ua.LocalizedText(entry.name)
        item.NodeAttributes.IsAbstract = entry.abstract
        if entry.inverse:
            item.NodeAttributes.InverseName = ua.LocalizedText(entry.inverse)
            item.NodeAttributes.Symmetric = False
        return item

    def _member(self, entry: _Member) -> ua.AddNodesItem:
        variable = entry.data_type is not None
        node_class = ua.NodeClass.Variable if variable else ua.NodeClass.Object
        item = self._item(entry.key, entry.parent, entry.reference, entry.name, node_class)
        item.TypeDefinition = self.node_id(entry.kind)
        item.NodeAttributes = ua.VariableAttributes() if variable else ua.ObjectAttributes()
        item.NodeAttributes.DisplayName = ua.LocalizedText(entry.name)
        if entry.data_type is not None:
            item.NodeAttributes.DataType = self.node_id(entry.data_type)
            item.NodeAttributes.ValueRank = ua.ValueRank.Scalar
        return item

    def _metadata(
        self, space: str, number: int, uri: str, version: str, published: datetime.datetime
    ) -> list[ua.AddNodesItem]:
        key = (space, number)
        head = self._item(key, ("ua", ua.ObjectIds.Server_Namespaces), _COMPONENT, uri, ua.NodeClass.Object)
        head.TypeDefinition = ua.NodeId(ua.ObjectIds.NamespaceMetadataType)
        head.NodeAttributes = ua.ObjectAttributes()
        head.NodeAttributes.DisplayName = ua.LocalizedText(uri)
        values = (
            ("NamespaceUri", _TEXT, ua.Variant(uri, ua.VariantType.String)),
            ("NamespaceVersion", _TEXT, ua.Variant(version, ua.VariantType.String)),
            ("NamespacePublicationDate", ("ua", 13), ua.Variant(published, ua.VariantType.DateTime)),
            ("IsNamespaceSubset", ("ua", 1), ua.Variant(True, ua.VariantType.Boolean)),
        )
        made = [head]
        for offset, (name, data_type, value) in enumerate(values, start=1):
            item = self._item((space, number + offset), key, _PROPERTY, name, ua.NodeClass.Variable)
            item.BrowseName = ua.QualifiedName(name, 0)
            item.TypeDefinition = ua.NodeId(ua.ObjectIds.PropertyType)
            item.NodeAttributes = ua.VariableAttributes()
            item.NodeAttributes.DisplayName = ua.LocalizedText(name)
            item.NodeAttributes.DataType = self.node_id(data_type)
            item.NodeAttributes.ValueRank = ua.ValueRank.Scalar
            item.NodeAttributes.Value = value
            made.append(item)
        return made
