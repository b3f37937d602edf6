"""``tickwork``: the command line of nodes, programs and supervisors."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Annotated

import typer

from runtime import (
    cli_alarms,
    cli_deploy,
    cli_language,
    cli_library,
    cli_modbus,
    cli_mqtt,
    cli_node,
    cli_opcua,
    cli_program,
    cli_replay,
    cli_supervise,
    cli_system,
    cli_watch,
    console,
    demo,
)
from runtime.facts import version
from scan.problem import fail

DISTRIBUTION = "tickwork"
PACKAGES = ("drivers", "programs", "runtime", "scan", "supervisor", "web")

_EPILOG = (
    "Exit codes: 0 done, 1 problems found, 2 wrong usage, 3 node or supervisor not reachable, "
    "4 refused, 70 a fault in tickwork itself."
)

app = typer.Typer(
    name=DISTRIBUTION,
    help="Run control programs as machine code, and look after those that run.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (
    cli_program,
    cli_language,
    cli_node,
    cli_watch,
    cli_deploy,
    cli_replay,
    cli_supervise,
    demo,
    cli_system,
):
    app.add_typer(part.app)
app.add_typer(cli_alarms.app, name="alarms")
app.add_typer(cli_library.app, name="library")
app.add_typer(cli_modbus.app, name="modbus")
app.add_typer(cli_mqtt.app, name="mqtt")
app.add_typer(cli_opcua.app, name="opcua")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{DISTRIBUTION} {version()}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    _refuse_foreign_packages()


def _refuse_foreign_packages() -> None:
    """The import names are ordinary words: PyPI has a ``supervisor`` and a ``web.py`` of its own."""
    owners = importlib.metadata.packages_distributions()
    for name in PACKAGES:
        foreign = sorted(set(owners.get(name, ())) - {DISTRIBUTION})
        if foreign:
            raise fail(
                "CL9002",
                f"the package `{name}` of this environment belongs to {', '.join(foreign)} too",
                expected=f"an environment in which `{name}` is {DISTRIBUTION}'s alone",
                found=", ".join(foreign),
                remedy=f"pip uninstall {' '.join(foreign)}, or install {DISTRIBUTION} in an environment of its own",
            )


def main() -> None:
    """The console script."""
    sys.exit(console.guarded(app))


if __name__ == "__main__":
    main()
