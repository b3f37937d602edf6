"""What blocks, classes and interfaces promise each other; and instances that would contain themselves."""

from __future__ import annotations

from programs import ast, hir, types
from programs.check_construct import SPECIAL_METHODS
from programs.check_context import Context
from programs.check_types import TypeResolver
from programs.symbols import InterfaceSymbol, PouSymbol


def check_inheritance(context: Context, resolver: TypeResolver) -> bool:
    """Check all blocks and classes. False if something contains itself: then no size is finite."""
    for symbol in list(context.pous.values()):
        if isinstance(symbol.node, ast.Pou) and symbol.kind in ("function_block", "class"):
            _Block(context, resolver, symbol).check()
    return _finite(context)


class _Block:
    def __init__(self, context: Context, resolver: TypeResolver, symbol: PouSymbol) -> None:
        self.context = context
        self.resolver = resolver
        self.symbol = symbol

    def check(self) -> None:
        self._redeclared()
        for method in self.symbol.methods.values():
            self._method(method)
        for interface in self._promised():
            self._implemented(interface)
        if not self.symbol.abstract:
            self._no_abstract_left()

    @property
    def name_node(self) -> ast.Name:
        assert isinstance(self.symbol.node, ast.Pou)
        return self.symbol.node.name

    def _promised(self) -> list[InterfaceSymbol]:
        found: list[InterfaceSymbol] = []
        pou: PouSymbol | None = self.symbol
        while pou is not None:
            found += [i for own in pou.interfaces for i in own.all() if i not in found]
            pou = pou.base
        return found

    def _redeclared(self) -> None:
        if self.symbol.base is None:
            return
        for key, member in self.symbol.members.items():
            inherited = self.symbol.base.member(key)
            if inherited is not None and member.node is not None:
                self.context.duplicate(member.node.name, member.name, inherited.node)

    def _method(self, method: PouSymbol) -> None:
        base = self.symbol.base.method(self._key(method)) if self.symbol.base is not None else None
        where = getattr(method.node, "name", None) or method.node or self.name_node
        if base is None:
            if method.override:
                self._broken(where, f"{method.name} overrides nothing", "a method of the base", "none")
            return
        if base.final:
            self._broken(where, f"{method.name} is FINAL in the base", "another name", "a FINAL method")
        if not method.override and not self.context.loose:
            self._broken(where, f"{method.name} hides a method of the base", "OVERRIDE", "no OVERRIDE")
        self._same_signature(method, base, where)

    @staticmethod
    def _key(method: PouSymbol) -> str:
        if isinstance(method.node, ast.Accessor):
            parts = method.key.upper().split(".")
            return f"{parts[-2]}.{parts[-1]}"
        return method.slot or method.name.upper()

    def _broken(self, where: object, message: str, expected: str, found: str) -> None:
        assert isinstance(where, ast.Node)
        remedy = "write OVERRIDE if the method replaces the inherited one, else rename it"
        self.context.error("ST4014", where, message, expected=expected, found=found, remedy=remedy)

    def _same_signature(self, method: PouSymbol, promised: PouSymbol, where: object) -> None:
        if method.name.upper() in SPECIAL_METHODS and self.context.loose:
            return  # constructors have parameters of their own
        if self._signature(method) != self._signature(promised):
            self._broken(
                where,
                f"{method.name} has another signature than the one that it implements",
                self._shown(promised),
                self._shown(method),
            )

    def _signature(self, method: PouSymbol) -> list[object]:
        parts: list[object] = []
        for parameter in method.parameters:
            kind = types.stripped(self.resolver.variable(parameter))
            parts.append((parameter.section, kind))
        result = method.pou.result
        parts.append(types.stripped(result.type) if result is not None else None)
        return parts

    def _shown(self, method: PouSymbol) -> str:
        inside = ", ".join(
            f"{parameter.name} : {types.type_name(self.resolver.variable(parameter))}"
            for parameter in method.parameters
        )
        result = f" : {types.type_name(method.pou.result.type)}" if method.pou.result is not None else ""
        return f"{method.name}({inside}){result}"

    def _implemented(self, interface: InterfaceSymbol) -> None:
        missing = []
        for key, promised in interface.methods.items():
            method = self.symbol.method(key)
            if method is None:
                missing.append(key if "." in key else promised.name)
            elif method.owner is self.symbol:
                where = getattr(method.node, "name", None) or method.node or self.name_node
                self._same_signature(method, promised, where)
        if missing and not self.symbol.abstract:
            self.context.error(
                "ST4013",
                self.name_node,
                f"{self.symbol.name} does not implement all of {interface.node.name.name}",
                expected=", ".join(missing),
                found="no such method",
                remedy="add the missing methods, or declare the unit ABSTRACT",
            )

    def _no_abstract_left(self) -> None:
        pou: PouSymbol | None = self.symbol
        missing: list[str] = []
        while pou is not None:
            for key, method in pou.methods.items():
                found = self.symbol.method(key)
                if method.abstract and found is not None and found.abstract and key not in missing:
                    missing.append(key)
            pou = pou.base
        if missing:
            self.context.error(
                "ST4012",
                self.name_node,
                f"{self.symbol.name} has abstract methods",
                expected="an ABSTRACT unit, or a body for each method",
                found=", ".join(missing),
                remedy="implement them, or declare the unit ABSTRACT",
            )


# ---------------------------------------------------------------- containment


def _finite(context: Context) -> bool:
    """Report structures and blocks that contain themselves."""
    done: set[str] = set()
    ok = True
    for symbol in context.pous.values():
        if symbol.kind in ("function_block", "class", "program") and symbol.node is not None:
            circle = _circle(context, hir.Instance(symbol.key), [], done)
            if circle:
                assert isinstance(symbol.node, ast.Pou)
                _report(context, symbol.node.name, circle)
                ok = False
    for declared in context.type_symbols:
        if isinstance(declared.type, hir.Struct):
            circle = _circle(context, declared.type, [], done)
            if circle:
                _report(context, declared.node.name, circle)
                ok = False
    return ok


def _report(context: Context, where: ast.Name, circle: list[str]) -> None:
    context.error(
        "ST3005",
        where,
        f"{circle[0]} contains itself",
        expected="a type of finite size",
        found=" contains ".join(circle),
        remedy="break the circle: use a reference (REF_TO) at one place",
    )


def _circle(context: Context, kind: hir.Type, path: list[str], done: set[str]) -> list[str]:
    """The names along a circle of containment, empty if there is none."""
    while isinstance(kind, hir.Array):
        kind = kind.element
    if isinstance(kind, hir.Struct) and kind not in (types.UNKNOWN, types.VOID):
        name, inner = kind.name, [member.type for member in kind.members]
    elif isinstance(kind, hir.Instance) and kind.pou in context.pous:
        name, inner = kind.pou, _members(context.pous[kind.pou])
    else:
        return []
    if name in path:
        return [*path[path.index(name) :], name]
    if name in done:
        return []
    for member in inner:
        found = _circle(context, member, [*path, name], done)
        if found:
            return found
    done.add(name)
    return []


def _members(symbol: PouSymbol) -> list[hir.Type]:
    found = [v.type for v in symbol.pou.variables if v.storage is hir.Storage.INSTANCE]
    if symbol.base is not None:
        found.append(hir.Instance(symbol.base.key))
    return found
