"""What the tree tells the rest of the house: symbols, tasks, instances, places in the sources."""

from __future__ import annotations

from programs import hir
from tests.programs.st_machine import body, check_text, codes


def program(text: str, *, dialect: str = "iec") -> hir.Program:
    result = check_text(text, dialect=dialect)
    assert result.program is not None, "\n".join(problem.render() for problem in result.problems)
    return result.program


def variable(tree: hir.Program, path: str) -> hir.Variable:
    key, _, name = path.rpartition(".")
    return next(v for v in tree.pous[key].variables if v.name == name)


def test_variable_when_declared_then_comment_attributes_and_place_are_kept() -> None:
    text = """PROGRAM Main
    VAR RETAIN
      {attribute 'unit' := 'bar'} {attribute 'access' := 'rw'}
      Pressure : REAL := 1.5;   (* in the boiler *)
    END_VAR
    Pressure := Pressure + 1.0;
    END_PROGRAM"""
    found = variable(program(text), "Main.Pressure")
    assert (found.comment, found.attributes) == ("in the boiler", {"unit": "bar", "access": "rw"})
    assert (found.file, found.line, found.retain, found.init) == ("main.st", 4, True, hir.Initial(1.5))


def test_statement_when_lowered_then_line_is_its_own() -> None:
    tree = program(body("x : INT;", "x := 1;\nIF x > 1 THEN\n  x := 2;\nEND_IF;"))
    first, second = tree.pous["Main"].body
    assert isinstance(second, hir.If)
    assert (first.line, second.line, second.branches[0][1][0].line) == (4, 5, 6)


def test_program_when_without_configuration_then_one_task_of_ten_milliseconds() -> None:
    tree = program(body("x : INT;", "x := 1;"))
    assert [(t.name, t.kind, t.period_ns) for t in tree.tasks] == [("main", "cyclic", 10_000_000)]
    assert [(i.name, i.pou, i.task) for i in tree.instances] == [("Main", "Main", "main")]


CONFIGURATION = """
PROGRAM Control
VAR_INPUT level : REAL; END_VAR
VAR_OUTPUT alarm : BOOL; END_VAR
  alarm := level > 3.0;
END_PROGRAM
CONFIGURATION Plant
  VAR_GLOBAL measured : REAL := 2.0; horn AT %QX0.0 : BOOL; trip AT %IX1.2 : BOOL; END_VAR
  RESOURCE Plc ON PLC
    TASK Fast(INTERVAL := T#5ms, PRIORITY := 1);
    TASK Trip(SINGLE := trip, PRIORITY := 0);
    PROGRAM C1 WITH Fast : Control (level := measured, alarm => horn);
    PROGRAM C2 WITH Trip : Control;
    PROGRAM C3 : Control;
  END_RESOURCE
END_CONFIGURATION
"""


def test_configuration_when_complete_then_tasks_instances_and_connections() -> None:
    tree = program(CONFIGURATION)
    assert [(t.name, t.kind, t.period_ns, t.priority) for t in tree.tasks] == [
        ("Fast", "cyclic", 5_000_000, 1),
        ("Trip", "event", 0, 0),
    ]
    assert isinstance(tree.tasks[1].event, hir.Load)
    assert [(i.name, i.pou, i.task) for i in tree.instances] == [
        ("C1", "Control", "Fast"),
        ("C2", "Control", "Trip"),
        ("C3", "Control", ""),
    ]
    first = tree.instances[0]
    assert [v.name for v, _ in first.inputs] == ["level"]
    assert [v.name for v, _ in first.outputs] == ["alarm"]


def test_configuration_when_task_is_unknown_then_suggestion() -> None:
    text = CONFIGURATION.replace("WITH Fast", "WITH Fats")
    problems = [p for p in check_text(text).problems if p.severity == "error"]
    assert [(p.code, p.remedy) for p in problems] == [("ST4019", "did you mean Fast?")]


def test_location_when_written_then_bytes_count_in_units_of_the_size() -> None:
    text = body(
        "a AT %QW3 : INT; b AT %IX2.5 : BOOL; c AT %MD1 : REAL; d AT %QX21 : BOOL; e AT %IW4 : ARRAY[0..2] OF INT;",
        "a := e[1]; c := 1.0; d := b;",
    )
    tree = program(text)
    found = {v.name: v.location for v in tree.pous["Main"].variables if v.location is not None}
    assert {name: (at.area, at.byte, at.bit, at.size) for name, at in found.items()} == {
        "a": ("Q", 6, -1, 2),
        "b": ("I", 2, 5, 1),
        "c": ("M", 4, -1, 4),
        "d": ("Q", 2, 5, 1),
        "e": ("I", 8, -1, 6),
    }


def test_direct_address_when_used_without_declaration_then_one_global() -> None:
    tree = program(body("x : BOOL;", "x := %IX0.1; %QX0.0 := x AND %IX0.1;"))
    assert [(v.name, v.storage) for v in tree.globals] == [
        ("%IX0.1", hir.Storage.LOCATED),
        ("%QX0.0", hir.Storage.LOCATED),
    ]
    assert codes(body("x : BOOL;", "%IX0.1 := x;")) == ["ST3013"]


def test_external_when_declared_then_it_is_the_global() -> None:
    text = """
    VAR_GLOBAL g : INT; END_VAR
    PROGRAM Main VAR_EXTERNAL g : INT; END_VAR g := g + 1; END_PROGRAM
    """
    tree = program(text)
    assign = tree.pous["Main"].body[0]
    assert isinstance(assign, hir.Assign)
    assert isinstance(assign.place, hir.VariablePlace)
    assert assign.place.variable is tree.globals[0]
    assert tree.pous["Main"].variables == []


def test_initials_when_nested_then_aggregates_by_member() -> None:
    text = """
    TYPE P : STRUCT x, y : INT := 7; END_STRUCT; END_TYPE
    PROGRAM Main VAR a : ARRAY[0..2] OF P := [2((x := 1)), (y := 3)]; t : TON := (PT := T#1s); END_VAR
      a[0].x := 1; t(IN := TRUE);
    END_PROGRAM
    """
    tree = program(text)
    one = hir.Initial({"x": hir.Initial(1)})
    assert variable(tree, "Main.a").init == hir.Initial([one, one, hir.Initial({"y": hir.Initial(3)})])
    assert variable(tree, "Main.t").init == hir.Initial({"pt": hir.Initial(1_000_000_000)})


def test_local_when_its_address_is_taken_through_an_inout_then_it_is_marked() -> None:
    text = """
    FUNCTION Keep : BOOL
    VAR_IN_OUT v : INT; END_VAR
    VAR p : POINTER TO INT; END_VAR
      p := ADR(v); p^ := 1; Keep := TRUE;
    END_FUNCTION
    FUNCTION Outer : INT
    VAR local, other : INT; END_VAR
      Keep(local); Outer := local + other;
    END_FUNCTION
    """
    tree = program(text, dialect="codesys")
    assert variable(tree, "Outer.local").addressed
    assert not variable(tree, "Outer.other").addressed


def test_access_path_when_declared_then_attribute_for_communication() -> None:
    text = """
    PROGRAM Main VAR k : INT; END_VAR k := k + 1; END_PROGRAM
    CONFIGURATION C
      RESOURCE R ON PLC TASK T(INTERVAL := T#1s); PROGRAM p WITH T : Main; END_RESOURCE
      VAR_ACCESS Shown : R.p.k : INT READ_WRITE; END_VAR
    END_CONFIGURATION
    """
    assert variable(program(text), "Main.k").attributes == {"access": "rw", "access_path": "Shown"}
