"""Recordings made in virtual time, as the recorder writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from scan import Application, VirtualEngine
from scan import recording as r
from scan.online_change import Change
from scan.replay import Recording
from tests.scan.test_replay import MS, Ring

HEADER = r.SegmentHeader("test", "boot", "here", 0)


class Tape:
    """A recording of an engine in virtual time."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.applications = {application.digest: application}
        self.engine = VirtualEngine(application)
        self.ring = Ring(self.engine)
        self.frames = [r.encode_header(HEADER)]

    def drain(self) -> None:
        data = self.ring.drain()
        if data:
            self.frames.append(r.encode_records(data))

    def checkpoint(self, now_ns: int | None = None) -> None:
        self.drain()
        engine, block = self.engine, self.engine.block.tobytes()
        point = r.Checkpoint(
            generation=engine.generation, application=engine.application.digest, scan=engine.scan_count,
            now_ns=engine.scan_count * MS if now_ns is None else now_ns, wall_ns=0, block=block, inputs=engine.inputs,
            forces=(engine.force_table,), digest=hashlib.sha256(block).hexdigest(), slots=engine.task_slots,
        )  # fmt: skip
        self.frames.append(r.encode_checkpoint(point))

    def swap(
        self,
        application: Application,
        now_ns: int,
        *,
        renames: Mapping[str, str] | None = None,
        trial_scans: int = 0,
    ) -> None:
        """An online change, told as the scan process tells it."""
        self.drain()
        engine = self.engine
        before = (engine.generation, engine.application.digest)
        engine.swap(application, now_ns, renames=renames, trial_scans=trial_scans)
        self.applications[application.digest] = application
        change = Change(
            generation=engine.generation, application=application.digest, previous=before[0],
            previous_application=before[1], slots=engine._slots.claim(list(engine.task_slots), ()),
            renames=dict(renames or {}), trial_scans=trial_scans,
        )  # fmt: skip
        self.frames.append(r.encode_change(change))

    def data(self) -> bytes:
        return b"".join(self.frames)

    def recording(self, data: bytes | None = None) -> Recording:
        found = r.read_segment(self.data() if data is None else data)
        return Recording(found.frames, dict(self.applications))
