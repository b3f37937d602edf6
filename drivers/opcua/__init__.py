"""OPC UA: the server of a node's variables. ``config`` is light; ``server`` loads the protocol library."""
