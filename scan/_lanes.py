"""Commands and forces inside the engine: taken from the lanes at a scan boundary, under the mutex of the tasks.

Theory. A group is a run of records with ``more`` set on all but the last; its producer shows it whole by one release
of the tail. Here it is judged whole first and then applied whole, so that it takes effect in one scan or not at all.
A group waits, at most one scan long, while a task that could overwrite it is between begin and finish.

What could go wrong. The producer is another process: every place is checked against the block before it is
touched, a tail that cannot be is taken as an empty ring.
"""

from __future__ import annotations

from scan import layout as w
from scan._memory import compiled, copy, get, get_acquire, get_byte, get_half, put, put_byte, put_release
from scan._records import record_command

# ---------------------------------------------------------------- places


@compiled
def block_of(program: int, owner: int) -> int:
    """Address of the block in which ``owner`` (slot, -1 for the shared part) keeps its variables, or 0."""
    if owner < 0:
        return get(program, w.Q_BLOCK)
    if owner >= w.TASKS_MAX:
        return 0
    task = get(program, w.Q_TASKS + owner)
    if task == 0:
        return 0
    return get(task, w.K_BLOCK)


@compiled
def read_place(address: int, size: int, mask: int) -> int:
    """Up to eight bytes as a word; a bit as 0 or 1."""
    if mask != 0:
        return 1 if get_byte(address) & mask else 0
    value = 0
    for index in range(size):
        value |= get_byte(address + index) << (8 * index)
    return value


@compiled
def write_place(address: int, source: int, size: int, mask: int) -> None:
    if mask == 0:
        copy(address, source, size)
    elif get_byte(source) != 0:
        put_byte(address, get_byte(address) | mask)
    else:
        put_byte(address, get_byte(address) & (255 - mask))


@compiled
def writes_to(task: int, offset: int) -> bool:
    """Whether the task copies the shared byte at ``offset`` out at its end."""
    regions = get(task, w.K_WRITES)
    for index in range(get(task, w.K_WRITE_COUNT)):
        start = get(regions, 3 * index)
        if start <= offset < start + get(regions, 3 * index + 1):
            return True
    return False


# ---------------------------------------------------------------- one group


@compiled
def record_at(lane: int, position: int) -> int:
    return lane + w.LANE_HEADER_SIZE + (position & (w.COMMANDS_MAX - 1)) * w.COMMAND_SIZE


@compiled
def group_length(lane: int, head: int, tail: int) -> int:
    """Records of the group at ``head``; a group without an end counts to the tail."""
    position = head
    while position != tail:
        more = get_half(record_at(lane, position) + 8 * w.C_KIND_MORE + 4)
        position += 1
        if more == 0:
            break
    return position - head


@compiled
def is_busy(engine: int, program: int, index: int, owner: int, offset: int) -> bool:
    """Whether a task now running could overwrite the place when it ends."""
    if get(program, w.Q_SINGLE) == 1:
        return False
    slots = get(engine, w.E_TASKS)
    for other in range(w.TASKS_MAX):
        task = get(program, w.Q_TASKS + other)
        running = get(slots + other * 8 * w.SLOT_WORDS, w.X_STARTED_NS) != 0
        if task != 0 and running and other != index:
            if owner == other:
                return True
            if owner < 0 and writes_to(task, offset):
                return True
    return False


@compiled
def find_force(program: int, offset: int, mask: int) -> int:
    """Row of the force on exactly this place, or -1."""
    forces = get(program, w.Q_FORCES)
    for row in range(get(program, w.Q_FORCE_COUNT)):
        force = forces + row * w.FORCE_SIZE
        if get(force, w.F_OFFSET) == offset and get_half(force + 8 * w.F_SIZE_MASK + 4) == mask:
            return row
    return -1


@compiled
def judge_force(program: int, offset: int, size: int, mask: int, kind: int) -> int:
    if size > 8:
        return w.ACK_REFUSED
    found = find_force(program, offset, mask) >= 0
    if kind == w.COMMAND_UNFORCE:
        return w.ACK_APPLIED if found else w.ACK_NOT_FORCED
    # A group may add several: leave room for the longest one.
    if not found and get(program, w.Q_FORCE_COUNT) >= w.FORCES_MAX:
        return w.ACK_TABLE_FULL
    return w.ACK_APPLIED


@compiled
def judge_expectation(record: int, address: int, size: int, mask: int) -> int:
    data = record + w.COMMAND_DATA
    if mask != 0:
        same = (get_byte(data) != 0) == (get_byte(address) & mask != 0)
        return w.ACK_APPLIED if same else w.ACK_EXPECTED_DIFFERS
    for index in range(size):
        if get_byte(data + index) != get_byte(address + index):
            return w.ACK_EXPECTED_DIFFERS
    return w.ACK_APPLIED


