"""The black box of a node: drains the record ring into segment files, with checkpoints, bounded in size and age.

Rules.
* The scan never waits for this: a ring that is full drops records, counts them, and the gap is marked in the file.
* A checkpoint is taken from a snapshot in which no task was in a scan, with the inputs as that scan took them; a
  replay starts at any of them.
* The applications that run are kept beside the segments, so a recording can be replayed on its own.
* The place of a loss or of a start is marked in the records: a replay never runs over it. An online change is described
  in front of its records, and a replay makes it too.
* What is in the ring is given free when it is in the file: whoever kills this process loses no record, the next one
  goes on in the same session as long as the ring has room.
* After a fault the files of its last seconds are kept in a folder of their own, out of the reach of the retention.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import pathlib
import threading
from collections.abc import Callable

import numpy as np
import structlog

import scan
from runtime.plant import RecorderSection
from scan import layout as w
from scan import recording as r
from scan.online_change import Begin, read_begin, read_change
from scan.problem import TickworkError
from scan.record_ring import RecordReader

log = structlog.get_logger("tickwork.recorder")

PUMP_S = 0.05
FRAME_SIZE = 256 * 1024  # of ring bytes, before compression
FRAME_NS = 1_000_000_000
CHECKPOINT_NS = 10_000_000_000
SEGMENT_SIZE = 8 * 1024 * 1024
SEGMENT_NS = 60_000_000_000
FAULT_KEPT_NS = 10_000_000_000
FAULTS_MAX = 20
APPLICATIONS_MAX = 20
RETRY_S = 5.0
SUFFIX = ".twr"


class Recorder:
    """One node's recorder. ``view`` is its own; ``now_ns`` gives UTC nanoseconds; ``note`` takes a sentence and its
    severity for the journal, in any thread."""

    def __init__(
        self,
        view: scan.NodeView,
        *,
        segments: pathlib.Path,
        folder: pathlib.Path,
        section: RecorderSection,
        node: str,
        now_ns: Callable[[], int],
        note: Callable[[str, str], None] = lambda text, severity: None,
    ) -> None:
        self._view, self._segments, self._folder = view, segments, folder
        self._limits, self._node, self._now_ns, self._note = section, node, now_ns, note
        self._reader = RecordReader(segments)
        self._session = ""  # of the ring, as the open file names it
        self._file: pathlib.Path | None = None
        self._size = self._opened_ns = 0
        self._pending = bytearray()
        self._pending_ns = 0
        self._changes: list[r.Change] = []  # in the pending records, not yet described
        self._inputs: np.ndarray | None = None  # %I as the last scan took it; None until a full record
        self._last_scan = 0
        self._drained = 0  # bytes of the ring that are not in the file
        self._lock = threading.Lock()
        self._checkpoint_ns = 0
        self._faulted = False

    async def run(self) -> None:
        """Records until cancelled. A full or broken disk is told once, and tried again."""
        told = False
        try:
            while True:
                try:
                    await asyncio.to_thread(self.pump)
                    told = told and self._file is None  # until something could be written again
                except TickworkError as error:  # the scan process starts anew
                    log.debug("nothing to record", error=str(error))
                except Exception as error:  # whatever a disk does must not cost what else the gate does
                    if not told:
                        self._note(f"the recorder cannot write: {error}", "error")
                    told = True
                    self._abandon()
                    await asyncio.sleep(RETRY_S)
                await asyncio.sleep(PUMP_S)
        finally:
            self.close()

    def pump(self) -> None:
        """Drain the ring once, and write what is due. Raises OSError, TickworkError."""
        with self._lock:
            self._pump(self._now_ns())

    def _pump(self, now_ns: int) -> None:
        self._attach(now_ns)
        self._view.refresh()
        wanted = self._quiet_snapshot(now_ns)
        data = self._reader.drain()
        lost = self._reader.lost()
        if data:
            self._pending_ns = self._pending_ns or now_ns
        self._drained = len(self._pending) + len(data)
        begin, place = self._find_begin(data)
        if begin is not None:
            self._take(data[:place], wanted, now_ns)
            self._flush(now_ns)
            self._keep_application(begin.application)
            self._append(r.encode_checkpoint(begin), now_ns)
            data = data[place:]
        self._take(data, wanted, now_ns)
        self._finish(now_ns, lost)

    def _take(self, data: bytes, wanted: scan.Snapshot | None, now_ns: int) -> None:
        """Puts records into the file or before it, and the checkpoint of the snapshot if it lies among them."""
        checkpoint, split = self._walk(data, wanted)
        self._pending += data[:split]
        if checkpoint is not None:
            self._flush(now_ns)
            self._append(r.encode_checkpoint(checkpoint), now_ns)
            self._checkpoint_ns = now_ns
        self._pending += data[split:]

    def _finish(self, now_ns: int, lost: int) -> None:
        """Writes and rotates what is due after a drain."""
        if lost:
            self._flush(now_ns)
            self._append(r.encode_loss(lost, scan=self._last_scan, wall_ns=now_ns), now_ns)
            self._reader.tell_lost(lost)
            self._checkpoint_ns = 0
            self._note(f"{lost} records found no room in the ring and are lost", "warning")
        if len(self._pending) >= FRAME_SIZE or (self._pending and now_ns - self._pending_ns >= FRAME_NS):
            self._flush(now_ns)
        if self._faulted:
            self._faulted = False
            self._keep_fault(now_ns)
        elif self._size >= SEGMENT_SIZE or (self._file and now_ns - self._opened_ns >= SEGMENT_NS):
            self._rotate(now_ns)

    def close(self) -> None:
        """Write what is pending; the scan stops recording."""
        with self._lock:
            try:
                self._flush(self._now_ns())
            except OSError as error:
                log.warning("the last records could not be written", error=str(error))
            self._reader.close()

    def _abandon(self) -> None:
        """After a failed write: what was not written is still in the ring, and a new file begins with it."""
        with self._lock:
            if self._file is not None:
                cut_torn_end(self._file)
            self._forget_pending()
            self._file = None
            self._reader.rewind()

    def _forget_pending(self) -> None:
        self._pending.clear()
        self._changes.clear()
        self._pending_ns, self._checkpoint_ns, self._drained, self._inputs = 0, 0, 0, None

    # ---------------------------------------------------------------- records

    def _attach(self, now_ns: int) -> None:
        """Finds the ring of the scan process; goes on where a recorder before was killed."""
        if not self._reader.attach() or self._reader.session == self._session:
            return
        if self._session:
            self._rotate(now_ns)
            self._forget_pending()
        self._session = self._reader.session
        newest = max(self._folder.glob(f"*{SUFFIX}"), default=None)
        if self._reader.went_on and newest is not None:
            self._reader.skip(cut_torn_end(newest))

    def _quiet_snapshot(self, now_ns: int) -> scan.Snapshot | None:
        if now_ns - self._checkpoint_ns < CHECKPOINT_NS or self._view.application is None:
            return None
        snapshot = self._view.snapshot()
        going = snapshot.state in (scan.NodeState.RUNNING, scan.NodeState.TRIAL)
        return snapshot if snapshot.quiet and going else None

    def _find_begin(self, data: bytes) -> tuple[r.Checkpoint | None, int]:
        """A start of the program in the records: the state before its first scan, and where its records begin."""
        place, scan_before = 0, -1
        for record in r.iterate_records(np.frombuffer(data, np.int64)):
            if record.scan != scan_before:
                first, scan_before = place, record.scan
            place += record.words.nbytes
            cut = (
                record.kind == w.RECORD_SCAN
                and int(record.words[w.RECORD_HEAD_WORDS + 1]) & w.RECORD_FLAG_CUT
            )
            begin = read_begin(self._segments) if cut else None
            if begin is not None and begin.scan == record.scan - 1:
                return _begin_checkpoint(begin, record), first
        return None, 0

    def _walk(self, data: bytes, wanted: scan.Snapshot | None) -> tuple[r.Checkpoint | None, int]:
        """Follow the inputs through the records; the checkpoint at the wanted snapshot if its scan is met, and the
        bytes of records that belong before it."""
        found, split, position = None, len(data), 0
        if wanted is not None and wanted.scan == self._last_scan and self._inputs is not None:
            found, split = self._checkpoint(wanted), 0
        for record in r.iterate_records(np.frombuffer(data, np.int64)):
            if found is not None and record.scan == found.scan:
                split = position + record.words.nbytes
            position += record.words.nbytes
            self._last_scan = record.scan
            if self._begins_anew(record):
                found, split = None, len(data)
            if record.kind == w.RECORD_SCAN:
                self._follow_inputs(record)
                if wanted is not None and record.scan == wanted.scan and self._inputs is not None:
                    found, split = self._checkpoint(wanted), position
        return found, split

    def _begins_anew(self, record: r.Record) -> bool:
        """Notes a fault or a start; whether a state before this record says nothing about those after it."""
        if record.kind == w.RECORD_FAULT:
            self._faulted = True
            return True
        if record.kind == w.RECORD_START:
            self._note_change(int(record.words[w.RECORD_HEAD_WORDS]))
            self._checkpoint_ns, self._inputs = 0, None
            return True
        full = record.kind == w.RECORD_SCAN and bool(
            int(record.words[w.RECORD_HEAD_WORDS + 1]) & w.RECORD_FLAG_FULL
        )
        if full:
            self._checkpoint_ns = 0
        return full

    def _note_change(self, generation: int) -> None:
        change = read_change(self._segments, generation)
        if change is not None:
            self._changes.append(change)
            for digest in (change.previous_application, change.application):
                self._keep_application(digest)

    def _follow_inputs(self, record: r.Record) -> None:
        head = w.RECORD_HEAD_WORDS
        changes = record.words[head + 3 :].reshape(-1, 2)
        if int(record.words[head + 1]) & w.RECORD_FLAG_FULL:
            self._inputs = np.zeros(len(changes), np.int64)
        if self._inputs is None:
            return
        if len(changes) and int(changes[:, 0].max()) < len(self._inputs):
            self._inputs[changes[:, 0]] = changes[:, 1]

    def _checkpoint(self, snapshot: scan.Snapshot) -> r.Checkpoint:
        application = self._view.application
        assert application is not None and self._inputs is not None
        self._keep_application(application.digest)
        block = snapshot.block.tobytes()
        return r.Checkpoint(
            generation=snapshot.generation,
            application=application.digest,
            scan=snapshot.scan,
            now_ns=snapshot.now_ns,
            wall_ns=snapshot.wall_ns,
            block=block,
            inputs=self._inputs.tobytes()[: application.inputs.size],
            forces=(snapshot.force_table,),
            digest=hashlib.sha256(block).hexdigest(),
            slots=self._view.task_slots(),
        )

    # ---------------------------------------------------------------- files

    def _keep_application(self, digest: str) -> None:
        target = self._folder / "applications" / f"{digest}.app"
        source = self._segments / f"program-{digest[:16]}.app"
        if target.exists():
            os.utime(target)  # still in use: the oldest go first
            return
        if not source.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_suffix(".new")
        temporary.write_bytes(source.read_bytes())
        temporary.replace(target)

    def _flush(self, now_ns: int) -> None:
        if self._pending:
            for change in self._changes:
                self._append(r.encode_change(change), now_ns)
            self._append(r.encode_records(bytes(self._pending)), now_ns)
            self._changes.clear()
            self._drained -= len(self._pending)
            self._pending.clear()
            self._reader.confirm(self._drained)
        self._pending_ns = 0

    def _append(self, frame: bytes, now_ns: int) -> None:
        if self._file is None:
            self._open(now_ns)
        assert self._file is not None
        with self._file.open("ab") as stream:
            stream.write(frame)
        self._size += len(frame)

    def _open(self, now_ns: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = self._folder / f"{now_ns:020d}{SUFFIX}"
        self._opened_ns, self._size, self._checkpoint_ns = now_ns, 0, 0
        application = self._view.application
        target = application.target if application is not None else ""
        header = r.encode_header(r.SegmentHeader(self._node, self._session, target, now_ns))
        temporary = self._file.with_suffix(".new")  # a file appears with its header or not at all
        temporary.write_bytes(header)
        temporary.replace(self._file)
        self._size = len(header)

    def _rotate(self, now_ns: int) -> None:
        self._flush(now_ns)
        self._file = None
        self._forget(now_ns)

    def _forget(self, now_ns: int) -> None:
        """Drop the oldest files beyond the limits of size and age; names are their times."""
        files = sorted(self._folder.glob(f"*{SUFFIX}"))
        sizes = {path: path.stat().st_size for path in files}
        total = sum(sizes.values())
        oldest_ns = now_ns - self._limits.minutes * 60_000_000_000 - SEGMENT_NS
        for path in files[:-1]:
            if total <= self._limits.size_mb * 1024 * 1024 and int(path.stem) >= oldest_ns:
                break
            total -= sizes[path]
            path.unlink()

        applications = (self._folder / "applications").glob("*.app")
        for path in sorted(applications, key=lambda one: one.stat().st_mtime)[:-APPLICATIONS_MAX]:
            path.unlink()

    def _keep_fault(self, now_ns: int) -> None:
        self._rotate(now_ns)
        faults = self._folder / "faults"
        folder = faults / f"{now_ns:020d}"
        folder.mkdir(parents=True, exist_ok=True)
        for path in self._recent(now_ns):
            os.link(path, folder / path.name)
        for old in sorted(faults.iterdir())[:-FAULTS_MAX]:
            for path in old.iterdir():
                path.unlink()
            old.rmdir()

    def _recent(self, now_ns: int) -> list[pathlib.Path]:
        """The files of the last seconds: from the newest one that had begun before them."""
        files = sorted(self._folder.glob(f"*{SUFFIX}"))
        before = [path for path in files if int(path.stem) <= now_ns - FAULT_KEPT_NS]
        return files[files.index(before[-1]) :] if before else files


def _begin_checkpoint(begin: Begin, record: r.Record) -> r.Checkpoint:
    """``record`` is that of the first scan: it carries the inputs."""
    return r.Checkpoint(
        generation=begin.generation, application=begin.application, scan=begin.scan, now_ns=record.now_ns,
        wall_ns=int(record.words[w.RECORD_HEAD_WORDS]), block=begin.block, inputs=b"",
        digest=hashlib.sha256(begin.block).hexdigest(), slots=begin.slots, begin=True,
    )  # fmt: skip


def cut_torn_end(path: pathlib.Path) -> bytes:
    """Shortens a file to its whole frames; the records of the last one of them, which may still be in the ring."""
    try:
        found = r.read_segment(path.read_bytes(), str(path))
        if found.damaged_at >= 0:
            os.truncate(path, found.damaged_at)
        last = [frame for frame in found.frames if frame.kind == r.FrameKind.RECORDS][-1:]
        return last[0].plain() if last else b""
    except (
        OSError,
        TickworkError,
    ) as error:  # of another version, or on a disk that fails: it stays as it is
        log.warning("a recording cannot be gone on with", file=path.name, error=str(error))
        return b""
