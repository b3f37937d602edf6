"""From the typed tree to LLVM IR: one module a POU, and one that binds them to this program.

Theory. A POU's module holds its function and, for the optimiser, copies of small callees ("available_externally":
LLVM may inline them but emits no code). Everything that depends on the whole program stands in the *binding* module:
task entries, the functions that record a fault with the POU's number, dispatch tables. So the text of a POU's
module, which is the key of the object cache, changes only when something that the POU uses changes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from programs import hir
from programs.layout import BACKGROUND_TASK, BlockLayout, is_aggregate
from programs.lower_calls import BODY, formal, signature, symbol_of, takes_this
from programs.lower_effects import Effects, walk
from programs.lower_ir import Module, llvm_type, quoted
from programs.lower_parts import Parts
from programs.lower_places import Shared, Spot, context_offset
from scan.abi import HEADER_SIZE, Fault, Region, TaskSpec

# Budget of nested recursive calls, in units of about a kilobyte of stack: a fifth of the smallest usual thread stack.
CALL_DEPTH_MAX = 1000
_STACK_UNIT_BYTES = 1024
# A callee with at most this many instructions is offered to its callers for inlining.
INLINE_INSTRUCTIONS_MAX = 80
BACKGROUND_PRIORITY = 65_535
# Symbols that the binding module defines itself, besides the dispatch tables.
_OWN = ('@"f.$tasks"', "@fault", '@"k.limit"', '@"k.pous"')


@dataclass(slots=True)
class Lowered:
    """A program as IR: module texts in a fixed order, without the library functions that they use."""

    modules: list[Module]
    binding: str
    tasks: tuple[TaskSpec, ...]
    helpers: set[str] = field(default_factory=set)
    blocks: set[str] = field(default_factory=set)


class Function(Parts):
    """The function of one POU."""

    @property
    def has_this(self) -> bool:
        return takes_this(self.pou)

    def lower(self) -> None:
        form = signature(self.shared, self.pou.key)
        self._result_type = form.result
        names = [f"%a{index}" for index in range(len(form.parameters))]
        names[:2] = ["%base", "%ctx"]
        rest = names[2:]
        if self.has_this:
            names[2], rest = "%this", names[3:]
        self._recursive = self.pou.key in self.shared.effects.recursive
        self._enter(rest)
        self.divide_body(self.pou.body)
        self.body(self.pou.body)
        self.start_detached("leave")
        self._leave()
        self.write_failures()
        attributes = [""] * len(names)
        attributes[1] = " noalias"
        text = ", ".join(
            f"{kind}{attribute} {name}"
            for kind, attribute, name in zip(form.parameters, attributes, names, strict=True)
        )
        head = f"define {form.result} {symbol_of(self.pou.key)}({text}) nounwind {{"
        lines = [head, "entry:", *self.slots, *self._entry_lines(), "}"]
        self.module.functions.append("\n".join(lines))

    def _entry_lines(self) -> list[str]:
        return self.lines

    def _enter(self, names: list[str]) -> None:
        if self._recursive:
            self._enter_recursive()
        for variable in formal(self.shared, self.pou.key, hir.Storage.PARAMETER):
            self._take_parameter(variable, names)
        for variable in formal(self.shared, self.pou.key, hir.Storage.INOUT_PARAMETER):
            spot = Spot(names.pop(0))
            if isinstance(variable.type, hir.OpenArray):
                spot.bounds = [(names.pop(0), names.pop(0)) for _ in range(variable.type.rank)]
            self.variables[id(variable)] = spot
        outputs = formal(self.shared, self.pou.key, hir.Storage.OUTPUT_PARAMETER)
        self._outputs = [(variable, names.pop(0)) for variable in outputs]
        self._result_pointer = names.pop(0) if names else ""
        for variable in self.pou.variables:
            if variable.storage in (hir.Storage.LOCAL, hir.Storage.OUTPUT_PARAMETER):
                self._make_local(variable)
        if self.pou.result is not None and id(self.pou.result) not in self.variables:
            self._make_local(self.pou.result)

    def _enter_recursive(self) -> None:
        self.check_abort(self.pou.line)
        self._depth = self.at("%ctx", context_offset("depth"))
        depth = self.op(f"load i32, ptr {self._depth}, align 4")
        cost = 1 + sum(self.types.size(variable.type) for variable in self._locals()) // _STACK_UNIT_BYTES
        deeper = self.op(f"add i32 {depth}, {cost}")
        self.guard(self.op(f"icmp sle i32 {deeper}, {CALL_DEPTH_MAX}"), Fault.CALL_TOO_DEEP, self.pou.line)
        self.do(f"store i32 {deeper}, ptr {self._depth}, align 4")
        self._depth_before = depth

    def _locals(self) -> list[hir.Variable]:
        kinds = (hir.Storage.LOCAL, hir.Storage.PARAMETER, hir.Storage.OUTPUT_PARAMETER)
        return [variable for variable in self.pou.variables if variable.storage in kinds]

    def _take_parameter(self, variable: hir.Variable, names: list[str]) -> None:
        name = names.pop(0)
        kind = variable.type
        if isinstance(kind, hir.OpenArray):
            bounds = [(names.pop(0), names.pop(0)) for _ in range(kind.rank)]
            self.variables[id(variable)] = Spot(name, bounds=bounds)
        elif not is_aggregate(kind):
            spot = self._room_for(variable)
            self.store(spot, hir.Interface("") if isinstance(kind, hir.Interface) else _plain(kind), name, 0)
        elif self._needs_copy(variable):
            spot = self._room_for(variable)
            if isinstance(kind, hir.String):
                self.copy_text(spot.pointer, kind, name, kind.wide, fill=True)
            else:
                self.copy_bytes(spot.pointer, name, self.types.size(kind))
        else:
            self.variables[id(variable)] = Spot(name)

    def _needs_copy(self, variable: hir.Variable) -> bool:
        """An aggregate input is read in place unless the body could see it change, or might read past a short text."""
        effects = self.shared.effects.pous[self.pou.key]
        if effects.writes_outside or variable.addressed or id(variable) in effects.assigned:
            return True
        return isinstance(variable.type, hir.String) and any(
            isinstance(node, hir.IndexPlace) for node in walk(self.pou.body)
        )

    def _room_for(self, variable: hir.Variable) -> Spot:
        offset = self.shared.layout.offsets.get(id(variable))
        if offset is None:
            pointer = self.room(self.types.size(variable.type))
            self.aligned.add(pointer)
        else:
            pointer = self.at("%base", offset)
        spot = Spot(pointer)
        self.variables[id(variable)] = spot
        return spot

    def _make_local(self, variable: hir.Variable) -> None:
        spot = self._room_for(variable)
        if isinstance(variable.type, hir.Interface):
            self.store(spot, variable.type, "zeroinitializer", 0)
        elif not is_aggregate(variable.type):
            self.store(spot, _plain(variable.type), self.initial_scalar(variable.type, variable.init), 0)
        else:
            data = self.initial_bytes(variable.type, variable.init)
            if any(data):
                self.copy_bytes(spot.pointer, self.module.constant(data), len(data))
            else:
                self.module.declare("memset", "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1 immarg)")
                self.do(f"call void @llvm.memset.p0.i64(ptr {spot.pointer}, i8 0, i64 {len(data)}, i1 false)")

    def _leave(self) -> None:
        if self._recursive:
            self.do(f"store i32 {self._depth_before}, ptr {self._depth}, align 4")
        for variable, pointer in self._outputs:
            self.copy_bytes(pointer, self.variables[id(variable)].pointer, self.types.size(variable.type))
        result = self.pou.result
        if result is None:
            self.do("ret i32 0")
        elif is_aggregate(result.type):
            self.copy_bytes(
                self._result_pointer, self.variables[id(result)].pointer, self.types.size(result.type)
            )
            self.do("ret i32 0")
        else:
            value = self.load(self.variables[id(result)], result.type)
            kind = llvm_type(result.type)
            whole = self.op(f"insertvalue {self._result_type} zeroinitializer, {kind} {value}, 1")
            self.do(f"ret {self._result_type} {whole}")
        self.ended = True

    def leave_failed(self, status: str) -> None:
        if self._result_type == "i32":
            self.do(f"ret i32 {status}")
        else:
            whole = self.op(f"insertvalue {self._result_type} zeroinitializer, i32 {status}, 0")
            self.do(f"ret {self._result_type} {whole}")
        self.ended = True


def _plain(kind: hir.Type) -> hir.Type:
    """Without the subrange: initial values and arguments have been checked."""
    return hir.Elementary(kind.type) if isinstance(kind, hir.Elementary) else kind


def lower_pou(shared: Shared, pou: hir.Pou) -> list[Module]:
    """The module of the POU's function, then those of its parts."""
    module = Module(pou.key)
    function = Function(module, shared, pou)
    function.lower()
    return [module, *(function.divided.parts if function.divided else ())]


