"""From IR to object code, module by module, through the cache.

Each module is optimised and compiled for this machine's CPU with its small callees and the library functions it uses
linked in for inlining. The cache key is a digest over the texts that LLVM reads, the CPU and the versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import llvmlite.binding as llvm
import msgspec

from programs import hir
from programs.blocks import Block, standard_blocks
from programs.blocks_compile import compile_block, compile_helper, versions
from programs.layout import BlockLayout
from programs.layout_symbols import Image, SymbolTable
from programs.lower import Lowered, as_available, inlinable, lower_program
from programs.lower_ir import Module, quoted
from programs.native_cache import Cache
from programs.stdlib import HELPERS
from scan.abi import ABI_VERSION, Application

# Part of every digest: a change of the generated code's behaviour or of its interface to the library changes it.
GENERATOR_VERSION = 1
OPTIMISATION_LEVEL = 2

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Target:
    """A CPU as LLVM names it."""

    triple: str
    cpu: str
    features: str

    def __str__(self) -> str:
        return f"{self.triple} {self.cpu} {self.features}"


def host_target() -> Target:
    _initialize()
    features = llvm.get_host_cpu_features().flatten()
    return Target(llvm.get_process_triple(), llvm.get_host_cpu_name(), features)


_initialized: list[bool] = []


def _initialize() -> None:
    if not _initialized:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        _initialized.append(True)


@dataclass(slots=True)
class Library:
    """The IR of library functions and blocks, made when first asked for."""

    cache: Cache
    blocks: dict[str, Block]
    _texts: dict[str, str] = field(default_factory=dict)

    def helper(self, name: str) -> str:
        if name not in self._texts:
            function, types = HELPERS[name]
            self._texts[name] = compile_helper(name, function, types, self.cache)
        return self._texts[name]

    def block(self, key: str) -> str:
        name = f"block {key}"
        if name not in self._texts:
            found = self.blocks.get(key) or standard_blocks()[key]
            self._texts[name] = compile_block(found, self.cache)
        return self._texts[name]


class Compiler:
    """Compiles modules for one target."""

    def __init__(self, target: Target, cache: Cache) -> None:
        _initialize()
        self.target = target
        self.cache = cache
        self.machine = llvm.Target.from_triple(target.triple).create_target_machine(
            cpu=target.cpu,
            features=target.features,
            opt=OPTIMISATION_LEVEL,
            reloc="pic",
            codemodel="default",
            jit=True,
        )

    def compile(self, own: str, others: list[str]) -> bytes:
        """Object code of a module's text; ``others`` are offered for inlining and yield no code of their own."""
        digest = hashlib.sha256(f"{GENERATOR_VERSION} {versions()} {self.target}".encode())
        for text in (own, *others):
            digest.update(b"\0" + text.encode())
        key = digest.hexdigest()
        found = self.cache.get(key)
        if found is None:
            found = self._generate(own, others)
            self.cache.put(key, found)
        return found

    def _generate(self, own: str, others: list[str]) -> bytes:
        module = self._parse(own)
        for text in others:
            module.link_in(self._parse(text))
        for function in module.functions:
            if function.linkage is llvm.Linkage.available_externally:
                continue
        self._optimise(module)
        data: bytes = self.machine.emit_object(module)
        return data

    def _parse(self, text: str) -> llvm.ModuleRef:
        module = llvm.parse_assembly(text)
        module.triple = self.target.triple
        module.data_layout = str(self.machine.target_data)
        module.verify()
        return module

    def _optimise(self, module: llvm.ModuleRef) -> None:
        options = llvm.create_pipeline_tuning_options(speed_level=OPTIMISATION_LEVEL)
        options.loop_vectorization = True
        options.slp_vectorization = True
        builder = llvm.create_pass_builder(self.machine, options)
        builder.getModulePassManager().run(module, builder)


def frame_objects(objects: Iterable[bytes]) -> bytes:
    """``Application.object_code``; ``scan.loader`` takes it apart."""
    return msgspec.msgpack.encode(list(objects))


