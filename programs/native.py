"""From IR to object code, module by module, through the cache.

Each module is optimised and compiled for this machine's CPU with its small callees and the blocks it calls linked in
for inlining; library functions are calls, because their loops are long and inlining them only costs time. The cache
key is a digest over the texts that LLVM reads, the CPU and the versions.
"""

from __future__ import annotations

import gc
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from programs import hir
from programs.blocks import Block, standard_blocks
from programs.blocks_compile import compile_block, compile_helper, versions
from programs.layout import BlockLayout
from programs.layout_symbols import Image, SymbolTable
from programs.lower import Lowered, as_available, inlinable, lower_program
from programs.lower_ir import Module, quoted
from programs.native_cache import Cache
from programs.native_target import Target, host_target
from programs.native_workers import Crew, Job
from programs.stdlib import HELPERS
from scan.abi import ABI_VERSION, Application

# Part of every digest: a change of the generated code's behaviour or of its interface to the library changes it.
GENERATOR_VERSION = 6
# Where more native blocks are called than this, they are called: copies would cost more time to compile than they save.
INLINE_BLOCK_CALLS_MAX = 12

Progress = Callable[[int, int], None]


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
    """Compiles modules for one target through a cache."""

    def __init__(self, target: Target, cache: Cache) -> None:
        self.target = target
        self.cache = cache

    def compile(self, own: str, others: list[str]) -> bytes:
        """Object code of a module's text; ``others`` are offered for inlining and yield no code of their own."""
        return self.compile_all([[(own, tuple(others))]])[0]

    def compile_all(
        self, groups: Iterable[Sequence[Job]], done: Callable[[], None] = lambda: None
    ) -> list[bytes]:
        """The same for many modules, on all cores; ``done`` is called after each.

        The first group is at work in other processes while the next is taken from the iterator.
        """
        keys: list[str] = []
        found: dict[str, bytes] = {}
        missing: dict[str, Job] = {}
        crew = Crew(self.target, done)
        try:
            for jobs in groups:
                new = {key: job for job in jobs if (key := self._key(job)) not in missing}
                keys += [self._key(job) for job in jobs]
                known = {key: data for key in new if (data := self.cache.get(key)) is not None}
                found |= known
                fresh = {key: job for key, job in new.items() if key not in known}
                missing |= fresh
                for _ in known:
                    done()
                crew.add(fresh.values())
            made = crew.results()
        finally:
            crew.close()
        for key, data in zip(missing, made, strict=True):
            self.cache.put(key, data)
            found[key] = data
        return [found[key] for key in keys]

    def _key(self, job: Job) -> str:
        digest = hashlib.sha256(f"{GENERATOR_VERSION} {versions()} {self.target}".encode())
        for text in (job[0], *job[1]):
            digest.update(b"\0" + text.encode())
        return digest.hexdigest()


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
        total = len(by_key) + 1 + len(self.lowered.helpers) + len(self.lowered.blocks)
        count = itertools.count(1)
        tell = progress or (lambda done, total: None)
        return self.compiler.compile_all(self._jobs(by_key, small), lambda: tell(next(count), total))

    def _jobs(self, by_key: dict[str, Module], small: dict[str, Module]) -> Iterator[list[Job]]:
        """The POUs first: other processes compile them while the library is made here."""
        jobs = [self._job(key, module, small) for key, module in by_key.items()]
        yield [*jobs, (self.lowered.binding + self._natives(self.lowered.blocks, ()), ())]
        blocks = [(self.library.block(name), ()) for name in sorted(self.lowered.blocks)]
        yield [*((self.library.helper(name), ()) for name in sorted(self.lowered.helpers)), *blocks]

    def _job(self, key: str, module: Module, small: dict[str, Module]) -> Job:
        """A module with what may be inlined into it."""
        near = _near(module, small)
        blocks = set(module.blocks).union(*(small[one].blocks for one in near))
        own = self.texts[key] + self._natives(module.blocks, module.helpers)
        others = [self.available[one] + self._natives(small[one].blocks, small[one].helpers) for one in near]
        if module.block_calls <= INLINE_BLOCK_CALLS_MAX:
            others += [_available_native(self.library.block(name), f"b.{name}") for name in sorted(blocks)]
        return own, tuple(others)

    def _natives(self, blocks: Iterable[str], helpers: Iterable[str]) -> str:
        """Declarations of native blocks and library functions."""
        lines = [f"declare i32 @{quoted(f'b.{name}')}(ptr, ptr, ptr, ptr)" for name in sorted(blocks)]
        kinds = {"p8": "ptr", "p16": "ptr", "i": "i64", "f": "double"}
        for name in sorted(helpers):
            arguments = [kinds[one] for one in HELPERS[name][1].split()[1:]]
            lines.append(f"declare i32 @{quoted(f'h.{name}')}({', '.join(['ptr', 'ptr', *arguments])})")
        return "\n".join([*lines, ""])


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

    ``digest`` identifies sources and configuration; ``blocks`` are Python blocks by name, besides
    ``program.blocks``. Raises TickworkError for a Python block that cannot be compiled,
    ``programs.layout.TooLargeError`` for a block over 2 GiB.
    """
    cache = cache or Cache(None)
    target = target or host_target()
    layout = BlockLayout(program)
    table = SymbolTable(layout)
    symbols = table.collect()
    lowered = lower_program(program, layout)
    generator = Generator(
        lowered, Compiler(target, cache), Library(cache, {**program.blocks, **(blocks or {})})
    )
    objects = generator.objects(progress)
    return Application(
        abi=ABI_VERSION, name=program.name, digest=digest, target=str(target), block_size=layout.size,
        inputs=layout.inputs, outputs=layout.outputs, markers=layout.markers, shared=layout.shared,
        image=Image(layout, table.addresses).build(), symbols=symbols, tasks=lowered.tasks,
        pous=tuple(program.pous), pou_files=tuple(pou.file for pou in program.pous.values()),
        object_code=frame_objects(objects), aggregates=tuple(table.aggregates),
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """``python -m programs.native ARTIFACT --out FILE --cache DIR``: the job that makes native code.

    One JSON object a line on standard output: ``{"event": "progress", "done": …, "total": …}``,
    ``{"event": "problems", "problems": […]}``, ``{"event": "built", "application": FILE, …}``. Exit code 0 or 1.
    """
    from programs.native_job import run

    return run(arguments)


if __name__ == "__main__":
    # A short life with large trees, none of which becomes garbage: looking for it costs a quarter of the time.
    gc.disable()
    raise SystemExit(main())
