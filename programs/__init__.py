"""Control programs: sources checked and turned into native code with a symbol table."""
