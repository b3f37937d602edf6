"""Error codes of MQTT and Sparkplug; each has a page ``docs/errors/<code>.md``."""

CODES: dict[str, str] = {
    "MQ1001": "a topic is not valid",
    "MQ1002": "a broker's address is not valid",
    "MQ1003": "a point of an MQTT device cannot be served as described",
    "MQ1004": "a name is not valid for Sparkplug",
    "MQ2001": "an MQTT broker cannot be reached",
    "MQ2002": "an MQTT broker refused the connection",
    "MQ2003": "a message does not hold what its point expects",
    "MQ2004": "the connection to an MQTT broker was lost",
    "MQ3001": "a Sparkplug payload is damaged",
    "MQ3002": "a Sparkplug command was not carried out",
}
