"""The language server protocol around ``programs.lsp.features``.

The protocol's positions are lines and UTF-16 units (its default encoding); ``features`` counts characters. The whole
program is checked in a thread a moment after the last change, so typing is never held up.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer

from programs.libraries import LOCK, MANIFEST, read_vendored
from programs.lsp import editing, features
from programs.lsp.features import Outline, Span
from programs.lsp.workspace import Workspace, problems_of
from programs.parser import DIALECTS
from programs.source import decode, read_source
from programs.user_blocks import SOURCE_BYTES_MAX, SUFFIX
from scan.problem import Problem, TickworkError

CHECK_DELAY_S = 0.3
FILES_MAX = 2_000
VERSION = "0.1"
_LINE_START = re.compile(r"^", re.MULTILINE)
_SYMBOL_KINDS = {
    "function": lsp.SymbolKind.Function,
    "method": lsp.SymbolKind.Method,
    "function block": lsp.SymbolKind.Class,
    "class": lsp.SymbolKind.Class,
    "program": lsp.SymbolKind.Module,
    "interface": lsp.SymbolKind.Interface,
    "type": lsp.SymbolKind.Struct,
    "value": lsp.SymbolKind.EnumMember,
    "property": lsp.SymbolKind.Property,
    "action": lsp.SymbolKind.Method,
    "step": lsp.SymbolKind.Event,
}
_COMPLETION_KINDS = {
    "function": lsp.CompletionItemKind.Function,
    "method": lsp.CompletionItemKind.Method,
    "function block": lsp.CompletionItemKind.Class,
    "class": lsp.CompletionItemKind.Class,
    "program": lsp.CompletionItemKind.Module,
    "interface": lsp.CompletionItemKind.Interface,
    "type": lsp.CompletionItemKind.Struct,
    "value": lsp.CompletionItemKind.EnumMember,
    "property": lsp.CompletionItemKind.Property,
    "pin": lsp.CompletionItemKind.Field,
    "keyword": lsp.CompletionItemKind.Keyword,
}


class Server(LanguageServer):
    """One program: the ``.st`` files of the opened folder."""

    def __init__(self, dialect: str) -> None:
        super().__init__("tickwork", VERSION, text_document_sync_kind=lsp.TextDocumentSyncKind.Incremental)
        self.program = Workspace(dialect)
        self.python: dict[str, bytes] = {}  # files with blocks that programs may call
        self.vendored: dict[str, bytes] = {}  # the libraries of the plant
        self.libraries: set[str] = set()  # paths of their files, for names
        self.problems: dict[str, list[Problem]] = {}
        self.shown: set[str] = set()  # paths that the client shows problems of
        self.check_task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------ places

    def offset(self, path: str, position: lsp.Position) -> int:
        """Character offset of a protocol position; past the end of a line it is the line's end."""
        text = self.program.text(path)
        start, end = _line(text, position.line)
        units = 0
        for at in range(start, end):
            if units >= position.character:
                return at
            units += 2 if ord(text[at]) > 0xFFFF else 1
        return end

    def range(self, span: Span) -> lsp.Range:
        text = self.program.text(span.path)
        starts = [found.start() for found in _LINE_START.finditer(text)]
        return lsp.Range(_position(text, starts, span.start), _position(text, starts, span.end))

    # ------------------------------------------------------------ files

    def load(self, folder: Path) -> None:
        """All sources of a folder and of its libraries, as far as they can be read."""
        with contextlib.suppress(TickworkError, OSError):
            self.vendored |= read_vendored(folder)
        for name, data in self.vendored.items():
            if not name.endswith((LOCK, MANIFEST)):
                self.libraries.add(str(folder / name))
                self.program.set(str(folder / name), decode(data))
        for path in sorted(folder.rglob("*.st"))[:FILES_MAX]:
            if str(path) not in self.libraries:
                self.reload(path)
        for path in sorted(folder.rglob("*.py"))[:FILES_MAX]:
            self.reload(path)

    def reload(self, path: Path) -> None:
        if path.suffix == SUFFIX:
            self._reload_blocks(path)
            return
        try:
            self.program.set(str(path), read_source(path).text)
        except OSError:
            self.program.remove(str(path))

    def _reload_blocks(self, path: Path) -> None:
        self.python.pop(str(path), None)
        with contextlib.suppress(OSError):
            data = path.read_bytes()[:SOURCE_BYTES_MAX]
            if b"@block" in data:
                self.python[str(path)] = data

    def check_soon(self) -> None:
        if self.check_task is not None:
            self.check_task.cancel()
        self.check_task = asyncio.get_running_loop().create_task(self._check())

    async def _check(self) -> None:
        await asyncio.sleep(CHECK_DELAY_S)
        texts = self.program.texts()
        own = {path: text for path, text in texts.items() if path not in self.libraries}
        problems = await asyncio.to_thread(
            problems_of, own, self.program.dialect, dict(self.python), dict(self.vendored)
        )
        if texts == self.program.texts():
            self.publish(problems)

    def publish(self, problems: dict[str, list[Problem]]) -> None:
        self.problems = problems
        for path in self.shown | set(problems):
            found = [self.diagnostic(path, problem) for problem in problems.get(path, ())]
            self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(_uri(path), found))
        self.shown = set(problems)

    def diagnostic(self, path: str, problem: Problem) -> lsp.Diagnostic:
        start, end = _line(self.program.text(path), max(problem.place.line - 1, 0))
        at = min(start + max(problem.place.column - 1, 0), end)
        remedy = f"\n{problem.remedy}" if problem.remedy else ""
        error = problem.severity == "error"
        return lsp.Diagnostic(
            range=self.range(Span(path, at, min(at + max(problem.place.length, 1), end))),
            message=f"{problem.message}{remedy}",
            severity=lsp.DiagnosticSeverity.Error if error else lsp.DiagnosticSeverity.Warning,
            code=problem.code,
            source="tickwork",
        )

    def corrections(self, uri: str, problem: Problem) -> list[lsp.CodeAction]:
        """What can be done about a problem with one edit."""
        path = _path(uri)
        diagnostic = self.diagnostic(path, problem)
        found = []
        for fix in editing.fixes(self.program.text(path), problem):
            edit = lsp.TextEdit(self.range(Span(path, fix.start, fix.end)), fix.text)
            changes = lsp.WorkspaceEdit(changes={uri: [edit]})
            found.append(lsp.CodeAction(fix.title, lsp.CodeActionKind.QuickFix, [diagnostic], edit=changes))
        return found

    # ------------------------------------------------------------ answers

    def location(self, span: Span) -> lsp.Location:
        return lsp.Location(_uri(span.path), self.range(span))

    def outline_symbol(self, one: Outline) -> lsp.DocumentSymbol:
        return lsp.DocumentSymbol(
            name=one.name,
            kind=_SYMBOL_KINDS.get(one.kind, lsp.SymbolKind.Variable),
            range=self.range(one.extent),
            selection_range=self.range(one.span),
            detail=one.detail,
            children=[self.outline_symbol(inner) for inner in one.inside],
        )


