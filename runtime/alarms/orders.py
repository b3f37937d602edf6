"""What people order of alarms: acknowledge, comment, shelve, suppress, take out of service, reset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.alarms.life import Life
from runtime.alarms.model import TEXT_MAX, Definition, Order, Outcome, target_of
from runtime.alarms.states import Event, State

if TYPE_CHECKING:
    from runtime.alarms.engine import Engine, Moment

SECOND = 1_000_000_000


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """The order cannot be carried out on one target; the text is for the person."""


class Orders:
    """Carries out orders on an engine. One target that is refused does not stop the others."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ways = {
            "acknowledge": self._acknowledge,
            "comment": self._comment,
            "shelve": self._shelve,
            "unshelve": self._unshelve,
            "suppress": self._suppress,
            "unsuppress": self._unsuppress,
            "remove": self._remove,
            "return": self._return,
            "reset": self._reset,
        }

    def carry_out(self, order: Order, at: Moment) -> Outcome:
        done: list[str] = []
        refused: list[tuple[str, str]] = []
        for target in order.targets:
            name, occurrence = target_of(target)
            row = self._engine.row_of(name)
            if row is None:
                refused.append((target, "there is no such alarm"))
                continue
            try:
                self._ways[order.action](row, occurrence, order, at)
                self._engine.touch(row)
                done.append(target)
            except Refused as reason:
                refused.append((target, str(reason)))
        return Outcome(tuple(done), tuple(refused))

    def _parts(self, row: int) -> tuple[Definition, Life]:
        return self._engine.definitions[row], self._engine.life_of(row)

    def _fire(self, row: int, event: Event, order: Order, at: Moment) -> bool:
        return self._engine.fire(row, event, at.wall_ns, user=order.user, comment=order.comment[:TEXT_MAX])

    def _acknowledge(self, row: int, occurrence: int, order: Order, at: Moment) -> None:
        """Of one occurrence, and once: a later one with the same name is not meant."""
        _, life = self._parts(row)
        if occurrence and occurrence != life.occurrence:
            return  # it is over, by acknowledgement or because the next one began
        if life.state in (State.ACKNOWLEDGED, State.LATCHED_ACKNOWLEDGED):
            return
        before, life.comment = life.comment, order.comment[:TEXT_MAX] or life.comment
        if not self._fire(row, Event.ACKNOWLEDGE, order, at):
            life.comment = before
            raise Refused(f"there is nothing to acknowledge: it is {life.state}")

    def _comment(self, row: int, occurrence: int, order: Order, at: Moment) -> None:
        _, life = self._parts(row)
        _needed(order.comment, "a comment")
        life.comment = order.comment[:TEXT_MAX]
        self._engine.enter(row, "comment", at.wall_ns, user=order.user, comment=life.comment)

    def _shelve(self, row: int, occurrence: int, order: Order, at: Moment) -> None:
        definition, life = self._parts(row)
        _needed(order.comment, "a reason")
        if order.duration_s < 0 or order.duration_s > definition.shelve_s_max:
            raise Refused(f"it may be shelved for {definition.shelve_s_max} seconds at most")
        if life.removed:
            raise Refused("it is out of service")
        seconds = order.duration_s or definition.shelve_s_max
        life.once = order.duration_s == 0
        life.shelf_at = at.engine_ns + seconds * SECOND
        life.until_ns = at.wall_ns + seconds * SECOND
        life.reason, life.by = order.comment[:TEXT_MAX], order.user
        self._engine.set_timer(life.shelf_at, row)
        self._fire(row, Event.SHELVE, order, at)

    def _unshelve(self, row: int, occurrence: int, order: Order, at: Moment) -> None:
        _, life = self._parts(row)
        if not life.shelf_at:
            return
        life.unshelve()
        self._fire(row, Event.UNSHELVE, order, at)

    def _suppress(self, row: int, occurrence: int, order: Order, at: Moment) -> None:
        _, life = self._parts(row)
        _needed(order.comment, "a reason")
        life.suppressed_by, life.by, life.reason = order.user, order.user, order.comment[:TEXT_MAX]
        self._fire(row, Event.SUPPRESS, order, at)

    def _unsuppress(self, row: int, occurrence: int, order: Order, at: Moment) -> None:
        _, life = self._parts(row)
        if not life.suppressed_by:
            if life.suppressed:
                raise Refused("it is suppressed by its own predicate")
            return
        life.suppressed_by, life.by, life.reason = "", "", ""
        if life.suppressed:  # its predicate holds: it stays where it is
            self._engine.enter(row, str(Event.UNSUPPRESS), at.wall_ns, user=order.user, comment=order.comment)
        else:
            self._fire(row, Event.UNSUPPRESS, order, at)

    def _remove(self, row: int, occurrence: int, order: Order, at: Moment) -> None:
        """Out of service. With priority 1 it takes two persons: one asks, another one confirms."""
        definition, life = self._parts(row)
        if life.removed:
            return
        _needed(order.comment, "a reason")
        reason = " ".join(part for part in (order.work_order, order.comment) if part)[:TEXT_MAX]
        most_urgent = min(definition.priority_at(level) for level in (-2, 0, 2))
        if most_urgent == 1 and not life.asked_by:
            life.asked_by, life.reason = order.user, reason
            self._engine.enter(row, "out of service asked for", at.wall_ns, user=order.user, comment=reason)
            return
        if most_urgent == 1 and life.asked_by == order.user:
            raise Refused("its priority is urgent: a second person has to confirm")
        first = f"{life.asked_by}, " if life.asked_by else ""
        life.removed, life.asked_by, life.by, life.reason = True, "", f"{first}{order.user}", reason
        self._fire(row, Event.REMOVE, order, at)

    def _return(self, row: int, occurrence: int, order: Order, at: Moment) -> None:
        _, life = self._parts(row)
        if not life.removed and not life.asked_by:
            return
        if life.asked_by:
            life.asked_by = life.reason = ""
            self._engine.enter(
                row, "out of service refused", at.wall_ns, user=order.user, comment=order.comment
            )
            return
        life.removed, life.reason, life.by = False, "", ""
        self._fire(row, Event.RETURN, order, at)

    def _reset(self, row: int, occurrence: int, order: Order, at: Moment) -> None:
        _, life = self._parts(row)
        if life.state is State.NORMAL:
            return
        if life.raw or life.level:
            raise Refused("its condition still holds")
        if not self._fire(row, Event.RESET, order, at):
            raise Refused(f"there is nothing to reset: it is {life.state}")


def _needed(text: str, what: str) -> None:
    if not text.strip():
        raise Refused(f"{what} is needed")
