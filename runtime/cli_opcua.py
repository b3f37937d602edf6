"""``tickwork opcua``: users and certificates of a node's OPC UA server."""

from __future__ import annotations

import pathlib
import sys
from typing import Annotated

import typer
from rich.table import Table

from runtime import console
from runtime.cli_node import NodeOption, StateOption
from runtime.find_node import state_of
from scan.problem import Place, fail

app = typer.Typer(help="Users and certificates of a node's OPC UA server.", no_args_is_help=True)

PASSWORD_LENGTH_MIN = 10  # NIST SP 800-63B-4 §3.1.1.2 asks for more the less else protects
LISTS = ("trusted", "rejected")


def _directory(node: str, state: pathlib.Path | None) -> pathlib.Path:
    return state_of(node, state).root / "opcua"


@app.command()
def user(
    name: Annotated[str, typer.Argument(help="Name that the client sends.")],
    role: Annotated[str, typer.Option(help="observer, operator, engineer or admin.")] = "observer",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read it from standard input.")
    ] = False,
    node: NodeOption = "",
    state: StateOption = None,
) -> None:
    """Add a user or give it another password. A running server takes it at once.

    Example: tickwork opcua user ann --role operator --node water
    """
    from drivers.opcua.users import UserFile

    directory = _directory(node, state)
    password = sys.stdin.readline().rstrip("\n") if password_stdin else typer.prompt(
        "password", hide_input=True, confirmation_prompt=True
    )  # fmt: skip
    if len(password) < PASSWORD_LENGTH_MIN:
        raise fail("CL2003", "the password is too short", expected=f"{PASSWORD_LENGTH_MIN} characters or more",
                   found=f"{len(password)}", remedy="take several words")  # fmt: skip
    UserFile(directory / "users.toml").add(name, role, password)
    console.say(f"{name} may use OPC UA as {role}")


@app.command()
def certificates(node: NodeOption = "", state: StateOption = None) -> None:
    """List the certificates of clients: trusted ones and those that were rejected."""
    table = Table("list", "fingerprint", box=None)
    for name in LISTS:
        for path in sorted((_directory(node, state) / name).glob("*.der")):
            table.add_row(name, path.stem)
    console.out.print(table)


@app.command()
def trust(
    certificate: Annotated[
        str, typer.Argument(help="File, or beginning of the fingerprint of a rejected one.")
    ],
    node: NodeOption = "",
    state: StateOption = None,
) -> None:
    """Trust a client's certificate.

    Example: tickwork opcua trust 3fa9c1 --node water
    """
    directory = _directory(node, state)
    (directory / "trusted").mkdir(mode=0o700, parents=True, exist_ok=True)
    given = pathlib.Path(certificate)
    if given.is_file():
        name, data = _read(given)
        (directory / "trusted" / f"{name}.der").write_bytes(data)
        console.say(f"{name[:16]} is trusted")
        return
    wanted = certificate.lower().replace(":", "")
    found = [path for path in (directory / "rejected").glob("*.der") if path.stem.startswith(wanted)]
    if len(found) != 1:
        raise fail("CL1007", "no single rejected certificate has this fingerprint", place=Place(str(directory)),
                   expected="one", found=str(len(found)), remedy="see `tickwork opcua certificates`")  # fmt: skip
    found[0].replace(directory / "trusted" / found[0].name)
    console.say(f"{found[0].stem[:16]} is trusted")


def _read(path: pathlib.Path) -> tuple[str, bytes]:
    """SHA-256 fingerprint and DER form of a certificate file, PEM or DER."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    data = path.read_bytes()
    try:
        load = x509.load_pem_x509_certificate if data.startswith(b"-----") else x509.load_der_x509_certificate
        certificate = load(data)
    except ValueError as error:
        raise fail("CL1008", "the file holds no certificate", place=Place(str(path)), found=str(error),
                   expected="an X.509 certificate, PEM or DER") from error  # fmt: skip
    return certificate.fingerprint(hashes.SHA256()).hex(), certificate.public_bytes(Encoding.DER)
