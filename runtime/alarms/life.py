"""What an engine remembers of one alarm, and how the table's effects change it."""

from __future__ import annotations

import msgspec

from runtime.alarms.model import Standing
from runtime.alarms.states import Effect, State


class Life(msgspec.Struct, array_like=True):
    """One alarm. ``*_at`` are deadlines in engine time, 0: none; ``*_ns`` UTC. Stored as it is.

    ``raw``: level by the condition alone; ``level``: after the delays, what the state follows.
    """

    state: State = State.NORMAL
    raw: int = 0
    level: int = 0
    due_at: int = 0  # when ``level`` becomes ``raw``
    realarm_at: int = 0
    shelf_at: int = 0
    occurrence: int = 0
    priority: int = 3
    value: str = ""
    limit: str = ""
    raised_ns: int = 0
    cleared_ns: int = 0
    acked_ns: int = 0
    acked_by: str = ""
    comment: str = ""
    until_ns: int = 0
    once: bool = False
    suppressed: bool = False  # by its predicate
    suppressed_by: str = ""  # by a person
    removed: bool = False
    reason: str = ""
    by: str = ""
    asked_by: str = ""
    unknown: bool = False
    first_out: bool = False
    announced: bool = False

    def standing(self) -> Standing:
        return Standing(
            self.state, self.occurrence, self.priority, self.level, self.value, self.limit, self.raised_ns,
            self.cleared_ns, self.acked_ns, self.acked_by, self.comment, self.until_ns, self.once, self.reason,
            self.by, self.unknown, self.first_out, self.announced, self.asked_by,
        )  # fmt: skip

    def apply(self, effect: Effect, number: int, now_ns: int) -> bool:
        """One effect; ``number`` is that of the next occurrence. True when the number was used."""
        if effect is Effect.ANNOUNCE:
            self.announced = True
        elif effect in (Effect.SILENCE, Effect.HIDE):
            self.announced, self.realarm_at = False, 0
        elif effect is Effect.CLOSE:
            self.occurrence, self.announced, self.realarm_at = 0, False, 0
        elif effect is Effect.OPEN or self.occurrence == 0:
            self.occurrence, self.raised_ns, self.cleared_ns = number, now_ns, 0
            self.acked_ns, self.acked_by, self.comment, self.first_out = 0, "", "", False
            return True
        else:  # KEEP: it is announced anew, so it has to be acknowledged anew
            self.acked_ns, self.acked_by = 0, ""
        return False

    def unshelve(self) -> None:
        self.shelf_at, self.until_ns, self.once = 0, 0, False
        if not self.removed and not self.suppressed_by:
            self.reason, self.by = "", ""


class Kept(msgspec.Struct):
    """Everything of an engine that outlives it."""

    epoch: str
    seq: int = 0
    occurrence: int = 0
    lives: dict[str, Life] = {}
    references: dict[str, tuple[float, int]] = {}
