"""The clocked loop: when a task runs. The one module that sleeps and reads a clock.

Theory. All cyclic tasks share one phase grid on CLOCK_MONOTONIC: IEC time zero is the start of the engine, and a task
is due at whole multiples of its period. The loop sleeps to an absolute time, so errors do not add up.

Rules. A task that is late runs once, for the latest grid point that has passed; the points in between are counted as
skipped. A task that is still running at its next point skips it likewise. Nothing ever runs in a burst. IEC time of a
scan is its grid point, so it is constant in the scan and no clock step moves a timer.

The compiled functions release the interpreter for good: a thread enters ``run`` once and leaves it when it stops.
"""

from __future__ import annotations

from scan import layout as w
from scan._exchange import exchange
from scan._histogram import count_value
from scan._memory import compiled, get, get_acquire, prefetch, prefetch_for_write, put, put_half, put_release
from scan._publish import lock, make_safe, nap, publish_outputs, publish_snapshot, set_state, unlock
from scan._replay import finish_open, replay
from scan._step import begin, execute, fail_scan, finish, read_flag, scan_once
from scan._system import clock_gettime, clock_nanosleep, sem_clockwait, sem_post

MONOTONIC, REALTIME = 1, 0
ABSOLUTE = 1
SECOND_NS = 1_000_000_000
PAGE = 4096
STOP_LATENCY_NS = 50_000_000  # longest sleep, so that a slow task obeys a stop
FREE_PAUSE_MIN_NS = 100_000  # a free-running task leaves at least this, and as much as it took, to others
FREE_PAUSE_MAX_NS = 10_000_000
TRIAL_OVERRUNS = 3  # consecutive ones that end a trial
FAULT_OVERRUN, FAULT_HUNG = 1009, 1011


# ---------------------------------------------------------------- time


@compiled
def read_clock(slot: int, clock: int) -> int:
    clock_gettime(clock, slot + 8 * w.X_SECONDS)
    return get(slot, w.X_SECONDS) * SECOND_NS + get(slot, w.X_NANOSECONDS)


