"""Calls: functions, methods, blocks, dispatch; and how values are passed and assigned."""

from __future__ import annotations

from dataclasses import dataclass

from programs import hir
from programs.layout import is_aggregate
from programs.lower_intrinsics import Intrinsics
from programs.lower_ir import LIKELY, llvm_type, quoted
from programs.lower_places import Shared, Spot, context_offset
from scan.abi import Fault

# The "method" that stands for the body of a block where it is called by the instance's own type.
BODY = "$BODY"
_BLOCKS = ("function_block", "class", "program")


@dataclass(frozen=True, slots=True)
class Signature:
    """The native form of a POU: status first, then what it needs."""

    result: str  # "i32" or "{ i32, T }"
    parameters: tuple[str, ...]

    def declaration(self, symbol: str) -> str:
        return f"declare {self.result} {symbol}({', '.join(self.parameters)})"


def symbol_of(key: str) -> str:
    return "@" + quoted(f"p.{key}")


def takes_this(pou: hir.Pou) -> bool:
    return bool(pou.owner) or pou.kind in _BLOCKS


def formal(shared: Shared, key: str, storage: hir.Storage) -> list[hir.Variable]:
    """The parameters of one storage; blocks have none: their pins are members."""
    if shared.program.pous[key].kind in _BLOCKS:
        return []
    return shared.by_storage(key, storage)


def passed_as(kind: hir.Type) -> list[str]:
    if isinstance(kind, hir.OpenArray):
        return ["ptr"] + ["i64"] * (2 * kind.rank)
    return [llvm_type(kind)]


def signature(shared: Shared, key: str) -> Signature:
    pou = shared.program.pous[key]
    parameters = ["ptr", "ptr"] + (["ptr"] if takes_this(pou) else [])
    for variable in formal(shared, key, hir.Storage.PARAMETER):
        parameters += passed_as(variable.type)
    for variable in formal(shared, key, hir.Storage.INOUT_PARAMETER):
        parameters += ["ptr", *passed_as(variable.type)[1:]]
    parameters += ["ptr"] * len(formal(shared, key, hir.Storage.OUTPUT_PARAMETER))
    result = "i32"
    if pou.result is not None:
        if is_aggregate(pou.result.type):
            parameters.append("ptr")
        else:
            result = f"{{ i32, {llvm_type(pou.result.type)} }}"
    return Signature(result, tuple(parameters))