@dataclass(slots=True)
class Generator:
    """The work of compiling one lowered program."""

    lowered: Lowered
    compiler: Compiler
    library: Library
    available: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def objects(self, progress: Progress | None = None) -> list[bytes]:
        by_key = {module.name: module for module in self.lowered.modules}
        self.texts = {key: module.text() for key, module in by_key.items()}
        small = inlinable(self.lowered)
        self.available = {
            key: module.text([as_available(text) for text in module.functions])
            for key, module in small.items()
        }
        made = []
        total = len(by_key) + 2
        for number, (key, module) in enumerate(by_key.items(), start=1):
            made.append(self._object(key, module, small))
            if progress is not None:
                progress(number, total)
        made.append(self.compiler.compile(self.lowered.binding + self._natives(self.lowered.blocks, ()), []))
        made += self._library_objects()
        if progress is not None:
            progress(total, total)
        return made

    def _object(self, key: str, module: Module, small: dict[str, Module]) -> bytes:
        near = _near(module, small)
        helpers = set(module.helpers).union(*(small[one].helpers for one in near))
        blocks = set(module.blocks).union(*(small[one].blocks for one in near))
        own = self.texts[key] + self._natives(module.blocks, module.helpers)
        others = [self.available[one] + self._natives(small[one].blocks, small[one].helpers) for one in near]
        others += [_available_native(self.library.helper(name), f"h.{name}") for name in sorted(helpers)]
        others += [_available_native(self.library.block(name), f"b.{name}") for name in sorted(blocks)]
        return self.compiler.compile(own, others)

    def _natives(self, blocks: Iterable[str], helpers: Iterable[str]) -> str:
        """Declarations of native blocks and library functions."""
        lines = [f"declare i32 @{quoted(f'b.{name}')}(ptr, ptr, ptr, ptr)" for name in sorted(blocks)]
        kinds = {"p8": "ptr", "p16": "ptr", "i": "i64", "f": "double"}
        for name in sorted(helpers):
            arguments = [kinds[one] for one in HELPERS[name][1].split()[1:]]
            lines.append(f"declare i32 @{quoted(f'h.{name}')}({', '.join(['ptr', 'ptr', *arguments])})")
        return "\n".join([*lines, ""])

    def _library_objects(self) -> list[bytes]:
        """Each used library function once as real code, for calls that were not inlined."""
        made = [self.compiler.compile(self.library.helper(name), []) for name in sorted(self.lowered.helpers)]
        return made + [
            self.compiler.compile(self.library.block(name), []) for name in sorted(self.lowered.blocks)
        ]


def _near(module: Module, small: dict[str, Module]) -> list[str]:
    """Small callees, and theirs, in a fixed order."""
    found: set[str] = set()
    todo = sorted(module.callees)
    while todo:
        key = todo.pop()
        if key in small and key not in found and key != module.name:
            found.add(key)
            todo.extend(sorted(small[key].callees))
    return sorted(found)


def _available_native(text: str, symbol: str) -> str:
    """Mark the one external definition of a library text."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if line.startswith("define ") and f"@{symbol}(" in line:
            lines[number] = line.replace("define ", "define available_externally ", 1)
    return "\n".join(lines)


def compile_program(
    program: hir.Program,
    *,
    digest: str,
    cache: Cache | None = None,
    target: Target | None = None,
    blocks: dict[str, Block] | None = None,
    progress: Progress | None = None,
) -> Application:
    """A checked program as an application for this machine's CPU (or ``target``).

    ``digest`` identifies sources and configuration; ``blocks`` are the user's Python blocks by name. Raises
    TickworkError for a Python block that cannot be compiled, ``programs.layout.TooLargeError`` for a block over 2 GiB.
    """
    cache = cache or Cache(None)
    target = target or host_target()
    layout = BlockLayout(program)
    table = SymbolTable(layout)
    symbols = table.collect()
    lowered = lower_program(program, layout)
    generator = Generator(lowered, Compiler(target, cache), Library(cache, blocks or {}))
    objects = generator.objects(progress)
    return Application(
        abi=ABI_VERSION, name=program.name, digest=digest, target=str(target), block_size=layout.size,
        inputs=layout.inputs, outputs=layout.outputs, markers=layout.markers, shared=layout.shared,
        image=Image(layout, table.addresses).build(), symbols=symbols, tasks=lowered.tasks,
        pous=tuple(program.pous), pou_files=tuple(pou.file for pou in program.pous.values()),
        object_code=frame_objects(objects),
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """``python -m programs.native ARTIFACT --out FILE --cache DIR``: the job that makes native code.

    One JSON object a line on standard output: ``{"event": "progress", "done": …, "total": …}``,
    ``{"event": "problems", "problems": […]}``, ``{"event": "built", "application": FILE, …}``. Exit code 0 or 1.
    """
    from programs.native_job import run

    return run(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
