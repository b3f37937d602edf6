"""Compiles Python functions to LLVM IR text with numba: library functions and blocks.

Theory. numba's own machinery types and optimises the function; of the result only the native function is kept (status
result, ``ptr ret, ptr excinfo`` and the arguments), under our name, with everything else in the module made
internal. The text then is one more module for ``programs.native``. Texts are cached by a hash over the
function's source, the captured constants and the versions of numba, llvmlite and Python, because numba's own
cache does not notice a change in a function that another file calls.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import platform
import re
import types
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from programs.blocks import Block
from programs.native_cache import Cache
from programs.stdlib_compile import CALLABLE
from scan.abi import CONTEXT_DTYPE
from scan.problem import Place, Problem, TickworkError

# Changing how functions are compiled makes all cached texts stale.
COMPILER_VERSION = 3


@functools.cache
def versions() -> str:
    return " ".join([
        f"compiler {COMPILER_VERSION}", f"numba {version('numba')}", f"llvmlite {version('llvmlite')}",
        f"python {platform.python_version()}", platform.machine(),
    ])  # fmt: skip


def compile_block(one: Block, cache: Cache) -> str:
    """IR text with the block as ``b.NAME``. Raises TickworkError ST5003 if numba cannot compile the function."""
    key = hashlib.sha256(f"{versions()}\0{one.name}\0{one.digest()}".encode()).hexdigest()
    found = cache.get_text(key)
    if found is not None:
        return found

    def signature(numba: Any) -> Any:
        return numba.void(numba.from_dtype(one.record()), numba.from_dtype(CONTEXT_DTYPE))

    try:
        text = _compile(_with_helpers(one), signature, f"b.{one.name}", checked=True)
    except Exception as error:
        raise _explained(one, error) from error
    cache.put_text(key, text)
    return text


def _with_helpers(one: Block) -> Callable[..., Any]:
    """A copy of the block's function whose helpers are numba functions."""
    if not one.helpers:
        return one.py_func
    from numba import njit

    options: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "boundscheck": True}
    made: dict[str, Any] = {}
    for name, function in one.helpers:
        scope = {**function.__globals__, **made}
        copy = types.FunctionType(function.__code__, scope, name)
        made[name] = njit(error_model="python", **options)(copy)
    scope = {**one.py_func.__globals__, **made}
    return types.FunctionType(one.py_func.__code__, scope, one.py_func.__name__)


def compile_helper(name: str, function: Callable[..., Any], argument_types: str, cache: Cache) -> str:
    """IR text with a library function as ``h.NAME``; ``argument_types`` as in ``programs.stdlib.HELPERS``."""
    key = hashlib.sha256(f"{versions()}\0{name}\0{argument_types}\0{_library_digest()}".encode()).hexdigest()
    found = cache.get_text(key)
    if found is not None:
        return found

    def signature(numba: Any) -> Any:
        kinds = {
            "p8": numba.types.CPointer(numba.uint8), "p16": numba.types.CPointer(numba.uint16),
            "i": numba.int64, "f": numba.float64,
        }  # fmt: skip
        result, *arguments = argument_types.split()
        return kinds[result](*(kinds[one] for one in arguments))

    text = _compile(_with_compiled_callees(function), signature, f"h.{name}")
    cache.put_text(key, text)
    return text


@functools.cache
def _library_digest() -> str:
    """Library functions call each other, so the sources of all of them count."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("stdlib*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


# Library functions that others call, as numba functions: each is compiled once in a process.
_callees: dict[Callable[..., Any], Any] = {}


def _with_compiled_callees(function: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of the function whose callees in the library are numba functions."""
    from numba import njit

    scope = dict(function.__globals__)
    for name in function.__code__.co_names:
        value = scope.get(name)
        if value is None or value not in CALLABLE.values():
            continue
        if value not in _callees:
            # Only its IR is wanted: no entry for Python, none for C.
            options: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
            _callees[value] = njit(error_model="numpy", **options)(_with_compiled_callees(value))
        scope[name] = _callees[value]
    copy = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__)
    copy.__qualname__, copy.__module__ = function.__qualname__, function.__module__
    return copy


