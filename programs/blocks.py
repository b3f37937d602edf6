"""Function blocks written in Python: the ``@block`` decorator and the standard blocks.

A block is a function over its instance. ``b.IN`` reads a pin, ``b.Q = …`` writes one; what it must remember from call
to call is declared as state. The function runs compiled (numba, one C function over the instance's bytes) when
a control program calls the block, and as ordinary Python wherever ``Block.py_func`` is called on
``Block.new()``: the one is the oracle of the other.

Rules for the function: it takes the instance and the scan's context (``scan.abi.CONTEXT_DTYPE``: ``now_ns``,
``first_scan``, …); it reads no clock and keeps nothing elsewhere; an exception is a program fault.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from programs import hir
from programs.layout import Types, scalar_type
from scan.abi import CONTEXT_DTYPE, NUMPY_TYPE, IecType
from scan.problem import fail

BlockFunction = Callable[[Any, Any], None]

_PIN = re.compile(r"\s*(?P<name>[A-Za-z_]\w*)\s*:\s*(?P<type>[^:]+?)\s*(?::=\s*(?P<init>.+?))?\s*\Z")
_ARRAY = re.compile(r"ARRAY\s*\[(?P<dims>[^\]]+)\]\s*OF\s+(?P<element>\w+)\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Block:
    """A function block whose body is Python."""

    name: str
    inputs: tuple[hir.Variable, ...]
    outputs: tuple[hir.Variable, ...]
    state: tuple[hir.Variable, ...]
    py_func: BlockFunction
    constants: tuple[tuple[str, int], ...] = ()  # values that the function takes from around it
    file: str = ""
    line: int = 0
    comment: str = ""
    text: str = ""  # of the function and its helpers, where there is no file to read it from
    helpers: tuple[
        tuple[str, Callable[..., Any]], ...
    ] = ()  # functions that it calls, in the order of the file
    _cache: dict[str, object] = field(default_factory=dict, compare=False, repr=False)

    @property
    def variables(self) -> list[hir.Variable]:
        return [*self.inputs, *self.outputs, *self.state]

    def pou(self) -> hir.Pou:
        """The block as the checker and code generation see it; always the same object."""
        if "pou" not in self._cache:
            self._cache["pou"] = hir.Pou(
                self.name,
                "function_block",
                self.variables,
                [],
                builtin=self.name,
                file=self.file,
                line=self.line,
            )
        found = self._cache["pou"]
        assert isinstance(found, hir.Pou)
        return found

    def record(self) -> np.dtype[np.void]:
        """The bytes of an instance, field by field."""
        pou = self.pou()
        types = Types(hir.Program(self.name, {pou.key: pou}, [], {}, [], [], {}))
        layout = types.pou(pou.key)
        names, formats, offsets = [], [], []
        for member in layout.ordered:
            names.append(member.name)
            formats.append(_numpy_format(member.type))
            offsets.append(member.offset)
        return np.dtype(
            {"names": names, "formats": formats, "offsets": offsets, "itemsize": max(layout.size, 1)}
        )

    def new(self) -> Any:
        """A fresh instance for ``py_func``: a numpy record with the initial values."""
        instance = np.zeros(1, self.record())
        for variable in self.variables:
            if variable.init is not None:
                instance[variable.name] = variable.init.value
        return instance.view(np.recarray)[0]

    def source(self) -> str:
        return self.text or textwrap.dedent(inspect.getsource(self.py_func))

    def digest(self) -> str:
        """Identity of the behaviour: source text, captured constants and layout."""
        text = "\0".join([self.source(), repr(self.constants), repr(self.record())])
        return hashlib.sha256(text.encode()).hexdigest()


def context(now_ns: int = 0, *, first_scan: bool = False) -> Any:
    """A context record for calling ``py_func``."""
    made = np.zeros(1, CONTEXT_DTYPE).view(np.recarray)[0]
    made.now_ns, made.first_scan = now_ns, first_scan
    return made


def _numpy_format(kind: hir.Type) -> object:
    if isinstance(kind, hir.Array):
        return (_numpy_format(kind.element), tuple(high - low + 1 for low, high in kind.dims))
    scalar = scalar_type(kind)
    assert scalar is not None
    return NUMPY_TYPE[scalar]


def _pin_type(text: str, function: str) -> hir.Type:
    array = _ARRAY.match(text)
    if array:
        dims = tuple(
            (int(low), int(high)) for low, high in (part.split("..") for part in array["dims"].split(","))
        )
        return hir.Array(_pin_type(array["element"], function), dims)
    try:
        kind = IecType[{"TIME_OF_DAY": "TOD", "DATE_AND_TIME": "DT"}.get(text.upper(), text.upper())]
    except KeyError:
        kind = IecType.STRING
    if kind in (IecType.STRING, IecType.WSTRING, IecType.REF):
        raise fail(
            "ST5001", f"block {function}: a pin cannot have the type {text}",
            expected="an elementary type such as BOOL, DINT, LREAL, TIME, or ARRAY[…] OF one", found=text,
            remedy="pass numbers, times, or arrays of them; keep texts in ST",
        )  # fmt: skip
    return hir.Elementary(kind)


def _initial(text: str | None) -> hir.Initial | None:
    if text is None:
        return None
    plain = {"TRUE": "1", "FALSE": "0"}.get(text.upper(), text)
    return hir.Initial(float(plain) if "." in plain else int(plain))


def _pins(text: str, direction: str, function: str) -> tuple[hir.Variable, ...]:
    made = []
    for part in filter(str.strip, text.split(";")):
        match = _PIN.match(part)
        if match is None:
            raise fail(
                "ST5002", f"block {function}: cannot read the pin declaration {part.strip()!r}",
                expected="NAME : TYPE or NAME : TYPE := value, separated by ;", found=part.strip(),
                remedy='write for example inputs="IN : BOOL; PT : TIME"',
            )  # fmt: skip
        attributes = {} if direction else {"access": "none"}
        made.append(
            hir.Variable(
                match["name"], _pin_type(match["type"], function), hir.Storage.INSTANCE, _initial(match["init"]),
                direction, attributes=attributes,
            )
        )  # fmt: skip
    return tuple(made)


def block(
    *, inputs: str = "", outputs: str = "", state: str = "", name: str = "", **constants: int
) -> Callable[[BlockFunction], Block]:
    """Make a function a block: ``@block(inputs="IN : BOOL", outputs="Q : BOOL", state="count : DINT")``.

    The block is called ``name``, or as the function in upper case. ``constants`` name integers of the module or
    enclosing function on which the code depends. Raises TickworkError (ST5001, ST5002) on a bad declaration.
    """

    def make(function: BlockFunction) -> Block:
        called = name or function.__name__.upper()
        code = function.__code__
        return Block(
            called, _pins(inputs, "input", called), _pins(outputs, "output", called), _pins(state, "", called),
            function, tuple(sorted(constants.items())), code.co_filename, code.co_firstlineno,
            inspect.getdoc(function) or "",
        )  # fmt: skip

    return make


def _load_standard() -> dict[str, Block]:
    from programs import blocks_control, blocks_counters, blocks_logic, blocks_timers

    found: dict[str, Block] = {}
    for module in (blocks_control, blocks_counters, blocks_logic, blocks_timers):
        found |= {one.name: one for one in module.BLOCKS}
    return dict(sorted(found.items()))


_standard: dict[str, Block] = {}


def standard_blocks() -> dict[str, Block]:
    """The standard blocks by upper-case name."""
    if not _standard:
        _standard.update(_load_standard())
    return _standard


def standard_pou(name: str) -> hir.Pou | None:
    """A standard block as the checker sees it, or None if there is none of this upper-case name."""
    found = standard_blocks().get(name)
    return None if found is None else found.pou()


if TYPE_CHECKING:
    STANDARD_BLOCKS: tuple[str, ...]  # names of the standard blocks, sorted


def __getattr__(name: str) -> tuple[str, ...]:
    # The modules of the blocks import this one, so the table is made when it is first asked for.
    if name == "STANDARD_BLOCKS":
        return tuple(standard_blocks())
    raise AttributeError(name)
