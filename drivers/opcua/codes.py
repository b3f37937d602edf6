"""Codes of problems with OPC UA; each has a page under docs/errors/."""

CODES: dict[str, str] = {
    "UA1001": "The OPC UA port is in use or may not be opened",
    "UA1002": "The OPC UA certificate or key cannot be used",
    "UA1003": "The file of OPC UA users cannot be used",
}
