"""What all parts of the checker share: the problems, the global names, the work done so far.

Theory. Declarations are registered first, by name only. Types, constants and headers are then worked out when
somebody asks for them (``symbols.State``), so the order of declarations and files plays no part. Whoever meets a
symbol that is BUSY has found a circle and reports it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from programs import ast, hir, types
from programs.blocks import Block, standard_pou
from programs.check_locations import locate
from programs.diagnostics import Diagnostics, Spanned, closest
from programs.signatures import BLOCK_ALIASES
from programs.symbols import (
    InterfaceSymbol,
    Namespace,
    PouSymbol,
    State,
    Symbol,
    TypeSymbol,
    VariableSymbol,
    symbol_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

ARTICLES = {
    "function": "a function",
    "function_block": "a function block",
    "program": "a program",
    "class": "a class",
    "method": "a method",
    "action": "an action",
}


def kind_of(symbol: Symbol) -> str:
    """What a symbol is, for messages."""
    match symbol:
        case VariableSymbol():
            return "a constant" if symbol.variable.constant else "a variable"
        case PouSymbol():
            return ARTICLES[symbol.kind]
        case TypeSymbol():
            return "a type"
        case InterfaceSymbol():
            return "an interface"
        case Namespace():
            return "a namespace"
    return "a value of an enumeration"


@dataclass(slots=True, eq=False)
class Scope:
    """Where a name is used: in a POU (and, for methods and actions, in its owner) and in a namespace."""

    namespace: Namespace
    pou: PouSymbol | None = None

    def find(self, name: str) -> Symbol | None:
        """The symbol for an upper-case name; members of the POU and its owner hide everything else."""
        pou = self.pou
        while pou is not None:
            found = pou.member(name)
            if found is not None:
                return found
            pou = pou.owner if isinstance(pou.owner, PouSymbol) else None
        return self.namespace.find(name)

    def names(self) -> list[str]:
        found = self.namespace.names()
        pou = self.pou
        while pou is not None:
            found = pou.member_names() + found
            pou = pou.owner if isinstance(pou.owner, PouSymbol) else None
        return found


def fits_open(source: hir.Type, target: hir.OpenArray) -> bool:
    """Whether an array may be given for ARRAY[*]."""
    rank = (
        source.rank
        if isinstance(source, hir.OpenArray)
        else len(source.dims)
        if isinstance(source, hir.Array)
        else -1
    )
    return (
        isinstance(source, hir.Array | hir.OpenArray)
        and rank == target.rank
        and types.same_layout(source.element, target.element)
    )


def _unset(*_arguments: object) -> Any:
    raise AssertionError("the context is not complete")


@dataclass(slots=True, eq=False)
class Context:
    """One run of the checker."""

    diagnostics: Diagnostics
    dialect: str
    root: Namespace = field(default_factory=lambda: Namespace(""))
    pous: dict[str, PouSymbol] = field(default_factory=dict)  # by key
    interfaces: dict[str, InterfaceSymbol] = field(default_factory=dict)
    type_symbols: list[TypeSymbol] = field(default_factory=list)
    enum_specs: dict[int, hir.Enum] = field(default_factory=dict)  # id of a node -> its type
    globals: list[VariableSymbol] = field(default_factory=list)
    configurations: list[ast.Configuration] = field(default_factory=list)
    direct: dict[str, hir.Variable] = field(default_factory=dict)  # %IX0.0 used without a declaration
    values: dict[str, dict[str, int]] = field(
        default_factory=dict
    )  # enumeration -> values by upper-case name
    struct_initials: dict[str, dict[str, hir.Initial]] = field(default_factory=dict)
    calls: dict[str, set[str]] = field(default_factory=dict)
    virtual_calls: dict[str, set[str]] = field(
        default_factory=dict
    )  # that may reach another unit's method instead
    read: set[hir.Variable] = field(default_factory=set)
    written: dict[hir.Variable, list[tuple[str, int]]] = field(default_factory=dict)  # -> (POU, position)
    nodes: list[object] = field(default_factory=list)  # kept alive: their ids are keys
    # Constant evaluation and initial values need the expression checker, which needs this module: set by ``check``.
    integer: Callable[[ast.Expression, Scope], int | None] = _unset
    initial: Callable[[ast.Expression, hir.Type, Scope], hir.Initial | None] = _unset
    instantiate: Callable[[PouSymbol, str, dict[str, hir.Type]], PouSymbol] = _unset
    constant_initial: Callable[[hir.Variable], hir.Initial | None] = _unset
    bindings: list[tuple[hir.Variable, hir.Place]] = field(
        default_factory=list
    )  # in-outs and what is bound to them
    tests: list[hir.Test] = field(default_factory=list)
    dialects: dict[str, str] = field(default_factory=dict)  # of sources, where libraries bring others
    libraries: frozenset[str] = frozenset()  # paths of the sources of libraries
    late_initials: dict[hir.Variable, ast.Expression] = field(default_factory=dict)  # evaluated in the body
    incomplete: dict[hir.Variable, VariableSymbol] = field(default_factory=dict)  # AT %Q*
    edges: dict[hir.Variable, hir.Variable] = field(
        default_factory=dict
    )  # R_EDGE input -> what its body reads
    programs: dict[str, hir.Variable] = field(default_factory=dict)  # CODESYS: programs used by their name
    temporaries: int = 0
    blocks: Mapping[str, Block] = field(default_factory=dict)  # the plant's own in Python, by upper-case name

    @property
    def loose(self) -> bool:
        """A dialect that converts between bit strings and integers and has pointers."""
        return self.dialect != "iec"

    def error(
        self,
        code: str,
        where: Spanned | tuple[int, int],
        message: str,
        *,
        expected: str = "",
        found: str = "",
        remedy: str = "",
        notes: Iterable[str] = (),
    ) -> None:
        self.diagnostics.report(
            code, where, message, expected=expected, found=found, remedy=remedy, notes=notes
        )

    def warn(
        self, code: str, where: Spanned | tuple[int, int], message: str, *, remedy: str = "", note: str = ""
    ) -> None:
        self.diagnostics.warn(code, where, message, remedy=remedy, notes=(note,) if note else ())

    def line(self, where: Spanned | None) -> int:
        return self.diagnostics.line(where.start) if where is not None else 0

    def fit(self, source: hir.Type, target: hir.Type) -> types.Fit:
        """``types.fit`` with what needs symbols: instances to bases and interfaces."""
        if isinstance(target, hir.Interface) and isinstance(source, hir.Instance | hir.Interface):
            return types.Fit.YES if self.is_a(source, target) else types.Fit.NO
        if isinstance(target, hir.OpenArray):
            return types.Fit.YES if fits_open(source, target) else types.Fit.NO
        if isinstance(target, hir.Interface) and source == types.NULL:
            return types.Fit.YES
        if (
            isinstance(target, hir.Ref)
            and isinstance(source, hir.Ref)
            and self.is_a(source.target, target.target)
        ):
            return types.Fit.YES
        return types.fit(source, target, self.dialect)

    def is_a(self, source: hir.Type, target: hir.Type) -> bool:
        """Whether an instance or interface is (derived from, implements) the type asked for."""
        if source == target:
            return True
        if isinstance(source, hir.Instance):
            pou = self.pous.get(source.pou)
            if pou is None:
                return False
            if isinstance(target, hir.Instance):
                return target.pou in self.pous and pou.is_a(self.pous[target.pou])
            return isinstance(target, hir.Interface) and pou.implements(self.interfaces[target.name])
        if isinstance(source, hir.Interface) and isinstance(target, hir.Interface):
            return self.interfaces[source.name].is_a(self.interfaces[target.name])
        return False

    def related(self, one: hir.Interface, other: hir.Type) -> bool:
        """Whether both may be the same instance: any two interfaces, or an interface and what implements it."""
        return isinstance(other, hir.Interface) or self.is_a(other, one)

    def common(self, left: hir.Type, right: hir.Type) -> hir.Type | None:
        return types.common(left, right, self.dialect)

    def unknown_name(self, where: Spanned, name: str, known: Iterable[str], *, what: str = "name") -> None:
        """Report a name that is not declared, with the one that was probably meant."""
        meant = closest(name, known)
        self.error(
            "ST3001" if what != "type" else "ST3002",
            where,
            f"the {what} {name} is not declared",
            remedy=f"did you mean {meant}?" if meant else f"declare {name}, or correct the spelling",
        )

    def duplicate(self, where: Spanned, name: str, earlier: Spanned | None) -> None:
        place = self.diagnostics.describe(earlier) if earlier is not None else ""
        self.error(
            "ST3003",
            where,
            f"{name} is already declared",
            remedy="rename one of the two; upper and lower case do not make a difference",
            notes=(f"first declared at {place}",) if place else (),
        )

    def standard_block(self, name: str) -> PouSymbol | None:
        """The standard block of an upper-case name; declared when it is first used."""
        found = self.pous.get(name)
        if found is not None:
            return found if found.node is None else None
        own = self.blocks.get(name)
        pou = own.pou() if own is not None else standard_pou(name)
        if pou is None:
            return None
        symbol = PouSymbol(
            name, "function_block", self.root, pou, None, state=State.DONE, base_state=State.DONE
        )
        self.pous[name] = symbol
        for variable in pou.variables:
            section = {"input": "VAR_INPUT", "output": "VAR_OUTPUT"}.get(variable.direction, "VAR")
            member = VariableSymbol(
                variable.name, variable, None, section, owner=symbol, scope=self.root, state=State.DONE
            )
            symbol.members[variable.name.upper()] = member
            if variable.direction:
                symbol.parameters.append(member)
            if isinstance(variable.type, hir.Instance):
                self.standard_block(variable.type.pou)
        if self.loose:
            self._add_aliases(symbol)
        return symbol

    def _add_aliases(self, symbol: PouSymbol) -> None:
        """CODESYS's names for pins, as further names of the same variables."""
        for alias, member in self.pin_aliases(symbol).items():
            symbol.members.setdefault(alias, symbol.members[member])

    @staticmethod
    def pin_aliases(symbol: PouSymbol) -> dict[str, str]:
        """CODESYS's names for the pins of a standard block, and the standard's."""
        if symbol.node is None:
            for family, aliases in BLOCK_ALIASES.items():
                if symbol.key == family or symbol.key.startswith(f"{family}_"):
                    return aliases
        return {}

    def path(self, names: ast.Name | ast.Member) -> list[ast.Name]:
        """The parts of a dotted name; empty if it is none."""
        parts: list[ast.Name] = []
        node: object = names
        while isinstance(node, ast.Member):
            parts.append(node.name)
            node = node.base
        if not isinstance(node, ast.Name):
            return []
        return [node, *reversed(parts)]

    def lookup_path(self, scope: Scope, names: list[str]) -> Symbol | None:
        """A dotted name through namespaces."""
        if not names:
            return None
        symbol = scope.find(names[0].upper())
        for name in names[1:]:
            if not isinstance(symbol, Namespace):
                return None
            symbol = symbol.own(name.upper())
        return symbol

    def in_dialect_of(self, path: str) -> Context:
        """The same context in the dialect of a source: a strict plant may use a library in another dialect."""
        dialect = self.dialects.get(path, self.dialect)
        return self if dialect == self.dialect else replace(self, dialect=dialect)

    def quiet(self) -> Context:
        """The same context, with problems and marks thrown away: to try something."""
        return replace(
            self,
            diagnostics=Diagnostics(self.diagnostics.sources),
            read=set(),
            written={},
            bindings=[],
            calls={},
            virtual_calls={},
        )

    def location(self, node: ast.DirectVariable, kind: hir.Type) -> hir.Location | None:
        """The address of a direct variable; reports one that does not exist."""
        return locate(self, node, kind)

    def program_variable(self, symbol: PouSymbol) -> hir.Variable:
        """CODESYS: a program is its own only instance."""
        variable = self.programs.get(symbol.key)
        if variable is None:
            variable = hir.Variable(
                symbol.key,
                hir.Instance(symbol.key),
                hir.Storage.GLOBAL,
                file=symbol.pou.file,
                line=symbol.pou.line,
            )
            self.programs[symbol.key] = variable
        return variable

    def implementation(self, interface: InterfaceSymbol, method: str) -> str:
        """The key of a method that implements an interface's method, "" if nothing does."""
        for symbol in self.pous.values():
            if symbol.kind in ("function_block", "class") and symbol.implements(interface):
                found = symbol.method(method)
                if found is not None:
                    return found.key
        return ""

    def describe(self, symbol: Symbol) -> str:
        return f"{symbol_name(symbol)} is {kind_of(symbol)}"
