"""Error codes of the edge node; each has a page ``docs/errors/<code>.md``."""

CODES: dict[str, str] = {
    "PL1001": "the plant file is no valid TOML",
    "PL1002": "unknown key in the plant file",
    "PL1003": "missing key in the plant file",
    "PL1004": "wrong type or value of a key in the plant file",
    "PL1005": "number out of range in the plant file",
    "PL1006": "no plant file",
    "PL1007": "no source file matches a pattern",
    "PL1008": "invalid node name",
    "PL1009": "two tables with one name",
    "PL1010": "invalid address of a supervisor",
    "PL1011": "unencrypted link to another machine",
    "PL1012": "two channels write one input",
    "PL2001": "the node runs already",
    "PL2002": "the state directory cannot be written",
}
