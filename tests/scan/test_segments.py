"""Segment files: seqlocks under fire, readers that follow, headers that are refused."""

import os
import pathlib
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scan import Channel, CommandLane, InputsWriter, IoMap, NodeView, OutputsReader, TickworkError, quality
from scan import layout as w
from scan.segments import (
    create_lane,
    create_node,
    create_outputs,
    inputs_path,
    lane_path,
    node_path,
    open_segment,
)
from scan.statistics import bucket_bounds_ns, read_histogram

CHANNELS = IoMap(
    inputs=(
        Channel("a", "d", "in", 0, 2),
        Channel("b", "d", "in", 2, 1, bit=3),
        Channel("c", "d", "in", 4, 4),
    ),
    inputs_size=8,
)


def code_of(directory: pathlib.Path, damage: bytes, at: int) -> str:
    path = node_path(directory)
    data = bytearray(path.read_bytes())
    data[at : at + len(damage)] = damage
    path.write_bytes(data)
    with pytest.raises(TickworkError) as caught:
        NodeView.open(directory)
    return caught.value.code


@pytest.mark.parametrize(
    ("damage", "at", "code"),
    [
        (b"NONSENSE", 8 * w.H_MAGIC, "SC1002"),
        ((99).to_bytes(8, "little"), 8 * w.H_VERSION, "SC1003"),
        ((w.KIND_LANE).to_bytes(8, "little"), 8 * w.H_KIND, "SC1004"),
        ((5).to_bytes(8, "little"), 8 * w.H_SIZE, "SC1004"),
    ],
)
def test_header_when_wrong_then_refused_with_its_code(
    tmp_path: pathlib.Path, damage: bytes, at: int, code: str
) -> None:
    create_node(tmp_path)
    assert code_of(tmp_path, damage, at) == code


def test_file_when_missing_then_said_so(tmp_path: pathlib.Path) -> None:
    with pytest.raises(TickworkError, match="SC1001"):
        NodeView.open(tmp_path)
    with pytest.raises(TickworkError, match="SC1001"):
        CommandLane.open(tmp_path, "gate")


@pytest.mark.parametrize("size", [0, 1, 63, 64, 200])
def test_file_when_cut_then_refused_at_any_length(tmp_path: pathlib.Path, size: int) -> None:
    create_lane(tmp_path, "gate")
    os.truncate(lane_path(tmp_path, "gate"), size)
    with pytest.raises(TickworkError, match="SC1004"):
        CommandLane.open(tmp_path, "gate")


