"""Machine code of one module: all that a compiling process needs, and nothing that is slow to import."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import llvmlite.binding as llvm

from programs.native_target import Target, initialize

OPTIMISATION_LEVEL = 2
# A module this long (a loop of thousands of statements, which cannot be divided) is optimised less: the time that
# the optimiser needs for one function grows faster than its length.
LONG_TEXT = 1_000_000


@functools.cache
def _machine(target: Target, level: int) -> llvm.TargetMachine:
    initialize()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=level,
        reloc="pic",
        codemodel="default",
        jit=True,
    )


def generate(target: Target, own: str, others: Iterable[str]) -> bytes:
    """Optimise and compile one module; ``others`` are offered for inlining and yield no code of their own."""
    long = len(own) > LONG_TEXT
    machine = _machine(target, 0 if long else OPTIMISATION_LEVEL)
    module = _parse(own, target, machine)
    for text in others:
        module.link_in(_parse(text, target, machine))
    options = llvm.create_pipeline_tuning_options(speed_level=1 if long else OPTIMISATION_LEVEL)
    options.loop_vectorization = not long
    options.slp_vectorization = not long
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    data: bytes = machine.emit_object(module)
    return data


def _parse(text: str, target: Target, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    module = llvm.parse_assembly(text)
    module.triple = target.triple
    module.data_layout = str(machine.target_data)
    module.verify()
    return module
