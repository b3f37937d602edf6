"""Layout of the block, symbols and the first image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from programs import hir
from programs.layout import BlockLayout, TooLargeError
from programs.layout_symbols import Image, SymbolTable, encode_string, type_name
from scan.abi import HEADER_SIZE, NUMPY_TYPE, IecType, Symbol
from tests.programs.hir_builder import BOOL, BYTE, DINT, INT, LINT, LREAL, REAL, E, program_of, var
from tests.programs.hir_generator import Generator
from tests.programs.st_machine import machine

T = IecType
POINT = hir.Struct(
    "Point", (hir.Member("x", BYTE, hir.Initial(7)), hir.Member("y", LREAL), hir.Member("z", INT))
)


def laid_out(variables: list[hir.Variable], **more: Any) -> tuple[dict[str, Symbol], bytes, BlockLayout]:
    layout = BlockLayout(program_of([], variables, **more))
    table = SymbolTable(layout)
    symbols = {symbol.path: symbol for symbol in table.collect()}
    return symbols, Image(layout, table.addresses).build(), layout


def test_members_when_laid_out_then_each_is_aligned_to_its_size() -> None:
    symbols, _, layout = laid_out(
        [var("b", BOOL), var("d", DINT), var("c", BYTE), var("l", LINT), var("r", REAL)]
    )
    start = layout.instances[0].offset
    assert [symbols[f"Main.{name}"].offset - start for name in "bdclr"] == [0, 4, 8, 16, 24]


def test_structure_when_in_an_array_then_leaves_have_paths_and_defaults() -> None:
    symbols, image, _ = laid_out([var("a", hir.Array(POINT, ((1, 2), (0, 1))))])
    paths = [path for path in symbols if path.endswith(".x")]
    assert paths == ["Main.a[1,0].x", "Main.a[1,1].x", "Main.a[2,0].x", "Main.a[2,1].x"]
    assert symbols["Main.a[1,1].x"].offset - symbols["Main.a[1,0].x"].offset == 24
    assert all(image[symbols[path].offset] == 7 for path in paths)


def test_array_of_elementary_when_flattened_then_one_symbol_with_bounds() -> None:
    symbols, image, _ = laid_out([var("a", hir.Array(INT, ((-1, 1),)), [hir.Initial(5), hir.Initial(-2)])])
    symbol = symbols["Main.a"]
    assert symbol.dims == ((-1, 1),) and symbol.type is T.INT and symbol.type_name == "ARRAY[-1..1] OF INT"
    assert np.frombuffer(image, "<i2", 3, symbol.offset).tolist() == [5, -2, 0]


def test_union_when_laid_out_then_members_share_their_bytes() -> None:
    union = hir.Struct("U", (hir.Member("d", DINT), hir.Member("r", REAL)), union=True)
    symbols, _, _ = laid_out([var("u", union)])
    assert symbols["Main.u.d"].offset == symbols["Main.u.r"].offset


def test_located_when_laid_out_then_in_its_image_with_its_bit() -> None:
    bit = hir.Location("Q", 2, 5, 1, "%QX2.5")
    word = hir.Location("I", 6, -1, 2, "%IW3")
    variables = [
        var("q", BOOL, 1, hir.Storage.LOCATED, location=bit),
        var("i", INT, None, hir.Storage.LOCATED, location=word),
    ]
    symbols, image, layout = laid_out(variables)
    assert layout.inputs.offset == HEADER_SIZE and layout.inputs.size == layout.outputs.size == 8
    assert symbols["Main.q"].offset == layout.outputs.offset + 2 and symbols["Main.q"].bit == 5
    assert symbols["Main.i"].offset == layout.inputs.offset + 6 and symbols["Main.i"].owner == ""
    assert image[symbols["Main.q"].offset] == 1 << 5


def test_attributes_when_declared_then_on_the_symbol() -> None:
    attributes = {"unit": "bar", "low": "0", "high": "16.5", "access": "rw"}
    symbols, _, _ = laid_out([var("p", REAL, retain=True, comment="pressure", attributes=attributes)])
    symbol = symbols["Main.p"]
    assert (symbol.unit, symbol.low, symbol.high, symbol.access) == ("bar", 0.0, 16.5, "rw")
    assert symbol.retain and symbol.comment == "pressure" and symbol.owner == "Fast"


def test_retain_when_on_an_instance_then_on_all_of_it() -> None:
    text = """
    FUNCTION_BLOCK Inner VAR n : INT; END_VAR n := n + 1; END_FUNCTION_BLOCK
    PROGRAM Main VAR RETAIN kept : Inner; END_VAR VAR lost : Inner; END_VAR kept(); lost(); END_PROGRAM
    """
    application = machine(text).application
    assert {symbol.path: symbol.retain for symbol in application.symbols} == {
        "Main.kept.n": True,
        "Main.lost.n": False,
    }


def test_enumeration_when_initialised_then_first_value_unless_given() -> None:
    kind = hir.Enum("Mode", T.INT, (("Off", 3), ("On", 5)))
    symbols, image, _ = laid_out([var("a", kind), var("b", kind, 5)])
    read = [int.from_bytes(image[symbols[f"Main.{name}"].offset :][:2], "little") for name in "ab"]
    assert read == [3, 5] and symbols["Main.a"].enum_values == (("Off", 3), ("On", 5))


def test_reference_when_initialised_then_offset_of_its_target() -> None:
    variables = [var("n", INT), var("r", hir.Ref(INT), hir.AddressOf("Main.n"))]
    symbols, image, _ = laid_out(variables)
    stored = int.from_bytes(image[symbols["Main.r"].offset :][:8], "little")
    assert stored == symbols["Main.n"].offset and symbols["Main.r"].type is T.REF


def test_text_when_initialised_then_truncated_and_padded() -> None:
    assert encode_string(hir.String(4), "abcdef") == b"abcd\0"
    assert encode_string(hir.String(3, wide=True), "ä") == "ä".encode("utf-16-le") + bytes(6)


def test_type_name_when_asked_then_as_declared() -> None:
    assert type_name(E(T.INT, low=0, high=9)) == "INT(0..9)"
    assert type_name(hir.Array(hir.String(8), ((1, 2), (0, 3)))) == "ARRAY[1..2, 0..3] OF STRING[8]"
    assert type_name(hir.Ref(DINT)) == "REF_TO DINT"


def test_block_when_beyond_two_gigabytes_then_refused() -> None:
    with pytest.raises(TooLargeError):
        BlockLayout(program_of([], [var("a", hir.Array(LREAL, ((1, 2**28),)))]))


def test_task_writes_when_a_callee_writes_a_global_then_only_that_range() -> None:
    text = """
    VAR_GLOBAL a : INT; b : DINT; c : LINT; q AT %QX1.3 : BOOL; END_VAR
    FUNCTION_BLOCK Writer VAR_EXTERNAL c : LINT; END_VAR c := 1; END_FUNCTION_BLOCK
    PROGRAM One VAR_EXTERNAL a : INT; b : DINT; END_VAR VAR w : Writer; END_VAR a := DINT_TO_INT(b); w(); END_PROGRAM
    PROGRAM Two VAR_EXTERNAL a : INT; b : DINT; q : BOOL; END_VAR b := a; q := b > 0; END_PROGRAM
    CONFIGURATION C
    TASK Fast(INTERVAL := T#10ms, PRIORITY := 1); TASK Slow(INTERVAL := T#50ms, PRIORITY := 2);
    PROGRAM One WITH Fast : One; PROGRAM Two WITH Slow : Two;
    END_CONFIGURATION
    """
    application = machine(text).application
    symbols = {symbol.path.lower(): symbol for symbol in application.symbols}
    written = {task.name: {(one.offset, one.size) for one in task.writes} for task in application.tasks}
    assert written["Fast"] == {(symbols["a"].offset, 2), (symbols["c"].offset, 8)}
    assert written["Slow"] == {(symbols["q"].offset, 1), (symbols["b"].offset, 4)}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**40))
def test_symbols_when_program_is_generated_then_they_lie_in_the_block_and_do_not_overlap(seed: int) -> None:
    layout = BlockLayout(Generator(seed).program())
    symbols = [symbol for symbol in SymbolTable(layout).collect() if not symbol.location]
    end = HEADER_SIZE
    for symbol in sorted(symbols, key=lambda one: one.offset):
        assert end <= symbol.offset and symbol.offset + symbol.size <= layout.size
        end = symbol.offset + symbol.size
        assert (
            symbol.type in (T.STRING, T.WSTRING)
            or symbol.offset % np.dtype(NUMPY_TYPE[symbol.type]).itemsize == 0
        )