def lower_program(program: hir.Program, layout: BlockLayout) -> Lowered:
    """IR of the whole program."""
    effects = Effects(program)
    shared = Shared(program, layout, effects)
    used = _used(shared)
    modules = [
        module for key, pou in program.pous.items() if key in used for module in lower_pou(shared, pou)
    ]
    binding = Binding(shared, used)
    text, tasks = binding.build(modules)
    helpers = set().union(*(module.helpers for module in modules), binding.module.helpers)
    blocks = set().union(*(module.blocks for module in modules), binding.module.blocks)
    return Lowered(modules, text, tasks, helpers, blocks)


def _used(shared: Shared) -> set[str]:
    """POUs that need code: what the program instances reach; all of a library, which has none."""
    program = shared.program
    start = {one.pou for one in program.instances} or set(program.pous)
    for one in program.instances:
        start |= shared.effects.of_nodes([one.inputs, one.outputs]).calls
    reached = shared.effects.reachable(start)
    return {key for key in reached if not program.pous[key].builtin and _has_code(program.pous[key])}


def _has_code(pou: hir.Pou) -> bool:
    return not (pou.abstract and pou.kind == "method")


class Binding:
    """The module that ties the POUs to this program."""

    def __init__(self, shared: Shared, used: set[str]) -> None:
        self.shared = shared
        self.used = used
        self.program = shared.program
        self.numbers = shared.types.pou_indices
        self.module = Module("binding")

    def build(self, modules: list[Module]) -> tuple[str, tuple[TaskSpec, ...]]:
        tasks = tuple(self._task(name) for name in self._task_names())
        lines: list[str] = []
        declared = {symbol for module in [*modules, self.module] for symbol in module.declarations}
        tables = {symbol for symbol in declared if symbol.startswith(('@"d.', '@"q.'))}
        for table in sorted(tables):
            lines.append(self._table(table))
        for key, number in self.numbers.items():
            lines.append(_fault_place(key, number, self.program.pous[key].line))
        lines += [_fault_place("$tasks", -1, 0), _fault_function()]
        lines.append(f"@{quoted('k.limit')} = constant i64 {self.shared.layout.size - HEADER_SIZE}")
        lines.append(f"@{quoted('k.pous')} = constant i64 {len(self.numbers)}")
        defined = {symbol_of(key) for key in self.numbers} | tables
        for symbol in [one for one in self.module.declarations if one in tables or one in _OWN]:
            del self.module.declarations[symbol]
        self._declare_methods(lines, defined)
        return self.module.text(self.module.functions + lines), tasks

    def _declare_methods(self, lines: list[str], defined: set[str]) -> None:
        text = "\n".join(lines)
        for key in self.numbers:
            symbol = symbol_of(key)
            if f"ptr {symbol}" in text and symbol not in self.module.declarations:
                self.module.declare(symbol, signature(self.shared, key).declaration(symbol))

    # -- dispatch

    def _table(self, symbol: str) -> str:
        kind, name = symbol[2], symbol[4:-1]
        keys = list(self.numbers)
        if kind == "q":
            cells = ", ".join(f"i8 {int(self._fits(key, name))}" for key in keys)
            return f"{symbol} = constant [{len(keys) + 1} x i8] [i8 0, {cells}]"
        cells = ", ".join(f"ptr {self._implementation(key, name)}" for key in keys)
        return f"{symbol} = constant [{len(keys) + 1} x ptr] [ptr @abstract, {cells}]" + self._abstract()

    def _abstract(self) -> str:
        if "abstract" in self.module.declarations:
            return ""
        self.module.declare("abstract", "")
        arguments = f'ptr %ctx, i32 {int(Fault.ABSTRACT_CALL)}, i32 0, i64 0, ptr @"f.$tasks"'
        return (
            f"\ndefine internal i32 @abstract(ptr %base, ptr %ctx) {{\n"
            f"  %s = call i32 @fault({arguments})\n  ret i32 %s\n}}"
        )

    def _implementation(self, key: str, method: str) -> str:
        if method == BODY:
            is_block = self.program.pous[key].kind == "function_block"
            return symbol_of(key) if is_block and key in self.used else "@abstract"
        target = self.program.pous[key].methods.get(method)
        return symbol_of(target) if target in self.used else "@abstract"

    def _fits(self, key: str, name: str) -> bool:
        while key:
            pou = self.program.pous[key]
            if key == name or name in pou.interfaces:
                return True
            key = pou.base
        return False

    # -- tasks

    def _task_names(self) -> list[str]:
        names = [task.name for task in self.program.tasks]
        used = {placed.task for placed in self.shared.layout.instances}
        return names + ([BACKGROUND_TASK] if BACKGROUND_TASK in used and BACKGROUND_TASK not in names else [])

    def _task(self, name: str) -> TaskSpec:
        task = next((one for one in self.program.tasks if one.name == name), None)
        placed = [one for one in self.shared.layout.instances if one.task == name]
        entry = f"task.{name}"
        self._entry(entry, placed)
        keys = {one.instance.pou for one in placed}
        programs = tuple(one.instance.name for one in placed)
        if task is None:
            return TaskSpec(
                name,
                entry,
                "free",
                priority=BACKGROUND_PRIORITY,
                programs=programs,
                writes=self._writes(placed, keys),
            )
        return TaskSpec(
            name, entry, task.kind, task.period_ns, task.priority, self._event_path(task.event), programs,
            self._writes(placed, keys),
        )  # fmt: skip

    def _entry(self, entry: str, placed: list) -> None:  # type: ignore[type-arg]
        """``int32 entry(block, context)``: connections in, the program's body, connections out; for each program."""
        statements: list[hir.Statement] = []
        pou = hir.Pou("$tasks", "function", [], statements)
        function = _EntryFunction(self.module, self.shared, pou)
        for one in placed:
            variable = hir.Variable(one.instance.name, hir.Instance(one.instance.pou), hir.Storage.GLOBAL)
            self.shared.layout.offsets[id(variable)] = one.offset
            place = hir.VariablePlace(variable, variable.type)
            statements.append(
                hir.CallBlock(place, one.instance.pou, one.instance.inputs, one.instance.outputs)
            )
            function.keep.append(variable)
        function.entry = entry
        function.lower()

    def _event_path(self, event: hir.Expression | None) -> str:
        if isinstance(event, hir.Load) and isinstance(event.place, hir.VariablePlace):
            return event.place.variable.name
        return ""

    def _writes(self, placed: list, keys: set[str]) -> tuple[Region, ...]:  # type: ignore[type-arg]
        """Byte ranges of the shared part that a task may write, joined and sorted."""
        layout = self.shared.layout
        extra = self.shared.effects.of_nodes(
            [
                hir.Assign(place, hir.Constant(place.type, 0))
                for one in placed
                for _, place in one.instance.outputs
            ]
        )
        found = self.shared.effects.written_by(keys, extra)
        ranges = []
        for variable in found.values():
            if id(variable) in layout.offsets:
                bit = variable.location is not None and variable.location.bit >= 0
                size = 1 if bit else layout.types.size(variable.type)
                ranges.append((layout.offsets[id(variable)], size))
        return _joined(ranges)


