"""Calls of functions, methods, properties, actions and blocks that the program declares."""

from __future__ import annotations

from dataclasses import dataclass, field

from programs import ast, hir, types
from programs.check_context import fits_open
from programs.check_places import (
    CallableMeaning,
    Meaning,
    PlaceMeaning,
    PropertyMeaning,
    StandardMeaning,
    SuperMeaning,
    SymbolMeaning,
    ValueMeaning,
)
from programs.check_standard import BodyStandard
from programs.check_values import Value
from programs.diagnostics import Spanned, closest
from programs.signatures import is_standard_function
from programs.symbols import InterfaceSymbol, PouSymbol, VariableSymbol


@dataclass(slots=True)
class Bound:
    """Arguments by parameter, and EN/ENO."""

    arguments: dict[VariableSymbol, ast.Argument] = field(default_factory=dict)
    enable: ast.Argument | None = None
    eno: ast.Argument | None = None
    ok: bool = True


@dataclass(slots=True)
class Prepared:
    """Checked arguments, and what has to be done after the call."""

    arguments: list[hir.Expression] = field(default_factory=list)
    inputs: list[tuple[hir.Variable, hir.Expression]] = field(default_factory=list)
    inouts: list[tuple[hir.Variable, hir.Place]] = field(default_factory=list)
    outputs: list[tuple[hir.Variable, hir.Place]] = field(default_factory=list)
    after: list[hir.Statement] = field(default_factory=list)


