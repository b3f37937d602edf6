"""A plain-Python evaluator of the typed tree: what compiled code must do, and nothing about how.

It shares the block's layout with the compiler, so that whole blocks can be compared, and nothing of code generation.
Standard blocks run as ``Block.py_func``. It is slow and only as fast as tests and explanations need.
"""

from __future__ import annotations

import contextlib

import numpy as np

from programs import hir
from programs.blocks import Block, standard_blocks
from programs.evaluate_expressions import Expressions
from programs.evaluate_memory import (
    AggregateValue,
    FaultError,
    InterfaceValue,
    Pointer,
    Value,
    integer,
    read,
    room,
    write,
)
from programs.evaluate_values import wrap
from programs.layout import BlockLayout, is_aggregate, scalar_type
from programs.layout_symbols import Image, SymbolTable, default_value
from scan.abi import CONTEXT_DTYPE, Fault, IecType

# Loop passes after which the evaluator behaves as if the watchdog had stopped the program.
PASSES_MAX = 1_000_000
DEPTH_MAX = 100


class _ExitError(Exception):
    pass


class _ContinueError(Exception):
    pass


class _ReturnError(Exception):
    pass


class Frame:
    """One call: its POU, the instance it runs on, and where its variables are."""

    def __init__(self, pou: hir.Pou, this: Pointer | None) -> None:
        self.pou = pou
        self.this = this
        self.places: dict[int, Pointer] = {}


