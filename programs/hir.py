"""The typed tree: what the checker hands to code generation and to the plain-Python evaluator.

Rules.
* Every name is resolved, every type known, every implicit conversion explicit (``Convert``), every default
  argument filled in, every constant folded where the language demands a constant.
* Nothing here is an error any more: a tree exists only for a program without errors.
* Spans stay for fault lines, coverage and the online view: ``line`` is 1-based in the POU's file.
* Two consumers must agree on it: ``programs.lower_*`` (LLVM IR) and ``programs.evaluate`` (the oracle).

Evaluation order is left to right. ``AND``/``OR`` on BOOL short-circuit (``Logical``); on bit strings they are
``Binary``. Integer arithmetic is done in the width of ``Binary.type`` and wraps; promotion to at least DINT is
the checker's business and visible as ``Convert``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from scan.abi import IecType

# ---------------------------------------------------------------- types


@dataclass(frozen=True, slots=True)
class Elementary:
    """BOOL … LDT, CHAR, WCHAR; not strings. ``low``/``high`` only for a subrange, checked on store."""

    type: IecType
    name: str = ""  # declared alias, for messages and symbols
    low: int | None = None
    high: int | None = None

    def __eq__(self, other: object) -> bool:
        """As a dataclass compares, but quickly: the checker does nothing so often."""
        if self is other:
            return True
        if other.__class__ is not Elementary:
            return NotImplemented
        assert isinstance(other, Elementary)
        if self.type is not other.type:
            return False
        return self.name == other.name and self.low == other.low and self.high == other.high


@dataclass(frozen=True, slots=True)
class String:
    length: int  # characters, without the terminating zero
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Enum:
    name: str
    base: IecType
    values: tuple[tuple[str, int], ...]
    # Declared with its base type: a type with named values (6.4.4.3), whose other values may be used as well.
    named: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Array:
    element: Type
    dims: tuple[tuple[int, int], ...]  # inclusive bounds; row-major, last index fastest


@dataclass(frozen=True, slots=True)
class OpenArray:
    """ARRAY[*] parameter: passed with its bounds at run time."""

    element: Type
    rank: int


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    type: Type
    init: Initial | None = None
    comment: str = ""
    at: int | None = None  # offset in the structure where the declaration gives one (AT %B4)


@dataclass(frozen=True, slots=True)
class Struct:
    """STRUCT or (``union``) UNION. Compared by name: two structures are the same type if they have one name."""

    name: str
    members: tuple[Member, ...] = field(compare=False)
    union: bool = False


@dataclass(frozen=True, slots=True)
class Ref:
    """REF_TO / POINTER TO / REFERENCE TO: offset of a target in the block. 8 bytes, 0 is NULL."""

    target: Type
    implicit: bool = field(default=False, compare=False)  # REFERENCE TO: the checker writes the dereference


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance of a function block or class; the key names it in ``Program.pous``."""

    pou: str


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface variable: 16 bytes, offset of the instance and index of its POU (offset 0 is NULL)."""

    name: str


Type = Elementary | String | Enum | Array | OpenArray | Struct | Ref | Instance | Interface


# ---------------------------------------------------------------- constant initial values


@dataclass(frozen=True, slots=True)
class Initial:
    """A constant initial value: int (also times in ns, BOOL 0/1, enums), float, str, or an aggregate.

    ``list`` holds array elements flattened row-major (missing ones take the element type's default);
    ``dict`` holds members of a structure or instance by lower-case name (missing ones: their default);
    ``str`` starting with ``"&"`` never occurs; a REF initialised with REF(x) is ``AddressOf``.
    """

    value: int | float | str | list[Initial] | dict[str, Initial] | AddressOf


@dataclass(frozen=True, slots=True)
class AddressOf:
    path: str  # path of a symbol or instance in the block
    pou: str = ""  # for an interface: the key of the instance's block


# ---------------------------------------------------------------- variables and POUs


class Storage(enum.Enum):
    INSTANCE = (
        "instance"  # member of the FB/program instance (VAR, VAR_INPUT, VAR_OUTPUT of FBs and programs)
    )
    LOCAL = "local"  # VAR of functions and methods, VAR_TEMP: on the stack, initialised at each call
    PARAMETER = "parameter"  # VAR_INPUT of functions and methods, by value (aggregates by pointer, read-only)
    OUTPUT_PARAMETER = (
        "output"  # VAR_OUTPUT of functions/methods: local, copied to the caller's place on return
    )
    INOUT_PARAMETER = "inout"  # VAR_IN_OUT: by pointer (FBs: pointer passed at each call, never stored)
    GLOBAL = "global"  # VAR_GLOBAL, and each VAR_EXTERNAL resolved to it
    LOCATED = "located"  # AT %I/%Q/%M, global or local: lives in a process image
    CONSTANT = (
        "constant"  # never has storage of its own unless an address is needed; loads are folded if scalar
    )


@dataclass(slots=True, eq=False)
class Variable:
    """A declared variable. Identity matters (``eq=False``): every ``VariablePlace`` points at the declaration."""

    name: str
    type: Type
    storage: Storage
    init: Initial | None = None
    direction: str = ""  # "input", "output", "inout", ""
    retain: bool = False
    persistent: bool = False
    constant: bool = False
    location: Location | None = None
    edge: str = ""  # "R_EDGE" / "F_EDGE" on a BOOL input: the checker adds the trigger; this is for symbols
    comment: str = ""
    attributes: dict[str, str] = field(default_factory=dict)  # pragmas: unit, low, high, access, …
    file: str = ""
    line: int = 0
    # ADR/REF is taken of it, or it is bound to an in-out of which that is true: it must live in the block.
    addressed: bool = False


@dataclass(frozen=True, slots=True)
class Location:
    """A direct address: ``area`` "I" "Q" "M"; ``byte`` offset in it; ``bit`` or -1; ``size`` in bytes (bit: 1)."""

    area: str
    byte: int
    bit: int
    size: int
    text: str  # "%QX0.3"


@dataclass(slots=True, eq=False)
class Pou:
    """A function, method, action body, function block, class or program.

    ``key`` is unique: ``namespace.Name``, methods ``Owner.Method``, property accessors ``Owner.Prop.get``/``.set``,
    actions ``Owner.Action``. For FBs/classes/programs ``base`` names the extended POU; ``members`` lists its own
    variables only, and the instance starts with the base's members.
    Members of an instance whose ``type`` is ``Instance`` are embedded.
    """

    key: str
    kind: str  # "function", "method", "action", "function_block", "class", "program"
    variables: list[Variable]  # in declaration order, all sections
    body: list[Statement]
    result: Variable | None = None  # storage LOCAL, named like the function; None for VOID and blocks
    owner: str = ""  # key of the FB/class/program of a method or action: ``This`` refers to an instance of it
    base: str = ""
    methods: dict[str, str] = field(default_factory=dict)  # upper-case name -> key, including inherited ones
    interfaces: tuple[str, ...] = ()
    abstract: bool = False
    builtin: str = ""  # name of a standard block implemented natively ("TON", …); body is then empty
    file: str = ""
    line: int = 0
    end_line: int = 0


@dataclass(frozen=True, slots=True)
class InterfaceType:
    name: str
    methods: tuple[str, ...]  # upper-case names; the signature is that of any implementing POU


@dataclass(slots=True)
class ProgramInstance:
    name: str  # path prefix of its symbols
    pou: str
    task: str  # "" = runs in the background task
    init: Initial | None = None  # from PROGRAM p : T (in := …)
    # Connections of PROGRAM inst WITH task : T (in := global, out => global)
    inputs: list[tuple[Variable, Expression]] = field(default_factory=list)
    outputs: list[tuple[Variable, Place]] = field(default_factory=list)


@dataclass(slots=True)
class Task:
    name: str
    kind: str  # "cyclic", "event", "free"
    period_ns: int
    priority: int
    event: Expression | None = None  # SINGLE
    line: int = 0


@dataclass(frozen=True, slots=True)
class Assertion:
    """An assertion of a test, in the order of the text. ``kept``: its message is in the variable ``_message``."""

    name: str
    line: int
    message: str = ""
    kept: bool = False


@dataclass(slots=True)
class Test:
    """TEST … END_TEST: ``key`` names its POU, a block that ends early with the number of a failed assertion."""

    key: str
    title: str
    file: str
    line: int
    mocks: str = ""  # its attribute 'mock'
    assertions: list[Assertion] = field(default_factory=list)


@dataclass(slots=True)
class Program:
    """A whole checked application."""

    name: str
    pous: dict[str, Pou]  # by key; includes the standard blocks that are used
    globals: list[Variable]
    interfaces: dict[str, InterfaceType]
    instances: list[ProgramInstance]
    tasks: list[Task]
    files: dict[str, str]  # path -> sha256 of the text
    # The plant's blocks in Python by upper-case name: programs.blocks.Block, which is made of types of this module.
    blocks: dict[str, Any] = field(default_factory=dict)
    tests: list[Test] = field(default_factory=list)  # only where tests were asked for


# ---------------------------------------------------------------- places (things with an address)


@dataclass(slots=True, eq=False)
class VariablePlace:
    variable: Variable
    type: Type
    line: int = 0


@dataclass(slots=True, eq=False)
class ThisPlace:
    """The instance that the running method, action or block body belongs to (also for SUPER: the same memory)."""

    type: Instance
    line: int = 0


@dataclass(slots=True, eq=False)
class MemberPlace:
    """A member of a structure or instance. ``member`` is the lower-case name."""

    base: Place
    member: str
    type: Type
    line: int = 0


@dataclass(slots=True, eq=False)
class IndexPlace:
    """An array element; one expression of type LINT a dimension, each checked against its bounds."""

    base: Place
    indices: list[Expression]
    type: Type
    line: int = 0


@dataclass(slots=True, eq=False)
class DerefPlace:
    """What a reference points to; NULL is a fault."""

    reference: Expression
    type: Type
    line: int = 0


@dataclass(slots=True, eq=False)
class PartPlace:
    """Bit or part of a bit string or integer: ``x.3``, ``x.%B1``. ``width`` in bits: 1, 8, 16, 32."""

    base: Place
    width: int
    index: int
    type: Type
    line: int = 0


Place = VariablePlace | ThisPlace | MemberPlace | IndexPlace | DerefPlace | PartPlace


# ---------------------------------------------------------------- expressions


@dataclass(slots=True, eq=False)
class Constant:
    type: Type
    value: int | float | str
    line: int = 0


@dataclass(slots=True, eq=False)
class Load:
    place: Place
    type: Type
    line: int = 0


@dataclass(slots=True, eq=False)
class Convert:
    """Implicit widening or an explicit A_TO_B. Semantics by the two types: see docs/language/semantics.md."""

    operand: Expression
    type: Type
    # "to" (A_TO_B and implicit), "trunc" (TRUNC), "bits" (same-size reinterpretation), "bcd", "from_bcd"
    kind: str = "to"
    line: int = 0


@dataclass(slots=True, eq=False)
class Unary:
    """``op``: "neg", "not" (bitwise or BOOL)."""

    op: str
    operand: Expression
    type: Type
    line: int = 0


@dataclass(slots=True, eq=False)
class Binary:
    """``op``: add sub mul div mod pow and or xor; both operands have ``type`` (pow: right side may be an integer)."""

    op: str
    left: Expression
    right: Expression
    type: Type
    line: int = 0


@dataclass(slots=True, eq=False)
class Compare:
    """``op``: eq ne lt le gt ge; operands of one type (numbers, bit strings, strings, enums, times, references)."""

    op: str
    left: Expression
    right: Expression
    type: Type
    line: int = 0


@dataclass(slots=True, eq=False)
class Logical:
    """Short-circuit BOOL ``and`` / ``or``."""

    op: str
    left: Expression
    right: Expression
    type: Type
    line: int = 0


@dataclass(slots=True, eq=False)
class Intrinsic:
    """A standard function with typed arguments: "ABS", "SHL", "SEL", "CONCAT", "LIMIT", "ADD_DT_TIME", …

    All arguments have been converted to the types that the overload takes; ``type`` is the result's.
    Extensible functions (MAX, MIN, MUX, CONCAT) carry all their arguments.
    """

    name: str
    arguments: list[Expression]
    type: Type
    line: int = 0


@dataclass(slots=True, eq=False)
class Call:
    """A call of a function or method as an expression; also as a statement through ``CallStatement``.

    ``arguments`` are in the order of the callee's PARAMETER variables, defaults filled in.
    ``inouts`` and ``outputs`` pair the callee's variable with the caller's place.
    ``receiver`` is the instance for a method; ``virtual`` calls dispatch on the instance's dynamic type.
    ``interface``: the receiver is an expression of Interface type instead of a place.
    """

    pou: str
    arguments: list[Expression]
    type: Type | None
    inouts: list[tuple[Variable, Place]] = field(default_factory=list)
    outputs: list[tuple[Variable, Place]] = field(default_factory=list)
    receiver: Place | None = None
    interface: Expression | None = None
    method: str = ""  # upper-case name for virtual and interface calls
    virtual: bool = False
    line: int = 0


@dataclass(slots=True, eq=False)
class Address:
    """REF(x), ADR(x): offset of a place with storage in the block."""

    place: Place
    type: Type
    line: int = 0


@dataclass(slots=True, eq=False)
class SizeOf:
    """SIZEOF: bytes of a type as it is laid out in the block; ``type`` is UDINT or what the context asked for."""

    measured: Type
    type: Type
    line: int = 0


@dataclass(slots=True, eq=False)
class Bound:
    """LOWER_BOUND / UPPER_BOUND of an ARRAY[*] parameter."""

    array: Variable
    dimension: int  # 1-based
    upper: bool
    type: Type
    line: int = 0


@dataclass(slots=True, eq=False)
class ToInterface:
    """An instance assigned to a variable of an interface type."""

    place: Place
    type: Interface
    line: int = 0


@dataclass(slots=True, eq=False)
class Query:
    """``?=`` and __QUERYINTERFACE: the reference or interface if its dynamic type fits, else NULL."""

    operand: Expression
    type: Type
    line: int = 0


Expression = (
    Constant | Load | Convert | Unary | Binary | Compare | Logical | Intrinsic | Call | Address | SizeOf | Bound
    | ToInterface | Query
)  # fmt: skip


# ---------------------------------------------------------------- statements


@dataclass(slots=True, eq=False)
class Assign:
    """``place := value``; the value has the place's type. Aggregates and strings are copied."""

    place: Place
    value: Expression
    line: int = 0


@dataclass(slots=True, eq=False)
class CallBlock:
    """Call of a function block instance (or ``SUPER^()``: ``pou`` then names the base).

    Order: inputs are assigned left to right, in-outs bound, the body runs, outputs are copied.
    ``inputs`` holds only the given ones: others keep their last value.
    ``enable``: EN argument; when false the body is skipped and outputs keep their value (ENO is in ``eno``).
    """

    instance: Place
    pou: str
    inputs: list[tuple[Variable, Expression]]
    outputs: list[tuple[Variable, Place]]
    inouts: list[tuple[Variable, Place]] = field(default_factory=list)
    enable: Expression | None = None
    eno: Place | None = None
    virtual: bool = False  # the instance may be of a derived block (in-out, reference): its own body runs
    line: int = 0


@dataclass(slots=True, eq=False)
class CallStatement:
    call: Call
    line: int = 0


@dataclass(slots=True, eq=False)
class If:
    """Branches in order; a condition of None is ELSE and comes last."""

    branches: list[tuple[Expression | None, list[Statement]]]
    line: int = 0


@dataclass(slots=True, eq=False)
class Case:
    """First match wins. Each label is an inclusive range of constants (low == high for one value)."""

    selector: Expression
    branches: list[tuple[list[tuple[int, int]], list[Statement]]]
    otherwise: list[Statement]
    line: int = 0


@dataclass(slots=True, eq=False)
class For:
    """Start, end and step are evaluated once; direction by the sign of the step; exact at the type's limits.

    A step of zero ends the loop at once. After the loop the variable holds the first value past the end, wrapped.
    """

    place: Place
    start: Expression
    end: Expression
    step: Expression
    body: list[Statement]
    line: int = 0


@dataclass(slots=True, eq=False)
class While:
    condition: Expression
    body: list[Statement]
    line: int = 0


@dataclass(slots=True, eq=False)
class Repeat:
    body: list[Statement]
    until: Expression
    line: int = 0


@dataclass(slots=True, eq=False)
class Exit:
    line: int = 0


@dataclass(slots=True, eq=False)
class Continue:
    line: int = 0


@dataclass(slots=True, eq=False)
class Return:
    line: int = 0


Statement = (
    Assign | CallBlock | CallStatement | If | Case | For | While | Repeat | Exit | Continue | Return
)  # fmt: skip
