"""One scan: frozen inputs in, outputs out. State layout, cycle engine, recorder, replay, shared memory.

The names below are what other packages use. They import neither numba nor llvmlite; ``VirtualEngine`` and the engine
itself (``scan.engine``, ``scan.process``) load the compiled engine when they are asked to run.
"""

from __future__ import annotations

from scan.abi import Application, IecType, Symbol, TaskSpec, decode_application, encode_application
from scan.field_io import HEARTBEAT_TIMEOUT_NS, InputsWriter, Outputs, OutputsReader
from scan.gather import Gather
from scan.iomap import Channel, IoMap
from scan.lane import CommandLane
from scan.problem import Place, Problem, TickworkError, fail
from scan.state import Ack, AckStatus, Counters, FaultRecord, Force, NodeState
from scan.statistics import Histogram, TaskStatistics, bucket_bounds_ns
from scan.values import Value, encode_value, format_value, parse_literal, read_value
from scan.view import Inputs, NodeView, Snapshot, bit_mask, effective_quality
from scan.virtual import ProgramFault, ScanResult, VirtualEngine

__all__ = [
    "HEARTBEAT_TIMEOUT_NS",
    "Ack",
    "AckStatus",
    "Application",
    "Channel",
    "CommandLane",
    "Counters",
    "FaultRecord",
    "Force",
    "Gather",
    "Histogram",
    "IecType",
    "Inputs",
    "InputsWriter",
    "IoMap",
    "NodeState",
    "NodeView",
    "Outputs",
    "OutputsReader",
    "Place",
    "Problem",
    "ProgramFault",
    "ScanResult",
    "Snapshot",
    "Symbol",
    "TaskSpec",
    "TaskStatistics",
    "TickworkError",
    "Value",
    "VirtualEngine",
    "bit_mask",
    "bucket_bounds_ns",
    "decode_application",
    "effective_quality",
    "encode_application",
    "encode_value",
    "fail",
    "format_value",
    "parse_literal",
    "read_value",
]
