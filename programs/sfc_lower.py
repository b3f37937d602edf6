"""Sequential function charts to statements (IEC 61131-3:2013, 6.7).

Theory. Each step is a structure ``X`` (active), ``T`` (time since it became active). A call of the unit (1) activates
the initial step if it is the first, else (2) decides for every transition whether it is cleared, on the state as it was
before, (3) resets the steps before and sets the steps behind the cleared transitions, (4) works out for each action
from all its qualifiers whether it is active, as the block ACTION_CONTROL of 6.7.4.5 without its final scan, and
(5) executes the active ones in the order of their first mention; a Boolean variable as an action takes that value.

Rules. Of the transitions behind one step at most one is cleared: the one with the smallest PRIORITY, then the first in
the text. A step is active for at least one call. R wins over everything else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from programs import ast, hir, types
from programs.check_meanings import PlaceMeaning
from programs.check_statements import Body
from programs.check_values import Value
from programs.diagnostics import Spanned, closest
from programs.il_lower import condition_of
from programs.sfc_steps import STEP

_PRIORITY_DEFAULT = 1 << 30


def lower_chart(body: Body, node: ast.SfcBody) -> list[hir.Statement]:
    """The statements of a chart."""
    return body.statements_of(lambda: _Chart(body, node).run())


@dataclass(slots=True)
class _Use:
    """An action in a step."""

    step: hir.Variable
    qualifier: str
    node: ast.ActionAssociation


@dataclass(slots=True)
class _ActionUses:
    name: ast.Name
    uses: list[_Use] = field(default_factory=list)


class _Chart:
    def __init__(self, body: Body, node: ast.SfcBody) -> None:
        self.body = body
        self.node = node
        self.line = body.line(node)
        self.steps: dict[str, hir.Variable] = {}

    def run(self) -> None:
        symbol = self.body.pou
        if symbol is None or symbol.kind in ("function", "method"):
            self._error(
                self.node,
                "a chart needs memory from call to call",
                "a function block or program",
                "a function",
            )
            return
        for step in self.node.steps:
            member = symbol.members.get(step.name.name.upper())
            if member is not None and member.variable.type is STEP:
                self.steps[step.name.name.upper()] = member.variable
                self.body.context.read.add(member.variable)
        if self._well_formed():
            self._emit()

    def _error(self, where: Spanned, message: str, expected: str, found: str, remedy: str = "") -> None:
        self.body.error(
            "ST4021", where, message, expected=expected, found=found, remedy=remedy or "correct the chart"
        )

    # -- form

    def _well_formed(self) -> bool:
        initial = [step for step in self.node.steps if step.initial]
        networks = self._networks()
        first: dict[str, ast.Step] = {}
        if not initial:
            self._initial_steps(self.node.steps[0] if self.node.steps else self.node, 0)
            return False
        for step in initial:
            network = networks[step.name.name.upper()]
            if network in first:
                self._initial_steps(step, sum(networks[one.name.name.upper()] == network for one in initial))
                return False
            first[network] = step
        ok = True
        for transition in self.node.transitions:
            for name in (*transition.sources, *transition.targets):
                if name.name.upper() not in self.steps:
                    meant = closest(name.name, self.steps)
                    remedy = f"did you mean {meant}?" if meant else "declare the step, or correct the name"
                    self._error(
                        name, f"there is no step {name.name}", "a step of this chart", name.name, remedy
                    )
                    ok = False
        if ok:
            self._reachable()
        return ok

    def _initial_steps(self, where: ast.Node, count: int) -> None:
        self._error(
            where,
            f"a chart has one INITIAL_STEP, this one has {count}",
            "one INITIAL_STEP",
            str(count),
            "declare exactly one of the steps as INITIAL_STEP",
        )

    def _networks(self) -> dict[str, str]:
        """For each step one that stands for all that are connected with it: a body may hold several charts (6.7.1)."""
        found = {step.name.name.upper(): step.name.name.upper() for step in self.node.steps}

        def representative(name: str) -> str:
            while found.get(name, name) != name:
                name = found[name]
            return name

        for transition in self.node.transitions:
            names = [name.name.upper() for name in (*transition.sources, *transition.targets)]
            for name in names[1:]:
                found[representative(name)] = representative(names[0])
        return {name: representative(name) for name in found}

    def _reachable(self) -> None:
        targets = {name.name.upper() for t in self.node.transitions for name in t.targets}
        for step in self.node.steps:
            if not step.initial and step.name.name.upper() not in targets:
                self.body.context.warn(
                    "ST4103",
                    step.name,
                    f"no transition leads to the step {step.name.name}",
                    remedy="add a transition TO it, or remove the step",
                )

    # -- pieces

    def _assign(self, place: hir.Place, value: hir.Expression) -> None:
        self.body.output.append(hir.Assign(place, value, self.line))

    def _bool(self, value: bool) -> hir.Constant:
        return hir.Constant(types.BOOL, int(value), self.line)

    def _member(self, variable: hir.Variable, name: str, kind: hir.Type) -> hir.MemberPlace:
        base = hir.VariablePlace(variable, variable.type, self.line)
        return hir.MemberPlace(base, name, kind, self.line)

    def _active(self, variable: hir.Variable) -> hir.Expression:
        return hir.Load(self._member(variable, "x", types.BOOL), types.BOOL, self.line)

    def _logical(self, op: str, *parts: hir.Expression) -> hir.Expression:
        result = parts[0]
        for part in parts[1:]:
            result = hir.Logical(op, result, part, types.BOOL, self.line)
        return result

    def _not(self, value: hir.Expression) -> hir.Expression:
        return hir.Unary("not", value, types.BOOL, self.line)

    def _local(self, kind: hir.Type = types.BOOL) -> hir.VariablePlace:
        return hir.VariablePlace(self.body.temporary(kind, self.node), kind, self.line)

    def _load(self, place: hir.Place) -> hir.Load:
        return hir.Load(place, place.type, self.line)

    def _kept(self, name: str, kind: hir.Type = types.BOOL) -> hir.VariablePlace:
        """A variable of the chart's own in the instance."""
        assert self.body.pou is not None
        variable = hir.Variable(f"_{name}", kind, hir.Storage.INSTANCE, attributes={"access": "none"})
        self.body.pou.pou.variables.append(variable)
        return hir.VariablePlace(variable, kind, self.line)

    def _now(self) -> hir.Expression:
        return hir.Intrinsic("TIME", [], types.TIME, self.line)

    def _set_step(self, variable: hir.Variable) -> None:
        self._assign(self._member(variable, "x", types.BOOL), self._bool(True))
        self._assign(self._member(variable, "t", types.TIME), hir.Constant(types.TIME, 0, self.line))
        self._assign(self._member(variable, "start", types.TIME), self._now())

    # -- evolution

    def _emit(self) -> None:
        started = self._kept("sfc_started")

        def start() -> None:
            self._assign(started, self._bool(True))
            for step in self.node.steps:
                if step.initial:
                    self._set_step(self.steps[step.name.name.upper()])

        first = self.body.statements_of(start)
        later = self.body.statements_of(self._evolve)
        self.body.output.append(hir.If([(self._not(self._load(started)), first), (None, later)], self.line))
        self._actions()

    def _evolve(self) -> None:
        for variable in self.steps.values():
            elapsed = hir.Intrinsic(
                "SUB_TIME",
                [self._now(), self._load(self._member(variable, "start", types.TIME))],
                types.TIME,
                self.line,
            )
            update = hir.Assign(self._member(variable, "t", types.TIME), elapsed, self.line)
            self.body.output.append(hir.If([(self._active(variable), [update])], self.line))
        cleared = [(transition, self._local()) for transition in self._ordered()]
        for index, (transition, place) in enumerate(cleared):
            self._decide(transition, place, cleared[:index])
        for transition, place in cleared:
            self._when(place, lambda t=transition: self._reset_sources(t))
        for transition, place in cleared:
            self._when(place, lambda t=transition: self._set_targets(t))

    def _when(self, place: hir.Place, work: object) -> None:
        statements = self.body.statements_of(work)
        self.body.output.append(hir.If([(self._load(place), statements)], self.line))

    def _reset_sources(self, node: ast.Transition) -> None:
        for name in node.sources:
            self._assign(self._member(self.steps[name.name.upper()], "x", types.BOOL), self._bool(False))

    def _set_targets(self, node: ast.Transition) -> None:
        for name in node.targets:
            self._set_step(self.steps[name.name.upper()])

    def _ordered(self) -> list[ast.Transition]:
        """By PRIORITY, the smallest first; without one in the order of the text."""
        keyed: list[tuple[int, int, ast.Transition]] = []
        for index, transition in enumerate(self.node.transitions):
            priority = _PRIORITY_DEFAULT
            if transition.priority is not None:
                given = self.body.context.integer(transition.priority, self.body.scope)
                priority = given if given is not None else priority
            keyed.append((priority, index, transition))
        return [transition for _, _, transition in sorted(keyed, key=lambda entry: entry[:2])]

    def _decide(
        self,
        node: ast.Transition,
        place: hir.VariablePlace,
        earlier: list[tuple[ast.Transition, hir.VariablePlace]],
    ) -> None:
        sources = {name.name.upper() for name in node.sources}
        parts = [self._active(self.steps[name]) for name in sorted(sources)]
        rivals = [p for t, p in earlier if sources & {name.name.upper() for name in t.sources}]
        parts += [self._not(self._load(rival)) for rival in rivals]
        self._assign(place, self._bool(False))

        def test() -> None:
            condition = self._condition(node)
            if condition is not None:
                self._assign(place, condition)

        statements = self.body.statements_of(test)
        self.body.output.append(hir.If([(self._logical("and", *parts), statements)], self.line))

    def _condition(self, node: ast.Transition) -> hir.Expression | None:
        if node.il is not None:
            return condition_of(self.body, node.il)
        if node.condition is None:
            return None
        condition = self.body.boolean(node.condition, what="the condition of a transition")
        return condition if condition.type == types.BOOL else None

    # -- actions

    def _actions(self) -> None:
        controls: list[tuple[_ActionUses, hir.VariablePlace]] = []
        for uses in self._collected().values():
            controls.append((uses, self._control(uses)))
        for uses, active in controls:
            self._execute(uses, active)

    def _collected(self) -> dict[str, _ActionUses]:
        found: dict[str, _ActionUses] = {}
        for step in self.node.steps:
            variable = self.steps.get(step.name.name.upper())
            for association in step.actions if variable is not None else ():
                assert variable is not None
                uses = found.setdefault(association.action.name.upper(), _ActionUses(association.action))
                uses.uses.append(_Use(variable, association.qualifier or "N", association))
                for indicator in association.indicators:
                    self.body.expression(indicator)
        return found

    def _control(self, action: _ActionUses) -> hir.VariablePlace:
        """The Q of ACTION_CONTROL for one action."""
        active, reset = self._local(), self._local()
        resets = [self._active(use.step) for use in action.uses if use.qualifier == "R"]
        self._assign(reset, self._logical("or", *resets) if resets else self._bool(False))
        self._assign(active, self._bool(False))
        for index, use in enumerate(action.uses):
            if use.qualifier != "R":
                name = f"{action.name.name}_{use.step.name}_{index}"
                value = self._qualified(use, name, reset)
                self._assign(active, self._logical("or", value, self._load(active)))
        self._assign(active, self._logical("and", self._load(active), self._not(self._load(reset))))
        return active

    def _qualified(self, use: _Use, name: str, reset: hir.VariablePlace) -> hir.Expression:
        step = self._active(use.step)
        match use.qualifier:
            case "S":
                return self._store(name, step, reset)
            case "L":
                done = self._timer(name, step, use)
                return self._logical("and", self._active(use.step), self._not(done))
            case "D":
                return self._timer(name, step, use)
            case "P" | "P1":
                return self._call(name, "R_TRIG", {"CLK": step})
            case "P0":
                return self._left(name, use)
            case "SD":
                return self._timer(name, self._store(name, step, reset), use)
            case "DS":
                return self._store(name, self._timer(name, step, use), reset)
            case "SL":
                stored = self._store(name, step, reset)
                done = self._timer(name, stored, use)
                return self._logical("and", stored, self._not(done))
        return step

    def _left(self, name: str, use: _Use) -> hir.Expression:
        """The step was active at the call before and is not now. F_TRIG would also fire at the very first call."""
        before, now = self._kept(f"{name}_before"), self._local()
        self._assign(now, self._logical("and", self._load(before), self._not(self._active(use.step))))
        self._assign(before, self._active(use.step))
        return self._load(now)

    def _store(self, name: str, value: hir.Expression, reset: hir.VariablePlace) -> hir.Expression:
        """A flip-flop whose reset wins."""
        kept = self._kept(f"{name}_stored")
        either = self._logical("or", value, self._load(kept))
        self._assign(kept, self._logical("and", either, self._not(self._load(reset))))
        return self._load(kept)

    def _timer(self, name: str, value: hir.Expression, use: _Use) -> hir.Expression:
        duration: hir.Expression = hir.Constant(types.TIME, 0, self.line)
        if use.node.duration is not None:
            given = self.body.expression(use.node.duration, types.TIME)
            converted = self.body.convert(given, types.TIME, use.node.duration, what="the duration")
            duration = converted if converted.type == types.TIME else duration
        return self._call(name, "TON", {"IN": value, "PT": duration})

    def _call(self, name: str, block: str, inputs: dict[str, hir.Expression]) -> hir.Expression:
        """Call a standard block of the chart's own; its Q."""
        symbol = self.body.context.standard_block(block)
        assert symbol is not None
        place = self._kept(f"{name}_{block.lower()}", hir.Instance(symbol.key))
        given = [(symbol.members[pin].variable, value) for pin, value in inputs.items()]
        self.body.output.append(hir.CallBlock(place, symbol.key, given, [], line=self.line))
        return hir.Load(hir.MemberPlace(place, "q", types.BOOL, self.line), types.BOOL, self.line)

    def _execute(self, action: _ActionUses, active: hir.VariablePlace) -> None:
        owner = self.body.owner()
        found = owner.action(action.name.name.upper()) if owner is not None else None
        if found is not None and owner is not None:
            this = hir.ThisPlace(hir.Instance(owner.key), self.line)
            self.body.note_call(found)
            call = hir.Call(found.key, [], None, receiver=this, method=found.name.upper(), line=self.line)
            self.body.output.append(
                hir.If([(self._load(active), [hir.CallStatement(call, self.line)])], self.line)
            )
            return
        meaning = self.body.meaning(action.name)
        if isinstance(meaning, PlaceMeaning) and types.is_bool(meaning.type):
            self.body.store(action.name, Value(self._load(active), types.BOOL), action.name)
        elif meaning is not None:
            self._error(
                action.name,
                f"{action.name.name} is neither an action nor a BOOL variable",
                "an ACTION of this unit or a BOOL variable",
                "something else",
                "declare ACTION " + action.name.name,
            )
