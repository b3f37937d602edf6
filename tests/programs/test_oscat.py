"""Functions of OSCAT Basic with known mathematical results give them. ``TICKWORK_OSCAT`` names the exported folder."""

from __future__ import annotations

import calendar
import datetime
import math
import os
import pathlib
import statistics

import pytest

from programs.check import check
from programs.source import SourceSet
from tests.programs.hir_builder import Both

# What a user of the library declares; the exported folder does not have it.
GLOBALS = """VAR_GLOBAL CONSTANT STRING_LENGTH : INT := 250; LIST_LENGTH : INT := 250; END_VAR
VAR_GLOBAL MATH : CONSTANTS_MATH; PHYS : CONSTANTS_PHYS; LANGUAGE : CONSTANTS_LANGUAGE; SETUP : CONSTANTS_SETUP;
LOCATION : CONSTANTS_LOCATION; END_VAR
"""
ROWS = (3.5, -1.25, 8.0, 0.5, 2.75, 6.0, 4.125, 1.0)
DAY = datetime.date(2024, 2, 29)


def seconds(year: int, month: int, day: int) -> int:
    return calendar.timegm((year, month, day, 0, 0, 0))


def bits(value: int, width: int) -> int:
    return int(f"{value:0{width}b}"[::-1], 2)


def normal(x: float, mean: float, deviation: float) -> float:
    return 0.5 * (1 + math.erf((x - mean) / (deviation * math.sqrt(2))))


