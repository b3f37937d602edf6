"""The tree that the parser makes of a source: what is written, nothing resolved.

Rules.
* ``start`` and ``end`` of a node are *positions*: ``source.base`` plus the character offset, ``end``
  exclusive. With
  the sources in one ``SourceSet`` a position alone tells file, line and column (``SourceSet.place``).
* Names stand as written; they compare without regard to case (IEC 61131-3, 6.1.2). Keywords and operators are
  upper case.
* Literals are decoded, and keep the written type prefix (``UINT#16#FF`` -> value 255, type "UINT"), which is
  unchecked.
* Dialect forms have nodes of their own or a field that says so; the parser has already refused what the
  dialect lacks.
* A tree may be incomplete after a syntax error: where an expression could not be read there is a ``Missing``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from programs.source import Source


@dataclass(slots=True, eq=False)
class Node:
    start: int
    end: int


# ---------------------------------------------------------------- expressions


@dataclass(slots=True, eq=False)
class Name(Node):
    """A simple name, as an expression or as the name of something declared."""

    name: str


@dataclass(slots=True, eq=False)
class GlobalName(Node):
    """``.x``: the global x although a local one hides it (CODESYS)."""

    name: str


@dataclass(slots=True, eq=False)
class DirectVariable(Node):
    """``%IX0.3``, ``%MW10``, ``%Q*``. ``area`` I Q M; ``size`` X B W D L, "" or "*"; ``address`` () for
    ``*``."""

    text: str
    area: str
    size: str
    address: tuple[int, ...]


@dataclass(slots=True, eq=False)
class IntegerLiteral(Node):
    """``12``, ``16#FF``, ``INT#-3``, ``BOOL#1``, ``MyRange#5``. ``radix`` as written; ``type`` the prefix or
    ""."""

    value: int
    radix: int
    type: str


@dataclass(slots=True, eq=False)
class RealLiteral(Node):
    """``1.5E3``, ``REAL#1.0``. The value is the nearest double; ``text`` the digits without underscores."""

    value: float
    text: str
    type: str


@dataclass(slots=True, eq=False)
class BoolLiteral(Node):
    """``TRUE``, ``BOOL#FALSE``."""

    value: bool
    type: str


@dataclass(slots=True, eq=False)
class TimeLiteral(Node):
    """A duration, date, time of day or date and time in ns (dates since 1970-01-01, times of day since
    midnight).

    ``type`` is one of TIME LTIME DATE LDATE TOD LTOD DT LDT.
    """

    value_ns: int
    type: str


@dataclass(slots=True, eq=False)
class StringLiteral(Node):
    """``'…'`` or ``"…"`` (``wide``), escapes decoded. ``type``: "", STRING, WSTRING, CHAR, WCHAR, or a user's
    type."""

    value: str
    wide: bool
    type: str


@dataclass(slots=True, eq=False)
class NullLiteral(Node):
    """``NULL``."""


@dataclass(slots=True, eq=False)
class EnumLiteral(Node):
    """``Colour#Red``, ``ns.Colour#Red``: a value qualified by its type."""

    type: Name | Member
    value: Name


@dataclass(slots=True, eq=False)
class Member(Node):
    """``base.name``: a member, a method, a global of a namespace or list, an enumeration's value."""

    base: Expression
    name: Name


@dataclass(slots=True, eq=False)
class Part(Node):
    """``base.3`` (``size`` "", a bit), ``base.%X3``, ``base.%B1``, ``base.%W0``, ``base.%D1``."""

    base: Expression
    size: str
    index: int


@dataclass(slots=True, eq=False)
class Index(Node):
    base: Expression
    indices: list[Expression]


@dataclass(slots=True, eq=False)
class Dereference(Node):
    base: Expression


@dataclass(slots=True, eq=False)
class This(Node):
    """``THIS`` (``THIS^`` is a ``Dereference`` of it)."""


@dataclass(slots=True, eq=False)
class Super(Node):
    """``SUPER`` (``SUPER^`` is a ``Dereference`` of it; ``SUPER()`` a ``Call`` of it)."""


