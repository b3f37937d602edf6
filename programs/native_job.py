"""The low-priority process that makes native code of an artifact or a plant's folder, told in JSON lines."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import msgspec

from scan.abi import encode_application
from scan.problem import Problem, TickworkError

PROGRESS_INTERVAL_S = 0.1


def run(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m programs.native", description="Make native code of an artifact."
    )
    parser.add_argument("source", type=Path, help="artifact, or folder with plant.toml")
    parser.add_argument("--out", type=Path, required=True, help="file for the encoded application")
    parser.add_argument(
        "--cache", type=Path, default=None, help="folder for object code; default: the user's cache"
    )
    given = parser.parse_args(arguments)
    try:
        return _compile(given.source, given.out, given.cache)
    except TickworkError as error:
        return _refuse(error.problems)
    except Exception as error:  # whoever started the job must learn of it in the agreed form
        sys.excepthook(type(error), error, error.__traceback__)
        return _refuse((
            Problem(
                "ST5005", "The compiler failed", found=f"{type(error).__name__}: {error}",
                remedy="this is a fault of the compiler: please report it with the sources",
            ),
        ))  # fmt: skip


def _compile(source: Path, out: Path, cache: Path | None) -> int:
    from programs.building import compile_artifact
    from programs.native_cache import default_cache_dir

    last = [0.0]

    def progress(done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or now - last[0] > PROGRESS_INTERVAL_S:
            last[0] = now
            _say(
                {
                    "event": "progress",
                    "done": done,
                    "total": total,
                    "text": f"compiled {done} of {total} parts",
                }
            )

    what = source if source.is_dir() else _read(source)
    application = compile_artifact(what, cache_dir=cache or default_cache_dir(), progress=progress)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    temporary.write_bytes(encode_application(application))
    temporary.replace(out)
    _say({"event": "built", "application": str(out), "digest": application.digest, "name": application.name})
    return 0


def _read(path: Path) -> bytes:
    from scan.problem import Place, fail

    try:
        return path.read_bytes()
    except OSError as error:
        raise fail(
            "AR1001", "The artifact cannot be read", place=Place(str(path)), found=error.strerror or str(error),
            remedy="check the path and the permissions",
        ) from error  # fmt: skip


def _refuse(problems: tuple[Problem, ...]) -> int:
    _say({"event": "problems", "problems": problems})
    return 1


def _say(message: dict[str, object]) -> None:
    sys.stdout.write(msgspec.json.encode(message).decode() + "\n")
    sys.stdout.flush()
