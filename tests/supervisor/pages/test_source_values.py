"""Values beside source lines: names are found where the runtime has a tag of them, and nowhere else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisor.pages.source_values import instances, plain, pous, values_by_line

SOURCE = """(* Level1 in a comment *)
PROGRAM Control
VAR
    Level1 : REAL; Pump, Spare : PumpSequence;
END_VAR
    Pump(Demand := Level1 < 40.0); // Level1
    Text := 'Level1';
    Run := Pump.Run;
END_PROGRAM
"""
BLOCK = """FUNCTION_BLOCK PumpSequence
VAR_OUTPUT Run : BOOL; END_VAR
VAR Timer : TON; END_VAR
    Run := Timer.Q;
END_FUNCTION_BLOCK
CONFIGURATION C RESOURCE R ON PLC
    TASK Fast(INTERVAL := T#20ms, PRIORITY := 1);
    PROGRAM Main1 WITH Fast : Control;
END_RESOURCE END_CONFIGURATION
"""
TAGS = ("Main1.Level1", "Main1.Pump.Run", "Main1.Pump.Timer.Q", "Main1.Spare.Timer.Q", "Run")


def test_instances_when_blocks_are_nested_then_each_has_its_path() -> None:
    found = instances([SOURCE, BLOCK])
    assert found == {"control": ["Main1"], "pumpsequence": ["Main1.Pump", "Main1.Spare"]}


def test_values_by_line_when_a_program_is_shown_then_code_counts_and_comments_and_strings_do_not() -> None:
    assert values_by_line(SOURCE, {"control": "Main1"}, TAGS) == [
        (4, [("Level1", "Main1.Level1")]),
        (6, [("Level1", "Main1.Level1")]),
        (8, [("Run", "Run"), ("Pump.Run", "Main1.Pump.Run")]),
    ]


def test_values_by_line_when_another_instance_is_chosen_then_its_values_are_taken() -> None:
    first = values_by_line(BLOCK, {"pumpsequence": "Main1.Pump"}, TAGS)
    second = values_by_line(BLOCK, {"pumpsequence": "Main1.Spare"}, TAGS)
    assert (4, [("Run", "Main1.Pump.Run"), ("Timer.Q", "Main1.Pump.Timer.Q")]) in first
    assert (4, [("Run", "Run"), ("Timer.Q", "Main1.Spare.Timer.Q")]) in second


def test_values_by_line_when_no_instance_is_known_then_nothing_is_shown() -> None:
    assert values_by_line(SOURCE, {}, TAGS) == []


@given(st.text(alphabet="(*)/'{}\n x:=;\"$PROGRAMEND_VAR", max_size=200))
def test_plain_when_any_text_is_given_then_lines_and_columns_stay(text: str) -> None:
    blank = plain(text)
    assert len(blank) == len(text)
    assert blank.count("\n") == text.count("\n")
    pous(text)
    instances([text])
