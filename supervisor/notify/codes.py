"""Codes of notifications."""

CODES: dict[str, str] = {
    "SV7001": "Notification settings not usable",
    "SV7002": "Still in use",
    "SV7003": "Message not delivered",
    "SV7004": "Stored secret not readable",
}
