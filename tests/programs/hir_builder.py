"""Small typed trees for the tests of the back end, written as one thinks them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from programs import hir
from programs.evaluate import Evaluator
from programs.native import compile_program
from programs.native_cache import Cache, default_cache_dir
from scan.abi import CONTEXT_DTYPE, NUMPY_TYPE, Application, IecType, Symbol
from scan.loader import load

T = IecType
E = hir.Elementary
BOOL, INT, DINT, LINT, UINT = E(T.BOOL), E(T.INT), E(T.DINT), E(T.LINT), E(T.UINT)
REAL, LREAL, TIME, BYTE, WORD, DWORD = E(T.REAL), E(T.LREAL), E(T.TIME), E(T.BYTE), E(T.WORD), E(T.DWORD)


def var(
    name: str, kind: hir.Type, init: Any = None, storage: hir.Storage = hir.Storage.INSTANCE, **more: Any
) -> hir.Variable:
    return hir.Variable(name, kind, storage, None if init is None else hir.Initial(init), **more)


def place(variable: hir.Variable) -> hir.VariablePlace:
    return hir.VariablePlace(variable, variable.type)


def load_of(what: hir.Variable | hir.Place) -> hir.Load:
    at = place(what) if isinstance(what, hir.Variable) else what
    return hir.Load(at, at.type)


def const(kind: hir.Type, value: Any) -> hir.Constant:
    return hir.Constant(kind, value)


def assign(what: hir.Variable | hir.Place, value: hir.Expression, line: int = 1) -> hir.Assign:
    return hir.Assign(place(what) if isinstance(what, hir.Variable) else what, value, line)


def binary(
    op: str, left: hir.Expression, right: hir.Expression, kind: hir.Type | None = None, line: int = 1
) -> hir.Binary:
    return hir.Binary(op, left, right, kind or left.type, line)


def compare(op: str, left: hir.Expression, right: hir.Expression) -> hir.Compare:
    return hir.Compare(op, left, right, BOOL)


def element(array: hir.Variable | hir.Place, *indices: hir.Expression, line: int = 1) -> hir.IndexPlace:
    base = place(array) if isinstance(array, hir.Variable) else array
    assert isinstance(base.type, hir.Array)
    return hir.IndexPlace(base, list(indices), base.type.element, line)


def program_of(
    body: list[hir.Statement],
    variables: list[hir.Variable],
    *,
    pous: Sequence[hir.Pou] = (),
    shared: Sequence[hir.Variable] = (),
    **more: Any,
) -> hir.Program:
    main = hir.Pou("Main", "program", list(variables), body, file="main.st")
    everything = {pou.key: pou for pou in [*pous, main]}
    task = hir.Task("Fast", "cyclic", 10_000_000, 1)
    instance = hir.ProgramInstance("Main", "Main", "Fast")
    return hir.Program("test", everything, list(shared), {}, [instance], [task], {}, **more)


class Machine:
    """A compiled application and its block, scanned by hand."""

    def __init__(self, program: hir.Program, **more: Any) -> None:
        self.application: Application = compile_program(
            program, digest="0" * 64, cache=Cache(default_cache_dir()), **more
        )
        self.code = load(self.application)
        self.block = np.frombuffer(bytearray(self.application.image), np.uint8)
        self.context = np.zeros(1, CONTEXT_DTYPE)
        self._symbols = {symbol.path.lower(): symbol for symbol in self.application.symbols}

    def scan(self, now_ns: int = 0, task: str = "Fast") -> int:
        self.context["now_ns"] = now_ns
        entry = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)(
            self.code.entry(f"task.{task}")
        )
        return entry(self.block.ctypes.data, self.context.ctypes.data)

    def symbol(self, path: str) -> Symbol:
        return self._symbols[path.lower()]

    def read(self, path: str) -> Any:
        symbol = self.symbol(path)
        data = self.block[symbol.offset : symbol.offset + symbol.size]
        if symbol.type is T.STRING:
            return data.tobytes().split(b"\0")[0].decode("latin-1")
        if symbol.type is T.WSTRING:
            return data.tobytes().decode("utf-16-le").split("\0")[0]
        if symbol.bit >= 0:
            return bool(data[0] >> symbol.bit & 1)
        values = data.view(NUMPY_TYPE[symbol.type])
        return values.tolist() if symbol.dims else values[0].item()

    def write(self, path: str, value: Any) -> None:
        symbol = self.symbol(path)
        data = np.array(value, NUMPY_TYPE[symbol.type]).reshape(-1).view(np.uint8)
        self.block[symbol.offset : symbol.offset + symbol.size] = data

    @property
    def fault(self) -> tuple[int, str, int, int]:
        """Code, POU, line, detail."""
        row = self.context[0]
        pou = self.application.pous[row["fault_pou"]] if row["fault_pou"] >= 0 else ""
        return int(row["fault_code"]), pou, int(row["fault_line"]), int(row["fault_detail"])


def same_block(compiled: np.ndarray, evaluated: np.ndarray, symbols: Sequence[Symbol]) -> list[str]:
    """Paths whose bytes differ; two values that are no numbers count as equal."""
    differing = []
    for symbol in symbols:
        one, other = (block[symbol.offset : symbol.offset + symbol.size] for block in (compiled, evaluated))
        if symbol.type in (T.REAL, T.LREAL):
            kind = NUMPY_TYPE[symbol.type]
            equal = np.array_equal(one.view(kind), other.view(kind), equal_nan=True)
        else:
            equal = np.array_equal(one, other)
        if not equal:
            differing.append(f"{symbol.path}: compiled {one.tobytes()!r}, evaluated {other.tobytes()!r}")
    return differing


class Both:
    """A program compiled and evaluated side by side: each scan must end alike in both."""

    def __init__(self, program: hir.Program, **more: Any) -> None:
        self.machine = Machine(program, **more)
        self.evaluator = Evaluator(program, **more)

    def step(self, now_ns: int, task: str) -> int:
        """A scan that must end in the same way; the memory is not compared."""
        status = self.machine.scan(now_ns, task)
        expected = self.evaluator.scan(now_ns, task)
        assert status == expected, (status, self.machine.fault, expected, self.evaluator.fault)
        if status:
            fault = self.evaluator.fault
            assert fault is not None
            assert self.machine.fault[1:] == (fault.pou, fault.line, fault.detail)
        return status

    def scan(self, now_ns: int = 0, task: str = "Fast") -> int:
        status = self.step(now_ns, task)
        if not status:
            differing = same_block(self.machine.block, self.evaluator.block, self.machine.application.symbols)
            assert not differing, "\n".join(differing)
        return status

    def read(self, path: str) -> Any:
        return self.machine.read(path)
