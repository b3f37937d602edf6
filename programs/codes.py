"""Every error code of the language with its title. A code is never reused; its page is ``docs/errors/<code>.md``.

Sections: ST1xxx characters and literals, ST2xxx syntax, ST3xxx names and types, ST4xxx meaning and warnings.
"""

from __future__ import annotations

LEXICAL: dict[str, str] = {
    "ST1001": "Character that has no place in a program",
    "ST1002": "String not closed",
    "ST1003": "Comment not closed",
    "ST1004": "Pragma not closed",
    "ST1005": "Unknown escape in a string",
    "ST1006": "Digits that do not make a number",
    "ST1007": "Number too large",
    "ST1008": "Duration that cannot be read",
    "ST1009": "Date or time of day that does not exist",
    "ST1010": "Direct address that cannot be read",
    "ST1011": "Operator of another language",
    "ST1012": "Source too large",
}

SYNTAX: dict[str, str] = {
    "ST2001": "Something else was expected here",
    "ST2002": "Semicolon missing",
    "ST2003": "END_… missing or another one",
    "ST2004": "ELSE IF instead of ELSIF",
    "ST2005": "= instead of :=",
    "ST2006": ":= instead of =",
    "ST2007": "Misspelt keyword",
    "ST2008": "Keyword used as a name",
    "ST2009": "Form of another dialect",
    "ST2010": "Nested too deep or too long",
    "ST2011": "Expression expected",
    "ST2012": "END_…, ELSE or UNTIL without its beginning",
    "ST2013": "Bracket not closed or not opened",
    "ST2014": "Keyword missing",
    "ST2015": "Declaration behind statements",
    "ST2016": "Type expected",
    "ST2017": "Statement without effect",
    "ST2018": "Assignment to something that is no variable",
    "ST2019": "Words that contradict each other",
    "ST2020": "Text outside of any declaration",
    "ST2022": "Unknown action qualifier",
    "ST2023": "Unknown instruction",
}

# Names, types, constants (declared by the checker).
TYPES: dict[str, str] = {
    "ST3001": "Name not declared",
    "ST3002": "Type not declared",
    "ST3003": "Name declared twice",
    "ST3004": "Wrong kind of name",
    "ST3005": "Declaration contains itself",
    "ST3006": "Types do not fit",
    "ST3007": "Value out of range",
    "ST3008": "Constant expected",
    "ST3009": "Impossible bounds",
    "ST3010": "Index outside the array",
    "ST3011": "Wrong use of an index",
    "ST3012": "No such member",
    "ST3013": "Not assignable",
    "ST3014": "Operator not applicable",
    "ST3015": "Unknown or ambiguous value of an enumeration",
    "ST3016": "Initial value does not fit",
    "ST3017": "Direct address not possible",
    "ST3018": "External variable without its global",
    "ST3019": "Constant depends on itself",
    "ST3020": "Not a reference",
    "ST3021": "No such part",
    "ST3022": "String length not possible",
    "ST3024": "Section not allowed here",
    "ST3025": "ARRAY[*] not possible here",
}

# Meaning, warnings (declared by the checker).
MEANING: dict[str, str] = {
    "ST4001": "No such parameter",
    "ST4002": "Argument given twice",
    "ST4003": "Wrong number of arguments",
    "ST4004": "In-out needs a variable",
    "ST4005": "Not callable",
    "ST4006": "No result",
    "ST4008": "EXIT or CONTINUE outside of a loop",
    "ST4009": "FOR variable is not an integer",
    "ST4010": "CASE label or selector not possible",
    "ST4011": "Recursion",
    "ST4012": "Abstract unit",
    "ST4013": "Interface not implemented",
    "ST4014": "Method does not fit the one it replaces",
    "ST4015": "Base not possible",
    "ST4016": "Member not accessible",
    "ST4017": "THIS or SUPER outside of a block",
    "ST4018": "Property not readable or not writable",
    "ST4019": "Task not possible",
    "ST4020": "Program instance not possible",
    "ST4023": "Division by zero",
    "ST4024": "No memory at run time",
    "ST4025": "Statement not translated",
    "ST4021": "Chart not possible",
    "ST4022": "Instruction list not possible",
    "ST4101": "Variable never used",
    "ST4102": "Variable read but never written",
    "ST4103": "Statement never reached",
    "ST4104": "Digits or sign may be lost",
    "ST4105": "Output with two writers",
    "ST4106": "Global variable written by two tasks",
    "ST4107": "No configuration",
    "ST4108": "Statement without effect",
    "ST4109": "Function without a result",
    "ST4110": "Label of CASE already taken",
    "ST4111": "Input assigned by its own unit",
    "ST4112": "Internal variable used from outside",
    "ST4113": "Constant without a value",
}

# Code generation and blocks written in Python.
NATIVE: dict[str, str] = {
    "ST5001": "Type that a pin of a Python block cannot have",
    "ST5002": "Pin declaration of a Python block that cannot be read",
    "ST5003": "Python block that cannot be compiled",
    "ST5004": "Variables that need too much memory",
    "ST5005": "Fault of the compiler",
    "ST5006": "Python that a file of blocks cannot have",
}

# Artifacts and the folders they are built from.
ARTIFACTS: dict[str, str] = {
    "AR1001": "Not an artifact",
    "AR1002": "Artifact too large",
    "AR1003": "Path in an artifact that is not allowed",
    "AR1004": "Artifact altered",
    "AR1005": "Artifact of an unknown format",
    "AR1006": "Artifact without a trusted signature",
    "AR2001": "Plant that cannot be read",
    "AR2002": "Source pattern without a file",
    "AR2003": "Source that cannot be read",
    "AR2004": "Task setting for an unknown task",
    "AR2005": "Unit that cannot be tested alone",
    "AR2006": "No such mock",
    "AR3001": "Manifest of a library that cannot be read",
    "AR3002": "Library that is missing",
    "AR3003": "Library that was changed",
    "AR3004": "Libraries that do not go together",
    "AR3005": "Library that cannot be read",
}

CODES: dict[str, str] = {**LEXICAL, **SYNTAX, **TYPES, **MEANING, **NATIVE, **ARTIFACTS}
