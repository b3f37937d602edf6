"""One scan without a clock: begin, call, finish.

Theory. ``begin`` and ``finish`` are the task boundary and hold the mutex of the tasks, a priority-inheriting one
that nobody else ever takes; the program runs between them on memory of its own. The clocked loop (``scan.cycle``)
and virtual time (``scan.virtual``) call the same functions, so a replay runs what production ran.

Order in a scan: inputs, commands, record, force, copy in, program, force, copy out, outputs, snapshot.

Invariant. A faulted scan publishes nothing that it computed.
"""

from __future__ import annotations

from scan import layout as w
from scan._exchange import roll_back
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
from scan._publish import lock, make_safe, nap, publish, publish_outputs, publish_snapshot, set_state, unlock
from scan._records import record_fault, record_finish, record_scan

INPUT_ATTEMPTS = 3  # a writer that is found at work this often was preempted: go on with the last good copy
FAULT_HEALTH = 1010

# words and byte offsets of scan.abi.CONTEXT_DTYPE
CONTEXT_DEPTH, CONTEXT_FIRST_SCAN = 24, 28
CONTEXT_NOW, CONTEXT_WALL, CONTEXT_PERIOD, CONTEXT_SCAN = 4, 5, 6, 7


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
        copy(get(task, w.K_BEFORE), master + shared, get(program, w.Q_SHARED_SIZE))
    set_context(engine, task, now_ns, wall_ns)
    put(engine, w.E_RUNNING, get(engine, w.E_RUNNING) + 1)
    put(slot, w.X_ABORTED_NS, 0)
    put_release(slot, w.X_STARTED_NS, start_ns)
    unlock(engine)
    return task


# ---------------------------------------------------------------- finish


@compiled
def merge_bits(target: int, source: int, before: int, size: int) -> None:
    """Copies the bits that the task changed: the others of a byte may belong to another task."""
    for index in range(size):
        mine = get_byte(source + index)
        changed = mine ^ get_byte(before + index)
        if changed != 0:
            put_byte(target + index, (get_byte(target + index) & (255 - changed)) | (mine & changed))


@compiled
def copy_out(program: int, task: int) -> None:
    """What the task may write of the shared part, and its own instances for snapshot and digest."""
    if get(program, w.Q_SINGLE) == 1:
        return
    master = get(program, w.Q_BLOCK)
    block = get(task, w.K_BLOCK)
    regions = get(task, w.K_WRITES)
    before = get(task, w.K_BEFORE) - get(program, w.Q_SHARED_OFFSET)
    for index in range(get(task, w.K_WRITE_COUNT)):
        offset = get(regions, 3 * index)
        size = get(regions, 3 * index + 1)
        if get(regions, 3 * index + 2) == 0:
            copy(master + offset, block + offset, size)
        else:
            merge_bits(master + offset, block + offset, before + offset, size)
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


# ---------------------------------------------------------------- virtual time


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
