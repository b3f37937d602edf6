"""Headers and bodies of the units: variables, bases and interfaces, then statements."""

from __future__ import annotations

import itertools

from programs import ast, hir, types
from programs.check_construct import Constructors
from programs.check_context import Context, Scope
from programs.check_declarations import Declarations
from programs.check_initial import Initials
from programs.check_meanings import PlaceMeaning
from programs.check_overloads import align_methods
from programs.check_statements import Body
from programs.check_types import TypeResolver
from programs.symbols import InterfaceSymbol, PouSymbol, State, VariableSymbol


class Units:
    """Works out every unit that has been declared."""

    def __init__(self, context: Context, resolver: TypeResolver, initials: Initials) -> None:
        self.context = context
        self.resolver = resolver
        self.initials = initials
        self.constructors = Constructors(context, resolver)

    # -- headers

    def headers(self) -> None:
        """Bases, interfaces, and the types of all variables."""
        symbols = list(self.context.pous.values())
        for symbol in symbols:
            # A bound may be a constant that is declared further down, or in another unit.
            self.initials.symbols.update((member.variable, member) for member in symbol.members.values())
        for interface in self.context.interfaces.values():
            self._interface_bases(interface)
        for symbol in symbols:
            self._bases(symbol)
        align_methods(self.context)
        for interface in self.context.interfaces.values():
            for method in interface.methods.values():
                self._header(method)
        for symbol in symbols:
            self._header(symbol)

    def _header(self, symbol: PouSymbol) -> None:
        if symbol.node is None:
            return
        for member in symbol.members.values():
            self.resolver.variable(member)
            self.initials.symbols[member.variable] = member
            self._located(member)
            self._instantiable(member)
        if self._keeps_temporaries(symbol):
            for member in symbol.members.values():
                if member.section == "VAR_TEMP" and member.variable.storage is hir.Storage.LOCAL:
                    member.variable.storage = hir.Storage.INSTANCE

    @staticmethod
    def _keeps_temporaries(symbol: PouSymbol) -> bool:
        """Actions see the VAR_TEMP of their owner, so these live in the instance and are reset at each call."""
        body = symbol.node.body if isinstance(symbol.node, ast.Pou) else None
        return bool(symbol.actions) or isinstance(body, ast.SfcBody)

    def _located(self, member: VariableSymbol) -> None:
        node = member.node
        if node is None or node.location is None or member.variable.location is not None:
            return
        if node.location.size == "*":
            self.context.incomplete[member.variable] = member
            member.variable.storage = hir.Storage.INSTANCE
            return
        member.variable.location = self.context.location(node.location, member.variable.type)

    def _instantiable(self, member: VariableSymbol) -> None:
        """Abstract blocks have no instances of their own; functions keep no instances."""
        kind = member.variable.type
        while isinstance(kind, hir.Array):
            kind = kind.element
        if not isinstance(kind, hir.Instance) or member.node is None or member.section == "VAR_IN_OUT":
            return
        pou = self.context.pous.get(kind.pou)
        if pou is not None and pou.abstract and member.section != "VAR_EXTERNAL":
            self.context.error(
                "ST4012",
                member.node,
                f"{pou.name} is abstract",
                expected="a block that is not abstract",
                found=pou.name,
                remedy="declare an instance of a block that extends it, or a reference",
            )

    # -- inheritance

    def _interface_bases(self, symbol: InterfaceSymbol) -> None:
        for name in symbol.node.extends:
            text = ".".join(part.name for part in self.context.path(name))
            if self.context.loose and text.upper() == "__SYSTEM.IQUERYINTERFACE":
                continue  # CODESYS asks for it where __QUERYINTERFACE is used; here every interface can be asked
            found = self.resolver.find_type(text, Scope(symbol.scope))
            if isinstance(found, InterfaceSymbol) and symbol not in found.all():
                symbol.bases.append(found)
            elif isinstance(found, InterfaceSymbol):
                self._circular(name, text)
            else:
                self._no_base(name, text, "an interface", Scope(symbol.scope))

    def _circular(self, where: ast.Node, name: str) -> None:
        self.context.error(
            "ST4015",
            where,
            f"{name} extends itself",
            expected="a base that does not depend on this declaration",
            found=name,
            remedy="remove one EXTENDS of the circle",
        )

    def _no_base(self, where: ast.Node, name: str, expected: str, scope: Scope) -> None:
        found = self.resolver.find_type(name, scope)
        if found is None:
            self.context.unknown_name(where, name, self.resolver.type_names(scope), what="type")
            return
        self.context.error(
            "ST4015",
            where,
            f"{self.context.describe(found)} and cannot stand here",
            expected=expected,
            found=name,
            remedy="EXTENDS takes a block or class, IMPLEMENTS takes interfaces",
        )

    def _bases(self, symbol: PouSymbol) -> None:
        if symbol.base_state is not State.NEW or not isinstance(symbol.node, ast.Pou):
            return
        symbol.base_state = State.BUSY
        node = symbol.node
        scope = Scope(symbol.scope)
        for name in node.extends[:1]:
            text = ".".join(part.name for part in self.context.path(name))
            found = self.resolver.find_type(text, scope)
            if isinstance(found, PouSymbol) and found.kind in ("function_block", "class"):
                self._bases(found)
                if found.base_state is State.BUSY:
                    self._circular(name, text)
                else:
                    self._extend(symbol, found, name)
            else:
                self._no_base(name, text, "a function block or class", scope)
        for name in node.implements:
            text = ".".join(part.name for part in self.context.path(name))
            implemented = self.resolver.find_type(text, scope)
            if isinstance(implemented, InterfaceSymbol):
                symbol.interfaces.append(implemented)
            else:
                self._no_base(name, text, "an interface", scope)
        symbol.base_state = State.DONE

    def _extend(self, symbol: PouSymbol, base: PouSymbol, where: ast.Node) -> None:
        if base.final:
            self.context.error(
                "ST4015",
                where,
                f"{base.name} is FINAL",
                expected="a base that may be extended",
                found=base.name,
                remedy="use an instance of it as a member instead",
            )
        symbol.base = base
        symbol.pou.base = base.key

    # -- the tree's declarations

    def finish(self) -> None:
        """Initial values, and what the tree knows of methods, bases and interfaces."""
        for symbol in list(self.context.pous.values()):
            if symbol.node is None:
                continue
            for member in list(symbol.members.values()):
                self.initials.variable(member)
            if symbol.kind in ("function_block", "class", "program"):
                self._complete_block(symbol)

    def _complete_block(self, symbol: PouSymbol) -> None:
        pou = symbol.pou
        interfaces: list[str] = []
        current: PouSymbol | None = symbol
        while current is not None:
            for name, method in current.methods.items():
                pou.methods.setdefault(name, method.key)
            interfaces += [i.key for own in current.interfaces for i in own.all() if i.key not in interfaces]
            current = current.base
        pou.interfaces = tuple(interfaces)

    # -- bodies

    def bodies(self) -> None:
        done: set[str] = set()
        while len(done) < len(self.context.pous):  # a call of a generic function adds an instance of it
            for key, symbol in list(self.context.pous.items()):
                if key not in done and symbol.node is not None and symbol.node.body is not None:
                    self.body(symbol)
                done.add(key)

    def instantiate(self, generic: PouSymbol, key: str, arguments: dict[str, hir.Type]) -> PouSymbol:
        """The instance of a generic function for some types; its body follows with the others."""
        known = self.context.pous.get(key)
        if known is not None:
            return known
        symbol = Declarations(self.context).instance(generic, key, arguments)
        self._header(symbol)
        for member in list(symbol.members.values()):
            self.initials.variable(member)
        return symbol

    def body(self, symbol: PouSymbol) -> None:
        """Check the body of a unit and put its tree into place."""
        assert symbol.node is not None
        context = self.context.in_dialect_of(symbol.pou.file)
        resolver = self.resolver if context is self.context else TypeResolver(context)
        checker = Body(context, resolver, Scope(symbol.scope, symbol))
        self.context.calls.setdefault(symbol.key, set())
        prologue = checker.statements_of(lambda: self._prologue(checker, symbol))
        written = symbol.node.body
        statements: list[hir.Statement] = []
        if isinstance(written, ast.StatementBody):
            statements = checker.body(written.statements)
        elif isinstance(written, ast.SfcBody):
            from programs.sfc_lower import lower_chart

            statements = lower_chart(checker, written)
        elif isinstance(written, ast.IlBody):
            from programs.il_lower import lower_list

            statements = lower_list(checker, written)
        symbol.pou.body = [*prologue, *statements]

    def _prologue(self, checker: Body, symbol: PouSymbol) -> None:
        """What happens at each call before the body: VAR_TEMP that live in the instance, late initial values."""
        once: list[VariableSymbol] = []
        for member in list(symbol.members.values()):
            variable = member.variable
            node = self.context.late_initials.get(variable)
            if node is not None and variable.storage is hir.Storage.INSTANCE and member.section != "VAR_TEMP":
                once.append(member)
            elif node is not None:
                self._assign_initial(checker, member, node)
            elif member.section == "VAR_TEMP" and variable.storage is hir.Storage.INSTANCE:
                self._reset(checker, member)
            if variable.edge and member.node is not None:
                self._edge(checker, member)
        construct: list[hir.Statement] = []
        if _is_root(symbol):
            line = symbol.pou.line
            construct = [*self.constructors.globals_call(line), *self.constructors.call(symbol, line)]
        if once or construct:
            self._assign_once(checker, symbol, once, construct)

    def _assign_initial(self, checker: Body, member: VariableSymbol, node: ast.Expression) -> None:
        kind = member.variable.type
        if isinstance(node, ast.ArrayInitial) and isinstance(kind, hir.Array):
            self._assign_elements(checker, member.variable, node, kind)
            return
        value = checker.expression(node, member.variable.type)
        place = hir.VariablePlace(member.variable, member.variable.type, member.variable.line)
        expr = checker.convert(value, member.variable.type, node)
        if not value.unknown:
            checker.output.append(hir.Assign(place, expr, member.variable.line))

    def _assign_elements(
        self, checker: Body, variable: hir.Variable, node: ast.ArrayInitial, kind: hir.Array
    ) -> None:
        """References and interfaces in an array, one after the other; the last index runs fastest."""
        given = [value for element in node.elements for value in element.values]
        if any(element.count is not None for element in node.elements) or any(
            isinstance(value, ast.ArrayInitial) for value in given
        ):
            checker.error(
                "ST3016", node, "the references of an array are listed one by one",
                expected="[a, b, c]", found="a repetition or an inner list", remedy="write each value",
            )  # fmt: skip
            return
        line = variable.line
        places = itertools.product(*(range(low, high + 1) for low, high in kind.dims))
        for value, indices in zip(given, places, strict=False):
            constants: list[hir.Expression] = [hir.Constant(types.LINT, index, line) for index in indices]
            place = hir.IndexPlace(hir.VariablePlace(variable, kind, line), constants, kind.element, line)
            found = checker.expression(value, kind.element)
            expr = checker.convert(found, kind.element, value)
            if not found.unknown:
                checker.output.append(hir.Assign(place, expr, line))

    def _assign_once(
        self, checker: Body, symbol: PouSymbol, members: list[VariableSymbol], construct: list[hir.Statement]
    ) -> None:
        ready = hir.Variable("_ready", types.BOOL, hir.Storage.INSTANCE, attributes={"access": "none"})
        symbol.pou.variables.append(ready)
        line = symbol.pou.line
        place = hir.VariablePlace(ready, types.BOOL, line)

        def assign() -> None:
            for member in members:
                self._assign_initial(checker, member, self.context.late_initials[member.variable])
            checker.output.append(hir.Assign(place, hir.Constant(types.BOOL, 1, line), line))
            checker.output += construct

        condition = hir.Unary("not", hir.Load(place, types.BOOL, line), types.BOOL, line)
        checker.output.append(hir.If([(condition, checker.statements_of(assign))], line))

    def _reset(self, checker: Body, member: VariableSymbol) -> None:
        """A VAR_TEMP in the instance starts each call with its initial value."""
        variable = member.variable
        line = variable.line
        fresh = hir.Variable(
            f"_{variable.name}", variable.type, hir.Storage.LOCAL, attributes={"access": "none"}
        )
        fresh.init = variable.init
        if checker.pou is not None and not isinstance(variable.type, hir.Instance):
            checker.pou.pou.variables.append(fresh)
            value = hir.Load(
                hir.VariablePlace(fresh, variable.type, line), types.stripped(variable.type), line
            )
            checker.output.append(hir.Assign(hir.VariablePlace(variable, variable.type, line), value, line))

    def _edge(self, checker: Body, member: VariableSymbol) -> None:
        """R_EDGE / F_EDGE: the body sees TRUE in the call in which the input rises or falls (6.6.1.2.2, table 11)."""
        variable = member.variable
        pou = checker.pou
        if pou is None or not types.is_bool(variable.type):
            return
        memory, seen = (
            hir.Variable(
                f"_{variable.name}_{part}", types.BOOL, hir.Storage.INSTANCE, attributes={"access": "none"}
            )
            for part in ("memory", "edge")
        )
        if variable.edge == "F_EDGE":
            memory.init = hir.Initial(0)
        pou.pou.variables += [memory, seen]
        line = variable.line
        given = PlaceMeaning(hir.VariablePlace(variable, types.BOOL, line), types.BOOL, variable)
        level, before = (
            hir.Load(hir.VariablePlace(v, types.BOOL, line), types.BOOL, line) for v in (variable, memory)
        )
        now: hir.Expression = level
        if variable.edge == "R_EDGE":
            before_not: hir.Expression = hir.Unary("not", before, types.BOOL, line)
        else:
            now, before_not = hir.Unary("not", level, types.BOOL, line), before
        edge = hir.Logical("and", now, before_not, types.BOOL, line)
        checker.output.append(hir.Assign(hir.VariablePlace(seen, types.BOOL, line), edge, line))
        checker.output.append(hir.Assign(hir.VariablePlace(memory, types.BOOL, line), level, line))
        self.context.edges[variable] = seen
        checker.mark_read(given.root)


def _is_root(symbol: PouSymbol) -> bool:
    """A program, or a test: what constructs the instances in it."""
    return symbol.kind == "program" or symbol.test is not None
