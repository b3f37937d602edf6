"""VAR_CONFIG and VAR_ACCESS: what a configuration says about variables deep inside of program instances.

Theory. A variable ``AT %Q*`` belongs to one instance of a block, but code is shared by all instances. It is
therefore an ordinary member, and the program that contains the instance copies it from the process image before its
body runs, or to the image after it. So that RETURN does not pass the copies by, the body moves to an action of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from programs import ast, hir, types
from programs.check_context import Context, Scope
from programs.check_types import TypeResolver
from programs.diagnostics import closest
from programs.symbols import PouSymbol, VariableSymbol

BODY_SUFFIX = "_body"


@dataclass(slots=True)
class _Copies:
    before: list[hir.Statement] = field(default_factory=list)
    after: list[hir.Statement] = field(default_factory=list)


@dataclass(slots=True)
class _Found:
    """A variable at the end of a path; ``place`` is relative to its program instance."""

    symbol: VariableSymbol
    place: hir.Place
    instance: hir.ProgramInstance | None
    names: list[str]


class AccessPaths:
    """Works out both sections, when the program instances are known."""

    def __init__(
        self, context: Context, resolver: TypeResolver, instances: list[hir.ProgramInstance]
    ) -> None:
        self.context = context
        self.resolver = resolver
        self.instances = instances
        self.copies: dict[str, _Copies] = {}
        self.configured: set[hir.Variable] = set()

    def work_out(self, sections: list[ast.VariableSection]) -> None:
        for section in sections:
            for node in section.variables:
                if section.kind == "VAR_CONFIG":
                    self._configure(node)
                elif section.kind == "VAR_ACCESS":
                    self._access(node)
        for key, copies in self.copies.items():
            self._wrap(self.context.pous[key], copies)
        self._incomplete()

    # -- paths

    def _path(self, node: ast.Variable) -> _Found | None:
        path = node.path if node.path is not None else node.name
        names = self._parts(path)
        if not names:
            self._no_path(path, "this path cannot be followed", [])
            return None
        resources = {r.name.name.upper() for c in self.context.configurations for r in c.resources if r.name}
        resources |= {c.name.name.upper() for c in self.context.configurations}
        while len(names) > 1 and isinstance(names[0], ast.Name) and names[0].name.upper() in resources:
            names = names[1:]
        return self._follow(names)

    def _parts(self, path: ast.Expression) -> list[ast.Name | ast.Index]:
        """The parts of a path: names, and indices behind a name."""
        parts: list[ast.Name | ast.Index] = []
        node = path
        while isinstance(node, ast.Member | ast.Index):
            parts.append(node if isinstance(node, ast.Index) else node.name)
            node = node.base
        return [node, *reversed(parts)] if isinstance(node, ast.Name) else []

    def _follow(self, names: list[ast.Name | ast.Index]) -> _Found | None:
        head = names[0]
        if not isinstance(head, ast.Name):
            self._no_path(head, "a path starts with a name", [])
            return None
        first = head.name.upper()
        instance = next((i for i in self.instances if i.name.upper().rpartition(".")[2] == first), None)
        if instance is not None and len(names) > 1:
            return self._in_program(instance, names[1:])
        symbol = self.context.root.variables.get(first)
        if isinstance(symbol, VariableSymbol):
            kind = self.resolver.variable(symbol)
            start = _Found(symbol, hir.VariablePlace(symbol.variable, kind), None, [])
            return self._deeper(start, names[1:])
        known = [i.name for i in self.instances] + [s.name for s in self.context.globals]
        self._no_path(head, f"there is no instance or global variable {head.name}", known)
        return None

    def _in_program(self, instance: hir.ProgramInstance, names: list[ast.Name | ast.Index]) -> _Found | None:
        unit = self.context.pous[instance.pou]
        head = names[0]
        symbol = unit.member(head.name.upper()) if isinstance(head, ast.Name) else None
        if symbol is None:
            self._no_path(head, f"{unit.name} has no such variable", unit.member_names())
            return None
        kind = self.resolver.variable(symbol)
        place = hir.VariablePlace(symbol.variable, kind, unit.pou.line)
        return self._deeper(_Found(symbol, place, instance, [symbol.name]), names[1:])

    def _deeper(self, found: _Found, names: list[ast.Name | ast.Index]) -> _Found | None:
        for name in names:
            kind = found.place.type
            if isinstance(name, ast.Index):
                element = self._element(found, name)
                if element is None:
                    return None
                found = element
                continue
            unit = self.context.pous.get(kind.pou) if isinstance(kind, hir.Instance) else None
            symbol = unit.member(name.name.upper()) if unit is not None else None
            if symbol is None:
                known = unit.member_names() if unit is not None else []
                self._no_path(name, f"{types.type_name(kind)} has no member {name.name}", known)
                return None
            member = self.resolver.variable(symbol)
            place = hir.MemberPlace(found.place, symbol.variable.name.lower(), member, found.place.line)
            found = _Found(symbol, place, found.instance, [*found.names, symbol.name])
        return found

    def _element(self, found: _Found, node: ast.Index) -> _Found | None:
        """An element of an array of instances, by constant indices."""
        kind = found.place.type
        values = [self.context.integer(index, Scope(self.context.root)) for index in node.indices]
        numbers = [value for value in values if value is not None]
        fits = isinstance(kind, hir.Array) and len(numbers) == len(kind.dims)
        if not fits or not isinstance(kind, hir.Array):
            self._no_path(node, "this is no element of an array", [])
            return None
        if not all(low <= number <= high for number, (low, high) in zip(numbers, kind.dims, strict=True)):
            self._no_path(node, "the index is outside the array", [])
            return None
        line = found.place.line
        indices: list[hir.Expression] = [hir.Constant(types.LINT, number, line) for number in numbers]
        place = hir.IndexPlace(found.place, indices, kind.element, line)
        return _Found(found.symbol, place, found.instance, [*found.names, ""])

    def _no_path(self, where: ast.Node, message: str, known: list[str]) -> None:
        meant = closest(getattr(where, "name", ""), known) if isinstance(where, ast.Name) else ""
        self.context.error(
            "ST3001",
            where,
            message,
            expected="the path of a variable: resource.program.block.variable",
            found="another path",
            remedy=f"did you mean {meant}?" if meant else "correct the path",
        )

    # -- VAR_CONFIG

    def _configure(self, node: ast.Variable) -> None:
        found = self._path(node)
        if found is None:
            return
        variable = found.symbol.variable
        scope = Scope(self.context.root)
        if node.type is not None:
            given = self.resolver.resolve(node.type, scope, node.name.name).type
            if not types.same_layout(given, variable.type):
                self._other_type(node, given, variable.type)
                return
        if node.initial is not None:
            self._initial(found, node.initial, scope)
        if node.location is not None:
            self._locate(found, node.location)

    def _other_type(self, node: ast.Variable, given: hir.Type, declared: hir.Type) -> None:
        self.context.error(
            "ST3018",
            node,
            "the type differs from the variable's declaration",
            expected=types.type_name(declared),
            found=types.type_name(given),
            remedy="write the type of the declaration",
        )

    def _initial(self, found: _Found, node: ast.Expression, scope: Scope) -> None:
        value = self.context.initial(node, found.symbol.variable.type, scope)
        if value is None:
            return
        if "" in found.names:
            self._no_path(node, "an initial value for an element of an array stands in its declaration", [])
            return
        if found.instance is None:
            found.symbol.variable.init = value
            return
        if found.instance.init is None:
            found.instance.init = hir.Initial({})
        level = found.instance.init
        for name in found.names[:-1]:
            assert isinstance(level.value, dict)
            level = level.value.setdefault(name.lower(), hir.Initial({}))
        assert isinstance(level.value, dict)
        level.value[found.names[-1].lower()] = value

    def _locate(self, found: _Found, node: ast.DirectVariable) -> None:
        variable = found.symbol.variable
        if variable not in self.context.incomplete:
            self.context.error(
                "ST3017",
                node,
                f"{found.symbol.name} is not declared with an open address",
                expected="AT %I*, %Q* or %M* in the declaration",
                found="another declaration",
                remedy="write AT %Q* behind the variable's name",
            )
            return
        location = self.context.location(node, variable.type)
        if location is None:
            return
        self.configured.add(variable)
        if found.instance is None:
            variable.location = location
            return
        others = [i for i in self.instances if i.pou == found.instance.pou and i is not found.instance]
        if others:
            self.context.error(
                "ST4020",
                node,
                "an address in a program that has several instances cannot be told apart",
                expected="one instance of the program",
                found=", ".join(i.name for i in (found.instance, *others)),
                remedy="connect inputs and outputs of the programs instead: PROGRAM p WITH t : P (in := %IX0.0)",
            )
            return
        self._copy(found, location, variable)

    def _copy(self, found: _Found, location: hir.Location, variable: hir.Variable) -> None:
        assert found.instance is not None
        key = location.text.upper()
        image = self.context.direct.get(key)
        if image is None:
            image = hir.Variable(location.text, variable.type, hir.Storage.LOCATED, location=location)
            image.file, image.line = variable.file, variable.line
            self.context.direct[key] = image
        line = found.place.line
        place = hir.VariablePlace(image, variable.type, line)
        kind = types.stripped(variable.type)
        copies = self.copies.setdefault(found.instance.pou, _Copies())
        if location.area in "IM":
            copies.before.append(hir.Assign(found.place, hir.Load(place, kind, line), line))
        if location.area in "QM":
            copies.after.append(hir.Assign(place, hir.Load(found.place, kind, line), line))

    def _wrap(self, program: PouSymbol, copies: _Copies) -> None:
        """The body as an action between the copies."""
        pou = program.pou
        inner = hir.Pou(
            f"{program.key}.{BODY_SUFFIX}",
            "action",
            [v for v in pou.variables if v.storage is hir.Storage.LOCAL],
            pou.body,
            owner=program.key,
            file=pou.file,
            line=pou.line,
            end_line=pou.end_line,
        )
        pou.variables = [v for v in pou.variables if v.storage is not hir.Storage.LOCAL]
        this = hir.ThisPlace(hir.Instance(program.key), pou.line)
        call = hir.Call(inner.key, [], None, receiver=this, method=BODY_SUFFIX.upper(), line=pou.line)
        pou.body = [*copies.before, hir.CallStatement(call, pou.line), *copies.after]
        self.context.pous[inner.key] = PouSymbol(
            inner.key, "action", program.scope, inner, None, owner=program
        )
        self.context.calls[inner.key] = self.context.calls.get(program.key, set())
        self.context.virtual_calls[inner.key] = self.context.virtual_calls.pop(program.key, set())
        self.context.calls[program.key] = {inner.key}

    def _incomplete(self) -> None:
        for variable, symbol in self.context.incomplete.items():
            if (
                variable not in self.configured
                and symbol.node is not None
                and symbol.node.location is not None
            ):
                self.context.error(
                    "ST3017",
                    symbol.node.location,
                    f"{symbol.name} has no complete address",
                    expected=f"VAR_CONFIG … {symbol.name} AT %{symbol.node.location.area}… in the configuration",
                    found=symbol.node.location.text,
                    remedy="add it to VAR_CONFIG, or write the address here",
                )

    # -- VAR_ACCESS

    def _access(self, node: ast.Variable) -> None:
        """Communication may read the variable, or write it too; the name of the path is kept as an attribute."""
        found = self._path(node)
        if found is None:
            return
        variable = found.symbol.variable
        variable.attributes["access"] = "rw" if node.access == "READ_WRITE" else "r"
        variable.attributes["access_path"] = node.name.name
        self.context.read.add(variable)
