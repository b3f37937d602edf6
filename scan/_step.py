"""One scan without a clock: begin, call, finish; and the exchange of programs between two scans.

Theory. ``begin`` and ``finish`` are the task boundary and hold the mutex of the tasks, a priority-inheriting one
that nobody else ever takes; the program runs between them on memory of its own. The clocked loop (``scan.cycle``)
and virtual time (``scan.virtual``) call the same functions, so a replay runs what production ran.

Order in a scan: read inputs, commands, copy in, force, program, force, copy out, write outputs, snapshot, record.

Invariants. A program is exchanged only while no task is between begin and finish. A faulted scan publishes nothing
that it computed.
"""

from __future__ import annotations

from scan import layout as w
from scan._lanes import block_of, force_after, force_before, serve_lane
from scan._memory import (
    call_entry,
    compiled,
    copy,
    fence,
    get,
    get_acquire,
    get_byte,
    get_half,
    put,
    put_byte,
    put_half,
    put_release,
)
from scan._records import record_fault, record_finish, record_scan, record_start
from scan._system import clock_nanosleep, pthread_mutex_lock, pthread_mutex_unlock

INPUT_ATTEMPTS = 3  # a writer that is found at work this often was preempted: go on with the last good copy
NAP_NS = 20_000
MONOTONIC = 1
HEADER = 64
FAULT_HEALTH = 1010

# words and byte offsets of scan.abi.CONTEXT_DTYPE
CONTEXT_DEPTH, CONTEXT_FIRST_SCAN = 24, 28
CONTEXT_NOW, CONTEXT_WALL, CONTEXT_PERIOD, CONTEXT_SCAN = 4, 5, 6, 7


@compiled
def lock(engine: int) -> None:
    if get(engine, w.E_CLOCKED) == 1:
        pthread_mutex_lock(get(engine, w.E_MUTEX))


@compiled
def unlock(engine: int) -> None:
    if get(engine, w.E_CLOCKED) == 1:
        pthread_mutex_unlock(get(engine, w.E_MUTEX))


@compiled
def nap(slot: int) -> None:
    """A short wait outside the mutex, for another task to reach its boundary."""
    put(slot, w.X_SECONDS, 0)
    put(slot, w.X_NANOSECONDS, NAP_NS)
    clock_nanosleep(MONOTONIC, 0, slot + 8 * w.X_SECONDS, 0)


@compiled
def set_state(engine: int, state: int) -> None:
    put_release(engine, w.E_STATE, state)
    put_release(get(engine, w.E_NODE), w.N_STATE, state)


# ---------------------------------------------------------------- inputs


@compiled
def take_inputs(engine: int, program: int, now_ns: int) -> None:
    """Brings the good copy of %I up to date from the inputs segment, or leaves it as it is and counts."""
    attachment = get_acquire(engine, w.E_INPUTS)
    put_release(engine, w.E_INPUTS_SEEN, attachment)
    if attachment == 0:
        return
    segment = get(attachment, w.J_SEGMENT)
    size = min(get(attachment, w.J_SIZE), get(program, w.Q_INPUTS_SIZE))
    node = get(engine, w.E_NODE)
    fresh = 0
    for _ in range(INPUT_ATTEMPTS):
        before = get_acquire(segment, w.I_SEQUENCE)
        if before & 1 == 0:
            copy(get(program, w.Q_INPUTS_COPY), get(attachment, w.J_IMAGE), size)
            published_ns = get(segment, w.I_HEARTBEAT_NS)
            fence()
            if get_acquire(segment, w.I_SEQUENCE) == before:
                taken = get(program, w.Q_INPUTS_COPY)
                put(program, w.Q_INPUTS_COPY, get(program, w.Q_INPUTS_GOOD))
                put(program, w.Q_INPUTS_GOOD, taken)
                put(program, w.Q_INPUTS_TIME_NS, published_ns)
                fresh = 1
                break
    if fresh == 0:
        put(node, w.N_INPUTS_TORN, get(node, w.N_INPUTS_TORN) + 1)
    age = now_ns + get(engine, w.E_EPOCH_NS) - get(program, w.Q_INPUTS_TIME_NS)
    if age > get(engine, w.E_INPUTS_TIMEOUT_NS):
        put(node, w.N_INPUTS_STALE, get(node, w.N_INPUTS_STALE) + 1)


# ---------------------------------------------------------------- begin


