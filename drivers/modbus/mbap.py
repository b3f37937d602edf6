"""The frame of Modbus TCP: the seven-byte MBAP header (Modbus Messaging on TCP/IP V1.0b §3.1.3).

The links and the server follow the stream with these constants in their own loops, as the hot path.
"""

from __future__ import annotations

import struct

from drivers.modbus.pdu import PDU_SIZE_MAX

HEADER = struct.Struct(">HHHB")  # transaction, protocol, length of what follows, unit
HEADER_SIZE = 7
LENGTH_MIN = 2  # unit and function
LENGTH_MAX = PDU_SIZE_MAX + 1
