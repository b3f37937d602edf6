"""What an editor is told about names: in whole programs and in the middle of typing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from programs.lsp import features
from programs.lsp.features import Span
from programs.lsp.workspace import Workspace, problems_of

PUMP = """\
(* A pump with a running feedback. *)
FUNCTION_BLOCK Pump EXTENDS Base
VAR_INPUT
    Demand : BOOL; // start it
    {attribute 'unit' := 's'}
    RunUp : TIME := T#5s;
END_VAR
VAR_OUTPUT
    Run : BOOL;
END_VAR
VAR
    delay : TON;
END_VAR
    METHOD PUBLIC Reset : BOOL
    VAR_INPUT
        hard : BOOL;
    END_VAR
        Reset := hard AND Run;
        THIS.starts := 0;
    END_METHOD
    delay(IN := Demand, PT := RunUp, Q => Run);
END_FUNCTION_BLOCK
"""
TYPES = """\
FUNCTION_BLOCK Base
VAR_OUTPUT
    starts : UDINT;
END_VAR
END_FUNCTION_BLOCK
TYPE
    Mode : (Off, On);
    Tank : STRUCT
        level : REAL;
        pumps : ARRAY[0..1] OF Pump;
    END_STRUCT;
END_TYPE
"""
MAIN = """\
PROGRAM Main
VAR
    tank : Tank := (level := 1.0);
    mode : Mode := Mode#Off;
    other : REF_TO Tank;
