"""Invariants of the typed tree, checked on whole programs: what code generation relies on."""

from collections.abc import Iterator

from programs import hir, types

PLACES = (
    hir.VariablePlace,
    hir.ThisPlace,
    hir.MemberPlace,
    hir.IndexPlace,
    hir.DerefPlace,
    hir.PartPlace,
)


def violations(program: hir.Program) -> list[str]:
    """What is wrong with a tree, one line each; empty if nothing is."""
    found: list[str] = []
    for pou in program.pous.values():
        verifier = _Verifier(program, pou, found)
        for variable in pou.variables:
            verifier.declared(variable)
        verifier.block(pou.body)
    for variable in program.globals:
        _Verifier(program, next(iter(program.pous.values())), found).declared(
            variable
        ) if program.pous else None
    return found


class _Verifier:
    def __init__(self, program: hir.Program, pou: hir.Pou, found: list[str]) -> None:
        self.program = program
        self.pou = pou
        self.found = found

    def say(self, line: int, text: str) -> None:
        self.found.append(f"{self.pou.key}:{line}: {text}")

    def declared(self, variable: hir.Variable) -> None:
        if not _known(variable.type):
            self.say(variable.line, f"{variable.name} has type {variable.type}")
        if variable.storage is hir.Storage.LOCATED and variable.location is None:
            self.say(variable.line, f"{variable.name} has no location")

    def block(self, statements: list[hir.Statement]) -> None:
        for statement in statements:
            self.statement(statement)

    def same(self, line: int, one: hir.Type, other: hir.Type, what: str) -> None:
        one, other = types.stripped(one), types.stripped(other)
        arrays = isinstance(one, hir.Array | hir.OpenArray) and isinstance(other, hir.Array | hir.OpenArray)
        objects = isinstance(one, hir.Interface) and isinstance(other, hir.Interface)  # one form for all
        if one != other and not arrays and not objects:
            self.say(line, f"{what}: {types.type_name(one)} and {types.type_name(other)}")

    def statement(self, node: hir.Statement) -> None:
        match node:
            case hir.Assign():
                self.place(node.place)
                self.value(node.value)
                self.same(node.line, node.place.type, node.value.type, "assign")
            case hir.CallStatement():
                self.call(node.call)
            case hir.CallBlock():
                self.call_block(node)
            case hir.If():
                for condition, body in node.branches:
                    if condition is not None:
                        self.boolean(condition)
                    self.block(body)
            case hir.Case():
                self.value(node.selector)
                for _, body in node.branches:
                    self.block(body)
                self.block(node.otherwise)
            case hir.For():
                self.place(node.place)
                for bound in (node.start, node.end):
                    self.value(bound)
                    self.same(node.line, node.place.type, bound.type, "for")
                self.value(node.step)
                self.block(node.body)
            case hir.While():
                self.boolean(node.condition)
                self.block(node.body)
            case hir.Repeat():
                self.block(node.body)
                self.boolean(node.until)

    def boolean(self, node: hir.Expression) -> None:
        self.value(node)
        self.same(node.line, node.type, types.BOOL, "condition")  # type: ignore[arg-type]

    def place(self, node: hir.Place) -> None:
        if not isinstance(node, PLACES):
            self.say(0, f"no place: {node}")
            return
        if not _known(node.type):
            self.say(node.line, f"place of type {node.type}")
        match node:
            case hir.MemberPlace():
                self.place(node.base)
                self.member(node)
            case hir.IndexPlace():
                self.place(node.base)
                for index in node.indices:
                    self.value(index)
                    self.same(node.line, index.type, types.LINT, "index")  # type: ignore[arg-type]
            case hir.DerefPlace():
                self.value(node.reference)
                if not isinstance(node.reference.type, hir.Ref):
                    self.say(node.line, "dereference of no reference")
            case hir.PartPlace():
                self.place(node.base)

    def member(self, node: hir.MemberPlace) -> None:
        kind = node.base.type
        if isinstance(kind, hir.Struct):
            names = [member.name.lower() for member in kind.members]
        elif isinstance(kind, hir.Instance):
            names = []
            key = kind.pou
            while key:
                pou = self.program.pous[key]
                names += [variable.name.lower() for variable in pou.variables]
                key = pou.base
        else:
            self.say(node.line, f"member of {kind}")
            return
        if node.member not in names:
            self.say(node.line, f"no member {node.member} in {kind}")

    def value(self, node: hir.Expression) -> None:
        if not _known(node.type):
            self.say(node.line, f"{type(node).__name__} of type {node.type}")
            return
        match node:
            case hir.Constant():
                self.constant(node)
            case hir.Load():
                self.place(node.place)
                self.same(node.line, node.type, node.place.type, "load")
            case hir.Convert() | hir.Query():
                self.value(node.operand)
            case hir.Unary():
                self.value(node.operand)
                self.same(node.line, node.type, node.operand.type, "unary")  # type: ignore[arg-type]
            case hir.Binary() | hir.Logical():
                self.binary(node)
            case hir.Compare():
                self.value(node.left)
                self.value(node.right)
                strings = isinstance(node.left.type, hir.String) and isinstance(node.right.type, hir.String)
                references = isinstance(node.left.type, hir.Ref) and isinstance(node.right.type, hir.Ref)
                if not strings and not references:
                    self.same(node.line, node.left.type, node.right.type, "compare")  # type: ignore[arg-type]
            case hir.Intrinsic():
                for argument in node.arguments:
                    self.value(argument)
            case hir.Call():
                self.call(node)
            case hir.Address() | hir.ToInterface():
                self.place(node.place)

    def constant(self, node: hir.Constant) -> None:
        if isinstance(node.type, hir.String) != isinstance(node.value, str):
            self.say(node.line, f"constant {node.value!r} of {types.type_name(node.type)}")
        if isinstance(node.value, int) and isinstance(node.type, hir.Elementary):
            plain = hir.Elementary(node.type.type)
            if not types.is_real(plain) and not types.holds(plain, node.value):
                self.say(node.line, f"constant {node.value} outside {types.type_name(node.type)}")
        if isinstance(node.value, float) and not types.is_real(node.type):
            self.say(node.line, f"real constant of {types.type_name(node.type)}")

    def binary(self, node: hir.Binary | hir.Logical) -> None:
        self.value(node.left)
        self.value(node.right)
        self.same(node.line, node.type, node.left.type, node.op)  # type: ignore[arg-type]
        if node.op != "pow":
            self.same(node.line, node.type, node.right.type, node.op)  # type: ignore[arg-type]
        if node.op in ("add", "sub", "mul", "div", "mod") and types.is_bits(node.type):
            self.say(node.line, f"arithmetic on {types.type_name(node.type)}")

    def call(self, node: hir.Call) -> None:
        unit = self.program.pous.get(node.pou)
        if unit is None:
            if node.interface is None:
                self.say(node.line, f"call of {node.pou}")
            return
        wanted = [v for v in unit.variables if v.storage is hir.Storage.PARAMETER]
        if len(wanted) != len(node.arguments):
            self.say(node.line, f"{len(node.arguments)} arguments for {len(wanted)} of {node.pou}")
        for variable, argument in zip(wanted, node.arguments, strict=False):
            self.value(argument)
            self.same(node.line, variable.type, argument.type, f"argument {variable.name}")  # type: ignore[arg-type]
        for variable, place in node.outputs:
            self.place(place)
            self.same(node.line, variable.type, place.type, f"output {variable.name}")
        for _, place in node.inouts:
            self.place(place)
        self.lines(node.inouts, unit, node.line)

    def lines(self, pairs: list[tuple[hir.Variable, hir.Place]], unit: hir.Pou, line: int) -> None:
        for variable, _ in pairs:
            if all(variable is not known for known in _all_variables(self.program, unit)):
                self.say(line, f"{variable.name} is no variable of {unit.key}")

    def call_block(self, node: hir.CallBlock) -> None:
        self.place(node.instance)
        unit = self.program.pous.get(node.pou)
        if unit is None:
            self.say(node.line, f"call of {node.pou}")
            return
        for variable, value in node.inputs:
            self.value(value)
            self.same(node.line, variable.type, value.type, f"input {variable.name}")  # type: ignore[arg-type]
        for variable, place in node.outputs:
            self.place(place)
            self.same(node.line, variable.type, place.type, f"output {variable.name}")
        self.lines(node.inouts, unit, node.line)
        self.lines(node.outputs, unit, node.line)


def _all_variables(program: hir.Program, unit: hir.Pou) -> Iterator[hir.Variable]:
    while True:
        yield from unit.variables
        if not unit.base:
            return
        unit = program.pous[unit.base]


def _known(kind: hir.Type | None) -> bool:
    if isinstance(kind, hir.Array | hir.OpenArray):
        return _known(kind.element)
    return (
        kind is not None
        and kind is not types.UNKNOWN
        and kind is not types.VOID
        and kind not in types.LITERALS
    )