class _EntryFunction(Function):
    """A task entry is lowered like a function without parameters, under its own name."""

    entry = ""

    def __init__(self, module: Module, shared: Shared, pou: hir.Pou) -> None:
        super().__init__(module, shared, pou)
        self.keep: list[hir.Variable] = []  # offsets are kept by identity: the variables must live on

    def lower(self) -> None:
        self._result_type, self._recursive = "i32", False
        self._outputs, self._result_pointer = [], ""
        self.do(f"store i32 0, ptr {self.at('%ctx', context_offset('depth'))}, align 4")
        self.body(self.pou.body)
        self.start_detached("leave")
        self._leave()
        self.write_failures()
        head = f"define i32 @{quoted(self.entry)}(ptr %base, ptr noalias %ctx) nounwind {{"
        self.module.functions.append("\n".join([head, "entry:", *self.slots, *self.lines, "}"]))


def _joined(ranges: list[tuple[int, int]]) -> tuple[Region, ...]:
    joined: list[Region] = []
    for offset, size in sorted(ranges):
        if joined and offset <= joined[-1].offset + joined[-1].size:
            last = joined.pop()
            end = max(last.offset + last.size, offset + size)
            joined.append(Region(last.offset, end - last.offset))
        else:
            joined.append(Region(offset, size))
    return tuple(joined)