@compiled
def judge_record(engine: int, program: int, index: int, record: int) -> int:
    """The acknowledgement that this record alone deserves; 0 = wait for a running task."""
    if get(record, w.C_GENERATION) != get(program, w.Q_GENERATION):
        return w.ACK_STALE
    kind = get_half(record + 8 * w.C_KIND_MORE)
    if kind == w.COMMAND_RESET_STATISTICS:
        return w.ACK_APPLIED
    offset = get(record, w.C_OFFSET)
    size = get_half(record + 8 * w.C_SIZE_MASK)
    mask = get_half(record + 8 * w.C_SIZE_MASK + 4)
    owner = get(record, w.C_OWNER)
    block = block_of(program, owner)
    if block == 0 or offset < 64 or size < 1 or size > w.COMMAND_DATA_SIZE:
        return w.ACK_REFUSED
    if offset > get(program, w.Q_BLOCK_SIZE) - size or mask < 0 or mask > 255 or (mask != 0 and size != 1):
        return w.ACK_REFUSED
    if is_busy(engine, program, index, owner, offset):
        return 0
    if kind == w.COMMAND_FORCE or kind == w.COMMAND_UNFORCE:
        return judge_force(program, offset, size, mask, kind)
    if kind == w.COMMAND_EXPECT:
        return judge_expectation(record, block + offset, size, mask)
    if kind != w.COMMAND_WRITE:
        return w.ACK_REFUSED
    return w.ACK_APPLIED


@compiled
def judge_group(engine: int, program: int, index: int, lane: int, head: int, count: int) -> int:
    verdict = w.ACK_APPLIED
    forces = 0
    for number in range(count):
        record = record_at(lane, head + number)
        one = judge_record(engine, program, index, record)
        if one == 0:
            return 0
        if one != w.ACK_APPLIED and verdict == w.ACK_APPLIED:
            verdict = one
        if get_half(record + 8 * w.C_KIND_MORE) == w.COMMAND_FORCE:
            forces += 1
    if verdict == w.ACK_APPLIED and forces > 1 and get(program, w.Q_FORCE_COUNT) + forces > w.FORCES_MAX:
        return w.ACK_TABLE_FULL
    return verdict


# ---------------------------------------------------------------- forces


@compiled
def set_force(program: int, record: int, now_ns: int) -> None:
    offset = get(record, w.C_OFFSET)
    row = find_force(program, offset, get_half(record + 8 * w.C_SIZE_MASK + 4))
    if row < 0:
        row = get(program, w.Q_FORCE_COUNT)
        put(program, w.Q_FORCE_COUNT, row + 1)
    force = get(program, w.Q_FORCES) + row * w.FORCE_SIZE
    lease_ns = get(record, w.C_LEASE_NS)
    put(force, w.F_ID, get(record, w.C_ID))
    put(force, w.F_OFFSET, offset)
    put(force, w.F_SIZE_MASK, get(record, w.C_SIZE_MASK))
    put(force, w.F_OWNER, get(record, w.C_OWNER))
    put(force, w.F_VALUE, get(record + w.COMMAND_DATA, 0))
    put(force, w.F_EXPIRES_NS, w.FOREVER_NS if lease_ns <= 0 else now_ns + lease_ns)
    copy(force + 8 * w.F_TEXTS, record + w.COMMAND_DATA + 8, w.FORCE_TEXTS_SIZE)


@compiled
def remove_force(program: int, row: int) -> None:
    """Takes a row out and closes the gap: the table keeps the order of the commands."""
    count = get(program, w.Q_FORCE_COUNT) - 1
    forces = get(program, w.Q_FORCES)
    for later in range(row, count):
        force = forces + later * w.FORCE_SIZE
        copy(force, force + w.FORCE_SIZE, w.FORCE_SIZE)
    put(program, w.Q_FORCE_COUNT, count)


@compiled
def hold_force(force: int, address: int) -> None:
    size = get_half(force + 8 * w.F_SIZE_MASK)
    write_place(address, force + 8 * w.F_VALUE, size, get_half(force + 8 * w.F_SIZE_MASK + 4))


@compiled
def keep_actual(force: int, address: int) -> None:
    """Notes what the place would hold without the force."""
    size = get_half(force + 8 * w.F_SIZE_MASK)
    put(force, w.F_ACTUAL, read_place(address, size, get_half(force + 8 * w.F_SIZE_MASK + 4)))


@compiled
def is_input(program: int, offset: int) -> bool:
    start = get(program, w.Q_INPUTS_OFFSET)
    return start <= offset < start + get(program, w.Q_INPUTS_SIZE)


@compiled
def force_before(engine: int, program: int, index: int, now_ns: int) -> None:
    """Ends leases that have run out and holds the rest before the program runs."""
    row = 0
    while row < get(program, w.Q_FORCE_COUNT):
        force = get(program, w.Q_FORCES) + row * w.FORCE_SIZE
        if now_ns >= get(force, w.F_EXPIRES_NS):
            remove_force(program, row)
            node = get(engine, w.E_NODE)
            put(node, w.N_FORCES_EXPIRED, get(node, w.N_FORCES_EXPIRED) + 1)
            continue
        owner = get(force, w.F_OWNER)
        if owner < 0 or owner == index:
            address = block_of(program, owner) + get(force, w.F_OFFSET)
            if is_input(program, get(force, w.F_OFFSET)):
                keep_actual(force, address)
            hold_force(force, address)
        row += 1


