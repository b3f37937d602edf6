"""Statements: assignment, branches and loops."""

from __future__ import annotations

from dataclasses import dataclass

from programs import hir
from programs.lower_calls import Calls
from programs.lower_effects import root, walk
from programs.lower_ir import base_type, is_signed, scalar_llvm, width
from programs.lower_places import Spot

# A counted loop without calls that runs at most this often needs no look at the watchdog: it takes milliseconds.
UNWATCHED_ITERATIONS_MAX = 1_000_000


@dataclass(slots=True)
class _Loop:
    end: str
    again: str


@dataclass(slots=True)
class _Counter:
    """The loop variable: its value in a register wide enough for one step past any limit."""

    place: hir.Place
    spot: Spot
    shadow: str
    wide: str
    narrow: str
    signed: bool
    variable: hir.Variable | None  # set if the body may read the register instead of memory


class Statements(Calls):
    """All statements of a body."""

    _loops: list[_Loop]
    _counters: list[_Counter]

    def body(self, statements: list[hir.Statement]) -> None:
        self._loops, self._counters = [], []
        self.statements(statements)
        self.jump("leave")

    def statements(self, statements: list[hir.Statement]) -> None:
        for statement in statements:
            if self.ended:
                self.start(self.new_label("dead"))
            self.statement(statement)

    def statement(self, statement: hir.Statement) -> None:
        match statement:
            case hir.Assign(place=place, value=value, line=line):
                self.assign(self.place(place), place.type, value, line)
            case hir.CallBlock():
                self.call_block(statement)
            case hir.CallStatement(call=call):
                self.call(call)
            case hir.If():
                self._if(statement)
            case hir.Case():
                self._case(statement)
            case hir.For():
                self._for(statement)
            case hir.While():
                self._while(statement)
            case hir.Repeat():
                self._repeat(statement)
            case hir.Exit():
                self.jump(self._loops[-1].end)
            case hir.Continue():
                self.jump(self._loops[-1].again)
            case hir.Return():
                for counter in self._counters:
                    if counter.variable is not None:
                        self._store_counter(counter, self._read_shadow(counter))
                self.jump("leave")

    # -- branches

    def _if(self, statement: hir.If) -> None:
        end = self.new_label("endif")
        for condition, body in statement.branches:
            if condition is None:
                self.statements(body)
                break
            value = self.expression(condition)
            yes, no = self.new_label("then"), self.new_label("else")
            self.split(value, yes, no)
            self.start(yes)
            self.statements(body)
            self.jump(end)
            self.start(no)
        self.start(end)

    def _case(self, statement: hir.Case) -> None:
        value = self.expression(statement.selector)
        kind = base_type(statement.selector.type)
        end = self.new_label("endcase")
        for labels, body in statement.branches:
            chosen = "false"
            for low, high in labels:
                inside = self._within(scalar_llvm(kind), value, low, high)
                chosen = inside if chosen == "false" else self.op(f"or i1 {chosen}, {inside}")
            yes, no = self.new_label("of"), self.new_label("next")
            self.split(chosen, yes, no)
            self.start(yes)
            self.statements(body)
            self.jump(end)
            self.start(no)
        self.statements(statement.otherwise)
        self.start(end)

    def _within(self, text: str, value: str, low: int, high: int) -> str:
        bits = int(text[1:])
        modulus = 1 << bits
        if low == high:
            return self.op(f"icmp eq {text} {value}, {_literal(low, modulus)}")
        relative = self.op(f"sub {text} {value}, {_literal(low, modulus)}")
        return self.op(f"icmp ule {text} {relative}, {_literal(high - low, modulus)}")

    # -- loops

    def _while(self, loop: hir.While) -> None:
        head, body, end = (self.new_label(hint) for hint in ("while", "do", "endwhile"))
        again = self.new_label("again")
        self.start(head)
        condition = self.expression(loop.condition)
        self.split(condition, body, end)
        self.start(body)
        self._loop_body(loop.body, _Loop(end, again))
        self.start(again)
        self.check_abort(loop.line)
        self.jump(head)
        self.start(end)

    def _repeat(self, loop: hir.Repeat) -> None:
        head, again, end = (self.new_label(hint) for hint in ("repeat", "until", "endrepeat"))
        back = self.new_label("back")
        self.start(head)
        self._loop_body(loop.body, _Loop(end, again))
        self.start(again)
        condition = self.expression(loop.until)
        self.split(condition, end, back)
        self.start(back)
        self.check_abort(loop.line)
        self.jump(head)
        self.start(end)

    def _loop_body(self, statements: list[hir.Statement], loop: _Loop) -> None:
        self._loops.append(loop)
        self.statements(statements)
        self._loops.pop()

    def _for(self, loop: hir.For) -> None:
        counter = self._counter(loop)
        start = self._widen(loop.start, counter)
        end = self._widen(loop.end, counter)
        step = self._widen(loop.step, counter)
        self.check_subrange(loop.place.type, self._narrowed(counter, start), loop.line)
        self._advance(counter, start)
        head, body, again, out = (self.new_label(hint) for hint in ("for", "do", "by", "endfor"))
        self.start(head)
        value = self._read_shadow(counter)
        self.split(self._more(counter.wide, value, end, step), body, out)
        self.start(body)
        self._counters.append(counter)
        if counter.variable is not None:
            self.registers[id(counter.variable)] = self._narrowed(counter, value)
        self._loop_body(loop.body, _Loop(out, again))
        if counter.variable is not None:
            del self.registers[id(counter.variable)]
        self._counters.pop()
        self.start(again)
        self._step(loop, counter, step)
        self.jump(head)
        self.start(out)
        if counter.variable is not None:
            self._store_counter(counter, self._read_shadow(counter))

    def _step(self, loop: hir.For, counter: _Counter, step: str) -> None:
        if not _is_short(loop):
            self.check_abort(loop.line)
        if counter.variable is not None:
            current = self._read_shadow(counter)
        else:
            stored = self.load(counter.spot, loop.place.type)
            current = self.resize(stored, counter.narrow, counter.wide, signed=counter.signed)
        self._advance(counter, self.op(f"add {counter.wide} {current}, {step}"))

    def _counter(self, loop: hir.For) -> _Counter:
        kind = base_type(loop.place.type)
        wide = "i64" if width(kind) < 64 else "i128"
        spot = self.place(loop.place)
        shadow = self.slot(wide, 16)
        kept = self._kept_in_register(loop, spot)
        return _Counter(loop.place, spot, shadow, wide, scalar_llvm(kind), is_signed(kind), kept)

    def _kept_in_register(self, loop: hir.For, spot: Spot) -> hir.Variable | None:
        """The loop variable if nothing in the body writes it or could read it by another way."""
        place = loop.place
        if not isinstance(place, hir.VariablePlace) or spot.bit >= 0 or spot.part is not None:
            return None
        variable = place.variable
        if id(variable) in self.shared.effects.of_nodes(loop.body).assigned or _reads_part(
            loop.body, variable
        ):
            return None
        local = variable.storage in (hir.Storage.LOCAL, hir.Storage.PARAMETER, hir.Storage.OUTPUT_PARAMETER)
        if not local and (variable.storage is not hir.Storage.INSTANCE or _may_look_back(loop.body)):
            return None
        return variable

    def _widen(self, expression: hir.Expression, counter: _Counter) -> str:
        kind = base_type(expression.type)
        value = self.expression(expression)
        if value.lstrip("-").isdigit() and (is_signed(kind) or not value.startswith("-")):
            return value
        return self.resize(value, scalar_llvm(kind), counter.wide, signed=is_signed(kind))

    def _narrowed(self, counter: _Counter, value: str) -> str:
        if value.lstrip("-").isdigit():
            return value
        return self.op(f"trunc {counter.wide} {value} to {counter.narrow}")

    def _read_shadow(self, counter: _Counter) -> str:
        return self.op(f"load {counter.wide}, ptr {counter.shadow}, align 16")

    def _advance(self, counter: _Counter, value: str) -> None:
        self.do(f"store {counter.wide} {value}, ptr {counter.shadow}, align 16")
        if counter.variable is None:
            self._store_counter(counter, value)

    def _store_counter(self, counter: _Counter, value: str) -> None:
        """A counter of a subrange type keeps its last value in range when the loop steps past the end."""
        kind = counter.place.type
        narrow = self._narrowed(counter, value)
        if isinstance(kind, hir.Elementary) and kind.low is not None and kind.high is not None:
            inside = self._within(counter.narrow, narrow, kind.low, kind.high)
            old = self.load(counter.spot, kind)
            narrow = self.op(f"select i1 {inside}, {counter.narrow} {narrow}, {counter.narrow} {old}")
            kind = hir.Elementary(kind.type)
        self.store(counter.spot, kind, narrow, 0)

    def _more(self, wide: str, value: str, end: str, step: str) -> str:
        if step.lstrip("-").isdigit():
            if int(step) == 0:
                return "false"
            return self.op(f"icmp {'sle' if int(step) > 0 else 'sge'} {wide} {value}, {end}")
        up = self.op(f"icmp sgt {wide} {step}, 0")
        down = self.op(f"icmp slt {wide} {step}, 0")
        below = self.op(f"icmp sle {wide} {value}, {end}")
        above = self.op(f"icmp sge {wide} {value}, {end}")
        rising = self.op(f"and i1 {up}, {below}")
        return self.op(f"or i1 {rising}, {self.op(f'and i1 {down}, {above}')}")