class BodyCalls(BodyStandard):
    """Layer 5: calls."""

    def call(self, node: ast.Call, want: hir.Type | None = None) -> Value:
        """A call as an expression; its value may be ``VOID``. A block call's statement goes to ``output``."""
        if self.constant_only and not self._standard_name(node):
            self._not_constant(node)
            return self.poison(node)
        callee = self._callee(node)
        if callee is None:
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
            # A variable that cannot be called does not hide a function of its name (a function's own result does so too).
            kind = self.resolver.variable(found)
            if not isinstance(kind, hir.Instance | hir.Ref | hir.Interface):
                outer = self.scope.namespace.find(upper)
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
        if isinstance(meaning, SymbolMeaning) and isinstance(meaning.symbol, PouSymbol):
            if meaning.symbol.kind == "program" and self.context.loose:
                return self.program_place(meaning.symbol, callee)
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

    # -- binding

    def bind_unit(self, unit: PouSymbol, node: ast.Call) -> Bound:
        """Arguments to parameters by name or in order; reports what does not fit."""
        bound = Bound()
        ordered = [p for p in unit.parameters if p.section != "VAR_OUTPUT"]
        ordered += [p for p in unit.parameters if p.section == "VAR_OUTPUT"]
        position = 0
        for argument in node.arguments:
            if argument.name is None:
                if position >= len(ordered):
                    self._too_many(unit, ordered, argument, bound)
                    break
                parameter: VariableSymbol | None = ordered[position]
                position += 1
            else:
                parameter = self._named(unit, argument, bound)
            if parameter is None:
                continue
            if parameter in bound.arguments:
                assert argument.name is not None
                self._given_twice(parameter, argument, bound)
                continue
            bound.arguments[parameter] = argument
        return bound

    def _too_many(
        self, unit: PouSymbol, ordered: list[VariableSymbol], argument: ast.Argument, bound: Bound
    ) -> None:
        bound.ok = False
        self.error(
            "ST4003",
            argument,
            f"{unit.name} takes no more than {len(ordered)} arguments",
            expected=f"{unit.name}({', '.join(p.name for p in ordered)})",
            found="a further argument",
            remedy="remove it",
        )

    def _given_twice(self, parameter: VariableSymbol, argument: ast.Argument, bound: Bound) -> None:
        bound.ok = False
        self.error(
            "ST4002",
            argument,
            f"{parameter.name} is given twice",
            remedy="keep one of the two",
        )

    def _named(self, unit: PouSymbol, argument: ast.Argument, bound: Bound) -> VariableSymbol | None:
        assert argument.name is not None
        upper = argument.name.name.upper()
        member = unit.member(upper)
        if member is not None and member.variable.direction:
            wrong = argument.output and member.section == "VAR_INPUT"
            wrong = wrong or (not argument.output and member.section == "VAR_OUTPUT")
            if wrong and not (self.context.loose and argument.output):
                self._wrong_arrow(member, argument, bound)
                return None
            return member
        if upper == "EN" and not argument.output:
            bound.enable = argument
            return None
        if upper == "ENO":
            bound.eno = argument
            return None
        if (
            member is not None
            and self.context.loose
            and unit.kind == "function_block"
            and not argument.output
        ):
            return member
        bound.ok = False
        known = [p.name for p in unit.parameters]
        meant = closest(argument.name.name, known)
        self.error(
            "ST4001",
            argument.name,
            f"{unit.name} has no parameter {argument.name.name}",
            expected=", ".join(known) or "no parameters",
            found=argument.name.name,
            remedy=f"did you mean {meant}?" if meant else "use one of its parameters",
        )
        return None

    def _wrong_arrow(self, member: VariableSymbol, argument: ast.Argument, bound: Bound) -> None:
        bound.ok = False
        right = ":=" if member.section == "VAR_INPUT" else "=>"
        kind = "an input" if member.section == "VAR_INPUT" else "an output"
        self.error(
            "ST4001",
            argument,
            f"{member.name} is {kind}",
            expected=right,
            found="=>" if argument.output else ":=",
            remedy=f"write {member.name} {right} …",
        )

    # -- functions, methods, actions

    def _call_unit(self, callee: CallableMeaning, node: ast.Call) -> Value:
        unit = callee.symbol
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
        self.note_call(unit)
        result = unit.pou.result
        kind = result.type if result is not None else None
        if prepared is None or kind is types.UNKNOWN:
            return self.poison(node)
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
        kept = self.temporary(value.expr.type, node)
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
        name = unit.name.upper()
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

    def note_call(self, unit: PouSymbol) -> None:
        if self.pou is not None:
            self.context.calls.setdefault(self.pou.key, set()).add(unit.key)

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
        ok = bound.ok and self._complete(unit, bound, node)
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

    def _complete(self, unit: PouSymbol, bound: Bound, node: ast.Call) -> bool:
        """Everything given that must be given."""
        positional = any(argument.name is None for argument in bound.arguments.values())
        missing: list[str] = []
        for parameter in unit.parameters:
            if parameter in bound.arguments and bound.arguments[parameter].value is not None:
                continue
            default = parameter.node is not None and parameter.node.initial is not None
            needed = parameter.section == "VAR_IN_OUT"
            needed = needed or (parameter.section == "VAR_INPUT" and positional and not default)
            if needed and not (unit.kind == "function_block" and parameter.section == "VAR_INPUT"):
                missing.append(parameter.name)
        if missing:
            self.error(
                "ST4003",
                node,
                f"the call of {unit.name} lacks {', '.join(missing)}",
                expected=f"{unit.name}({', '.join(p.name for p in unit.parameters)})",
                found=f"{len(bound.arguments)} arguments",
                remedy="give the missing arguments" + (", or all of them by name" if positional else ""),
            )
        return not missing

    def _input(
        self,
        unit: PouSymbol,
        parameter: VariableSymbol,
        argument: ast.Argument | None,
        prepared: Prepared,
        node: ast.Call,
    ) -> bool:
        variable = parameter.variable
        if argument is not None and argument.value is not None:
            if isinstance(variable.type, hir.Ref) and variable.type.implicit:
                expr = self.reference_to(argument.value, variable.type)
            else:
                value = self.expression(argument.value, variable.type)
                expr = self.convert(value, variable.type, argument.value, what=f"the input {parameter.name}")
            prepared.inputs.append((variable, expr))
            prepared.arguments.append(expr)
            return expr.type is not types.UNKNOWN
        if unit.kind not in ("function_block", "program"):
            prepared.arguments.append(self._default(parameter, node))
        return True

    def _default(self, parameter: VariableSymbol, node: Spanned) -> hir.Expression:
        variable = parameter.variable
        kind = types.stripped(variable.type)
        initial = self.context.constant_initial(variable)
        line = self.line(node)
        scalar = isinstance(kind, hir.Elementary | hir.Enum | hir.String | hir.Ref | hir.Interface)
        if scalar and (initial is None or isinstance(initial.value, int | float | str)):
            zero: int | float | str = "" if isinstance(kind, hir.String) else 0
            return hir.Constant(kind, initial.value if initial is not None else zero, line)  # type: ignore[arg-type]
        kept = self.temporary(variable.type, node)
        kept.init = initial
        return hir.Load(hir.VariablePlace(kept, kept.type, line), kept.type, line)

    def reference_to(self, node: ast.Expression, kind: hir.Ref) -> hir.Expression:
        """``x`` for a REFERENCE TO: its address."""
        found = self.meaning(node)
        line = self.line(node)
        if isinstance(found, PlaceMeaning) and not isinstance(found.place, hir.PartPlace):
            if types.same_layout(found.type, kind.target) or self.context.is_a(found.type, kind.target):
                self.mark_used(found.root, node)
                if isinstance(found.place, hir.DerefPlace):
                    return self.coerce(found.place.reference, kind)
                self.mark_addressed(found.place)
                return hir.Address(found.place, kind, line)
            if isinstance(found.type, hir.Ref) or found.type == types.NULL:
                return self.convert(self.load(found, node), kind, node)
        if found is None:
            return self.poison(node).expr
        return self.convert(self.rvalue(found, node), kind, node)

    def _inout(
        self, parameter: VariableSymbol, node: ast.Expression, prepared: Prepared, call: Spanned
    ) -> bool:
        variable = parameter.variable
        found = self.meaning(node)
        if found is None or variable.type is types.UNKNOWN:
            return False
        if isinstance(found, ValueMeaning | PropertyMeaning | CallableMeaning) and parameter.readonly:
            return self._inout_copy(variable, found, node, prepared, call, back=False)
        if isinstance(found, PropertyMeaning) and self.context.loose:
            return self._inout_copy(variable, found, node, prepared, call, back=True)
        if not isinstance(found, PlaceMeaning):
            self._no_inout(parameter, "a value without a place", node)
            return False
        if found.type is types.UNKNOWN:
            return False
        if found.readonly and not parameter.readonly and not isinstance(found.place, hir.ThisPlace):
            if found.readonly == "a constant" or not self.context.loose:
                self._no_inout(parameter, found.readonly, node)
                return False
        self.mark_used(found.root, node)
        if self._binds(found, variable.type):
            prepared.inouts.append((variable, found.place))
            self.context.bindings.append((variable, found.place))
            return True
        copyable = (
            isinstance(found.place, hir.PartPlace)
            or self._bit(found)
            or isinstance(variable.type, hir.String)
        )
        if copyable and self.context.fit(found.type, variable.type) is types.Fit.YES:
            return self._inout_copy(variable, found, node, prepared, call, back=not parameter.readonly)
        if parameter.readonly and self.context.fit(found.type, variable.type) is types.Fit.YES:
            return self._inout_copy(variable, found, node, prepared, call, back=False)
        self.error(
            "ST4004",
            node,
            f"the in-out {parameter.name} needs a variable of exactly its type",
            expected=types.type_name(variable.type),
            found=types.type_name(found.type),
            remedy="declare the variable with the parameter's type; an in-out is never converted",
        )
        return False

    def _binds(self, found: PlaceMeaning, kind: hir.Type) -> bool:
        if isinstance(found.place, hir.PartPlace) or self._bit(found):
            return False
        if isinstance(kind, hir.OpenArray):
            return fits_open(found.type, kind)
        if types.same_layout(found.type, kind) or self.context.is_a(found.type, kind):
            return True
        if self.context.loose and isinstance(found.type, hir.Ref) and isinstance(kind, hir.Ref):
            return True
        return self.context.loose and _same_storage(found.type, kind)

    @staticmethod
    def _bit(found: PlaceMeaning) -> bool:
        """A located BOOL is a bit in the process image and has no address of its own."""
        return (
            found.root is not None and found.root.storage is hir.Storage.LOCATED and types.is_bool(found.type)
        )

    def _inout_copy(
        self,
        variable: hir.Variable,
        found: Meaning,
        node: ast.Expression,
        prepared: Prepared,
        call: Spanned,
        *,
        back: bool,
    ) -> bool:
        """What has no address of its own goes in and out by a copy."""
        value = self.rvalue(found, node)
        if value.unknown:
            return False
        line = self.line(node)
        kept = self.temporary(variable.type, node)
        place = hir.VariablePlace(kept, kept.type, line)
        self.output.append(hir.Assign(place, self.convert(value, variable.type, node), line))
        prepared.inouts.append((variable, place))
        if back:
            prepared.after += self.statements_of(
                lambda: self.store(node, self.load(PlaceMeaning(place, kept.type), node), call)
            )
        return True

    def statements_of(self, work: object) -> list[hir.Statement]:
        """What ``work`` writes to ``output``, taken aside."""
        outer, self.output = self.output, []
        assert callable(work)
        work()
        inner, self.output = self.output, outer
        return inner

    def _no_inout(self, parameter: VariableSymbol, found: str, node: Spanned) -> None:
        self.error(
            "ST4004",
            node,
            f"the in-out {parameter.name} needs a variable that may be written",
            expected="a variable",
            found=found,
            remedy="assign the value to a variable and give that",
        )

    def _output(
        self, parameter: VariableSymbol, argument: ast.Argument, prepared: Prepared, node: Spanned
    ) -> bool:
        assert argument.value is not None
        variable = parameter.variable
        found = self.meaning(argument.value)
        if found is None or variable.type is types.UNKNOWN:
            return False
        plain = isinstance(found, PlaceMeaning) and not argument.negated and not found.readonly
        if plain:
            assert isinstance(found, PlaceMeaning)
            if types.stripped(found.type) == types.stripped(variable.type) and found.type == variable.type:
                self.mark_written(found.root, argument)
                prepared.outputs.append((variable, found.place))
                return True
        kept = self.temporary(variable.type, argument)
        line = self.line(argument)
        place = hir.VariablePlace(kept, kept.type, line)
        prepared.outputs.append((variable, place))
        value = self.load(PlaceMeaning(place, kept.type), argument)
        if argument.negated:
            value = self.invert(value, argument, None)
        target = argument.value
        prepared.after += self.statements_of(lambda: self.store(target, value, argument.value or argument))
        return True

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
            kept = self.temporary(value.expr.type, node)
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

    # -- properties

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
        self.note_call(getter)
        callee = CallableMeaning(getter, meaning.receiver, meaning.exact)
        kind = types.stripped(kind)
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
        self.note_call(setter)
        expr = self.convert(value, kind, node)
        callee = CallableMeaning(setter, meaning.receiver, meaning.exact)
        call = self._make_call(callee, Prepared([expr]), None, node)
        self.output.append(hir.CallStatement(call, self.line(node)))


_PLACES = (
    hir.VariablePlace, hir.ThisPlace, hir.MemberPlace, hir.IndexPlace, hir.DerefPlace, hir.PartPlace,
)  # fmt: skip


def _same_storage(one: hir.Type, other: hir.Type) -> bool:
    """Integers and bit strings of one width share their form in memory."""
    kinds = types.iec_type(one), types.iec_type(other)
    if isinstance(one, hir.Array) and isinstance(other, hir.Array):
        return one.dims == other.dims and _same_storage(one.element, other.element)
    if None in kinds or isinstance(one, hir.String) or isinstance(other, hir.String):
        return False
    whole = types.INTEGERS + types.BITS
    return kinds[0] in whole and kinds[1] in whole and types.WIDTH[kinds[0]] == types.WIDTH[kinds[1]]  # type: ignore[index]