@compiled
def enter(engine: int, slot: int) -> int:
    """Waits at the boundary while a swap wants it; the task to run with the mutex held, or 0 without it."""
    lock(engine)
    while get(engine, w.E_PAUSE) != 0:
        unlock(engine)
        nap(slot)
        lock(engine)
    state = get(engine, w.E_STATE)
    going = state == w.STATE_RUNNING or state == w.STATE_TRIAL
    program = get(engine, w.E_PROGRAM)
    task = 0
    if going and program != 0 and get(engine, w.E_STOP) == 0:
        task = get(program, w.Q_TASKS + get(slot, w.X_INDEX))
    if task == 0:
        unlock(engine)
    return task


@compiled
def set_context(engine: int, task: int, now_ns: int, wall_ns: int) -> None:
    context = get(task, w.K_CONTEXT)
    for word in range(4):
        put(context, word, 0)
    put_half(context + CONTEXT_FIRST_SCAN, get(task, w.K_FIRST_SCAN))
    put(context, CONTEXT_NOW, now_ns)
    put(context, CONTEXT_WALL, wall_ns)
    put(context, CONTEXT_PERIOD, get(task, w.K_PERIOD_NS))
    put(context, CONTEXT_SCAN, get(engine, w.E_SCAN))


@compiled
def begin(slot: int, start_ns: int, now_ns: int, wall_ns: int) -> int:
    """Opens a scan of the slot's task and returns the task, 0 when it is to leave."""
    engine = get(slot, w.X_ENGINE)
    index = get(slot, w.X_INDEX)
    task = enter(engine, slot)
    if task == 0:
        return 0
    program = get(engine, w.E_PROGRAM)
    put(engine, w.E_SCAN, get(engine, w.E_SCAN) + 1)
    put(task, w.K_SCAN, get(engine, w.E_SCAN))
    put(task, w.K_WALL_NS, wall_ns)
    put(engine, w.E_WALL_NS, wall_ns)
    master = get(program, w.Q_BLOCK)
    take_inputs(engine, program, now_ns)
    copy(
        master + get(program, w.Q_INPUTS_OFFSET), get(program, w.Q_INPUTS_GOOD), get(program, w.Q_INPUTS_SIZE)
    )
    serve_lane(engine, program, index, get(engine, w.E_LANES), now_ns)
    serve_lane(engine, program, index, get(engine, w.E_LANE_PARENT), now_ns)
    record_scan(engine, program, index, now_ns, wall_ns, get(task, w.K_FIRST_SCAN))
    force_before(engine, program, index, now_ns)
    if get(program, w.Q_SINGLE) == 0:
        shared = get(program, w.Q_SHARED_OFFSET)
        copy(get(task, w.K_BLOCK) + shared, master + shared, get(program, w.Q_SHARED_SIZE))
    set_context(engine, task, now_ns, wall_ns)
    put(engine, w.E_RUNNING, get(engine, w.E_RUNNING) + 1)
    put(slot, w.X_ABORTED_NS, 0)
    put_release(slot, w.X_STARTED_NS, start_ns)
    unlock(engine)
    return task


# ---------------------------------------------------------------- publishing


@compiled
def publish_outputs(engine: int, program: int, heartbeat_ns: int) -> None:
    """The %Q image, its scan and the state, under the sequence of the segment."""
    segment = get(program, w.Q_OUTPUTS)
    if segment == 0:
        return
    source = get(program, w.Q_BLOCK) + get(program, w.Q_OUTPUTS_OFFSET)
    sequence = get(segment, w.O_SEQUENCE)
    put(segment, w.O_SEQUENCE, sequence | 1)
    fence()
    copy(segment + w.OUTPUTS_HEADER_SIZE, source, get(program, w.Q_OUTPUTS_SIZE))
    put(segment, w.O_SCAN, get(engine, w.E_SCAN))
    put(segment, w.O_STATE, get(engine, w.E_STATE))
    if heartbeat_ns != 0:
        put(segment, w.O_HEARTBEAT_NS, heartbeat_ns)
    put_release(segment, w.O_SEQUENCE, (sequence | 1) + 1)


@compiled
def make_safe(program: int) -> None:
    """Sets every output that has a safe value to it; the others hold."""
    outputs = get(program, w.Q_BLOCK) + get(program, w.Q_OUTPUTS_OFFSET)
    safe = get(program, w.Q_SAFE)
    mask = get(program, w.Q_SAFE_MASK)
    for index in range(get(program, w.Q_OUTPUTS_SIZE)):
        held = get_byte(mask + index)
        value = get_byte(outputs + index) & (255 - held) | get_byte(safe + index) & held
        put_byte(outputs + index, value)


