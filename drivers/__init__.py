"""Field protocols, both directions: a lost device is a quality, never an exception in a scan."""
