"""Calls of functions, methods, properties, actions and blocks that the program declares."""

from __future__ import annotations

from programs import ast, hir, types
from programs.check_arguments import BodyArguments, Bound, Prepared
from programs.check_meanings import (
    CallableMeaning,
    Meaning,
    PlaceMeaning,
    StandardMeaning,
    SuperMeaning,
    SymbolMeaning,
    ValueMeaning,
)
from programs.check_overloads import version
from programs.check_values import Value
from programs.diagnostics import Spanned
from programs.signatures import is_standard_function
from programs.symbols import InterfaceSymbol, PouSymbol, VariableSymbol


class BodyCalls(BodyArguments):
    """Layer 8: calls."""

    def call(self, node: ast.Call, want: hir.Type | None = None) -> Value:
        """A call as an expression; its value may be ``VOID``. A block call's statement goes to ``output``."""
        if self.constant_only and not self._standard_name(node):
            self._not_constant(node)
            return self.poison(node)
        callee = self._callee(node)
        if callee is None or (isinstance(callee, PlaceMeaning) and callee.type is types.UNKNOWN):
            for argument in node.arguments:
                if argument.value is not None and not argument.output:
                    self.expression(argument.value)
            return self.poison(node)
        if isinstance(callee, StandardMeaning):
            return self._enabled_standard(callee.name, node, want)
        if isinstance(callee, CallableMeaning):
            return self._call_unit(callee, node)
        if isinstance(callee, SuperMeaning):
            this = hir.ThisPlace(hir.Instance(callee.base.key), self.line(node))
            return self._call_block(PlaceMeaning(this, this.type), callee.base, node, exact=True)
        if isinstance(callee, PlaceMeaning) and isinstance(callee.type, hir.Instance):
            pou = self.context.pous.get(callee.type.pou)
            if pou is not None:
                return self._call_block(callee, pou, node, exact=False)
        self._not_callable(callee, node)
        return self.poison(node)

    def _not_constant(self, node: Spanned) -> None:
        self.error(
            "ST3008",
            node,
            "a declaration needs a constant here",
            expected="literals, constants and standard functions of them",
            found="a call",
            remedy="assign the value in the body",
        )

    def _standard_name(self, node: ast.Call) -> bool:
        callee = node.callee
        return isinstance(callee, ast.Name) and is_standard_function(callee.name.upper())

    def _callee(self, node: ast.Call) -> Meaning | None:
        callee = node.callee
        if not isinstance(callee, ast.Name):
            return self.meaning(callee)
        upper = callee.name.upper()
        found = self.scope.find(upper)
        if isinstance(found, VariableSymbol):
            # A variable that cannot be called hides no function of its name; a function's result is one.
            kind = self.resolver.variable(found)
            if not isinstance(kind, hir.Instance | hir.Ref | hir.Interface):
                outer = self.scope.namespace.find_declared(upper)
                if isinstance(outer, PouSymbol) and outer.kind == "function":
                    return CallableMeaning(outer)
                method = self._own_callable(upper, callee)
                if method is not None:
                    return method
                if is_standard_function(upper):
                    return StandardMeaning(upper)
        if isinstance(found, PouSymbol) and found.external and is_standard_function(upper):
            return StandardMeaning(upper)
        if found is None and is_standard_function(upper) and self._own_callable(upper, callee) is None:
            return StandardMeaning(upper)
        meaning = self.meaning(callee)
        symbol = meaning.symbol if isinstance(meaning, SymbolMeaning) else None
        if isinstance(symbol, PouSymbol) and symbol.kind == "program" and self.context.loose:
            return self.program_place(symbol, callee)
        return meaning

    def _own_callable(self, upper: str, node: Spanned) -> CallableMeaning | None:
        owner = self.owner()
        found = (owner.method(upper) or owner.action(upper)) if owner is not None else None
        if found is None or owner is None:
            return None
        return CallableMeaning(found, hir.ThisPlace(hir.Instance(owner.key), self.line(node)), exact=False)

    def _not_callable(self, callee: Meaning, node: ast.Call) -> None:
        match callee:
            case SymbolMeaning():
                found = self.context.describe(callee.symbol)
                remedy = "declare an instance of it as a variable and call that"
            case PlaceMeaning() | ValueMeaning():
                kind = callee.type if isinstance(callee, PlaceMeaning) else callee.value.type
                found, remedy = f"a value of type {types.type_name(kind)}", "remove the parentheses"
            case _:
                found, remedy = "a property", "remove the parentheses"
        self.error(
            "ST4005",
            node.callee,
            "this cannot be called",
            expected="a function, a method or an instance of a function block",
            found=found,
            remedy=remedy,
        )

    # -- functions, methods, actions

    def call_method(self, callee: CallableMeaning, node: ast.Call) -> Value:
        """A call whose callee is known already."""
        return self._call_unit(callee, node)

    def _call_unit(self, callee: CallableMeaning, node: ast.Call) -> Value:
        unit = version(self, callee.symbol, callee.receiver, node)
        if unit is None:
            return self.poison(node)
        callee.symbol = unit
        if unit.generic:
            instance = self._instance_for(unit, node)
            if instance is None:
                return self.poison(node)
            callee.symbol = unit = instance
        self.prepare_header(unit)
        if unit.external:
            self.error(
                "ST4005",
                node.callee,
                f"{unit.name} is implemented outside of the program",
                expected="a function with a body",
                found="{external}",
                remedy="write the body, or use a standard function",
            )
            return self.poison(node)
        bound = self.bind_unit(unit, node)
        if bound.enable is None and bound.eno is None:
            return self._call_now(callee, bound, node)
        return self.enabled(bound, node, lambda: self._call_now(callee, bound, node))

    def _instance_for(self, unit: PouSymbol, node: ast.Call) -> PouSymbol | None:
        """The instance of a generic function that the arguments ask for."""
        declared = unit.node
        assert isinstance(declared, ast.Pou)
        bound = self.bind_unit(unit, node)
        found: dict[str, hir.Type] = {}
        for family in declared.type_parameters:
            values = [
                self.settle(self.expression(argument.value))
                for parameter, argument in bound.arguments.items()
                if argument.value is not None and self._is_of(parameter, family.name.name)
            ]
            kind = self.unify(values, family.family, None, node, unit.name) if values else None
            if kind is None:
                if not values:
                    self._no_type(unit, family, node)
                return None
            found[family.name.name.upper()] = kind
        names = "_".join(types.type_name(kind).split("[")[0] for kind in found.values())
        # A version for one type may be written out: name__TYPE.
        written = unit.scope.find_declared(f"{unit.name}__{names}".upper())
        if isinstance(written, PouSymbol):
            return written
        return self.context.instantiate(unit, f"{unit.key}__{names}", found)

    @staticmethod
    def _is_of(parameter: VariableSymbol, name: str) -> bool:
        spec = parameter.node.type if parameter.node is not None else None
        return isinstance(spec, ast.NamedType) and spec.name.upper() == name.upper()

    def _no_type(self, unit: PouSymbol, family: ast.TypeParameter, node: Spanned) -> None:
        self.error(
            "ST4003",
            node,
            f"nothing tells the type {family.name.name} of {unit.name}",
            expected=f"an argument of a type of {family.family}",
            found="none",
            remedy="give an argument whose type is the parameter",
        )

    def prepare_header(self, unit: PouSymbol) -> None:
        """The types of a unit's parameters and result, which a call needs."""
        for symbol in unit.parameters:
            self.resolver.variable(symbol)
        result = unit.members.get(unit.name.upper())
        if result is not None and result.section == "RESULT":
            self.resolver.variable(result)

    def _call_now(self, callee: CallableMeaning, bound: Bound, node: ast.Call) -> Value:
        unit = callee.symbol
        prepared = self._prepare(unit, bound, node)
        self.note_call(unit, exact=callee.exact)
        result = unit.pou.result
        kind = result.type if result is not None else None
        if prepared is None or kind is types.UNKNOWN:
            return self.poison(node)
        if self._unimplemented(unit):
            return self._null_call(kind, node)
        call = self._make_call(callee, prepared, kind, node)
        if kind is None:
            self.output += [hir.CallStatement(call, self.line(node)), *prepared.after]
            return Value(hir.Constant(types.VOID, 0, self.line(node)), types.VOID)
        value = Value(call, types.stripped(kind))
        call.type = value.type
        if prepared.after:
            value = self._kept(value, node)
            self.output += prepared.after
        return self._implicit(value, node)

    def _unimplemented(self, unit: PouSymbol) -> bool:
        """A method of an interface that nothing implements."""
        if not isinstance(unit.owner, InterfaceSymbol):
            return False
        name = next(key for key, method in unit.owner.methods.items() if method is unit)
        return not self.context.implementation(unit.owner, name)

    def _null_call(self, kind: hir.Type | None, node: Spanned) -> Value:
        """Every variable of such an interface is NULL: the call is a NULL that is followed."""
        line = self.line(node)
        target = types.stripped(kind) if kind is not None else types.BYTE
        null = hir.Constant(hir.Ref(target), 0, line)
        value = Value(hir.Load(hir.DerefPlace(null, target, line), target, line), target)
        if kind is not None:
            return value
        self._kept(value, node)
        return Value(hir.Constant(types.VOID, 0, line), types.VOID)

    def _implicit(self, value: Value, node: Spanned) -> Value:
        """A function that returns REFERENCE TO gives what it refers to."""
        if isinstance(value.type, hir.Ref) and value.type.implicit:
            target = value.type.target
            line = self.line(node)
            return Value(
                hir.Load(hir.DerefPlace(value.expr, target, line), types.stripped(target), line),
                types.stripped(target),
            )
        return value

    def _kept(self, value: Value, node: Spanned) -> Value:
        """The value in a temporary, computed now."""
        kept = self.temporary(value.computed, node)
        place = hir.VariablePlace(kept, kept.type, self.line(node))
        self.output.append(hir.Assign(place, value.expr, self.line(node)))
        return Value(hir.Load(place, kept.type, self.line(node)), value.type)

    def _make_call(
        self, callee: CallableMeaning, prepared: Prepared, kind: hir.Type | None, node: Spanned
    ) -> hir.Call:
        unit = callee.symbol
        call = hir.Call(
            unit.key, prepared.arguments, kind, prepared.inouts, prepared.outputs, line=self.line(node)
        )
        name = unit.slot or unit.name.upper()
        if unit.kind == "method" and isinstance(unit.node, ast.Accessor):
            prop, _, accessor = unit.key.rpartition(".")
            name = f"{prop.rpartition('.')[2].upper()}.{accessor.upper()}"
        if unit.kind in ("method", "action"):
            call.method = name
        if isinstance(unit.owner, InterfaceSymbol):
            assert not isinstance(callee.receiver, _PLACES) and callee.receiver is not None
            call.interface = callee.receiver
            call.pou = self.context.implementation(unit.owner, name)
        elif isinstance(callee.receiver, _PLACES):
            call.receiver = callee.receiver
            call.virtual = unit.kind == "method" and not callee.exact
        return call

    def note_call(self, unit: PouSymbol, *, exact: bool = True) -> None:
        if self.pou is not None:
            calls = self.context.calls if exact else self.context.virtual_calls
            calls.setdefault(self.pou.key, set()).add(unit.key)

    def call_without_parentheses(self, meaning: CallableMeaning, node: Spanned) -> Value:
        """A method or function named as a value: CODESYS's old form, else the parentheses are missing."""
        if meaning.symbol.kind == "action":
            self.error(
                "ST3004",
                node,
                f"{meaning.symbol.name} is an action, not a value",
                expected="a value",
                found="an action",
                remedy="call it as a statement",
            )
            return self.poison(node)
        self.error(
            "ST4005",
            node,
            f"{meaning.symbol.name} is a {meaning.symbol.kind}, not a variable",
            expected=f"{meaning.symbol.name}(…)",
            found=meaning.symbol.name,
            remedy="write parentheses with the arguments behind the name",
        )
        return self.poison(node)

    # -- arguments

    def _prepare(self, unit: PouSymbol, bound: Bound, node: ast.Call) -> Prepared | None:
        prepared = Prepared()
        ok = bound.ok and self.complete(unit, bound, node)
        for parameter in unit.parameters:
            argument = bound.arguments.get(parameter)
            if parameter.section == "VAR_INPUT":
                ok = self._input(unit, parameter, argument, prepared, node) and ok
            elif argument is None or argument.value is None:
                ok = ok and parameter.section == "VAR_OUTPUT"
            elif parameter.section == "VAR_OUTPUT":
                ok = self._output(parameter, argument, prepared, node) and ok
            else:
                ok = self._inout(parameter, argument.value, prepared, node) and ok
        return prepared if ok else None

    # -- EN and ENO

    def enabled(self, bound: Bound, node: ast.Call, work: object) -> Value:
        """A call that EN may skip: then the value is the default, and ENO is FALSE (IEC 61131-3:2013, 6.6.1.5)."""
        line = self.line(node)
        assert callable(work)
        condition: hir.Expression | None = None
        if bound.enable is not None and bound.enable.value is not None:
            condition = self.boolean(bound.enable.value, what="EN")
        outer, self.output = self.output, []
        value: Value = work()
        kept: hir.Variable | None = None
        if value.type is not types.VOID and not value.unknown:
            value = self.settle(value)
            kept = self.temporary(value.computed, node)
            self.output.append(hir.Assign(hir.VariablePlace(kept, kept.type, line), value.expr, line))
        inner, self.output = self.output, outer
        inner += self._set_eno(bound, node, done=True)
        if condition is None:
            self.output += inner
        else:
            branches: list[tuple[hir.Expression | None, list[hir.Statement]]] = [(condition, inner)]
            otherwise = self._set_eno(bound, node, done=False)
            if otherwise:
                branches.append((None, otherwise))
            self.output.append(hir.If(branches, line))
        if kept is None:
            return value
        return Value(hir.Load(hir.VariablePlace(kept, kept.type, line), kept.type, line), value.type)

    def _set_eno(self, bound: Bound, node: Spanned, *, done: bool) -> list[hir.Statement]:
        if bound.eno is None or bound.eno.value is None:
            return []
        target = bound.eno.value
        result = Value(hir.Constant(types.BOOL, int(done != bound.eno.negated), self.line(node)), types.BOOL)
        return self.statements_of(lambda: self.store(target, result, target))

    def _enabled_standard(self, name: str, node: ast.Call, want: hir.Type | None) -> Value:
        bound = Bound()
        rest: list[ast.Argument] = []
        for argument in node.arguments:
            upper = argument.name.name.upper() if argument.name is not None else ""
            if upper == "EN" and not argument.output:
                bound.enable = argument
            elif upper == "ENO":
                bound.eno = argument
            else:
                rest.append(argument)
        if len(rest) == len(node.arguments):
            return self.standard_call(name, node, want)
        plain = ast.Call(node.start, node.end, node.callee, rest)
        return self.enabled(bound, node, lambda: self.standard_call(name, plain, want))

    # -- blocks

    def _call_block(self, instance: PlaceMeaning, unit: PouSymbol, node: ast.Call, *, exact: bool) -> Value:
        self.prepare_header(unit)
        if unit.kind == "class":
            self.error(
                "ST4005",
                node.callee,
                f"{unit.name} is a class and has no body to call",
                expected="a function block",
                found="a class",
                remedy="call one of its methods",
            )
            return self.poison(node)
        self.mark_used(instance.root, node)
        bound = self.bind_unit(unit, node)
        parameters = [p for p in bound.arguments if p not in self._all_parameters(unit)]
        prepared = self._prepare_block(unit, bound, node, parameters)
        self.note_call(unit)
        if prepared is None:
            return self.poison(node)
        call = hir.CallBlock(
            instance.place, unit.key, prepared.inputs, prepared.outputs, prepared.inouts, line=self.line(node)
        )
        call.virtual = not exact and isinstance(instance.place, hir.DerefPlace | hir.ThisPlace)
        if instance.root is not None and instance.root.storage is hir.Storage.INOUT_PARAMETER:
            call.virtual = not exact
        if bound.enable is not None and bound.enable.value is not None:
            call.enable = self.boolean(bound.enable.value, what="EN")
        if bound.eno is not None and bound.eno.value is not None:
            kept = self.temporary(types.BOOL, node)
            call.eno = hir.VariablePlace(kept, types.BOOL, self.line(node))
            target, eno = bound.eno.value, PlaceMeaning(call.eno, types.BOOL)
            prepared.after += self.statements_of(lambda: self.store(target, self.load(eno, target), target))
        self.output += [call, *prepared.after]
        return Value(hir.Constant(types.VOID, 0, self.line(node)), types.VOID)

    def _all_parameters(self, unit: PouSymbol) -> list[VariableSymbol]:
        """Own and inherited ones, the base's first."""
        found: list[VariableSymbol] = []
        pou: PouSymbol | None = unit
        while pou is not None:
            found = pou.parameters + found
            pou = pou.base
        return found

    def _prepare_block(
        self, unit: PouSymbol, bound: Bound, node: ast.Call, extra: list[VariableSymbol]
    ) -> Prepared | None:
        prepared = Prepared()
        ok = bound.ok
        missing: list[str] = []
        for parameter in [*self._all_parameters(unit), *extra]:
            self.resolver.variable(parameter)
            argument = bound.arguments.get(parameter)
            if argument is None or argument.value is None:
                if parameter.section == "VAR_IN_OUT" and not isinstance(node.callee, ast.Super):
                    missing.append(parameter.name)
            elif parameter.section == "VAR_OUTPUT":
                ok = self._output(parameter, argument, prepared, node) and ok
            elif parameter.section == "VAR_IN_OUT":
                ok = self._inout(parameter, argument.value, prepared, node) and ok
            elif argument.output:
                ok = self._output(parameter, argument, prepared, node) and ok
            else:
                ok = self._input(unit, parameter, argument, prepared, node) and ok
        if missing and not self._super_call(node):
            self.error(
                "ST4003",
                node,
                f"the call of {unit.name} lacks {', '.join(missing)}",
                expected="a variable for each VAR_IN_OUT",
                found="none",
                remedy=f"give {missing[0]} := a variable",
            )
            return None
        return prepared if ok else None

    @staticmethod
    def _super_call(node: ast.Call) -> bool:
        callee = node.callee.base if isinstance(node.callee, ast.Dereference) else node.callee
        return isinstance(callee, ast.Super)


_PLACES = (
    hir.VariablePlace, hir.ThisPlace, hir.MemberPlace, hir.IndexPlace, hir.DerefPlace, hir.PartPlace,
)  # fmt: skip