@compiled
def publish_snapshot(engine: int, program: int, now_ns: int, wall_ns: int) -> None:
    """The whole block and the forces into the oldest of the three slots."""
    segment = get(program, w.Q_SNAPSHOT)
    if segment == 0:
        return
    latest = get(segment, w.P_LATEST) + 1
    slot = segment + w.SNAPSHOT_HEADER_SIZE + (latest % w.SNAPSHOT_SLOTS) * get(segment, w.P_SLOT_SIZE)
    put(slot, w.S_SEQUENCE, latest * 2 - 1)
    fence()
    put(slot, w.S_SCAN, get(engine, w.E_SCAN))
    put(slot, w.S_MONO_NS, now_ns + get(engine, w.E_EPOCH_NS))
    put(slot, w.S_WALL_NS, wall_ns)
    put(slot, w.S_NOW_NS, now_ns)
    put(slot, w.S_STATE, get(engine, w.E_STATE))
    put(slot, w.S_RUNNING, get(engine, w.E_RUNNING))
    forces = get(program, w.Q_FORCE_COUNT)
    put(slot, w.S_FORCES, forces)
    copy(slot + w.SLOT_FORCES, get(program, w.Q_FORCES), forces * w.FORCE_SIZE)
    block = slot + w.SLOT_FORCES + w.FORCES_MAX * w.FORCE_SIZE
    copy(block, get(program, w.Q_BLOCK), get(program, w.Q_BLOCK_SIZE))
    put_release(slot, w.S_SEQUENCE, latest * 2)
    put_release(segment, w.P_LATEST, latest)
    node = get(engine, w.E_NODE)
    put(node, w.N_SNAPSHOTS, get(node, w.N_SNAPSHOTS) + 1)


@compiled
def publish(engine: int, program: int, now_ns: int, wall_ns: int) -> None:
    publish_outputs(engine, program, 0)
    if now_ns >= get(engine, w.E_SNAPSHOT_DUE_NS):
        put(engine, w.E_SNAPSHOT_DUE_NS, now_ns + get(program, w.Q_SNAPSHOT_INTERVAL_NS))
        publish_snapshot(engine, program, now_ns, wall_ns)
    put_release(get(engine, w.E_NODE), w.N_SCAN, get(engine, w.E_SCAN))


# ---------------------------------------------------------------- finish


@compiled
def copy_out(program: int, task: int) -> None:
    """What the task may write of the shared part, and its own instances for snapshot and digest."""
    if get(program, w.Q_SINGLE) == 1:
        return
    master = get(program, w.Q_BLOCK)
    block = get(task, w.K_BLOCK)
    regions = get(task, w.K_WRITES)
    for index in range(get(task, w.K_WRITE_COUNT)):
        offset = get(regions, 2 * index)
        copy(master + offset, block + offset, get(regions, 2 * index + 1))
    regions = get(task, w.K_OWNED)
    for index in range(get(task, w.K_OWNED_COUNT)):
        offset = get(regions, 2 * index)
        copy(master + offset, block + offset, get(regions, 2 * index + 1))


@compiled
def read_flag(program: int, owner: int, offset: int, mask: int) -> bool:
    value = get_byte(block_of(program, owner) + offset)
    return value != 0 if mask == 0 else value & mask != 0


@compiled
def note_fault(engine: int, program: int, slot: int, task: int, code: int, now_ns: int) -> None:
    """Fills the fault words from the context; the owner of the process makes them readable."""
    context = get(task, w.K_CONTEXT)
    put(engine, w.E_FAULT_CODE, code)
    put(engine, w.E_FAULT_POU, get_half(context + 8))
    put(engine, w.E_FAULT_LINE, get_half(context + 12))
    put(engine, w.E_FAULT_DETAIL, get(context, 2))
    put(engine, w.E_FAULT_TASK, get(slot, w.X_INDEX))
    put(engine, w.E_FAULT_SCAN, get(task, w.K_SCAN))
    put(engine, w.E_FAULT_WALL_NS, get(task, w.K_WALL_NS))
    put(engine, w.E_FAULT_GENERATION, get(program, w.Q_GENERATION))
    record_fault(engine, get(slot, w.X_INDEX), now_ns)
    put_release(engine, w.E_FAULTS, get(engine, w.E_FAULTS) + 1)


@compiled
def leave(engine: int, slot: int) -> None:
    put(engine, w.E_RUNNING, get(engine, w.E_RUNNING) - 1)
    put_release(slot, w.X_STARTED_NS, 0)