def _line(text: str, line: int) -> tuple[int, int]:
    """Offsets of the start and the end of a line, counted from 0."""
    start = 0
    for _ in range(line):
        at = text.find("\n", start)
        if at < 0:
            return len(text), len(text)
        start = at + 1
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    return start, end - 1 if end > start and text[end - 1] == "\r" else end


def _position(text: str, starts: list[int], offset: int) -> lsp.Position:
    line = max(bisect.bisect_right(starts, offset) - 1, 0)
    before = text[starts[line] : offset] if starts else ""
    return lsp.Position(line, len(before) + sum(1 for character in before if ord(character) > 0xFFFF))


def _path(uri: str) -> str:
    """The path of a file URI; another URI stands for itself."""
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme == "file" else uri


def _uri(path: str) -> str:
    return Path(path).as_uri() if path.startswith("/") else path


def make(dialect: str = "auto") -> Server:
    """A server with all its answers."""
    server = Server(dialect)
    _register_files(server)
    _register_questions(server)
    _register_edits(server)
    _register_shown(server)
    return server


def _register_files(server: Server) -> None:
    @server.feature(lsp.INITIALIZED)
    def initialized(_: lsp.InitializedParams) -> None:
        for folder in server.workspace.folders.values():
            server.load(Path(_path(folder.uri)))
        server.check_soon()

    @server.feature(lsp.INITIALIZE)
    def initialize(params: lsp.InitializeParams) -> None:
        options = params.initialization_options
        wanted = options.get("dialect") if isinstance(options, dict) else None
        if wanted in DIALECTS:
            server.program.dialect = wanted

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: lsp.DidOpenTextDocumentParams) -> None:
        server.program.set(_path(params.text_document.uri), params.text_document.text)
        server.check_soon()

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: lsp.DidChangeTextDocumentParams) -> None:
        uri = params.text_document.uri
        server.program.set(_path(uri), server.workspace.get_text_document(uri).source)
        server.check_soon()

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: lsp.DidCloseTextDocumentParams) -> None:
        server.reload(Path(_path(params.text_document.uri)))
        server.check_soon()

    @server.feature(lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def watched(params: lsp.DidChangeWatchedFilesParams) -> None:
        for change in params.changes:
            if change.uri not in server.workspace.text_documents:
                server.reload(Path(_path(change.uri)))
        server.check_soon()


def _register_questions(server: Server) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    def hover(params: lsp.HoverParams) -> lsp.Hover | None:
        path = _path(params.text_document.uri)
        found = features.hover(server.program, path, server.offset(path, params.position))
        if found is None:
            return None
        return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, found.text), server.range(found.span))

    @server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    def definition(params: lsp.DefinitionParams) -> lsp.Location | None:
        path = _path(params.text_document.uri)
        found = features.definition(server.program, path, server.offset(path, params.position))
        return None if found is None else server.location(found)

    @server.feature(lsp.TEXT_DOCUMENT_REFERENCES)
    def references(params: lsp.ReferenceParams) -> list[lsp.Location]:
        path = _path(params.text_document.uri)
        offset = server.offset(path, params.position)
        with_declaration = params.context.include_declaration
        found = features.references(server.program, path, offset, declaration=with_declaration)
        return [server.location(span) for span in found]

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def symbols(params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol]:
        found = features.outline(server.program, _path(params.text_document.uri))
        return [server.outline_symbol(one) for one in found]

    @server.feature(lsp.TEXT_DOCUMENT_SIGNATURE_HELP, lsp.SignatureHelpOptions(trigger_characters=["(", ","]))
    def signature(params: lsp.SignatureHelpParams) -> lsp.SignatureHelp | None:
        path = _path(params.text_document.uri)
        found = features.signature(server.program, path, server.offset(path, params.position))
        if found is None:
            return None
        parameters = [lsp.ParameterInformation(one) for one in found.parameters]
        information = lsp.SignatureInformation(found.label, found.comment, parameters)
        return lsp.SignatureHelp([information], 0, min(found.active, max(len(parameters) - 1, 0)))


