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
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from programs import hir
from programs.blocks import Block, block, standard_blocks
from programs.diagnostics import closest
from programs.source import decode
from programs.user_blocks_code import guarded
from scan.abi import CONTEXT_DTYPE
from scan.problem import Place, Problem, TickworkError

SUFFIX = ".py"
SOURCE_BYTES_MAX = 1_000_000
CONSTANT_MAX = 1 << 63
DEPTH_MAX = 100  # of a function's tree: what numba, which recurses, takes with ease
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
    helpers: dict[str, types.FunctionType] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)  # of the helpers

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
    functions: list[ast.FunctionDef] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            functions.append(node)
        elif not _declaration(file, node):
            file.refuse(
                node, "a file of blocks holds imports, constants and functions only",
                "move the statement into a function, or remove it",
            )  # fmt: skip
    # Helpers first, each behind those that it calls: a block finds them made.
    for node in [
        *(one for one in functions if not one.decorator_list),
        *(one for one in functions if one.decorator_list),
    ]:
        try:
            if _depth(node) > DEPTH_MAX:
                raise RecursionError
            _function(file, node, text) if node.decorator_list else _helper(file, node, text)
        except RecursionError:
            file.refuse(node, f"{node.name} is nested too deeply", "divide its expressions and branches")
    return file


def _helper(file: BlockFile, node: ast.FunctionDef, text: str) -> None:
    """A function without @block: numbers in, a number out, called by the functions below it."""
    if (
        not _plain(node)
        or node.name in (*FUNCTIONS, *EXCEPTIONS, "math", "block")
        or node.name.startswith("__")
    ):
        file.refuse(node, f"{node.name} is no function of numbers", "write def name(x, y): with another name")
        return
    if node.name in file.helpers or node.name in file.constants:
        file.refuse(node, f"{node.name} is declared twice", "rename one of the two", "ST3003")
        return
    before = len(file.problems)
    _check_body(file, node, {"math": _MATH}, [argument.arg for argument in node.args.args])
    if len(file.problems) == before:
        function = _made(file, node, "")
        if function is not None:
            file.helpers[node.name] = function
            file.texts[node.name] = ast.get_source_segment(text, node) or ""


def _depth(node: ast.AST) -> int:
    """How deep the tree is."""
    deepest, todo = 0, [(node, 1)]
    while todo:
        one, depth = todo.pop()
        deepest = max(deepest, depth)
        todo += [(child, depth + 1) for child in ast.iter_child_nodes(one)]
    return deepest


def _plain(node: ast.FunctionDef) -> bool:
    arguments = node.args
    return not (
        arguments.posonlyargs
        or arguments.kwonlyargs
        or arguments.vararg
        or arguments.kwarg
        or arguments.defaults
    )


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
    if not _plain(node) or len(node.args.args) != 2:
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
    instance, context = (argument.arg for argument in node.args.args)
    if instance == context:
        file.refuse(node, "the two parameters have one name", "write def name(b, context):")
        return
    pins = {variable.name for variable in declared.variables}
    members = {instance: pins, context: set(CONTEXT_DTYPE.names or ()), "math": _MATH}
    _check_body(file, node, members, [instance, context])
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


def _check_body(
    file: BlockFile, node: ast.FunctionDef, members: Mapping[str, Collection[str]], parameters: list[str]
) -> None:
    own = {one.id for one in _nodes(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    known = {*own, *parameters, *file.constants, *file.helpers, *FUNCTIONS, *EXCEPTIONS, "math"}
    if {*members, *file.helpers} & own:
        file.refuse(
            node, "a parameter, math or a function is used for something else", "choose another name for the variable"
        )  # fmt: skip
    for one in _nodes(node):
        if not isinstance(one, _ALLOWED):
            file.refuse(
                one,
                f"a block cannot contain this ({type(one).__name__})",
                "use numbers, if, for, while and math",
            )
        elif isinstance(one, ast.Name) and (one.id not in known or one.id.startswith("__")):
            file.refuse(one, f"a block does not know the name {one.id}", _known(one.id, known))
        elif isinstance(one, ast.Attribute):
            _check_attribute(file, one, members, parameters)


def _known(name: str, known: Collection[str]) -> str:
    meant = closest(name, [one for one in known if not one.startswith("__")])
    if meant:
        return f"did you mean {meant}?"
    return f"known are {', '.join(FUNCTIONS)}, math, and functions that stand above in the file"


def _check_attribute(
    file: BlockFile, one: ast.Attribute, members: Mapping[str, Collection[str]], parameters: list[str]
) -> None:
    base = one.value.id if isinstance(one.value, ast.Name) else ""
    found = members.get(base, ())
    if one.attr not in found:
        meant = closest(one.attr, found)
        listed = ", ".join(sorted(found)) if base in parameters[:1] else ""
        file.refuse(
            one, f"there is no pin or state {one.attr}",
            f"did you mean {meant}?" if meant else f"declare it in @block; declared: {listed or 'none'}",
        )  # fmt: skip
    elif base not in parameters[:1] and isinstance(one.ctx, ast.Store):
        file.refuse(one, f"{base}.{one.attr} can only be read", "assign to a pin, a state or a variable")


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
    function = _made(file, node, node.args.args[1].arg)
    if function is None:
        return
    values = repr(sorted(file.constants.items()))
    texts = "\n".join([text, *(file.texts[name] for name in sorted(file.helpers))])
    file.blocks.append(
        replace(
            declared, py_func=function, file=file.path, line=node.lineno, comment=ast.get_docstring(node) or "",
            text=f"{texts}\n# {values}", helpers=tuple(file.helpers.items()), _cache={},
        )
    )  # fmt: skip


def _made(file: BlockFile, node: ast.FunctionDef, context: str) -> types.FunctionType | None:
    """The function with its guards; nothing of it has run."""
    bare = ast.FunctionDef(
        name=node.name, body=guarded(node.body, node.lineno, context), decorator_list=[], returns=None,
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
        return None
    code = next(one for one in module.co_consts if isinstance(one, types.CodeType))
    allowed = {name: getattr(builtins, name) for name in (*FUNCTIONS, *EXCEPTIONS)}
    scope: dict[str, Any] = {"math": math, "__builtins__": allowed, "__name__": "block", **file.constants}
    return types.FunctionType(code, scope | file.helpers, node.name)
