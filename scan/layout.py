"""Word indexes and record types of everything that threads and processes share with the scan.

Theory. Each structure is a row of little-endian 64-bit words, so that one constant serves the compiled engine
(``get(address, WORD)``), the Python side (``words[WORD]``) and the reader in another process; an aligned word is
read and written whole on every CPU that we run on. Bytes that are not words (images, blocks, texts) follow behind
a structure at a place that a word of it tells.

Invariants. Numbers in segment files are a wire format between processes of possibly different versions: a change
of any index below needs a new ``LAYOUT_VERSION``. Words of writers in different threads never share a cache line
where it matters (rings).
"""

from __future__ import annotations

import numpy as np

LAYOUT_VERSION = 1
MAGIC = 0x314745534B434954  # b"TICKSEG1"
CACHE_LINE = 64

# ---------------------------------------------------------------- header of every segment file (8 words)

H_MAGIC, H_VERSION, H_KIND, H_SIZE, H_GENERATION, H_PID, H_CREATED_WALL_NS, H_SPARE = range(8)
HEADER_WORDS = 8

KIND_NODE, KIND_INPUTS, KIND_OUTPUTS, KIND_SNAPSHOT, KIND_STATS, KIND_LANE, KIND_RECORDS = range(1, 8)

# ---------------------------------------------------------------- node: state, heartbeat, counters

(
    N_STATE,  # NodeState
    N_GENERATION,  # of the running program; its files carry this number in their names
    N_HEARTBEAT_NS,  # monotonic, by the watchdog thread
    N_PID,
    N_STARTED_WALL_NS,
    N_SCAN,  # scans of all tasks since the process started
    N_SNAPSHOTS,
    N_COMMANDS,
    N_ACKS_LOST,
    N_RECORDS_LOST,
    N_INPUTS_TORN,  # scans that fell back to the last good copy of the inputs
    N_INPUTS_STALE,  # scans that ran with inputs whose writer had stopped
    N_FORCES,
    N_FORCES_EXPIRED,
    N_SWAPS,
    N_ROLLBACKS,
    N_SWAP_PAUSE_NS,  # time for which the last swap held the tasks at their boundary
    N_TRIAL_LEFT,
    N_FAULTS,  # counts up after the fault words and texts are complete
    N_FAULT_CODE,
    N_FAULT_LINE,
    N_FAULT_DETAIL,
    N_FAULT_SCAN,
    N_FAULT_WALL_NS,
    N_FAULT_GENERATION,
) = range(HEADER_WORDS, HEADER_WORDS + 25)
NODE_TEXTS = 512  # byte offset of the texts: task, POU, file
NODE_TEXT_SIZE = 160
NODE_SIZE = 1024

# ---------------------------------------------------------------- inputs: written by the field process

(
    I_SEQUENCE,  # odd while the writer is at work
    I_HEARTBEAT_NS,  # monotonic time of the last publish
    I_IMAGE_OFFSET,
    I_IMAGE_SIZE,
    I_CHANNELS,
    I_QUALITY_OFFSET,  # uint16[channels]
    I_TIMES_OFFSET,  # int64[channels], wall ns
    I_TABLE_OFFSET,  # CHANNEL_DTYPE[channels]; never changes in a file
) = range(HEADER_WORDS, HEADER_WORDS + 8)
INPUTS_HEADER_SIZE = 128

CHANNEL_DTYPE = np.dtype([("offset", "<u4"), ("size", "<u2"), ("bit", "i1"), ("spare", "u1")])

# ---------------------------------------------------------------- outputs: read by the field process

(
    O_SEQUENCE,
    O_HEARTBEAT_NS,  # monotonic, by the watchdog thread as long as every task keeps its time
    O_SCAN,
    O_STATE,  # NodeState
    O_IMAGE_OFFSET,
    O_IMAGE_SIZE,
) = range(HEADER_WORDS, HEADER_WORDS + 6)
OUTPUTS_HEADER_SIZE = 128

# ---------------------------------------------------------------- snapshot: triple buffer

P_LATEST, P_SLOTS_OFFSET, P_SLOT_SIZE, P_BLOCK_SIZE = range(HEADER_WORDS, HEADER_WORDS + 4)
SNAPSHOT_HEADER_SIZE = 128
SNAPSHOT_SLOTS = 3
# words of a slot; forces and block follow
S_SEQUENCE, S_SCAN, S_MONO_NS, S_WALL_NS, S_NOW_NS, S_FORCES, S_STATE, S_RUNNING = range(8)
SLOT_FORCES = 64  # byte offset of FORCE_DTYPE[FORCES_MAX] in a slot
FORCES_MAX = 256

