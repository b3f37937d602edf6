"""The exchange of programs between two scans, and the way back from a trial.

Invariant. A program is exchanged only while no task is between begin and finish. The time that it takes is that of
copying the variables: everything else is prepared before (``scan.online_change``).
"""

from __future__ import annotations

from scan import layout as w
from scan._lanes import block_of, read_place
from scan._memory import compiled, copy, get, put, put_byte, put_release, to_real, widen_real
from scan._publish import lock, nap, publish_outputs, publish_snapshot, set_state, unlock
from scan._records import record_start


@compiled
def find_move(moves: int, count: int, owner: int, offset: int) -> int:
    """The move that carries the old place, by bisection over (slot, offset), or 0."""
    low = 0
    high = count
    while low < high:
        middle = (low + high) >> 1
        move = moves + middle * 8 * w.MOVE_WORDS
        slot = get(move, w.M_FROM_SLOT)
        if slot < owner or (slot == owner and get(move, w.M_FROM) <= offset):
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return 0
    move = moves + (low - 1) * 8 * w.MOVE_WORDS
    start = get(move, w.M_FROM)
    inside = get(move, w.M_FROM_SLOT) == owner and start <= offset < start + get(move, w.M_SIZE)
    return move if inside else 0


@compiled
def translate_reference(new: int, reference: int, moves: int, count: int) -> None:
    """A reference (slot, offset, old slot of its owner) holds an old place: the new one, or NULL if it is gone."""
    place = block_of(new, get(reference, 0)) + get(reference, 1)
    value = get(place, 0)
    move = find_move(moves, count, get(reference, 2), value)
    if move == 0:
        move = find_move(moves, count, -1, value)
    put(place, 0, 0 if move == 0 or value == 0 else value - get(move, w.M_FROM) + get(move, w.M_TO))


@compiled
def carry_forces(old: int, new: int, moves: int, count: int) -> None:
    kept = 0
    for row in range(get(old, w.Q_FORCE_COUNT)):
        source = get(old, w.Q_FORCES) + row * w.FORCE_SIZE
        move = find_move(moves, count, get(source, w.F_OWNER), get(source, w.F_OFFSET))
        # A force on a variable of another type ends: its bytes mean something else now.
        if move != 0 and get(move, w.M_CONVERT) == 0:
            force = get(new, w.Q_FORCES) + kept * w.FORCE_SIZE
            copy(force, source, w.FORCE_SIZE)
            put(force, w.F_OFFSET, get(source, w.F_OFFSET) - get(move, w.M_FROM) + get(move, w.M_TO))
            put(force, w.F_OWNER, get(move, w.M_TO_SLOT))
            kept += 1
    put(new, w.Q_FORCE_COUNT, kept)


@compiled
def convert(target: int, source: int, size: int, kind: int) -> None:
    """One scalar into a larger type that holds each of its values."""
    rule = kind & 255
    width = kind >> 8
    value = read_place(source, size, 0)
    if (rule == w.CONVERT_SIGNED or rule == w.CONVERT_SIGNED_TO_REAL) and size < 8:
        sign = 1 << (8 * size - 1)
        value = (value ^ sign) - sign
    if rule == w.CONVERT_REAL:
        value = widen_real(value)
    elif rule >= w.CONVERT_UNSIGNED_TO_REAL:
        value = to_real(value, width)
    for index in range(width):
        put_byte(target + index, (value >> (8 * index)) & 255)


@compiled
def carry_over(old: int, new: int) -> None:
    """Copies the variables that both programs have, then translates references and forces to the new places."""
    moves = get(new, w.Q_MOVES)
    count = get(new, w.Q_MOVE_COUNT)
    for number in range(count):
        move = moves + number * 8 * w.MOVE_WORDS
        source = block_of(old, get(move, w.M_FROM_SLOT))
        target = block_of(new, get(move, w.M_TO_SLOT))
        if source != 0 and target != 0:
            source += get(move, w.M_FROM)
            target += get(move, w.M_TO)
            if get(move, w.M_CONVERT) == 0:
                copy(target, source, get(move, w.M_SIZE))
            else:
                convert(target, source, get(move, w.M_SIZE), get(move, w.M_CONVERT))
    references = get(new, w.Q_REFERENCES)
    for number in range(get(new, w.Q_REFERENCE_COUNT)):
        translate_reference(new, references + number * 24, moves, count)
    carry_forces(old, new, moves, count)


@compiled
def install(engine: int, program: int, now_ns: int) -> None:
    """Makes a program the running one; outputs and snapshot are complete before a reader can find them."""
    node = get(engine, w.E_NODE)
    publish_outputs(engine, program, get(node, w.N_HEARTBEAT_NS))
    publish_snapshot(engine, program, now_ns, get(engine, w.E_WALL_NS))
    put_release(engine, w.E_PROGRAM, program)
    put_release(node, w.N_GENERATION, get(program, w.Q_GENERATION))
    put(node, w.N_FORCES, get(program, w.Q_FORCE_COUNT))
    put(engine, w.E_RECORDS_SEEN, 0)
    put(engine, w.E_SNAPSHOT_DUE_NS, 0)


@compiled
def roll_back(engine: int, slot: int, now_ns: int) -> None:
    """Brings the previous program back with the state that it had; the mutex is held before and after."""
    put(engine, w.E_PAUSE, get(engine, w.E_PAUSE) + 1)
    while get(engine, w.E_RUNNING) != 0:
        unlock(engine)
        nap(slot)
        lock(engine)
    put(engine, w.E_PAUSE, get(engine, w.E_PAUSE) - 1)
    previous = get(engine, w.E_PREVIOUS)
    if previous == 0:
        return
    node = get(engine, w.E_NODE)
    put(engine, w.E_PREVIOUS, 0)
    put(engine, w.E_TRIAL_LEFT, 0)
    put(node, w.N_TRIAL_LEFT, 0)
    set_state(engine, w.STATE_RUNNING)
    install(engine, previous, now_ns)
    put(node, w.N_ROLLBACKS, get(node, w.N_ROLLBACKS) + 1)
    record_start(engine, previous, get(slot, w.X_INDEX), now_ns, 0)


@compiled
def exchange(engine: int, program: int, trial_scans: int, now_ns: int) -> int:
    """With the mutex held: carries over and installs if no task is in a scan. 1 = done."""
    if get(engine, w.E_RUNNING) != 0:
        return 0
    old = get(engine, w.E_PROGRAM)
    carry_over(old, program)
    put(engine, w.E_PREVIOUS, old if trial_scans > 0 else 0)
    put(engine, w.E_TRIAL_LEFT, trial_scans)
    set_state(engine, w.STATE_TRIAL if trial_scans > 0 else w.STATE_RUNNING)
    install(engine, program, now_ns)
    node = get(engine, w.E_NODE)
    put(node, w.N_TRIAL_LEFT, trial_scans)
    put(node, w.N_SWAPS, get(node, w.N_SWAPS) + 1)
    record_start(engine, program, -1, now_ns, trial_scans)
    return 1
