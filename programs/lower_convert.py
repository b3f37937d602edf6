"""Conversions between all pairs of elementary types and strings; total, see docs/language/semantics.md."""

from __future__ import annotations

from programs import hir
from programs.lower_expressions import Expressions
from programs.lower_ir import base_type, is_float, is_signed, scalar_llvm, width
from scan.abi import IecType

DAY_NS = 86_400_000_000_000
# A duration or time of day as a number counts milliseconds, a date seconds, the long types nanoseconds.
UNIT_NS = {
    IecType.TIME: 1_000_000, IecType.TOD: 1_000_000, IecType.DATE: 1_000_000_000, IecType.DT: 1_000_000_000,
    IecType.LTIME: 1, IecType.LTOD: 1, IecType.LDATE: 1, IecType.LDT: 1,
}  # fmt: skip
DATES = (IecType.DATE, IecType.LDATE)
DATE_TIMES = (IecType.DT, IecType.LDT)
TIMES_OF_DAY = (IecType.TOD, IecType.LTOD)
# Operands that produce a prefix of their text when the result is cut, so that the cut may be made at once.
_CUTTABLE = ("CONCAT", "INSERT", "REPLACE", "LEFT")


class Conversions(Expressions):
    """``Convert`` nodes."""

    def convert(self, convert: hir.Convert) -> str:
        source, target = convert.operand.type, convert.type
        if isinstance(target, hir.String):
            return self._to_string(convert, target)
        value = self.expression(convert.operand)
        if isinstance(source, hir.String):
            return self._from_string(value, source, base_type(target))
        if isinstance(target, hir.Interface) or isinstance(source, hir.Interface):
            return value
        if isinstance(target, hir.Array | hir.Struct | hir.Instance):
            return value
        return self.convert_scalar(value, base_type(source), base_type(target), convert.kind)

    def convert_scalar(self, value: str, source: IecType, target: IecType, kind: str = "to") -> str:
        if kind == "bits":
            return self._reinterpret(value, source, target)
        if kind in ("bcd", "from_bcd"):
            return self._bcd(value, source, target, kind)
        if source is target:
            return value
        if target is IecType.BOOL:
            return self._to_bool(value, source)
        if source is IecType.BOOL:
            return self._from_bool(value, target)
        if is_float(source):
            return self._from_float(value, source, target, kind)
        if is_float(target):
            return self._to_float(value, source, target)
        return self._between_integers(value, source, target)

    def _reinterpret(self, value: str, source: IecType, target: IecType) -> str:
        a, b = scalar_llvm(source), scalar_llvm(target)
        if a == b:
            return value
        if is_float(source) or is_float(target):
            return self.op(f"bitcast {a} {value} to {b}")
        return self.resize(value, a, b, signed=False)

    def _to_bool(self, value: str, source: IecType) -> str:
        if is_float(source):
            return self.op(f"fcmp une {scalar_llvm(source)} {value}, 0.0")
        return self.op(f"icmp ne {scalar_llvm(source)} {value}, 0")

    def _from_bool(self, value: str, target: IecType) -> str:
        if is_float(target):
            return self.op(f"uitofp i1 {value} to {scalar_llvm(target)}")
        number = self.resize(value, "i1", scalar_llvm(target), signed=False)
        unit = UNIT_NS.get(target, 1)
        return number if unit == 1 else self.op(f"mul i64 {number}, {unit}")

    def _from_float(self, value: str, source: IecType, target: IecType, kind: str) -> str:
        text = scalar_llvm(source)
        if is_float(target):
            name = "fpext" if source is IecType.REAL else "fptrunc"
            return self.op(f"{name} {text} {value} to {scalar_llvm(target)}")
        unit = UNIT_NS.get(target, 1)
        if unit != 1:
            value, text = self._widened(value, source), "double"
            value = self.op(f"fmul double {value}, {float(unit)!r}")
        if kind != "trunc":
            value = self.float_intrinsic("roundeven", text, value)
        result = scalar_llvm(target)
        short = "f32" if text == "float" else "f64"
        symbol = f"@llvm.fpto{'s' if is_signed(target) else 'u'}i.sat.{result}.{short}"
        self.module.declare(symbol, f"declare {result} {symbol}({text})")
        return self.op(f"call {result} {symbol}({text} {value})")

    def _widened(self, value: str, source: IecType) -> str:
        return value if source is IecType.LREAL else self.op(f"fpext float {value} to double")

    def float_intrinsic(self, name: str, text: str, *values: str) -> str:
        symbol = f"@llvm.{name}.{'f32' if text == 'float' else 'f64'}"
        self.module.declare(symbol, f"declare {text} {symbol}({', '.join([text] * len(values))})")
        return self.op(f"call {text} {symbol}({', '.join(f'{text} {value}' for value in values)})")

    def _to_float(self, value: str, source: IecType, target: IecType) -> str:
        name = "sitofp" if is_signed(source) else "uitofp"
        unit = UNIT_NS.get(source, 1)
        if unit == 1:
            return self.op(f"{name} {scalar_llvm(source)} {value} to {scalar_llvm(target)}")
        number = self.op(f"sitofp i64 {value} to double")
        number = self.op(f"fdiv double {number}, {float(unit)!r}")
        return number if target is IecType.LREAL else self.op(f"fptrunc double {number} to float")

    def _between_integers(self, value: str, source: IecType, target: IecType) -> str:
        if source in UNIT_NS and target in UNIT_NS:
            return self._between_times(value, source, target)
        if source in UNIT_NS and UNIT_NS[source] != 1:
            value = self.op(f"sdiv i64 {value}, {UNIT_NS[source]}")
        value = self.resize(value, scalar_llvm(source), scalar_llvm(target), signed=is_signed(source))
        if target in UNIT_NS and UNIT_NS[target] != 1:
            value = self.op(f"mul i64 {value}, {UNIT_NS[target]}")
        return value

    def _between_times(self, value: str, source: IecType, target: IecType) -> str:
        if source in DATE_TIMES and target in DATES:
            return self.op(f"sub i64 {value}, {self.rest_of_day(value)}")
        if source in DATE_TIMES and target in TIMES_OF_DAY:
            return self.rest_of_day(value)
        return value

    def rest_of_day(self, value: str) -> str:
        """Nanoseconds since midnight, 0 or more also before 1970."""
        rest = self.op(f"srem i64 {value}, {DAY_NS}")
        lifted = self.op(f"add i64 {rest}, {DAY_NS}")
        negative = self.op(f"icmp slt i64 {rest}, 0")
        return self.op(f"select i1 {negative}, i64 {lifted}, i64 {rest}")

    def _bcd(self, value: str, source: IecType, target: IecType, kind: str) -> str:
        number = self.resize(value, scalar_llvm(source), "i64", signed=False)
        if kind == "bcd":
            digits = width(target) // 4
            number = self.helper("bcd_encode", "i64", f"i64 {number}", f"i64 {digits}")
        else:
            number = self.helper("bcd_decode", "i64", f"i64 {number}")
        return self.resize(number, "i64", scalar_llvm(target), signed=False)

    # -- strings

    def helper(self, name: str, result: str, *arguments: str) -> str:
        """Call a library function written in Python (``programs.stdlib``); arguments as "type value"."""
        self.module.helpers.add(name)
        slot = self.slot(result)
        self.op(f'call i32 @"h.{name}"({", ".join(["ptr " + slot, "ptr null", *arguments])})')
        return self.op(f"load {result}, ptr {slot}, align 8")

    def string_room(self, kind: hir.String) -> str:
        return self.room(self.types.size(kind))

    def _to_string(self, convert: hir.Convert, target: hir.String) -> str:
        operand = convert.operand
        source = operand.type
        if isinstance(source, hir.String):
            return self._string_to_string(operand, source, target)
        value = self.expression(operand)
        kind = base_type(source)
        room = self.string_room(target)
        suffix = "16" if target.wide else "8"
        head = (f"ptr {room}", f"i64 {target.length}")
        if kind is IecType.BOOL:
            self.helper(f"bool_to_text{suffix}", "i64", *head, f"i64 {self.to_i64(value, kind)}")
        elif is_float(kind):
            digits = 9 if kind is IecType.REAL else 17
            self.helper(
                f"real_to_text{suffix}", "i64", *head, f"double {self._widened(value, kind)}", f"i64 {digits}"
            )
        elif kind in (IecType.CHAR, IecType.WCHAR):
            self.helper(f"char_to_text{suffix}", "i64", *head, f"i64 {self.to_i64(value, kind)}")
        elif kind in UNIT_NS:
            name = kind.name.removeprefix("L").lower() if kind is not IecType.LTIME else "time"
            prefix = 1 if kind.name.startswith("L") else 0
            self.helper(f"{name}_to_text{suffix}", "i64", *head, f"i64 {value}", f"i64 {prefix}")
        else:
            number = self.to_i64(value, kind)
            self.helper(f"int_to_text{suffix}", "i64", *head, f"i64 {number}", f"i64 {int(is_signed(kind))}")
        return room

    def _string_to_string(self, operand: hir.Expression, source: hir.String, target: hir.String) -> str:
        if source.wide == target.wide:
            if source.length <= target.length:
                return self.expression(operand)
            if isinstance(operand, hir.Intrinsic) and operand.name in _CUTTABLE:
                return self.expression(hir.Intrinsic(operand.name, operand.arguments, target, operand.line))
        value = self.expression(operand)
        room = self.string_room(target)
        self.copy_text(room, target, value, source.wide, fill=False)
        return room

    def copy_text(self, room: str, target: hir.String, value: str, wide: bool, *, fill: bool) -> None:
        """Truncating copy; with ``fill`` the rest of the target becomes zero, as variables must be."""
        if not (wide or target.wide):
            end = self.append_text(room, "0", target.length, value)
            if fill:
                rest = self.op(f"sub i64 {target.length + 1}, {end}")
                self.module.declare("memset", "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1 immarg)")
                self.do(
                    f"call void @llvm.memset.p0.i64(ptr {self.at(room, end)}, i8 0, i64 {rest}, i1 false)"
                )
            else:
                self.do(f"store i8 0, ptr {self.at(room, end)}, align 1")
            return
        name = f"text_{'fill' if fill else 'copy'}{'16' if target.wide else '8'}{'16' if wide else '8'}"
        self.helper(name, "i64", f"ptr {room}", f"i64 {target.length}", f"ptr {value}")

    def append_text(self, room: str, start: str, capacity: int, value: str) -> str:
        """Copy 8-bit characters behind ``start`` as far as there is room; the new length. Writes no zero at the end."""
        left = str(capacity) if start == "0" else self.op(f"sub i64 {capacity}, {start}")
        count = self.c_text("i64", "strnlen", f"ptr {value}", f"i64 {left}")
        self.copy_bytes(self.at(room, start), value, count)
        return count if start == "0" else self.op(f"add i64 {start}, {count}")

    def c_text(self, result: str, name: str, *arguments: str) -> str:
        """A function of the C library over 8-bit characters that only reads."""
        kinds = ", ".join(argument.split()[0] for argument in arguments)
        self.module.declare(
            f"@{name}", f"declare {result} @{name}({kinds}) nounwind willreturn memory(argmem: read)"
        )
        return self.op(f"call {result} @{name}({', '.join(arguments)})")

    def _from_string(self, value: str, source: hir.String, target: IecType) -> str:
        suffix = "16" if source.wide else "8"
        if target is IecType.BOOL:
            return self.op(f"icmp ne i64 {self.helper(f'text_to_bool{suffix}', 'i64', f'ptr {value}')}, 0")
        if is_float(target):
            number = self.helper(f"text_to_real{suffix}", "double", f"ptr {value}")
            return number if target is IecType.LREAL else self.op(f"fptrunc double {number} to float")
        if target in (IecType.CHAR, IecType.WCHAR):
            first = self.op(f"load i{suffix}, ptr {value}, align 1")
            return self.resize(first, f"i{suffix}", scalar_llvm(target), signed=False)
        if target in UNIT_NS:
            name = {"TIME": "time", "DATE": "date", "TOD": "tod", "DT": "dt"}[
                "TIME" if target is IecType.LTIME else target.name.removeprefix("L")
            ]
            return self.helper(f"text_to_{name}{suffix}", "i64", f"ptr {value}")
        number = self.helper(f"text_to_int{suffix}", "i64", f"ptr {value}")
        return self.resize(number, "i64", scalar_llvm(target), signed=True)

    def compare_strings(self, left: str, right: str, wide: bool) -> str:
        if not wide:
            return self.c_text("i32", "strcmp", f"ptr {left}", f"ptr {right}")
        order = self.helper("text_compare16", "i64", f"ptr {left}", f"ptr {right}")
        return self.op(f"trunc i64 {order} to i32")
