"""Codes of problems with OPC UA; each has a page under docs/errors/."""

CODES: dict[str, str] = {
    "UA1001": "The OPC UA port is in use or may not be opened",
    "UA1002": "The OPC UA certificate or key cannot be used",
    "UA1003": "The file of OPC UA users cannot be used",
    "UA2001": "A remote OPC UA server does not answer",
    "UA2002": "The certificate of a remote OPC UA server is not trusted",
    "UA2003": "A remote OPC UA server does not offer the security that is asked for",
    "UA2004": "A remote OPC UA server refuses the session or the user",
    "UA2005": "A node of a remote OPC UA server cannot be used",
    "UA2006": "A file for logging in to an OPC UA server cannot be used",
}
