"""Native code of an application brought into this process: needs llvmlite only.

The object code is a msgpack list of relocatable objects. They are linked in memory; functions of the C library that
they name are taken from the process.
"""

from __future__ import annotations

import llvmlite.binding as llvm
import msgspec

from scan._object import require_object_code
from scan.abi import ABI_VERSION, Application
from scan.problem import fail


class LoadedCode:
    """Keep it as long as any of its functions may run."""

    def __init__(self, engine: llvm.ExecutionEngine, entries: dict[str, int]) -> None:
        self._engine = engine
        self.entries = entries

    def entry(self, name: str) -> int:
        """Address of ``int32 (uint8 *block, uint8 *context)``; KeyError for a name that is no task entry."""
        return self.entries[name]


def load(application: Application) -> LoadedCode:
    """Link the application's object code into this process.

    Raises TickworkError SC3002 if it was made for another CPU or version or is damaged.
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.load_library_permanently("libm.so.6")
    _check(application)
    objects = msgspec.msgpack.decode(application.object_code, type=list[bytes])
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    for data in objects:
        require_object_code(data)
        engine.add_object_file(llvm.ObjectFileRef.from_data(data))
    engine.finalize_object()
    entries = {task.entry: engine.get_function_address(task.entry) for task in application.tasks}
    return LoadedCode(engine, entries)


def _check(application: Application) -> None:
    triple, cpu, _ = (application.target + "  ").split(" ", 2)
    here = (llvm.get_process_triple(), llvm.get_host_cpu_name())
    if application.abi != ABI_VERSION or (triple, cpu) != here:
        raise fail(
            "SC3002", "The native code was made for another machine",
            expected=f"ABI {ABI_VERSION}, {' '.join(here)}", found=f"ABI {application.abi}, {triple} {cpu}",
            remedy="compile the artifact again on this machine",
        )  # fmt: skip
