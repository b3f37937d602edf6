"""Variables, types, program organisation units, configurations and namespaces."""

from __future__ import annotations

import pytest

from programs import ast
from programs.parser import parse
from programs.source import Source


def declarations(text: str, dialect: str = "iec") -> list[ast.Declaration]:
    unit, problems = parse(Source("t.st", text), dialect)
    assert problems == []
    return unit.declarations


def pou(text: str, dialect: str = "iec") -> ast.Pou:
    (found,) = declarations(text, dialect)
    assert isinstance(found, ast.Pou)
    return found


def variables(text: str, dialect: str = "iec") -> list[ast.Variable]:
    (section,) = pou(f"PROGRAM Main\nVAR\n{text}\nEND_VAR\nEND_PROGRAM", dialect).sections
    return section.variables


def type_of(text: str, dialect: str = "iec") -> ast.TypeSpec:
    (variable,) = variables(f"x : {text};", dialect)
    assert variable.type is not None
    return variable.type


def test_variables_when_several_names_then_each_has_type_and_initial_value() -> None:
    first, second = variables("a, b AT %QW2 : INT := 3;")
    assert (first.name.name, second.name.name) == ("a", "b")
    assert first.type is second.type and first.initial is second.initial
    assert first.location is None
    assert second.location is not None and second.location.address == (2,)


def test_section_when_qualified_then_flags_are_set() -> None:
    found = pou(
        "PROGRAM P\nVAR RETAIN PERSISTENT a : INT; END_VAR\nVAR_INPUT CONSTANT b : INT; END_VAR\nEND_PROGRAM"
    )
    first, second = found.sections
    assert (first.kind, first.retain, first.persistent) == ("VAR", True, True)
    assert (second.kind, second.constant) == ("VAR_INPUT", True)


def test_variable_when_edge_or_nameless_location_then_kept() -> None:
    clock, located = variables("clk : BOOL R_EDGE;\nAT %IX1.0 : BOOL;")
    assert clock.edge == "R_EDGE"
    assert located.name.name == "%IX1.0"


def test_variable_when_comments_and_attributes_then_attached() -> None:
    first, second, third = variables(
        "(* level of the\n   upper tank *)\n{attribute 'unit' := 'cm'}\n{attribute 'hidden'}\na : INT;\n"
        "b : INT; // beside\n\n// far away\n\nc : INT;"
    )
    assert first.comment == "level of the\nupper tank"
    assert first.attributes == {"unit": "cm", "hidden": ""}
    assert second.comment == "beside"
    assert third.comment == ""


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("INT", ast.NamedType),
        ("lib.Pump", ast.NamedType),
        ("STRING", ast.StringType),
        ("WSTRING[20]", ast.StringType),
        ("INT (0..10)", ast.SubrangeType),
        ("Level (MIN_L..MAX_L)", ast.SubrangeType),
        ("ARRAY [0..9, -1..1] OF REAL", ast.ArrayType),
        ("ARRAY [*] OF REAL", ast.ArrayType),
        ("(red, green := 5)", ast.EnumType),
        ("DINT (red := 1, green)", ast.EnumType),
        ("REF_TO INT", ast.ReferenceType),
        ("STRUCT a : INT; b : REAL := 1.0; END_STRUCT", ast.StructType),
    ],
)
def test_type_when_parsed_then_has_its_node(text: str, kind: type[ast.Node]) -> None:
    assert isinstance(type_of(text), kind)


@pytest.mark.parametrize(
    ("text", "dialect", "kind"),
    [
        ("STRING(20)", "codesys", ast.StringType),
        ("POINTER TO ARRAY[0..1] OF INT", "codesys", ast.ReferenceType),
        ("REFERENCE TO INT", "rusty", ast.ReferenceType),
        ("__FPOINTER Fb.method", "rusty", ast.ReferenceType),
        ("UNION a : INT; b : WORD; END_UNION", "codesys", ast.StructType),
        ("(a, b) DINT", "codesys", ast.EnumType),
        ("Motor(speed := 5)", "codesys", ast.NamedType),
    ],
)
def test_type_when_of_a_dialect_then_read_there_and_named_elsewhere(
    text: str, dialect: str, kind: type[ast.Node]
) -> None:
    assert isinstance(type_of(text, dialect), kind)
    _, problems = parse(Source("t.st", f"PROGRAM P\nVAR x : {text}; END_VAR\nEND_PROGRAM"), "iec")
    assert [problem.code for problem in problems] == ["ST2009"]
    assert dialect in problems[0].message


