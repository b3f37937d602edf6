"""Properties: reading calls GET, assigning calls SET."""

from __future__ import annotations

from programs import hir, types
from programs.check_arguments import Prepared
from programs.check_meanings import CallableMeaning, PropertyMeaning
from programs.check_tests import BodyTests
from programs.check_values import Value
from programs.diagnostics import Spanned
from programs.symbols import PouSymbol


class BodyProperties(BodyTests):
    """Layer 10: properties."""

    def get_property(self, meaning: PropertyMeaning, node: Spanned) -> Value:
        kind = self.resolver.property(meaning.symbol)
        getter = self._accessor(meaning, "GET")
        if getter is None:
            self.error(
                "ST4018",
                node,
                f"the property {meaning.symbol.name} cannot be read",
                expected="a property with GET",
                found="SET only",
                remedy="add a GET accessor",
            )
            return self.poison(node)
        if kind is types.UNKNOWN or self.constant_only:
            return self.poison(node)
        self.prepare_header(getter)
        self._prepare_property(getter)
        self.note_call(getter, exact=meaning.exact)
        callee = CallableMeaning(getter, meaning.receiver, meaning.exact)
        kind = types.stripped(kind)
        if self._unimplemented(getter):
            return self._null_call(kind, node)
        return self._implicit(Value(self._make_call(callee, Prepared(), kind, node), kind), node)

    def _prepare_property(self, unit: PouSymbol) -> None:
        for symbol in unit.members.values():
            if symbol.node is None:
                self.resolver.variable(symbol)

    def _accessor(self, meaning: PropertyMeaning, kind: str) -> PouSymbol | None:
        """GET or SET, also when only the base declares it."""
        name = f"{meaning.symbol.name.upper()}.{kind}"
        owner = meaning.symbol.owner
        return owner.method(name)

    def set_property(self, meaning: PropertyMeaning, value: Value, node: Spanned) -> None:
        kind = self.resolver.property(meaning.symbol)
        setter = self._accessor(meaning, "SET")
        if setter is None:
            self.error(
                "ST4018",
                node,
                f"the property {meaning.symbol.name} cannot be assigned",
                expected="a property with SET",
                found="GET only",
                remedy="add a SET accessor",
            )
            return
        if kind is types.UNKNOWN:
            return
        self._prepare_property(setter)
        self.note_call(setter, exact=meaning.exact)
        expr = self.convert(value, kind, node)
        if self._unimplemented(setter):
            self._null_call(None, node)
            return
        callee = CallableMeaning(setter, meaning.receiver, meaning.exact)
        call = self._make_call(callee, Prepared([expr]), None, node)
        self.output.append(hir.CallStatement(call, self.line(node)))
