"""``tickwork supervise``: the supervisor's process. The only module of the runtime that knows the supervisor."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Annotated

import typer

from runtime import console

if TYPE_CHECKING:
    from supervisor.settings import Ready

app = typer.Typer()


@app.command()
def supervise(
    data_dir: Annotated[
        pathlib.Path, typer.Option(help="Folder for database, history and keys.")
    ] = pathlib.Path("~/.local/state/tickwork-supervisor"),
    host: Annotated[
        str, typer.Option(help="Address to listen on; anything but loopback needs a certificate.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    certificate: Annotated[pathlib.Path | None, typer.Option(help="TLS certificate chain (PEM).")] = None,
    private_key: Annotated[pathlib.Path | None, typer.Option(help="TLS private key (PEM).")] = None,
    allow_plain: Annotated[
        bool, typer.Option(help="Permit http beyond loopback (a TLS proxy stands in front).")
    ] = False,
    public_url: Annotated[
        str, typer.Option(help="Address that people and runtimes use, if it differs.")
    ] = "",
    enrolment_token_file: Annotated[
        pathlib.Path | None, typer.Option(help="Write a one-hour one-time enrolment token here (mode 0600).")
    ] = None,
    api_key_file: Annotated[
        pathlib.Path | None, typer.Option(help="Write an engineer's API key here once (mode 0600).")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Write addresses as one JSON line when ready.")
    ] = False,
) -> None:
    """Start a supervisor: pages, history, deployments for many runtimes.

    Example: tickwork supervise --port 8080
    """
    from supervisor.main import serve
    from supervisor.settings import Settings

    def told(ready: Ready) -> None:
        if json:
            console.give_line({"url": ready.url, "setup_url": ready.setup_url})
            return
        console.out.print(f"the supervisor's pages: {ready.url}", markup=False)
        if ready.setup_url:
            console.out.print(f"create the first administrator (works once): {ready.setup_url}", markup=False)

    settings = Settings(
        data_dir=data_dir.expanduser(), host=host, port=port, certificate=certificate, private_key=private_key,
        allow_plain=allow_plain, public_url=public_url, enrolment_token_file=enrolment_token_file,
        api_key_file=api_key_file, on_ready=told,
    )  # fmt: skip
    console.leave(serve(settings))