@pytest.mark.parametrize(
    ("text", "dialect", "kind"),
    [
        ("x : ARRAY[0..2] OF INT := [1, 2(0)];", "iec", ast.ArrayInitial),
        ("x : ARRAY[0..2] OF INT := 1, 2(0);", "codesys", ast.ArrayInitial),
        ("x : Point := (a := 1, b := (c := 2));", "iec", ast.StructInitial),
        ("x : ARRAY[0..1] OF Point := [(a := 1), (a := 2)];", "iec", ast.ArrayInitial),
        ("x : TON := (PT := T#1s);", "iec", ast.StructInitial),
        ("x : REF_TO INT := NULL;", "iec", ast.NullLiteral),
        ("x : REFERENCE TO INT REF= y;", "codesys", ast.Name),
    ],
)
def test_initial_value_when_parsed_then_has_its_node(text: str, dialect: str, kind: type[ast.Node]) -> None:
    (variable,) = variables(text, dialect)
    assert isinstance(variable.initial, kind)


def test_type_block_when_several_types_then_one_declaration_each() -> None:
    found = declarations(
        "TYPE\n  Colour : (Red, Green) := Green;\n  (* a point *)\n  Point : STRUCT x, y : REAL; END_STRUCT;\nEND_TYPE"
    )
    first, second = found
    assert isinstance(first, ast.TypeDeclaration) and isinstance(first.initial, ast.Name)
    assert isinstance(second, ast.TypeDeclaration) and second.comment == "a point"


def test_function_when_it_has_result_and_outputs_then_kept() -> None:
    found = pou(
        "(* adds *)\nFUNCTION Add2 : LREAL\nVAR_INPUT a : LREAL; END_VAR\nVAR_OUTPUT ok : BOOL; END_VAR\n"
        "Add2 := a + 2.0;\nEND_FUNCTION"
    )
    assert isinstance(found.result, ast.NamedType) and found.result.name == "LREAL"
    assert [section.kind for section in found.sections] == ["VAR_INPUT", "VAR_OUTPUT"]
    assert found.comment == "adds"


def test_function_when_void_then_no_result() -> None:
    assert pou("FUNCTION F : VOID\nEND_FUNCTION").result is None
    assert pou("FUNCTION F\nEND_FUNCTION").result is None


def test_function_block_when_object_oriented_then_members_are_kept() -> None:
    found = pou(
        """FUNCTION_BLOCK ABSTRACT Pump EXTENDS lib.Base IMPLEMENTS Startable, Named
VAR speed : INT; END_VAR
METHOD PUBLIC FINAL Start : BOOL
VAR_INPUT s : INT; END_VAR
speed := s;
END_METHOD
METHOD PROTECTED ABSTRACT Check
END_METHOD
PROPERTY PUBLIC Speed : INT
GET
Speed := speed;
END_GET
SET
speed := Speed;
END_SET
END_PROPERTY
ACTION Reset:
IF speed > 0 THEN speed := 0; END_IF;
END_ACTION
speed := speed + 1;
END_FUNCTION_BLOCK"""
    )
    assert found.abstract
    assert [type(name).__name__ for name in found.extends] == ["Member"]
    assert len(found.implements) == 2
    start, check = found.methods
    assert (start.access, start.final, start.kind) == ("PUBLIC", True, "METHOD")
    assert (check.access, check.abstract, check.body) == ("PROTECTED", True, None)
    (speed,) = found.properties
    assert [accessor.kind for accessor in speed.accessors] == ["GET", "SET"]
    assert [action.name.name for action in found.actions] == ["Reset"]
    assert isinstance(found.body, ast.StatementBody) and len(found.body.statements) == 1


def test_interface_when_parsed_then_methods_have_no_body() -> None:
    (found,) = declarations(
        "INTERFACE Startable EXTENDS Named\nMETHOD Start : BOOL\nVAR_INPUT s : INT; END_VAR\nEND_METHOD\n"
        "PROPERTY Speed : INT\nGET END_GET\nEND_PROPERTY\nEND_INTERFACE"
    )
    assert isinstance(found, ast.Interface)
    assert [method.body for method in found.methods] == [None]
    assert [entry.accessors[0].body for entry in found.properties] == [None]