@dataclass(slots=True, eq=False)
class Argument(Node):
    """``value``, ``name := value``, ``name => place``, ``NOT name => place``.

    ``value`` is None for ``name :=`` and ``name =>`` with nothing behind it.
    """

    name: Name | None
    value: Expression | None
    output: bool = False
    negated: bool = False


@dataclass(slots=True, eq=False)
class Call(Node):
    callee: Expression
    arguments: list[Argument]


@dataclass(slots=True, eq=False)
class Unary(Node):
    """``op``: "-", "+", "NOT"."""

    op: str
    operand: Expression


@dataclass(slots=True, eq=False)
class Binary(Node):
    """``op``: ** * / MOD + - < > <= >= = <> AND XOR OR AND_THEN OR_ELSE (``&`` is given as AND).

    ``op_start`` is the position of the operator.
    """

    op: str
    left: Expression
    right: Expression
    op_start: int


@dataclass(slots=True, eq=False)
class Parenthesised(Node):
    """``(x)``; kept because ``(x)`` is no place and because mixed conditions are judged by it."""

    inner: Expression


@dataclass(slots=True, eq=False)
class AssignExpression(Node):
    """An assignment inside an expression: ``a := b := c`` or ``IF (x := f()) THEN`` (CODESYS)."""

    target: Expression
    op: str
    value: Expression


@dataclass(slots=True, eq=False)
class NewExpression(Node):
    """``__NEW(T)``, ``__NEW(T, count)`` (CODESYS)."""

    type: TypeSpec
    count: Expression | None


@dataclass(slots=True, eq=False)
class TypeOperand(Node):
    """A type where an argument is expected: ``SIZEOF(ARRAY[0..3] OF INT)``. A mere name is a ``Name``."""

    type: TypeSpec


@dataclass(slots=True, eq=False)
class ArrayInitial(Node):
    """``[1, 2, 3(0)]``. ``bracketed`` is False for CODESYS 2's form without brackets."""

    elements: list[ArrayElement]
    bracketed: bool = True


@dataclass(slots=True, eq=False)
class ArrayElement(Node):
    """``value`` or ``count(value, …)``; ``count()`` has no values and means the default."""

    count: Expression | None
    values: list[Expression]


@dataclass(slots=True, eq=False)
class StructInitial(Node):
    """``(a := 1, b := [2, 3])``: a structure's or an instance's initial values."""

    members: list[MemberInitial]


@dataclass(slots=True, eq=False)
class MemberInitial(Node):
    name: Name
    value: Expression


@dataclass(slots=True, eq=False)
class Missing(Node):
    """Where an expression had to stand and a syntax error was reported."""


Literal = (
    IntegerLiteral | RealLiteral | BoolLiteral | TimeLiteral | StringLiteral | NullLiteral | EnumLiteral
)  # fmt: skip
Expression = (
    Name | GlobalName | DirectVariable | Literal | Member | Part | Index | Dereference | This | Super | Call
    | Unary | Binary | Parenthesised | AssignExpression | NewExpression | TypeOperand | ArrayInitial
    | StructInitial | Missing
)  # fmt: skip


# ---------------------------------------------------------------- types


@dataclass(slots=True, eq=False)
class NamedType(Node):
    """An elementary or declared type by name, ``INT`` or ``ns.Type`` (dotted, as written).

    ``arguments``: CODESYS's constructor call in a declaration, ``x : FB(a := 1)``.
    """

    name: str
    arguments: list[Argument] | None = None


@dataclass(slots=True, eq=False)
class StringType(Node):
    """STRING, STRING[n], STRING(n), WSTRING…. ``length`` None: default length."""

    wide: bool
    length: Expression | None


@dataclass(slots=True, eq=False)
class SubrangeType(Node):
    """``INT (0..10)``. ``base`` is the type's name."""

    base: NamedType
    low: Expression
    high: Expression


@dataclass(slots=True, eq=False)
class Dimension(Node):
    """``low..high``; both None for ``*``."""

    low: Expression | None
    high: Expression | None


@dataclass(slots=True, eq=False)
class ArrayType(Node):
    dimensions: list[Dimension]
    element: TypeSpec


@dataclass(slots=True, eq=False)
class EnumValue(Node):
    name: Name
    value: Expression | None
    comment: str = ""


