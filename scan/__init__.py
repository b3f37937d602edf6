"""One scan: frozen inputs in, outputs out."""
