"""What a name can stand for, and where names are looked up.

Names compare without regard to case (IEC 61131-3:2013, 6.1.2): every table is keyed by the upper-case name.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from programs import ast, hir


class State(enum.Enum):
    """How far a symbol is worked out; BUSY while it is, so that a circle is found."""

    NEW = 0
    BUSY = 1
    DONE = 2


@dataclass(slots=True, eq=False)
class VariableSymbol:
    """A declared variable. ``readonly`` says why it may not be assigned, "" if it may."""

    name: str
    variable: hir.Variable
    node: ast.Variable | None
    section: str = ""  # VAR_INPUT, …
    readonly: str = ""
    doubt: str = ""  # why it should not be assigned by its own unit
    owner: PouSymbol | None = None
    access: str = ""
    scope: Namespace | None = None
    state: State = State.NEW
    aliases: VariableSymbol | None = None  # VAR_EXTERNAL: the global
    reference: bool = False  # REFERENCE TO: used without ^


@dataclass(slots=True, eq=False)
class TypeSymbol:
    """A declared type; ``initial`` is its default where that is not all zeros."""

    name: str
    node: ast.TypeDeclaration
    scope: Namespace
    type: hir.Type | None = None
    initial: hir.Initial | None = None
    state: State = State.NEW


@dataclass(slots=True, eq=False)
class EnumValueSymbol:
    name: str
    type: hir.Enum
    value: int
    ambiguous: bool = False


@dataclass(slots=True, eq=False)
class PropertySymbol:
    name: str
    node: ast.Property
    owner: PouSymbol | InterfaceSymbol
    type: hir.Type | None = None
    getter: PouSymbol | None = None
    setter: PouSymbol | None = None


@dataclass(slots=True, eq=False)
class PouSymbol:
    """A function, block, class, program, method, accessor or action. ``members``: own variables by upper-case name."""

    key: str
    kind: str
    scope: Namespace
    pou: hir.Pou
    node: ast.Pou | ast.Accessor | ast.Action | None  # None: a standard block
    owner: PouSymbol | InterfaceSymbol | None = None
    members: dict[str, VariableSymbol] = field(default_factory=dict)
    parameters: list[VariableSymbol] = field(default_factory=list)  # inputs, outputs, in-outs in order
    methods: dict[str, PouSymbol] = field(default_factory=dict)  # own ones
    properties: dict[str, PropertySymbol] = field(default_factory=dict)
    actions: dict[str, PouSymbol] = field(default_factory=dict)
    base: PouSymbol | None = None
    interfaces: list[InterfaceSymbol] = field(default_factory=list)
    result_type: hir.Type | None = None
    access: str = ""
    abstract: bool = False
    final: bool = False
    override: bool = False
    state: State = State.NEW
    base_state: State = State.NEW
    type_arguments: dict[str, hir.Type] = field(default_factory=dict)
    external: bool = False
    generic: bool = False  # has type parameters: only its instances are translated
    test: hir.Test | None = None  # it is one
    shape: str = ""  # types of the parameters as written: tells versions of one name apart
    slot: str = ""  # of a method: its upper-case name in tables, with its shape where the name has versions
    overloads: list[PouSymbol] = field(default_factory=list)  # of a function: further versions

    @property
    def name(self) -> str:
        return self.key.partition("~")[0].rpartition(".")[2]

    def member(self, name: str) -> VariableSymbol | None:
        """A variable of this POU or of its bases."""
        pou: PouSymbol | None = self
        while pou is not None:
            if name in pou.members:
                return pou.members[name]
            pou = pou.base
        return None

    def method(self, name: str) -> PouSymbol | None:
        pou: PouSymbol | None = self
        while pou is not None:
            if name in pou.methods:
                return pou.methods[name]
            pou = pou.base
        return None

    def property(self, name: str) -> PropertySymbol | None:
        pou: PouSymbol | None = self
        while pou is not None:
            if name in pou.properties:
                return pou.properties[name]
            pou = pou.base
        return None

    def action(self, name: str) -> PouSymbol | None:
        pou: PouSymbol | None = self
        while pou is not None:
            if name in pou.actions:
                return pou.actions[name]
            pou = pou.base
        return None

    def is_a(self, other: PouSymbol) -> bool:
        pou: PouSymbol | None = self
        while pou is not None:
            if pou is other:
                return True
            pou = pou.base
        return False

    def implements(self, interface: InterfaceSymbol) -> bool:
        pou: PouSymbol | None = self
        while pou is not None:
            if any(found.is_a(interface) for found in pou.interfaces):
                return True
            pou = pou.base
        return False

    def member_names(self) -> list[str]:
        """Names of everything behind a dot, for suggestions."""
        names: list[str] = []
        pou: PouSymbol | None = self
        while pou is not None:
            names += [symbol.name for symbol in pou.members.values()]
            names += [symbol.name for symbol in (*pou.methods.values(), *pou.actions.values())]
            names += [symbol.name for symbol in pou.properties.values()]
            pou = pou.base
        return names


@dataclass(slots=True, eq=False)
class InterfaceSymbol:
    key: str
    node: ast.Interface
    scope: Namespace
    methods: dict[str, PouSymbol] = field(default_factory=dict)
    properties: dict[str, PropertySymbol] = field(default_factory=dict)
    bases: list[InterfaceSymbol] = field(default_factory=list)
    state: State = State.NEW

    def all(self) -> list[InterfaceSymbol]:
        """This interface and all it extends."""
        found: list[InterfaceSymbol] = [self]
        for base in self.bases:
            found += [other for other in base.all() if other not in found]
        return found

    def is_a(self, other: InterfaceSymbol) -> bool:
        return other in self.all()

    def method(self, name: str) -> PouSymbol | None:
        return next((i.methods[name] for i in self.all() if name in i.methods), None)

    def property(self, name: str) -> PropertySymbol | None:
        return next((i.properties[name] for i in self.all() if name in i.properties), None)


@dataclass(slots=True, eq=False)
class Namespace:
    """A namespace, the global one (``key`` ""), or a named list of globals. ``using``: imported namespaces."""

    key: str
    parent: Namespace | None = None
    symbols: dict[str, Symbol] = field(default_factory=dict)  # everything but variables
    variables: dict[str, VariableSymbol] = field(
        default_factory=dict
    )  # a variable may be named like its type
    using: list[Namespace] = field(default_factory=list)
    enum_values: dict[str, EnumValueSymbol] = field(default_factory=dict)
    pending: list[tuple[str, ast.Node]] = field(default_factory=list)

    def qualified(self, name: str) -> str:
        return f"{self.key}.{name}" if self.key else name

    def find(self, name: str) -> Symbol | None:
        """``name`` here, in imported namespaces, then outwards. Enumeration values yield to everything else."""
        scope: Namespace | None = self
        while scope is not None:
            for place in (scope, *scope.using):
                found = place.variables.get(name) or place.symbols.get(name)
                if found is not None:
                    return found
            scope = scope.parent
        return self._find_value(name)

    def find_declared(self, name: str) -> Symbol | None:
        """Like ``find``, past variables and values: types, units, interfaces, namespaces."""
        scope: Namespace | None = self
        while scope is not None:
            for place in (scope, *scope.using):
                if name in place.symbols:
                    return place.symbols[name]
            scope = scope.parent
        return None

    def own(self, name: str) -> Symbol | None:
        """What this namespace itself declares."""
        return self.variables.get(name) or self.symbols.get(name) or self.enum_values.get(name)

    def _find_value(self, name: str) -> EnumValueSymbol | None:
        scope: Namespace | None = self
        while scope is not None:
            for place in (scope, *scope.using):
                if name in place.enum_values:
                    return place.enum_values[name]
            scope = scope.parent
        return None

    def names(self) -> list[str]:
        """Every name visible from here, as written."""
        found: list[str] = []
        scope: Namespace | None = self
        while scope is not None:
            for place in (scope, *scope.using):
                found += [symbol_name(symbol) for symbol in place.symbols.values()]
                found += [symbol.name for symbol in place.variables.values()]
                found += [value.name for value in place.enum_values.values()]
            scope = scope.parent
        return found


Symbol = VariableSymbol | TypeSymbol | EnumValueSymbol | PouSymbol | InterfaceSymbol | Namespace


def symbol_name(symbol: Symbol) -> str:
    """The simple name as declared."""
    if isinstance(symbol, PouSymbol):
        return symbol.name
    if isinstance(symbol, InterfaceSymbol | Namespace):
        return symbol.key.rpartition(".")[2]
    return symbol.name