# Call, its result, relative tolerance: a REAL has seven digits, some functions are series or tables.
NUMBERS: tuple[tuple[str, float, float], ...] = (
    ("ACOSH(2.5)", math.acosh(2.5), 1e-5), ("ASINH(1.75)", math.asinh(1.75), 1e-5),
    ("ATANH(0.5)", math.atanh(0.5), 1e-5), ("ACOTH(3.0)", math.atanh(1 / 3), 1e-5),
    ("SINH(1.25)", math.sinh(1.25), 1e-5), ("COSH(1.25)", math.cosh(1.25), 1e-5),
    ("TANH(0.75)", math.tanh(0.75), 1e-5), ("COTH(0.75)", 1 / math.tanh(0.75), 1e-5),
    ("ATAN2(1.0, -2.0)", math.atan2(1, -2), 1e-5), ("ATAN2(-1.0, -2.0)", math.atan2(-1, -2), 1e-5),
    ("GDF(0.8)", 2 * math.atan(math.exp(0.8)) - math.pi / 2, 1e-5),
    ("AGDF(0.8)", math.asinh(math.tan(0.8)), 1e-5),
    ("BETA(2.5, 3.5)", math.gamma(2.5) * math.gamma(3.5) / math.gamma(6), 1e-3),
    ("GAMMA(4.5)", math.gamma(4.5), 1e-3), ("ERF(0.7)", math.erf(0.7), 1e-3), ("ERFC(0.7)", math.erfc(0.7), 1e-3),
    ("GAUSS(1.2, 1.0, 0.5)", math.exp(-0.5 * 0.4**2) / (0.5 * math.sqrt(2 * math.pi)), 1e-4),
    ("GAUSSCD(1.2, 1.0, 0.5)", normal(1.2, 1.0, 0.5), 1e-3),
    ("CAUCHY(1.5, 1.0, 2.0)", 2 / (math.pi * (4 + 0.25)), 1e-5),
    ("CAUCHYCD(1.5, 1.0, 2.0)", 0.5 + math.atan(0.25) / math.pi, 1e-5),
    ("LANGEVIN(1.5)", 1 / math.tanh(1.5) - 1 / 1.5, 1e-4), ("SIGMOID(0.4)", 1 / (1 + math.exp(-0.4)), 1e-5),
    ("SINC(0.9)", math.sin(0.9) / 0.9, 1e-5), ("TANC(0.9)", math.tan(0.9) / 0.9, 1e-5),
    ("LAMBERT_W(math.E)", 1.0, 1e-4), ("HYPOT(3.0, 4.0)", 5.0, 1e-6), ("EXP10(1.5)", 10**1.5, 1e-5),
    ("EXPN(1.5, 7)", 1.5**7, 1e-5), ("EXPN(2.0, -3)", 0.125, 1e-5), ("SQRTN(32.0, 5)", 2.0, 1e-5),
    ("F_LIN(2.0, 3.0, 4.0)", 10.0, 1e-6), ("F_QUAD(2.0, 3.0, 4.0, 5.0)", 25.0, 1e-6),
    ("F_POWER(2.0, 3.0, 4.0)", 162.0, 1e-5), ("F_LIN2(2.0, 1.0, 10.0, 3.0, 30.0)", 20.0, 1e-5),
    ("GOLD(1.0)", (1 + math.sqrt(5)) / 2, 1e-5), ("INV(8.0)", 0.125, 1e-6), ("NEGX(2.0)", -2.0, 1e-6),
    ("FRACT(3.75)", 0.75, 1e-6), ("MODR(5.5, 2.5)", 0.5, 1e-5), ("RND(1234.5678, 3)", 1230.0, 1e-5),
    ("ROUND(2.71828, 2)", 2.72, 1e-5), ("DEG(1.0)", math.degrees(1), 1e-5), ("RAD(90.0)", math.pi / 2, 1e-5),
    ("CIRCLE_A(2.0, 90.0)", math.pi, 1e-5), ("CIRCLE_C(2.0, 90.0)", math.pi, 1e-5),
    ("ELLIPSE_A(2.0, 3.0)", 6 * math.pi, 1e-5), ("SPHERE_V(1.5)", 4 / 3 * math.pi * 1.5**3, 1e-5),
    ("CONE_V(1.5, 4.0)", math.pi * 1.5**2 * 4 / 3, 1e-5), ("TRIANGLE_A(3.0, 0.0, 4.0, 5.0)", 6.0, 1e-5),
    ("C_TO_F(100.0)", 212.0, 1e-5), ("F_TO_C(212.0)", 100.0, 1e-5), ("C_TO_K(0.0)", 273.15, 1e-5),
    ("K_TO_C(0.0)", -273.15, 1e-5), ("KMH_TO_MS(36.0)", 10.0, 1e-5), ("MS_TO_KMH(10.0)", 36.0, 1e-5),
    ("GEO_TO_DEG(10, 30, 36.0)", 10.51, 1e-5), ("MAX3(1.0, 3.0, 2.0)", 3.0, 0), ("MID3(1.0, 3.0, 2.0)", 2.0, 0),
    ("MIN3(2.0, 1.0, 3.0)", 1.0, 0), ("MIX(2.0, 4.0, 0.25)", 2.5, 1e-6), ("MUL_ADD(2.0, 3.0, 4.0)", 10.0, 1e-6),
    ("DEAD_ZONE(5.0, 2.0)", 5.0, 1e-6), ("DEAD_BAND(5.0, 2.0)", 3.0, 1e-6), ("STAIR(7.3, 2.0)", 8.0, 1e-6),
    ("SCALE_R(5.0, 0.0, 10.0, 100.0, 200.0)", 150.0, 1e-5), ("BYTE_TO_RANGE(51, 0.0, 10.0)", 2.0, 1e-5),
    ("WORD_TO_RANGE(13107, 0.0, 10.0)", 2.0, 1e-4), ("RANGE_TO_BYTE(2.0, 0.0, 10.0)", 51, 0),
    ("FACT(7)", 5040, 0), ("FIB(10)", 55, 0), ("BINOM(10, 3)", 120, 0), ("GCD(84, 36)", 12, 0), ("SGN(-2.5)", -1, 0),
    ("CEIL(2.1)", 3, 0), ("FLOOR(-2.1)", -3, 0), ("CEIL2(-2.1)", -2, 0), ("FLOOR2(2.9)", 2, 0),
    ("D_TRUNC(-2.9)", -2, 0), ("BIT_COUNT(16#F0F1)", 9, 0), ("REVERSE(16#16)", bits(0x16, 8), 0),
    ("REFLECT(16#16, 8)", bits(0x16, 8), 0), ("BYTE_TO_GRAY(16#5A)", 0x5A ^ 0x2D, 0),
    ("GRAY_TO_BYTE(BYTE_TO_GRAY(16#5A))", 0x5A, 0), ("SWAP_BYTE(16#1234)", 0x3412, 0),
    ("SWAP_BYTE2(16#12345678)", 0x78563412, 0), ("BCDC_TO_INT(16#42)", 42, 0), ("INT_TO_BCDC(42)", 0x42, 0),
    ("DWORD_OF_BYTE(1, 2, 3, 4)", 0x01020304, 0), ("WORD_OF_BYTE(16#AB, 16#CD)", 0xABCD, 0),
    ("BYTE_OF_DWORD(16#12345678, 2)", 0x34, 0), ("SHR1(16#10, 2)", 0xC0000004, 0), ("SHL1(16#1, 3)", 0xF, 0),
    ("BIT_TOGGLE_B(16#0F, 0)", 0x0E, 0), ("BIT_LOAD_B(0, TRUE, 3)", 8, 0), ("HEX_TO_DWORD('1aF')", 0x1AF, 0),
    ("BIN_TO_DWORD('10110')", 0b10110, 0), ("OCT_TO_DWORD('755')", 0o755, 0), ("DEC_TO_DWORD('0815')", 815, 0),
    ("FLOAT_TO_REAL('-12.5E1')", -125.0, 1e-6), ("DW_TO_REAL(16#40490FDB)", math.pi, 1e-6),
    ("REAL_TO_DW(1.0)", 0x3F800000, 0), ("COUNT_CHAR('banana', 97)", 3, 0), ("COUNT_SUBSTRING('an', 'banana')", 2, 0),
    ("FINDB('banana', 'an')", 4, 0), ("DAY_OF_YEAR(D#2024-02-29)", DAY.timetuple().tm_yday, 0),
    ("DAY_OF_WEEK(D#2024-02-29)", DAY.isoweekday(), 0), ("WORK_WEEK(D#2024-02-29)", DAY.isocalendar().week, 0),
    ("DAYS_IN_MONTH(D#2024-02-29)", 29, 0), ("DAYS_IN_YEAR(D#2024-02-29)", 366, 0),
    ("DAYS_DELTA(D#2024-02-29, D#2025-03-01)", (datetime.date(2025, 3, 1) - DAY).days, 0),
    ("YEAR_OF_DATE(D#2024-02-29)", 2024, 0), ("MONTH_OF_DATE(D#2024-02-29)", 2, 0),
    ("DAY_OF_MONTH(D#2024-02-29)", 29, 0), ("DATE_TO_DINT(EASTER(2024))", seconds(2024, 3, 31), 0),
    ("DATE_TO_DINT(SET_DATE(2024, 2, 29))", seconds(2024, 2, 29), 0),
    ("DATE_TO_DINT(DATE_ADD(D#2024-02-28, 1, 1, 0, 0))", seconds(2024, 3, 7), 0),
    ("DATE_TO_DINT(MONTH_END(D#2023-02-03))", seconds(2023, 2, 28), 0),
    ("BOOL_TO_INT(LEAP_YEAR(2024)) * 10 + BOOL_TO_INT(LEAP_YEAR(2023))", 10, 0),
    ("ARRAY_SUM(ADR(rows), SIZEOF(rows))", sum(ROWS), 1e-5),
    ("ARRAY_AVG(ADR(rows), SIZEOF(rows))", statistics.fmean(ROWS), 1e-5),
    ("ARRAY_MAX(ADR(rows), SIZEOF(rows))", max(ROWS), 0), ("ARRAY_MIN(ADR(rows), SIZEOF(rows))", min(ROWS), 0),
    ("ARRAY_SPR(ADR(rows), SIZEOF(rows))", max(ROWS) - min(ROWS), 1e-5),
    ("ARRAY_SDV(ADR(rows), SIZEOF(rows))", statistics.stdev(ROWS), 1e-4),
    ("ARRAY_VAR(ADR(rows), SIZEOF(rows))", statistics.variance(ROWS), 1e-4),
    ("_ARRAY_MEDIAN(ADR(rows), SIZEOF(rows))", statistics.median(ROWS), 1e-5),
    ("CABS(CSET(3.0, -4.0))", 5.0, 1e-5), ("CARG(CSET(1.0, 1.0))", math.pi / 4, 1e-5),
)  # fmt: skip
TEXTS: tuple[tuple[str, str], ...] = (
    ("UPPERCASE('Hello 1')", "HELLO 1"), ("LOWERCASE('Hello 1')", "hello 1"), ("MIRROR('abc')", "cba"),
    ("REPLACE_ALL('banana', 'an', 'x')", "bxxa"), ("DEL_CHARS('banana', 'n')", "baaa"), ("TRIM(' a b ')", "ab"),
    ("BYTE_TO_STRH(16#A5)", "A5"), ("DWORD_TO_STRH(16#DEADBEEF)", "DEADBEEF"), ("BYTE_TO_STRB(16#A5)", "10100101"),
    ("REAL_TO_STRF(3.14159, 2, '.')", "3.14"), ("DWORD_TO_STRF(42, 5)", "00042"), ("FILL(65, 3)", "AAA"),
    ("CAPITALIZE('hello world')", "Hello World"),
)  # fmt: skip


