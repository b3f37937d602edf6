"""Engineering units as OPC UA names them."""

from __future__ import annotations

from asyncua import ua

_UNECE = "http://www.opcfoundation.org/UA/units/un/cefact"

# UN/CEFACT Recommendation 20 codes of units that plants use most; the id is the code's characters as a number
# (OPC 10000-8 §5.6.4.3).
_UNIT_CODES = {
    "%": "P1", "°C": "CEL", "K": "KEL", "°F": "FAH", "bar": "BAR", "mbar": "MBR", "Pa": "PAL",
    "kPa": "KPA", "l": "LTR", "m3": "MTQ", "m³": "MTQ", "l/s": "G51", "l/min": "L2", "m3/h": "MQH",
    "m³/h": "MQH", "m": "MTR", "mm": "MMT", "cm": "CMT", "s": "SEC", "ms": "C26", "min": "MIN",
    "h": "HUR", "A": "AMP", "mA": "4K", "V": "VLT", "mV": "2Z", "W": "WTT", "kW": "KWT", "kWh": "KWH",
    "Hz": "HTZ", "kg": "KGM", "g": "GRM", "t": "TNE", "N": "NEW", "Nm": "NU", "rpm": "RPM",
    "1/min": "RPM", "m/s": "MTS",
}  # fmt: skip


def engineering_unit(text: str) -> ua.EUInformation:
    """A unit by its usual sign; one without a code of the UNECE keeps its sign and the id -1."""
    code = _UNIT_CODES.get(text, "")
    number = 0
    for character in code:
        number = number << 8 | ord(character)
    return ua.EUInformation(
        NamespaceUri=_UNECE if code else "",
        UnitId=number if code else -1,
        DisplayName=ua.LocalizedText(text),
        Description=ua.LocalizedText(text),
    )