def _register_edits(server: Server) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=[".", "("]))
    def completion(params: lsp.CompletionParams) -> list[lsp.CompletionItem]:
        path = _path(params.text_document.uri)
        found = features.completion(server.program, path, server.offset(path, params.position))
        variable = lsp.CompletionItemKind.Variable
        return [
            lsp.CompletionItem(
                label=one.label,
                kind=_COMPLETION_KINDS.get(one.kind, variable),
                detail=one.detail,
                documentation=one.comment or None,
                insert_text=one.insert,
            )
            for one in found
        ]

    @server.feature(lsp.TEXT_DOCUMENT_RENAME)
    def rename(params: lsp.RenameParams) -> lsp.WorkspaceEdit | None:
        path = _path(params.text_document.uri)
        spans = features.rename(server.program, path, server.offset(path, params.position), params.new_name)
        edits: dict[str, list[lsp.TextEdit]] = {}
        for span in spans:
            edits.setdefault(_uri(span.path), []).append(lsp.TextEdit(server.range(span), params.new_name))
        return lsp.WorkspaceEdit(changes=edits) if edits else None

    @server.feature(lsp.TEXT_DOCUMENT_FORMATTING)
    def formatting(params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit] | None:
        path = _path(params.text_document.uri)
        laid_out = features.formatted(server.program, path)
        text = server.program.text(path)
        if laid_out is None or laid_out == text:
            return None
        return [lsp.TextEdit(server.range(Span(path, 0, len(text))), laid_out)]


def _register_shown(server: Server) -> None:
    legend = lsp.SemanticTokensLegend(list(editing.TOKEN_KINDS), list(editing.TOKEN_MODIFIERS))

    @server.feature(lsp.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL, legend)
    def tokens(params: lsp.SemanticTokensParams) -> lsp.SemanticTokens:
        path = _path(params.text_document.uri)
        data: list[int] = []
        line, character = 0, 0
        for one in editing.tokens(server.program, path):
            found = server.range(Span(path, one.start, one.end))
            if found.start.line != line:
                line, character, step = found.start.line, 0, found.start.line - line
            else:
                step = 0
            length = found.end.character - found.start.character
            data += [step, found.start.character - character, length, one.kind, one.modifiers]
            character = found.start.character
        return lsp.SemanticTokens(data)

    @server.feature(lsp.TEXT_DOCUMENT_FOLDING_RANGE)
    def folds(params: lsp.FoldingRangeParams) -> list[lsp.FoldingRange]:
        text = server.program.text(_path(params.text_document.uri))
        return [
            lsp.FoldingRange(one.first, one.last, kind=lsp.FoldingRangeKind.Comment if one.comment else None)
            for one in editing.folds(text, server.program.dialect)
        ]

    @server.feature(lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions([lsp.CodeActionKind.QuickFix]))
    def actions(params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        uri = params.text_document.uri
        return [
            action
            for problem in server.problems.get(_path(uri), ())
            for action in server.corrections(uri, problem)
            if _meet(action.diagnostics[0].range if action.diagnostics else params.range, params.range)
        ]


def _meet(one: lsp.Range, other: lsp.Range) -> bool:
    """Whether two ranges have a line in common."""
    return one.start.line <= other.end.line and other.start.line <= one.end.line


def serve(dialect: str = "auto") -> None:
    """Speak the protocol on standard input and output until the client ends it."""
    make(dialect).start_io()