# A force as the engine holds it and as the snapshot shows it. ``mask`` is 0 for whole bytes.
FORCE_DTYPE = np.dtype(
    {
        "names": ["id", "offset", "size", "mask", "owner", "value", "actual", "expires_ns", "who", "why"],
        "formats": ["<i8", "<i8", "<i4", "<i4", "<i8", "<i8", "<i8", "<i8", "S24", "S40"],
        "offsets": [0, 8, 16, 20, 24, 32, 40, 48, 56, 80],
        "itemsize": 120,
    }
)
F_ID, F_OFFSET, F_SIZE_MASK, F_OWNER, F_VALUE, F_ACTUAL, F_EXPIRES_NS, F_TEXTS = range(8)
FORCE_SIZE = 120
FORCE_TEXTS_SIZE = 64
FOREVER_NS = (1 << 63) - 1

# ---------------------------------------------------------------- statistics

HISTOGRAM_BITS = 4  # sub-buckets an octave as a power of two: 16, so a bucket is at most 6.25 % wide
HISTOGRAM_OCTAVES = 40  # up to 2**40 ns, 18 minutes; longer values count in the last bucket
HISTOGRAM_BUCKETS = ((HISTOGRAM_OCTAVES - HISTOGRAM_BITS) << HISTOGRAM_BITS) + (1 << HISTOGRAM_BITS)
G_COUNT, G_SUM_NS, G_MAX_NS, G_MAX_SCAN, G_MAX_WALL_NS, G_BUCKETS = range(6)
HISTOGRAM_WORDS = G_BUCKETS + HISTOGRAM_BUCKETS

# words of one task; four histograms follow
T_SCANS, T_OVERRUNS, T_SKIPPED, T_CONSECUTIVE, T_SINCE_WALL_NS, T_PERIOD_NS, T_PRIORITY, T_REALTIME = range(8)
TASK_STATS_HISTOGRAMS = 8
HISTOGRAM_LATENCY, HISTOGRAM_EXECUTION, HISTOGRAM_AGE, HISTOGRAM_PERIOD_ERROR = range(4)
TASK_STATS_WORDS = TASK_STATS_HISTOGRAMS + 4 * HISTOGRAM_WORDS
A_TASKS, A_TASKS_OFFSET, A_NAMES_OFFSET = range(HEADER_WORDS, HEADER_WORDS + 3)
STATS_HEADER_SIZE = 128
TASK_NAME_SIZE = 64
TASKS_MAX = 32

# ---------------------------------------------------------------- lane: commands in, acknowledgements out

L_COMMANDS_OFFSET, L_ACKS_OFFSET = HEADER_WORDS, HEADER_WORDS + 1
L_COMMAND_TAIL = 16  # producer
L_COMMAND_HEAD = 24  # engine
L_ACK_TAIL = 32  # engine
L_ACK_HEAD = 40  # producer
L_ACKS_LOST = 33
LANE_HEADER_SIZE = 384
COMMANDS_MAX = 1024  # ring length, a power of two
ACKS_MAX = 4096  # ring length, a power of two
GROUP_MAX = 256  # records that take effect in one scan; bounds what a producer can cost the scan

COMMAND_WRITE, COMMAND_FORCE, COMMAND_UNFORCE, COMMAND_EXPECT, COMMAND_RESET_STATISTICS = range(1, 6)
COMMAND_DTYPE = np.dtype(
    {
        "names": ["id", "generation", "kind", "more", "offset", "size", "mask", "owner", "lease_ns", "data"],
        "formats": ["<i8", "<i8", "<i4", "<i4", "<i8", "<i4", "<i4", "<i8", "<i8", "V80"],
        "offsets": [0, 8, 16, 20, 24, 32, 36, 40, 48, 56],
        "itemsize": 136,
    }
)
C_ID, C_GENERATION, C_KIND_MORE, C_OFFSET, C_SIZE_MASK, C_OWNER, C_LEASE_NS, C_DATA = range(8)
COMMAND_SIZE = 136
COMMAND_DATA_SIZE = 80
COMMAND_DATA = 56

ACK_APPLIED, ACK_STALE, ACK_REFUSED, ACK_EXPECTED_DIFFERS, ACK_TABLE_FULL, ACK_NOT_FORCED = range(1, 7)
ACK_DTYPE = np.dtype([("id", "<i8"), ("status", "<i8"), ("scan", "<i8"), ("task", "<i8")])
ACK_SIZE = 32