def test_class_when_parsed_then_has_methods() -> None:
    found = pou(
        "CLASS FINAL Counter\nVAR n : INT; END_VAR\nMETHOD PUBLIC Up\nn := n + 1;\nEND_METHOD\nEND_CLASS"
    )
    assert (found.kind, found.final, len(found.methods)) == ("CLASS", True, 1)


def test_namespace_when_nested_then_declarations_are_inside() -> None:
    (found,) = declarations(
        "NAMESPACE a.b\nUSING c;\nNAMESPACE INTERNAL d\nFUNCTION f : INT\nEND_FUNCTION\nEND_NAMESPACE\nEND_NAMESPACE"
    )
    assert isinstance(found, ast.Namespace) and len(found.using) == 1
    (inner,) = found.declarations
    assert isinstance(inner, ast.Namespace) and inner.internal
    assert len(inner.declarations) == 1


def test_configuration_when_complete_then_every_element_is_kept() -> None:
    (found,) = declarations(
        """CONFIGURATION Plant
VAR_GLOBAL level : INT; END_VAR
RESOURCE cpu ON PLC
  VAR_GLOBAL start AT %IX0.0 : BOOL; END_VAR
  TASK fast(INTERVAL := T#10ms, PRIORITY := 1);
  TASK event(SINGLE := start, PRIORITY := 0);
  PROGRAM RETAIN main WITH fast : Main(set := level, total => level, timer WITH event);
END_RESOURCE
VAR_ACCESS reading : cpu.main.x : INT READ_ONLY; END_VAR
VAR_CONFIG cpu.main.valve AT %QX0.1 : BOOL := TRUE; END_VAR
END_CONFIGURATION"""
    )
    assert isinstance(found, ast.Configuration)
    assert [section.kind for section in found.sections] == ["VAR_GLOBAL", "VAR_ACCESS", "VAR_CONFIG"]
    (resource,) = found.resources
    fast, event = resource.tasks
    assert fast.interval is not None and event.single is not None
    (program,) = resource.programs
    assert program.retain and program.task is not None and program.type.name == "Main"
    assert [argument.output for argument in program.arguments] == [False, True]
    assert len(program.block_tasks) == 1
    (access,) = found.sections[1].variables
    assert access.access == "READ_ONLY" and access.path is not None
    (configured,) = found.sections[2].variables
    assert configured.name.name == "cpu.main.valve" and configured.location is not None


def test_configuration_when_tasks_stand_directly_in_it_then_a_nameless_resource_holds_them() -> None:
    (found,) = declarations(
        "CONFIGURATION C\nTASK t(INTERVAL := T#1s);\nPROGRAM p WITH t : Main;\nEND_CONFIGURATION"
    )
    assert isinstance(found, ast.Configuration)
    assert [(resource.name, len(resource.tasks)) for resource in found.resources] == [(None, 1)]


def test_rusty_forms_when_read_then_kept() -> None:
    found = declarations(
        "{external}\nFUNCTION MAX2<T : ANY_NUM> : T\nVAR_INPUT args : INT...; END_VAR\nEND_FUNCTION\n"
        "ACTIONS Pump\nACTION Stop\nx := 0;\nEND_ACTION\nEND_ACTIONS\nACTION Pump.Go\nx := 1;\nEND_ACTION",
        "rusty",
    )
    function, first, second = found
    assert isinstance(function, ast.Pou) and function.external
    assert [parameter.family for parameter in function.type_parameters] == ["ANY_NUM"]
    assert isinstance(first, ast.ActionsOf) and isinstance(first.owner, ast.Name)
    assert isinstance(second, ast.ActionsOf) and second.actions[0].name.name == "Go"


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        ("PROGRAM P\nEND_PROGRAM", "iec"),
        ("TYPE P : POINTER TO INT; END_TYPE", "codesys"),
        ("PROGRAM P\nVAR x, y : INT; END_VAR\nx := y := 1;\nEND_PROGRAM", "codesys"),
        ("FUNCTION f<T : ANY> : T\nEND_FUNCTION", "rusty"),
    ],
)
def test_dialect_when_auto_then_decided_by_the_forms_that_are_used(text: str, dialect: str) -> None:
    unit, problems = parse(Source("t.st", text), "auto")
    assert problems == []
    assert unit.dialect == dialect
