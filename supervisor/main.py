"""Starts a supervisor and keeps it until it is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import uvicorn

from runtime.link import FRAME_SIZE_MAX
from scan.problem import TickworkError, fail
from supervisor.app import Parts, create_app
from supervisor.log import start_logging, stop_logging
from supervisor.model import Actor, Role
from supervisor.secrets_store import write_private
from supervisor.settings import Ready, Settings

GRACE_S = 5  # for requests that are under way when it is asked to stop
CONNECTIONS_MAX = 5000
FILES_WANTED = 16_384
SETUP_FILE = "first-admin.url"
_SYSTEM = Actor("supervisor", Role.ADMIN, "system")


def serve(settings: Settings) -> int:
    """Run until SIGINT or SIGTERM; 0 after an orderly end. Raises TickworkError when it cannot start."""
    _check_exposure(settings)
    os.umask(0o077)  # everything that is written here is the owner's alone
    with _locked(settings.data_dir), _bound(settings) as listener:
        _more_files()
        handler = start_logging(settings.data_dir)
        try:
            app = create_app(settings)
            server = Server(_config(app, settings), app.state.parts, settings)
            server.run(sockets=[listener])
        finally:
            stop_logging(handler)
        return 0 if server.started else 1


class Server(uvicorn.Server):
    """Tells when it is ready, and ends live streams and links when it is asked to stop."""

    def __init__(self, config: uvicorn.Config, parts: Parts, settings: Settings) -> None:
        super().__init__(config)
        self._parts = parts
        self._settings = settings

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started or not sockets:
            return
        url = _url(self._settings, sockets[0].getsockname()[1])
        self._parts.system.public_url = url
        token = await self._parts.people.make_setup_token()
        setup_url = f"{url}/setup?token={token}" if token else ""
        await _write_secrets(self._parts, self._settings, setup_url)
        if self._settings.on_ready:
            self._settings.on_ready(Ready(url, setup_url))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A second SIGINT does not wait for anybody. The signal is not raised again: this end is an orderly one."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True
        # In a signal handler of the main thread, between two steps of the loop: what it wakes runs afterwards.
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().call_soon_threadsafe(self._parts.stop_streams)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._parts.stop_streams()
        await super().shutdown(sockets)


def _config(app: object, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # a Starlette application
        ws="websockets-sansio",
        ws_max_size=FRAME_SIZE_MAX,
        ws_ping_interval=15.0,
        ws_ping_timeout=15.0,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=30,
        limit_concurrency=CONNECTIONS_MAX,
        server_header=False,
        proxy_headers=False,
        access_log=False,
        log_config=None,
        lifespan="on",
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.private_key,
    )


async def _write_secrets(parts: Parts, settings: Settings, setup_url: str) -> None:
    setup = settings.data_dir / SETUP_FILE
    if setup_url:
        await asyncio.to_thread(write_private, setup, setup_url + "\n")
    else:
        await asyncio.to_thread(setup.unlink, missing_ok=True)
    if settings.enrolment_token_file:
        token = await parts.people.create_enrolment_token(_SYSTEM)
        await asyncio.to_thread(write_private, settings.enrolment_token_file, token.secret + "\n")
    if settings.api_key_file and not settings.api_key_file.exists():
        key = await parts.people.create_api_key(_SYSTEM, "local", Role.ENGINEER, expires_days=365)
        await asyncio.to_thread(write_private, settings.api_key_file, key.secret + "\n")


def _url(settings: Settings, port: int) -> str:
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'https' if settings.tls else 'http'}://{host}:{port}"


def _check_exposure(settings: Settings) -> None:
    if settings.tls:
        _check_tls(settings)
    elif not settings.is_local and not settings.allow_plain:
        raise fail(
            "SV5005",
            "passwords would cross the network in the clear",
            expected="TLS, or an address of this machine alone",
            found=f"plain HTTP on {settings.host}",
            remedy="give a certificate and its key; with a TLS proxy on this machine listen on 127.0.0.1",
        )


def _check_tls(settings: Settings) -> None:
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(settings.certificate), settings.private_key and str(settings.private_key))
    except (OSError, ssl.SSLError) as error:
        raise fail(
            "SV5004",
            "the TLS certificate or its key cannot be used",
            expected="a certificate chain and its private key in PEM",
            found=f"{settings.certificate}, {settings.private_key}: {error}",
            remedy="check both paths, and that the key belongs to the certificate",
        ) from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The data directory, ours alone while we run."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise fail(
            "SV5003",
            f"the data directory {folder} cannot be used",
            found=error.strerror or str(error),
            remedy="choose another one, or make it writable for this user",
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(handle, 20, 0).decode(errors="replace").strip()
        os.close(handle)
        raise fail(
            "SV5002",
            f"another supervisor uses {folder}",
            found=f"process {owner or 'unknown'}",
            remedy="end that one first, or choose another data directory",
        ) from error
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _bound(settings: Settings) -> Iterator[socket.socket]:
    """A listening socket, bound before anything else is done, so that a taken port is told at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(1024)
        listener.set_inheritable(False)
        yield listener
    except (OSError, OverflowError) as error:
        raise _no_port(settings, error) from error
    finally:
        listener.close()


def _no_port(settings: Settings, error: Exception) -> TickworkError:
    taken = getattr(error, "errno", 0) == errno.EADDRINUSE
    return fail(
        "SV5001",
        f"port {settings.port} on {settings.host} {'is taken' if taken else 'cannot be used'}",
        found=getattr(error, "strerror", "") or str(error),
        remedy="end the program that uses it, or choose another port",
    )


def _more_files() -> None:
    """Each runtime and each browser holds a connection open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> int:
    """``python -m supervisor.main DATA_DIR [PORT]``: the least of it; ``tickwork supervise`` has the options."""
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8080
    folder = Path(sys.argv[1])
    settings = Settings(
        folder, port=port, enrolment_token_file=folder / "enrolment.token", api_key_file=folder / "api.key",
        on_ready=lambda ready: print(f"{ready.url} {ready.setup_url}", flush=True),  # noqa: T201
    )  # fmt: skip
    try:
        return serve(settings)
    except TickworkError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1


if __name__ == "__main__":
    sys.exit(main())
