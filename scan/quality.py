"""Quality of a value: the upper 16 bits of an OPC UA StatusCode (OPC 10000-4 §7.39, OPC 10000-6 annex A)."""

from __future__ import annotations

GOOD = 0x0000
GOOD_LOCAL_OVERRIDE = 0x0096  # forced
UNCERTAIN = 0x4000
UNCERTAIN_LAST_USABLE = 0x4090
BAD = 0x8000
BAD_NO_COMMUNICATION = 0x8031
BAD_WAITING_FOR_INITIAL_DATA = 0x8032
BAD_OUT_OF_SERVICE = 0x808D
BAD_DEVICE_FAILURE = 0x808B
BAD_SENSOR_FAILURE = 0x808C
BAD_NOT_CONNECTED = 0x808A

NAMES = {
    GOOD: "good",
    GOOD_LOCAL_OVERRIDE: "forced",
    UNCERTAIN: "uncertain",
    UNCERTAIN_LAST_USABLE: "uncertain: last usable value",
    BAD: "bad",
    BAD_NO_COMMUNICATION: "bad: no communication",
    BAD_WAITING_FOR_INITIAL_DATA: "bad: waiting for first value",
    BAD_OUT_OF_SERVICE: "bad: out of service",
    BAD_DEVICE_FAILURE: "bad: device failure",
    BAD_SENSOR_FAILURE: "bad: sensor failure",
    BAD_NOT_CONNECTED: "bad: not connected",
}


def is_good(quality: int) -> bool:
    return quality < UNCERTAIN


def is_bad(quality: int) -> bool:
    return quality >= BAD


def name(quality: int) -> str:
    return NAMES.get(quality) or ("good" if is_good(quality) else "bad" if is_bad(quality) else "uncertain")
