"""Native code from relocatable object code, by llvmlite alone: numba stays out of the processes that run programs."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from typing import Any

from scan.problem import fail

ENGINE_LIBC = (
    "clock_gettime", "clock_nanosleep", "pthread_mutex_lock", "pthread_mutex_unlock", "sem_clockwait", "sem_post",
)  # fmt: skip

_MAGICS = (b"\x7fELF", b"\xcf\xfa\xed\xfe")  # ELF, Mach-O

# Execution engines own the memory of the code; what was handed out as an address must stay until the process ends.
_KEPT: list[Any] = []


def load_object(
    code: bytes, names: Iterable[str], externals: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Links object code into this process and returns the address of each name.

    ``externals`` are the symbols that the code may use besides memory and mathematics of the C library.
    Raises TickworkError SC3002 when the code is none for this machine or lacks a name.
    """
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.load_library_permanently("")
    for name, address in (externals or {}).items():
        llvm.add_symbol(name, address)
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    require_object_code(code)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    addresses = {name: engine.get_function_address(name) for name in names}
    missing = sorted(name for name, address in addresses.items() if address == 0)
    if missing:
        raise fail(
            "SC3002", "object code lacks a function", expected=", ".join(missing), remedy="build it again"
        )
    _KEPT.append(engine)
    return addresses


def require_object_code(code: bytes) -> None:
    """Raises TickworkError SC3002 on bytes that are no object file.

    LLVM ends the process on such bytes. Damage further inside is for a checksum of whoever stored the code.
    """
    if not code.startswith(_MAGICS):
        raise fail("SC3002", "this is no object code", found=repr(code[:4]), remedy="build it again")


def libc_addresses(names: Iterable[str]) -> dict[str, int]:
    libc = ctypes.CDLL(None)
    return {name: ctypes.cast(getattr(libc, name), ctypes.c_void_p).value or 0 for name in names}
