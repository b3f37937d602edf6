"""Plant folders from outside: names that stay inside the folder, sizes that stay within bounds, text that is text."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
import zlib

from scan.problem import TickworkError, fail
from supervisor.model import SourceFile

FILES_MAX = 500
FILE_BYTES_MAX = 1024 * 1024
TOTAL_BYTES_MAX = 8 * 1024 * 1024
PATH_LENGTH_MAX = 200
SUFFIXES = (".toml", ".st", ".xml", ".md", ".txt", ".csv", ".json")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,99}")


def check_path(path: str) -> None:
    """Raises TickworkError SV4008 unless the path is a plain relative one of a kind of file that a plant has."""
    parts = path.split("/")
    plain = all(_PART.fullmatch(part) and not part.endswith((".", " ")) for part in parts)
    if not plain or len(path) > PATH_LENGTH_MAX or not path.lower().endswith(SUFFIXES):
        raise fail(
            "SV4008",
            "this file name is not allowed in a project",
            expected=f"a relative path ending in {', '.join(SUFFIXES)}",
            found=path[:PATH_LENGTH_MAX],
            remedy="rename the file, or leave it out",
        )


def check_files(files: tuple[SourceFile, ...]) -> tuple[SourceFile, ...]:
    """The files sorted by path. Raises TickworkError SV4008 or SV4001."""
    for file in files:
        check_path(file.path)
        if len(file.text.encode(errors="replace")) > FILE_BYTES_MAX or "\0" in file.text:
            raise _unusable(f"{file.path} is too large or not text")
    lower = {file.path.lower() for file in files}
    if len(lower) != len(files) or len(files) > FILES_MAX:
        raise _unusable(f"{len(files)} files, some with the same name or too many")
    if any(parent in lower for path in lower for parent in _parents(path)):
        raise _unusable("a name that is a file and a folder")
    if sum(len(file.text) for file in files) > TOTAL_BYTES_MAX:
        raise _unusable("too much text")
    return tuple(sorted(files, key=lambda file: file.path))


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def read_zip(archive: bytes) -> tuple[SourceFile, ...]:
    """The text files of a zipped plant folder; other kinds of files and hidden ones are left out.

    Nothing is written to disk and every entry is read up to its bound only, so neither names nor sizes in the archive
    are believed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as pack:
            entries = [entry for entry in pack.infolist() if _wanted(entry)]
            if len(entries) > FILES_MAX:
                raise _unusable(f"{len(entries)} files")
            files, left = [], TOTAL_BYTES_MAX
            for entry in entries:
                text, size = _text(pack, entry, left)
                left -= size
                files.append(SourceFile(entry.filename, text))
    except (
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
    ) as error:
        raise _unusable(str(error)) from error
    return check_files(_without_top_folder(files))


def _wanted(entry: zipfile.ZipInfo) -> bool:
    name = entry.filename
    hidden = any(part.startswith((".", "__MACOSX")) and part not in (".", "..") for part in name.split("/"))
    return not entry.is_dir() and not hidden and name.lower().endswith(SUFFIXES)


def _text(pack: zipfile.ZipFile, entry: zipfile.ZipInfo, left: int) -> tuple[str, int]:
    bound = min(FILE_BYTES_MAX, left)
    with pack.open(entry) as file:
        data = file.read(bound + 1)
    if len(data) > bound:
        raise _unusable(f"{entry.filename[:80]} unpacks to more than {bound} bytes")
    return data.decode("utf-8-sig"), len(data)


def _without_top_folder(files: list[SourceFile]) -> tuple[SourceFile, ...]:
    plants = [file.path for file in files if posixpath.basename(file.path) == "plant.toml"]
    top = posixpath.dirname(min(plants, key=len)) if plants else ""
    if not top:
        return tuple(files)
    inside = (file for file in files if file.path.startswith(top + "/"))
    return tuple(SourceFile(file.path.removeprefix(top + "/"), file.text) for file in inside)


def _unusable(found: str) -> TickworkError:
    return fail(
        "SV4001",
        "these files cannot be used as a project",
        expected=f"up to {FILES_MAX} text files (UTF-8), {FILE_BYTES_MAX} bytes each, {TOTAL_BYTES_MAX} together",
        found=found,
        remedy="zip the plant folder with plant.toml and its sources, nothing else",
    )