@contextlib.contextmanager
def _wrapping_integers() -> Iterator[None]:
    """numba promises LLVM that signed integers never overflow; here they wrap, and nothing is undefined."""
    from numba.core.compiler_lock import global_compiler_lock
    from numba.cpython import numbers

    with global_compiler_lock:
        before = numbers._int_arith_flags
        numbers._int_arith_flags = lambda result_type: []
        try:
            yield
        finally:
            numbers._int_arith_flags = before


def _compile(
    function: Callable[..., Any], signature: Callable[[Any], Any], symbol: str, *, checked: bool = False
) -> str:
    """``checked``: indices are checked and divisions by zero raise, as in Python."""
    import numba
    from numba.core import compiler as numba_compiler
    from numba.core.registry import cpu_target

    compiler: Any = numba_compiler

    form = signature(numba)
    flags = compiler.Flags()
    flags.nrt = False
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.error_model = "python" if checked else "numpy"
    flags.boundscheck = checked
    cpu_target.target_context.refresh()
    contexts = cpu_target.typing_context, cpu_target.target_context
    with _wrapping_integers():
        result = compiler.compile_extra(*contexts, function, form.args, form.return_type, flags, {})
    text = result.library.get_llvm_str()
    return _renamed(text, result.fndesc.llvm_func_name, symbol)


def _renamed(text: str, native: str, symbol: str) -> str:
    """The module with its one function under our name, all else internal, without numba's own metadata."""
    module = llvm.parse_assembly(text)
    function = module.get_function(native)
    for other in module.functions:
        if not other.is_declaration and other.name != native:
            other.linkage = llvm.Linkage.internal
    for variable in module.global_variables:
        if not variable.is_declaration:
            variable.linkage = llvm.Linkage.internal
    function.linkage = llvm.Linkage.external
    function.name = symbol
    cleaned = re.sub(r", !tbaa !\d+", "", str(module))
    return re.sub(r"^source_filename.*\n|^target (?:triple|datalayout).*\n", "", cleaned, flags=re.MULTILINE)


# What numba says, and what it means. The first that is found counts.
_SIGNATURE = re.compile(r">>> (\w+)\((.*)\)")
_SENTENCES = (
    "Cannot unify",
    "Cannot",
    "not supported",
    "Use of",
    "Unknown attribute",
    "Undecided",
    "Invalid use",
)
_WORDS = (
    (r"Literal\[str\]\([^)]*\)|unicode_type", "text"), (r"Literal\[int\]\(([^)]*)\)", r"\1"),
    (r"u?int\d+", "whole number"), (r"float\d+", "number"), (r"boolean|Literal\[bool\]\([^)]*\)", "BOOL"),
    (r"none", "nothing"),
)  # fmt: skip
_OPERATORS = {
    "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "add": "+", "sub": "-", "mul": "*",
    "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=", "iadd": "+=", "isub": "-=", "imul": "*=",
}  # fmt: skip


def _explained(one: Block, error: Exception) -> Exception:
    """numba's complaint in our form: what cannot be done, where, and by which calls it is reached."""
    text = str(error)
    known = bool(one.text) or inspect.getsourcefile(one.py_func) == one.file
    lines = [int(found) for found in re.findall(r'File "[^"]*", line (\d+)', text)] if known else []
    number, *callers = dict.fromkeys(lines) if lines else [one.line]
    problem = Problem(
        "ST5003", f"block {one.name} cannot be compiled: {_reason(text)}",
        Place(one.file, number), expected="Python over numbers, pins and state",
        remedy="use numbers, if, for, while and the functions of math; no objects, texts, dictionaries or files",
        notes=tuple(f"called at {one.file}:{line}" for line in callers),
    )  # fmt: skip
    return TickworkError(problem)


def _reason(text: str) -> str:
    sentences = [part.strip() for part in text.splitlines() if part.strip() and "nopython mode" not in part]
    signature = _SIGNATURE.search(text)
    if signature is not None:
        inside = signature[2]
        for pattern, word in _WORDS:
            inside = re.sub(pattern, word, inside)
        return f"{_OPERATORS.get(signature[1], signature[1])} cannot be applied to ({inside})"
    for wanted in _SENTENCES:
        found = next((part for part in sentences if wanted in part), None)
        if found is not None:
            return found
    return (sentences or ["no reason given"])[0]
