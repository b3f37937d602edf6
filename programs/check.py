"""The checker's door: sources to a typed program, with everything that is wrong on the way.

Order: parse; register names; types; headers; initial values; bodies; configuration; the warnings that need the whole.
An error stops nothing but the tree: later steps go on with ``UNKNOWN`` types, which fit everywhere, so that one mistake
is reported once.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from programs import ast, hir
from programs.blocks import Block
from programs.check_access import AccessPaths
from programs.check_configuration import Configurations
from programs.check_context import Context, Scope
from programs.check_declarations import Declarations
from programs.check_inheritance import check_inheritance
from programs.check_initial import Initials
from programs.check_mocks import Mocks, keep_tests, put_in, without_bodies
from programs.check_pous import Units
from programs.check_reach import leave_out_unused
from programs.check_types import TypeResolver
from programs.check_usage import check_usage
from programs.diagnostics import Diagnostics
from programs.libraries import Library
from programs.parser import parse
from programs.source import Source, SourceSet
from programs.symbols import Namespace, Symbol
from scan.problem import Problem

DIALECTS = ("iec", "codesys", "rusty", "auto")
# Nested expressions and statements at their limits need some thousand frames.
RECURSION_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class Foreign:
    """The parsed sources of a library, each in its namespace."""

    units: list[ast.Unit]
    space: str
    qualified_only: bool


@dataclass(frozen=True, slots=True)
class CheckResult:
    """``program`` is there only if ``problems`` has no error; warnings may stand beside it."""

    problems: tuple[Problem, ...]
    program: hir.Program | None

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "error")


def check(
    sources: Sequence[Source],
    *,
    dialect: str = "iec",
    name: str = "application",
    blocks: Mapping[str, Block] | None = None,
    mocks: Mocks | None = None,
    libraries: Sequence[Library] = (),
) -> CheckResult:
    """Check an application's sources as a whole, with its blocks in Python and its libraries.

    ``mocks``, where it is given, keeps the tests of the sources in the program and puts units in the place of others.
    Of the libraries only what is used stays in the program, and their warnings are left out.

    Raises ValueError for an unknown dialect, nothing for any text.
    """
    if dialect not in DIALECTS:
        raise ValueError(f"dialect {dialect!r}, known: {', '.join(DIALECTS)}")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, RECURSION_LIMIT))
    try:
        return _check(sources, dialect, name, blocks or {}, mocks, libraries)
    finally:
        sys.setrecursionlimit(limit)


def _check(
    sources: Sequence[Source], dialect: str, name: str, blocks: Mapping[str, Block], mocks: Mocks | None,
    libraries: Sequence[Library] = (),
) -> CheckResult:  # fmt: skip
    known = SourceSet()
    units: list[ast.Unit] = []
    problems: list[Problem] = []
    for source in sources:
        unit, found = parse(known.add(source.path, source.text), dialect)
        units.append(unit)
        problems += found
    syntax_errors = any(problem.severity == "error" for problem in problems)
    foreign = [_library_units(library, known, problems) for library in libraries]
    files = frozenset(source.path for library in libraries for source in library.sources)
    syntax_errors = syntax_errors or any(problem.severity == "error" for problem in problems)
    diagnostics = Diagnostics(known)
    if mocks is not None:
        keep_tests(units, mocks)
    if mocks:
        problems += put_in(units, mocks, diagnostics)
        syntax_errors = syntax_errors or any(problem.severity == "error" for problem in problems)
        stands_for = {real.upper() for real, mock in mocks.items() if mock}
        blocks = {key: block for key, block in blocks.items() if key not in stands_for}
    program = check_units(units, diagnostics, name=name, blocks=blocks, libraries=foreign)
    if dialect == "auto" and diagnostics.error_count:
        # What is wrong in one dialect may be what another one allows.
        others = Diagnostics(known)
        wider = check_units(units, others, name=name, dialect="codesys", blocks=blocks, libraries=foreign)
        if not others.error_count:
            diagnostics, program = others, wider
    problems += diagnostics.problems()
    problems = [one for one in problems if one.severity == "error" or one.place.file not in files]
    errors = syntax_errors or diagnostics.error_count > 0
    if mocks is None:
        leave_out_tests(program)
    elif not errors and (unknown := without_bodies(program, mocks)):
        problems += unknown
        errors = True
    if files and not errors:
        leave_out_unused(program, files)
    return CheckResult(tuple(_ordered(problems, sources)), None if errors else program)


def _library_units(library: Library, known: SourceSet, problems: list[Problem]) -> Foreign:
    """A library's sources in its namespace; what is configured in them is not for the plant."""
    space = library.manifest.space
    units = []
    for source in library.sources:
        unit, found = parse(known.add(source.path, source.text), library.manifest.dialect)
        problems += found
        inner: list[ast.Declaration] = [
            one for one in unit.declarations if not isinstance(one, ast.Configuration)
        ]
        where = unit.source.base
        path: ast.Name | ast.Member = ast.Name(where, where, space.split(".")[0])
        for part in space.split(".")[1:]:
            path = ast.Member(where, where, path, ast.Name(where, where, part))
        around = ast.Namespace(where, where, path, unit.source, False, inner, unit.using)
        units.append(ast.Unit(unit.start, unit.end, unit.source, unit.dialect, [around]))
    return Foreign(units, space, library.manifest.qualified_only)


