"""What the engine shows: state, outputs and snapshot; and the mutex of the tasks, under which it shows them."""

from __future__ import annotations

from scan import layout as w
from scan._memory import compiled, copy, fence, get, get_byte, put, put_byte, put_release
from scan._system import clock_nanosleep, pthread_mutex_lock, pthread_mutex_unlock

NAP_NS = 20_000
MONOTONIC = 1


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
