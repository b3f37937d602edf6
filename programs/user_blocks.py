"""Function blocks of a plant that are written in Python: its ``*.py`` sources.

Theory. A source comes from anybody, so it is never imported and no statement of it is run to find out what it
declares: the text is parsed, and only what is listed here may stand in it. Pins are literals in the decorator. The
body becomes a code object whose names are its own variables, the file's constants, ``math`` and a few built-in
functions, and whose attributes are pins; machine code is made of it by ``programs.blocks_compile``, on the node.
"""

from __future__ import annotations

import ast
import builtins
import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from programs import hir
from programs.blocks import Block, block, standard_blocks
from programs.source import decode
from scan.abi import CONTEXT_DTYPE
from scan.problem import Place, Problem, TickworkError

SUFFIX = ".py"
SOURCE_BYTES_MAX = 1_000_000
CONSTANT_MAX = 1 << 63
FUNCTIONS = ("abs", "bool", "float", "int", "len", "max", "min", "pow", "range", "round")
EXCEPTIONS = ("ArithmeticError", "IndexError", "OverflowError", "ValueError", "ZeroDivisionError")
_IMPORTS = {
    ("__future__", "annotations"), ("typing", "Any"), ("programs", "block"), ("programs.blocks", "block"),
}  # fmt: skip
_MATH = frozenset(name for name in dir(math) if not name.startswith("_"))
_TEXTS = ("inputs", "outputs", "state", "name")
# What a body consists of. Everything else is refused by name of its node, new kinds of Python included.
_ALLOWED = (
    ast.Assign, ast.AugAssign, ast.AnnAssign, ast.If, ast.For, ast.While, ast.Break, ast.Continue, ast.Pass,
    ast.Return, ast.Raise, ast.Assert, ast.Expr, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Compare, ast.Call,
    ast.Constant, ast.Attribute, ast.Subscript, ast.Name, ast.Tuple, ast.boolop, ast.operator, ast.unaryop, ast.cmpop,
    ast.expr_context,
)  # fmt: skip

Number = bool | int | float


@dataclass(slots=True)
class BlockFile:
    """What a file declares and what is wrong with it."""

    path: str
    blocks: list[Block] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    constants: dict[str, Number] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def refuse(self, node: ast.AST, message: str, remedy: str, code: str = "ST5006") -> None:
        line = getattr(node, "lineno", 1)
        column = getattr(node, "col_offset", 0)
        shown = self.lines[line - 1] if line <= len(self.lines) else ""
        # Columns of Python's parser count bytes of UTF-8.
        column = len(shown.encode()[:column].decode("utf-8", "replace")) + 1
        self.problems.append(
            Problem(code, message, Place(self.path, line, column, 1), remedy=remedy, source_line=shown)
        )


def read_blocks(sources: Mapping[str, bytes]) -> tuple[dict[str, Block], list[Problem]]:
    """The blocks of all ``*.py`` sources by upper-case name, and every problem. Raises nothing for any bytes."""
    found: dict[str, Block] = {}
    problems: list[Problem] = []
    for path, data in sorted(sources.items()):
        if not path.endswith(SUFFIX):
            continue
        file = _read_file(path, data)
        problems += file.problems
        for one in file.blocks:
            earlier = found.get(one.name)
            if earlier is not None or one.name in standard_blocks():
                where = f"{earlier.file}:{earlier.line}" if earlier else "a standard block"
                problems.append(
                    Problem(
                        "ST3003", f"{one.name} is already declared", Place(path, one.line), found=where,
                        remedy="give the block another name: @block(name=…)",
                    )
                )  # fmt: skip
            found.setdefault(one.name, one)
    return found, problems


