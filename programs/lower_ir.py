"""LLVM IR as text: one module for one POU, with its function under construction.

Theory. The text is written directly, because building llvmlite's object tree takes several times as long as LLVM then
needs for the code. It is also the cache key: what LLVM reads decides the machine code, nothing else does. Therefore a
module's text must not name anything that does not concern it (indices of other POUs, addresses, times).

Invariants. No instruction here carries a flag that makes a result undefined (nsw, nuw, exact, inbounds, fast): all
arithmetic is defined for all inputs. Every branch target starts exactly one block.
"""

from __future__ import annotations

from programs import hir
from programs.layout import scalar_type
from scan.abi import IecType

# Weights for a check that never fails in a good program.
LIKELY = ", !prof !0"

_INTEGERS = {
    IecType.SINT: ("i8", True), IecType.INT: ("i16", True), IecType.DINT: ("i32", True), IecType.LINT: ("i64", True),
    IecType.USINT: ("i8", False), IecType.UINT: ("i16", False), IecType.UDINT: ("i32", False),
    IecType.ULINT: ("i64", False), IecType.BYTE: ("i8", False), IecType.WORD: ("i16", False),
    IecType.DWORD: ("i32", False), IecType.LWORD: ("i64", False), IecType.CHAR: ("i8", False),
    IecType.WCHAR: ("i16", False), IecType.REF: ("i64", True),
}  # fmt: skip


_OTHERS = {IecType.BOOL: "i1", IecType.REAL: "float", IecType.LREAL: "double"}
_LLVM = {kind: _INTEGERS[kind][0] if kind in _INTEGERS else _OTHERS.get(kind, "i64") for kind in IecType}
_WIDTHS = {"float": 32, "double": 64}
_BITS = {kind: _WIDTHS.get(text) or int(text[1:]) for kind, text in _LLVM.items()}


def scalar_llvm(kind: IecType) -> str:
    """Type of a value in a register. BOOL is i1 there and a byte in memory."""
    return _LLVM[kind]


def is_signed(kind: IecType) -> bool:
    return _INTEGERS.get(kind, ("", True))[1] and kind is not IecType.BOOL


def is_float(kind: IecType) -> bool:
    return kind in (IecType.REAL, IecType.LREAL)


def width(kind: IecType) -> int:
    return _BITS[kind]


def base_type(kind: hir.Type | None) -> IecType:
    if kind.__class__ is hir.Elementary:
        return kind.type
    found = None if kind is None else scalar_type(kind)
    assert found is not None, kind
    return found


def llvm_type(kind: hir.Type | None) -> str:
    """Register type of a value of this type; aggregates are handled by pointer."""
    scalar = None if kind is None else scalar_type(kind)
    if scalar is not None:
        return scalar_llvm(scalar)
    return "{ i64, i64 }" if isinstance(kind, hir.Interface) else "ptr"


def quoted(name: str) -> str:
    """A name as LLVM writes it: quotes, other bytes than plain ASCII as hexadecimal."""
    data = name.encode("utf-8")
    plain = "".join(chr(b) if 32 <= b < 127 and b not in (34, 92) else f"\\{b:02X}" for b in data)
    return f'"{plain}"'


class Module:
    """Text of one module: declarations, constants, metadata, functions."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.declarations: dict[str, str] = {}
        self.constants: dict[bytes, str] = {}
        self.helpers: set[str] = set()  # names of library functions whose IR must be linked in
        self.blocks: set[str] = set()  # keys of native blocks called here
        self.block_calls = 0  # how often
        self.callees: set[str] = set()  # keys of POUs called here by name
        self.functions: list[str] = []
        self.tags: dict[str, int] = {}

    def declare(self, symbol: str, declaration: str) -> None:
        self.declarations[symbol] = declaration

    def constant(self, data: bytes) -> str:
        """A private constant with these bytes; equal ones are shared."""
        if data not in self.constants:
            self.constants[data] = f"@c.{len(self.constants)}"
        return self.constants[data]

    def tag(self, name: str) -> str:
        """Alias metadata: accesses with different tags never touch the same byte."""
        if not name:
            return ""
        number = self.tags.setdefault(name, len(self.tags))
        return f", !tbaa !{2 * number + 4}"

    def text(self, functions: list[str] | None = None) -> str:
        lines = [
            f"{name} = private unnamed_addr constant [{len(data)} x i8] c{_bytes(data)}, align 8"
            for data, name in self.constants.items()
        ]
        lines += self.declarations.values()
        lines += self.functions if functions is None else functions
        lines += ['!0 = !{!"branch_weights", i32 4000, i32 1}', '!1 = !{!"tickwork"}', "!2 = !{}"]
        for name, number in self.tags.items():
            node = 2 * number + 3
            lines += [
                f"!{node} = !{{!{quoted(name)}, !1, i64 0}}",
                f"!{node + 1} = !{{!{node}, !{node}, i64 0}}",
            ]
        return "\n".join(lines) + "\n"


def _bytes(data: bytes) -> str:
    return '"' + "".join(f"\\{byte:02X}" for byte in data) + '"'


class Body:
    """The function under construction: instructions, blocks, stack slots."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.lines: list[str] = []
        self.slots: list[str] = []
        self.block = "entry"
        self.ended = False
        self._values = 0
        self._labels = 0

    def do(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def op(self, text: str) -> str:
        self._values += 1
        name = f"%v{self._values}"
        self.lines.append(f"  {name} = {text}")
        return name

    def slot(self, text: str, alignment: int = 8) -> str:
        """A stack slot of the function; ``text`` is the LLVM type."""
        self._values += 1
        name = f"%v{self._values}"
        self.slots.append(f"  {name} = alloca {text}, align {alignment}")
        return name

    def room(self, size: int) -> str:
        return self.slot(f"[{max(size, 1)} x i8]")

    def new_label(self, hint: str) -> str:
        self._labels += 1
        return f"{hint}.{self._labels}"

    def start(self, label: str) -> None:
        """Begin a block; falls through from the one before if that has no end yet."""
        if not self.ended:
            self.do(f"br label %{label}")
        self.lines.append(f"{label}:")
        self.block, self.ended = label, False

    def jump(self, label: str) -> None:
        if not self.ended:
            self.do(f"br label %{label}")
        self.ended = True

    def split(self, condition: str, yes: str, no: str, hint: str = "") -> None:
        self.do(f"br i1 {condition}, label %{yes}, label %{no}{hint}")
        self.ended = True

    def phi(self, kind: str, *incoming: tuple[str, str]) -> str:
        pairs = ", ".join(f"[ {value}, %{label} ]" for value, label in incoming)
        return self.op(f"phi {kind} {pairs}")

    def at(self, pointer: str, offset: int | str) -> str:
        """Pointer plus bytes."""
        if offset in (0, "0"):
            return pointer
        return self.op(f"getelementptr i8, ptr {pointer}, i64 {offset}")