@compiled
def force_after(program: int, task: int, index: int) -> None:
    """Notes what the program computed and holds the forces over it."""
    block = get(task, w.K_BLOCK)
    for row in range(get(program, w.Q_FORCE_COUNT)):
        force = get(program, w.Q_FORCES) + row * w.FORCE_SIZE
        owner = get(force, w.F_OWNER)
        offset = get(force, w.F_OFFSET)
        if not is_input(program, offset):
            mine = owner == index or (owner < 0 and writes_to(task, offset))
            if mine or get(program, w.Q_SINGLE) == 1:
                keep_actual(force, block + offset)
                hold_force(force, block + offset)


# ---------------------------------------------------------------- a lane


@compiled
def reset_statistics(engine: int, program: int) -> None:
    for index in range(w.TASKS_MAX):
        task = get(program, w.Q_TASKS + index)
        stats = get(task, w.K_STATS) if task != 0 else 0
        if stats != 0:
            for word in range(w.T_SCANS, w.T_CONSECUTIVE + 1):
                put(stats, word, 0)
            put(stats, w.T_SINCE_WALL_NS, get(task, w.K_WALL_NS))
            for word in range(w.TASK_STATS_HISTOGRAMS, w.TASK_STATS_WORDS):
                put(stats, word, 0)


@compiled
def apply_record(engine: int, program: int, record: int, now_ns: int) -> None:
    kind = get_half(record + 8 * w.C_KIND_MORE)
    offset = get(record, w.C_OFFSET)
    mask = get_half(record + 8 * w.C_SIZE_MASK + 4)
    if kind == w.COMMAND_WRITE:
        size = get_half(record + 8 * w.C_SIZE_MASK)
        block = block_of(program, get(record, w.C_OWNER))
        write_place(block + offset, record + w.COMMAND_DATA, size, mask)
    elif kind == w.COMMAND_FORCE:
        set_force(program, record, now_ns)
    elif kind == w.COMMAND_UNFORCE:
        row = find_force(program, offset, mask)
        if row >= 0:
            remove_force(program, row)
    elif kind == w.COMMAND_RESET_STATISTICS:
        reset_statistics(engine, program)


@compiled
def acknowledge(engine: int, lane: int, identity: int, status: int, scan: int, index: int) -> None:
    tail = get(lane, w.L_ACK_TAIL)
    pending = tail - get_acquire(lane, w.L_ACK_HEAD)
    if pending < 0 or pending >= w.ACKS_MAX:
        put(lane, w.L_ACKS_LOST, get(lane, w.L_ACKS_LOST) + 1)
        node = get(engine, w.E_NODE)
        put(node, w.N_ACKS_LOST, get(node, w.N_ACKS_LOST) + 1)
        return
    acks = lane + w.LANE_HEADER_SIZE + w.COMMANDS_MAX * w.COMMAND_SIZE
    ack = acks + (tail & (w.ACKS_MAX - 1)) * w.ACK_SIZE
    put(ack, 0, identity)
    put(ack, 1, status)
    put(ack, 2, scan)
    put(ack, 3, index)
    put_release(lane, w.L_ACK_TAIL, tail + 1)


@compiled
def serve_lane(engine: int, program: int, index: int, lane: int, now_ns: int) -> None:
    """Applies the groups that wait in a lane, at most ``GROUP_MAX`` records a scan."""
    head = get(lane, w.L_COMMAND_HEAD)
    tail = get_acquire(lane, w.L_COMMAND_TAIL)
    if head == tail:
        return
    if tail < head or tail - head > w.COMMANDS_MAX:
        put_release(lane, w.L_COMMAND_HEAD, tail)
        return
    scan = get(engine, w.E_SCAN)
    node = get(engine, w.E_NODE)
    budget = w.GROUP_MAX
    while head != tail and budget > 0:
        count = group_length(lane, head, tail)
        if count > budget and budget < w.GROUP_MAX:
            break
        verdict = w.ACK_REFUSED
        if count <= w.GROUP_MAX:
            verdict = judge_group(engine, program, index, lane, head, count)
        if verdict == 0:
            break
        for number in range(count):
            record = record_at(lane, head + number)
            if verdict == w.ACK_APPLIED:
                apply_record(engine, program, record, now_ns)
                record_command(engine, index, record, now_ns)
        acknowledge(engine, lane, get(record_at(lane, head), w.C_ID), verdict, scan, index)
        put(node, w.N_COMMANDS, get(node, w.N_COMMANDS) + count)
        head += count
        budget -= count
    put_release(lane, w.L_COMMAND_HEAD, head)
    put(node, w.N_FORCES, get(program, w.Q_FORCE_COUNT))
