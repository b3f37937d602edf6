"""One block or function alone: a program around it, for tests of a part without its plant."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from programs import hir
from programs.building import Settings, checked, program_digest
from programs.check import leave_out_tests
from programs.check_mocks import Mocks
from programs.native import compile_program
from programs.native_cache import Cache
from scan.abi import Application
from scan.problem import fail

NAME = "Unit"
TASK = "Test"
_KINDS = ("function", "function_block", "program")


def compile_unit(
    settings: Settings,
    sources: Mapping[str, bytes],
    unit: str,
    period_ns: int,
    *,
    cache_dir: Path | None = None,
    mocks: Mocks | None = None,
) -> tuple[Application, str, hir.Program]:
    """An application that only calls ``unit`` once a scan, the prefix of the paths of its pins, and its program.

    ``mocks`` are units and what stands in for them. Raises TickworkError with the problems of the sources, AR2005 if
    there is no such unit.
    """
    program = _checked(settings, sources, mocks)
    pou = _find(program, unit)
    alone, prefix = _alone(program, pou, period_ns)
    text = f"{program_digest(settings, sources)} unit {pou.key} {period_ns}{_named(mocks)}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return compile_program(alone, digest=digest, cache=Cache(cache_dir)), prefix, alone


def compile_mocked(
    settings: Settings, sources: Mapping[str, bytes], mocks: Mocks, *, cache_dir: Path | None = None
) -> tuple[Application, hir.Program]:
    """The whole program with other units in the place of some. Raises TickworkError as ``compile_unit``."""
    program = _checked(settings, sources, mocks)
    digest = hashlib.sha256(f"{program_digest(settings, sources)}{_named(mocks)}".encode()).hexdigest()
    return compile_program(program, digest=digest, cache=Cache(cache_dir)), program


def _checked(settings: Settings, sources: Mapping[str, bytes], mocks: Mocks | None) -> hir.Program:
    program, _ = checked(settings, sources, mocks=mocks or None)
    leave_out_tests(program)
    return program


def _named(mocks: Mocks | None) -> str:
    return f" mocks {sorted(mocks.items())}" if mocks else ""


def _find(program: hir.Program, unit: str) -> hir.Pou:
    known = {pou.key.upper(): pou for pou in program.pous.values() if pou.kind in _KINDS and not pou.builtin}
    found = known.get(unit.upper())
    if found is None or found.abstract:
        near = difflib.get_close_matches(unit, [pou.key for pou in known.values()], n=1)
        raise fail(
            "AR2005", f"there is no unit {unit} to be tested alone",
            expected="the name of a function, function block or program of the plant", found=unit,
            remedy=f"did you mean {near[0]}?" if near else "correct `unit`",
        )  # fmt: skip
    return found


def _alone(program: hir.Program, pou: hir.Pou, period_ns: int) -> tuple[hir.Program, str]:
    task = hir.Task(TASK, "cyclic", period_ns, 1)
    if pou.kind == "program":
        instance = hir.ProgramInstance(pou.key, pou.key, TASK)
        return replace(program, instances=[instance], tasks=[task]), f"{pou.key}."
    around = _around_block(pou) if pou.kind == "function_block" else _around_function(pou)
    pous = {**program.pous, around.key: around}
    prefix = f"{NAME}.{pou.key}." if pou.kind == "function_block" else f"{NAME}."
    alone = replace(program, pous=pous, instances=[hir.ProgramInstance(NAME, around.key, TASK)], tasks=[task])
    return alone, prefix


def _around_block(pou: hir.Pou) -> hir.Pou:
    kind = hir.Instance(pou.key)
    block = hir.Variable(pou.key, kind, hir.Storage.INSTANCE, file=pou.file, line=pou.line)
    bound = [variable for variable in pou.variables if variable.direction == "inout"]
    given = [_own(variable) for variable in bound]
    inouts = [(one, _place(own)) for one, own in zip(bound, given, strict=True)]
    call = hir.CallBlock(_place(block), pou.key, [], [], inouts, line=pou.line)
    return _program(pou, [block, *given], [call])


def _around_function(pou: hir.Pou) -> hir.Pou:
    own = {id(one): _own(one) for one in pou.variables if one.direction}
    inputs = [one for one in pou.variables if one.direction == "input"]
    pairs = {
        direction: [(one, _place(own[id(one)])) for one in pou.variables if one.direction == direction]
        for direction in ("inout", "output")
    }
    result = pou.result
    call = hir.Call(
        pou.key, [hir.Load(_place(own[id(one)]), one.type, pou.line) for one in inputs],
        result.type if result else None, pairs["inout"], pairs["output"], line=pou.line,
    )  # fmt: skip
    if result is None:
        return _program(pou, list(own.values()), [hir.CallStatement(call, pou.line)])
    kept = _own(result)
    return _program(pou, [*own.values(), kept], [hir.Assign(_place(kept), call, pou.line)])


def _own(variable: hir.Variable) -> hir.Variable:
    """A variable of the program around, named as the pin."""
    return hir.Variable(
        variable.name,
        variable.type,
        hir.Storage.INSTANCE,
        variable.init,
        file=variable.file,
        line=variable.line,
    )


def _place(variable: hir.Variable) -> hir.Place:
    return hir.VariablePlace(variable, variable.type)


def _program(pou: hir.Pou, variables: list[hir.Variable], body: list[hir.Statement]) -> hir.Pou:
    return hir.Pou(f"${NAME}", "program", variables, body, file=pou.file, line=pou.line)
