"""A recording of the made-up plant for page tests: a hundred scans, of which one variable changes in each."""

from __future__ import annotations

from runtime.link import TraceQuestion
from scan.problem import fail
from supervisor.model import Actor
from supervisor.recordings import Look, ScanState, Why

FIRST, LAST = 1, 100


class FakeRecordings:
    def __init__(self, hostile: str) -> None:
        self._hostile = hostile

    def _state(self, scan: int, variables: tuple[str, ...]) -> ScanState:
        values = {path: str(scan) if path == variables[0] else self._hostile for path in variables}
        return ScanState(
            scan, f"2026-01-31T13:45:{scan % 60:02}.000000Z", ("Fast",), values, {"main.st": (8, 9)}
        )

    async def look(self, actor: Actor, node_id: str, question: TraceQuestion) -> Look:
        if question.when == "Gone":
            raise fail("SC4006", "there is no such scan in the recording", found=self._hostile)
        center = min(question.scan or LAST, LAST)
        scans = range(max(center - question.back, FIRST), min(center + question.forward, LAST) + 1)
        return Look(center, FIRST, LAST, tuple(self._state(scan, question.variables) for scan in scans))

    async def why(self, actor: Actor, node_id: str, path: str, scan: int) -> Why:
        if path == "Control.Auto":
            return Why(path, None)
        return Why(
            path,
            max(scan - 3, 1),
            "2026-01-31T13:45:10Z",
            "1.0",
            self._hostile,
            "Control (main.st:9)",
            "main.st",
            9,
        )
