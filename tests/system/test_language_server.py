"""The language server as an editor meets it: a process, and the protocol on its standard input and output."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from collections.abc import AsyncIterator

import pytest

pytest.importorskip("pygls", reason="the language server needs the package pygls")

from lsprotocol import types as lsp  # behind the check above
from pygls.lsp.client import LanguageClient

pytestmark = pytest.mark.system

ROOT = pathlib.Path(__file__).parents[2]
WAIT_S = 30
PUMP = "FUNCTION_BLOCK Pump\nVAR_INPUT\n    Run : BOOL; // start it\nEND_VAR\nEND_FUNCTION_BLOCK\n"
MAIN = "PROGRAM Main\nVAR\n    p : Pump;\nEND_VAR\n    p(Run := TRUE);\n    x := 1;\nEND_PROGRAM\n"


class Editor:
    """A client that keeps the last problems of each file."""

    def __init__(self, client: LanguageClient, folder: pathlib.Path) -> None:
        self.client = client
        self.folder = folder
        self.problems: dict[str, list[lsp.Diagnostic]] = {}
        self.changed = asyncio.Event()

    def uri(self, name: str) -> str:
        return (self.folder / name).as_uri()

    def at(self, name: str, line: int, character: int) -> dict[str, object]:
        return {
            "text_document": lsp.TextDocumentIdentifier(self.uri(name)),
            "position": lsp.Position(line, character),
        }

    def open(self, name: str, text: str) -> None:
        item = lsp.TextDocumentItem(self.uri(name), "iecst", 1, text)
        self.client.text_document_did_open(lsp.DidOpenTextDocumentParams(item))

    def write(self, name: str, text: str, version: int) -> None:
        document = lsp.VersionedTextDocumentIdentifier(version, self.uri(name))
        change = lsp.TextDocumentContentChangeWholeDocument(text)
        self.client.text_document_did_change(lsp.DidChangeTextDocumentParams(document, [change]))

    def errors(self, name: str) -> list[lsp.Diagnostic]:
        found = self.problems.get(self.uri(name), [])
        return [one for one in found if one.severity == lsp.DiagnosticSeverity.Error]

    async def errors_at(self, name: str, lines: list[int]) -> list[lsp.Diagnostic]:
        """The errors of a file once they stand at these lines."""
        async with asyncio.timeout(WAIT_S):
            while (
                self.uri(name) not in self.problems
                or [one.range.start.line for one in self.errors(name)] != lines
            ):
                self.changed.clear()
                await self.changed.wait()
        return self.errors(name)


@pytest.fixture
async def editor(tmp_path: pathlib.Path) -> AsyncIterator[Editor]:
    (tmp_path / "pump.st").write_text(PUMP)
    (tmp_path / "main.st").write_text(MAIN)
    client = LanguageClient("test", "1")
    made = Editor(client, tmp_path)

    @client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
    def publish(params: lsp.PublishDiagnosticsParams) -> None:
        made.problems[params.uri] = list(params.diagnostics)
        made.changed.set()

    await client.start_io(sys.executable, "-m", "programs.lsp", cwd=ROOT)
    folders = [lsp.WorkspaceFolder(tmp_path.as_uri(), "plant")]
    await client.initialize_async(lsp.InitializeParams(lsp.ClientCapabilities(), workspace_folders=folders))
    client.initialized(lsp.InitializedParams())
    yield made
    await client.shutdown_async(None)
    client.exit(None)
    await client.stop()


async def test_server_when_a_program_is_opened_and_mended_then_problems_come_and_go(editor: Editor) -> None:
    found = await editor.errors_at("main.st", [5])
    assert found[0].code == "ST3001"
    assert found[0].range.start.character == 4
    editor.open("main.st", MAIN)
    editor.write("main.st", MAIN.replace("    x := 1;\n", ""), 2)
    await editor.errors_at("main.st", [])


async def test_server_when_asked_about_names_then_answers_across_files(editor: Editor) -> None:
    await editor.errors_at("main.st", [5])
    hover = await editor.client.text_document_hover_async(lsp.HoverParams(**editor.at("main.st", 4, 7)))
    assert hover is not None and isinstance(hover.contents, lsp.MarkupContent)
    assert "start it" in hover.contents.value
    where = await editor.client.text_document_definition_async(
        lsp.DefinitionParams(**editor.at("main.st", 2, 9))
    )
    assert isinstance(where, lsp.Location)
    assert (where.uri, where.range.start) == (editor.uri("pump.st"), lsp.Position(0, 15))
    edit = await editor.client.text_document_rename_async(
        lsp.RenameParams(**editor.at("pump.st", 2, 5), new_name="Start")
    )
    assert edit is not None and edit.changes is not None
    assert {uri: len(edits) for uri, edits in edit.changes.items()} == {
        editor.uri("main.st"): 1,
        editor.uri("pump.st"): 1,
    }


async def test_server_when_typing_a_call_then_offers_its_pins(editor: Editor) -> None:
    text = MAIN[: MAIN.index("    x := 1;")] + "    p("
    editor.open("main.st", text)
    found = await editor.client.text_document_completion_async(
        lsp.CompletionParams(**editor.at("main.st", 5, 6))
    )
    assert isinstance(found, list)
    assert found[0].label == "Run :="


async def test_server_when_asked_to_format_then_one_edit_or_none(editor: Editor) -> None:
    editor.open("main.st", MAIN.replace("p : Pump", "p:Pump"))
    params = lsp.DocumentFormattingParams(
        lsp.TextDocumentIdentifier(editor.uri("main.st")), lsp.FormattingOptions(4, True)
    )
    edits = await editor.client.text_document_formatting_async(params)
    assert edits is not None
    assert [edit.new_text for edit in edits] == [MAIN]


async def test_server_when_asked_what_to_show_then_tokens_folds_and_corrections(editor: Editor) -> None:
    text = MAIN.replace("x := 1", "pp(Run := TRUE)")
    editor.open("main.st", text)
    (error,) = await editor.errors_at("main.st", [5])
    document = lsp.TextDocumentIdentifier(editor.uri("main.st"))
    tokens = await editor.client.text_document_semantic_tokens_full_async(lsp.SemanticTokensParams(document))
    assert tokens is not None
    assert list(tokens.data[:10]) == [0, 8, 4, 1, 1, 2, 4, 1, 9, 1]
    folds = await editor.client.text_document_folding_range_async(lsp.FoldingRangeParams(document))
    assert folds is not None
    assert [(one.start_line, one.end_line) for one in folds] == [(0, 5), (1, 2)]
    wanted = lsp.CodeActionParams(document, error.range, lsp.CodeActionContext([error]))
    actions = await editor.client.text_document_code_action_async(wanted)
    assert actions is not None
    (action,) = actions
    assert isinstance(action, lsp.CodeAction)
    assert action.title == "Change to Pump"
