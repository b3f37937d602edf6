"""Field protocols, both directions. ``drivers.protocols`` finds the driver of a ``[[device]]`` table."""