@compiled
def sleep_until(slot: int, until_ns: int) -> None:
    put(slot, w.X_SECONDS, until_ns // SECOND_NS)
    put(slot, w.X_NANOSECONDS, until_ns % SECOND_NS)
    clock_nanosleep(MONOTONIC, ABSOLUTE, slot + 8 * w.X_SECONDS, 0)


@compiled
def is_stopping(engine: int, slot: int) -> bool:
    return get_acquire(engine, w.E_STOP) != 0 or get_acquire(slot, w.X_STOP) != 0


@compiled
def fetch(slot: int, address: int, size: int, until_ns: int) -> None:
    """Asks for the cache lines of an area that a scan writes, a page at a time as long as there is time."""
    for page in range(0, size, PAGE):
        if read_clock(slot, MONOTONIC) >= until_ns:
            return
        for line in range(page, min(page + PAGE, size), w.CACHE_LINE):
            prefetch_for_write(address + line)


@compiled
def fetch_memory(engine: int, slot: int, until_ns: int) -> None:
    """Brings into the caches what the scan will touch, as others have used them since the last scan.

    Only hints: nothing is read or written, so a program that goes away meanwhile does no harm.
    """
    program = get_acquire(engine, w.E_PROGRAM)
    task = get(program, w.Q_TASKS + get(slot, w.X_INDEX))
    if task == 0:
        return
    fetch(slot, get(task, w.K_BLOCK), get(program, w.Q_BLOCK_SIZE), until_ns)
    size = get(program, w.Q_INPUTS_SIZE)
    for area in range(w.Q_INPUTS_GOOD, w.Q_INPUTS_COPY + 1):
        fetch(slot, get(program, area), size, until_ns)
    fetch(slot, get(program, w.Q_INPUTS_RECORDED), size, until_ns)
    ring = get(engine, w.E_RECORDS)
    if ring != 0:
        for line in range(0, PAGE, w.CACHE_LINE):
            place = (get(ring, w.R_TAIL) + line) & (w.RECORDS_CAPACITY - 1)
            prefetch_for_write(ring + w.RECORDS_HEADER_SIZE + place)
    attachment = get_acquire(engine, w.E_INPUTS)
    if attachment != 0:
        for line in range(0, min(get(attachment, w.J_SIZE), PAGE), w.CACHE_LINE):
            prefetch(get(attachment, w.J_IMAGE) + line)
    snapshot = get(program, w.Q_SNAPSHOT)
    due_ns = get(slot, w.X_DUE_NS) - get(engine, w.E_EPOCH_NS)
    if snapshot != 0 and due_ns >= get(engine, w.E_SNAPSHOT_DUE_NS):
        place = ((get(snapshot, w.P_LATEST) + 1) % w.SNAPSHOT_SLOTS) * get(snapshot, w.P_SLOT_SIZE)
        block = snapshot + w.SNAPSHOT_HEADER_SIZE + place + w.SLOT_FORCES + w.FORCES_MAX * w.FORCE_SIZE
        fetch(slot, block, get(program, w.Q_BLOCK_SIZE), until_ns)
    outputs = get(program, w.Q_OUTPUTS)
    if outputs != 0:
        fetch(slot, outputs, w.OUTPUTS_HEADER_SIZE + get(program, w.Q_OUTPUTS_SIZE), until_ns)


@compiled
def wait_for_grid(engine: int, slot: int, lead_ns: int) -> int:
    """Sleeps to ``lead_ns`` before the due time, then makes ready and waits awake; the time, 0 when stopping."""
    due_ns = get(slot, w.X_DUE_NS)
    now_ns = read_clock(slot, MONOTONIC)
    while now_ns < due_ns - lead_ns:
        if is_stopping(engine, slot):
            return 0
        sleep_until(slot, min(due_ns - lead_ns, now_ns + STOP_LATENCY_NS))
        now_ns = read_clock(slot, MONOTONIC)
    if now_ns < due_ns:
        fetch_memory(engine, slot, due_ns)
        now_ns = read_clock(slot, MONOTONIC)
        while now_ns < due_ns:
            now_ns = read_clock(slot, MONOTONIC)
    return 0 if is_stopping(engine, slot) else now_ns


@compiled
def wait_for_event(engine: int, slot: int) -> int:
    """Waits for the semaphore of an event task and sets its due time to the edge."""
    while not is_stopping(engine, slot):
        until_ns = read_clock(slot, MONOTONIC) + STOP_LATENCY_NS
        put(slot, w.X_SECONDS, until_ns // SECOND_NS)
        put(slot, w.X_NANOSECONDS, until_ns % SECOND_NS)
        if sem_clockwait(get(slot, w.X_SEMAPHORE), MONOTONIC, slot + 8 * w.X_SECONDS) == 0:
            put(slot, w.X_DUE_NS, get(slot, w.X_EVENT_NS))
            return 0 if is_stopping(engine, slot) else read_clock(slot, MONOTONIC)
    return 0


@compiled
def wait(engine: int, slot: int, kind: int, lead_ns: int) -> int:
    if kind == w.TASK_EVENT:
        return wait_for_event(engine, slot)
    return wait_for_grid(engine, slot, lead_ns)


# ---------------------------------------------------------------- overruns


@compiled
def skip_missed(slot: int, task: int, now_ns: int) -> int:
    """Moves the due time to the latest grid point that has passed; grid points that were missed."""
    period_ns = get(task, w.K_PERIOD_NS)
    due_ns = get(slot, w.X_DUE_NS)
    missed = (now_ns - due_ns) // period_ns
    put(slot, w.X_DUE_NS, due_ns + missed * period_ns)
    put(slot, w.X_LATE_NS, missed * period_ns)
    return missed


@compiled
def plan_next(engine: int, slot: int, task: int, now_ns: int) -> int:
    """Sets the next grid point after the scan; grid points that passed while it ran."""
    period_ns = get(task, w.K_PERIOD_NS)
    epoch_ns = get(engine, w.E_EPOCH_NS)
    next_ns = epoch_ns + ((get(slot, w.X_DUE_NS) - epoch_ns) // period_ns + 1) * period_ns
    missed = 0
    if now_ns >= next_ns:
        missed = (now_ns - next_ns) // period_ns + 1
        next_ns += missed * period_ns
    put(slot, w.X_DUE_NS, next_ns)
    return missed


@compiled
def count_overrun(engine: int, task: int, missed: int) -> bool:
    """Counts a scan with or without missed grid points; True when it is to be a fault."""
    stats = get(task, w.K_STATS)
    if missed == 0:
        put(stats, w.T_CONSECUTIVE, 0)
        return False
    consecutive = get(stats, w.T_CONSECUTIVE) + 1
    put(stats, w.T_CONSECUTIVE, consecutive)
    put(stats, w.T_OVERRUNS, get(stats, w.T_OVERRUNS) + 1)
    put(stats, w.T_SKIPPED, get(stats, w.T_SKIPPED) + missed)
    if get(engine, w.E_PREVIOUS) != 0 and consecutive >= TRIAL_OVERRUNS:
        return True
    limit = get(task, w.K_OVERRUN_LIMIT)
    if limit == 0 or consecutive < limit:
        return False
    if consecutive == limit:
        put_release(engine, w.E_OVERRUN_ALARMS, get(engine, w.E_OVERRUN_ALARMS) + 1)
    return get(task, w.K_OVERRUN_FAULT) == 1


@compiled
def fail_late(slot: int, task: int, now_ns: int, wall_ns: int) -> int:
    """The overrun policy says fault: like a fault of a scan, between scans."""
    engine = get(slot, w.X_ENGINE)
    lock(engine)
    put(engine, w.E_RUNNING, get(engine, w.E_RUNNING) + 1)
    for word in range(4):
        put(get(task, w.K_CONTEXT), word, 0)
    outcome = fail_scan(slot, task, FAULT_OVERRUN, now_ns, wall_ns)
    unlock(engine)
    return outcome


# ---------------------------------------------------------------- events


@compiled
def raise_events(engine: int, slot: int, now_ns: int) -> None:
    """Wakes the event tasks whose BOOL rose in the scan that has just ended."""
    lock(engine)
    program = get(engine, w.E_PROGRAM)
    slots = get(engine, w.E_TASKS)
    for index in range(get(engine, w.E_SLOTS_USED)):
        task = get(program, w.Q_TASKS + index)
        if task != 0 and get(task, w.K_KIND) == w.TASK_EVENT:
            owner = get(task, w.K_EVENT_OWNER)
            level = 0
            if read_flag(program, owner, get(task, w.K_EVENT_OFFSET), get(task, w.K_EVENT_MASK)):
                level = 1
            if level == 1 and get(task, w.K_EVENT_LAST) == 0:
                target = slots + index * 8 * w.SLOT_WORDS
                put(target, w.X_EVENT_NS, now_ns)
                sem_post(get(target, w.X_SEMAPHORE))
            put(task, w.K_EVENT_LAST, level)
    unlock(engine)


# ---------------------------------------------------------------- a task


@compiled
def count_scan(engine: int, slot: int, task: int, start_ns: int, done_ns: int) -> None:
    """The four histograms of a scan."""
    stats = get(task, w.K_STATS)
    scan = get(task, w.K_SCAN)
    wall_ns = get(task, w.K_WALL_NS)
    due_ns = get(slot, w.X_DUE_NS)
    put(stats, w.T_SCANS, get(stats, w.T_SCANS) + 1)
    latency_ns = start_ns - due_ns + get(slot, w.X_LATE_NS)  # from the grid point for which it was to wake up
    count_value(stats, w.HISTOGRAM_LATENCY, latency_ns, scan, wall_ns)
    count_value(stats, w.HISTOGRAM_EXECUTION, done_ns - start_ns, scan, wall_ns)
    inputs_ns = get(get(engine, w.E_PROGRAM), w.Q_INPUTS_TIME_NS)
    if inputs_ns != 0:
        count_value(stats, w.HISTOGRAM_AGE, done_ns - inputs_ns, scan, wall_ns)
    if get(task, w.K_LAST_DUE_NS) + get(task, w.K_PERIOD_NS) == due_ns:
        error_ns = abs(start_ns - get(task, w.K_LAST_START_NS) - get(task, w.K_PERIOD_NS))
        count_value(stats, w.HISTOGRAM_PERIOD_ERROR, error_ns, scan, wall_ns)
    put(task, w.K_LAST_DUE_NS, due_ns)
    put(task, w.K_LAST_START_NS, start_ns)


@compiled
def pause_free(engine: int, slot: int, done_ns: int) -> None:
    took_ns = done_ns - get(slot, w.X_DUE_NS)
    pause_ns = min(max(took_ns, FREE_PAUSE_MIN_NS), FREE_PAUSE_MAX_NS)
    put(slot, w.X_DUE_NS, done_ns + pause_ns)


@compiled
def run_scan(engine: int, slot: int, start_ns: int) -> int:
    """One scan for the due time in the slot, and the plan for the next."""
    program = get(engine, w.E_PROGRAM)
    task = get(program, w.Q_TASKS + get(slot, w.X_INDEX))
    kind = get(task, w.K_KIND) if task != 0 else w.TASK_CYCLIC
    missed = 0
    put(slot, w.X_LATE_NS, 0)
    if task != 0 and kind == w.TASK_CYCLIC:
        missed = skip_missed(slot, task, start_ns)
    if kind == w.TASK_FREE:
        put(slot, w.X_DUE_NS, start_ns)
    now_ns = get(slot, w.X_DUE_NS) - get(engine, w.E_EPOCH_NS)
    wall_ns = read_clock(slot, REALTIME)
    task = begin(slot, start_ns, now_ns, wall_ns)
    if task == 0:
        return w.RESULT_STOPPED
    code = execute(task)
    outcome = finish(slot, task, code, now_ns, wall_ns)
    done_ns = read_clock(slot, MONOTONIC)
    if outcome != w.RESULT_RUN or code != 0:
        plan_next(engine, slot, task, done_ns)
        return outcome
    count_scan(engine, slot, task, start_ns, done_ns)
    raise_events(engine, slot, done_ns)
    if kind == w.TASK_CYCLIC:
        missed += plan_next(engine, slot, task, done_ns)
        if count_overrun(engine, task, missed):
            return fail_late(slot, task, now_ns, wall_ns)
    elif kind == w.TASK_FREE:
        pause_free(engine, slot, done_ns)
    return outcome


@compiled
def run_task(slot: int) -> int:
    """The life of a task's thread: wait, scan, again; why it ended as a RESULT word."""
    engine = get(slot, w.X_ENGINE)
    outcome = w.RESULT_RUN
    while outcome == w.RESULT_RUN:
        task = get(get_acquire(engine, w.E_PROGRAM), w.Q_TASKS + get(slot, w.X_INDEX))
        kind = get(task, w.K_KIND) if task != 0 else w.TASK_CYCLIC
        lead_ns = get(task, w.K_LEAD_NS) if kind == w.TASK_CYCLIC and task != 0 else 0
        start_ns = wait(engine, slot, kind, lead_ns)
        if start_ns == 0:
            outcome = w.RESULT_STOPPED
        else:
            outcome = run_scan(engine, slot, start_ns)
    return outcome


# ---------------------------------------------------------------- watchdog


@compiled
def watch_slot(engine: int, slot: int, task: int, now_ns: int) -> bool:
    """Aborts a scan that takes too long; False when the task does not keep its time."""
    started_ns = get_acquire(slot, w.X_STARTED_NS)
    limit_ns = get(task, w.K_WATCHDOG_NS)
    if started_ns == 0:
        due_ns = get_acquire(slot, w.X_DUE_NS)
        late = get(task, w.K_KIND) == w.TASK_CYCLIC and now_ns - due_ns > limit_ns + get(task, w.K_PERIOD_NS)
        return not late
    if now_ns - started_ns <= limit_ns:
        return True
    aborted_ns = get(slot, w.X_ABORTED_NS)
    if aborted_ns == 0:
        put_half(get(task, w.K_CONTEXT), 1)
        if get_acquire(slot, w.X_STARTED_NS) == started_ns:
            put(slot, w.X_ABORTED_NS, now_ns)
        else:  # it ended in this instant: the abort was not for the scan that runs now
            put_half(get(task, w.K_CONTEXT), 0)
    elif now_ns - aborted_ns > limit_ns:
        put_release(engine, w.E_HUNG, get(slot, w.X_INDEX) + 1)
    return now_ns - started_ns <= 2 * limit_ns


@compiled
def declare_hung(engine: int) -> None:
    """A task neither ends nor obeys: safe outputs without its consent; the process has to go."""
    program = get(engine, w.E_PROGRAM)
    set_state(engine, w.STATE_FAULT)
    make_safe(program)
    publish_outputs(engine, program, 0)
    put(engine, w.E_FAULT_CODE, FAULT_HUNG)
    put(engine, w.E_FAULT_POU, -1)
    put(engine, w.E_FAULT_LINE, 0)
    put(engine, w.E_FAULT_DETAIL, 0)
    put(engine, w.E_FAULT_TASK, get(engine, w.E_HUNG) - 1)
    put(engine, w.E_FAULT_SCAN, get(engine, w.E_SCAN))
    put(engine, w.E_FAULT_GENERATION, get(program, w.Q_GENERATION))
    put_release(engine, w.E_FAULTS, get(engine, w.E_FAULTS) + 1)


@compiled
def watch_all(engine: int, now_ns: int) -> bool:
    program = get_acquire(engine, w.E_PROGRAM)
    state = get(engine, w.E_STATE)
    if program == 0 or (state != w.STATE_RUNNING and state != w.STATE_TRIAL):
        return True
    well = True
    slots = get(engine, w.E_TASKS)
    for index in range(get(engine, w.E_SLOTS_USED)):
        slot = slots + index * 8 * w.SLOT_WORDS
        task = get(program, w.Q_TASKS + index)
        if task != 0 and get(slot, w.X_ACTIVE) == 1 and not watch_slot(engine, slot, task, now_ns):
            well = False
    return well


@compiled
def watch(engine: int, slot: int) -> int:
    """The watchdog's thread: limits the time of every scan and gives the heartbeat of the outputs."""
    while get_acquire(engine, w.E_WATCH_STOP) == 0:
        now_ns = read_clock(slot, MONOTONIC)
        hung = get(engine, w.E_HUNG)
        if watch_all(engine, now_ns) and hung == 0:
            put_release(get(engine, w.E_NODE), w.N_HEARTBEAT_NS, now_ns)
            program = get_acquire(engine, w.E_PROGRAM)
            outputs = get(program, w.Q_OUTPUTS) if program != 0 else 0
            if outputs != 0:
                put_release(outputs, w.O_HEARTBEAT_NS, now_ns)
        if hung == 0 and get(engine, w.E_HUNG) != 0:
            declare_hung(engine)
        put_release(engine, w.E_WATCH_BEAT_NS, now_ns)
        sleep_until(slot, now_ns + get(engine, w.E_WATCH_PERIOD_NS))
    return 0


# ---------------------------------------------------------------- what the owner of the process asks for


@compiled
def try_swap(engine: int, slot: int, program: int, trial_scans: int, held: bool) -> int:
    budget_ns = get(program, w.Q_PAUSE_MAX_NS)
    lock(engine)
    started_ns = read_clock(slot, MONOTONIC)
    now_ns = started_ns
    if held:
        put(engine, w.E_PAUSE, get(engine, w.E_PAUSE) + 1)
        while get(engine, w.E_RUNNING) != 0 and now_ns - started_ns < budget_ns:
            unlock(engine)
            nap(slot)
            lock(engine)
            now_ns = read_clock(slot, MONOTONIC)
        put(engine, w.E_PAUSE, get(engine, w.E_PAUSE) - 1)
    state = get(engine, w.E_STATE)
    done = 0
    if state == w.STATE_RUNNING and exchange(
        engine, program, trial_scans, now_ns - get(engine, w.E_EPOCH_NS)
    ):
        done = read_clock(slot, MONOTONIC) - started_ns
    unlock(engine)
    return done


@compiled
def swap(engine: int, slot: int, program: int, trial_scans: int) -> int:
    """Exchanges the program between two scans; the pause in ns, 0 when no moment was found.

    First waits for a moment in which no task is in a scan, without holding any back; if tasks overlap all the time,
    holds new scans back, half the shortest period at most, and gives up after a second.
    """
    begun_ns = read_clock(slot, MONOTONIC)
    now_ns = begun_ns
    while now_ns - begun_ns < SECOND_NS:
        held = now_ns - begun_ns > SECOND_NS // 4
        pause_ns = try_swap(engine, slot, program, trial_scans, held)
        if pause_ns != 0:
            put(get(engine, w.E_NODE), w.N_SWAP_PAUSE_NS, pause_ns)
            return pause_ns
        nap(slot)
        now_ns = read_clock(slot, MONOTONIC)
    return 0


@compiled
def publish_state(engine: int, slot: int, state: int, safe: int) -> int:
    """With no task running: enters a state and shows outputs (safe or as they are) and a snapshot."""
    lock(engine)
    program = get(engine, w.E_PROGRAM)
    set_state(engine, state)
    if program != 0:
        if safe != 0:
            make_safe(program)
        now_ns = read_clock(slot, MONOTONIC)
        publish_outputs(engine, program, now_ns)
        publish_snapshot(engine, program, now_ns - get(engine, w.E_EPOCH_NS), read_clock(slot, REALTIME))
    unlock(engine)
    return 0


@compiled
def enter_engine(door: int, engine: int, slot: int, a: int, b: int, c: int) -> int:
    """The one entry of the compiled engine: one function, so one compilation and one cached object."""
    if door == w.DOOR_RUN:
        return run_task(slot)
    if door == w.DOOR_WATCH:
        return watch(engine, slot)
    if door == w.DOOR_SCAN:
        return scan_once(slot, a, b)
    if door == w.DOOR_SWAP:
        return swap(engine, slot, a, b)
    if door == w.DOOR_STATE:
        return publish_state(engine, slot, a, b)
    if door == w.DOOR_EXCHANGE:
        return exchange(engine, a, b, c)
    if door == w.DOOR_REPLAY:
        return replay(engine, a, b)
    if door == w.DOOR_FLUSH:
        return finish_open(engine, 0)
    return -1
