"""Standard functions: short ones as instructions, the others as calls into the library (``programs.stdlib``)."""

from __future__ import annotations

from collections.abc import Callable

from programs import hir
from programs.lower_convert import TIMES_OF_DAY, Conversions
from programs.lower_ir import base_type, is_float, is_signed, llvm_type, scalar_llvm, width
from programs.lower_places import context_offset
from scan.abi import IecType

# Computed in LREAL and rounded once for REAL, so that a value does not depend on a float version of the C library.
_LIBRARY_NAMES = {
    "LN": "log", "LOG": "log10", "EXP": "exp", "SIN": "sin", "COS": "cos", "TAN": "tan", "ASIN": "asin",
    "ACOS": "acos", "ATAN": "atan", "ATAN2": "atan2",
}  # fmt: skip
_ROUNDINGS = {"FLOOR": "floor", "CEIL": "ceil", "ROUND": "roundeven", "SQRT": "sqrt"}
_DATE_PARTS = ("YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND", "MILLISECOND", "DAY_OF_WEEK")
_SHIFTS = {"SHL": "shl", "SHR": "lshr"}
_ROTATIONS = {"ROL": "fshl", "ROR": "fshr"}
_EDITS = ("LEFT", "RIGHT", "MID", "INSERT", "DELETE", "REPLACE")