# ---------------------------------------------------------------- records: what the recorder drains

R_DATA_OFFSET, R_CAPACITY = HEADER_WORDS, HEADER_WORDS + 1
R_TAIL = 16  # engine: bytes written since the file was made
R_LOST = 17  # records that found no room
R_ENABLED = 18  # reader: counts up with each reader that attaches; 0 = nobody listens
R_HEAD = 24  # reader: bytes consumed, that is kept for good
R_SESSION = 25  # reader: names a run of records without a gap; the next reader goes on with it
R_LOST_TOLD = 26  # reader: how many of R_LOST are marked in the recording
RECORDS_HEADER_SIZE = 256
RECORDS_CAPACITY = 1 << 22  # a power of two
# First word of a record: size in bytes << 8 | kind. All records: head, scan, slot, now_ns.
# SCAN: wall_ns, flags, changes, then (word of %I, value) pairs. COMMAND: the COMMAND_DTYPE bytes, status.
# START: generation, scans of trial. FAULT: code, pou, line, detail, generation. FINISH: slots still in a scan.
# The flags of SCAN tell from RECORD_RUNNING_SHIFT on which slots were in a scan when it began: a scan that is not among
# them has ended before. A scan in which another one began ends with a FINISH record, which tells the same.
RECORD_SCAN, RECORD_COMMAND, RECORD_START, RECORD_FAULT, RECORD_FINISH = range(1, 6)
RECORD_HEAD_WORDS = 4
INPUT_ROW_WORDS = 64  # images of %I are padded to rows of this length: one is compared at once
RECORD_RUNNING_SHIFT = 8
RECORD_FLAG_FULL = 1  # the pairs are the whole image: for a new reader, after a swap, after a loss
RECORD_FLAG_FIRST_SCAN = 2
RECORD_FLAG_CUT = 4  # it does not follow from the records before: some were lost, or the program was started

# ---------------------------------------------------------------- memory of the engine (one process, never a file)

STATE_EMPTY, STATE_STOPPED, STATE_RUNNING, STATE_TRIAL, STATE_FAULT = range(5)

(
    E_STATE,
    E_STOP,  # set by the owner: tasks leave at their next boundary
    E_PAUSE,  # set by a swap: tasks wait at their boundary
    E_RUNNING,  # tasks between begin and finish
    E_PROGRAM,  # address of the running PROGRAM
    E_PREVIOUS,  # address of the program to come back to while on trial, else 0
    E_TRIAL_LEFT,  # scans
    E_EPOCH_NS,  # monotonic time of IEC time zero: the start of the phase grid
    E_SCAN,
    E_INPUTS,  # address of an attachment (J words), 0 = none
    E_INPUTS_SEEN,  # attachment that the last begin used; the owner may unmap others
    E_INPUTS_TIMEOUT_NS,
    E_NODE,  # address of the node segment (or of private words without one)
    E_LANES,  # addresses of lanes: E_LANES, E_LANES + 1
    E_LANE_PARENT,
    E_RECORDS,
    E_TASKS,  # address of TASKS_MAX slots
    E_MUTEX,  # address of the pthread mutex
    E_CLOCKED,  # 1: threads and a mutex; 0: virtual time, one caller
    E_WATCH_PERIOD_NS,
    E_FAULTS,  # counts up when the words below are complete
    E_FAULT_CODE,
    E_FAULT_POU,
    E_FAULT_LINE,
    E_FAULT_DETAIL,
    E_FAULT_TASK,  # slot
    E_FAULT_SCAN,
    E_FAULT_WALL_NS,
    E_FAULT_GENERATION,
    E_HUNG,  # slot + 1 of a task that did not obey its abort
    E_SNAPSHOT_DUE_NS,
    E_WATCH_BEAT_NS,
    E_OVERRUN_ALARMS,
    E_WATCH_STOP,
    E_RECORDS_SEEN,  # R_ENABLED when the last full image was written
    E_SLOTS_USED,
    E_WALL_NS,  # of the scan begun last
    E_RECORDS_CUT,  # 1: the next SCAN record does not follow from those before it
) = range(38)
ENGINE_WORDS = 48

