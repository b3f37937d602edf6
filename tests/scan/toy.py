"""Small applications made by hand from LLVM IR: what the engine is tested with, without the compiler.

A toy is a list of leaf variables and a body of IR. In the body ``{x}`` is the offset of variable ``x``; the helpers
``load``, ``store`` and so on write one line of IR each.
"""

from __future__ import annotations

import dataclasses
import itertools

import llvmlite.binding as llvm
import msgspec
import numpy as np

from scan.abi import ABI_VERSION, HEADER_SIZE, NUMPY_TYPE, Application, IecType, Region, Symbol, TaskSpec

SIZES = {kind: np.dtype(NUMPY_TYPE[kind]).itemsize for kind in NUMPY_TYPE}
IR_TYPES = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}


@dataclasses.dataclass
class Toy:
    """``variables``: name -> (type, area, initial); area "I", "Q", "M", "G" or the name of a task."""

    variables: dict[str, tuple[IecType, str, int]]
    bodies: dict[str, str]  # task -> IR
    tasks: tuple[TaskSpec, ...] = (TaskSpec("Main", "main", period_ns=1_000_000),)
    extra: tuple[Symbol, ...] = ()
    image_bytes: int = 64  # of each process image

    def build(self, name: str = "toy") -> Application:
        symbols, regions, size = self._layout()
        image = bytearray(size)
        for symbol in symbols:
            initial = self.variables[symbol.path][2]
            image[symbol.offset : symbol.offset + symbol.size] = (
                initial & (1 << 8 * symbol.size) - 1
            ).to_bytes(symbol.size, "little")
        places = {symbol.path: symbol.offset for symbol in symbols}
        text = "\n".join(self._function(task, places) for task in self.tasks)
        end = regions["G"].offset + regions["G"].size
        return Application(
            abi=ABI_VERSION,
            name=name,
            digest=name,
            target=target(),
            block_size=size,
            inputs=regions["I"],
            outputs=regions["Q"],
            markers=regions["M"],
            shared=Region(HEADER_SIZE, end - HEADER_SIZE),
            image=bytes(image),
            symbols=(*symbols, *self.extra),
            tasks=self.tasks,
            pous=("Main", "Other"),
            pou_files=("main.st", "other.st"),
            object_code=compile_ir(text),
        )

    def _layout(self) -> tuple[tuple[Symbol, ...], dict[str, Region], int]:
        symbols, regions, offset = [], {}, HEADER_SIZE
        owners = [task.name for task in self.tasks]
        for area in ("I", "Q", "M", "G", *owners):
            start = offset
            for path, (kind, place, _) in self.variables.items():
                if place == area:
                    size = SIZES[kind]
                    offset += -offset % size
                    owner = area if area in owners else ""
                    location = f"%{area}B{offset - start}" if area in "IQM" else ""
                    symbols.append(
                        Symbol(path, kind, offset, size, owner=owner, access="rw", location=location)
                    )
                    offset += size
            if area in "IQ":
                offset = max(offset, start + self.image_bytes)
            offset += -offset % 8
            regions[area] = Region(start, offset - start)
        return tuple(symbols), regions, offset

    def _function(self, task: TaskSpec, places: dict[str, int]) -> str:
        body = self.bodies[task.name]
        for path, offset in places.items():
            body = body.replace("{" + path + "}", str(offset))
        return f"define i32 @{task.entry}(ptr %block, ptr %context) {{\nentry:\n{body}\n  ret i32 0\n}}\n"


_NUMBERS = itertools.count()


def load(name: str, place: str, size: int = 8) -> str:
    pointer = f"%p{next(_NUMBERS)}"
    kind = IR_TYPES[size]
    return f"  {pointer} = getelementptr i8, ptr %block, i64 {{{place}}}\n  %{name} = load {kind}, ptr {pointer}\n"


def store(place: str, value: str, size: int = 8) -> str:
    pointer = f"%p{next(_NUMBERS)}"
    kind = IR_TYPES[size]
    return f"  {pointer} = getelementptr i8, ptr %block, i64 {{{place}}}\n  store {kind} {value}, ptr {pointer}\n"


def context(name: str, offset: int, size: int = 8) -> str:
    pointer = f"%p{next(_NUMBERS)}"
    place = f"  {pointer} = getelementptr i8, ptr %context, i64 {offset}\n"
    return place + f"  %{name} = load volatile {IR_TYPES[size]}, ptr {pointer}\n"


def count(place: str, name: str = "n") -> str:
    """Adds one to a LINT."""
    return load(f"{name}_old", place) + f"  %{name} = add i64 %{name}_old, 1\n" + store(place, f"%{name}")


