"""Libraries of a plant: vendored under ``libraries/NAME``, pinned by digest in ``libraries.lock``.

A library is a folder with ``library.toml`` (name, version, namespace, dialect, sources, requires). Adding one copies it
into the plant and writes its SHA-256 into the lock; every check and build compares the two, so what was added is what
runs, on every machine. In the mapping of a plant's sources, and in its artifact, a library's files are members.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import msgspec

from programs.source import Source, SourceSet
from scan.problem import Place, Problem, TickworkError, fail

FOLDER = "libraries"
LOCK = "libraries.lock"
MANIFEST = "library.toml"
FILES_MAX = 5_000
BYTES_MAX = 20_000_000
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")
_VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){0,3}\Z")
_CONDITION = re.compile(r"\s*(>=|<=|==|=|<|>|)\s*(\d{1,9}(?:\.\d{1,9}){0,3})\s*\Z")
DIALECTS = ("iec", "codesys", "rusty", "auto")


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[library] of ``library.toml``. ``requires``: other libraries with conditions on their versions."""

    name: str
    version: str
    namespace: str = ""
    dialect: str = "iec"
    sources: tuple[str, ...] = ("*.st",)
    qualified_only: bool = False
    requires: dict[str, str] = {}
    description: str = ""
    licence: str = ""

    @property
    def space(self) -> str:
        """The namespace of its declarations."""
        return self.namespace or self.name


class Locked(msgspec.Struct, frozen=True):
    """[[library]] of the lock."""

    name: str
    version: str
    sha256: str


class _Lock(msgspec.Struct, frozen=True):
    library: tuple[Locked, ...] = ()


@dataclass(frozen=True, slots=True)
class Library:
    """A library as the checker takes it."""

    manifest: Manifest
    sources: tuple[Source, ...]


@dataclass(slots=True)
class Split:
    """The plant's own sources, its libraries, and what is wrong with them."""

    own: dict[str, bytes]
    libraries: list[Library] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_manifest(data: bytes, shown_as: str) -> Manifest:
    """Raises TickworkError AR3001."""
    try:
        table = tomllib.loads(data.decode("utf-8"))
        manifest = msgspec.convert(table["library"], Manifest)
    except (
        tomllib.TOMLDecodeError,
        UnicodeDecodeError,
        KeyError,
        RecursionError,
        msgspec.ValidationError,
    ) as error:
        found = "no [library]" if isinstance(error, KeyError) else str(error)
        raise _bad_manifest(shown_as, found, "correct the line that the message names") from error
    if not _NAME.match(manifest.name) or not all(_NAME.match(part) for part in manifest.space.split(".")):
        raise _bad_manifest(
            shown_as, f"{manifest.name} {manifest.namespace}", "name and namespace are names of ST"
        )
    if not _VERSION.match(manifest.version):
        raise _bad_manifest(shown_as, manifest.version, "write the version as numbers: 1.4.2")
    if manifest.dialect not in DIALECTS:
        raise _bad_manifest(shown_as, manifest.dialect, f"dialect is one of {', '.join(DIALECTS)}")
    for name, text in manifest.requires.items():
        if not all(_CONDITION.match(part) for part in text.split(",")):
            raise _bad_manifest(shown_as, f"{name} = {text!r}", 'write a condition such as ">=1.2, <2"')
    return manifest


def _bad_manifest(shown_as: str, found: str, remedy: str) -> TickworkError:
    return fail(
        "AR3001", "The manifest of a library cannot be read", place=Place(shown_as), found=found, remedy=remedy,
        expected="[library] with name and version",
    )  # fmt: skip


