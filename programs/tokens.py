"""Tokens of Structured Text and the words that the parser knows.

A word is a token of kind ``NAME`` whatever it says: whether ``STEP`` opens a step or names a variable is for the
parser to decide, because libraries in use have variables named STEP, SET, TIME, END and OVERRIDE. Only the words
in ``RESERVED`` never are names.
"""

from __future__ import annotations

from dataclasses import dataclass, field

END, NAME, OPERATOR, NUMBER, STRING, WSTRING, TIME, DIRECT = range(8)

KIND_NAMES = {
    END: "the end of the file",
    NAME: "a name",
    OPERATOR: "an operator",
    NUMBER: "a number",
    STRING: "a string",
    WSTRING: "a string",
    TIME: "a time",
    DIRECT: "a direct address",
}

# Keys of tokens that are neither words nor operators; no word or operator is spelt so.
END_KEY, NUMBER_KEY, STRING_KEY, WSTRING_KEY, TIME_KEY, DIRECT_KEY = (
    "<end>", "<number>", "<string>", "<wstring>", "<time>", "<direct>",
)  # fmt: skip


@dataclass(slots=True)
class Tokens:
    """Parallel lists, one entry a token, the last one of kind END.

    ``keys``: words in upper case, operators as they are, a ``*_KEY`` for the rest. ``starts`` and ``ends`` are
    positions. ``comments`` and ``pragmas``: (start, end) of those that stand before a token, by the token's index.
    """

    keys: list[str] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    comments: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    pragmas: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    damaged: set[int] = field(default_factory=set)  # tokens behind something unreadable, which is reported


@dataclass(slots=True)
class Layout:
    """What the parser knows of a source's outer form, for the formatter; all numbers are indices of tokens."""

    blocks: list[tuple[int, int]] = field(default_factory=list)  # the word that opens it, the END word
    line_ends: set[int] = field(default_factory=set)  # behind these a line ends
    tight_colons: set[int] = field(default_factory=set)  # of labels: no space before
    # Of CASE: first token, colon, behind the last token.
    branches: list[tuple[int, int, int]] = field(default_factory=list)
    instruction_lists: list[tuple[int, int]] = field(default_factory=list)  # first token, behind the last


VARIABLE_SECTIONS = frozenset((
    "VAR", "VAR_INPUT", "VAR_OUTPUT", "VAR_IN_OUT", "VAR_TEMP", "VAR_EXTERNAL", "VAR_GLOBAL", "VAR_CONFIG",
    "VAR_ACCESS", "VAR_STAT", "VAR_INST",
))  # fmt: skip
STATEMENT_OPENERS = frozenset((
    "IF", "CASE", "FOR", "WHILE", "REPEAT",
))  # fmt: skip
BLOCK_ENDS = frozenset((
    "END_IF", "END_CASE", "END_FOR", "END_WHILE", "END_REPEAT", "ELSE", "ELSIF", "UNTIL",
))  # fmt: skip
POU_ENDS = frozenset((
    "END_FUNCTION", "END_FUNCTION_BLOCK", "END_PROGRAM", "END_CLASS", "END_METHOD", "END_PROPERTY",
    "END_GET", "END_SET", "END_INTERFACE", "END_ACTION", "END_ACTIONS", "END_TYPE", "END_STRUCT",
    "END_UNION", "END_VAR", "END_CONFIGURATION", "END_RESOURCE", "END_NAMESPACE", "END_STEP",
    "END_TRANSITION", "END_FUNCTIONBLOCK", "END_TEST",
))  # fmt: skip
ENDS = BLOCK_ENDS | POU_ENDS
# Words that open a declaration at the top of a file (and end a body whose END_… is missing).
TOP_LEVEL = frozenset((
    "FUNCTION", "FUNCTION_BLOCK", "FUNCTIONBLOCK", "PROGRAM", "CLASS", "INTERFACE", "TYPE",
    "CONFIGURATION", "NAMESPACE", "VAR_GLOBAL", "VAR_CONFIG", "ACTIONS", "ACTION", "USING",
))  # fmt: skip
OPERATOR_WORDS = frozenset((
    "AND", "OR", "XOR", "MOD", "NOT", "AND_THEN", "OR_ELSE",
))  # fmt: skip
_OTHER_RESERVED = frozenset((
    "THEN", "OF", "TO", "DO", "RETURN", "EXIT", "TRUE", "FALSE", "FUNCTION", "FUNCTION_BLOCK", "ARRAY", "AND", "OR",
    "XOR", "MOD", "NOT",
))  # fmt: skip
RESERVED = STATEMENT_OPENERS | ENDS | VARIABLE_SECTIONS | _OTHER_RESERVED
INTEGER_TYPES = frozenset((
    "SINT", "INT", "DINT", "LINT", "USINT", "UINT", "UDINT", "ULINT", "BYTE", "WORD", "DWORD", "LWORD",
    "BOOL",
))  # fmt: skip
ACCESS_WORDS = frozenset((
    "PUBLIC", "PRIVATE", "PROTECTED", "INTERNAL",
))  # fmt: skip
MODIFIER_WORDS = ACCESS_WORDS | frozenset((
    "ABSTRACT", "FINAL", "OVERRIDE",
))  # fmt: skip