@dataclass(slots=True, eq=False)
class EnumType(Node):
    """``(a, b := 5)``, ``DINT (a := 1)`` or ``(a, b) DINT``. ``base`` None: the default, INT."""

    values: list[EnumValue]
    base: NamedType | None


@dataclass(slots=True, eq=False)
class StructType(Node):
    """STRUCT, or UNION (``union``). ``extends`` is CODESYS; ``overlap`` is STRUCT OVERLAP."""

    members: list[Variable]
    union: bool = False
    overlap: bool = False
    extends: Name | Member | None = None


@dataclass(slots=True, eq=False)
class ReferenceType(Node):
    """``kind``: "REF_TO", "REFERENCE TO", "POINTER TO"; "__FPOINTER" (RuSTy) points to a block's body or method."""

    kind: str
    target: TypeSpec


TypeSpec = NamedType | StringType | SubrangeType | ArrayType | EnumType | StructType | ReferenceType


# ---------------------------------------------------------------- statements


@dataclass(slots=True, eq=False)
class Assign(Node):
    """``op``: ":=", "?=", "REF=", "S=", "R="."""

    target: Expression
    op: str
    value: Expression


@dataclass(slots=True, eq=False)
class CallStatement(Node):
    """A call of a block, function, method or action as a statement. An action or method without parentheses,
    ``inst.Act;``, is an ``ExpressionStatement``."""

    call: Call


@dataclass(slots=True, eq=False)
class ExpressionStatement(Node):
    """A name or member without parentheses as a statement: an action (CODESYS), or else useless."""

    expression: Expression


@dataclass(slots=True, eq=False)
class Branch(Node):
    """IF or ELSIF with its condition."""

    condition: Expression
    body: list[Statement]


@dataclass(slots=True, eq=False)
class If(Node):
    """``otherwise`` is None without ELSE."""

    branches: list[Branch]
    otherwise: list[Statement] | None


@dataclass(slots=True, eq=False)
class CaseLabel(Node):
    """``low`` or ``low..high``."""

    low: Expression
    high: Expression | None


@dataclass(slots=True, eq=False)
class CaseBranch(Node):
    labels: list[CaseLabel]
    body: list[Statement]


@dataclass(slots=True, eq=False)
class Case(Node):
    selector: Expression
    branches: list[CaseBranch]
    otherwise: list[Statement] | None


@dataclass(slots=True, eq=False)
class For(Node):
    """``step`` None: BY is absent."""

    variable: Expression
    first: Expression
    last: Expression
    step: Expression | None
    body: list[Statement]


@dataclass(slots=True, eq=False)
class While(Node):
    condition: Expression
    body: list[Statement]


@dataclass(slots=True, eq=False)
class Repeat(Node):
    body: list[Statement]
    until: Expression


@dataclass(slots=True, eq=False)
class Exit(Node):
    pass


@dataclass(slots=True, eq=False)
class Continue(Node):
    pass


@dataclass(slots=True, eq=False)
class Return(Node):
    pass


@dataclass(slots=True, eq=False)
class Empty(Node):
    """A lone ``;``."""


@dataclass(slots=True, eq=False)
class Label(Node):
    """``name:`` (CODESYS), the target of a ``Jump``."""

    name: Name


@dataclass(slots=True, eq=False)
class Jump(Node):
    """``JMP name;`` (CODESYS)."""

    label: Name


@dataclass(slots=True, eq=False)
class Try(Node):
    """``__TRY … __CATCH(e) … __FINALLY … __ENDTRY`` (CODESYS)."""

    body: list[Statement]
    variable: Expression | None
    handler: list[Statement]
    finally_body: list[Statement]


Statement = (
    Assign | CallStatement | ExpressionStatement | If | Case | For | While | Repeat | Exit | Continue | Return
    | Empty | Label | Jump | Try
)  # fmt: skip


# ---------------------------------------------------------------- variables