def leave_out_tests(program: hir.Program) -> None:
    """Tests are checked with the rest, and are no part of what runs."""
    for test in program.tests:
        program.pous.pop(test.key, None)
    program.tests = []


def _ordered(problems: Sequence[Problem], sources: Sequence[Source]) -> list[Problem]:
    """Errors before warnings, each by file and place."""
    order = {source.path: index for index, source in enumerate(sources)}
    return sorted(
        problems,
        key=lambda p: (p.severity != "error", order.get(p.place.file, 0), p.place.line, p.place.column),
    )


def check_units(
    units: Sequence[ast.Unit],
    diagnostics: Diagnostics,
    *,
    name: str,
    dialect: str = "",
    blocks: Mapping[str, Block] | None = None,
    libraries: Sequence[Foreign] = (),
) -> hir.Program:
    """Check parsed sources; problems go to ``diagnostics``. The program is worth something only without errors.

    ``dialect`` "" is that of the units, the widest one if they differ; declarations are read in it. Bodies of a plant
    are read in the plant's dialect, those of a library in the library's.
    """
    context = _context(units, diagnostics, dialect, libraries)
    context.blocks = blocks or {}
    units = [*units, *(unit for library in libraries for unit in library.units)]
    resolver = TypeResolver(context)
    initials = Initials(context, resolver)
    context.integer = initials.integer
    context.initial = initials.initial
    context.constant_initial = initials.constant_initial
    Declarations(context).declare(units)
    _import_libraries(context, libraries)
    _taken_names(context)
    # A bound may be a constant that is declared further down, or in another file.
    initials.symbols.update((symbol.variable, symbol) for symbol in context.globals)
    _declared_types(context, resolver)
    work = Units(context, resolver, initials)
    context.instantiate = work.instantiate
    _globals(context, resolver, initials)
    work.headers()
    if not check_inheritance(context, resolver):
        return _program(context, Configurations(context, resolver, initials), units, name)
    for symbol in context.globals:
        initials.variable(symbol)
    work.finish()
    work.bodies()
    configurations = Configurations(context, resolver, initials)
    configurations.work_out()
    AccessPaths(context, resolver, configurations.instances).work_out(_access_sections(units))
    _forget_tests(context)
    check_usage(context, configurations.tasks, configurations.instances)
    return _program(context, configurations, units, name)


def _context(
    units: Sequence[ast.Unit], diagnostics: Diagnostics, dialect: str, libraries: Sequence[Foreign]
) -> Context:
    own = dialect or next((unit.dialect for unit in units if unit.dialect != "iec"), "iec")
    foreign = [unit for library in libraries for unit in library.units]
    widest = own if own != "iec" else next((unit.dialect for unit in foreign if unit.dialect != "iec"), "iec")
    context = Context(diagnostics, widest)
    if foreign:
        context.dialects = {unit.source.path: own for unit in units}
        context.dialects |= {unit.source.path: unit.dialect for unit in foreign}
        context.libraries = frozenset(unit.source.path for unit in foreign)
    return context


