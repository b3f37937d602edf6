"""A simulated power cut: an SQLite VFS that remembers which bytes were synced, and can lose the rest.

``Disk.cut(rng)`` leaves of every file what was synced, plus a random half of the 512-byte sectors that were written
since: each may be there or not, so that a write of several sectors can be torn.
"""

from __future__ import annotations

import random
from pathlib import Path

import apsw

SECTOR = 512


class _File:
    def __init__(self) -> None:
        self.now = bytearray()
        self.durable = b""
        self.touched: set[int] = set()

    def write(self, data: bytes, offset: int) -> None:
        if len(self.now) < offset + len(data):
            self.now.extend(b"\0" * (offset + len(data) - len(self.now)))
        self.now[offset : offset + len(data)] = data
        if not data:
            return
        self.touched.update(range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1))

    def sync(self) -> None:
        self.durable = bytes(self.now)
        self.touched.clear()

    def after_cut(self, rng: random.Random) -> bytes:
        left = bytearray(self.durable)
        for sector in sorted(self.touched):
            if rng.random() < 0.5:
                part = self.now[sector * SECTOR : (sector + 1) * SECTOR]
                end = sector * SECTOR + len(part)
                if len(left) < end:
                    left.extend(b"\0" * (end - len(left)))
                left[sector * SECTOR : end] = part
        return bytes(left)


class Disk(apsw.VFS):
    """Files in memory under the name ``powercut``; a file's removal is durable at once."""

    def __init__(self, name: str) -> None:
        self.vfs_name = name
        self.on_step = lambda: None  # called at every write and sync
        self.files: dict[str, _File] = {}
        super().__init__(name, "", exclude={"xSetSystemCall", "xGetSystemCall", "xNextSystemCall"})

    def xOpen(self, name, flags):
        return _Handle(self, name, flags)

    def xDelete(self, filename, syncdir):
        self.files.pop(Path(filename).name, None)

    def xAccess(self, pathname, flags):
        return Path(pathname).name in self.files

    def xFullPathname(self, name):
        return "/disk/" + Path(name).name

    def fill(self, contents: dict[str, bytes]) -> None:
        for name, data in contents.items():
            self.files[name] = _File()
            self.files[name].write(data, 0)
            self.files[name].sync()

    def cut(self, rng: random.Random) -> dict[str, bytes]:
        return {name: file.after_cut(rng) for name, file in self.files.items()}


class _Handle:
    """Locks are no matter here: one process, one writer. Shared memory of the WAL is the library's heap."""

    def __init__(self, disk: Disk, name, flags) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._disk = disk
        self._file = disk.files.setdefault(Path(path).name if path else f"temp-{id(self)}", _File())
        flags[1] = flags[0]

    def xRead(self, amount, offset):
        return bytes(self._file.now[offset : offset + amount])

    def xWrite(self, data, offset):
        self._disk.on_step()
        self._file.write(bytes(data), offset)

    def xTruncate(self, size):
        del self._file.now[size:]

    def xSync(self, flags):
        self._disk.on_step()
        self._file.sync()

    def xFileSize(self):
        return len(self._file.now)

    def xLock(self, level): ...

    def xUnlock(self, level): ...

    def xCheckReservedLock(self):
        return False

    def xFileControl(self, op, pointer):
        return False

    def xSectorSize(self):
        return SECTOR

    def xDeviceCharacteristics(self):
        return 0

    def xClose(self): ...
