"""Control programs: sources checked and turned into native code with a symbol table.

The names below are loaded when first used, so that ``import programs`` is cheap and a process that only opens artifacts
does not load the compiler.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from programs.artifact import Artifact, Manifest, open_artifact, pack, sign
    from programs.blocks import Block, block
    from programs.building import (
        build,
        build_files,
        check_blocks,
        check_folder,
        check_sources,
        compile_artifact,
        compile_sources,
        read_folder,
        read_settings,
    )
    from programs.native import compile_program

__all__ = [
    "Artifact",
    "Block",
    "Manifest",
    "block",
    "build",
    "build_files",
    "check_blocks",
    "check_folder",
    "check_sources",
    "compile_artifact",
    "compile_program",
    "compile_sources",
    "open_artifact",
    "pack",
    "read_folder",
    "read_settings",
    "sign",
]

_MODULES = {
    "programs.artifact": ("Artifact", "Manifest", "open_artifact", "pack", "sign"),
    "programs.blocks": ("Block", "block"),
    "programs.building": (
        "build", "build_files", "check_blocks", "check_folder", "check_sources", "compile_artifact", "compile_sources",
        "read_folder", "read_settings",
    ),
    "programs.native": ("compile_program",),
}  # fmt: skip
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'programs' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