@compiled
def fail_scan(slot: int, task: int, code: int, now_ns: int, wall_ns: int) -> int:
    """Ends a faulted scan, with the mutex held: back to the previous program on trial, else safe and stop."""
    engine = get(slot, w.X_ENGINE)
    program = get(engine, w.E_PROGRAM)
    note_fault(engine, program, slot, task, code, now_ns)
    leave(engine, slot)
    if get(engine, w.E_PREVIOUS) != 0:
        roll_back(engine, slot, now_ns)
        return w.RESULT_RUN
    set_state(engine, w.STATE_FAULT)
    make_safe(program)
    publish_outputs(engine, program, 0)
    publish_snapshot(engine, program, now_ns, wall_ns)
    return w.RESULT_FAULT


@compiled
def count_trial(engine: int) -> None:
    left = get(engine, w.E_TRIAL_LEFT)
    if left > 0:
        put(engine, w.E_TRIAL_LEFT, left - 1)
        put(get(engine, w.E_NODE), w.N_TRIAL_LEFT, left - 1)
        if left == 1:
            put(engine, w.E_PREVIOUS, 0)
            set_state(engine, w.STATE_RUNNING)


@compiled
def is_unwell(engine: int, program: int) -> bool:
    """Whether the program, on trial, shows its health variable FALSE."""
    offset = get(program, w.Q_HEALTH_OFFSET)
    if get(engine, w.E_PREVIOUS) == 0 or offset < 0:
        return False
    return not read_flag(program, get(program, w.Q_HEALTH_OWNER), offset, get(program, w.Q_HEALTH_MASK))


@compiled
def finish(slot: int, task: int, result: int, now_ns: int, wall_ns: int) -> int:
    """Closes the scan that ``begin`` opened; one of the RESULT words."""
    engine = get(slot, w.X_ENGINE)
    lock(engine)
    program = get(engine, w.E_PROGRAM)
    code = result
    outcome = w.RESULT_RUN
    if code == 0:
        force_after(program, task, get(slot, w.X_INDEX))
        copy_out(program, task)
        if is_unwell(engine, program):
            code = FAULT_HEALTH
    if code != 0:
        outcome = fail_scan(slot, task, code, now_ns, wall_ns)
    else:
        put(task, w.K_FIRST_SCAN, 0)
        leave(engine, slot)
        record_finish(engine, task, get(slot, w.X_INDEX), now_ns)
        count_trial(engine)
        publish(engine, program, now_ns, wall_ns)
    unlock(engine)
    return outcome


# ---------------------------------------------------------------- exchange of programs


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
def carry_over(old: int, new: int) -> None:
    """Copies the variables that both programs have, then translates references and forces to the new places."""
    moves = get(new, w.Q_MOVES)
    count = get(new, w.Q_MOVE_COUNT)
    for number in range(count):
        move = moves + number * 8 * w.MOVE_WORDS
        source = block_of(old, get(move, w.M_FROM_SLOT))
        target = block_of(new, get(move, w.M_TO_SLOT))
        if source != 0 and target != 0:
            copy(target + get(move, w.M_TO), source + get(move, w.M_FROM), get(move, w.M_SIZE))
    references = get(new, w.Q_REFERENCES)
    for number in range(get(new, w.Q_REFERENCE_COUNT)):
        translate_reference(new, references + number * 24, moves, count)
    carry_forces(old, new, moves, count)


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
        if move != 0:
            force = get(new, w.Q_FORCES) + kept * w.FORCE_SIZE
            copy(force, source, w.FORCE_SIZE)
            put(force, w.F_OFFSET, get(source, w.F_OFFSET) - get(move, w.M_FROM) + get(move, w.M_TO))
            put(force, w.F_OWNER, get(move, w.M_TO_SLOT))
            kept += 1
    put(new, w.Q_FORCE_COUNT, kept)


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


@compiled
def execute(task: int) -> int:
    """Runs the native code of a task; a task without any only ticks."""
    entry = get(task, w.K_ENTRY)
    return 0 if entry == 0 else call_entry(entry, get(task, w.K_BLOCK), get(task, w.K_CONTEXT))


@compiled
def scan_once(slot: int, now_ns: int, wall_ns: int) -> int:
    """A whole scan in virtual time: 0, the code of its fault, or -1 when there is no task to run."""
    engine = get(slot, w.X_ENGINE)
    faults = get(engine, w.E_FAULTS)
    task = begin(slot, 1, now_ns, wall_ns)
    if task == 0:
        return -1
    code = execute(task)
    finish(slot, task, code, now_ns, wall_ns)
    return get(engine, w.E_FAULT_CODE) if get(engine, w.E_FAULTS) != faults else 0