def _fault_function() -> str:
    """Records the first fault of a scan: code, POU, line, detail. ``where``: the POU's number and its first line."""
    fields = {
        name: context_offset(name) for name in ("fault_code", "fault_pou", "fault_line", "fault_detail")
    }
    return f"""
define i32 @fault(ptr %ctx, i32 %code, i32 %line, i64 %detail, ptr %where) cold noinline {{
  %number = load i32, ptr %where
  %second = getelementptr i8, ptr %where, i64 4
  %first = load i32, ptr %second
  %c = getelementptr i8, ptr %ctx, i64 {fields["fault_code"]}
  store i32 %code, ptr %c
  %p = getelementptr i8, ptr %ctx, i64 {fields["fault_pou"]}
  store i32 %number, ptr %p
  %l = getelementptr i8, ptr %ctx, i64 {fields["fault_line"]}
  %n = add i32 %line, %first
  store i32 %n, ptr %l
  %d = getelementptr i8, ptr %ctx, i64 {fields["fault_detail"]}
  store i64 %detail, ptr %d
  ret i32 %code
}}"""


def _fault_place(key: str, number: int, first_line: int) -> str:
    return f"@{quoted(f'f.{key}')} = constant {{ i32, i32 }} {{ i32 {number}, i32 {first_line} }}"


def instruction_count(module: Module) -> int:
    return sum(text.count("\n") for text in module.functions)


def inlinable(lowered: Lowered) -> dict[str, Module]:
    """POUs whose code callers may copy: small ones that are not divided."""
    divided = {module.name.partition("/")[0] for module in lowered.modules if "/" in module.name}
    return {
        module.name: module
        for module in lowered.modules
        if module.name.partition("/")[0] not in divided
        and instruction_count(module) <= INLINE_INSTRUCTIONS_MAX
    }


_DEFINE = re.compile(r"^define ", re.MULTILINE)


def as_available(function: str) -> str:
    """A definition that the optimiser may inline but that yields no code."""
    return _DEFINE.sub("define available_externally ", function, count=1)
