"""Error codes of the devices; each has a page ``docs/errors/<code>.md``."""

CODES: dict[str, str] = {
    "DV1001": "unknown key in a device table",
    "DV1002": "missing key in a device table",
    "DV1003": "wrong type or value of a key in a device table",
    "DV1004": "invalid location in the process image",
    "DV1005": "two points use the same place in the process image",
    "DV1006": "unknown protocol",
    "DV1007": "a request exceeds the limits of Modbus",
    "DV1008": "a device template cannot be used",
    "DV2001": "no reply from a device in time",
    "DV2002": "a device is not connected",
    "DV2003": "a device answered with an exception",
    "DV2004": "a reply does not match its request",
    "DV2005": "the connection to a device was lost",
    "DV2006": "a reply was damaged on the line",
    "DV2007": "a serial port cannot be used",
    "DV3001": "the simulated plant cannot listen at its address",
    "DV4001": "the Modbus server cannot listen at its address",
    "DV4002": "wrong entry in the map of the Modbus server",
}