END_VAR
    tank.pumps[0](Demand := mode = Mode#On);
    IF tank.pumps[1].Reset(hard := TRUE) THEN
        tank.level := LIMIT(0.0, other^.level, 5.0);
    END_IF;
END_PROGRAM
"""


@pytest.fixture
def workspace() -> Workspace:
    made = Workspace()
    for path, text in (("pump.st", PUMP), ("types.st", TYPES), ("main.st", MAIN)):
        made.set(path, text)
    return made


def cursor(text: str) -> tuple[str, int]:
    """A text without its ``|``, and where that stood."""
    return text.replace("|", ""), text.index("|")


def labels(workspace: Workspace, body: str) -> list[str]:
    text, offset = cursor(MAIN.replace("END_PROGRAM", f"{body}\nEND_PROGRAM"))
    workspace.set("main.st", text)
    return [one.label for one in features.completion(workspace, "main.st", offset)]


@pytest.mark.parametrize(
    ("text", "path", "declared"),
    [
        ("ta|nk.pumps[0]", "main.st", "tank : Tank"),
        ("tank.pum|ps[0]", "types.st", "pumps : ARRAY"),
        ("tank.pumps[0](Dem|and", "pump.st", "Demand : BOOL"),
        ("mode = Mo|de#On", "types.st", "Mode : ("),
        ("Mode#O|n)", "types.st", "On)"),
        (".Re|set(", "pump.st", "Reset : BOOL"),
        ("(ha|rd := TRUE", "pump.st", "hard : BOOL"),
        ("other^.le|vel", "types.st", "level : REAL"),
        ("tank : Ta|nk :=", "types.st", "Tank : STRUCT"),
        ("(lev|el := 1.0)", "types.st", "level : REAL"),
    ],
)
def test_definition_when_on_a_name_then_its_declaration(
    workspace: Workspace, text: str, path: str, declared: str
) -> None:
    plain, at = cursor(text)
    found = features.definition(workspace, "main.st", MAIN.index(plain) + at)
    assert found is not None
    assert found.path == path
    assert workspace.text(path)[found.start :].startswith(declared)


def test_definition_when_inherited_through_this_then_in_the_base(workspace: Workspace) -> None:
    found = features.definition(workspace, "pump.st", PUMP.index("starts"))
    assert found == Span("types.st", TYPES.index("starts"), TYPES.index("starts") + 6)


def test_definition_when_standard_function_then_none_but_hover_tells(workspace: Workspace) -> None:
    at = MAIN.index("LIMIT")
    assert features.definition(workspace, "main.st", at) is None
    hover = features.hover(workspace, "main.st", at)
    assert hover is not None and "FUNCTION LIMIT(MN" in hover.text


def test_hover_when_on_a_pin_then_type_unit_section_and_comment(workspace: Workspace) -> None:
    hover = features.hover(workspace, "pump.st", PUMP.index("RunUp,"))
    assert hover is not None
    assert "RunUp : TIME := T#5s" in hover.text
    assert "unit: s" in hover.text
    assert "VAR_INPUT of Pump" in hover.text


def test_hover_when_on_nothing_then_none(workspace: Workspace) -> None:
    assert features.hover(workspace, "main.st", 0) is None
    assert features.hover(workspace, "unknown.st", 5) is None


def test_references_when_a_member_then_in_all_files(workspace: Workspace) -> None:
    found = features.references(workspace, "types.st", TYPES.index("level"))
    assert [(span.path, MAIN[span.start : span.end]) for span in found if span.path == "main.st"] == [
        ("main.st", "level")
    ] * 3
    assert len(found) == 4
    assert len(features.references(workspace, "types.st", TYPES.index("level"), declaration=False)) == 3


def test_rename_when_applied_then_program_still_means_the_same(workspace: Workspace) -> None:
    spans = features.rename(workspace, "main.st", MAIN.index("level"), "height")
    texts = workspace.texts()
    for span in sorted(spans, key=lambda one: -one.start):
        text = texts[span.path]
        texts[span.path] = f"{text[: span.start]}height{text[span.end :]}"
    assert "level" not in texts["main.st"] + texts["types.st"]
    assert texts["main.st"].count("height") == 3


@pytest.mark.parametrize("name", ["END_IF", "1x", "", "a b"])
def test_rename_when_new_name_is_none_then_nothing(workspace: Workspace, name: str) -> None:
    assert features.rename(workspace, "main.st", MAIN.index("tank"), name) == []


def test_rename_when_standard_function_then_nothing(workspace: Workspace) -> None:
    assert features.rename(workspace, "main.st", MAIN.index("LIMIT"), "clamp") == []


def test_completion_when_behind_a_point_then_members_only(workspace: Workspace) -> None:
    assert labels(workspace, "    tank.|") == ["level", "pumps"]
    assert set(labels(workspace, "    tank.pumps[0].|")) == {"Demand", "RunUp", "Run", "Reset", "starts"}
    assert labels(workspace, "    other^.le| := 1.0;") == ["level", "pumps"]


def test_completion_when_in_a_call_then_pins_come_first(workspace: Workspace) -> None:
    assert labels(workspace, "    tank.pumps[0](|")[:3] == ["Demand :=", "RunUp :=", "Run =>"]


def test_completion_when_a_statement_starts_then_scope_globals_standard_and_keywords(
    workspace: Workspace,
) -> None:
    found = labels(workspace, "    |")
    assert {"tank", "mode", "Pump", "On", "TON", "LIMIT", "IF"} <= set(found)
    assert "delay" not in found


def test_signature_when_in_a_call_then_parameters_and_the_current_one(workspace: Workspace) -> None:
    text, offset = cursor(MAIN.replace("END_PROGRAM", "    x := LIMIT(1, f(2, 3), |\nEND_PROGRAM"))
    workspace.set("main.st", text)
    found = features.signature(workspace, "main.st", offset)
    assert found is not None
    assert len(found.parameters) == 3
    assert found.active == 2


def test_outline_when_block_with_members_then_they_are_inside(workspace: Workspace) -> None:
    (pump,) = features.outline(workspace, "pump.st")
    assert (pump.name, pump.kind) == ("Pump", "function block")
    assert [one.name for one in pump.inside] == ["Demand", "RunUp", "Run", "delay", "Reset"]
    assert [one.name for one in pump.inside[-1].inside] == ["hard"]


def test_formatted_when_errors_then_none(workspace: Workspace) -> None:
    workspace.set("main.st", "PROGRAM P x := ; END_PROGRAM")
    assert features.formatted(workspace, "main.st") is None
    assert features.formatted(workspace, "pump.st") == PUMP


def test_problems_when_a_file_is_wrong_then_under_its_path() -> None:
    found = problems_of({"a.st": "PROGRAM P\nx := 1;\nEND_PROGRAM", "b.st": ""}, "iec")
    assert [problem.place.line for problem in found["a.st"]][:1] == [2]
    assert found["b.st"] == []


def test_problems_when_a_block_is_written_in_python_then_the_program_may_call_it() -> None:
    texts = {"a.st": "PROGRAM P VAR e : Twice; y : INT; END_VAR e(X := y, Y => y); END_PROGRAM"}
    python = {
        "own.py": b'@block(inputs="X : INT", outputs="Y : INT")\ndef twice(b, context):\n    b.Y = 2 * b.X\n'
    }
    assert [
        one.severity for one in problems_of(texts, "iec", python)["a.st"] if one.severity == "error"
    ] == []
    assert [one.code for one in problems_of(texts, "iec")["a.st"] if one.severity == "error"] != []


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, len(MAIN)),
    st.integers(0, 12),
    st.sampled_from(["", ".", "(", "x", "[", "#", ";\n", "IF "]),
)
def test_features_when_text_is_broken_anywhere_then_they_still_answer(
    at: int, removed: int, inserted: str
) -> None:
    workspace = Workspace()
    text = MAIN[:at] + inserted + MAIN[at + removed :]
    for path, content in (("pump.st", PUMP), ("types.st", TYPES), ("main.st", text)):
        workspace.set(path, content)
    offset = at + len(inserted)
    assert features.completion(workspace, "main.st", offset) is not None
    features.hover(workspace, "main.st", offset)
    features.signature(workspace, "main.st", offset)
    features.references(workspace, "main.st", offset)
    assert isinstance(features.outline(workspace, "main.st"), list)