def _import_libraries(context: Context, libraries: Sequence[Foreign]) -> None:
    """The names of a library are known as NAMESPACE.NAME, and alone unless the library forbids it."""
    for library in libraries:
        space: Symbol | None = context.root
        for part in library.space.split("."):
            space = space.symbols.get(part.upper()) if isinstance(space, Namespace) else None
        if isinstance(space, Namespace) and not library.qualified_only:
            context.root.using.append(space)


def _forget_tests(context: Context) -> None:
    """What tests write is no second writer of an output."""
    keys = {test.key for test in context.tests}
    if keys:
        for variable, places in list(context.written.items()):
            context.written[variable] = [place for place in places if place[0] not in keys]


def _taken_names(context: Context) -> None:
    """A unit in ST must not be called as a block in Python."""
    for key, symbol in context.pous.items():
        block = context.blocks.get(key.upper())
        if block is not None and symbol.node is not None:
            context.error(
                "ST3003", symbol.node, f"{key} is already declared",
                remedy="rename one of the two", notes=(f"a Python block: {block.file}:{block.line}",),
            )  # fmt: skip


def _access_sections(units: Sequence[ast.Unit]) -> list[ast.VariableSection]:
    """Every VAR_CONFIG and VAR_ACCESS: in configurations, resources and programs, or on their own."""
    found: list[ast.VariableSection] = []
    for unit in units:
        for declaration in unit.declarations:
            match declaration:
                case ast.GlobalSection():
                    found.append(declaration.section)
                case ast.Configuration():
                    found += declaration.sections
                    for resource in declaration.resources:
                        found += resource.sections
                case ast.Pou(kind="PROGRAM"):
                    found += [section for section in declaration.sections if section.kind == "VAR_ACCESS"]
    return found


def _declared_types(context: Context, resolver: TypeResolver) -> None:
    """Enumerations first: their values are names that anything may use."""
    enumerations = [symbol for symbol in context.type_symbols if isinstance(symbol.node.type, ast.EnumType)]
    for symbol in enumerations:
        kind = resolver.type_symbol(symbol).type
        qualified = "qualified_only" in symbol.node.attributes
        if isinstance(kind, hir.Enum) and isinstance(symbol.node.type, ast.EnumType) and not qualified:
            resolver.enter_values(symbol.node.type, symbol.scope, kind)
    for pou in list(context.pous.values()):
        for member in pou.members.values():
            spec = member.node.type if member.node is not None else None
            if isinstance(spec, ast.EnumType):
                kind = resolver.resolve(spec, Scope(pou.scope, pou), f"{pou.key}.{member.name}").type
                if isinstance(kind, hir.Enum):
                    resolver.enter_values(spec, pou.scope, kind)
    for variable in context.globals:
        spec = variable.node.type if variable.node is not None else None
        if isinstance(spec, ast.EnumType):
            kind = resolver.resolve(spec, Scope(context.root), variable.name).type
            if isinstance(kind, hir.Enum):
                resolver.enter_values(spec, context.root, kind)
    for symbol in context.type_symbols:
        resolver.type_symbol(symbol)


def _globals(context: Context, resolver: TypeResolver, initials: Initials) -> None:
    for symbol in context.globals:
        initials.symbols[symbol.variable] = symbol
    for symbol in context.globals:
        kind = resolver.variable(symbol)
        node = symbol.node
        if node is not None and node.location is not None:
            symbol.variable.location = context.location(node.location, kind)
            if node.location.size == "*":
                context.incomplete[symbol.variable] = symbol


def _program(
    context: Context, configurations: Configurations, units: Sequence[ast.Unit], name: str
) -> hir.Program:
    located = [*context.direct.values(), *context.programs.values()]
    return hir.Program(
        name=name,
        pous={key: symbol.pou for key, symbol in context.pous.items() if not symbol.external},
        globals=[*(symbol.variable for symbol in context.globals), *located],
        interfaces={
            key: hir.InterfaceType(key, tuple(method for i in symbol.all() for method in i.methods))
            for key, symbol in context.interfaces.items()
        },
        instances=configurations.instances,
        tasks=configurations.tasks,
        files={
            unit.source.path: hashlib.sha256(unit.source.text.encode("utf-8", "surrogatepass")).hexdigest()
            for unit in units
        },
        blocks=dict(context.blocks),
        tests=context.tests,
    )
