"""Long bodies in parts: each some statements of a POU as a function and module of its own.

Theory. The optimiser's time grows faster than the length of a function, and a function is compiled by one core.
A body of more than ``DIVIDED_FROM`` statements is therefore cut where control flow allows it: between statements that
stand in no loop. A part gets the POU's own arguments and a *frame*, an array of pointers to the POU's parameters and
local variables; it answers 0 to go on, ``RETURNED`` after RETURN, or a fault code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from programs import hir
from programs.lower_effects import walk
from programs.lower_ir import Module, quoted
from programs.lower_places import Spot
from programs.lower_statements import Statements

DIVIDED_FROM = 400
PART_STATEMENTS = 120
RETURNED = -1


@dataclass(slots=True)
class Divided:
    """What a POU's function and its parts share while they are made."""

    frame: dict[
        int, tuple[int, Spot]
    ]  # by id of the variable: first slot in the frame, place in the function
    weights: dict[int, int]  # statements in each statement, by id
    parts: list[Module]


def weight(statement: hir.Statement, weights: dict[int, int]) -> int:
    """Number of statements in a statement, itself included; noted for each in ``weights``."""
    match statement:
        case hir.If(branches=branches):
            bodies = [body for _, body in branches]
        case hir.Case(branches=cases, otherwise=otherwise):
            bodies = [*(body for _, body in cases), otherwise]
        case hir.For(body=body) | hir.While(body=body) | hir.Repeat(body=body):
            bodies = [body]
        case _:
            return 1
    total = 1 + sum(weight(inner, weights) for body in bodies for inner in body)
    weights[id(statement)] = total
    return total


def groups(statements: list[hir.Statement], weights: dict[int, int]) -> Iterator[list[hir.Statement]]:
    """Neighbours that together make a part; a statement that is too long for one stands alone."""
    group: list[hir.Statement] = []
    filled = 0
    for statement in statements:
        size = weights.get(id(statement), 1)
        if group and filled + size > PART_STATEMENTS:
            yield group
            group, filled = [], 0
        group.append(statement)
        filled += size
    if group:
        yield group


class Parts(Statements):
    """Statements of a POU that may be divided."""

    divided: Divided | None = None
    frame = ""

    def divide_body(self, statements: list[hir.Statement]) -> None:
        """Decide for the whole body, when the parameters and local variables have their places."""
        weights: dict[int, int] = {}
        total = sum(weight(statement, weights) for statement in statements)
        if total <= DIVIDED_FROM:
            return
        self.divided = Divided({}, weights, [])
        size = 0
        for variable, spot in self.variables.items():
            self.divided.frame[variable] = size, spot
            size += 1 + 2 * len(spot.bounds)
        self.frame = self.room(8 * size)
        for start, spot in self.divided.frame.values():
            values = [("ptr", spot.pointer), *(("i64", text) for pair in spot.bounds for text in pair)]
            for number, (kind, value) in enumerate(values, start=start):
                self.do(f"store {kind} {value}, ptr {self.at(self.frame, 8 * number)}, align 8")

    def statements(self, statements: list[hir.Statement]) -> None:
        divided = self.divided
        if divided is None or self._loops:
            super().statements(statements)
            return
        for group in groups(statements, divided.weights):
            size = sum(divided.weights.get(id(one), 1) for one in group)
            if 2 * size >= PART_STATEMENTS and not (len(group) == 1 and _holds_more(group[0], size)):
                if self.ended:
                    self.start(self.new_label("dead"))
                self._call_part(group, divided)
            else:
                super().statements(group)

    def _call_part(self, group: list[hir.Statement], divided: Divided) -> None:
        module = Module(f"{self.pou.key}/{len(divided.parts) + 1}")
        divided.parts.append(module)
        Part(module, self, divided).lower(group)
        symbol = "@" + quoted(f"p.{module.name}")
        self.module.declare(symbol, f"declare i32 {symbol}(ptr, ptr, ptr, ptr)")
        this = "%this" if self.has_this else "null"
        status = self.op(f"call i32 {symbol}(ptr %base, ptr %ctx, ptr {this}, ptr {self.frame})")
        if not any(isinstance(node, hir.Return) for node in walk(group)):
            self.check_status(status)
            return
        good, failed = self.new_label("ok"), self.new_label("part")
        self.do(f"switch i32 {status}, label %{failed} [i32 0, label %{good} i32 {RETURNED}, label %leave]")
        self.ended = True
        self.start(failed)
        self._failures.append((status, failed))
        self.jump("failed")
        self.start(good)

    @property
    def has_this(self) -> bool:
        raise NotImplementedError


def _holds_more(statement: hir.Statement, size: int) -> bool:
    """A branch so long that its own lists are divided instead."""
    return size > PART_STATEMENTS and isinstance(statement, hir.If | hir.Case)


class Part(Parts):
    """The function of one part."""

    def __init__(self, module: Module, whole: Parts, divided: Divided) -> None:
        super().__init__(module, whole.shared, whole.pou)
        self.divided = divided
        self.frame = "%frame"
        self._whole = whole

    @property
    def has_this(self) -> bool:
        return self._whole.has_this

    def lower(self, statements: list[hir.Statement]) -> None:
        self._loops, self._counters = [], []
        super(Parts, self).statements(statements)
        self.jump("done")
        self.start_detached("done")
        self.do("ret i32 0")
        self.start_detached("leave")
        self.do(f"ret i32 {RETURNED}")
        self.ended = True
        self.write_failures()
        symbol = "@" + quoted(f"p.{self.module.name}")
        head = f"define i32 {symbol}(ptr %base, ptr noalias %ctx, ptr %this, ptr noalias readonly %frame) nounwind {{"
        self.module.functions.append("\n".join([head, "entry:", *self.slots, *self.lines, "}"]))

    def variable(self, variable: hir.Variable) -> Spot:
        assert self.divided is not None
        if id(variable) in self.divided.frame and id(variable) not in self.variables:
            self.variables[id(variable)] = self._from_frame(*self.divided.frame[id(variable)])
        return super().variable(variable)

    def _from_frame(self, start: int, spot: Spot) -> Spot:
        """The places are read once, at the beginning of the part, so that they hold in all of it."""
        pointer, *numbers = (
            self._slot_value("i64" if number else "ptr", start + number)
            for number in range(1 + 2 * len(spot.bounds))
        )
        if spot.pointer in self._whole.aligned:
            self.aligned.add(pointer)
        return Spot(pointer, bounds=list(zip(numbers[::2], numbers[1::2], strict=True)))

    def _slot_value(self, kind: str, number: int) -> str:
        self._values += 2
        address, value = f"%v{self._values - 1}", f"%v{self._values}"
        self.slots.append(f"  {address} = getelementptr i8, ptr %frame, i64 {8 * number}")
        self.slots.append(f"  {value} = load {kind}, ptr {address}, align 8")
        return value

    def leave_failed(self, status: str) -> None:
        self.do(f"ret i32 {status}")
        self.ended = True