def _read_file(path: str, data: bytes) -> BlockFile:
    file = BlockFile(path)
    if len(data) > SOURCE_BYTES_MAX:
        file.refuse(ast.Pass(), "the file is too large", f"keep it under {SOURCE_BYTES_MAX} bytes")
        return file
    text = decode(data)
    file.lines = text.splitlines()
    try:
        tree = ast.parse(text, path)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        at = ast.Pass(lineno=getattr(error, "lineno", None) or 1, col_offset=0)
        file.refuse(at, f"this is no Python: {getattr(error, 'msg', error)}", "correct the marked line")
        return file
    functions = [node for node in tree.body if not _declaration(file, node)]
    for node in functions:
        if isinstance(node, ast.FunctionDef):
            try:
                _function(file, node, text)
            except RecursionError:
                file.refuse(node, f"{node.name} is nested too deeply", "divide its expressions and branches")
        else:
            file.refuse(
                node, "a file of blocks holds imports, constants and functions with @block only",
                "move the statement into a block, or remove it",
            )  # fmt: skip
    return file


def _declaration(file: BlockFile, node: ast.stmt) -> bool:
    """Takes texts, the few imports and constants; False for anything else."""
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Import(names=[ast.alias(name="math", asname=None)]):
            return True
        case ast.ImportFrom(level=0):
            return all((node.module, one.name) in _IMPORTS and one.asname is None for one in node.names)
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            value = _number(node.value)
            if value is None or name.startswith("__") or name in (*FUNCTIONS, *EXCEPTIONS, "math", "block"):
                return False
            file.constants[name] = value
            return True
    return False


def _number(node: ast.expr | None) -> Number | None:
    sign = 1
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, node = -1, node.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        value = node.value
        if isinstance(value, float) or abs(value) < CONSTANT_MAX:
            return value if sign == 1 else -value
    return None


def _function(file: BlockFile, node: ast.FunctionDef, text: str) -> None:
    options = _decorator(file, node)
    arguments = node.args
    plain = not (
        arguments.posonlyargs
        or arguments.kwonlyargs
        or arguments.vararg
        or arguments.kwarg
        or arguments.defaults
    )
    if not plain or len(arguments.args) != 2:
        file.refuse(node, f"{node.name} needs two parameters", "write def name(b, context):")
        return
    if options is None:
        return
    try:
        declared = _declared(options)
    except TickworkError as error:
        for problem in error.problems:
            file.refuse(node, problem.message, problem.remedy, problem.code)
        return
    except ValueError as error:
        file.refuse(
            node, f"a pin of {node.name} cannot be read: {error}", "write NAME : TYPE := number", "ST5002"
        )
        return
    before = len(file.problems)
    _check_pins(file, node, declared)
    _check_body(file, node, declared)
    if len(file.problems) == before:
        _add(file, node, declared, ast.get_source_segment(text, node) or "")


def _declared(options: dict[str, str]) -> Block:
    inputs, outputs, state = (options.get(key, "") for key in ("inputs", "outputs", "state"))
    return block(inputs=inputs, outputs=outputs, state=state, name=options["name"])(_nothing)


def _nothing(_instance: Any, _context: Any) -> None:
    """Stands for the body while only the pins are looked at."""


def _decorator(file: BlockFile, node: ast.FunctionDef) -> dict[str, str] | None:
    match node.decorator_list:
        case [ast.Call(func=ast.Name(id="block"), args=[], keywords=keywords)]:
            pass
        case _:
            file.refuse(node, f"{node.name} is no block", 'write @block(inputs="…", outputs="…") above it')
            return None
    options = {"name": node.name.upper()}
    for keyword in keywords:
        value = keyword.value
        if keyword.arg in _TEXTS and isinstance(value, ast.Constant) and isinstance(value.value, str):
            options[keyword.arg] = value.value
        elif keyword.arg is None or keyword.arg in _TEXTS or not isinstance(value, ast.Name | ast.Constant):
            file.refuse(value, "an option of @block is written out as a text", 'write inputs="IN : BOOL"')
            return None
    if not (options["name"].isidentifier() and options["name"].isascii()):
        file.refuse(node, f"{options['name']!r} is no name of a block", "use letters, digits and _")
        return None
    return {**options, "name": options["name"].upper()}


