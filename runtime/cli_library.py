"""``tickwork library``: libraries of a plant, copied into it and pinned by digest."""

from __future__ import annotations

import io
import pathlib
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import Annotated

import typer

from programs import libraries
from programs.libraries import FOLDER, LOCK, MANIFEST, Locked, Manifest
from runtime import console
from runtime.cli_node import JsonOption
from runtime.plant import FILE_NAME
from runtime.state import write_atomically
from scan.problem import Place, TickworkError, fail

app = typer.Typer(help="Libraries of a plant.", no_args_is_help=True)

PlantOption = Annotated[pathlib.Path, typer.Option("--plant", help="Folder with plant.toml.")]
_ARCHIVES = (".zip", ".tar.gz", ".tgz")


@app.command()
def add(
    library: Annotated[pathlib.Path, typer.Argument(help="Folder, .zip or .tar.gz with library.toml.")],
    plant: PlantOption = pathlib.Path(),
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of another version that is there.")
    ] = False,
    sha256: Annotated[str, typer.Option("--sha256", help="Refuse a library with another digest.")] = "",
    json: JsonOption = False,
) -> None:
    """Copy a library into a plant and pin it in libraries.lock.

    Example: tickwork library add oscat-basic-3.33.zip --plant examples/water
    """
    console.use_json(json)
    _need_plant(plant)
    with tempfile.TemporaryDirectory() as scratch:
        folder = _opened(library, pathlib.Path(scratch))
        manifest, files = libraries.read_library(folder)
        digest = libraries.digest_of(files)
        if sha256 and sha256.lower() != digest:
            raise fail(
                "AR3003", f"The library {manifest.name} is not the one that was asked for", place=Place(str(library)),
                expected=f"sha256 {sha256.lower()}", found=f"sha256 {digest}", remedy="get the right one",
            )  # fmt: skip
        known = _locked(plant)
        _no_other_version(manifest, digest, known, replace)
        _copy(files, folder, plant / FOLDER / manifest.name)
    kept = [one for one in known if one.name.lower() != manifest.name.lower()]
    _write(plant, [*kept, Locked(manifest.name, manifest.version, digest)])
    if json:
        console.give({"ok": True, "name": manifest.name, "version": manifest.version, "sha256": digest})
    console.say(f"{manifest.name} {manifest.version}: {len(files) - 1} sources, sha256 {digest}")


@app.command("list")
def show(plant: PlantOption = pathlib.Path(), json: JsonOption = False) -> None:
    """Show the libraries of a plant and whether they are what was added.

    Exit code 1 if one is missing or changed. Example: tickwork library list --plant examples/water
    """
    console.use_json(json)
    _need_plant(plant)
    found = libraries.split(libraries.read_vendored(plant))
    rows = [
        {"name": one.manifest.name, "version": one.manifest.version, "namespace": one.manifest.space}
        for one in found.libraries
    ]
    if found.problems:
        console.show_problems(found.problems)
        console.leave(console.PROBLEMS)
    if json:
        console.give({"ok": True, "libraries": rows})
    for row in rows:
        console.say(f"{row['name']} {row['version']} (namespace {row['namespace']})")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Name of a library of the plant.")],
    plant: PlantOption = pathlib.Path(),
) -> None:
    """Take a library out of a plant.

    Example: tickwork library remove oscat_basic
    """
    _need_plant(plant)
    known = _locked(plant)
    found = [one for one in known if one.name.lower() == name.lower()]
    if not found:
        raise fail(
            "AR3002", f"The plant has no library {name}", place=Place(str(plant / LOCK)), found=name,
            expected=", ".join(one.name for one in known) or "no library", remedy="correct the name",
        )  # fmt: skip
    shutil.rmtree(plant / FOLDER / found[0].name, ignore_errors=True)
    _write(plant, [one for one in known if one not in found])
    console.say(f"{found[0].name} {found[0].version} removed")


