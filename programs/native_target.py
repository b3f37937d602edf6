"""The machine for which code is made."""

from __future__ import annotations

from dataclasses import dataclass

import llvmlite.binding as llvm


@dataclass(frozen=True, slots=True)
class Target:
    """A CPU as LLVM names it."""

    triple: str
    cpu: str
    features: str

    def __str__(self) -> str:
        return f"{self.triple} {self.cpu} {self.features}"


def host_target() -> Target:
    initialize()
    features = llvm.get_host_cpu_features().flatten()
    return Target(llvm.get_process_triple(), llvm.get_host_cpu_name(), features)


_initialized: list[bool] = []


def initialize() -> None:
    if not _initialized:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        _initialized.append(True)
