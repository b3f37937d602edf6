"""Interface pages: what the units of a program are for and how they are called, as Markdown from the sources.

Comments and attributes of the declarations are all that is taken; a private variable is nobody's concern. Texts are
escaped, so that a page shows what a comment says whatever it contains.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping

from programs import ast
from programs.blocks import Block
from programs.building import Settings
from programs.libraries import split
from programs.lsp.names import Names, Symbol
from programs.parser import parse
from programs.source import SourceSet
from programs.types import type_name
from programs.user_blocks import SUFFIX

# Kinds of units in the order of the page.
_UNITS = {
    "program": "Programs",
    "function block": "Function blocks",
    "class": "Classes",
    "interface": "Interfaces",
    "function": "Functions",
}
_SECTIONS = {"VAR_INPUT": "Inputs", "VAR_OUTPUT": "Outputs", "VAR_IN_OUT": "In-outs"}
_DIRECTIONS = {"input": "VAR_INPUT", "output": "VAR_OUTPUT", "inout": "VAR_IN_OUT"}
_HIDDEN = ("PRIVATE", "PROTECTED", "INTERNAL")


def interface_page(settings: Settings, sources: Mapping[str, bytes], blocks: Mapping[str, Block]) -> str:
    """The interface of a program as one Markdown document, without its libraries, which have pages of their own.

    ``sources`` by path are without errors of syntax.
    """
    sources = split(sources).own
    known = SourceSet()
    units = [
        parse(known.add(path, data), settings.dialect)[0]
        for path, data in sorted(sources.items())
        if not path.endswith(SUFFIX)
    ]
    names = Names(units, known)
    files = {
        id(symbol): known.source(symbol.span[0]).path
        for symbol in names.globals.values()
        if symbol.span is not None
    }
    python = [(_of_block(block), block.file) for block in blocks.values()]
    symbols = [*names.globals.values(), *(symbol for symbol, _ in python)]
    files |= {id(symbol): file for symbol, file in python}
    hidden = {id(names.by_node[id(node)]) for node in _hidden_methods(units) if id(node) in names.by_node}
    lines = [f"# {_text(settings.name)}", ""]
    for kind, title in _UNITS.items():
        found = sorted((one for one in symbols if one.kind == kind), key=lambda one: one.name.upper())
        if found:
            lines += [f"## {title}", ""]
        for symbol in found:
            lines += _unit(symbol, files.get(id(symbol), ""), hidden)
    lines += _types(symbols) + _globals(symbols)
    return "\n".join(lines).rstrip() + "\n"


def _hidden_methods(units: Iterable[ast.Unit]) -> Iterable[ast.Node]:
    for unit in units:
        for declaration in unit.declarations:
            if isinstance(declaration, ast.Pou):
                yield from (one for one in declaration.methods if one.access in _HIDDEN)
                yield from (one for one in declaration.properties if one.access in _HIDDEN)


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
table { border-collapse: collapse; margin: .5rem 0 1rem; } td, th { border: 1px solid #bbb; padding: .25rem .6rem; }
th { text-align: left; background: #f2f2f2; } code { font: .9em ui-monospace, monospace; }
h2 { border-bottom: 1px solid #bbb; margin-top: 2.5rem; } nav ul { columns: 14rem; padding-left: 1.2rem; }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818; } th { background: #2a2a2a; }
a { color: #8ab4f8; } }
@media print { nav { display: none; } }
"""


def as_html(page: str, title: str) -> str:
    """A page of this module as one HTML document that needs nothing else: no script, no font, no network."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(page)
    entries: list[str] = []

    def anchored(match: re.Match[str]) -> str:
        name = f"u{len(entries)}"
        entries.append(f'<li><a href="#{name}">{match[1]}</a></li>')
        return f'<h3 id="{name}">{match[1]}</h3>'

    body = re.sub(r"<h3>(.*?)</h3>", anchored, body)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        f'<body><nav aria-label="units"><ul>{"".join(entries)}</ul></nav>\n{body}</body></html>\n'
    )


def _of_block(block: Block) -> Symbol:
    symbol = Symbol(
        block.name, "function block", detail=f"FUNCTION_BLOCK {block.name}", comment=block.comment
    )
    for variable in block.variables:
        if variable.direction:
            initial = f" := {variable.init.value}" if variable.init is not None else ""
            symbol.names[variable.name.upper()] = Symbol(
                variable.name, "variable", section=_DIRECTIONS[variable.direction],
                detail=f"{variable.name} : {type_name(variable.type)}{initial}",
            )  # fmt: skip
    return symbol


def _unit(symbol: Symbol, file: str, hidden: set[int]) -> list[str]:
    lines = [
        f"### {_text(symbol.name)}",
        "",
        _code(symbol.detail) + (f" in {_text(file)}" if file else ""),
        "",
    ]
    if symbol.comment:
        lines += [_text(symbol.comment), ""]
    lines += _pins(symbol)
    members = [
        one for one in symbol.names.values() if one.kind in ("method", "property") and id(one) not in hidden
    ]
    for member in members:
        lines += [f"#### {_text(symbol.name)}.{_text(member.name)}", "", _code(member.detail), ""]
        if member.comment:
            lines += [_text(member.comment), ""]
        lines += _pins(member)
    return lines


def _pins(symbol: Symbol) -> list[str]:
    lines: list[str] = []
    variables = [one for one in symbol.names.values() if one.kind == "variable"]
    for section, title in _SECTIONS.items():
        lines += _table(title, [one for one in variables if one.section == section])
    open_ones = [
        one for one in variables if one.section not in _SECTIONS and one.attributes.get("access") == "rw"
    ]
    return lines + _table("May be written from outside", open_ones)


def _table(title: str, variables: list[Symbol]) -> list[str]:
    if not variables:
        return []
    rows = [f"| {_code(one.detail)} | {_text(_range(one))} | {_text(one.comment)} |" for one in variables]
    return [f"| {title} | Unit, range | Meaning |", "|---|---|---|", *rows, ""]


def _range(symbol: Symbol) -> str:
    given = symbol.attributes
    bounds = f"{given['low']} to {given['high']}" if "low" in given and "high" in given else ""
    return " ".join(part for part in (bounds, given.get("unit", "")) if part)


def _types(symbols: list[Symbol]) -> list[str]:
    found = sorted((one for one in symbols if one.kind == "type"), key=lambda one: one.name.upper())
    lines = ["## Types", ""] if found else []
    for symbol in found:
        lines += [f"### {_text(symbol.name)}", "", _code(symbol.detail), ""]
        if symbol.comment:
            lines += [_text(symbol.comment), ""]
        lines += _table("Members", [one for one in symbol.names.values() if one.kind == "variable"])
    return lines


def _globals(symbols: list[Symbol]) -> list[str]:
    found = [one for one in symbols if one.kind == "variable" and one.section == "VAR_GLOBAL"]
    return ["## Global variables", "", *_table("Variable", found)] if found else []


def _text(text: str) -> str:
    """A comment on one line in which nothing is markup."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    for mark in ("\\", "|", "`", "*", "_", "[", "]", "#"):
        line = line.replace(mark, f"\\{mark}")
    return line


def _code(text: str) -> str:
    """A declaration in one code span; bars would end the cell of a table."""
    line = " ".join(text.split()).replace("|", "\\|")
    fence = "``" if "`" in line else "`"
    return f"{fence} {line} {fence}" if fence == "``" else f"`{line}`"
