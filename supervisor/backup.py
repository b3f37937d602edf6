"""The whole supervisor as one file, made while it runs; and a blank machine made into that supervisor again.

The file is a tar of consistent copies (SQLite's own backup and VACUUM INTO), the artifacts, the signing key, and a
manifest with the SHA-256 of each member. It holds the key and password hashes: keep it like the machine itself.
``python -m supervisor.backup restore FILE DIR`` and ``… check FILE``; a check restores into a temporary folder and
looks at everything that a start would.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
import tarfile
import tempfile
import time
from pathlib import Path, PurePosixPath

import msgspec

from scan.problem import TickworkError, fail
from supervisor.config_store import ConfigStore
from supervisor.history_embedded import EmbeddedHistory
from supervisor.settings import VERSION

MANIFEST = "manifest.json"
BACKUPS_KEPT = 5
FORMAT = 1
_PLAIN = ("signing.pem",)


class Member(msgspec.Struct, frozen=True):
    name: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    format: int
    version: str
    made_ns: int
    members: tuple[Member, ...]


class BackupInfo(msgspec.Struct, frozen=True):
    """A finished backup in the data directory's ``backups`` folder."""

    name: str
    size: int
    made_ns: int


class BackupResult(msgspec.Struct, frozen=True):
    """What a check or restore found."""

    version: str
    made_ns: int
    samples: int
    users: int
    runtimes: int
    audit_entries: int


def make(data_dir: Path, store: ConfigStore, history: EmbeddedHistory, now_ns: int) -> BackupInfo:
    """Write ``backups/tickwork-<time>.tar``; older ones beyond ``BACKUPS_KEPT`` go. Blocks; call it in a thread."""
    folder = data_dir / "backups"
    folder.mkdir(mode=0o700, exist_ok=True)
    name = time.strftime("tickwork-%Y%m%dT%H%M%SZ.tar", time.gmtime(now_ns / 1e9))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as temporary:
        copies = Path(temporary)
        store.copy_to(copies / "config.db")
        history.copy_to(copies / "history.db")
        sources = {file.name: file for file in sorted(copies.iterdir())}
        sources |= {plain: data_dir / plain for plain in _PLAIN}
        sources |= {f"artifacts/{file.name}": file for file in sorted((data_dir / "artifacts").glob("*.twa"))}
        _write(copies / name, sources, now_ns)
        (copies / name).replace(folder / name)
    finished = list_backups(data_dir)
    for old in finished[BACKUPS_KEPT:]:
        (folder / old.name).unlink()
    return finished[0]


def list_backups(data_dir: Path) -> tuple[BackupInfo, ...]:
    """Newest first."""
    found = sorted((data_dir / "backups").glob("tickwork-*.tar"), reverse=True)
    return tuple(BackupInfo(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in found)


def _write(target: Path, sources: dict[str, Path], now_ns: int) -> None:
    members = tuple(Member(name, file.stat().st_size, _sha256(file)) for name, file in sources.items())
    manifest = msgspec.json.encode(Manifest(FORMAT, VERSION, now_ns, members))
    with target.open("wb") as file, tarfile.open(fileobj=file, mode="w") as pack:
        head = tarfile.TarInfo(MANIFEST)
        head.size = len(manifest)
        pack.addfile(head, io.BytesIO(manifest))
        for name, source in sources.items():
            pack.add(source, name, recursive=False, filter=_anonymous)
        file.flush()
        os.fsync(file.fileno())


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o600
    return info


def restore(backup: Path, data_dir: Path) -> BackupResult:
    """Unpack into an empty or missing directory and look at everything. Raises TickworkError SV2007."""
    if data_dir.exists() and any(data_dir.iterdir()):
        raise _unusable(backup, f"{data_dir} is not empty", "choose an empty directory")
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    (data_dir / "artifacts").mkdir(mode=0o700, exist_ok=True)
    try:
        with tarfile.open(backup, "r:") as pack:
            manifest = _manifest(pack, backup)
            for member in manifest.members:
                _unpack(pack, member, data_dir, backup)
    except (tarfile.TarError, OSError, KeyError, EOFError) as error:
        raise _unusable(backup, str(error)) from error
    return _look(data_dir, manifest)


def _manifest(pack: tarfile.TarFile, backup: Path) -> Manifest:
    file = pack.extractfile(MANIFEST)
    try:
        manifest = msgspec.json.decode(file.read() if file else b"", type=Manifest)
    except msgspec.DecodeError as error:
        raise _unusable(backup, str(error)) from error
    if manifest.format != FORMAT:
        raise _unusable(backup, f"format {manifest.format}")
    return manifest


def _unpack(pack: tarfile.TarFile, member: Member, data_dir: Path, backup: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or len(path.parts) > 2:
        raise _unusable(backup, f"a member named {member.name[:80]}")
    source = pack.extractfile(member.name)
    if source is None:
        raise _unusable(backup, f"{member.name} is no file")
    target = data_dir / path
    digest, size = hashlib.sha256(), 0
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        while block := source.read(1 << 20):
            digest.update(block)
            size += len(block)
            file.write(block)
    if (size, digest.hexdigest()) != (member.size, member.sha256):
        raise _unusable(backup, f"{member.name} has other bytes than the manifest says")


def _look(data_dir: Path, manifest: Manifest) -> BackupResult:
    """Open both stores as a start would, whole, and count."""
    store = ConfigStore(data_dir / "config.db")
    history = EmbeddedHistory(data_dir / "history.db")
    try:
        history.check()
        users, runtimes, entries = store.run_blocking(
            lambda db: tuple(db.table(table).count for table in ("user", "node", "audit"))
        )
        return BackupResult(
            manifest.version, manifest.made_ns, history.size()[1], int(users), int(runtimes), int(entries)
        )
    finally:
        history.close()
        store.close()


def check(backup: Path) -> BackupResult:
    """Restore into a temporary folder beside the backup, look, and remove it again."""
    with tempfile.TemporaryDirectory(dir=backup.parent, prefix=".checking-") as folder:
        return restore(backup, Path(folder))


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _unusable(backup: Path, found: str, remedy: str = "") -> TickworkError:
    return fail(
        "SV2007",
        f"the backup {backup.name} cannot be restored",
        expected="a file that the supervisor's backup made, whole",
        found=found,
        remedy=remedy or "use another backup",
    )


def main(arguments: list[str]) -> int:
    out = sys.stdout.write
    with contextlib.suppress(ValueError):
        action, backup, *rest = arguments
        if action in ("check", "restore") and len(rest) == (action == "restore"):
            try:
                found = restore(Path(backup), Path(rest[0])) if rest else check(Path(backup))
            except TickworkError as error:
                out(f"{error}\n")
                return 1
            out(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
            return 0
    out("usage: python -m supervisor.backup check FILE | restore FILE DIRECTORY\n")
    return 2


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))
