"""CONFIGURATION: tasks, program instances and their connections."""

from __future__ import annotations

from collections.abc import Sequence

from programs import ast, hir, types
from programs.check_context import Context, Scope
from programs.check_initial import Initials
from programs.check_meanings import PlaceMeaning
from programs.check_statements import Body
from programs.check_types import TypeResolver
from programs.diagnostics import closest
from programs.symbols import PouSymbol, VariableSymbol

DEFAULT_TASK = "main"
TASK_SUFFIX = "_task"  # of what a task runs for a program whose memory is shared
DEFAULT_PERIOD_NS = 10_000_000
PERIOD_MIN_NS = 10_000  # below this no operating system wakes a thread in time
PERIOD_MAX_NS = 24 * 3_600 * 1_000_000_000
PRIORITY_MAX = 65_535
PRIORITY_DEFAULT = 1


class Configurations:
    """Turns configurations into tasks and instances of programs."""

    def __init__(self, context: Context, resolver: TypeResolver, initials: Initials) -> None:
        self.context = context
        self.resolver = resolver
        self.initials = initials
        self.tasks: list[hir.Task] = []
        self.instances: list[hir.ProgramInstance] = []
        self.scope = Scope(context.root)

    def work_out(self) -> None:
        for configuration in self.context.configurations:
            for resource in configuration.resources:
                self._resource(resource, prefix=self._prefix(configuration, resource))
        if not self.context.configurations:
            self._default()
        self.instances = [self._shared(instance) for instance in self.instances]

    def _shared(self, instance: hir.ProgramInstance) -> hir.ProgramInstance:
        """CODESYS: a program that others use by its name has one memory; its task calls that."""
        variable = self.context.programs.get(instance.pou)
        if variable is None:
            return instance
        unit = self.context.pous[instance.pou]
        place = hir.VariablePlace(variable, variable.type, unit.pou.line)
        call = hir.CallBlock(place, unit.key, instance.inputs, instance.outputs, line=unit.pou.line)
        key = f"{unit.key}.{TASK_SUFFIX}"
        pou = hir.Pou(key, "program", [], [call], file=unit.pou.file, line=unit.pou.line)
        pou.end_line = unit.pou.end_line
        self.context.pous[key] = PouSymbol(key, "program", unit.scope, pou, None)
        self.context.calls[key] = {unit.key}
        return hir.ProgramInstance(f"{instance.name}.{TASK_SUFFIX}", key, instance.task)

    def _prefix(self, configuration: ast.Configuration, resource: ast.Resource) -> str:
        """Instances are named by the resource where there are several."""
        several = len(configuration.resources) > 1 or len(self.context.configurations) > 1
        return f"{resource.name.name}." if several and resource.name is not None else ""

    def _default(self) -> None:
        """Without a configuration every program runs in one cyclic task."""
        called = {key for keys in self.context.calls.values() for key in keys}
        programs = [
            symbol
            for symbol in self.context.pous.values()
            if symbol.kind == "program"
            and symbol.node is not None
            and symbol.key not in called
            and symbol.pou.file not in self.context.libraries
        ]
        if not programs:
            return
        self.tasks.append(hir.Task(DEFAULT_TASK, "cyclic", DEFAULT_PERIOD_NS, PRIORITY_DEFAULT))
        for symbol in programs:
            assert isinstance(symbol.node, ast.Pou)
            self.instances.append(hir.ProgramInstance(symbol.name, symbol.key, DEFAULT_TASK))
        if not self.context.in_dialect_of(programs[0].pou.file).loose:
            assert isinstance(programs[0].node, ast.Pou)
            self.context.warn(
                "ST4107",
                programs[0].node.name,
                f"there is no CONFIGURATION: each program runs every {DEFAULT_PERIOD_NS // 1_000_000} ms",
                remedy="declare a CONFIGURATION with a TASK to choose the interval",
            )

    # -- tasks

    def _resource(self, node: ast.Resource, prefix: str) -> None:
        names: dict[str, str] = {}
        for task in node.tasks:
            made = self._task(task, prefix)
            if task.name.name.upper() in names or any(t.name == made.name for t in self.tasks):
                self.context.duplicate(task.name, task.name.name, None)
                continue
            names[task.name.name.upper()] = made.name
            self.tasks.append(made)
        for program in node.programs:
            self._program(program, prefix, names)

    def _task(self, node: ast.Task, prefix: str) -> hir.Task:
        name = prefix + node.name.name
        line = self.context.line(node)
        priority = PRIORITY_DEFAULT
        if node.priority is not None:
            given = self.context.integer(node.priority, self.scope)
            priority = given if given is not None else priority
            if not 0 <= priority <= PRIORITY_MAX:
                self._bad(
                    node.priority, f"the priority {priority}", f"0 (highest) to {PRIORITY_MAX}", str(priority)
                )
        period = self._period(node)
        if node.single is not None:
            body = self._body()
            event = body.boolean(node.single, what="SINGLE")
            return hir.Task(name, "event", period or 0, priority, event, line)
        if node.interval is None:
            self._bad(node.name, f"the task {name} never runs", "INTERVAL or SINGLE", "neither")
        return hir.Task(name, "cyclic", period or DEFAULT_PERIOD_NS, priority, line=line)

    def _period(self, node: ast.Task) -> int | None:
        if node.interval is None:
            return None
        body = self._body()
        expr = body.convert(
            body.expression(node.interval, types.TIME), types.TIME, node.interval, what="INTERVAL"
        )
        if isinstance(expr, hir.Constant) and isinstance(expr.value, int) and expr.type == types.TIME:
            if PERIOD_MIN_NS <= expr.value <= PERIOD_MAX_NS:
                return expr.value
            if not (expr.value == 0 and node.single is not None):
                self._bad(node.interval, "the interval cannot be kept", "10 µs to 24 h", f"{expr.value} ns")
        elif expr.type == types.TIME:
            self._bad(
                node.interval, "the interval is not constant", "a TIME literal or constant", "a variable"
            )
        return None

    def _bad(self, where: ast.Node, message: str, expected: str, found: str) -> None:
        self.context.error(
            "ST4019",
            where,
            message,
            expected=expected,
            found=found,
            remedy="correct the declaration of the task",
        )

    def _body(self) -> Body:
        body = Body(self.context, self.resolver, self.scope)
        body.constant_only = True
        return body

    # -- programs

    def _program(self, node: ast.ProgramConfiguration, prefix: str, tasks: dict[str, str]) -> None:
        symbol = self.resolver.find_type(node.type.name, self.scope)
        if symbol is not None and not (isinstance(symbol, PouSymbol) and symbol.kind == "program"):
            self.context.error(
                "ST4020",
                node.type,
                f"{self.context.describe(symbol)}, not a program",
                expected="the name of a PROGRAM",
                found=node.type.name,
                remedy="name a program here",
            )
            return
        if symbol is None:
            known = [s.name for s in self.context.pous.values() if s.kind == "program"]
            self.context.unknown_name(node.type, node.type.name, known, what="type")
            return
        assert isinstance(symbol, PouSymbol)
        instance = hir.ProgramInstance(prefix + node.name.name, symbol.key, self._task_name(node, tasks))
        if any(other.name.upper() == instance.name.upper() for other in self.instances):
            self.context.duplicate(node.name, node.name.name, None)
            return
        self._connections(node, symbol, instance)
        self._block_tasks(node)
        self.instances.append(instance)

    def _task_name(self, node: ast.ProgramConfiguration, tasks: dict[str, str]) -> str:
        if node.task is None:
            return ""
        found = tasks.get(node.task.name.upper())
        if found is None:
            meant = closest(node.task.name, tasks.values())
            self.context.error(
                "ST4019",
                node.task,
                f"there is no task {node.task.name} in this resource",
                expected=", ".join(tasks.values()) or "a TASK declaration",
                found=node.task.name,
                remedy=f"did you mean {meant}?" if meant else "declare the task before the program",
            )
        return found or ""

    def _block_tasks(self, node: ast.ProgramConfiguration) -> None:
        for block, _ in node.block_tasks:
            self.context.error(
                "ST4020",
                block,
                "a block runs in the task of its program",
                expected="WITH behind the program's name",
                found="WITH behind a block",
                remedy="put the block into a program of its own and give that program the task",
            )

    def _connections(
        self, node: ast.ProgramConfiguration, symbol: PouSymbol, instance: hir.ProgramInstance
    ) -> None:
        body = Body(self.context, self.resolver, self.scope)
        for argument in node.arguments:
            if argument.name is None or argument.value is None:
                continue
            member = symbol.members.get(argument.name.name.upper())
            wanted = "output" if argument.output else "input"
            if member is None or (
                member.variable.direction != wanted and not self._initial(member, argument)
            ):
                known = [m.name for m in symbol.members.values() if m.variable.direction == wanted]
                meant = closest(argument.name.name, known)
                self.context.error(
                    "ST4001",
                    argument.name,
                    f"{symbol.name} has no {wanted} {argument.name.name}",
                    expected=", ".join(known) or f"no {wanted}s",
                    found=argument.name.name,
                    remedy=f"did you mean {meant}?" if meant else "use one of its inputs or outputs",
                )
            elif argument.output:
                self._connect_output(body, member, argument, instance)
            else:
                value = body.expression(argument.value, member.variable.type)
                expr = body.convert(value, member.variable.type, argument.value)
                if not value.unknown:
                    instance.inputs.append((member.variable, expr))

    @staticmethod
    def _initial(member: VariableSymbol, argument: ast.Argument) -> bool:
        return not argument.output and member.variable.direction == ""

    def _connect_output(
        self, body: Body, member: VariableSymbol, argument: ast.Argument, instance: hir.ProgramInstance
    ) -> None:
        assert argument.value is not None
        found = body.meaning(argument.value)
        if not isinstance(found, PlaceMeaning):
            return
        body.mark_written(found.root, argument)
        if found.readonly or types.stripped(found.type) != types.stripped(member.variable.type):
            self.context.error(
                "ST3006",
                argument.value,
                f"the output {member.name} cannot be connected to this",
                expected=f"a variable of type {types.type_name(member.variable.type)}",
                found=found.readonly or types.type_name(found.type),
                remedy="connect a global variable of the same type",
            )
            return
        instance.outputs.append((member.variable, found.place))

    def names(self) -> Sequence[str]:
        return [task.name for task in self.tasks]
