"""``tickwork opcua``: users and certificates of a node's OPC UA server, and remote servers at a terminal."""

from __future__ import annotations

import pathlib
import sys
from typing import Annotated

import typer
from rich.table import Table

from runtime import cli_opcua_client, console
from runtime.cli_node import JsonOption, NodeOption, StateOption
from runtime.find_node import state_of
from scan.problem import Place, fail

app = typer.Typer(
    help="Users and certificates of a node's OPC UA server; browse, read, write and watch remote servers.",
    no_args_is_help=True,
)
cli_opcua_client.add_to(app)

PASSWORD_LENGTH_MIN = 10  # NIST SP 800-63B-4 §3.1.1.2 asks for more the less else protects
SHOWN = 16  # characters of a fingerprint that tell certificates apart


def _directory(node: str, state: pathlib.Path | None) -> pathlib.Path:
    return state_of(node, state).root / "opcua"


@app.command()
def user(
    name: Annotated[str, typer.Argument(help="Name that the client sends.")],
    role: Annotated[str, typer.Option(help="observer, operator, engineer or admin.")] = "observer",
    certificate: Annotated[
        pathlib.Path | None, typer.Option(help="The user's certificate (PEM or DER) instead of a password.")
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read it from standard input.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="The user may not come in any more.")] = False,
    node: NodeOption = "",
    state: StateOption = None,
) -> None:
    """Add a user or give it another password, role or certificate. A running server takes it at once.

    Example: tickwork opcua user ann --role operator --node water
    """
    from drivers.opcua.users import UserFile

    users = UserFile(_directory(node, state) / "users.toml")
    if remove:
        console.say(f"{name} is removed" if users.remove(name) else f"there is no user {name}")
        return
    if certificate is not None:
        users.add_certificate(name, role, _read(certificate)[0])
        console.say(f"{name} may use OPC UA as {role} with this certificate")
        return
    password = sys.stdin.readline().rstrip("\n") if password_stdin else typer.prompt(
        "password", hide_input=True, confirmation_prompt=True
    )  # fmt: skip
    if len(password) < PASSWORD_LENGTH_MIN:
        raise fail("CL2003", "the password is too short", expected=f"{PASSWORD_LENGTH_MIN} characters or more",
                   found=f"{len(password)}", remedy="take several words")  # fmt: skip
    users.add(name, role, password)
    console.say(f"{name} may use OPC UA as {role}")


@app.command()
def users(node: NodeOption = "", state: StateOption = None, json: JsonOption = False) -> None:
    """List the users of the server: role, and by what they are known."""
    from drivers.opcua.users import UserFile

    console.use_json(json)
    found = UserFile(_directory(node, state) / "users.toml").names()
    rows = [
        {
            "user": name,
            "role": one.role,
            "password": bool(one.password_hash),
            "certificates": list(one.certificates),
        }
        for name, one in found.items()
    ]
    if json:
        console.give(rows)
        return
    table = Table("user", "role", "password", "certificates", box=None)
    for row in rows:
        keys = " ".join(one[:SHOWN] for one in row["certificates"])  # type: ignore[attr-defined]
        table.add_row(str(row["user"]), str(row["role"]), "yes" if row["password"] else "no", keys)
    console.out.print(table)


@app.command()
def certificates(node: NodeOption = "", state: StateOption = None, json: JsonOption = False) -> None:
    """List the own certificate and those of clients and servers, trusted and rejected."""
    from drivers.opcua.certificates import TrustList, certificate_facts, files_in, own_certificate

    console.use_json(json)
    files = files_in(_directory(node, state))
    rows: list[dict[str, object]] = []
    if files.certificate.exists():
        own = certificate_facts(own_certificate(files))
        rows.append(_row("own", "", own))
        if own.warning:
            console.say(f"warning: {own.warning}")
    for whose, lists in (("client", files), ("server", files.of_servers)):
        rows += [_row(kind, whose, certificate_facts(one)) for kind, one in TrustList(lists).entries()]
    if json:
        console.give(rows)
        return
    table = Table("list", "of a", "fingerprint", "application", "valid until", box=None)
    for row in rows:
        table.add_row(*(str(row[key]) for key in ("list", "of", "fingerprint", "application", "until")))
    console.out.print(table)


