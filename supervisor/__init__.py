"""Many runtimes: watched, recorded and commanded from another process.

The names below are loaded when first used, so that ``import supervisor`` is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supervisor.app import create_app
    from supervisor.main import serve
    from supervisor.services import Services
    from supervisor.settings import Ready, Settings

__all__ = ["Ready", "Services", "Settings", "create_app", "serve"]

_HOME = {
    "Ready": "supervisor.settings",
    "Services": "supervisor.services",
    "Settings": "supervisor.settings",
    "create_app": "supervisor.app",
    "serve": "supervisor.main",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'supervisor' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