def fault_when(value: str, code: int, line: int) -> str:
    """Faults when an i64 is not zero."""
    number = next(_NUMBERS)
    return f"""
  %c{number} = icmp ne i64 {value}, 0
  br i1 %c{number}, label %bad{number}, label %good{number}
bad{number}:
  %fc{number} = getelementptr i8, ptr %context, i64 4
  store i32 {code}, ptr %fc{number}
  %fp{number} = getelementptr i8, ptr %context, i64 8
  store i32 1, ptr %fp{number}
  %fl{number} = getelementptr i8, ptr %context, i64 12
  store i32 {line}, ptr %fl{number}
  ret i32 {code}
good{number}:
"""


def spin_when(value: str) -> str:
    """Loops while an i64 is not zero, until the watchdog aborts."""
    number = next(_NUMBERS)
    return f"""
  %s{number} = icmp ne i64 {value}, 0
  br i1 %s{number}, label %loop{number}, label %done{number}
loop{number}:
  %a{number} = load volatile i32, ptr %context
  %t{number} = icmp eq i32 %a{number}, 0
  br i1 %t{number}, label %loop{number}, label %out{number}
out{number}:
  ret i32 1004
done{number}:
"""


def hang_when(value: str) -> str:
    """Loops for ever, deaf to the watchdog, when an i64 is not zero."""
    number = next(_NUMBERS)
    return f"""
  %h{number} = icmp ne i64 {value}, 0
  br i1 %h{number}, label %hang{number}, label %go{number}
hang{number}:
  %v{number} = load volatile i32, ptr %context
  br label %hang{number}
go{number}:
"""


def crash_when(value: str) -> str:
    """Writes to address 8 when an i64 is not zero."""
    number = next(_NUMBERS)
    return f"""
  %k{number} = icmp ne i64 {value}, 0
  br i1 %k{number}, label %crash{number}, label %live{number}
crash{number}:
  store volatile i64 1, ptr inttoptr (i64 8 to ptr)
  br label %live{number}
live{number}:
"""


def target() -> str:
    return f"{llvm.get_process_triple()} {llvm.get_host_cpu_name()} toy"


def compile_ir(text: str) -> bytes:
    """Object code in the frame that scan.loader reads."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(text)
    module.verify()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    return msgspec.msgpack.encode([machine.emit_object(module)])


def counter(**changes: object) -> Toy:
    """``Out`` follows ``In``; ``Count`` counts scans; ``Fault``, ``Spin`` do what they say; ``Now`` is IEC time."""
    lint = IecType.LINT
    variables = {
        "In": (lint, "I", 0), "Out": (lint, "Q", 0), "Mark": (lint, "M", 5), "Level": (lint, "G", 7),
        "Count": (lint, "Main", 0), "Now": (lint, "Main", 0), "First": (lint, "Main", 0), "Fault": (lint, "Main", 0),
        "Spin": (lint, "Main", 0), "Flag": (IecType.BOOL, "Main", 0), "Seen": (lint, "Main", 0),
    }  # fmt: skip
    body = (
        load("i", "In") + store("Out", "%i") + count("Count") + context("now", 32) + store("Now", "%now")
        + load("o", "Out") + store("Seen", "%o")
        + context("f", 28, 4) + "  %fx = sext i32 %f to i64\n" + load("fo", "First") + "  %fs = add i64 %fo, %fx\n"
        + store("First", "%fs") + load("fault", "Fault") + fault_when("%fault", 1001, 42)
        + load("spin", "Spin") + spin_when("%spin")
    )  # fmt: skip
    return dataclasses.replace(Toy(variables, {"Main": body}), **changes)


def work_for(value: str) -> str:
    """Counts an i64 down to zero."""
    number = next(_NUMBERS)
    return f"""
  %w{number} = alloca i64
  store volatile i64 {value}, ptr %w{number}
  br label %work{number}
work{number}:
  %wv{number} = load volatile i64, ptr %w{number}
  %wd{number} = icmp sle i64 %wv{number}, 0
  br i1 %wd{number}, label %rest{number}, label %more{number}
more{number}:
  %wm{number} = sub i64 %wv{number}, 1
  store volatile i64 %wm{number}, ptr %w{number}
  br label %work{number}
rest{number}:
"""


def dangerous() -> Toy:
    """``counter`` that also works, hangs and crashes on request."""
    toy = counter()
    extra = dict.fromkeys(("Work", "Hang", "Crash"), (IecType.LINT, "Main", 0))
    body = (
        toy.bodies["Main"] + load("work", "Work") + work_for("%work") + load("hang", "Hang") + hang_when("%hang")
        + load("crash", "Crash") + crash_when("%crash")
    )  # fmt: skip
    return dataclasses.replace(toy, variables={**toy.variables, **extra}, bodies={"Main": body})
