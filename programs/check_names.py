"""What names stand for, and the values of what they stand for."""

from __future__ import annotations

from programs import ast, hir, types
from programs.blocks import standard_blocks
from programs.check_meanings import (
    CallableMeaning,
    Meaning,
    PlaceMeaning,
    PropertyMeaning,
    StandardMeaning,
    SuperMeaning,
    SymbolMeaning,
    ValueMeaning,
)
from programs.check_values import BodyValues, Value
from programs.diagnostics import Spanned
from programs.signatures import FUNCTIONS, is_standard_function
from programs.symbols import (
    EnumValueSymbol,
    PouSymbol,
    Symbol,
    VariableSymbol,
)
from scan.abi import IecType

_PART_BITS = {"": 1, "X": 1, "B": 8, "W": 16, "D": 32}
_PART_TYPE = {
    1: types.BOOL,
    8: types.BYTE,
    16: hir.Elementary(IecType.WORD),
    32: hir.Elementary(IecType.DWORD),
}
_DIRECT_TYPE = {"": "BOOL", "X": "BOOL", "B": "BYTE", "W": "WORD", "D": "DWORD", "L": "LWORD"}


class BodyNames(BodyValues):
    """Layer 2: names."""

    # -- names

    def _name(self, node: ast.Name) -> Meaning | None:
        upper = node.name.upper()
        found = self._in_pou(upper, node) or self._symbol_meaning(self.scope.namespace.find(upper), node)
        if found is not None:
            return found
        if is_standard_function(upper):
            return StandardMeaning(upper)
        block = self.context.standard_block(upper)
        if block is not None:
            return SymbolMeaning(block)
        self.context.unknown_name(node, node.name, [*self.scope.names(), *FUNCTIONS, *standard_blocks()])
        return None

    def _in_pou(self, upper: str, node: ast.Name) -> Meaning | None:
        """A variable, property, method or action of the POU or of what it belongs to."""
        pou = self.pou
        while pou is not None:
            variable = pou.member(upper)
            if variable is not None:
                return self._variable(variable, node)
            if pou.kind in ("function_block", "class", "program"):
                found = self._own(pou, upper, node)
                if found is not None:
                    return found
            pou = pou.owner if isinstance(pou.owner, PouSymbol) else None
        return None

    def _own(self, pou: PouSymbol, upper: str, node: ast.Name) -> Meaning | None:
        this = hir.ThisPlace(hir.Instance(pou.key), self.line(node))
        prop = pou.property(upper)
        if prop is not None:
            return PropertyMeaning(prop, this, exact=False)
        method = pou.method(upper) or pou.action(upper)
        return CallableMeaning(method, this, exact=False) if method is not None else None

    def _global(self, node: ast.GlobalName) -> Meaning | None:
        found = self._symbol_meaning(self.context.root.find(node.name.upper()), node)
        if found is None:
            self.context.unknown_name(node, node.name, self.context.root.names())
        return found

    def _symbol_meaning(self, symbol: Symbol | None, node: Spanned) -> Meaning | None:
        match symbol:
            case None:
                return None
            case VariableSymbol():
                return self._variable(symbol, node)
            case EnumValueSymbol():
                return self._enum_value(symbol, node)
            case PouSymbol(kind="function"):
                return CallableMeaning(symbol)
        return SymbolMeaning(symbol)

    def _enum_value(self, symbol: EnumValueSymbol, node: Spanned) -> Meaning:
        if symbol.ambiguous:
            self.error(
                "ST3015",
                node,
                f"several enumerations have a value {symbol.name}",
                expected="the name of the enumeration before the value",
                found=symbol.name,
                remedy=f"write {symbol.type.name}#{symbol.name}, or the other enumeration's name",
            )
        return ValueMeaning(Value(hir.Constant(symbol.type, symbol.value, self.line(node)), symbol.type))

    def _variable(self, symbol: VariableSymbol, node: Spanned) -> Meaning:
        kind = self.resolver.variable(symbol)
        variable = symbol.variable
        readonly = symbol.readonly
        if symbol.owner is not None and self.pou is not symbol.owner and symbol.section == "RESULT":
            readonly = readonly or "the result of another unit"
        stored = self.context.edges.get(variable, variable)
        place = hir.VariablePlace(stored, kind, self.line(node))
        return self.through_reference(PlaceMeaning(place, kind, variable, readonly, symbol.doubt))

    def through_reference(self, meaning: PlaceMeaning) -> PlaceMeaning:
        """A REFERENCE TO variable stands for what it points to."""
        kind = meaning.type
        if isinstance(kind, hir.Ref) and kind.implicit:
            self.mark_read(meaning.root)
            load = hir.Load(meaning.place, kind, meaning.place.line)
            return PlaceMeaning(
                hir.DerefPlace(load, kind.target, meaning.place.line), kind.target, meaning.root
            )
        return meaning

    def _direct(self, node: ast.DirectVariable) -> Meaning | None:
        known = self.context.direct.get(node.text.upper())
        if known is None:
            kind = types.ELEMENTARY[_DIRECT_TYPE.get(node.size, "BOOL")]
            location = self.context.location(node, kind)
            if location is None:
                return None
            known = hir.Variable(
                node.text, kind, hir.Storage.LOCATED, location=location, line=self.line(node)
            )
            known.file = self.pou.pou.file if self.pou is not None else ""
            self.context.direct[node.text.upper()] = known
        place = hir.VariablePlace(known, known.type, self.line(node))
        return PlaceMeaning(
            place, known.type, known, "an input of the process image" if node.area == "I" else ""
        )

    def _this(self, node: ast.This) -> Meaning | None:
        owner = self.owner()
        if owner is None:
            self._outside(node, "THIS")
            return None
        kind = hir.Instance(owner.key)
        return PlaceMeaning(hir.ThisPlace(kind, self.line(node)), kind, None, "the instance itself")

    def _super(self, node: ast.Super) -> Meaning | None:
        owner = self.owner()
        if owner is None or owner.base is None:
            self._outside(node, "SUPER")
            return None
        return SuperMeaning(owner.base)

    def _outside(self, node: Spanned, word: str) -> None:
        self.error(
            "ST4017",
            node,
            f"{word} has no meaning here",
            expected="a function block or class" + (" that extends another one" if word == "SUPER" else ""),
            found=self.pou.kind.replace("_", " ") if self.pou is not None else "a declaration",
            remedy=f"use {word} only in the methods and the body of such a unit",
        )

    def owner(self) -> PouSymbol | None:
        """The block, class or program whose instance the body works on."""
        pou = self.pou
        while pou is not None and pou.kind not in ("function_block", "class", "program"):
            pou = pou.owner if isinstance(pou.owner, PouSymbol) else None
        return pou

    # -- use

    def mark_read(self, variable: hir.Variable | None) -> None:
        if variable is not None:
            self.context.read.add(variable)

    def mark_written(self, variable: hir.Variable | None, node: Spanned) -> None:
        if variable is not None:
            key = self.pou.key if self.pou is not None else ""
            self.context.written.setdefault(variable, []).append((key, node.start))

    def mark_used(self, variable: hir.Variable | None, node: Spanned) -> None:
        self.mark_read(variable)
        self.mark_written(variable, node)

    def rvalue(self, meaning: Meaning, node: Spanned) -> Value:
        """The value of a designator."""
        match meaning:
            case ValueMeaning():
                return meaning.value
            case PlaceMeaning():
                return self.load(meaning, node)
            case PropertyMeaning():
                return self.get_property(meaning, node)
            case CallableMeaning():
                return self.call_without_parentheses(meaning, node)
            case SuperMeaning() if self.context.loose:
                kind = hir.Instance(meaning.base.key)
                return Value(hir.Load(hir.ThisPlace(kind, self.line(node)), kind, self.line(node)), kind)
        self.no_value(meaning, node)
        return self.poison(node)

    def get_property(self, meaning: PropertyMeaning, node: Spanned) -> Value:
        raise NotImplementedError

    def call_without_parentheses(self, meaning: CallableMeaning, node: Spanned) -> Value:
        raise NotImplementedError

    def no_value(self, meaning: Meaning, node: Spanned) -> None:
        match meaning:
            case StandardMeaning():
                what, remedy = f"{meaning.name} is a standard function", f"call it: {meaning.name}(…)"
            case SymbolMeaning():
                what, remedy = self.context.describe(meaning.symbol), "use a variable of this type"
            case _:
                what, remedy = "SUPER is no value", "write SUPER^.Method(…)"
        self.error("ST3004", node, f"{what}, not a value", expected="a value", found=what, remedy=remedy)

    def load(self, meaning: PlaceMeaning, node: Spanned) -> Value:
        """Read a place; a scalar constant is its value."""
        self.mark_read(meaning.root)
        if meaning.type is types.UNKNOWN:
            return self.poison(node)
        kind = types.stripped(meaning.type)
        place = meaning.place
        if isinstance(place, hir.VariablePlace) and place.variable.constant and not types.is_aggregate(kind):
            constant = self.constant_value(place.variable, kind, node)
            if constant is not None:
                return Value(constant, kind)
        return Value(hir.Load(place, kind, self.line(node)), kind)

    def constant_value(self, variable: hir.Variable, kind: hir.Type, node: Spanned) -> hir.Constant | None:
        initial = self.context.constant_initial(variable)
        if initial is None:
            value: int | float | str = "" if isinstance(kind, hir.String) else 0
            return hir.Constant(kind, value, self.line(node)) if not isinstance(kind, hir.Ref) else None
        if isinstance(initial.value, int | float | str):
            return hir.Constant(kind, initial.value, self.line(node))
        return None
