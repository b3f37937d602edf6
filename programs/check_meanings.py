"""What a designator can stand for."""

from __future__ import annotations

from dataclasses import dataclass

from programs import hir
from programs.check_values import Value
from programs.symbols import PouSymbol, PropertySymbol, Symbol


@dataclass(slots=True, eq=False)
class PlaceMeaning:
    """Something with an address. ``readonly``: why it may not be assigned; ``root``: the variable at its start."""

    place: hir.Place
    type: hir.Type
    root: hir.Variable | None = None
    readonly: str = ""
    doubt: str = ""  # may be assigned, but should not be


@dataclass(slots=True, eq=False)
class ValueMeaning:
    value: Value


@dataclass(slots=True, eq=False)
class PropertyMeaning:
    symbol: PropertySymbol
    receiver: hir.Place | hir.Expression
    exact: bool  # the dynamic type is known


@dataclass(slots=True, eq=False)
class CallableMeaning:
    """A function, or a method or action with its instance."""

    symbol: PouSymbol
    receiver: hir.Place | hir.Expression | None = None
    exact: bool = True


@dataclass(slots=True, eq=False)
class StandardMeaning:
    name: str  # upper case


@dataclass(slots=True, eq=False)
class SuperMeaning:
    """SUPER: the base's part of this instance."""

    base: PouSymbol


@dataclass(slots=True, eq=False)
class SymbolMeaning:
    """A type, block, interface or namespace: no value by itself."""

    symbol: Symbol


Meaning = (
    PlaceMeaning | ValueMeaning | PropertyMeaning | CallableMeaning | StandardMeaning | SuperMeaning | SymbolMeaning
)  # fmt: skip