@app.command()
def pack(
    folder: Annotated[pathlib.Path, typer.Argument(help="Folder with library.toml.")],
    output: Annotated[
        pathlib.Path | None,
        typer.Option("--output", "-o", help="Archive to write; default: NAME-VERSION.zip here."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Pack a library into an archive that `library add` takes; the same files give the same bytes.

    Example: tickwork library pack my-library
    """
    console.use_json(json)
    manifest, files = libraries.read_library(folder)
    path = output or pathlib.Path(f"{manifest.name}-{manifest.version}.zip")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    console.write_report(path, buffer.getvalue())
    digest = libraries.digest_of(files)
    if json:
        console.give({"ok": True, "archive": str(path), "sha256": digest})
    console.say(f"{path}: {manifest.name} {manifest.version}, sha256 {digest}")


# ---------------------------------------------------------------- plants


def _need_plant(plant: pathlib.Path) -> None:
    if not (plant / FILE_NAME).exists():
        raise fail(
            "AR2001", f"There is no plant in {plant}", place=Place(str(plant / FILE_NAME)), expected=FILE_NAME,
            found="nothing", remedy="name the folder of a plant with --plant",
        )  # fmt: skip


def _locked(plant: pathlib.Path) -> list[Locked]:
    lock = plant / LOCK
    return list(libraries.read_lock(lock.read_bytes())) if lock.exists() else []


def _write(plant: pathlib.Path, locked: list[Locked]) -> None:
    if locked:
        write_atomically(plant / LOCK, libraries.write_lock(tuple(locked)))
    else:
        (plant / LOCK).unlink(missing_ok=True)


def _no_other_version(manifest: Manifest, digest: str, known: list[Locked], replace: bool) -> None:
    for one in known:
        if one.name.lower() == manifest.name.lower() and one.sha256 != digest and not replace:
            raise fail(
                "AR3004", f"The plant has another {one.name} already", place=Place(LOCK),
                expected=f"{one.name} {one.version}, sha256 {one.sha256}", found=f"{manifest.version}, sha256 {digest}",
                remedy="add it with --replace if it is to take the other one's place",
            )  # fmt: skip


def _copy(files: dict[str, bytes], folder: pathlib.Path, target: pathlib.Path) -> None:
    """The files that count, and the texts of its licence beside them."""
    shutil.rmtree(target, ignore_errors=True)
    texts = [
        path
        for path in folder.iterdir()
        if path.is_file() and path.name.upper().startswith(("LICEN", "COPYING"))
    ]
    for name, data in [*files.items(), *((path.name, path.read_bytes()) for path in texts)]:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


# ---------------------------------------------------------------- archives


def _opened(library: pathlib.Path, scratch: pathlib.Path) -> pathlib.Path:
    """The folder with the manifest; an archive is unpacked into ``scratch``. Raises TickworkError AR3005."""
    if library.is_dir():
        return library
    if not library.is_file() or not library.name.lower().endswith(_ARCHIVES):
        raise libraries.unusable(str(library), "neither a folder nor an archive")
    try:
        members = _zipped(library) if library.suffix.lower() == ".zip" else _tarred(library)
    except TickworkError:
        raise
    except (OSError, EOFError, RuntimeError, ValueError, NotImplementedError, zlib.error, tarfile.TarError,
            zipfile.BadZipFile) as error:  # fmt: skip
        raise libraries.unusable(str(library), str(error)) from error
    for name, data in members.items():
        path = scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    found = [path for path in (scratch, *scratch.iterdir()) if (path / MANIFEST).is_file()]
    if not found:
        raise libraries.unusable(str(library), f"no {MANIFEST} in it")
    return found[0]


def _zipped(path: pathlib.Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        _check_size(path, [info.file_size for info in infos])
        return {_safe(path, info.filename): archive.read(info) for info in infos}


def _tarred(path: pathlib.Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    sizes: list[int] = []
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            if not member.isfile():
                continue
            sizes.append(member.size)
            _check_size(path, sizes)
            data = archive.extractfile(member)
            found[_safe(path, member.name)] = data.read() if data is not None else b""
    return found


def _check_size(path: pathlib.Path, sizes: list[int]) -> None:
    if len(sizes) > libraries.FILES_MAX or sum(sizes) > libraries.BYTES_MAX:
        limit = f"{libraries.FILES_MAX} files, {libraries.BYTES_MAX} bytes at most"
        raise libraries.unusable(str(path), f"{len(sizes)} files, {sum(sizes)} bytes", limit)


def _safe(path: pathlib.Path, name: str) -> str:
    """A member's path; none may lead out of the folder."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in name or "\0" in name:
        raise libraries.unusable(str(path), name[:80], "relative paths inside the archive")
    return str(PurePosixPath(*parts))
