"""Random programs as text: correct by construction, over as much of the language as fits, and bound to end.

``program(seed, tag)`` writes one PROGRAM with functions, blocks, a class hierarchy, a chart and an instruction list of
its own; all names carry ``tag``, so that many stand in one source. ``application(seeds)`` adds a task for each.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from programs.blocks import STANDARD_BLOCKS

SIGNED, UNSIGNED = ("SINT", "INT", "DINT", "LINT"), ("USINT", "UINT", "UDINT", "ULINT")
BITS, REALS = ("BYTE", "WORD", "DWORD", "LWORD"), ("REAL", "LREAL")
DURATIONS, DATES, DAYTIMES, MOMENTS = ("TIME", "LTIME"), ("DATE", "LDATE"), ("TOD", "LTOD"), ("DT", "LDT")
TIMES = (*DURATIONS, *DATES, *DAYTIMES, *MOMENTS)
TEXTS = ("STRING[9]", "STRING", "WSTRING[7]")
WHOLE = (*SIGNED, *UNSIGNED)
NUMBERS = (*WHOLE, *REALS)
SCALARS = ("BOOL", *BITS, *NUMBERS, *TIMES)
WIDTH = {"SINT": 8, "INT": 16, "DINT": 32, "LINT": 64, "BYTE": 8, "WORD": 16, "DWORD": 32, "LWORD": 64}
WIDTH |= {f"U{name}": WIDTH[name] for name in SIGNED}
FUNCTIONS_OF_REAL = ("SQRT", "LN", "LOG", "EXP", "SIN", "COS", "TAN", "ATAN", "ABS", "ASIN", "ACOS")
# The wall clock is no part of a scan's result, and times of blocks must be set as pins.
BLOCKS = tuple(name for name in STANDARD_BLOCKS if name != "RTC")
QUALIFIERS = (
    "N",
    "R",
    "S",
    "P",
    "P0",
    "P1",
    "L, T#45ms",
    "D, T#30ms",
    "SD, T#25ms",
    "DS, T#35ms",
    "SL, T#50ms",
)


class Writer:
    """The text of one program."""

    def __init__(self, seed: int, tag: str) -> None:
        self.random = random.Random(seed)
        self.tag = tag
        self.units: list[str] = []
        self.names: dict[str, list[str]] = {}  # readable and writable, by type
        self.calls: dict[str, list[Callable[[int], str]]] = {}
        self.counters: list[tuple[str, str]] = []
        self.extra: list[Callable[[int], str]] = []  # statements that only this program can have
        self.loops = 0

    def pick(self, items: Sequence[str]) -> str:
        return items[self.random.randrange(len(items))]

    def chance(self, part: float) -> bool:
        return self.random.random() < part

    # -- literals

    def literal(self, kind: str) -> str:
        number = self.random.randrange
        if kind == "BOOL":
            return self.pick(("TRUE", "FALSE"))
        if kind in BITS:
            return f"{kind}#16#{self.random.getrandbits(self.random.randrange(1, WIDTH[kind] + 1)):X}"
        if kind in REALS:
            return f"{kind}#" + self.pick(
                ("0.0", "1.0", "-2.5", "0.1", "1.0E10", "-1.0E-10", "3.0E38", "16777216.0")
            )
        if kind in WHOLE:
            return f"{kind}#{self.whole(kind)}"
        prefix = {"TIME": "T", "LTIME": "LTIME", "DATE": "D", "LDATE": "LD"}.get(kind, kind)
        if kind in DURATIONS:
            return f"{prefix}#" + self.pick(("0s", "1ms", "-20ms", "1s500ms", "2h3m", "40ms", "-1d", "99d"))
        if kind in DATES:
            return f"{prefix}#{number(1970, 2100)}-{number(1, 13):02}-{number(1, 29):02}"
        clock = f"{number(24):02}:{number(60):02}:{number(60):02}"
        if kind in DAYTIMES:
            return f"{prefix}#{clock}.{number(1000):03}"
        if kind in MOMENTS:
            return f"{prefix}#{number(1970, 2100)}-{number(1, 13):02}-{number(1, 29):02}-{clock}"
        quote = '"' if kind.startswith("W") else "'"
        return quote + "".join(self.pick(tuple("aB0 _-9.T#")) for _ in range(number(7))) + quote

    def small(self, kind: str) -> str:
        return f"{kind}#{self.random.randrange(1, 100)}" + (".5" if kind in REALS else "")

    def whole(self, kind: str) -> int:
        bits = WIDTH[kind]
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind in SIGNED else (0, (1 << bits) - 1)
        edges = (low, low + 1, -1, 0, 1, 2, 3, 7, 10, 100, high - 1, high)
        return max(low, min(high, edges[self.random.randrange(len(edges))]))

    # -- expressions

    def expression(self, kind: str, depth: int) -> str:
        """Text of an expression of exactly this type."""
        if depth <= 0 or self.chance(0.15):
            return self.leaf(kind)
        forms: list[Callable[[str, int], str]] = [self._chosen, self._converted, self._called]
        if kind == "BOOL":
            forms += [self._comparison, self._comparison, self._logic, self._logic, self._bit]
        elif kind in BITS:
            forms += [self._bits, self._bits]
        elif kind in REALS:
            forms += [self._arithmetic, self._arithmetic, self._of_real]
        elif kind in WHOLE:
            forms += [self._arithmetic, self._arithmetic, self._arithmetic, self._measured]
        elif kind in TIMES:
            forms += [self._time, self._time]
        else:
            forms = [self._edited, self._edited, self._text]
        return forms[self.random.randrange(len(forms))](kind, depth - 1)

    def leaf(self, kind: str) -> str:
        names = self.names.get(kind)
        return self.pick(names) if names and self.chance(0.75) else self.literal(kind)

    def _chosen(self, kind: str, depth: int) -> str:
        a, b, c = (self.expression(kind, depth) for _ in range(3))
        form = self.pick(("SEL", "MUX", "MIN", "MAX", "LIMIT"))
        if form == "SEL":
            return f"SEL({self.expression('BOOL', depth)}, {a}, {b})"
        if form == "MUX":
            return f"MUX({self.expression('INT', depth)}, {a}, {b}, {c})"
        return f"LIMIT({a}, {b}, {c})" if form == "LIMIT" else f"{form}({a}, {b})"

    def _converted(self, kind: str, depth: int) -> str:
        sources = ["BOOL", *BITS, *NUMBERS]
        if kind in TIMES:
            sources = {
                "DATE": ["DT"],
                "TOD": ["DT"],
                "LDATE": ["LDT"],
                "LTOD": ["LDT"],
                "TIME": ["LINT", "DINT"],
            }.get(kind, [])
        if not sources or kind in TEXTS:
            return self.leaf(kind)
        if kind in WHOLE and self.chance(0.2):
            source = self.pick(REALS)
            return f"{source}_TRUNC_{kind}({self.expression(source, depth)})"
        if kind in NUMBERS and self.chance(0.1):
            return f"STRING_TO_{kind}({self.expression('STRING', depth)})"
        source = self.pick([one for one in sources if one != kind])
        return f"{source}_TO_{kind}({self.expression(source, depth)})"

    def _called(self, kind: str, depth: int) -> str:
        made = self.calls.get(kind)
        return made[self.random.randrange(len(made))](depth) if made else self.leaf(kind)

    def _comparison(self, kind: str, depth: int) -> str:
        of = self.pick((*SCALARS, "STRING", "WSTRING[7]"))
        op = self.pick(("=", "<>", "<", "<=", ">", ">="))
        return f"({self.expression(of, depth)} {op} {self.expression(of, depth)})"

    def _logic(self, kind: str, depth: int) -> str:
        if self.chance(0.2):
            return f"NOT {self.expression('BOOL', depth)}"
        op = self.pick(("AND", "OR", "XOR", "AND_THEN", "OR_ELSE", "&"))
        return f"({self.expression('BOOL', depth)} {op} {self.expression('BOOL', depth)})"

    def _bit(self, kind: str, depth: int) -> str:
        of = self.pick(BITS)
        names = self.names.get(of)
        return f"{self.pick(names)}.{self.random.randrange(WIDTH[of])}" if names else self.leaf(kind)

    def _bits(self, kind: str, depth: int) -> str:
        form = self.pick(("AND", "OR", "XOR", "NOT", "SHL", "SHR", "ROL", "ROR"))
        value = self.expression(kind, depth)
        if form == "NOT":
            return f"(NOT {value})"
        if form in ("AND", "OR", "XOR"):
            return f"({value} {form} {self.expression(kind, depth)})"
        count = str(self.random.randrange(70)) if self.chance(0.5) else self.expression("UINT", depth)
        return f"{form}({value}, {count})"

    def _arithmetic(self, kind: str, depth: int) -> str:
        if kind in (*SIGNED, *REALS) and self.chance(0.15):
            return self.pick((f"(-{self.leaf_name(kind)})", f"ABS({self.expression(kind, depth)})"))
        ops = ("+", "-", "*", "/") if kind in REALS else ("+", "-", "*", "/", "MOD")
        op = self.pick(ops)
        right = self.expression(kind, depth)
        if op in ("/", "MOD") and kind in WHOLE:
            # A divisor that is 0 ends the program: seldom, and never as a constant, which the checker refuses.
            seldom = self.chance(0.04) and kind in self.names
            right = self.leaf_name(kind) if seldom else f"MAX({right}, {self.small(kind)})"
        return f"({self.expression(kind, depth)} {op} {right})"

    def leaf_name(self, kind: str) -> str:
        return self.pick(self.names.get(kind) or [f"({self.literal(kind)})"])

    def _of_real(self, kind: str, depth: int) -> str:
        if self.chance(0.15):
            return f"({self.expression(kind, depth)} ** {self.expression(kind, depth)})"
        return f"{self.pick(FUNCTIONS_OF_REAL)}({self.expression(kind, depth)})"

    def _measured(self, kind: str, depth: int) -> str:
        form = self.pick(("LEN", "FIND", "BCD", "TIME", "DATE"))
        if form == "LEN":
            return f"INT_TO_{kind}(LEN({self.expression('STRING', depth)}))" if kind != "INT" else "INT#3"
        if form == "FIND" and kind != "INT":
            texts = (self.expression("STRING", depth) for _ in range(2))
            return f"INT_TO_{kind}(FIND({', '.join(texts)}))"
        if form == "BCD":
            return (
                f"WORD_BCD_TO_UINT({self.expression('WORD', depth)})" if kind == "UINT" else self.leaf(kind)
            )
        source = self.pick(DURATIONS if form == "TIME" else TIMES)
        return f"{source}_TO_{kind}({self.expression(source, depth)})"

    def _time(self, kind: str, depth: int) -> str:
        span = "LTIME" if kind.startswith("L") else "TIME"
        left = self.expression(kind, depth)
        if kind in DATES:
            return self._chosen(kind, depth)
        if kind in DURATIONS and self.chance(0.5):
            number = self.pick(("INT", "LREAL", "REAL", "DINT"))
            by = self.expression(number, depth)
            return f"({left} * {by})" if self.chance(0.5) else f"({left} / MAX({by}, {self.small(number)}))"
        if kind in DURATIONS and self.chance(0.3):
            of = "LTOD" if kind == "LTIME" else "TOD"
            return f"({self.expression(of, depth)} - {self.expression(of, depth)})"
        return f"({left} {self.pick(('+', '-'))} {self.expression(span, depth)})"

    def _edited(self, kind: str, depth: int) -> str:
        form = self.pick(("CONCAT", "LEFT", "RIGHT", "MID", "INSERT", "DELETE", "REPLACE"))
        parts = [self.expression(kind, depth)]
        parts += [self.expression(kind, depth)] * (form in ("CONCAT", "INSERT", "REPLACE"))
        counts = {"CONCAT": 0, "LEFT": 1, "RIGHT": 1, "MID": 2, "INSERT": 1, "DELETE": 2, "REPLACE": 2}[form]
        parts += [self.pick(("0", "1", "2", "5", "-1", "12", self.leaf_name("INT"))) for _ in range(counts)]
        return f"{form}({', '.join(parts)})"

    def _text(self, kind: str, depth: int) -> str:
        if kind.startswith("W"):
            return self.leaf(kind)
        source = self.pick(("BOOL", *WHOLE, *REALS, "TIME", "DATE", "TOD"))
        return f"{source}_TO_STRING({self.expression(source, depth)})"

    # -- statements

    def statements(self, count: int, depth: int) -> str:
        return "".join(self.statement(depth) for _ in range(self.random.randrange(1, count + 1)))

    def statement(self, depth: int) -> str:
        roll = self.random.random()
        if depth <= 0 or roll < 0.5:
            if self.extra and roll < 0.2:
                return self.extra[self.random.randrange(len(self.extra))](2)
            kind = self.pick(tuple(self.names))
            return f"{self.pick(self.names[kind])} := {self.expression(kind, 3)};\n"
        if roll < 0.65:
            return self._if(depth)
        if roll < 0.75:
            return self._case(depth)
        if roll < 0.88 and self.counters:
            return self._loop(depth)
        if self.loops and roll > 0.95:
            return f"IF {self.expression('BOOL', 2)} THEN {self.pick(('EXIT', 'CONTINUE'))}; END_IF;\n"
        if roll > 0.99:
            return f"IF {self.expression('BOOL', 2)} THEN RETURN; END_IF;\n"
        return self.extra[self.random.randrange(len(self.extra))](2) if self.extra else ";\n"

    def _if(self, depth: int) -> str:
        text = f"IF {self.expression('BOOL', 3)} THEN\n{self.statements(2, depth - 1)}"
        if self.chance(0.4):
            text += f"ELSIF {self.expression('BOOL', 2)} THEN\n{self.statements(2, depth - 1)}"
        if self.chance(0.5):
            text += f"ELSE\n{self.statements(2, depth - 1)}"
        return text + "END_IF;\n"

    def _case(self, depth: int) -> str:
        kind = self.pick(("INT", "USINT", "DINT", "SINT"))
        start, branches = 0, []
        for _ in range(self.random.randrange(1, 4)):
            low = start + self.random.randrange(3)
            start = low + self.random.randrange(1, 5)
            label = self.pick((f"{low}", f"{low}..{start - 1}", f"{low}, {start}"))
            start += 1
            branches.append(f"{label}: {self.statements(2, depth - 1)}")
        other = f"ELSE {self.statements(1, depth - 1)}" if self.chance(0.6) else ""
        return f"CASE {self.expression(kind, 2)} OF\n{''.join(branches)}{other}END_CASE;\n"

    def _loop(self, depth: int) -> str:
        name, kind = self.counters.pop()
        self.loops += 1
        body = self.statements(2, depth - 1)
        self.loops -= 1
        form = self.pick(("FOR", "FOR", "FOR", "WHILE", "REPEAT"))
        if form == "WHILE":
            return f"{name} := 0; WHILE {name} < 4 DO {name} := {name} + 1; {body}END_WHILE;\n"
        if form == "REPEAT":
            return f"{name} := 0; REPEAT {name} := {name} + 1; {body}UNTIL {name} >= 3 END_REPEAT;\n"
        bits = WIDTH[kind]
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind in SIGNED else (0, (1 << bits) - 1)
        start = int(self.pick((str(low), str(high - 4), "0", "1", "3", str(high))))
        end = max(low, min(high, start + self.random.randrange(-5, 6)))
        steps = ("", " BY 1", " BY 2", " BY 3") + ((" BY -1", " BY -2") if kind in SIGNED else ())
        limits = [f"{kind}#{start}", f"{kind}#{end}"]
        if self.chance(0.3):
            limits = [f"SEL(FALSE, {one}, {one})" for one in limits]
        return f"FOR {name} := {limits[0]} TO {limits[1]}{self.pick(steps)} DO\n{body}END_FOR;\n"

    # -- declarations

    def declared(self, prefix: str, kinds: Iterable[str]) -> str:
        """Declarations; the names are readable and writable from now on."""
        lines = []
        for number, kind in enumerate(kinds):
            name = f"{prefix}{number}"
            self.names.setdefault(kind, []).append(name)
            init = f" := {self.literal(kind)}" if self.chance(0.7) else ""
            lines.append(f"{name} : {kind}{init};")
        return " ".join(lines)

    def some(self, count: int) -> list[str]:
        return [self.pick((*SCALARS, *TEXTS)) for _ in range(count)]

    def counting(self, prefix: str, count: int) -> str:
        made = [(f"{prefix}{number}", self.pick(WHOLE)) for number in range(count)]
        self.counters = made
        return " ".join(f"{name} : {kind};" for name, kind in made)


def application(seeds: Iterable[int]) -> str:
    """One source with a program and a task for each seed; the tasks are called T0, T1, …"""
    from tests.programs.st_generator_units import program

    texts, tasks = [], []
    for number, seed in enumerate(seeds):
        texts.append(program(seed, f"_{number}"))
        tasks.append(
            f"TASK T{number}(INTERVAL := T#20ms, PRIORITY := 1);\nPROGRAM I{number} WITH T{number} : Main_{number};"
        )
    return (
        "".join(texts)
        + "CONFIGURATION Conf RESOURCE Res ON PLC\n"
        + "\n".join(tasks)
        + "\nEND_RESOURCE END_CONFIGURATION\n"
    )
