"""A process of its own for programs of unknown origin: limits first, then a check, a build or an inspection.

``python -m supervisor.program_worker check|build|test FOLDER [--output FILE]`` ends in ``tickwork check --json``;
``… inspect ARTIFACT`` prints what the artifact says of itself as one JSON document. The limits are set before anything
of the input is read and cannot be lifted again: processor time, memory, size of files, no core dumps.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

CPU_S = 60
MEMORY_BYTES = 4 * 1024**3
FILE_BYTES = 64 * 1024**2
PROBLEMS_FOUND = 1


def limit() -> None:
    """Bound what this process may use from here on."""
    for what, bound in (
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        allowed = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(what, (allowed, allowed))


def main(arguments: list[str]) -> int:
    limit()
    if arguments[0] == "inspect":
        from supervisor.artifact_inspect import inspect

        return inspect(Path(arguments[1]))
    import importlib

    sys.argv = ["tickwork", *arguments, "--json"]
    # By name: the supervisor's modules know nothing of the runtime's, this process is the runtime's command line.
    importlib.import_module("runtime.cli").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
