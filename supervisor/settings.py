"""How a supervisor is started."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

VERSION = "0.1.0"


@dataclass(frozen=True, slots=True)
class Ready:
    """Told once the port answers. ``setup_url`` is "" when there is an administrator already."""

    url: str
    setup_url: str


@dataclass(frozen=True, slots=True)
class Settings:
    """``port`` 0 takes a free one. ``enrolment_token_file`` gets a fresh one-hour token at every start,
    ``api_key_file`` an engineer's key when it does not exist yet; both readable by the owner alone."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8080
    certificate: Path | None = None
    private_key: Path | None = None
    allow_plain: bool = False
    public_url: str = ""
    enrolment_token_file: Path | None = None
    api_key_file: Path | None = None
    on_ready: Callable[[Ready], None] | None = None
    retention_days: int = 3650
    argon2_kib: int = 65536  # memory of one password hash

    @property
    def tls(self) -> bool:
        return self.certificate is not None

    @property
    def is_local(self) -> bool:
        """Only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
