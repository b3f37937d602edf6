"""Raw memory for the compiled engine: words, bytes, copies, fences and calls by address.

Everything is ``int64`` on purpose: numba turns a mix of signed and unsigned words into floating point.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba.extending
from llvmlite import ir
from numba import types

_I8 = ir.IntType(8)
_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_BYTES = _I8.as_pointer()

# numba's own annotations do not know compiled callers; these names hide them from the type checker.
_numba: Any = numba
intrinsic: Callable[[Callable[..., Any]], Callable[..., Any]] = _numba.extending.intrinsic
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The decorator of all compiled functions: the types are those of the annotations (int, bool, None).

    Types that are given save numba a version for each constant that some caller passes, and the Python wrappers that
    nobody calls are left out: both shorten the one long compilation.
    """
    given = dict(function.__annotations__)
    result = _TYPES[given.pop("return")]
    signature = result(*(_TYPES[name] for name in given.values()))
    decorator: Decorator = _numba.njit(
        signature, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
    )
    return decorator(function)


_TYPES: dict[str, Any] = {"int": types.int64, "bool": types.boolean, "None": types.void}

# ---------------------------------------------------------------- words


@intrinsic
def get(_context: Any, address: Any, word: Any) -> Any:
    """The word ``word`` behind ``address``."""

    def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.load(_word_pointer(builder, arguments), align=8)

    return types.int64(types.int64, types.int64), build


@intrinsic
def put(_context: Any, address: Any, word: Any, value: Any) -> Any:
    def build(context: Any, builder: Any, __: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _word_pointer(builder, arguments), align=8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), build


@intrinsic
def get_acquire(_context: Any, address: Any, word: Any) -> Any:
    """A word that another thread or process releases: nothing after it is read earlier."""

    def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.load_atomic(_word_pointer(builder, arguments), ordering="acquire", align=8)

    return types.int64(types.int64, types.int64), build


@intrinsic
def put_release(_context: Any, address: Any, word: Any, value: Any) -> Any:
    """Shows everything written before to whoever reads the word with acquire."""

    def build(context: Any, builder: Any, __: Any, arguments: Any) -> Any:
        builder.store_atomic(arguments[2], _word_pointer(builder, arguments), ordering="release", align=8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), build


@intrinsic
def fence(_context: Any) -> Any:
    def build(context: Any, builder: Any, __: Any, ___: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), build


def _word_pointer(builder: Any, arguments: Any) -> Any:
    byte = builder.add(arguments[0], builder.shl(arguments[1], ir.Constant(_I64, 3)))
    return builder.inttoptr(byte, _I64.as_pointer())


# ---------------------------------------------------------------- bytes


@intrinsic
def get_byte(_context: Any, address: Any) -> Any:
    def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.zext(builder.load(builder.inttoptr(arguments[0], _BYTES)), _I64)

    return types.int64(types.int64), build


@intrinsic
def put_byte(_context: Any, address: Any, value: Any) -> Any:
    def build(context: Any, builder: Any, __: Any, arguments: Any) -> Any:
        builder.store(builder.trunc(arguments[1], _I8), builder.inttoptr(arguments[0], _BYTES))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), build


@intrinsic
def get_half(_context: Any, address: Any) -> Any:
    """A signed 32-bit integer."""

    def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.sext(builder.load(builder.inttoptr(arguments[0], _I32.as_pointer())), _I64)

    return types.int64(types.int64), build


@intrinsic
def put_half(_context: Any, address: Any, value: Any) -> Any:
    def build(context: Any, builder: Any, __: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], _I32.as_pointer())
        builder.store(builder.trunc(arguments[1], _I32), pointer)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), build


@intrinsic
def to_real(_context: Any, value: Any, size: Any) -> Any:
    """The IEEE bits of a signed integer as a real of four or eight bytes."""

    def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        value, size = arguments
        single = builder.zext(builder.bitcast(builder.sitofp(value, ir.FloatType()), _I32), _I64)
        double = builder.bitcast(builder.sitofp(value, ir.DoubleType()), _I64)
        return builder.select(builder.icmp_signed("==", size, ir.Constant(_I64, 4)), single, double)

    return types.int64(types.int64, types.int64), build


@intrinsic
def widen_real(_context: Any, bits: Any) -> Any:
    """The bits of a REAL as those of the LREAL of the same value."""

    def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        single = builder.bitcast(builder.trunc(arguments[0], _I32), ir.FloatType())
        return builder.bitcast(builder.fpext(single, ir.DoubleType()), _I64)

    return types.int64(types.int64), build


@intrinsic
def copy(_context: Any, to: Any, source: Any, size: Any) -> Any:
    """``memcpy`` of ``size`` bytes, 0 allowed."""

    def build(context: Any, builder: Any, __: Any, arguments: Any) -> Any:
        to, source, size = arguments
        kind = ir.FunctionType(ir.VoidType(), [_BYTES, _BYTES, _I64, ir.IntType(1)])
        function = builder.module.declare_intrinsic("llvm.memcpy", [_BYTES, _BYTES, _I64], kind)
        volatile = ir.Constant(ir.IntType(1), 0)
        builder.call(
            function, [builder.inttoptr(to, _BYTES), builder.inttoptr(source, _BYTES), size, volatile]
        )
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), build


@intrinsic
def leading_zeros(_context: Any, value: Any) -> Any:
    def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), build


@intrinsic
def trailing_zeros(_context: Any, value: Any) -> Any:
    def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), build


@intrinsic
def changed_words(_context: Any, one: Any, other: Any) -> Any:
    """Which of 64 words differ, one bit each; both places begin on a cache line. A few vector compares."""

    def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        row = ir.VectorType(_I64, 64)
        loaded = [
            builder.load(builder.inttoptr(address, row.as_pointer()), align=64) for address in arguments
        ]
        return builder.bitcast(builder.icmp_unsigned("!=", *loaded), _I64)

    return types.int64(types.int64, types.int64), build


@intrinsic
def prefetch(_context: Any, address: Any) -> Any:
    """Asks for a cache line that will be read soon; nothing waits for it."""
    return types.void(types.int64), _prefetch(0)


@intrinsic
def prefetch_for_write(_context: Any, address: Any) -> Any:
    """The same for a line that will be written: no other CPU keeps a copy."""
    return types.void(types.int64), _prefetch(1)


def _prefetch(write: int) -> Callable[..., Any]:
    def build(context: Any, builder: Any, __: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_BYTES, _I32, _I32, _I32])
        function = builder.module.declare_intrinsic("llvm.prefetch", [_BYTES], kind)
        hints = [ir.Constant(_I32, hint) for hint in (write, 3, 1)]  # into all levels, data
        builder.call(function, [builder.inttoptr(arguments[0], _BYTES), *hints])
        return context.get_dummy_value()

    return build


@intrinsic
def call_entry(_context: Any, entry: Any, block: Any, context: Any) -> Any:
    """``int32 entry(uint8 *block, uint8 *context)`` of a compiled program (scan.abi)."""

    def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_I32, [_BYTES, _BYTES]).as_pointer()
        entry, block, context = arguments
        function = builder.inttoptr(entry, kind)
        result = builder.call(function, [builder.inttoptr(block, _BYTES), builder.inttoptr(context, _BYTES)])
        return builder.sext(result, _I64)

    return types.int64(types.int64, types.int64, types.int64), build