class Evaluator(Expressions):
    """Runs the tasks of a program on a block of its own."""

    def __init__(self, program: hir.Program, blocks: dict[str, Block] | None = None) -> None:
        self.program = program
        self.layout = BlockLayout(program)
        self.types = self.layout.types
        table = SymbolTable(self.layout)
        self.symbols = {symbol.path.lower(): symbol for symbol in table.collect()}
        image = Image(self.layout, table.addresses).build()
        self.block = np.frombuffer(bytearray(image), np.uint8)
        self.context = np.zeros(1, CONTEXT_DTYPE).view(np.recarray)[0]
        self.blocks = {**standard_blocks(), **program.blocks, **(blocks or {})}
        self.frames: list[Frame] = []
        self.bound = {}
        self.passes = 0
        self.fault: FaultError | None = None

    # -- running

    def scan(self, now_ns: int, task: str) -> int:
        """One scan of a task; 0 or the fault's number, then ``fault`` says more."""
        self.context.now_ns, self.passes = now_ns, 0
        try:
            for placed in self.layout.instances:
                if placed.task == task:
                    self._run_program(placed.instance, placed.offset)
        except FaultError as error:
            self.fault = error
            self.frames.clear()
            return int(error.fault)
        return 0

    def read_path(self, path: str) -> object:
        """Value of a scalar or string symbol."""
        symbol = self.symbols[path.lower()]
        kind: hir.Type = hir.Elementary(symbol.type)
        if symbol.type in (IecType.STRING, IecType.WSTRING):
            kind = hir.String(symbol.length, symbol.type is IecType.WSTRING)
        return read(Pointer(self.block, symbol.offset, symbol.bit), kind, symbol.size)

    def _run_program(self, instance: hir.ProgramInstance, offset: int) -> None:
        this = Pointer(self.block, offset)
        outer = Frame(hir.Pou("$tasks", "function", [], []), None)
        self.frames.append(outer)
        for variable, expression in instance.inputs:
            self.assign(self.pin(this, instance.pou, variable), variable.type, self.value(expression), 0)
        self.run_body(instance.pou, this, 0)
        for variable, place in instance.outputs:
            self._copy_out(self.pin(this, instance.pou, variable), variable.type, place)
        self.frames.pop()

    def fail(self, fault: Fault, line: int, detail: int = 0) -> FaultError:
        return FaultError(fault, self.frames[-1].pou.key, line, detail)

    def run_body(self, key: str, this: Pointer, line: int) -> None:
        pou = self.program.pous[key]
        if pou.builtin:
            self._run_native(key, this, line)
            return
        self._enter(Frame(pou, this))
        for variable in pou.variables:
            if variable.storage is hir.Storage.LOCAL:
                self._make_local(variable)
        self._run_statements(pou)
        self.frames.pop()

    def _run_native(self, key: str, this: Pointer, line: int) -> None:
        found = self.blocks[key]
        record = found.record()
        data = this.memory[this.offset : this.offset + record.itemsize]
        instance = data.view(record).view(np.recarray)[0]
        try:
            found.py_func(instance, self.context)
        except Exception as error:
            if key in self.program.blocks:
                noted = found.line + int(self.context.fault_line)
                raise FaultError(Fault.BLOCK_EXCEPTION, key, noted) from error
            raise self.fail(Fault.BLOCK_EXCEPTION, line) from error

    def _run_statements(self, pou: hir.Pou) -> None:
        with contextlib.suppress(_ReturnError):
            self.statements(pou.body)

    def _enter(self, frame: Frame) -> None:
        if len(self.frames) > DEPTH_MAX:
            raise FaultError(Fault.CALL_TOO_DEEP, frame.pou.key, frame.pou.line)
        self.frames.append(frame)

    # -- variables of a call

    def _room(self, variable: hir.Variable) -> Pointer:
        offset = self.layout.offsets.get(id(variable))
        pointer = room(self.types.size(variable.type)) if offset is None else Pointer(self.block, offset)
        self.frames[-1].places[id(variable)] = pointer
        return pointer

    def _make_local(self, variable: hir.Variable) -> None:
        pointer = self._room(variable)
        image = Image(self.layout, {})
        image.data = bytearray(self.types.size(variable.type))
        image.write(0, variable.type, variable.init)
        pointer.put(bytes(image.data))

    def call(self, call: hir.Call) -> Value | None:
        """Arguments are evaluated in the caller's frame, in order; then the callee runs on its own."""
        key, this = self._callee(call)
        pou = self.program.pous[key]
        form = self.program.pous[call.pou]
        values: list[Value | Pointer] = []
        for variable, expression in zip(
            self._formal(form, hir.Storage.PARAMETER), call.arguments, strict=True
        ):
            values.append(self._argument(variable, expression))
        inouts = [self._lent(variable, place) for variable, place in self._in_order(form, call.inouts)]
        outputs = [(variable, self.place(place), place.type) for variable, place in call.outputs]
        self._enter(Frame(pou, this))
        self._bind(pou, values, inouts)
        self._run_statements(pou)
        frame = self.frames.pop()
        self._give_back(inouts)
        own = dict(zip(map(id, self._formal(form, hir.Storage.OUTPUT_PARAMETER)),
                       self._formal(pou, hir.Storage.OUTPUT_PARAMETER), strict=True))  # fmt: skip
        for variable, pointer, kind in outputs:
            source = frame.places[id(own[id(variable)])]
            value = self._converted(self.read(source, variable.type), variable.type, kind)
            self.assign(pointer, kind, value, call.line)
        return None if pou.result is None else self.read(frame.places[id(pou.result)], pou.result.type)

    def _bind(self, pou: hir.Pou, values: list[Value | Pointer], inouts: list[_Lent]) -> None:
        places = self.frames[-1].places
        for variable, value in zip(self._formal(pou, hir.Storage.PARAMETER), values, strict=True):
            if isinstance(value, Pointer):
                places[id(variable)] = value
            else:
                write(self._room(variable), variable.type, value)
        for variable, lent in zip(self._formal(pou, hir.Storage.INOUT_PARAMETER), inouts, strict=True):
            places[id(variable)] = lent.pointer
        for variable in pou.variables:
            if variable.storage in (hir.Storage.LOCAL, hir.Storage.OUTPUT_PARAMETER):
                self._make_local(variable)
        if pou.result is not None and id(pou.result) not in places:
            self._make_local(pou.result)

    def _callee(self, call: hir.Call) -> tuple[str, Pointer | None]:
        pou = self.program.pous[call.pou]
        if call.interface is not None:
            found = self.value(call.interface)
            assert isinstance(found, InterfaceValue)
            this = self.follow(found.offset, 1, call.line)
            return self._implementation(found.number, call), this
        if not pou.owner and pou.kind not in ("function_block", "class", "program"):
            return call.pou, None
        receiver = self.frames[-1].this if call.receiver is None else self.place(call.receiver)
        assert receiver is not None
        if call.virtual:
            number = integer(read(receiver, hir.Elementary(IecType.ULINT), 8))
            return self._implementation(number, call), receiver
        return call.pou, receiver

    def _implementation(self, number: int, call: hir.Call) -> str:
        keys = list(self.program.pous)
        if number > len(keys):
            raise self.fail(Fault.NULL_REFERENCE, call.line, number)
        target = self.program.pous[keys[number - 1]].methods.get(call.method) if number else None
        if target is None or self.program.pous[target].abstract:
            raise FaultError(Fault.ABSTRACT_CALL, "", 0)
        return target

    def _formal(self, pou: hir.Pou, storage: hir.Storage) -> list[hir.Variable]:
        return [variable for variable in pou.variables if variable.storage is storage]

    def _in_order(
        self, pou: hir.Pou, pairs: list[tuple[hir.Variable, hir.Place]]
    ) -> list[tuple[hir.Variable, hir.Place]]:
        places = {id(variable): place for variable, place in pairs}
        return [(one, places[id(one)]) for one in self._formal(pou, hir.Storage.INOUT_PARAMETER)]

    def _argument(self, variable: hir.Variable, expression: hir.Expression) -> Value | Pointer:
        if isinstance(variable.type, hir.OpenArray):
            assert isinstance(expression, hir.Load)
            return self._with_bounds(expression.place)
        value = self.value(expression)
        self.check_subrange(variable.type, value, expression.line)
        return value

    def _with_bounds(self, place: hir.Place) -> Pointer:
        pointer = self.place(place)
        if isinstance(place.type, hir.Array):
            return Pointer(pointer.memory, pointer.offset, bounds=place.type.dims)
        return pointer

    def _lent(self, variable: hir.Variable, place: hir.Place) -> _Lent:
        if isinstance(variable.type, hir.OpenArray):
            return _Lent(self._with_bounds(place))
        pointer = self.place(place)
        other = isinstance(variable.type, hir.String) and variable.type != place.type
        if pointer.bit < 0 and pointer.part is None and not other:
            return _Lent(pointer)
        lent = room(self.types.size(variable.type))
        write(lent, variable.type, self.read(pointer, place.type))
        return _Lent(lent, pointer, place.type, variable.type)

    def _give_back(self, lent: list[_Lent]) -> None:
        for one in lent:
            if one.original is not None:
                assert one.kind is not None and one.own is not None
                write(one.original, one.kind, self.read(one.pointer, one.own))

    # -- blocks

    def pin(self, this: Pointer, key: str, variable: hir.Variable) -> Pointer:
        if id(variable) in self.layout.offsets:
            return self.variable(variable)
        return this.plus(self.types.member_offset(variable, key))

    def call_block(self, call: hir.CallBlock) -> None:
        enabled = call.enable is None or bool(self.value(call.enable))
        if enabled:
            self._run_block(call)
        if call.eno is not None:
            write(self.place(call.eno), call.eno.type, int(enabled))

    def _run_block(self, call: hir.CallBlock) -> None:
        this = self.place(call.instance)
        key = self._body_of(call, this)
        for variable, expression in call.inputs:
            self.assign(self.pin(this, call.pou, variable), variable.type, self.value(expression), call.line)
        lent = [self._lent(variable, place) for variable, place in call.inouts]
        saved = dict(self.bound)
        for (variable, _), one in zip(call.inouts, lent, strict=True):
            self.bound[this.offset, id(variable)] = one.pointer
        self.run_body(key, this, call.line)
        self.bound = saved
        self._give_back(lent)
        for variable, place in call.outputs:
            self._copy_out(self.pin(this, call.pou, variable), variable.type, place, call.line)

    def _body_of(self, call: hir.CallBlock, this: Pointer) -> str:
        if not call.virtual:
            return call.pou
        number = integer(read(this, hir.Elementary(IecType.ULINT), 8))
        return list(self.program.pous)[number - 1]

    def _copy_out(self, source: Pointer, given: hir.Type, place: hir.Place, line: int = 0) -> None:
        value = self.read(source, given)
        self.assign(self.place(place), place.type, self._converted(value, given, place.type), line)

    def _converted(self, value: Value, given: hir.Type, kind: hir.Type) -> Value:
        source, target = scalar_type(given), scalar_type(kind)
        if source is None or target is None or source is target:
            return value
        return self.convert_value(value, source, target)

    # -- statements

    def statements(self, statements: list[hir.Statement]) -> None:
        for statement in statements:
            self.statement(statement)

    def statement(self, statement: hir.Statement) -> None:
        match statement:
            case hir.Assign(place=place, value=value, line=line):
                pointer = self.place(place)
                self.assign(pointer, place.type, self.value(value), line)
            case hir.CallBlock():
                self.call_block(statement)
            case hir.CallStatement(call=call):
                self.call(call)
            case hir.If(branches=branches):
                for condition, body in branches:
                    if condition is None or self.value(condition):
                        self.statements(body)
                        break
            case hir.Case():
                self._case(statement)
            case hir.For():
                self._for(statement)
            case hir.While(condition=condition, body=body, line=line):
                while self.value(condition):
                    if not self._pass(body, line):
                        break
            case hir.Repeat(body=body, until=until, line=line):
                while self._pass(body, line) and not self.value(until):
                    pass
            case hir.Exit():
                raise _ExitError
            case hir.Continue():
                raise _ContinueError
            case hir.Return():
                raise _ReturnError

    def _case(self, statement: hir.Case) -> None:
        value = integer(self.value(statement.selector))
        for labels, body in statement.branches:
            if any(low <= value <= high for low, high in labels):
                self.statements(body)
                return
        self.statements(statement.otherwise)

    def _pass(self, body: list[hir.Statement], line: int) -> bool:
        """One pass of a loop; False after EXIT."""
        self.passes += 1
        if self.passes > PASSES_MAX:
            raise self.fail(Fault.ABORTED, line)
        try:
            self.statements(body)
        except _ContinueError:
            pass
        except _ExitError:
            return False
        return True

    def _for(self, loop: hir.For) -> None:
        pointer = self.place(loop.place)
        kind = loop.place.type
        start, end, step = (integer(self.value(part)) for part in (loop.start, loop.end, loop.step))
        self.assign(pointer, kind, start, loop.line)
        current = start
        while (step > 0 and current <= end) or (step < 0 and current >= end):
            if not self._pass(loop.body, loop.line):
                return
            current = integer(self.read(pointer, kind)) + step
            self._set_counter(pointer, kind, current)

    def _set_counter(self, pointer: Pointer, kind: hir.Type, value: int) -> None:
        """A counter of a subrange keeps its last value in range."""
        scalar = scalar_type(kind)
        assert scalar is not None
        wrapped = wrap(scalar, value)
        limited = isinstance(kind, hir.Elementary) and kind.low is not None and kind.high is not None
        if limited and not kind.low <= wrapped <= kind.high:  # type: ignore[union-attr, operator]
            return
        write(pointer, hir.Elementary(scalar), wrapped)

    # -- stores

    def assign(self, pointer: Pointer, kind: hir.Type, value: Value, line: int) -> None:
        self.check_subrange(kind, value, line)
        write(pointer, kind, value)

    def check_subrange(self, kind: hir.Type, value: Value, line: int) -> None:
        if isinstance(kind, hir.Elementary) and kind.low is not None and kind.high is not None:
            assert isinstance(value, int)
            if not kind.low <= value <= kind.high:
                raise self.fail(Fault.SUBRANGE, line, value)


class _Lent:
    """What an in-out is bound to; ``original`` when a copy is lent because the place has no address of its own."""

    def __init__(
        self, pointer: Pointer, original: Pointer | None = None, kind: hir.Type | None = None,
        own: hir.Type | None = None,
    ) -> None:  # fmt: skip
        self.pointer, self.original, self.kind, self.own = pointer, original, kind, own


__all__ = ["AggregateValue", "Evaluator", "FaultError", "default_value", "is_aggregate"]
