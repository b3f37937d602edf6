"""Artifacts: everything that a program is made from, in one file that proves its own integrity.

An artifact is a ZIP archive of stored (uncompressed) members in sorted order with fixed times, so equal contents give
equal bytes and the SHA-256 of the file names it. ``manifest.json`` lists each member with size and SHA-256;
``signature`` (optional) is an Ed25519 signature of the manifest. Native code is not inside: each machine makes its own.

Bytes come from anywhere. Stored members cannot expand, the sum of the sizes is bounded before anything is read, names
are plain relative paths, and what the manifest does not list is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import zipfile
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from scan.abi import Symbol
from scan.problem import TickworkError, fail

FORMAT = 1
ARTIFACT_SIZE_MAX = 64 * 1024 * 1024
MEMBERS_MAX = 10_000
PATH_LENGTH_MAX = 240

MANIFEST, SIGNATURE, SYMBOLS, PLANT = "manifest.json", "signature.json", "symbols.json", "plant.toml"
SOURCES = "sources/"
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that the format knows


class Entry(msgspec.Struct, frozen=True):
    path: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What an artifact says of itself. ``program`` is the digest that identifies the behaviour."""

    format: int
    name: str
    program: str
    dialect: str
    generator: int
    files: tuple[Entry, ...]


class Signature(msgspec.Struct, frozen=True):
    """Over the bytes of the manifest member, in base64."""

    key: str
    signature: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A checked artifact. ``data`` are its bytes, ``signer`` the public key (hex) of a valid signature or ""."""

    data: bytes
    manifest: Manifest
    files: Mapping[str, bytes]
    signer: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, hex: the name of the artifact everywhere."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def plant_text(self) -> str:
        return self.files[PLANT].decode("utf-8", "replace")

    def sources(self) -> dict[str, bytes]:
        """Source texts by the path that they have in the plant's folder."""
        return {
            path.removeprefix(SOURCES): data for path, data in self.files.items() if path.startswith(SOURCES)
        }

    def symbols(self) -> tuple[Symbol, ...]:
        return msgspec.json.decode(self.files[SYMBOLS], type=tuple[Symbol, ...])


def pack(
    *, name: str, program: str, dialect: str, generator: int, plant: bytes, sources: Mapping[str, bytes],
    symbols: tuple[Symbol, ...],
) -> Artifact:  # fmt: skip
    """Make an artifact. ``sources`` by relative path with forward slashes. Raises TickworkError AR1002, AR1003."""
    files = {PLANT: plant, SYMBOLS: msgspec.json.encode(symbols)}
    files |= {SOURCES + path: data for path, data in sources.items()}
    for path in files:
        _check_path(path)
    entries = tuple(Entry(path, len(data), _sha256(data)) for path, data in sorted(files.items()))
    manifest = Manifest(FORMAT, name, program, dialect, generator, entries)
    data = _zip({**files, MANIFEST: msgspec.json.format(msgspec.json.encode(manifest), indent=1)})
    if len(data) > ARTIFACT_SIZE_MAX or len(files) > MEMBERS_MAX:
        raise _too_large(len(data), len(files))
    return Artifact(data, manifest, files)


def sign(artifact: Artifact, private_key: bytes) -> Artifact:
    """The artifact with a signature by a raw 32-byte Ed25519 key; an earlier signature is replaced."""
    key = Ed25519PrivateKey.from_private_bytes(private_key)
    public = key.public_key().public_bytes_raw()
    manifest = _members(artifact.data)[MANIFEST]
    signature = Signature(public.hex(), base64.b64encode(key.sign(manifest)).decode())
    data = _zip({**artifact.files, MANIFEST: manifest, SIGNATURE: msgspec.json.encode(signature)})
    return Artifact(data, artifact.manifest, artifact.files, public.hex())


def open_artifact(data: bytes, *, trusted: Collection[str] | None = None) -> Artifact:
    """Check bytes of unknown origin.

    ``trusted``: public keys (hex) of which one must have signed; None accepts unsigned ones. Raises TickworkError
    AR1001 to AR1006; never anything else, whatever the bytes.
    """
    members = _members(data)
    manifest = _manifest(members)
    files = {path: content for path, content in members.items() if path not in (MANIFEST, SIGNATURE)}
    _check_contents(manifest, files)
    signer = _check_signature(members, trusted)
    artifact = Artifact(data, manifest, files, signer)
    try:
        artifact.symbols()
    except (msgspec.DecodeError, KeyError) as error:
        raise fail("AR1005", "The symbol table of the artifact cannot be read", found=str(error)) from error
    if PLANT not in files:
        raise fail("AR1005", "The artifact has no plant file", expected=PLANT, remedy="build it again")
    return artifact