@dataclass(slots=True, eq=False)
class Variable(Node):
    """One declared name. ``a, b : INT := 1`` gives two that share ``type`` and ``initial``.

    ``AT %IX0.0 : BOOL`` without a name is named by its address, ``%IX0.0``.

    ``comment`` is the comment on the same line or on the lines before; ``attributes`` from ``{attribute 'k'
    := 'v'}``.
    ``edge``: "R_EDGE", "F_EDGE" or "". ``path``: for VAR_CONFIG and VAR_ACCESS the full path of the instance.
    """

    name: Name
    type: TypeSpec | None
    initial: Expression | None = None
    initial_op: str = ":="  # or "REF=" (CODESYS)
    location: DirectVariable | None = None
    edge: str = ""
    comment: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    access: str = ""  # VAR_ACCESS: "READ_ONLY", "READ_WRITE" or ""
    # VAR_CONFIG: the variable configured; VAR_ACCESS: the variable given access to.
    path: Expression | None = None
    alias: Expression | None = None  # RuSTy's ``name AT other : type``: another name for the same place


@dataclass(slots=True, eq=False)
class VariableSection(Node):
    """``kind``: VAR VAR_INPUT VAR_OUTPUT VAR_IN_OUT VAR_TEMP VAR_EXTERNAL VAR_GLOBAL VAR_CONFIG VAR_ACCESS
    VAR_STAT
    VAR_INST. ``access``: PUBLIC PRIVATE PROTECTED INTERNAL or ""."""

    kind: str
    variables: list[Variable]
    constant: bool = False
    retain: bool = False
    non_retain: bool = False
    persistent: bool = False
    access: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


# ---------------------------------------------------------------- instruction list, sequential function chart


@dataclass(slots=True, eq=False)
class IlInstruction(Node):
    """One line: ``label: OPERATOR operand``.

    ``operator`` is upper case with its modifiers (``ANDN``, ``JMPC``, ``CALCN``, or ``EQ`` …) or a function's
    or method's
    name as written. ``operands`` in order. ``arguments`` for a formal call list. ``nested`` for ``AND( … )``.
    """

    label: Name | None
    operator: str
    operands: list[Expression]
    arguments: list[Argument] | None = None
    callee: Expression | None = None  # CAL and formal function calls
    nested: list[IlInstruction] | None = None


@dataclass(slots=True, eq=False)
class IlBody(Node):
    instructions: list[IlInstruction]


@dataclass(slots=True, eq=False)
class ActionAssociation(Node):
    """``name (qualifier, time, indicators …)`` in a step. ``qualifier``: N R S L D P P0 P1 SD DS SL; "" means
    N."""

    action: Name
    qualifier: str
    duration: Expression | None
    indicators: list[Name]


@dataclass(slots=True, eq=False)
class Step(Node):
    name: Name
    initial: bool
    actions: list[ActionAssociation]
    comment: str = ""


@dataclass(slots=True, eq=False)
class Transition(Node):
    """``TRANSITION name (PRIORITY := n) FROM a TO (b, c) := condition; END_TRANSITION``, or an IL list as
    condition."""

    name: Name | None
    priority: Expression | None
    sources: list[Name]
    targets: list[Name]
    condition: Expression | None
    il: IlBody | None = None


@dataclass(slots=True, eq=False)
class SfcBody(Node):
    """A sequential function chart. Its actions stand in ``Pou.actions``."""

    steps: list[Step]
    transitions: list[Transition]


@dataclass(slots=True, eq=False)
class StatementBody(Node):
    statements: list[Statement]


Body = StatementBody | SfcBody | IlBody


# ---------------------------------------------------------------- program organisation units


@dataclass(slots=True, eq=False)
class Action(Node):
    """An action of a POU, inside it or in an ACTIONS list; it works on the POU's variables."""

    name: Name
    body: Body
    comment: str = ""


@dataclass(slots=True, eq=False)
class Pou(Node):
    """FUNCTION, FUNCTION_BLOCK, PROGRAM, CLASS, METHOD or TEST (``kind``, upper case).

    ``result``: type of a function or method; None without one or for VOID. ``body`` None: a prototype of an
    interface
    or an abstract method, or a class. ``head_end``: end of the line that declares it.
    """

    kind: str
    name: Name
    source: Source
    sections: list[VariableSection]
    body: Body | None
    result: TypeSpec | None = None
    extends: list[Name | Member] = field(
        default_factory=list
    )  # one at most, but all are kept for the message
    implements: list[Name | Member] = field(default_factory=list)
    using: list[Using] = field(default_factory=list)
    methods: list[Pou] = field(default_factory=list)
    properties: list[Property] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    access: str = ""  # PUBLIC PRIVATE PROTECTED INTERNAL
    abstract: bool = False
    final: bool = False
    override: bool = False
    external: bool = False  # RuSTy's {external}: implemented elsewhere
    type_parameters: list[TypeParameter] = field(default_factory=list)
    comment: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    head_end: int = 0
    title: str = ""  # of a TEST: its text
    alias: Name | None = None  # a mock: the name that it has in its text