def _literal(value: int, modulus: int) -> int:
    value %= modulus
    return value - modulus if value >= modulus // 2 else value


def _may_look_back(body: list[hir.Statement]) -> bool:
    """Whether statements may read a member of the running instance other than by its name."""
    paths = (hir.Call, hir.CallBlock, hir.DerefPlace, hir.ThisPlace)
    return any(
        isinstance(node, paths)
        or (isinstance(node, hir.VariablePlace) and node.variable.storage is hir.Storage.INOUT_PARAMETER)
        for node in walk(body)
    )


def _reads_part(body: list[hir.Statement], variable: hir.Variable) -> bool:
    for node in walk(body):
        if isinstance(node, hir.PartPlace | hir.Address):
            place = root(node if isinstance(node, hir.PartPlace) else node.place)
            if isinstance(place, hir.VariablePlace) and place.variable is variable:
                return True
    return False


def _iterations(loop: hir.For) -> int | None:
    """How often a loop with constant bounds runs, with all such loops inside it; None if that is not known."""
    ends = (loop.start, loop.end, loop.step)
    if not all(isinstance(end, hir.Constant) for end in ends):
        return None
    start, end, step = (end.value for end in ends if isinstance(end, hir.Constant))
    if not (isinstance(start, int) and isinstance(end, int) and isinstance(step, int)) or step == 0:
        return None
    inner = 1
    for node in walk(loop.body):
        if isinstance(node, hir.Call | hir.CallBlock | hir.While | hir.Repeat):
            return None
        if isinstance(node, hir.For):
            count = _iterations(node)
            if count is None:
                return None
            inner = max(inner, 1) * max(count, 1)
    if not isinstance(loop.place, hir.VariablePlace):
        return None
    variable = loop.place.variable
    if any(_writes(node, variable) for node in walk(loop.body)):
        return None
    return max((end - start) // step + 1, 0) * inner


def _writes(node: object, variable: hir.Variable) -> bool:
    """Whether an assignment or loop may change the variable; through a reference it may."""
    if not isinstance(node, hir.Assign | hir.For):
        return False
    place = root(node.place)
    return not isinstance(place, hir.VariablePlace) or place.variable is variable


def _is_short(loop: hir.For) -> bool:
    count = _iterations(loop)
    return count is not None and count <= UNWATCHED_ITERATIONS_MAX