def _check_pins(file: BlockFile, node: ast.FunctionDef, declared: Block) -> None:
    names = [variable.name.upper() for variable in declared.variables]
    for position, variable in enumerate(declared.variables):
        kind = variable.type
        if variable.name.upper() in names[:position]:
            file.refuse(node, f"{variable.name} is declared twice", "rename one of the two", "ST5002")
        elif isinstance(kind, hir.Array) and any(low > high for low, high in kind.dims):
            file.refuse(node, f"the bounds of {variable.name} are empty", "write ARRAY[low..high]", "ST5002")


def _check_body(file: BlockFile, node: ast.FunctionDef, declared: Block) -> None:
    instance, context = (argument.arg for argument in node.args.args)
    pins = {variable.name for variable in declared.variables}
    own = {one.id for one in _nodes(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    known = {*own, instance, context, *file.constants, *FUNCTIONS, *EXCEPTIONS, "math"}
    members = {instance: pins, context: set(CONTEXT_DTYPE.names or ()), "math": _MATH}
    if {instance, context, "math"} & own or instance == context:
        file.refuse(
            node, "a parameter or math is used for something else", "choose another name for the variable"
        )
    for one in _nodes(node):
        if not isinstance(one, _ALLOWED):
            file.refuse(
                one,
                f"a block cannot contain this ({type(one).__name__})",
                "use numbers, if, for, while and math",
            )
        elif isinstance(one, ast.Name) and (one.id not in known or one.id.startswith("__")):
            file.refuse(
                one, f"a block does not know the name {one.id}", f"known are {', '.join(FUNCTIONS)} and math"
            )
        elif isinstance(one, ast.Attribute):
            base = one.value.id if isinstance(one.value, ast.Name) else ""
            if one.attr not in members.get(base, ()):
                found = ", ".join(sorted(pins)) or "none"
                file.refuse(
                    one, f"there is no pin or state {one.attr}", f"declare it in @block; declared: {found}"
                )


def _nodes(node: ast.FunctionDef) -> Iterator[ast.AST]:
    """The body's nodes without annotations, which say nothing to us."""
    for statement in node.body:
        todo: list[ast.AST] = [statement]
        while todo:
            one = todo.pop()
            yield one
            skipped = one.annotation if isinstance(one, ast.AnnAssign) else None
            todo += [child for child in ast.iter_child_nodes(one) if child is not skipped]


def _add(file: BlockFile, node: ast.FunctionDef, declared: Block, text: str) -> None:
    bare = ast.FunctionDef(
        name=node.name, body=[_unannotated(one) for one in node.body], decorator_list=[], returns=None,
        args=ast.arguments(
            posonlyargs=[], args=[ast.arg(one.arg, lineno=one.lineno, col_offset=0) for one in node.args.args],
            kwonlyargs=[], kw_defaults=[], defaults=[],
        ),
        lineno=node.lineno, col_offset=node.col_offset, end_lineno=node.end_lineno, end_col_offset=0,
    )  # fmt: skip
    try:
        module = compile(
            ast.fix_missing_locations(ast.Module([bare], [])), file.path, "exec", dont_inherit=True
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        file.refuse(
            node, f"{node.name} cannot be read: {getattr(error, 'msg', error)}", "correct the function"
        )
        return
    code = next(one for one in module.co_consts if isinstance(one, types.CodeType))
    allowed = {name: getattr(builtins, name) for name in (*FUNCTIONS, *EXCEPTIONS)}
    scope: dict[str, Any] = {"math": math, "__builtins__": allowed, "__name__": "block", **file.constants}
    function = types.FunctionType(code, scope, node.name)
    values = repr(sorted(file.constants.items()))
    file.blocks.append(
        replace(
            declared, py_func=function, file=file.path, line=node.lineno, comment=ast.get_docstring(node) or "",
            text=f"{text}\n# {values}", _cache={},
        )
    )  # fmt: skip


def _unannotated(node: ast.stmt) -> ast.stmt:
    return _Unannotated().visit(node)


class _Unannotated(ast.NodeTransformer):
    """``x: int = 3`` means ``x = 3``."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign([node.target], node.value), node)