@dataclass(slots=True, eq=False)
class TypeParameter(Node):
    """``<T : ANY_NUM>`` of a generic function (RuSTy)."""

    name: Name
    family: str


@dataclass(slots=True, eq=False)
class Accessor(Node):
    """GET or SET of a property. ``body`` None in an interface."""

    kind: str
    sections: list[VariableSection]
    body: Body | None
    access: str = ""


@dataclass(slots=True, eq=False)
class Property(Node):
    """PROPERTY with its accessors; in an interface these have no body."""

    name: Name
    type: TypeSpec | None
    accessors: list[Accessor]
    access: str = ""
    abstract: bool = False
    final: bool = False
    override: bool = False
    comment: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Interface(Node):
    name: Name
    source: Source
    extends: list[Name | Member]
    methods: list[Pou]
    properties: list[Property]
    using: list[Using] = field(default_factory=list)
    access: str = ""
    comment: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class TypeDeclaration(Node):
    """One ``name : type := initial;`` of a TYPE block."""

    name: Name
    source: Source
    type: TypeSpec
    initial: Expression | None = None
    access: str = ""
    comment: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class GlobalSection(Node):
    """VAR_GLOBAL (or VAR_CONFIG, RuSTy) outside a configuration. ``name`` of the list from ``qualified_only``
    files."""

    source: Source
    section: VariableSection
    name: str = ""


@dataclass(slots=True, eq=False)
class ActionsOf(Node):
    """``ACTIONS Owner … END_ACTIONS`` and ``ACTION Owner.Name`` outside the POU (RuSTy). ``owner`` None: the
    POU before."""

    source: Source
    owner: Name | Member | None
    actions: list[Action]


@dataclass(slots=True, eq=False)
class Using(Node):
    """``USING a.b, c;``"""

    names: list[Name | Member]


@dataclass(slots=True, eq=False)
class Namespace(Node):
    name: Name | Member
    source: Source
    internal: bool
    declarations: list[Declaration]
    using: list[Using] = field(default_factory=list)


# ---------------------------------------------------------------- configurations


@dataclass(slots=True, eq=False)
class Task(Node):
    """``TASK name (SINGLE := …, INTERVAL := …, PRIORITY := …);``"""

    name: Name
    single: Expression | None
    interval: Expression | None
    priority: Expression | None
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class ProgramConfiguration(Node):
    """``PROGRAM RETAIN inst WITH task : Type (in := x, out => y, fb WITH task);``

    ``block_tasks``: the ``fb WITH task`` elements.
    """

    name: Name
    task: Name | None
    type: NamedType
    arguments: list[Argument]
    block_tasks: list[tuple[Name | Member, Name]] = field(default_factory=list)
    retain: bool = False
    non_retain: bool = False


@dataclass(slots=True, eq=False)
class Resource(Node):
    """``name`` and ``on`` are None for tasks and programs that stand directly in the configuration."""

    name: Name | None
    on: Name | None
    sections: list[VariableSection]
    tasks: list[Task]
    programs: list[ProgramConfiguration]


@dataclass(slots=True, eq=False)
class Configuration(Node):
    """``sections``: VAR_GLOBAL, VAR_ACCESS, VAR_CONFIG of the configuration itself."""

    name: Name
    source: Source
    sections: list[VariableSection]
    resources: list[Resource]
    using: list[Using] = field(default_factory=list)
    comment: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


Declaration = Pou | Interface | TypeDeclaration | GlobalSection | ActionsOf | Namespace | Configuration


@dataclass(slots=True, eq=False)
class Unit(Node):
    """One source file. ``dialect`` is the one it was read in (``auto`` is decided by then)."""

    source: Source
    dialect: str
    declarations: list[Declaration]
    using: list[Using] = field(default_factory=list)