@pytest.mark.soak
def test_oscat_when_functions_have_known_results_then_they_give_them() -> None:
    given = os.environ.get("TICKWORK_OSCAT")
    if not given:
        pytest.skip("TICKWORK_OSCAT names no folder")
    sources = SourceSet()
    added = [sources.add(path.name, path.read_bytes()) for path in sorted(pathlib.Path(given).glob("*.EXP"))]
    calls = "".join(f"r[{number}] := {call};\n" for number, (call, *_) in enumerate(NUMBERS))
    calls += "".join(f"s[{number}] := {call};\n" for number, (call, _) in enumerate(TEXTS))
    rows = ", ".join(map(str, ROWS))
    program = f"""PROGRAM Known
VAR r : ARRAY[0..{len(NUMBERS)}] OF LREAL; s : ARRAY[0..{len(TEXTS)}] OF STRING;
    rows : ARRAY[0..{len(ROWS) - 1}] OF REAL := [{rows}]; END_VAR
{calls}END_PROGRAM
CONFIGURATION C RESOURCE R ON PLC TASK Fast(INTERVAL := T#10ms, PRIORITY := 1); PROGRAM Main WITH Fast : Known;
END_RESOURCE END_CONFIGURATION
"""
    result = check([*added, sources.add("known.st", (GLOBALS + program).encode())], dialect="codesys")
    assert result.program is not None, "\n".join(problem.render() for problem in result.errors)
    both = Both(result.program)
    assert both.scan() == 0, both.machine.fault
    found = both.read("Main.r")
    wrong = [
        f"{call}: {value}, expected {expected}"
        for value, (call, expected, tolerance) in zip(found, NUMBERS, strict=False)
        if not math.isclose(value, expected, rel_tol=tolerance, abs_tol=tolerance)
    ]
    wrong += [
        f"{call}: {both.read(f'Main.s[{number}]')!r}, expected {expected!r}"
        for number, (call, expected) in enumerate(TEXTS)
        if both.read(f"Main.s[{number}]") != expected
    ]
    assert not wrong, "\n".join(wrong)
