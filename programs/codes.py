"""Every error code of the language with its title. A code is never reused; its page is
``docs/errors/<code>.md``.

Sections: ST1xxx characters and literals, ST2xxx syntax, ST3xxx names and types, ST4xxx meaning and warnings,
ST9xxx limits.
"""

from __future__ import annotations

LEXICAL: dict[str, str] = {}

SYNTAX: dict[str, str] = {}

# Names, types, constants (declared by the checker).
TYPES: dict[str, str] = {}

# Meaning, warnings (declared by the checker).
MEANING: dict[str, str] = {}

CODES: dict[str, str] = {**LEXICAL, **SYNTAX, **TYPES, **MEANING}