class Intrinsics(Conversions):
    """``Intrinsic`` nodes."""

    def intrinsic(self, intrinsic: hir.Intrinsic) -> str:
        name = intrinsic.name
        if name in _EDITS:
            return self._edit(intrinsic)
        if name == "CONCAT":
            return self._concat(intrinsic)
        values = [self.expression(argument) for argument in intrinsic.arguments]
        if name in _LIBRARY_NAMES:
            return self._library(_LIBRARY_NAMES[name], base_type(intrinsic.type), values)
        if name in _ROUNDINGS:
            return self.float_intrinsic(_ROUNDINGS[name], llvm_type(intrinsic.type), values[0])
        if name in _DATE_PARTS:
            return self._date_part(intrinsic, values[0])
        if name in _SHIFTS or name in _ROTATIONS:
            return self._shift(name, intrinsic, values)
        return self._named(name)(intrinsic, values)

    def _named(self, name: str) -> Callable[[hir.Intrinsic, list[str]], str]:
        found: Callable[[hir.Intrinsic, list[str]], str] = getattr(self, f"_do_{name.lower()}")
        return found

    # -- numbers

    def _library(self, name: str, kind: IecType, values: list[str]) -> str:
        wide = [self._widened(value, kind) for value in values]
        symbol = f"@{name}"
        text = ", ".join(["double"] * len(wide))
        self.module.declare(symbol, f"declare double {symbol}({text}) memory(none) nounwind willreturn")
        result = self.op(f"call double {symbol}({', '.join(f'double {value}' for value in wide)})")
        return result if kind is IecType.LREAL else self.op(f"fptrunc double {result} to float")

    def power(self, binary: hir.Binary, left: str, right: str) -> str:
        kind, exponent = base_type(binary.type), base_type(binary.right.type)
        wide = right if is_float(exponent) else self._to_float(right, exponent, IecType.LREAL)
        if exponent is IecType.REAL:
            wide = self._widened(right, exponent)
        self.module.declare("@pow", "declare double @pow(double, double) memory(none) nounwind willreturn")
        result = self.op(f"call double @pow(double {self._widened(left, kind)}, double {wide})")
        return result if kind is IecType.LREAL else self.op(f"fptrunc double {result} to float")

    def _do_abs(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        kind = base_type(intrinsic.type)
        text = scalar_llvm(kind)
        if is_float(kind):
            return self.float_intrinsic("fabs", text, values[0])
        if not is_signed(kind):
            return values[0]
        negated = self.op(f"sub {text} 0, {values[0]}")
        negative = self.op(f"icmp slt {text} {values[0]}, 0")
        return self.op(f"select i1 {negative}, {text} {negated}, {text} {values[0]}")

    def _do_is_valid(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        return self.op(f"fcmp ord {llvm_type(intrinsic.arguments[0].type)} {values[0]}, {values[0]}")

    def _do_is_valid_bcd(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        number = self.to_i64(values[0], base_type(intrinsic.arguments[0].type))
        return self.op(f"icmp ne i64 {self.helper('bcd_valid', 'i64', f'i64 {number}')}, 0")

    def _do_byte_swap(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        text = llvm_type(intrinsic.type)
        if text == "i8":
            return values[0]
        symbol = f"@llvm.bswap.{text}"
        self.module.declare(symbol, f"declare {text} {symbol}({text})")
        return self.op(f"call {text} {symbol}({text} {values[0]})")

    def _shift(self, name: str, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        kind = base_type(intrinsic.type)
        text, bits = scalar_llvm(kind), width(kind)
        count = self.to_i64(values[1], base_type(intrinsic.arguments[1].type))
        if kind is IecType.BOOL:
            return values[0]
        if name in _ROTATIONS:
            amount = self.resize(count, "i64", text, signed=True)
            symbol = f"@llvm.{_ROTATIONS[name]}.{text}"
            self.module.declare(symbol, f"declare {text} {symbol}({text}, {text}, {text})")
            return self.op(f"call {text} {symbol}({text} {values[0]}, {text} {values[0]}, {text} {amount})")
        if name == "SHR" and is_signed(kind):
            return self._arithmetic_shift(text, bits, values[0], count)
        inside = self.op(f"icmp ult i64 {count}, {bits}")
        amount = self.op(f"select i1 {inside}, i64 {count}, i64 0")
        amount = self.resize(amount, "i64", text, signed=False)
        shifted = self.op(f"{_SHIFTS[name]} {text} {values[0]}, {amount}")
        return self.op(f"select i1 {inside}, {text} {shifted}, {text} 0")

    def _arithmetic_shift(self, text: str, bits: int, value: str, count: str) -> str:
        """The sign comes in from the left; beyond the width only the sign is left."""
        beyond = self.op(f"icmp sgt i64 {count}, {bits - 1}")
        amount = self.op(f"select i1 {beyond}, i64 {bits - 1}, i64 {count}")
        negative = self.op(f"icmp slt i64 {count}, 0")
        amount = self.op(f"select i1 {negative}, i64 0, i64 {amount}")
        shifted = self.op(f"ashr {text} {value}, {self.resize(amount, 'i64', text, signed=False)}")
        return self.op(f"select i1 {negative}, {text} 0, {text} {shifted}")

    # -- selection

    def _choose(self, kind: hir.Type, condition: str, yes: str, no: str) -> str:
        text = llvm_type(kind)
        return self.op(f"select i1 {condition}, {text} {yes}, {text} {no}")

    def _do_sel(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        return self._choose(intrinsic.type, values[0], values[2], values[1])

    def _do_mux(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        """An index outside the inputs takes the nearest one."""
        number = self.to_i64(values[0], base_type(intrinsic.arguments[0].type))
        result = values[1]
        for index, value in enumerate(values[2:], start=1):
            beyond = self.op(f"icmp sge i64 {number}, {index}")
            result = self._choose(intrinsic.type, beyond, value, result)
        return result

    def _less(self, kind: hir.Type, left: str, right: str) -> str:
        if isinstance(kind, hir.String):
            return self.op(f"icmp slt i32 {self.compare_strings(left, right, kind.wide)}, 0")
        return self.compare("lt", base_type(kind), left, right)

    def _do_min(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        result = values[0]
        for value in values[1:]:
            result = self._choose(intrinsic.type, self._less(intrinsic.type, value, result), value, result)
        return result

    def _do_max(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        result = values[0]
        for value in values[1:]:
            result = self._choose(intrinsic.type, self._less(intrinsic.type, result, value), value, result)
        return result

    def _do_limit(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        low, value, high = values
        raised = self._choose(intrinsic.type, self._less(intrinsic.type, value, low), low, value)
        return self._choose(intrinsic.type, self._less(intrinsic.type, high, raised), high, raised)

    # -- strings

    def _do_len(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        kind = intrinsic.arguments[0].type
        if isinstance(kind, hir.String) and not kind.wide:
            count = self.c_text("i64", "strnlen", f"ptr {values[0]}", f"i64 {kind.length}")
            return self.resize(count, "i64", llvm_type(intrinsic.type), signed=True)
        return self._count("text_length16", intrinsic, f"ptr {values[0]}")

    def _do_find(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        text, wanted = values
        if self._suffix(intrinsic.arguments[0]) == "16":
            return self._count("text_find16", intrinsic, f"ptr {text}", f"ptr {wanted}")
        found = self.c_text("ptr", "strstr", f"ptr {text}", f"ptr {wanted}")
        first = self.op(f"load i8, ptr {wanted}, align 1")
        # strstr finds nothing everywhere; FIND of nothing is 0.
        nowhere = self.op(
            f"or i1 {self.op(f'icmp eq ptr {found}, null')}, {self.op(f'icmp eq i8 {first}, 0')}"
        )
        ends = [self.op(f"ptrtoint ptr {pointer} to i64") for pointer in (found, text)]
        position = self.op(f"add i64 {self.op(f'sub i64 {ends[0]}, {ends[1]}')}, 1")
        chosen = self.op(f"select i1 {nowhere}, i64 0, i64 {position}")
        return self.resize(chosen, "i64", llvm_type(intrinsic.type), signed=True)

    def _count(self, name: str, intrinsic: hir.Intrinsic, *arguments: str) -> str:
        return self.resize(
            self.helper(name, "i64", *arguments), "i64", llvm_type(intrinsic.type), signed=True
        )

    def _suffix(self, expression: hir.Expression) -> str:
        return "16" if isinstance(expression.type, hir.String) and expression.type.wide else "8"

    def _typed(self, expression: hir.Expression) -> str:
        value = self.expression(expression)
        if isinstance(expression.type, hir.String):
            return f"ptr {value}"
        return f"i64 {self.to_i64(value, base_type(expression.type))}"

    def _edit(self, intrinsic: hir.Intrinsic) -> str:
        kind = intrinsic.type
        assert isinstance(kind, hir.String)
        arguments = [self._typed(argument) for argument in intrinsic.arguments]
        room = self.string_room(kind)
        name = f"text_{intrinsic.name.lower()}{'16' if kind.wide else '8'}"
        self.helper(name, "i64", f"ptr {room}", f"i64 {kind.length}", *arguments)
        return room

    def _concat(self, intrinsic: hir.Intrinsic) -> str:
        kind = intrinsic.type
        assert isinstance(kind, hir.String)
        arguments = [self._typed(argument) for argument in intrinsic.arguments]
        room = self.string_room(kind)
        if kind.wide:
            self.do(f"store i16 0, ptr {room}, align 1")
            for argument in arguments:
                self.helper("text_append16", "i64", f"ptr {room}", f"i64 {kind.length}", argument)
            return room
        end = "0"
        for argument in arguments:
            end = self.append_text(room, end, kind.length, argument.removeprefix("ptr "))
        self.do(f"store i8 0, ptr {self.at(room, end)}, align 1")
        return room

    # -- times

    def _date_part(self, intrinsic: hir.Intrinsic, value: str) -> str:
        number = self.helper(intrinsic.name.lower(), "i64", f"i64 {value}")
        return self.resize(number, "i64", llvm_type(intrinsic.type), signed=True)

    def _from_parts(self, name: str, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        kinds = [base_type(argument.type) for argument in intrinsic.arguments]
        arguments = [f"i64 {self.to_i64(value, kind)}" for value, kind in zip(values, kinds, strict=True)]
        return self.helper(name, "i64", *arguments)

    def _do_concat_date(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        return self._from_parts("concat_date", intrinsic, values)

    def _do_concat_tod(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        return self._from_parts("concat_tod", intrinsic, values)

    def _do_concat_dt(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        day = self._from_parts("concat_date", *_parts(intrinsic, values, 0, 3))
        time = self._from_parts("concat_tod", *_parts(intrinsic, values, 3, 7))
        return self.op(f"add i64 {day}, {time}")

    def _do_concat_date_tod(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        return self.op(f"add i64 {values[0]}, {values[1]}")

    def _do_add_time(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        return self._time_of_day(intrinsic, self.op(f"add i64 {values[0]}, {values[1]}"))

    def _do_sub_time(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        return self._time_of_day(intrinsic, self.op(f"sub i64 {values[0]}, {values[1]}"))

    def _time_of_day(self, intrinsic: hir.Intrinsic, value: str) -> str:
        """A time of day stays below 24 hours."""
        return self.rest_of_day(value) if base_type(intrinsic.type) in TIMES_OF_DAY else value

    def _do_add_tod_time(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        return self.rest_of_day(self.op(f"add i64 {values[0]}, {values[1]}"))

    def _do_sub_tod_time(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        return self.rest_of_day(self.op(f"sub i64 {values[0]}, {values[1]}"))

    def _do_mul_time(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        return self._scaled("fmul", intrinsic, values)

    def _do_div_time(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        return self._scaled("fdiv", intrinsic, values)

    def _scaled(self, op: str, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        """Duration by number through LREAL, rounded to the nearest nanosecond, saturating."""
        kind = base_type(intrinsic.arguments[1].type)
        factor = (
            self._widened(values[1], kind)
            if is_float(kind)
            else self._to_float(values[1], kind, IecType.LREAL)
        )
        number = self.op(f"sitofp i64 {values[0]} to double")
        return self._from_float(self.op(f"{op} double {number}, {factor}"), IecType.LREAL, IecType.LINT, "to")

    # -- the scan

    def _context(self, name: str, text: str) -> str:
        return self.op(f"load {text}, ptr {self.at('%ctx', context_offset(name))}, align 4")

    def _do_time_now(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        return self._context("now_ns", "i64")

    def _do_time(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        return self._context("now_ns", "i64")

    def _do_advance_time(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        """Only in tests: the scan's own time moves on (``programs.check_tests``)."""
        now = self.op(f"add i64 {self._context('now_ns', 'i64')}, {values[0]}")
        self.do(f"store i64 {now}, ptr {self.at('%ctx', context_offset('now_ns'))}, align 4")
        return now

    def _do_first_scan(self, intrinsic: hir.Intrinsic, values: list[str]) -> str:
        return self.op(f"icmp ne i32 {self._context('first_scan', 'i32')}, 0")


def _parts(
    intrinsic: hir.Intrinsic, values: list[str], start: int, end: int
) -> tuple[hir.Intrinsic, list[str]]:
    part = hir.Intrinsic(intrinsic.name, intrinsic.arguments[start:end], intrinsic.type, intrinsic.line)
    return part, values[start:end]
