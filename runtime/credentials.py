"""API keys of supervisors that a person logged in to: one file of the user, mode 0600, never shown."""

from __future__ import annotations

import os
import pathlib

import msgspec

from runtime.state import write_atomically
from scan.problem import Place, fail

ENVIRONMENT = "TICKWORK_API_KEY"  # for scripts: used instead of the file


class Credentials:
    """Keys by the address of the supervisor."""

    def __init__(self, path: pathlib.Path | None = None) -> None:
        home = os.environ.get("XDG_CONFIG_HOME")
        base = pathlib.Path(home) if home else pathlib.Path.home() / ".config"
        self._path = path or base / "tickwork" / "credentials.json"

    def key(self, url: str) -> str:
        """Raises CL2001 when there is none for ``url``."""
        if from_environment := os.environ.get(ENVIRONMENT):
            return from_environment
        keys = self._read()
        if url in keys:
            return keys[url]
        raise fail(
            "CL2001", f"you are not logged in to {url}", expected="an API key", found="none",
            remedy=f"tickwork login --to {url}   (or --api-key-file FILE, or {ENVIRONMENT})",
        )  # fmt: skip

    def store(self, url: str, key: str) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(self._path, msgspec.json.encode(self._read() | {url: key}))

    def _read(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
            raise fail(
                "CL2002", "the stored API keys cannot be read", place=Place(str(self._path)), found=str(error),
                remedy="delete the file and log in again",
            ) from error  # fmt: skip
