"""What the scan tells the recorder: one change-only record a scan, pushed into a ring that a reader drains.

Invariants. A record is shown whole by one release of the tail. A record that finds no room is dropped and counted;
the next one that fits carries the whole input image and says that it does not follow from those before it. Nothing is
written while nobody listens (``R_ENABLED`` is 0), and nothing here ever waits.
"""

from __future__ import annotations

from scan import layout as w
from scan._memory import changed_words, compiled, get, get_acquire, put, put_release, trailing_zeros


@compiled
def ring_put(ring: int, position: int, value: int) -> int:
    """Writes a word at a byte position of the stream; the capacity is a power of two."""
    put(ring + w.RECORDS_HEADER_SIZE, (position & (w.RECORDS_CAPACITY - 1)) >> 3, value)
    return position + 8


@compiled
def has_room(engine: int, ring: int, size: int) -> bool:
    free = w.RECORDS_CAPACITY - (get(ring, w.R_TAIL) - get_acquire(ring, w.R_HEAD))
    if size <= free <= w.RECORDS_CAPACITY:
        return True
    put(ring, w.R_LOST, get(ring, w.R_LOST) + 1)
    node = get(engine, w.E_NODE)
    put(node, w.N_RECORDS_LOST, get(node, w.N_RECORDS_LOST) + 1)
    put(engine, w.E_RECORDS_SEEN, 0)
    put(engine, w.E_RECORDS_CUT, 1)
    return False


@compiled
def put_head(engine: int, ring: int, size: int, kind: int, index: int, now_ns: int) -> int:
    position = ring_put(ring, get(ring, w.R_TAIL), size << 8 | kind)
    position = ring_put(ring, position, get(engine, w.E_SCAN))
    position = ring_put(ring, position, index)
    return ring_put(ring, position, now_ns)


@compiled
def is_recording(engine: int) -> bool:
    ring = get(engine, w.E_RECORDS)
    return ring != 0 and get_acquire(ring, w.R_ENABLED) != 0


@compiled
def record_command(engine: int, index: int, command: int, now_ns: int) -> None:
    """A record of a command that was applied."""
    if not is_recording(engine):
        return
    ring = get(engine, w.E_RECORDS)
    size = 8 * w.RECORD_HEAD_WORDS + w.COMMAND_SIZE
    if has_room(engine, ring, size):
        position = put_head(engine, ring, size, w.RECORD_COMMAND, index, now_ns)
        for word in range(w.COMMAND_SIZE >> 3):
            position = ring_put(ring, position, get(command, word))
        put_release(ring, w.R_TAIL, position)


@compiled
def record_fault(engine: int, index: int, now_ns: int) -> None:
    if not is_recording(engine):
        return
    ring = get(engine, w.E_RECORDS)
    size = 8 * (w.RECORD_HEAD_WORDS + 5)
    if has_room(engine, ring, size):
        position = put_head(engine, ring, size, w.RECORD_FAULT, index, now_ns)
        for word in range(w.E_FAULT_CODE, w.E_FAULT_DETAIL + 1):
            position = ring_put(ring, position, get(engine, word))
        position = ring_put(ring, position, get(engine, w.E_FAULT_GENERATION))
        put_release(ring, w.R_TAIL, position)


@compiled
def record_start(engine: int, program: int, index: int, now_ns: int, flags: int) -> None:
    """A record of a program that begins, by a start or by a swap."""
    if not is_recording(engine):
        return
    ring = get(engine, w.E_RECORDS)
    size = 8 * (w.RECORD_HEAD_WORDS + 2)
    if has_room(engine, ring, size):
        position = put_head(engine, ring, size, w.RECORD_START, index, now_ns)
        position = ring_put(ring, position, get(program, w.Q_GENERATION))
        position = ring_put(ring, position, flags)
        put_release(ring, w.R_TAIL, position)


@compiled
def running_slots(engine: int) -> int:
    """The slots that are in a scan, one bit each."""
    mask = 0
    if get(engine, w.E_RUNNING) != 0:
        slots = get(engine, w.E_TASKS)
        for index in range(get(engine, w.E_SLOTS_USED)):
            if get(slots + index * 8 * w.SLOT_WORDS, w.X_STARTED_NS) != 0:
                mask |= 1 << index
    return mask


@compiled
def record_finish(engine: int, task: int, index: int, now_ns: int) -> None:
    """A record of the end of a scan in which another one began, and of the scans that go on beside it.

    A scan that is not among these has ended before: the last one that began leaves no other trace of its end.
    """
    if get(engine, w.E_SCAN) == get(task, w.K_SCAN) or not is_recording(engine):
        return
    ring = get(engine, w.E_RECORDS)
    size = 8 * (w.RECORD_HEAD_WORDS + 1)
    if has_room(engine, ring, size):
        position = put_head(engine, ring, size, w.RECORD_FINISH, index, now_ns)
        put_release(ring, w.R_TAIL, ring_put(ring, position, running_slots(engine)))


@compiled
def put_change(ring: int, position: int, image: int, recorded: int, word: int) -> int:
    value = get(image, word)
    put(recorded, word, value)
    return ring_put(ring, ring_put(ring, position, word), value)


@compiled
def put_changes(ring: int, start: int, image: int, recorded: int, words: int) -> int:
    """Writes the words that are not as they were recorded last. Both images are padded alike to whole rows."""
    position = start
    for first in range(0, words, w.INPUT_ROW_WORDS):
        changed = changed_words(image + 8 * first, recorded + 8 * first)
        while changed != 0:
            position = put_change(ring, position, image, recorded, first + trailing_zeros(changed))
            changed &= changed - 1
    return position


@compiled
def put_image(ring: int, start: int, image: int, recorded: int, words: int) -> int:
    position = start
    for word in range(words):
        position = put_change(ring, position, image, recorded, word)
    return position


@compiled
def record_scan(engine: int, program: int, index: int, now_ns: int, wall_ns: int, first_scan: int) -> None:
    """A record of the inputs that a scan begins with: the words that changed since the last record.

    One pass: the changes are written behind the place of the head, which is filled in when their number is known.
    """
    if not is_recording(engine):
        return
    ring = get(engine, w.E_RECORDS)
    listener = get(ring, w.R_ENABLED)
    words = (get(program, w.Q_INPUTS_SIZE) + 7) >> 3
    if not has_room(engine, ring, 8 * (w.RECORD_HEAD_WORDS + 3 + 2 * words)):
        return
    full = get(engine, w.E_RECORDS_SEEN) != listener
    image = get(program, w.Q_INPUTS_GOOD)
    recorded = get(program, w.Q_INPUTS_RECORDED)
    start = get(ring, w.R_TAIL) + 8 * (w.RECORD_HEAD_WORDS + 3)
    if full:
        end = put_image(ring, start, image, recorded, words)
    else:
        end = put_changes(ring, start, image, recorded, words)
    flags = (w.RECORD_FLAG_FULL if full else 0) | (w.RECORD_FLAG_FIRST_SCAN if first_scan else 0)
    flags |= w.RECORD_FLAG_CUT if get(engine, w.E_RECORDS_CUT) != 0 else 0
    flags |= running_slots(engine) << w.RECORD_RUNNING_SHIFT
    position = put_head(engine, ring, end - get(ring, w.R_TAIL), w.RECORD_SCAN, index, now_ns)
    position = ring_put(ring, position, wall_ns)
    position = ring_put(ring, position, flags)
    ring_put(ring, position, (end - start) >> 4)
    put(engine, w.E_RECORDS_SEEN, listener)
    put(engine, w.E_RECORDS_CUT, 0)
    put_release(ring, w.R_TAIL, end)
