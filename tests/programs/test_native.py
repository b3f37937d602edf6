"""Object code: reproducible, made on all cores, loaded only where it fits."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from programs import hir
from programs.native import Compiler, compile_program
from programs.native_cache import Cache
from programs.native_target import host_target
from programs.native_workers import TEXT_MIN, Crew
from scan.abi import Fault
from scan.loader import load
from scan.problem import TickworkError
from tests.programs.hir_builder import (
    DINT,
    Both,
    assign,
    binary,
    compare,
    const,
    load_of,
    place,
    program_of,
    var,
)


def counting(step: int = 1) -> hir.Program:
    n = var("n", DINT)
    return program_of([assign(n, binary("add", load_of(n), const(DINT, step)))], [n])


def test_compile_when_repeated_then_the_same_bytes() -> None:
    assert compile_program(counting(), digest="d") == compile_program(counting(), digest="d")
    other = compile_program(counting(2), digest="d")
    assert other.object_code != compile_program(counting(), digest="d").object_code


def test_compile_all_when_many_modules_then_results_are_in_order() -> None:
    padding = "; " + "x" * (TEXT_MIN // 40) + "\n"
    texts = [f"{padding}define i32 @f{number}() {{\n  ret i32 {number}\n}}\n" for number in range(50)]
    told: list[int] = []
    compiler = Compiler(host_target(), Cache(None))
    groups = ([(text, ()) for text in part] for part in (texts[:45], texts[45:]))
    objects = compiler.compile_all(groups, lambda: told.append(1))
    assert len(told) == len(texts)
    assert all(f"f{number}".encode() in data for number, data in enumerate(objects))
    assert objects[7] == compiler.compile(texts[7], [])


def test_crew_when_a_worker_cannot_start_then_the_work_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("programs.native_workers.sys.executable", "/bin/false")
    monkeypatch.setattr("programs.native_workers.TEXT_MIN", 1)
    monkeypatch.setattr("programs.native_workers.generate", lambda target, own, others: own.encode())
    crew = Crew(host_target(), lambda: None)
    crew.add((f"job {number}", ()) for number in range(20))
    made = crew.results()
    crew.close()
    assert made == [f"job {number}".encode() for number in range(20)]


def long_body(pou_variables: list[hir.Variable], count: int) -> list[hir.Statement]:
    """Branches, divisions and an early RETURN in more statements than one function gets."""
    n, m = pou_variables[:2]
    made: list[hir.Statement] = []
    for line in range(1, count):
        value = binary("add", binary("mul", load_of(n), const(DINT, 3)), load_of(m), line=line)
        made.append(assign(n, value, line))
        step = assign(
            m, binary("div", load_of(n), binary("sub", load_of(m), const(DINT, line)), line=line), line
        )
        made.append(hir.If([(compare("gt", load_of(n), const(DINT, line * 7)), [step])], line))
        made.append(hir.If([(compare("eq", load_of(m), const(DINT, 1000 + line)), [hir.Return(line)])], line))
    return made


@pytest.mark.parametrize("storage", [hir.Storage.INSTANCE, hir.Storage.LOCAL])
@pytest.mark.parametrize("start", [0, 5, 77, 300])
def test_compile_when_a_body_is_long_then_its_parts_do_the_same(storage: hir.Storage, start: int) -> None:
    n, m = var("n", DINT, 1, storage), var("m", DINT, start, storage)
    shown = var("shown", DINT)
    body = long_body([n, m], 200)
    body[-1:] = [hir.If([(None, [*body[300:], assign(shown, load_of(n))])])]
    both = Both(program_of(body, [n, m, shown]))
    assert len(msgspec.msgpack.decode(both.machine.application.object_code)) > 5
    for scan in range(3):
        if both.scan(scan):
            break


def test_compile_when_lines_before_a_pou_change_then_only_the_binding_is_made_again(tmp_path: Path) -> None:
    def compiled(line: int) -> Cache:
        n = var("n", DINT)
        body: list[hir.Statement] = [
            assign(n, binary("div", const(DINT, 1), load_of(n), line=line + 2), line + 2)
        ]
        block = hir.Pou("B", "function_block", [n], body, line=line)
        inner = var("b", hir.Instance("B"))
        program = program_of([hir.CallBlock(place(inner), "B", [], [], line=1)], [inner], pous=[block])
        both, cache = Both(program), Cache(tmp_path)
        assert both.scan() == Fault.DIVISION_BY_ZERO
        assert both.machine.fault[1:3] == ("B", line + 2)
        compile_program(program, digest="d", cache=cache)
        return cache

    assert compiled(10).misses == 3
    assert compiled(20).misses == 1


def test_load_when_made_for_another_cpu_then_refused() -> None:
    application = compile_program(counting(), digest="d")
    foreign = msgspec.structs.replace(application, target="riscv64-unknown-linux-gnu generic ")
    with pytest.raises(TickworkError) as caught:
        load(foreign)
    assert caught.value.code == "SC3002"


def test_entry_when_unknown_then_key_error() -> None:
    with pytest.raises(KeyError):
        load(compile_program(counting(), digest="d")).entry("task.None")