@settings(max_examples=100, deadline=None)
@given(data=st.binary(min_size=1, max_size=300))
def test_file_when_any_bytes_then_one_of_the_codes(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("segment") / "any"
    path.write_bytes(data)
    with pytest.raises(TickworkError) as caught:
        open_segment(path, w.KIND_NODE, size_min=w.NODE_SIZE)
    assert caught.value.code in ("SC1002", "SC1003", "SC1004")


# ---------------------------------------------------------------- inputs


def test_inputs_when_created_then_every_channel_waits(tmp_path: pathlib.Path) -> None:
    create_node(tmp_path)
    InputsWriter.create(tmp_path, CHANNELS)
    inputs = NodeView.open(tmp_path).inputs()
    assert inputs is not None
    assert inputs.quality.tolist() == [quality.BAD_WAITING_FOR_INITIAL_DATA] * 3
    assert inputs.age_ns < 10_000_000_000


def test_inputs_when_published_then_image_quality_and_times_come_together(tmp_path: pathlib.Path) -> None:
    create_node(tmp_path)
    writer = InputsWriter.create(tmp_path, CHANNELS)
    writer.image[:] = np.arange(8)
    writer.quality[:] = (0, quality.UNCERTAIN, 0)
    writer.times[:] = (5, 6, 7)
    view = NodeView.open(tmp_path)
    before = view.inputs()
    writer.publish()
    after = view.inputs()
    assert before is not None and after is not None
    assert before.image.tolist() == [0] * 8 and after.image.tolist() == list(range(8))
    assert (after.quality.tolist(), after.times.tolist()) == ([0, quality.UNCERTAIN, 0], [5, 6, 7])


def test_inputs_when_other_channels_then_a_new_file_else_the_same(tmp_path: pathlib.Path) -> None:
    InputsWriter.create(tmp_path, CHANNELS)
    first = inputs_path(tmp_path).stat().st_ino
    InputsWriter.create(tmp_path, CHANNELS)
    assert inputs_path(tmp_path).stat().st_ino == first
    InputsWriter.create(tmp_path, IoMap(CHANNELS.inputs[:2], inputs_size=8))
    assert inputs_path(tmp_path).stat().st_ino != first


def test_inputs_when_file_is_damaged_then_replaced(tmp_path: pathlib.Path) -> None:
    inputs_path(tmp_path).write_bytes(b"garbage")
    writer = InputsWriter.create(tmp_path, CHANNELS)
    writer.publish()
    assert open_segment(inputs_path(tmp_path), w.KIND_INPUTS, size_min=128).words[w.I_CHANNELS] == 3


def test_inputs_when_written_and_read_at_once_then_no_reader_sees_a_mixture(tmp_path: pathlib.Path) -> None:
    create_node(tmp_path)
    writer = InputsWriter.create(tmp_path, IoMap((), inputs_size=4096))
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number = (number + 1) % 250
            writer.image[:] = number
            writer.publish()

    thread = threading.Thread(target=write)
    thread.start()
    view = NodeView.open(tmp_path)
    whole = 0
    for _ in range(300):
        inputs = view.inputs()
        assert inputs is not None
        whole += int(inputs.image.min() == inputs.image.max())
    stop.set()
    thread.join()
    assert whole == 300


# ---------------------------------------------------------------- outputs


def test_outputs_when_writer_died_in_a_publish_then_not_trusted(tmp_path: pathlib.Path) -> None:
    node = create_node(tmp_path)
    segment = create_outputs(tmp_path, 1, 4)
    node.words[w.N_GENERATION] = 1
    segment.words[w.O_SEQUENCE] = 7
    segment.words[w.O_HEARTBEAT_NS] = time.monotonic_ns() - 10_000_000_000
    outputs = OutputsReader.open(tmp_path).read()
    assert not outputs.fresh and len(outputs.image) == 0 and outputs.generation == 1


def test_outputs_when_writer_never_finishes_but_lives_then_code(tmp_path: pathlib.Path) -> None:
    node = create_node(tmp_path)
    segment = create_outputs(tmp_path, 1, 4)
    node.words[w.N_GENERATION] = 1
    segment.words[w.O_SEQUENCE] = 7
    segment.words[w.O_HEARTBEAT_NS] = time.monotonic_ns() + 60_000_000_000
    with pytest.raises(TickworkError, match="SC1005"):
        OutputsReader.open(tmp_path).read()


# ---------------------------------------------------------------- histograms


def test_buckets_when_listed_then_they_touch_and_are_narrow() -> None:
    bounds = bucket_bounds_ns()
    widths = np.diff(bounds)
    assert bounds[0] == 0 and bounds[-1] == 1 << w.HISTOGRAM_OCTAVES
    assert (widths > 0).all()
    assert (widths[32:] / bounds[32:-1] <= 1 / 16).all()


@given(st.lists(st.integers(0, 1 << 39), min_size=1, max_size=200), st.floats(0.1, 100))
def test_percentile_when_of_any_values_then_within_a_bucket_of_the_true_one(
    values: list[int], percent: float
) -> None:
    words = np.zeros(w.TASK_STATS_WORDS, np.int64)
    histogram = words[w.TASK_STATS_HISTOGRAMS :]
    bounds = bucket_bounds_ns()
    for value in values:
        bucket = int(np.searchsorted(bounds, value, side="right")) - 1
        histogram[w.G_BUCKETS + bucket] += 1
    histogram[w.G_COUNT], histogram[w.G_MAX_NS] = len(values), max(values)
    found = read_histogram(words, 0).percentile_ns(percent)
    rank = min(max(int(np.ceil(len(values) * percent / 100)), 1), len(values))
    true = sorted(values)[rank - 1]
    assert true <= found <= max(true * 1.0626 + 1, true)