def digest_of(files: Mapping[str, bytes]) -> str:
    """SHA-256 of a library: of its files' paths and digests."""
    lines = (f"{path} {hashlib.sha256(data).hexdigest()}\n" for path, data in sorted(files.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_library(folder: Path) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest, and all files of a library by relative path. Raises TickworkError AR3001, AR3005."""
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _bad_manifest(
            str(path), error.strerror or str(error), f"name a folder with {MANIFEST}"
        ) from error
    manifest = read_manifest(data, str(path))
    files = {MANIFEST: data}
    for pattern in manifest.sources:
        try:
            found = sorted(one for one in folder.glob(pattern) if one.is_file())
            files |= {_inside(one, folder): one.read_bytes() for one in found}
        except (OSError, ValueError, NotImplementedError) as error:
            raise unusable(str(folder), str(error)) from error
        if not found:
            raise _bad_manifest(str(path), f"no file matches {pattern}", "correct `sources`")
    if len(files) > FILES_MAX or sum(map(len, files.values())) > BYTES_MAX:
        raise unusable(str(folder), f"{len(files)} files", f"{FILES_MAX} files, {BYTES_MAX} bytes at most")
    return manifest, files


def _inside(path: Path, folder: Path) -> str:
    return path.resolve().relative_to(folder.resolve()).as_posix()


def unusable(
    shown_as: str, found: str, expected: str = "a folder, .zip or .tar.gz with library.toml"
) -> TickworkError:
    """What is given as a library is none."""
    return fail(
        "AR3005", "The library cannot be read", place=Place(shown_as), expected=expected, found=found,
        remedy="name the folder or archive of a library",
    )  # fmt: skip


def read_lock(data: bytes) -> tuple[Locked, ...]:
    """Raises TickworkError AR3001."""
    try:
        found = msgspec.convert(tomllib.loads(data.decode("utf-8")), _Lock).library
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, msgspec.ValidationError) as error:
        raise _bad_manifest(LOCK, str(error), "restore the file, or add the libraries again") from error
    if not all(_NAME.match(one.name) for one in found):
        raise _bad_manifest(LOCK, ", ".join(one.name for one in found), "restore the file")
    return found


def write_lock(locked: tuple[Locked, ...]) -> bytes:
    """The text of a lock."""
    parts = ["# Written by `tickwork library`: what the plant was built with.\n"]
    parts += [
        f'\n[[library]]\nname = "{one.name}"\nversion = "{one.version}"\nsha256 = "{one.sha256}"\n'
        for one in sorted(locked, key=lambda one: one.name.lower())
    ]
    return "".join(parts).encode()


def read_vendored(plant: Path) -> dict[str, bytes]:
    """The lock and the files of all libraries in it, by path in the plant. Raises TickworkError AR3001, AR3002."""
    lock = plant / LOCK
    if not lock.exists():
        return {}
    found = {LOCK: lock.read_bytes()}
    for one in read_lock(found[LOCK]):
        folder = plant / FOLDER / one.name
        if not (folder / MANIFEST).exists():
            raise TickworkError(_missing(one))
        _, files = read_library(folder)
        found |= {f"{FOLDER}/{one.name}/{path}": data for path, data in files.items()}
    return found


def is_vendored(path: str) -> bool:
    """Whether a source's path is that of a library's file, or of the lock."""
    return path == LOCK or PurePosixPath(path).parts[:1] == (FOLDER,)


def split(sources: Mapping[str, bytes], texts: SourceSet | None = None) -> Split:
    """Part the sources of a plant; every library is compared with the lock."""
    found = Split({path: data for path, data in sources.items() if not is_vendored(path)})
    lock = sources.get(LOCK)
    if lock is None:
        return found
    texts = texts if texts is not None else SourceSet()
    try:
        for one in read_lock(lock):
            library = _verified(one, sources, texts, found.problems)
            if library is not None:
                found.libraries.append(library)
    except TickworkError as error:
        found.problems += error.problems
    _check_requirements(found)
    return found


def _verified(
    one: Locked, sources: Mapping[str, bytes], texts: SourceSet, problems: list[Problem]
) -> Library | None:
    prefix = f"{FOLDER}/{one.name}/"
    files = {path.removeprefix(prefix): data for path, data in sources.items() if path.startswith(prefix)}
    if MANIFEST not in files:
        problems.append(_missing(one))
        return None
    digest = digest_of(files)
    if digest != one.sha256:
        problems.append(
            Problem(
                "AR3003", f"The library {one.name} is not what was added", Place(prefix + MANIFEST),
                expected=f"sha256 {one.sha256}", found=f"sha256 {digest}",
                remedy="undo the change, or add it again: tickwork library add … --replace",
            )
        )  # fmt: skip
        return None
    manifest = read_manifest(files[MANIFEST], prefix + MANIFEST)
    return Library(
        manifest,
        tuple(texts.add(prefix + path, data) for path, data in sorted(files.items()) if path != MANIFEST),
    )


def _missing(one: Locked) -> Problem:
    return Problem(
        "AR3002", f"The library {one.name} {one.version} is missing", Place(LOCK), found="nothing",
        expected=f"{FOLDER}/{one.name}/{MANIFEST}", remedy="add it again: tickwork library add …",
    )  # fmt: skip


def _check_requirements(found: Split) -> None:
    versions = {one.manifest.name.lower(): one.manifest.version for one in found.libraries}
    spaces: dict[str, str] = {}
    for one in found.libraries:
        manifest = one.manifest
        place = Place(f"{FOLDER}/{manifest.name}/{MANIFEST}")
        for name, condition in manifest.requires.items():
            version = versions.get(name.lower())
            if version is None or not satisfies(version, condition):
                found.problems.append(
                    Problem(
                        "AR3004", f"The library {manifest.name} does not go with the others", place,
                        expected=f"{name} {condition}", found=f"{name} {version}" if version else f"no {name}",
                        remedy=f"add a version of {name} that fits, or another version of {manifest.name}",
                    )
                )  # fmt: skip
        other = spaces.setdefault(manifest.space.upper(), manifest.name)
        if other != manifest.name:
            found.problems.append(
                Problem(
                    "AR3004", f"The libraries {other} and {manifest.name} have one namespace", place,
                    expected="a namespace of its own", found=manifest.space, remedy="remove one of the two",
                )
            )  # fmt: skip


def satisfies(version: str, condition: str) -> bool:
    """Whether ``1.4.2`` fulfils ``>=1.2, <2``; ``1.4`` alone means any 1.4.x."""
    own = _numbers(version)
    for part in condition.split(","):
        match = _CONDITION.match(part)
        if match is None:
            return False
        sign, wanted = match[1], _numbers(match[2])
        size = max(len(own), len(wanted))
        one, other = (numbers + (0,) * (size - len(numbers)) for numbers in (own, wanted))
        holds = {
            ">=": one >= other, "<=": one <= other, "<": one < other, ">": one > other, "==": one == other,
            "=": one == other, "": own[: len(wanted)] == wanted,
        }  # fmt: skip
        if not holds[sign]:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
