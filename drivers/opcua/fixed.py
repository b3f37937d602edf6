"""The nodes that every program has: configuration, resource, tasks, the object ``Node``, methods.

Identifiers begin with ``/``, which no path of a variable does. Values are replaced in place; whoever monitors them
samples.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from asyncua import ua

from scan.abi import TaskSpec

from .companion import CONFIGURABLE, CONFIGURATION, DEVICE_SET, GROUP, RESOURCE, TASK, Companion, Key
from .entries import (
    FOLDER_TYPE,
    HAS_COMPONENT,
    HAS_PROPERTY,
    NULL,
    OBJECT_TYPE,
    ORGANIZES,
    PROPERTY_TYPE,
    VARIABLE_TYPE,
    Entry,
    Link,
    as_variable,
    entry,
    face,
    scalar_property,
    standard,
)
from .program_nodes import TASK_FOLDER
from .tree import GLOBALS, PROGRAMS

ROOT = "/Configuration"
RESOURCES = f"{ROOT}/Resources"
RESOURCE_ID = "/Resource"
SUPPORTED_POUS = f"{PROGRAMS}/SupportedTypes"
NODE = "/Node"
INTERVAL_MS = 1000.0
_OBJECTS = standard(ua.ObjectIds.ObjectsFolder)
_TEXT = standard(ua.ObjectIds.String)


@dataclass(frozen=True, slots=True)
class Identity:
    """What the nameplate of the resource says (OPC 10000-100 §5.3)."""

    node: str
    model: str = "Tickwork"
    version: str = ""
    revision: int = 0


class FixedNodes:
    """Entries by identifier; ``extra`` links from nodes of the standard and the companion models to ours."""

    def __init__(self, companion: Companion, index: int) -> None:
        self.companion = companion
        self.index = index
        self.entries: dict[str, Entry] = {}
        self.extra: list[tuple[ua.NodeId, Link]] = []

    def id(self, identifier: str) -> ua.NodeId:
        return ua.NodeId(identifier, self.index)

    def attach(self, parent: ua.NodeId, reference: ua.NodeId, target: ua.NodeId) -> None:
        """A link from a parent to one of our nodes."""
        if parent.NamespaceIndex == self.index and str(parent.Identifier) in self.entries:
            self.entries[str(parent.Identifier)].links.append(Link(reference, True, target))
        else:
            self.extra.append((parent, Link(reference, True, target)))

    def add_object(
        self,
        identifier: str,
        name: str,
        parent: ua.NodeId,
        *,
        kind: ua.NodeId = OBJECT_TYPE,
        reference: ua.NodeId = HAS_COMPONENT,
        namespace: int | None = None,
        description: str = "",
    ) -> Entry:
        node_id = self.id(identifier)
        space = self.index if namespace is None else namespace
        shown = face(node_id, ua.NodeClass.Object, name, kind, space)
        made = entry(shown, [Link(reference, False, parent)], description)
        self.entries[identifier] = made
        self.attach(parent, reference, node_id)
        return made

    def add_variable(
        self, identifier: str, parent: str, name: str, value: ua.Variant, unit: str = ""
    ) -> Entry:
        """A read-only scalar or list that is brought up to date from outside."""
        shown = face(self.id(identifier), ua.NodeClass.Variable, name, VARIABLE_TYPE, self.index)
        made = entry(shown, [Link(HAS_COMPONENT, False, self.id(parent))], f"in {unit}" if unit else "")
        sizes = (0,) if value.is_array else ()
        as_variable(made, standard(value.VariantType.value), lengths=sizes, interval_ms=INTERVAL_MS)
        made.value = ua.DataValue(value)
        self.entries[identifier] = made
        self.attach(self.id(parent), HAS_COMPONENT, self.id(identifier))
        return made

    def add_property(
        self, parent: str, name: str, data_type: ua.NodeId, value: ua.Variant, namespace: int = 0
    ) -> Entry:
        identifier = f"{parent}/{name}"
        shown = face(self.id(identifier), ua.NodeClass.Variable, name, PROPERTY_TYPE, namespace)
        made = scalar_property(shown, self.id(parent), data_type, value)
        self.entries[identifier] = made
        self.attach(self.id(parent), HAS_PROPERTY, self.id(identifier))
        return made

    def add_method(
        self,
        identifier: str,
        parent: str,
        name: str,
        inputs: Sequence[ua.Argument],
        description: str,
        namespace: int | None = None,
    ) -> None:
        space = self.index if namespace is None else namespace
        shown = face(self.id(identifier), ua.NodeClass.Method, name, NULL, space)
        self.entries[identifier] = entry(shown, [Link(HAS_COMPONENT, False, self.id(parent))], description)
        self.attach(self.id(parent), HAS_COMPONENT, self.id(identifier))
        if inputs:
            value = ua.Variant(list(inputs), ua.VariantType.ExtensionObject, is_array=True)
            self.add_property(identifier, "InputArguments", standard(ua.ObjectIds.Argument), value)

    def set(self, identifier: str, value: ua.Variant, moment: datetime.datetime) -> None:
        """A new value of a variable; unknown identifiers are left alone."""
        found = self.entries.get(identifier)
        if found is not None:
            found.value = ua.DataValue(value, SourceTimestamp=moment, ServerTimestamp=moment)


def build(fixed: FixedNodes, identity: Identity, tasks: Sequence[TaskSpec]) -> None:
    """The configuration with its one resource, as OPC 30000 §7 has them, and the folder ``Node``."""
    for _ in _configuration(fixed, identity):
        pass
    _resource(fixed, identity)
    for task in tasks:
        _task(fixed, task)


def _plc(fixed: FixedNodes, key: Key) -> ua.NodeId:
    return fixed.companion.node_id(key)


def _configuration(fixed: FixedNodes, identity: Identity) -> Iterator[Entry]:
    plc = _plc(fixed, TASK).NamespaceIndex
    device_set = _plc(fixed, DEVICE_SET)
    yield fixed.add_object(ROOT, identity.node, device_set, kind=_plc(fixed, CONFIGURATION))
    fixed.attach(_OBJECTS, ORGANIZES, fixed.id(ROOT))
    fixed.entries[ROOT].links.append(Link(ORGANIZES, False, _OBJECTS))
    yield fixed.add_object(
        RESOURCES, "Resources", fixed.id(ROOT), kind=_plc(fixed, CONFIGURABLE), namespace=plc
    )
    di = device_set.NamespaceIndex
    yield fixed.add_object(
        f"{RESOURCES}/SupportedTypes", "SupportedTypes", fixed.id(RESOURCES), kind=FOLDER_TYPE, namespace=di
    )
    fixed.attach(fixed.id(f"{RESOURCES}/SupportedTypes"), ORGANIZES, _plc(fixed, RESOURCE))
    yield fixed.add_object(f"{ROOT}/MethodSet", "MethodSet", fixed.id(ROOT), namespace=di)
    yield fixed.add_object(NODE, "Node", fixed.id(ROOT), description="How this node runs")
    yield fixed.add_object(f"{ROOT}/Status", "Status", fixed.id(ROOT), kind=_plc(fixed, GROUP), namespace=plc)
    fixed.attach(fixed.id(f"{ROOT}/Status"), ORGANIZES, fixed.id(NODE))


def _resource(fixed: FixedNodes, identity: Identity) -> None:
    plc, di = _plc(fixed, TASK).NamespaceIndex, _plc(fixed, DEVICE_SET).NamespaceIndex
    fixed.add_object(RESOURCE_ID, "Resource", fixed.id(RESOURCES), kind=_plc(fixed, RESOURCE))
    localized, number = standard(ua.ObjectIds.LocalizedText), standard(ua.ObjectIds.Int32)
    nameplate = (
        ("Manufacturer", localized, ua.Variant(ua.LocalizedText("Tickwork"), ua.VariantType.LocalizedText)),
        ("Model", localized, ua.Variant(ua.LocalizedText(identity.model), ua.VariantType.LocalizedText)),
        ("HardwareRevision", _TEXT, _string("")),
        ("SoftwareRevision", _TEXT, _string(identity.version)),
        ("DeviceRevision", _TEXT, _string("")),
        ("DeviceManual", _TEXT, _string("")),
        ("SerialNumber", _TEXT, _string(identity.node)),
        ("RevisionCounter", number, ua.Variant(identity.revision, ua.VariantType.Int32)),
    )
    for name, data_type, value in nameplate:
        fixed.add_property(RESOURCE_ID, name, data_type, value, di)
    fixed.add_object(
        TASK_FOLDER, "Tasks", fixed.id(RESOURCE_ID), kind=_plc(fixed, CONFIGURABLE), namespace=plc
    )
    fixed.add_object(
        f"{TASK_FOLDER}/SupportedTypes",
        "SupportedTypes",
        fixed.id(TASK_FOLDER),
        kind=FOLDER_TYPE,
        namespace=di,
    )
    fixed.attach(fixed.id(f"{TASK_FOLDER}/SupportedTypes"), ORGANIZES, _plc(fixed, TASK))
    for folder in (PROGRAMS, GLOBALS):  # made by ``program_nodes``
        fixed.attach(fixed.id(RESOURCE_ID), HAS_COMPONENT, fixed.id(folder))
    shown = face(fixed.id(SUPPORTED_POUS), ua.NodeClass.Object, "SupportedTypes", FOLDER_TYPE, di)
    fixed.entries[SUPPORTED_POUS] = entry(shown, [Link(HAS_COMPONENT, False, fixed.id(PROGRAMS))])
    fixed.add_object(f"{RESOURCE_ID}/MethodSet", "MethodSet", fixed.id(RESOURCE_ID), namespace=di)


def _task(fixed: FixedNodes, task: TaskSpec) -> None:
    plc = _plc(fixed, TASK).NamespaceIndex
    path = f"{TASK_FOLDER}/{task.name}"
    fixed.add_object(path, task.name, fixed.id(TASK_FOLDER), kind=_plc(fixed, TASK))
    priority = ua.Variant(task.priority, ua.VariantType.UInt32)
    fixed.add_property(path, "Priority", standard(ua.ObjectIds.UInt32), priority, plc)
    if task.kind == "cyclic":
        fixed.add_property(path, "Interval", _TEXT, _string(_duration(task.period_ns)), plc)
    if task.kind == "event":
        fixed.add_property(path, "Single", _TEXT, _string(task.event), plc)
    for program in task.programs:
        fixed.entries[path].links.append(
            Link(fixed.companion.node_id(("plc", 4006)), False, fixed.id(program))
        )


def _string(text: str) -> ua.Variant:
    return ua.Variant(text, ua.VariantType.String)


def _duration(period_ns: int) -> str:
    """As an IEC 61131-3 literal of TIME, which Interval is."""
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1000)):
        if period_ns % size == 0:
            return f"T#{period_ns // size}{unit}"
    return f"T#{period_ns}ns"