def _row(kind: str, whose: str, facts: object) -> dict[str, object]:
    from drivers.opcua.certificates import CertificateFacts

    assert isinstance(facts, CertificateFacts)
    return {
        "list": kind, "of": whose, "fingerprint": facts.fingerprint, "application": facts.application_uri,
        "until": f"{facts.not_after:%Y-%m-%d}", "warning": facts.warning if kind == "own" else "",
    }  # fmt: skip


@app.command()
def trust(
    certificate: Annotated[
        str, typer.Argument(help="File, or beginning of the fingerprint of a rejected one.")
    ],
    server: Annotated[
        bool, typer.Option("--server", help="The file is the certificate of a server.")
    ] = False,
    node: NodeOption = "",
    state: StateOption = None,
) -> None:
    """Trust the certificate of a client, or of a server that the node reads from.

    Example: tickwork opcua trust 3fa9c1 --node water
    """
    from drivers.opcua.certificates import TrustList, files_in

    files = files_in(_directory(node, state))
    given = pathlib.Path(certificate)
    if given.is_file():
        name = TrustList(files.of_servers if server else files).add(_read(given)[1])
        console.say(f"{name[:SHOWN]} is trusted")
        return
    wanted = certificate.lower().replace(":", "")
    for lists in (files, files.of_servers):
        name = TrustList(lists).approve(wanted) or ""
        if name:
            console.say(f"{name[:SHOWN]} is trusted")
            return
    raise fail("CL1007", "no single rejected certificate has this fingerprint", place=Place(str(files.rejected)),
               expected="one", found="none, or several", remedy="see `tickwork opcua certificates`")  # fmt: skip


@app.command()
def distrust(
    certificate: Annotated[str, typer.Argument(help="Beginning of the fingerprint of a trusted one.")],
    node: NodeOption = "",
    state: StateOption = None,
) -> None:
    """Trust a certificate no longer. Connections that are open stay until they end.

    Example: tickwork opcua distrust 3fa9c1 --node water
    """
    from drivers.opcua.certificates import TrustList, files_in

    files = files_in(_directory(node, state))
    wanted = certificate.lower().replace(":", "")
    for lists in (files, files.of_servers):
        name = TrustList(lists).revoke(wanted)
        if name:
            console.say(f"{name[:SHOWN]} is trusted no longer")
            return
    raise fail("CL1007", "no single trusted certificate has this fingerprint", place=Place(str(files.trusted)),
               expected="one", found="none, or several", remedy="see `tickwork opcua certificates`")  # fmt: skip


@app.command()
def renew(
    days: Annotated[int, typer.Option(help="How long the new certificate is valid.", min=1, max=7300)] = 1825,
    host: Annotated[list[str] | None, typer.Option(help="A further host name or address in it.")] = None,
    node: NodeOption = "",
    state: StateOption = None,
) -> None:
    """Make a new key and certificate for the node. A running server takes it at once for new connections.

    Example: tickwork opcua renew --node water
    """
    from drivers.opcua.certificates import certificate_facts, own_certificate, renew_certificate

    directory = _directory(node, state)
    facts = certificate_facts(
        own_certificate(renew_certificate(directory, directory.parent.name, tuple(host or ()), days))
    )
    console.say(f"new certificate {facts.fingerprint[:SHOWN]}, valid until {facts.not_after:%Y-%m-%d}")
    console.say("clients and servers that trusted the old one have to trust it now")


def _read(path: pathlib.Path) -> tuple[str, bytes]:
    """SHA-256 fingerprint and DER form of a certificate file, PEM or DER."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        data = path.read_bytes()
        load = x509.load_pem_x509_certificate if data.startswith(b"-----") else x509.load_der_x509_certificate
        certificate = load(data)
    except (OSError, ValueError) as error:
        raise fail("CL1008", "the file holds no certificate", place=Place(str(path)), found=str(error),
                   expected="an X.509 certificate, PEM or DER") from error  # fmt: skip
    return certificate.fingerprint(hashes.SHA256()).hex(), certificate.public_bytes(Encoding.DER)
