"""First pass: every declared name gets a symbol. Nothing is looked up yet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from programs import ast, hir, types
from programs.check_context import Context, Scope
from programs.check_overloads import shape_of
from programs.sfc_steps import declare_steps
from programs.source import Source
from programs.symbols import (
    InterfaceSymbol,
    Namespace,
    PouSymbol,
    PropertySymbol,
    Symbol,
    TypeSymbol,
    VariableSymbol,
)

_KINDS = {
    "FUNCTION": "function",
    "FUNCTION_BLOCK": "function_block",
    "PROGRAM": "program",
    "CLASS": "class",
    "METHOD": "method",
    "TEST": "function_block",
}
# What lists of globals are called by custom: only these give their name, since other files hold globals by the way.
_LIST_PREFIXES = ("GVL", "GCL", "PARAM")
_DIRECTIONS = {"VAR_INPUT": "input", "VAR_OUTPUT": "output", "VAR_IN_OUT": "inout"}
# Sections that a kind of POU may have (IEC 61131-3:2013, 6.6).
_COMMON = frozenset(("VAR", "VAR_TEMP", "VAR_INPUT", "VAR_OUTPUT", "VAR_IN_OUT", "VAR_EXTERNAL", "VAR_STAT"))
_ALLOWED = {
    "function": _COMMON,
    "method": _COMMON | {"VAR_INST"},
    "function_block": _COMMON,
    "program": _COMMON | {"VAR_ACCESS", "VAR_GLOBAL"},
    "class": frozenset(("VAR", "VAR_EXTERNAL", "VAR_STAT", "VAR_TEMP")),
}


class Declarations:
    """Registers the declarations of all units in the context."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._outside_actions: list[tuple[ast.ActionsOf, Namespace, PouSymbol | None]] = []
        self._using: list[tuple[ast.Using, Namespace]] = []
        self._taken: set[str] = set()

    def declare(self, units: Sequence[ast.Unit]) -> None:
        named = (ast.Pou, ast.TypeDeclaration, ast.Interface)
        self._taken = {
            one.name.name.upper() for unit in units for one in unit.declarations if isinstance(one, named)
        }
        for unit in units:
            scope = self.context.root
            if unit.using:
                # The names of USING are visible in this file only: its POUs look through a scope of their own.
                root = self.context.root
                scope = Namespace("", parent=root, symbols=root.symbols, variables=root.variables)
                scope.enum_values = self.context.root.enum_values
            self._declare_all(unit.declarations, scope, unit.using)
        for using, scope in self._using:
            self._resolve_using(using, scope)
        for actions, scope, before in self._outside_actions:
            self._attach_actions(actions, scope, before)

    def _declare_all(
        self, declarations: Sequence[ast.Declaration], scope: Namespace, using: Sequence[ast.Using]
    ) -> None:
        self._using += [(clause, scope) for clause in using]
        before: PouSymbol | None = None
        for declaration in declarations:
            match declaration:
                case ast.Pou():
                    before = self._pou(declaration, scope)
                case ast.TypeDeclaration():
                    self._type(declaration, scope)
                case ast.Interface():
                    self._interface(declaration, scope)
                case ast.GlobalSection():
                    self._globals(declaration, scope)
                case ast.Namespace():
                    self._namespace(declaration, scope)
                case ast.Configuration():
                    self._configuration(declaration)
                case ast.ActionsOf():
                    self._outside_actions.append((declaration, scope, before))

    def _add(self, scope: Namespace, name: ast.Name, symbol: Symbol) -> None:
        key = name.name.upper()
        known = scope.variables if isinstance(symbol, VariableSymbol) else scope.symbols
        earlier = known.get(key)
        if earlier is not None:
            node = getattr(earlier, "node", None)
            self.context.duplicate(name, name.name, node.name if node is not None else None)
        elif isinstance(symbol, VariableSymbol):
            scope.variables[key] = symbol
        else:
            scope.symbols[key] = symbol

    # -- namespaces, types, interfaces

    def _namespace(self, node: ast.Namespace, scope: Namespace) -> None:
        inner = scope
        for part in self.context.path(node.name):
            found = inner.symbols.get(part.name.upper())
            if not isinstance(found, Namespace):
                if found is not None:
                    self.context.duplicate(part, part.name, getattr(found, "node", None))
                parent = inner
                found = Namespace(inner.qualified(part.name), parent=parent)
                inner.symbols.setdefault(part.name.upper(), found)
            inner = found
        self._declare_all(node.declarations, inner, node.using)

    def _resolve_using(self, using: ast.Using, scope: Namespace) -> None:
        for name in using.names:
            parts = [part.name for part in self.context.path(name)]
            found = self.context.lookup_path(Scope(scope), parts)
            if isinstance(found, Namespace):
                scope.using.append(found)
            else:
                known = [s.key for s in self.context.root.symbols.values() if isinstance(s, Namespace)]
                self.context.unknown_name(name, ".".join(parts), known, what="namespace")

    def _type(self, node: ast.TypeDeclaration, scope: Namespace) -> None:
        symbol = TypeSymbol(node.name.name, node, scope)
        self._add(scope, node.name, symbol)
        self.context.type_symbols.append(symbol)

    def _interface(self, node: ast.Interface, scope: Namespace) -> None:
        symbol = InterfaceSymbol(scope.qualified(node.name.name), node, scope)
        self._add(scope, node.name, symbol)
        self.context.interfaces[symbol.key] = symbol
        self._using += [(clause, scope) for clause in node.using]
        for method in node.methods:
            self._method(method, symbol, scope)
        for prop in node.properties:
            self._property(prop, symbol, scope)

    # -- globals

    def _globals(self, node: ast.GlobalSection, scope: Namespace) -> None:
        target = scope
        name = node.name or self._list_name(node)
        if name:
            target = Namespace(scope.qualified(name), parent=scope)
            existing = scope.symbols.setdefault(name.upper(), target)
            if isinstance(existing, Namespace):
                target = existing
        self.declare_section(node.section, target, node.source)
        if target is not scope and "qualified_only" not in node.section.attributes:
            for key, symbol in target.variables.items():
                scope.variables.setdefault(key, symbol)

    def _list_name(self, node: ast.GlobalSection) -> str:
        """CODESYS: a list of globals is called by its name, which a text has as the name of its file."""
        stem = PurePosixPath(node.source.path).name.partition(".")[0]
        listed = self.context.loose and stem.upper().startswith(_LIST_PREFIXES) and stem.isidentifier()
        return stem if listed and stem.upper() not in self._taken else ""

    def declare_section(self, section: ast.VariableSection, scope: Namespace, source: Source) -> None:
        """Declare the variables of a VAR_GLOBAL section."""
        if section.kind != "VAR_GLOBAL":
            return
        for node in section.variables:
            storage = hir.Storage.GLOBAL
            if section.constant:
                storage = hir.Storage.CONSTANT
            elif node.location is not None:
                storage = hir.Storage.LOCATED
            variable = self._variable(node, section, storage, source)
            variable.name = scope.qualified(node.name.name)
            symbol = VariableSymbol(node.name.name, variable, node, "VAR_GLOBAL", scope=scope)
            symbol.readonly = "a constant" if section.constant else ""
            self._add(scope, node.name, symbol)
            self.context.globals.append(symbol)

    def _variable(
        self, node: ast.Variable, section: ast.VariableSection, storage: hir.Storage, source: Source
    ) -> hir.Variable:
        return hir.Variable(
            node.name.name,
            types.UNKNOWN,
            storage,
            direction=_DIRECTIONS.get(section.kind, ""),
            retain=section.retain or section.persistent,
            persistent=section.persistent,
            constant=section.constant and section.kind not in _DIRECTIONS,
            edge=node.edge,
            comment=node.comment,
            attributes={**section.attributes, **node.attributes},
            file=source.path,
            line=source.line(node.start),
        )

    def _configuration(self, node: ast.Configuration) -> None:
        self.context.configurations.append(node)
        for section in node.sections:
            self.declare_section(section, self.context.root, node.source)
        for resource in node.resources:
            for section in resource.sections:
                self.declare_section(section, self.context.root, node.source)

    # -- POUs

    def _pou(self, node: ast.Pou, scope: Namespace) -> PouSymbol:
        kind = _KINDS.get(node.kind, "function")
        if node.using:
            scope = Namespace(scope.key, parent=scope, symbols={})
            self._using += [(clause, scope) for clause in node.using]
        key = scope.qualified(node.name.name)
        pou = self._hir_pou(key, kind, node)
        symbol = PouSymbol(key, kind, scope, pou, node)
        symbol.abstract, symbol.final, symbol.access = node.abstract, node.final, node.access
        symbol.external = node.external
        symbol.generic = bool(node.type_parameters)
        if node.kind == "TEST":
            symbol.test = hir.Test(key, node.title, pou.file, pou.line, node.attributes.get("mock", ""))
            self.context.tests.append(symbol.test)
        home = scope.parent if node.using and scope.parent is not None else scope
        symbol.shape = shape_of(node)
        first = home.symbols.get(node.name.name.upper())
        if kind == "function" and isinstance(first, PouSymbol) and self._is_version(symbol, first):
            key = symbol.key = pou.key = f"{key}~{symbol.shape}"
            first.overloads.append(symbol)
        else:
            self._add(home, node.name, symbol)
        if key in self.context.pous:
            key = f"{key}@{node.start}"
            symbol.key = pou.key = key
            if symbol.test is not None:
                symbol.test.key = key
        if not symbol.generic:
            self.context.pous[key] = symbol
        self._contents(symbol, node)
        return symbol

    def instance(self, generic: PouSymbol, key: str, arguments: dict[str, hir.Type]) -> PouSymbol:
        """A generic function for these types."""
        node = generic.node
        assert isinstance(node, ast.Pou)
        symbol = PouSymbol(key, generic.kind, generic.scope, self._hir_pou(key, generic.kind, node), node)
        symbol.type_arguments = arguments
        self.context.pous[key] = symbol
        self._contents(symbol, node)
        return symbol

    def _contents(self, symbol: PouSymbol, node: ast.Pou) -> None:
        scope = symbol.scope
        self._sections(symbol, node.sections, node.source)
        if node.result is not None:
            self._result(symbol, node.alias or node.name, node.source)
        for method in node.methods:
            self._method(method, symbol, scope)
        for prop in node.properties:
            self._property(prop, symbol, scope)
        for action in node.actions:
            self._action(action, symbol, node.source)
        self._steps(symbol, node.body, node.source)

    def _steps(self, symbol: PouSymbol, body: ast.Body | None, source: Source) -> None:
        if isinstance(body, ast.SfcBody) and symbol.kind not in ("function", "method"):
            for name in declare_steps(symbol, body, source.path, source.line):
                earlier = symbol.members[name.name.upper()].node
                self.context.duplicate(name, name.name, earlier)

    def _hir_pou(self, key: str, kind: str, node: ast.Pou) -> hir.Pou:
        source = node.source
        return hir.Pou(
            key,
            kind,
            [],
            [],
            abstract=node.abstract,
            file=source.path,
            line=source.line(node.start),
            end_line=source.line(max(node.end - 1, node.start)),
        )

    def _result(self, symbol: PouSymbol, name: ast.Name, source: Source) -> None:
        variable = hir.Variable(
            name.name, types.UNKNOWN, hir.Storage.LOCAL, file=source.path, line=source.line(name.start)
        )
        symbol.pou.result = variable
        key = name.name.upper()
        if key in symbol.members:
            self.context.duplicate(name, name.name, symbol.members[key].node)
            return
        symbol.members[key] = VariableSymbol(
            name.name, variable, None, "RESULT", owner=symbol, scope=symbol.scope
        )

    def _sections(self, symbol: PouSymbol, sections: Sequence[ast.VariableSection], source: Source) -> None:
        allowed = _ALLOWED[symbol.kind]
        for section in sections:
            if section.kind not in allowed:
                self.context.error(
                    "ST3024",
                    (section.start, section.start + len(section.kind)),
                    f"a {symbol.kind.replace('_', ' ')} has no {section.kind} section",
                    expected=", ".join(sorted(allowed)),
                    found=section.kind,
                    remedy="move the declaration to a section that this kind of unit has",
                )
                continue
            if section.kind == "VAR_GLOBAL":
                self.declare_section(section, self.context.root, source)
            for node in section.variables if section.kind not in ("VAR_ACCESS", "VAR_GLOBAL") else ():
                self._member(symbol, node, section, source)

    def _member(
        self, symbol: PouSymbol, node: ast.Variable, section: ast.VariableSection, source: Source
    ) -> None:
        storage = storage_of(symbol.kind, section, node)
        variable = self._variable(node, section, storage, source)
        member = VariableSymbol(
            node.name.name,
            variable,
            node,
            section.kind,
            owner=symbol,
            access=section.access,
            scope=symbol.scope,
        )
        member.readonly = self._readonly(section)
        if section.kind == "VAR_INPUT" and not section.constant and not self.context.loose:
            member.doubt = "an input"
        key = node.name.name.upper()
        if key in symbol.members:
            self.context.duplicate(node.name, node.name.name, symbol.members[key].node)
            return
        symbol.members[key] = member
        if section.kind in _DIRECTIONS:
            symbol.parameters.append(member)
        if section.kind != "VAR_EXTERNAL":
            self._place_member(symbol, variable, section)

    def _place_member(self, symbol: PouSymbol, variable: hir.Variable, section: ast.VariableSection) -> None:
        if variable.storage is hir.Storage.GLOBAL:
            # VAR_STAT: one for all calls and instances.
            variable.name = f"{symbol.key}.{variable.name}"
            self.context.globals.append(symbol.members[variable.name.rpartition(".")[2].upper()])
            return
        symbol.pou.variables.append(variable)

    def _readonly(self, section: ast.VariableSection) -> str:
        if section.constant:
            return "a constant"
        return ""

    # -- members of blocks and classes

    def _method(self, node: ast.Pou, owner: PouSymbol | InterfaceSymbol, scope: Namespace) -> None:
        key = f"{owner.key}.{node.name.name}"
        symbol = PouSymbol(key, "method", scope, self._hir_pou(key, "method", node), node, owner=owner)
        symbol.access, symbol.abstract = node.access, node.abstract
        symbol.final, symbol.override = node.final, node.override
        symbol.shape, symbol.slot = shape_of(node), node.name.name.upper()
        self._sections(symbol, node.sections, node.source)
        if node.result is not None:
            self._result(symbol, node.name, node.source)
        self._own(symbol, owner, node.name)

    def _is_version(self, symbol: PouSymbol, first: PouSymbol) -> bool:
        """Whether a second declaration of a name is another version of a function or method."""
        same_kind = (
            first.kind == symbol.kind and isinstance(first.node, ast.Pou) and first.node.result is not None
        )
        known = [first.shape, *(one.shape for one in first.overloads)]
        return same_kind and not self.context.loose and symbol.shape not in known and not symbol.generic

    def _own(self, symbol: PouSymbol, owner: PouSymbol | InterfaceSymbol, name: ast.Name) -> None:
        """Enter a method under its owner, and its code in the application unless it is a prototype."""
        key = name.name.upper()
        first = owner.methods.get(key)
        if (
            first is not None
            and self._is_version(symbol, first)
            and f"{key}~{symbol.shape}" not in owner.methods
        ):
            symbol.slot = key = f"{key}~{symbol.shape}"
            symbol.key = symbol.pou.key = f"{symbol.key}~{symbol.shape}"
        elif first is not None:
            self.context.duplicate(name, name.name, first.node)
            return
        owner.methods[key] = symbol
        if isinstance(owner, PouSymbol):
            symbol.pou.owner = owner.key
            self.context.pous.setdefault(symbol.key, symbol)

    def _property(self, node: ast.Property, owner: PouSymbol | InterfaceSymbol, scope: Namespace) -> None:
        symbol = PropertySymbol(node.name.name, node, owner)
        key = node.name.name.upper()
        if key in owner.properties:
            self.context.duplicate(node.name, node.name.name, owner.properties[key].node)
            return
        owner.properties[key] = symbol
        for accessor in node.accessors:
            made = self._accessor(accessor, symbol, owner, scope)
            if accessor.kind == "GET":
                symbol.getter = made
            else:
                symbol.setter = made

    def _accessor(
        self, node: ast.Accessor, prop: PropertySymbol, owner: PouSymbol | InterfaceSymbol, scope: Namespace
    ) -> PouSymbol:
        source = owner.node.source if isinstance(owner.node, ast.Pou | ast.Interface) else None
        assert source is not None
        suffix = node.kind.lower()
        key = f"{owner.key}.{prop.name}.{suffix}"
        pou = hir.Pou(key, "method", [], [], file=source.path, line=source.line(node.start))
        pou.end_line = source.line(max(node.end - 1, node.start))
        symbol = PouSymbol(key, "method", scope, pou, node, owner=owner, abstract=prop.node.abstract)
        symbol.access = node.access or prop.node.access
        symbol.final, symbol.override = prop.node.final, prop.node.override
        self._sections(symbol, node.sections, source)
        if suffix == "get":
            self._result(symbol, prop.node.name, source)
        else:
            variable = hir.Variable(
                prop.name, types.UNKNOWN, hir.Storage.PARAMETER, direction="input", file=source.path
            )
            value = VariableSymbol(prop.name, variable, None, "VAR_INPUT", owner=symbol, scope=scope)
            pou.variables.insert(0, variable)
            symbol.members[prop.name.upper()] = value
            symbol.parameters.insert(0, value)
        owner.methods[f"{prop.name.upper()}.{suffix.upper()}"] = symbol
        if isinstance(owner, PouSymbol):
            pou.owner = owner.key
            self.context.pous.setdefault(key, symbol)
        return symbol

    def _action(self, node: ast.Action, owner: PouSymbol, source: Source) -> None:
        key = f"{owner.key}.{node.name.name}"
        upper = node.name.name.upper()
        if upper in owner.actions:
            earlier = owner.actions[upper].node
            self.context.duplicate(node.name, node.name.name, earlier)
            return
        pou = hir.Pou(key, "action", [], [], owner=owner.key, file=source.path, line=source.line(node.start))
        pou.end_line = source.line(max(node.end - 1, node.start))
        symbol = PouSymbol(key, "action", owner.scope, pou, node, owner=owner)
        owner.actions[upper] = symbol
        self._steps(symbol, node.body, source)
        self.context.pous.setdefault(key, symbol)

    def _attach_actions(self, node: ast.ActionsOf, scope: Namespace, before: PouSymbol | None) -> None:
        owner: Symbol | None = before
        if node.owner is not None:
            owner = self.context.lookup_path(Scope(scope), [p.name for p in self.context.path(node.owner)])
        if not isinstance(owner, PouSymbol):
            where = node.owner if node.owner is not None else node
            self.context.error(
                "ST3004",
                where,
                "these actions belong to no function block or program",
                remedy="write ACTIONS and the name of the unit that they belong to",
            )
            return
        for action in node.actions:
            self._action(action, owner, node.source)


def storage_of(kind: str, section: ast.VariableSection, node: ast.Variable) -> hir.Storage:
    """Where a variable of a POU lives."""
    if section.kind == "VAR_IN_OUT":
        return hir.Storage.INOUT_PARAMETER
    if section.constant and section.kind not in _DIRECTIONS:
        return hir.Storage.CONSTANT
    if node.location is not None:
        return hir.Storage.LOCATED
    if section.kind == "VAR_STAT":
        return hir.Storage.GLOBAL
    if kind in ("function", "method"):
        return {
            "VAR_INPUT": hir.Storage.PARAMETER,
            "VAR_OUTPUT": hir.Storage.OUTPUT_PARAMETER,
            "VAR_INST": hir.Storage.INSTANCE,
        }.get(section.kind, hir.Storage.LOCAL)
    return hir.Storage.LOCAL if section.kind == "VAR_TEMP" else hir.Storage.INSTANCE
