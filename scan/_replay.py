"""Recorded scans run again, a run of records at a time: the same begin, program and finish as in production.

Theory. A program works on memory of its own between begin and finish, so it may run at once where production was
preempted in the middle of it: only the order of the boundaries counts, and that is what the records tell.
"""

from __future__ import annotations

from scan import layout as w
from scan._lanes import record_at
from scan._memory import compiled, copy, get, put
from scan._step import begin, execute, finish


@compiled
def slot_at(engine: int, index: int) -> int:
    return get(engine, w.E_TASKS) + index * 8 * w.SLOT_WORDS


@compiled
def finish_slot(engine: int, slot: int) -> int:
    """Ends the open scan of a slot; a RESULT word."""
    task = get(get(engine, w.E_PROGRAM), w.Q_TASKS + get(slot, w.X_INDEX))
    return finish(slot, task, get(slot, w.X_RESULT), get(slot, w.X_DUE_NS), get(task, w.K_WALL_NS))


@compiled
def finish_open(engine: int, running: int) -> int:
    """Ends the open scans that are not in the mask; RESULT_FAULT if one of them ended so."""
    outcome = w.RESULT_RUN
    for index in range(get(engine, w.E_SLOTS_USED)):
        slot = slot_at(engine, index)
        if get(slot, w.X_STARTED_NS) != 0 and (running >> index) & 1 == 0:
            outcome = max(outcome, finish_slot(engine, slot))
    return outcome


@compiled
def apply_changes(program: int, record: int) -> None:
    good = get(program, w.Q_INPUTS_GOOD)
    words = (get(program, w.Q_INPUTS_SIZE) + 7) >> 3
    for change in range(get(record, w.RECORD_HEAD_WORDS + 2)):
        word = get(record, w.RECORD_HEAD_WORDS + 3 + 2 * change)
        if 0 <= word < words:
            put(good, word, get(record, w.RECORD_HEAD_WORDS + 4 + 2 * change))


@compiled
def replay_scan(engine: int, record: int) -> int:
    """A SCAN record: ends what had ended before it, begins and runs it; 0 when it cannot begin."""
    flags = get(record, w.RECORD_HEAD_WORDS + 1)
    index = get(record, 2)
    if index < 0 or index >= get(engine, w.E_SLOTS_USED):
        return 0
    finish_open(engine, flags >> w.RECORD_RUNNING_SHIFT)
    program = get(engine, w.E_PROGRAM)
    task = get(program, w.Q_TASKS + index)
    slot = slot_at(engine, index)
    if task == 0 or get(slot, w.X_STARTED_NS) != 0:
        return 0
    apply_changes(program, record)
    put(task, w.K_FIRST_SCAN, (flags >> 1) & 1)
    put(engine, w.E_SCAN, get(record, 1) - 1)
    now_ns = get(record, 3)
    if begin(slot, 1, now_ns, get(record, w.RECORD_HEAD_WORDS)) == 0:
        return 0
    put(slot, w.X_RESULT, execute(task))
    put(slot, w.X_DUE_NS, now_ns)
    if get(program, w.Q_SINGLE) == 1:
        finish_slot(engine, slot)
    return 1


@compiled
def replay_finish(engine: int, record: int) -> None:
    """A FINISH record: ends the scans that had ended before it, then its own."""
    index = get(record, 2)
    if 0 <= index < get(engine, w.E_SLOTS_USED):
        finish_open(engine, get(record, w.RECORD_HEAD_WORDS) | 1 << index)
        if get(slot_at(engine, index), w.X_STARTED_NS) != 0:
            finish_slot(engine, slot_at(engine, index))


@compiled
def submit(engine: int, record: int) -> None:
    """A COMMAND record into the lane, from which the next scan takes it."""
    lane = get(engine, w.E_LANES)
    tail = get(lane, w.L_COMMAND_TAIL)
    copy(record_at(lane, tail), record + 8 * w.RECORD_HEAD_WORDS, w.COMMAND_SIZE)
    put(lane, w.L_COMMAND_TAIL, tail + 1)
    put(lane, w.L_ACK_HEAD, get(lane, w.L_ACK_TAIL))


@compiled
def minimum_words(kind: int) -> int:
    """Words that a record of this kind has at least."""
    if kind == w.RECORD_SCAN:
        return w.RECORD_HEAD_WORDS + 3
    if kind == w.RECORD_COMMAND:
        return w.RECORD_HEAD_WORDS + (w.COMMAND_SIZE >> 3)
    if kind == w.RECORD_FINISH:
        return w.RECORD_HEAD_WORDS + 1
    return w.RECORD_HEAD_WORDS


@compiled
def is_whole(record: int, kind: int, size: int, left: int) -> bool:
    if size > left or size & 7 != 0 or size < 8 * minimum_words(kind):
        return False
    if kind != w.RECORD_SCAN:
        return True
    changes = get(record, w.RECORD_HEAD_WORDS + 2)
    return changes >= 0 and size == 8 * (w.RECORD_HEAD_WORDS + 3 + 2 * changes)


@compiled
def replay(engine: int, records: int, size: int) -> int:
    """Runs records until one that is not whole, is a START or a FAULT, or cannot run; bytes consumed."""
    position = 0
    while position + 8 <= size:
        record = records + position
        kind = get(record, 0) & 255
        length = get(record, 0) >> 8
        if not is_whole(record, kind, length, size - position):
            break
        if kind == w.RECORD_SCAN:
            if replay_scan(engine, record) == 0:
                break
        elif kind == w.RECORD_COMMAND:
            submit(engine, record)
        elif kind == w.RECORD_FINISH:
            replay_finish(engine, record)
        else:
            break
        position += length
    return position
