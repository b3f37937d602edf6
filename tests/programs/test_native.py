"""Object code: reproducible, made on all cores, loaded only where it fits."""

from __future__ import annotations

import msgspec
import pytest

from programs import hir
from programs.native import Compiler, compile_program
from programs.native_cache import Cache
from programs.native_target import host_target
from programs.native_workers import MODULES_MIN, compile_all
from scan.loader import load
from scan.problem import TickworkError
from tests.programs.hir_builder import DINT, assign, binary, const, load_of, program_of, var


def counting(step: int = 1) -> hir.Program:
    n = var("n", DINT)
    return program_of([assign(n, binary("add", load_of(n), const(DINT, step)))], [n])


def test_compile_when_repeated_then_the_same_bytes() -> None:
    assert compile_program(counting(), digest="d") == compile_program(counting(), digest="d")
    other = compile_program(counting(2), digest="d")
    assert other.object_code != compile_program(counting(), digest="d").object_code


def test_compile_all_when_many_modules_then_results_are_in_order() -> None:
    texts = [f"define i32 @f{number}() {{\n  ret i32 {number}\n}}\n" for number in range(MODULES_MIN + 5)]
    told: list[int] = []
    compiler = Compiler(host_target(), Cache(None))
    objects = compiler.compile_all([(text, ()) for text in texts], lambda: told.append(1))
    assert len(told) == len(texts)
    assert all(f"f{number}".encode() in data for number, data in enumerate(objects))
    assert objects[7] == compiler.compile(texts[7], [])


def test_compile_all_when_a_worker_cannot_start_then_the_work_is_done_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("programs.native_workers.sys.executable", "/bin/false")
    jobs = [(f"job {number}", ()) for number in range(MODULES_MIN)]
    made = compile_all(host_target(), jobs, lambda job: job[0].encode(), lambda: None)
    assert made == [job[0].encode() for job in jobs]


def test_load_when_made_for_another_cpu_then_refused() -> None:
    application = compile_program(counting(), digest="d")
    foreign = msgspec.structs.replace(application, target="riscv64-unknown-linux-gnu generic ")
    with pytest.raises(TickworkError) as caught:
        load(foreign)
    assert caught.value.code == "SC3002"


def test_entry_when_unknown_then_key_error() -> None:
    with pytest.raises(KeyError):
        load(compile_program(counting(), digest="d")).entry("task.None")
