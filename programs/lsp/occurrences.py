"""Where names occur in a file, and which symbol each one means."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from programs import ast
from programs.lsp.names import BASES_MAX, Names, Symbol

# The type of an expression: a written type, a block or interface, or unknown.
Typed = ast.TypeSpec | Symbol | None
# Stands in a text where the editor's cursor is, to learn what may be written there.
AWAITED = "awaited__name"
_FIELDS: dict[type, tuple[str, ...]] = {}


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A name at ``start`` … ``end``. ``declares``: this is where the symbol is declared."""

    start: int
    end: int
    symbol: Symbol
    declares: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a name is looked up first: the innermost POU, method, property or structure outwards."""

    symbols: tuple[Symbol, ...] = ()

    def inner(self, symbol: Symbol | None) -> Scope:
        return self if symbol is None else Scope((symbol, *self.symbols))


def children(node: ast.Node) -> Iterator[ast.Node]:
    """The nodes directly inside a node."""
    fields = _FIELDS.get(type(node))
    if fields is None:
        fields = tuple(
            one.name for one in dataclasses.fields(node) if one.name not in ("start", "end", "source")
        )
        _FIELDS[type(node)] = fields
    for name in fields:
        value = getattr(node, name)
        if isinstance(value, ast.Node):
            yield value
        elif isinstance(value, list):
            for one in value:
                if isinstance(one, ast.Node):
                    yield one
                elif isinstance(one, tuple):
                    yield from one


class Occurrences:
    """One walk over a unit; ``found`` is in no particular order."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self.found: list[Occurrence] = []
        self.scopes: list[tuple[int, int, Scope]] = []  # start, end, scope: for completion
        self.awaited: Symbol | None = None  # whose member ``AWAITED`` is
        self.awaited_callee: Symbol | None = None  # in whose call it is an argument

    def unit(self, unit: ast.Unit) -> list[Occurrence]:
        for declaration in unit.declarations:
            self._visit(declaration, Scope())
        return self.found

    # ------------------------------------------------------------ recording

    def _record(self, node: ast.Name | ast.GlobalName, symbol: Symbol | None) -> Typed:
        if symbol is None:
            return None
        declares = symbol.span == (node.start, node.end)
        self.found.append(Occurrence(node.start, node.end, symbol, declares))
        return self.value_of(symbol)

    def value_of(self, symbol: Symbol) -> Typed:
        """What a value that the name stands for is an instance of."""
        if symbol.kind in ("function block", "class", "program", "interface", "type"):
            return symbol
        if symbol.kind in ("function", "method"):
            return symbol.type
        return symbol.type

    def lookup(self, scope: Scope, name: str) -> Symbol | None:
        for symbol in scope.symbols:
            found = self._names.member(symbol, name)
            if found is not None:
                return found
            if symbol.name.upper() == name.upper() and symbol.kind in ("function", "method", "property"):
                return symbol
        return self._names.find(name)

    def _declared(self, node: ast.Pou | ast.Interface | ast.Property, scope: Scope) -> Symbol | None:
        """The symbol of a declaration; in a text that is only looked at, the one of the same name in the file."""
        found = self._names.by_node.get(id(node))
        if found is not None:
            return found
        table = scope.symbols[0].names if scope.symbols else self._names.globals
        return table.get(node.name.name.upper())

    # ------------------------------------------------------------ types

    def shape(self, typed: Typed) -> Typed:
        """What a type's name finally stands for: a structure, an array, a block …"""
        for _ in range(BASES_MAX):
            match typed:
                case ast.NamedType():
                    typed = self._names.find(typed.name)
                case Symbol(kind="type", type=spec) if spec is not None and not isinstance(
                    spec, ast.StructType | ast.EnumType
                ):
                    typed = spec
                case _:
                    return typed
        return None

    def holder(self, typed: Typed) -> Symbol | None:
        """The symbol whose members a value of the type has. References are followed."""
        shape = self.shape(typed)
        while isinstance(shape, ast.ReferenceType):
            shape = self.shape(shape.target)
        if isinstance(shape, Symbol):
            return shape
        return self._names.by_node.get(id(shape)) if shape is not None else None

    # ------------------------------------------------------------ walking

    def _visit(self, node: ast.Node, scope: Scope) -> None:
        if isinstance(node, ast.Expression):
            self._expression(node, scope)
            return
        match node:
            case ast.NamedType():
                self._named_type(node, scope)
            case ast.Pou() | ast.Interface() | ast.Property():
                symbol = self._declared(node, scope)
                inner = scope.inner(symbol)
                self.scopes.append((node.start, node.end, inner))
                if symbol is not None:
                    self._record(node.name, symbol)
                for child in children(node):
                    if child is not node.name:
                        self._visit(child, inner)
            case ast.ActionsOf():
                owner = self._names.find(self._names.text(node.owner)) if node.owner else None
                for action in node.actions:
                    self._visit(action, scope.inner(owner))
            case ast.Variable():
                self._variable(node, scope)
            case (
                ast.TypeDeclaration()
                | ast.EnumValue()
                | ast.Action()
                | ast.Configuration()
                | ast.Step()
                | ast.Task()
            ):
                self._record(node.name, self._names.by_node.get(id(node)))
                for child in children(node):
                    if child is not node.name:
                        self._visit(child, scope)
            case ast.ProgramConfiguration():
                self._program(node, scope)
            case ast.ActionAssociation():
                self._record(node.action, self.lookup(scope, node.action.name))
            case ast.Label() | ast.Jump() | ast.Using():
                pass
            case _:
                for child in children(node):
                    self._visit(child, scope)

    def _variable(self, node: ast.Variable, scope: Scope) -> None:
        symbol = self._names.by_node.get(id(node)) or self._names.find(node.name.name)
        self._record(node.name, symbol)
        if node.type is not None:
            self._visit(node.type, scope)
        if node.initial is not None:
            self._initial(node.initial, node.type, scope)

    def _program(self, node: ast.ProgramConfiguration, scope: Scope) -> None:
        self._record(node.name, self._names.by_node.get(id(node)))
        if node.task is not None:
            self._record(node.task, self._names.find(node.task.name))
        self._visit(node.type, scope)
        self._arguments(node.arguments, self._names.find(node.type.name), scope)

    def _named_type(self, node: ast.NamedType, scope: Scope) -> None:
        symbol = self._names.find(node.name)
        if symbol is not None:
            start = node.start + node.name.rfind(".") + 1
            self.found.append(Occurrence(start, node.start + len(node.name), symbol))
        if node.arguments:
            self._arguments(node.arguments, symbol, scope)

    # ------------------------------------------------------------ expressions

    def _initial(self, node: ast.Expression, typed: Typed, scope: Scope) -> None:
        """An initial value; the names in ``(a := 1)`` are members of the type."""
        shape = self.shape(typed)
        match node:
            case ast.StructInitial():
                holder = self.holder(typed)
                for member in node.members:
                    symbol = self._names.member(holder, member.name.name) if holder else None
                    self._initial(member.value, self._record(member.name, symbol), scope)
            case ast.ArrayInitial():
                element = shape.element if isinstance(shape, ast.ArrayType) else None
                for one in node.elements:
                    for value in one.values:
                        self._initial(value, element, scope)
            case _:
                self._expression(node, scope)

    def _expression(self, node: ast.Expression, scope: Scope) -> Typed:
        match node:
            case ast.Name():
                return self._record(node, self.lookup(scope, node.name))
            case ast.GlobalName():
                return self._record(node, self._names.find(node.name))
            case ast.Member():
                holder = self.holder(self._expression(node.base, scope))
                if node.name.name == AWAITED:
                    self.awaited = holder
                symbol = (
                    self._names.member(holder, node.name.name) if holder else self._names.find(node.name.name)
                )
                return self._record(node.name, symbol)
            case ast.EnumLiteral():
                named = self._names.find(self._names.text(node.type))
                self._record(node.type if isinstance(node.type, ast.Name) else node.type.name, named)
                holder = self.holder(named)
                return self._record(
                    node.value, self._names.member(holder, node.value.name) if holder else None
                )
            case ast.Index():
                for index in node.indices:
                    self._expression(index, scope)
                shape = self.shape(self._expression(node.base, scope))
                return shape.element if isinstance(shape, ast.ArrayType) else None
            case ast.Dereference():
                shape = self.shape(self._expression(node.base, scope))
                return shape.target if isinstance(shape, ast.ReferenceType) else shape
            case ast.Call():
                return self._call(node, scope)
            case ast.Parenthesised():
                return self._expression(node.inner, scope)
            case ast.This() | ast.Super():
                owners = [one for one in scope.symbols if one.kind in ("function block", "class", "program")]
                if isinstance(node, ast.Super) and owners and owners[0].bases:
                    return self._names.find(owners[0].bases[0])
                return owners[0] if owners else None
            case _:
                for child in children(node):
                    self._visit(child, scope)
                return None

    def _call(self, node: ast.Call, scope: Scope) -> Typed:
        typed = self._expression(node.callee, scope)
        callee: Symbol | None = None
        if (
            isinstance(node.callee, ast.Name | ast.Member)
            and self.found
            and self.found[-1].end == node.callee.end
        ):
            callee = self.found[-1].symbol
        if callee is None or callee.kind in ("variable", "instance", "type"):
            callee = self.holder(typed)
        self._arguments(node.arguments, callee, scope)
        return typed

    def _arguments(self, arguments: list[ast.Argument], callee: Symbol | None, scope: Scope) -> None:
        for argument in arguments:
            value = argument.value
            if isinstance(value, ast.Name) and value.name == AWAITED:
                self.awaited_callee = callee
            if argument.name is not None:
                self._record(
                    argument.name, self._names.member(callee, argument.name.name) if callee else None
                )
            if argument.value is not None:
                self._expression(argument.value, scope)
