"""Enumerations: their types and values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from programs import ast, hir, types
from programs.check_context import Context, Scope
from programs.symbols import EnumValueSymbol, Namespace
from scan.abi import IecType

ENUM_BASES = types.INTEGERS + types.BITS


@dataclass(frozen=True, slots=True)
class Resolved:
    """A type and its default value where that is not all zeros."""

    type: hir.Type
    initial: hir.Initial | None = None


class Enumerations:
    """The part of the type resolver that knows enumerations."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def named(self, spec: ast.NamedType, scope: Scope) -> Resolved:
        raise NotImplementedError

    def enumeration(self, spec: ast.EnumType, scope: Scope, hint: str) -> Resolved:
        known = self.context.enum_specs.get(id(spec))
        if known is None:
            known = self._make_enum(spec, scope, hint)
            self.context.enum_specs[id(spec)] = known
            self.context.nodes.append(spec)
        first = known.values[0][1] if known.values else 0
        return Resolved(known, hir.Initial(first) if first else None)

    def _make_enum(self, spec: ast.EnumType, scope: Scope, hint: str) -> hir.Enum:
        base = types.stripped(self.named(spec.base, scope).type) if spec.base is not None else types.INT
        if not isinstance(base, hir.Elementary) or base.type not in ENUM_BASES:
            if base is not types.UNKNOWN and spec.base is not None:
                self.context.error(
                    "ST3004",
                    spec.base,
                    "an enumeration is stored as an integer",
                    expected="an integer type",
                    found=types.type_name(base),
                    remedy="name an integer type, or none for INT",
                )
            base = types.INT
        pairs: list[tuple[str, int]] = []
        seen: set[str] = set()
        for value, number in self._enum_values(spec, scope, base):
            if value.name.name.upper() in seen:
                self.context.duplicate(value.name, value.name.name, None)
                continue
            seen.add(value.name.name.upper())
            pairs.append((value.name.name, number))
        return hir.Enum(hint, base.type, tuple(pairs), named=spec.base is not None)

    def _enum_values(
        self, spec: ast.EnumType, scope: Scope, base: hir.Elementary
    ) -> Iterator[tuple[ast.EnumValue, int]]:
        following = 0
        earlier: dict[str, int] = {}
        for value in spec.values:
            number = following
            if value.value is not None:
                given = self._earlier_value(value.value, earlier)
                given = given if given is not None else self.context.integer(value.value, scope)
                number = given if given is not None else following
            if not types.holds(base, number):
                self.context.error(
                    "ST3007",
                    value,
                    f"{number} does not fit {types.type_name(base)}",
                    expected=range_text(base.type),
                    found=str(number),
                    remedy="give the enumeration a larger base type",
                )
                number = 0
            following = number + 1
            earlier[value.name.name.upper()] = number
            yield value, number

    @staticmethod
    def _earlier_value(node: ast.Expression, earlier: dict[str, int]) -> int | None:
        return earlier.get(node.name.upper()) if isinstance(node, ast.Name) else None

    def enter_values(self, spec: ast.EnumType, scope: Namespace, kind: hir.Enum) -> None:
        """Make the values of an enumeration known by their simple names."""
        for name, number in kind.values:
            key = name.upper()
            earlier = scope.enum_values.get(key)
            if earlier is None:
                scope.enum_values[key] = EnumValueSymbol(name, kind, number)
            elif earlier.type != kind:
                earlier.ambiguous = True
        self.context.nodes.append(spec)


def range_text(kind: IecType) -> str:
    low, high = types.RANGE[kind]
    return f"{low} to {high}"
