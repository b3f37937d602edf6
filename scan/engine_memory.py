"""Memory that the compiled engine works on: its own structure, the slots of the threads, and the table of moves."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping

from scan import layout as w
from scan.field_io import HEARTBEAT_TIMEOUT_NS
from scan.online_change import Plan
from scan.problem import fail
from scan.program import Program, address_of, make_area, make_words

WATCH_PERIOD_NS = 5_000_000
_PRIO_INHERIT = 1
_MUTEX_SIZE, _SEMAPHORE_SIZE = 64, 32


class EngineMemory:
    """The ENGINE structure, its slots and its mutex."""

    def __init__(self, *, clocked: bool) -> None:
        self.words = make_words(w.ENGINE_WORDS)
        self.slots = make_words(w.SLOT_WORDS * (w.TASKS_MAX + 2)).reshape(-1, w.SLOT_WORDS)
        self._mutex = make_area(_MUTEX_SIZE)
        self._semaphores = make_area(_SEMAPHORE_SIZE * w.TASKS_MAX)
        self.private_node = make_words(w.NODE_SIZE // 8)
        words = self.words
        words[w.E_TASKS], words[w.E_MUTEX] = address_of(self.slots), address_of(self._mutex)
        words[w.E_NODE] = address_of(self.private_node)
        lane = make_words(w.LANE_HEADER_SIZE // 8)
        self._idle_lane = lane
        words[w.E_LANES] = words[w.E_LANE_PARENT] = address_of(lane)
        words[w.E_CLOCKED] = int(clocked)
        words[w.E_INPUTS_TIMEOUT_NS] = HEARTBEAT_TIMEOUT_NS
        words[w.E_WATCH_PERIOD_NS] = WATCH_PERIOD_NS
        for index, slot in enumerate(self.slots):
            slot[w.X_ENGINE], slot[w.X_INDEX] = self.address, index
        self._make_locks()

    def _make_locks(self) -> None:
        libc = ctypes.CDLL(None)
        attributes = make_area(_MUTEX_SIZE)
        libc.pthread_mutexattr_init(ctypes.c_void_p(address_of(attributes)))
        libc.pthread_mutexattr_setprotocol(ctypes.c_void_p(address_of(attributes)), _PRIO_INHERIT)
        libc.pthread_mutex_init(
            ctypes.c_void_p(address_of(self._mutex)), ctypes.c_void_p(address_of(attributes))
        )
        for index in range(w.TASKS_MAX):
            place = address_of(self._semaphores) + index * _SEMAPHORE_SIZE
            libc.sem_init(ctypes.c_void_p(place), 0, 0)
            self.slots[index, w.X_SEMAPHORE] = place

    @property
    def address(self) -> int:
        return address_of(self.words)

    def slot_address(self, index: int) -> int:
        return address_of(self.slots[index])

    def wake(self, index: int) -> None:
        ctypes.CDLL(None).sem_post(ctypes.c_void_p(int(self.slots[index, w.X_SEMAPHORE])))


WATCH_SLOT, OWNER_SLOT = w.TASKS_MAX, w.TASKS_MAX + 1  # scratch of the watchdog and of the owner's calls


class SlotTable:
    """Which task has which slot; a name keeps its slot over all programs of a process."""

    def __init__(self, slots: Mapping[str, int] | None = None) -> None:
        self._slots: dict[str, int] = dict(slots or {})

    def claim(self, names: Iterable[str], used: Iterable[str]) -> dict[str, int]:
        """Slots for the names; those of tasks that are neither named nor used are given away."""
        keep = {*names, *used}
        self._slots = {name: slot for name, slot in self._slots.items() if name in keep}
        free = [slot for slot in range(w.TASKS_MAX) if slot not in self._slots.values()]
        for name in names:
            if name not in self._slots:
                if not free:
                    raise fail(
                        "SC3003", "too many tasks at once", expected=f"at most {w.TASKS_MAX} in both programs"
                    )
                self._slots[name] = free.pop(0)
        return dict(self._slots)


def install_plan(program: Program, plan: Plan) -> None:
    """Hands the moves to the engine: ``program`` is the one that they lead to."""
    moves = make_words(w.MOVE_WORDS * max(len(plan.moves), 1)).reshape(-1, w.MOVE_WORDS)
    for row, move in enumerate(plan.moves):
        moves[row] = (move.source, move.target, move.size, move.source_slot, move.target_slot, move.convert)
    references = make_words(3 * max(len(plan.references), 1)).reshape(-1, 3)
    for row, reference in enumerate(plan.references):
        references[row] = reference
    program.words[w.Q_MOVES], program.words[w.Q_MOVE_COUNT] = address_of(moves), len(plan.moves)
    program.words[w.Q_REFERENCES], program.words[w.Q_REFERENCE_COUNT] = (
        address_of(references),
        len(plan.references),
    )
    program.keep(moves, references)
    for task in program.tasks.values():
        task.words[w.K_FIRST_SCAN] = 0
