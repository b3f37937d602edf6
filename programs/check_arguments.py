"""Arguments of calls: which parameter gets which, by value, by reference, or as an output."""

from __future__ import annotations

from dataclasses import dataclass, field

from programs import ast, hir, types
from programs.check_context import fits_open
from programs.check_meanings import (
    CallableMeaning,
    Meaning,
    PlaceMeaning,
    PropertyMeaning,
    ValueMeaning,
)
from programs.check_standard import BodyStandard
from programs.diagnostics import Spanned, closest
from programs.symbols import PouSymbol, VariableSymbol


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


class BodyArguments(BodyStandard):
    """Layer 7: arguments."""

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
        meant = self.context.pin_aliases(unit).get(upper) or closest(argument.name.name, known)
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

    def complete(self, unit: PouSymbol, bound: Bound, node: ast.Call) -> bool:
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
            if isinstance(found.type, hir.Ref):
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
        fixed = found.readonly == "a constant" or (bool(found.readonly) and not self.context.loose)
        if fixed and not parameter.readonly and not isinstance(found.place, hir.ThisPlace):
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


def _same_storage(one: hir.Type, other: hir.Type) -> bool:
    """Integers and bit strings of one width share their form in memory."""
    kinds = types.iec_type(one), types.iec_type(other)
    if isinstance(one, hir.Array) and isinstance(other, hir.Array):
        return one.dims == other.dims and _same_storage(one.element, other.element)
    if None in kinds or isinstance(one, hir.String) or isinstance(other, hir.String):
        return False
    whole = types.INTEGERS + types.BITS
    return kinds[0] in whole and kinds[1] in whole and types.WIDTH[kinds[0]] == types.WIDTH[kinds[1]]