class Calls(Intrinsics):
    """``Call``, ``CallBlock`` and assignment of values of any type."""

    # Where native blocks write what nobody reads: their result and the reason of an exception.
    _native_slots: tuple[str, str] | None = None

    # -- assignment

    def assign(self, spot: Spot, kind: hir.Type, value: hir.Expression, line: int) -> None:
        """Evaluate and store; the place's type decides, strings are cut to it."""
        if isinstance(kind, hir.String):
            self._assign_string(spot, kind, value)
        elif is_aggregate(kind):
            self.copy_bytes(spot.pointer, self.expression(value), self.types.size(kind))
        else:
            self.store(spot, kind, self.expression(value), line)

    def _assign_string(self, spot: Spot, kind: hir.String, value: hir.Expression) -> None:
        while isinstance(value, hir.Convert) and isinstance(value.operand.type, hir.String):
            inner = value.operand.type
            if value.type != kind or inner.wide != kind.wide:
                break
            value = value.operand  # the copy below cuts by itself
        if (
            isinstance(value, hir.Constant)
            and isinstance(value.type, hir.String)
            and value.type.wide == kind.wide
        ):
            source = self.constant_value(kind, value.value)
            self.copy_bytes(spot.pointer, source, self.types.size(kind))
            return
        assert isinstance(value.type, hir.String)
        source = self.expression(value)
        self.copy_text(spot.pointer, kind, source, value.type.wide, fill=True)

    def move(self, spot: Spot, kind: hir.Type, source: str, given: hir.Type, line: int) -> None:
        """Store an operand (or what a pointer leads to) of type ``given``."""
        if isinstance(kind, hir.String) and isinstance(given, hir.String):
            self.copy_text(spot.pointer, kind, source, given.wide, fill=True)
        elif is_aggregate(kind):
            self.copy_bytes(spot.pointer, source, self.types.size(kind))
        else:
            if llvm_type(kind) != llvm_type(given):
                convert = hir.Convert(hir.Constant(given, 0), kind)
                source = self.convert_operand(convert, source)
            self.store(spot, kind, source, line)

    def convert_operand(self, convert: hir.Convert, value: str) -> str:
        from programs.lower_ir import base_type

        return self.convert_scalar(value, base_type(convert.operand.type), base_type(convert.type))

    # -- calls of functions and methods

    def call(self, call: hir.Call) -> str:
        pou = self.shared.program.pous[call.pou]
        form = signature(self.shared, call.pou)
        arguments = ["%base", "%ctx"]
        target = symbol_of(call.pou)
        if takes_this(pou):
            this, target = self._receiver(call, target, form)
            arguments.append(this)
        else:
            self.declare_callee(call.pou, form, target)
        inputs = formal(self.shared, call.pou, hir.Storage.PARAMETER)
        for variable, expression in zip(inputs, call.arguments, strict=True):
            arguments += self._argument(variable, expression)
        after: list[tuple[hir.Place, Spot, str, hir.Type]] = []
        for variable in formal(self.shared, call.pou, hir.Storage.INOUT_PARAMETER):
            arguments += self._inout(variable, dict(_by_id(call.inouts))[id(variable)], after)
        for variable in formal(self.shared, call.pou, hir.Storage.OUTPUT_PARAMETER):
            arguments.append(self._output(variable, dict(_by_id(call.outputs)).get(id(variable)), after))
        if pou.result is not None and is_aggregate(pou.result.type):
            arguments.append(self.room(self.types.size(pou.result.type)))
        result = self._emit_call(form, target, arguments)
        for place, spot, pointer, kind in after:
            self.move(spot, place.type, self.load(Spot(pointer), kind), kind, call.line)
        return result or (arguments[-1] if pou.result is not None else "")

    def _emit_call(self, form: Signature, target: str, arguments: list[str]) -> str:
        """Emit the call and its status check; the scalar result or ""."""
        typed = ", ".join(f"{kind} {value}" for kind, value in zip(form.parameters, arguments, strict=True))
        returned = self.op(f"call {form.result} {target}({typed})")
        if form.result == "i32":
            self.check_status(returned)
            return ""
        self.check_status(self.op(f"extractvalue {form.result} {returned}, 0"))
        return self.op(f"extractvalue {form.result} {returned}, 1")

    def _receiver(self, call: hir.Call, target: str, form: Signature) -> tuple[str, str]:
        if call.interface is not None:
            pair = self.expression(call.interface)
            this = self.follow(self.op(f"extractvalue {{ i64, i64 }} {pair}, 0"), 1, call.line)
            number = self.op(f"extractvalue {{ i64, i64 }} {pair}, 1")
            return this, self._dispatch(call.method, number, call.line)
        this = "%this" if call.receiver is None else self.place(call.receiver).pointer
        if call.virtual:
            number = self.op(f"load i64, ptr {this}, align 8")
            return this, self._dispatch(call.method, number, call.line)
        self.declare_callee(call.pou, form, target)
        return this, target

    def declare_callee(self, key: str, form: Signature, target: str) -> None:
        self.module.callees.add(key)
        if key != self.pou.key:
            self.module.declare(target, form.declaration(target))

    def _dispatch(self, method: str, number: str, line: int) -> str:
        """Native code of a method for the POU with this number: table lookup."""
        inside = self.op(f"icmp ule i64 {number}, {self.program_constant('pous')}")
        self.guard(inside, Fault.NULL_REFERENCE, line, number)
        table = "@" + quoted(f"d.{method}")
        self.module.declare(table, f"{table} = external constant [0 x ptr]")
        entry = self.at(table, self.op(f"mul i64 {number}, 8"))
        return self.op(f"load ptr, ptr {entry}, align 8")

    def query_table(self, kind: hir.Type) -> str:
        name = kind.name if isinstance(kind, hir.Interface) else ""
        if isinstance(kind, hir.Ref) and isinstance(kind.target, hir.Instance):
            name = kind.target.pou
        table = "@" + quoted(f"q.{name}")
        self.module.declare(table, f"{table} = external constant [0 x i8]")
        return table

    # -- parameters

    def _argument(self, variable: hir.Variable, expression: hir.Expression) -> list[str]:
        if isinstance(variable.type, hir.OpenArray):
            return self._open_array(variable.type, expression)
        if variable.type != expression.type and not is_aggregate(variable.type):
            self.check_subrange(variable.type, value := self.expression(expression), expression.line)
            return [value]
        return [self.expression(expression)]

    def _open_array(self, kind: hir.OpenArray, expression: hir.Expression) -> list[str]:
        assert isinstance(expression, hir.Load)
        return self._array_with_bounds(kind, expression.place)

    def _array_with_bounds(self, kind: hir.OpenArray, place: hir.Place) -> list[str]:
        spot = self.place(place)
        if isinstance(place.type, hir.Array):
            bounds = [(str(low), str(high)) for low, high in place.type.dims]
        else:
            bounds = spot.bounds
        return [spot.pointer, *(text for pair in bounds[: kind.rank] for text in pair)]

    def _inout(
        self, variable: hir.Variable, place: hir.Place, after: list[tuple[hir.Place, Spot, str, hir.Type]]
    ) -> list[str]:
        if isinstance(variable.type, hir.OpenArray):
            return self._array_with_bounds(variable.type, place)
        spot = self.place(place)
        lent = isinstance(variable.type, hir.String) and variable.type != place.type
        if spot.bit < 0 and spot.part is None and not lent:
            return [spot.pointer]
        # A bit has no address and a string of another length no room: lend some for the time of the call.
        pointer = self.room(self.types.size(variable.type))
        self.move(Spot(pointer), variable.type, self.load(spot, place.type), place.type, 0)
        after.append((place, spot, pointer, variable.type))
        return [pointer]

    def _output(
        self,
        variable: hir.Variable,
        place: hir.Place | None,
        after: list[tuple[hir.Place, Spot, str, hir.Type]],
    ) -> str:
        pointer = self.room(self.types.size(variable.type))
        if place is not None:
            after.append((place, self.place(place), pointer, variable.type))
        return pointer

    # -- calls of blocks

    def call_block(self, call: hir.CallBlock) -> None:
        if call.enable is None:
            self._run_block(call)
            if call.eno is not None:
                self.store(self.place(call.eno), call.eno.type, "true", call.line)
            return
        enable = self.expression(call.enable)
        run, end = self.new_label("enabled"), self.new_label("end")
        self.split(enable, run, end)
        self.start(run)
        self._run_block(call)
        self.start(end)
        if call.eno is not None:
            self.store(self.place(call.eno), call.eno.type, enable, call.line)

    def _run_block(self, call: hir.CallBlock) -> None:
        this = self.place(call.instance).pointer
        for variable, expression in call.inputs:
            self.assign(self._pin(this, call.pou, variable), variable.type, expression, call.line)
        slots = self.types.pou(call.pou).slots
        after: list[tuple[hir.Place, Spot, str, hir.Type]] = []
        for variable, place in call.inouts:
            self._bind(self.at(this, slots[id(variable)]), self._inout(variable, place, after))
        self._run_body(call, this, [slots[id(variable)] for variable, _ in call.inouts])
        for place, spot, pointer, kind in after:
            self.move(spot, place.type, self.load(Spot(pointer), kind), kind, call.line)
        for variable, place in call.outputs:
            source = self.load(self._pin(this, call.pou, variable), variable.type)
            self.move(self.place(place), place.type, source, variable.type, call.line)

    def _pin(self, this: str, key: str, variable: hir.Variable) -> Spot:
        if id(variable) in self.shared.layout.offsets:
            return self.variable(variable)
        return Spot(self.at(this, self.types.member_offset(variable, key)))

    def _bind(self, slot: str, values: list[str]) -> None:
        self.do(f"store i64 {self.offset_of(Spot(values[0]))}, ptr {slot}, align 8")
        for index, bound in enumerate(values[1:], start=1):
            self.do(f"store i64 {bound}, ptr {self.at(slot, 8 * index)}, align 8")

    def _run_body(self, call: hir.CallBlock, this: str, slots: list[int]) -> None:
        key, line, virtual = call.pou, call.line, call.virtual
        builtin = self.shared.program.pous[key].builtin
        if builtin:
            symbol = "@" + quoted(f"b.{key}")
            self.module.blocks.add(key)
            self.module.block_calls += 1
            self._native_slots = self._native_slots or (self.slot("ptr"), self.slot("ptr"))
            result, reason = self._native_slots
            status = self.op(f"call i32 {symbol}(ptr {result}, ptr {reason}, ptr {this}, ptr %ctx)")
        else:
            form, target = signature(self.shared, key), symbol_of(key)
            if virtual:
                target = self._dispatch(BODY, self.op(f"load i64, ptr {this}, align 8"), line)
            else:
                self.declare_callee(key, form, target)
            status = self.op(f"call i32 {target}(ptr %base, ptr %ctx, ptr {this})")
        # A stack address must not stay in the block, not even after a fault: snapshots are compared bit for bit.
        for offset in slots:
            self.do(f"store i64 0, ptr {self.at(this, offset)}, align 8")
        if builtin:
            self._check_native(status, line, key)
        else:
            self.check_status(status)

    def _check_native(self, status: str, line: int, key: str) -> None:
        """Compiled Python answers 0, or -2 for "returned None"; anything else is an exception.

        A plant's own block has noted its line in the context: the fault is there. Else it is where the block is called.
        """
        zero = self.op(f"icmp eq i32 {status}, 0")
        none = self.op(f"icmp eq i32 {status}, -2")
        fine = self.op(f"or i1 {zero}, {none}")
        if key not in self.shared.program.blocks:
            self.guard(fine, Fault.BLOCK_EXCEPTION, line)
            return
        good, bad = self.new_label("ok"), self.new_label("raised")
        self.split(fine, good, bad, LIKELY)
        self.start(bad)
        where = "@" + quoted(f"f.{key}")
        self.module.declare(where, f"{where} = external constant {{ i32, i32 }}")
        self.module.declare("@fault", "declare i32 @fault(ptr, i32, i32, i64, ptr) cold")
        noted = self.op(f"load i32, ptr {self.at('%ctx', context_offset('fault_line'))}, align 4")
        code = int(Fault.BLOCK_EXCEPTION)
        failed = self.op(f"call i32 @fault(ptr %ctx, i32 {code}, i32 {noted}, i64 0, ptr {where})")
        self._failures.append((failed, self.block))
        self.jump("failed")
        self.start(good)


def _by_id(pairs: list[tuple[hir.Variable, hir.Place]]) -> list[tuple[int, hir.Place]]:
    return [(id(variable), place) for variable, place in pairs]


__all__ = ["LIKELY", "Calls", "Signature", "formal", "signature", "symbol_of", "takes_this"]
