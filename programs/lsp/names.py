"""What names stand for, for an editor: a table of everything declared in the files of a program.

Theory. The checker works on whole, correct programs; an editor needs answers in the middle of typing. So this table is
made of the parser's trees alone, which exist for any text, and says "unknown" where it does not know.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field

from programs import ast
from programs.blocks import standard_blocks
from programs.parse_expressions import dotted
from programs.signatures import FUNCTIONS
from programs.source import SourceSet
from programs.types import type_name

BASES_MAX = 50  # levels of inheritance followed; a circle ends there


@dataclass(slots=True, eq=False)
class Symbol:
    """Something with a name. ``kind`` in words; ``span`` of the declared name, None for what is built in.

    ``type``: of a variable, result of a function, type of a type declaration. ``detail``: its declaration in a line.
    ``names``: members by upper-case name. ``bases``: names of extended blocks and interfaces.
    """

    name: str
    kind: str
    span: tuple[int, int] | None = None
    extent: tuple[int, int] | None = None
    type: ast.TypeSpec | None = None
    detail: str = ""
    comment: str = ""
    section: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    owner: Symbol | None = None
    names: dict[str, Symbol] = field(default_factory=dict)
    bases: list[str] = field(default_factory=list)


@functools.cache
def builtins() -> dict[str, Symbol]:
    """Standard blocks and functions by upper-case name."""
    found: dict[str, Symbol] = {}
    for name, signature in FUNCTIONS.items():
        parameters = ", ".join(f"{one.name} : {one.type}" for one in signature.parameters)
        more = ", …" if signature.extensible else ""
        detail = f"FUNCTION {name}({parameters}{more}) : {signature.result}"
        found[name] = Symbol(name, "function", detail=detail, comment="standard function")
        for one in signature.parameters:
            pin = Symbol(one.name, "variable", detail=f"{one.name} : {one.type}", section="VAR_INPUT")
            found[name].names[one.name.upper()] = pin
    for name, block in standard_blocks().items():
        symbol = Symbol(
            name, "function block", detail=f"FUNCTION_BLOCK {name}", comment="standard function block"
        )
        for variable in block.pou().variables:
            if variable.direction:
                section = {"input": "VAR_INPUT", "output": "VAR_OUTPUT", "inout": "VAR_IN_OUT"}[
                    variable.direction
                ]
                pin = Symbol(variable.name, "variable", section=section, owner=symbol)
                pin.detail = f"{variable.name} : {type_name(variable.type)}"
                symbol.names[variable.name.upper()] = pin
        found[name] = symbol
    return found


class Names:
    """All symbols of a set of units."""

    def __init__(self, units: Iterable[ast.Unit], sources: SourceSet) -> None:
        self._sources = sources
        self.globals: dict[str, Symbol] = {}
        self.by_node: dict[int, Symbol] = {}
        for unit in units:
            for declaration in unit.declarations:
                self._declaration(declaration)

    # ------------------------------------------------------------ looking up

    def find(self, name: str) -> Symbol | None:
        """A global name; of a dotted one the last part."""
        key = name.rpartition(".")[2].upper()
        return self.globals.get(key) or builtins().get(key)

    def member(self, symbol: Symbol, name: str) -> Symbol | None:
        """A member of a block, interface or structure, inherited ones too."""
        key = name.upper()
        for one in self.lineage(symbol):
            if key in one.names:
                return one.names[key]
        return None

    def lineage(self, symbol: Symbol) -> list[Symbol]:
        """The symbol and everything that it extends, nearest first."""
        found, waiting = list[Symbol](), [symbol]
        while waiting and len(found) < BASES_MAX:
            one = waiting.pop(0)
            if one in found:
                continue
            found.append(one)
            bases = (self.find(base) for base in one.bases)
            waiting += [base for base in bases if base is not None]
        return found

    def members(self, symbol: Symbol) -> list[Symbol]:
        """All members, own ones first."""
        seen: dict[str, Symbol] = {}
        for one in self.lineage(symbol):
            for key, member in one.names.items():
                seen.setdefault(key, member)
        return list(seen.values())

    def text(self, node: ast.Node | None) -> str:
        """The written text of a node on one line, at most 200 characters."""
        if node is None:
            return ""
        source = self._sources.source(node.start)
        return " ".join(source.text[node.start - source.base : node.end - source.base].split())[:200]

    # ------------------------------------------------------------ filling

    def _enter(self, table: dict[str, Symbol], symbol: Symbol, node: ast.Node) -> Symbol:
        table.setdefault(symbol.name.upper(), symbol)
        self.by_node[id(node)] = symbol
        return symbol

    def _declaration(self, node: ast.Declaration) -> None:
        match node:
            case ast.Pou():
                self._pou(node, self.globals, None)
            case ast.Interface():
                self._interface(node)
            case ast.TypeDeclaration():
                symbol = self._named(node, "type", self.globals)
                symbol.type, symbol.comment = node.type, node.comment
                symbol.detail = f"TYPE {node.name.name} : {self.text(node.type)}"
                self._type(node.type, symbol)
            case ast.GlobalSection():
                self._section(node.section, self.globals, None)
            case ast.Namespace():
                for inner in node.declarations:
                    self._declaration(inner)
            case ast.Configuration():
                self._configuration(node)
            case ast.ActionsOf():
                self._actions_of(node)

    def _named(
        self,
        node: ast.TypeDeclaration
        | ast.Pou
        | ast.Interface
        | ast.Property
        | ast.Action
        | ast.Configuration
        | ast.Step,
        kind: str,
        table: dict[str, Symbol],
    ) -> Symbol:
        name = node.name
        symbol = Symbol(name.name, kind, (name.start, name.end), (node.start, node.end), comment=node.comment)
        return self._enter(table, symbol, node)

    def _pou(self, node: ast.Pou, table: dict[str, Symbol], owner: Symbol | None) -> Symbol:
        symbol = self._named(node, node.kind.lower().replace("_", " "), table)
        symbol.owner, symbol.type, symbol.attributes = owner, node.result, node.attributes
        symbol.bases = [_dotted(base) for base in (*node.extends, *node.implements)]
        result = f" : {self.text(node.result)}" if node.result else ""
        extends = f" EXTENDS {symbol.bases[0]}" if node.extends else ""
        symbol.detail = f"{node.kind} {node.name.name}{result}{extends}"
        for section in node.sections:
            self._section(section, symbol.names, symbol)
        self._members(symbol, node.methods, node.properties)
        for action in node.actions:
            self._action(action, symbol)
        if isinstance(node.body, ast.SfcBody):
            for step in node.body.steps:
                self._named(step, "step", symbol.names).detail = f"STEP {step.name.name}"
        return symbol

    def _members(self, symbol: Symbol, methods: list[ast.Pou], properties: list[ast.Property]) -> None:
        for method in methods:
            self._pou(method, symbol.names, symbol)
        for node in properties:
            found = self._named(node, "property", symbol.names)
            found.owner, found.type = symbol, node.type
            found.detail = f"PROPERTY {node.name.name} : {self.text(node.type)}"
            for accessor in node.accessors:
                for section in accessor.sections:
                    self._section(section, found.names, found)

    def _action(self, node: ast.Action, owner: Symbol) -> None:
        found = self._named(node, "action", owner.names)
        found.owner, found.detail = owner, f"ACTION {node.name.name}"

    def _actions_of(self, node: ast.ActionsOf) -> None:
        owner = self.find(_dotted(node.owner)) if node.owner is not None else None
        if owner is not None:
            for action in node.actions:
                self._action(action, owner)

    def _interface(self, node: ast.Interface) -> None:
        symbol = self._named(node, "interface", self.globals)
        symbol.bases = [_dotted(base) for base in node.extends]
        symbol.detail = f"INTERFACE {node.name.name}"
        self._members(symbol, node.methods, node.properties)

    def _configuration(self, node: ast.Configuration) -> None:
        self._named(node, "configuration", self.globals).detail = f"CONFIGURATION {node.name.name}"
        sections = [
            *node.sections,
            *(section for resource in node.resources for section in resource.sections),
        ]
        for section in sections:
            if section.kind == "VAR_GLOBAL":
                self._section(section, self.globals, None)
        for resource in node.resources:
            for task in resource.tasks:
                span = (task.name.start, task.name.end)
                symbol = Symbol(task.name.name, "task", span, (task.start, task.end), detail=self.text(task))
                self._enter(self.globals, symbol, task)
            for program in resource.programs:
                span = (program.name.start, program.name.end)
                symbol = Symbol(
                    program.name.name, "instance", span, (program.start, program.end), type=program.type
                )
                symbol.detail = self.text(program)
                self._enter(self.globals, symbol, program)

    def _section(self, section: ast.VariableSection, table: dict[str, Symbol], owner: Symbol | None) -> None:
        if section.kind == "VAR_EXTERNAL":
            return  # another name for a global, which is what the editor should show
        for node in section.variables:
            name = node.name
            symbol = Symbol(name.name, "variable", (name.start, name.end), (node.start, node.end))
            symbol.type, symbol.comment, symbol.attributes = node.type, node.comment, node.attributes
            symbol.section, symbol.owner = section.kind, owner
            initial = f" := {self.text(node.initial)}" if node.initial is not None else ""
            location = f" AT {node.location.text}" if node.location is not None else ""
            symbol.detail = f"{name.name}{location} : {self.text(node.type)}{initial}"
            self._enter(table, symbol, node)
            self._type(node.type, symbol)

    def _type(self, spec: ast.TypeSpec | None, owner: Symbol) -> None:
        """Members of a structure written here; values of an enumeration are global names as well."""
        match spec:
            case ast.StructType():
                holder = Symbol(owner.name, "type", type=spec)
                self.by_node[id(spec)] = holder
                self._section(ast.VariableSection(0, 0, "", spec.members), holder.names, owner)
                owner.names.update(holder.names if owner.kind == "type" else {})
                if spec.extends is not None:
                    holder.bases = owner.bases = [_dotted(spec.extends)]
            case ast.EnumType():
                holder = Symbol(owner.name, "type", type=spec)
                self.by_node[id(spec)] = holder
                for value in spec.values:
                    span = (value.name.start, value.name.end)
                    symbol = Symbol(
                        value.name.name, "value", span, (value.start, value.end), comment=value.comment
                    )
                    symbol.owner, symbol.detail = owner, f"{owner.name}#{value.name.name}"
                    holder.names[value.name.name.upper()] = symbol
                    self._enter(self.globals, symbol, value)
                owner.names.update(holder.names if owner.kind == "type" else {})
            case ast.ArrayType():
                self._type(spec.element, owner)
            case ast.ReferenceType():
                self._type(spec.target, owner)


def _dotted(node: ast.Name | ast.Member) -> str:
    return dotted(node)