(
    Q_GENERATION,
    Q_BLOCK,  # master block
    Q_BLOCK_SIZE,
    Q_SHARED_OFFSET,
    Q_SHARED_SIZE,
    Q_INPUTS_OFFSET,
    Q_INPUTS_SIZE,
    Q_OUTPUTS_OFFSET,
    Q_OUTPUTS_SIZE,
    Q_OUTPUTS,  # address of the outputs segment, 0 = none
    Q_SNAPSHOT,  # address of the snapshot segment, 0 = none
    Q_SNAPSHOT_INTERVAL_NS,
    Q_FORCES,  # address of the force table
    Q_FORCE_COUNT,
    Q_SAFE,  # address of the safe image, then of its mask (same size each)
    Q_SAFE_MASK,
    Q_TASK_COUNT,
    Q_SINGLE,  # 1: the one task works in the master block itself
    Q_MOVES,  # address of the move list from the previous program
    Q_MOVE_COUNT,
    Q_REFERENCES,  # address of offsets of REF variables that the moves carried over
    Q_REFERENCE_COUNT,
    Q_INPUTS_GOOD,  # address: last good copy of %I
    Q_INPUTS_COPY,  # address: the copy being taken
    Q_INPUTS_TIME_NS,  # monotonic publish time of the good copy
    Q_INPUTS_RECORDED,  # address: %I as last recorded
    Q_HEALTH_OFFSET,  # of a BOOL that is TRUE while the program feels well, -1 = none
    Q_HEALTH_MASK,
    Q_HEALTH_OWNER,
    Q_PAUSE_MAX_NS,  # longest time that a swap to this program may hold tasks back
    Q_TASKS,  # TASKS_MAX addresses of K structures, by slot, 0 = none
) = range(31)
PROGRAM_WORDS = Q_TASKS + TASKS_MAX

# an attachment of the inputs segment: addresses and a size that were checked when it was attached
J_SEGMENT, J_IMAGE, J_SIZE = range(3)
ATTACHMENT_WORDS = 4

# a move: bytes from a block of the old program to a block of the new one
M_FROM, M_TO, M_SIZE, M_FROM_SLOT, M_TO_SLOT, M_CONVERT = range(6)  # slot -1: the shared part
MOVE_WORDS = 6
# M_CONVERT: 0 = copy, else how one scalar of M_SIZE bytes becomes one of (M_CONVERT >> 8) bytes
CONVERT_UNSIGNED, CONVERT_SIGNED, CONVERT_REAL, CONVERT_UNSIGNED_TO_REAL, CONVERT_SIGNED_TO_REAL = range(1, 6)

(
    K_ENTRY,
    K_BLOCK,
    K_CONTEXT,
    K_KIND,
    K_PERIOD_NS,
    K_STATS,  # address of T words
    K_WRITES,  # address of (offset, size, by bits) triples: shared bytes copied out
    K_WRITE_COUNT,
    K_OWNED,  # address of (offset, size) pairs: instance bytes of this task
    K_OWNED_COUNT,
    K_WATCHDOG_NS,
    K_OVERRUN_LIMIT,  # consecutive overruns; 0 = count only
    K_OVERRUN_FAULT,  # 1: fault at the limit, 0: alarm
    K_EVENT_OFFSET,  # of the BOOL, -1 = not an event task
    K_EVENT_MASK,  # 0 = whole byte
    K_EVENT_OWNER,  # slot, -1 = shared
    K_EVENT_LAST,
    K_FIRST_SCAN,
    K_WALL_NS,
    K_SCAN,
    K_LAST_START_NS,
    K_LAST_DUE_NS,
    K_BEFORE,  # address: the shared part as it was copied in
    K_LEAD_NS,  # the task wakes up this much before it is due, fetches its memory and looks at the clock
) = range(24)
TASK_WORDS = 32
TASK_CYCLIC, TASK_EVENT, TASK_FREE = range(3)

# a slot: what belongs to a thread, whichever program runs
(
    X_STOP,
    X_STARTED_NS,  # monotonic start of the running scan, 0 = at a boundary
    X_ABORTED_NS,
    X_DUE_NS,
    X_SEMAPHORE,
    X_EVENT_NS,
    X_ENGINE,
    X_INDEX,
    X_GENERATION,  # program of the running scan
    X_RESULT,
    X_ACTIVE,  # a thread runs in this slot
    X_SECONDS,  # a timespec for the thread's own calls
    X_NANOSECONDS,
    X_LATE_NS,  # from the first grid point that was missed to that of the scan
) = range(14)
SLOT_WORDS = 16

# results of a task loop
RESULT_RUN, RESULT_STOPPED, RESULT_FAULT = range(3)

# the doors of the compiled engine
(
    DOOR_RUN,
    DOOR_WATCH,
    DOOR_SCAN,
    DOOR_SWAP,
    DOOR_STATE,
    DOOR_EXCHANGE,
    DOOR_REPLAY,
    DOOR_FLUSH,
) = range(8)