def _members(data: bytes) -> dict[str, bytes]:
    """Members by path, after all checks that need no content."""
    if len(data) > ARTIFACT_SIZE_MAX:
        raise _too_large(len(data), 0)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _check_infos(infos)
            return {info.filename: archive.read(info) for info in infos}
    except TickworkError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
        ValueError,
        OSError,
        EOFError,
    ) as error:
        raise fail(
            "AR1001", "This is not an artifact", expected="a file made by tickwork build", found=str(error),
            remedy="build it again or transfer it again",
        ) from error  # fmt: skip


def _check_infos(infos: list[zipfile.ZipInfo]) -> None:
    total = sum(info.file_size for info in infos)
    if total > ARTIFACT_SIZE_MAX or len(infos) > MEMBERS_MAX:
        raise _too_large(total, len(infos))
    seen = set()
    for info in infos:
        _check_path(info.filename)
        if info.filename in seen or info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise fail(
                "AR1001", "This is not an artifact", expected="each member once, stored, not encrypted",
                found=info.filename, remedy="build it again with tickwork build",
            )  # fmt: skip
        seen.add(info.filename)


def _check_path(path: str) -> None:
    parts = PurePosixPath(path).parts
    plain = (
        bool(parts) and not path.startswith("/") and "\\" not in path and "\0" not in path and ":" not in path
    )
    if not plain or ".." in parts or str(PurePosixPath(path)) != path or len(path) > PATH_LENGTH_MAX:
        raise fail(
            "AR1003", "A path in the artifact is not allowed", found=path[:PATH_LENGTH_MAX],
            expected=f"a relative path of at most {PATH_LENGTH_MAX} characters without .., \\ and :",
            remedy="rename the source file",
        )  # fmt: skip


def _manifest(members: dict[str, bytes]) -> Manifest:
    try:
        manifest = msgspec.json.decode(members[MANIFEST], type=Manifest)
    except (KeyError, msgspec.DecodeError) as error:
        raise fail(
            "AR1005", "The manifest of the artifact cannot be read", found=str(error), remedy="build it again"
        ) from error
    if manifest.format != FORMAT:
        raise fail(
            "AR1005", "The artifact has a format that this version does not know",
            expected=str(FORMAT), found=str(manifest.format), remedy="use the same tickwork version for both",
        )  # fmt: skip
    return manifest


def _check_contents(manifest: Manifest, files: dict[str, bytes]) -> None:
    listed = {entry.path: entry for entry in manifest.files}
    if len(listed) != len(manifest.files) or set(listed) != set(files):
        odd = sorted(set(listed) ^ set(files))
        raise _altered(", ".join(odd[:5]) or "a file that is listed twice")
    for path, data in files.items():
        if (listed[path].size, listed[path].sha256) != (len(data), _sha256(data)):
            raise _altered(path)


def _check_signature(members: dict[str, bytes], trusted: Collection[str] | None) -> str:
    if SIGNATURE not in members:
        if trusted is None:
            return ""
        raise _unsigned("no signature")
    try:
        signature = msgspec.json.decode(members[SIGNATURE], type=Signature)
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature.key))
        key.verify(base64.b64decode(signature.signature, validate=True), members[MANIFEST])
    except (msgspec.DecodeError, ValueError, binascii.Error, InvalidSignature) as error:
        raise _unsigned("a signature that is not valid") from error
    if trusted is not None and signature.key.lower() not in {one.lower() for one in trusted}:
        raise _unsigned(f"a signature by the unknown key {signature.key}")
    return signature.key.lower()


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, data in sorted(files.items()):
            info = zipfile.ZipInfo(path, _FIXED_TIME)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _too_large(size: int, count: int) -> TickworkError:
    return fail(
        "AR1002", "The artifact is too large", expected=f"{ARTIFACT_SIZE_MAX} bytes, {MEMBERS_MAX} files at most",
        found=f"{size} bytes, {count} files", remedy="leave out sources that the program does not need",
    )  # fmt: skip


def _altered(what: str) -> TickworkError:
    return fail(
        "AR1004", "The artifact's contents are not what its manifest says", found=what,
        remedy="transfer it again; if that does not help, build it again",
    )  # fmt: skip


def _unsigned(found: str) -> TickworkError:
    return fail(
        "AR1006", "The artifact is not signed by a key that is trusted here", expected="a valid signature",
        found=found, remedy="let the supervisor that this runtime is enrolled with sign it",
    )  # fmt: skip
