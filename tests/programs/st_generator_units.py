"""The units of a generated program: functions, blocks, classes, references, a chart, an instruction list."""

from __future__ import annotations

from programs.blocks import standard_blocks
from tests.programs.st_generator import BLOCKS, QUALIFIERS, SCALARS, TEXTS, WHOLE, Writer

_OWN = ("BOOL", "BOOL", "INT", *SCALARS, *TEXTS)


def program(seed: int, tag: str) -> str:
    made = _Units(seed, tag)
    made.write()
    return "".join(made.units)


class _Units(Writer):
    def write(self) -> None:
        parts = [
            self._function,
            self._open_array,
            self._block,
            self._types,
            self._standard,
            self._chart,
            self._list,
        ]
        chosen = [part for part in parts if self.chance(0.3)]
        declarations: list[str] = []
        ready: list[tuple[dict[str, list[str]], object]] = []
        for part in chosen:
            before = self.names, self.calls, self.extra
            self.names, self.calls, self.extra = {}, {}, []
            declarations.append(part())
            ready.append((self.names, (self.calls, self.extra)))
            self.names, self.calls, self.extra = before
        own = self.declared("v", _OWN) + self._located() + self.counting("n", 4)
        for names, (calls, extra) in ready:  # type: ignore[misc]
            for kind, more in names.items():
                self.names.setdefault(kind, []).extend(more)
            for kind, more in calls.items():
                self.calls.setdefault(kind, []).extend(more)
            self.extra += extra
        self._reference(declarations)
        body = "".join(self.statement(2) for _ in range(self.random.randrange(3, 7)))
        declared = "\n".join(declarations)
        self.units.append(f"PROGRAM Main{self.tag}\nVAR\n{own}\n{declared}\nEND_VAR\n{body}END_PROGRAM\n")

    def _located(self) -> str:
        number = int(self.tag[1:]) * 4
        self.names.setdefault("BOOL", []).append("q")
        self.names.setdefault("WORD", []).append("w")
        return f" q AT %QX{number}.3 : BOOL; w AT %QW{number // 2 + 1} : WORD;"

    # Each of these writes a unit of its own and returns declarations for the program.

    def _function(self) -> str:
        kinds = self.some(3)
        inputs = self.declared("p", kinds)
        inout, output, result = self.pick(WHOLE), self.pick(SCALARS), self.pick((*SCALARS, "STRING"))
        name = f"Func{self.tag}"
        self.names.setdefault(inout, []).append("io")
        self.names.setdefault(output, []).append("out")
        self.names.setdefault(result, []).append(name)
        own = self.declared("l", self.some(3)) + self.counting("k", 1)
        body = self.statements(3, 1)
        self.units.append(
            f"FUNCTION {name} : {result}\nVAR_INPUT {inputs} END_VAR\nVAR_IN_OUT io : {inout}; END_VAR\n"
            f"VAR_OUTPUT out : {output}; END_VAR\nVAR {own} END_VAR\n{body}END_FUNCTION\n"
        )
        self.names = {}

        def call(depth: int) -> str:
            given = [f"p{number} := {self.expression(kind, depth)}" for number, kind in enumerate(kinds)]
            given = given[: self.random.randrange(len(given) + 1)]
            return f"{name}({', '.join([*given, f'io := fio{self.tag}', f'out => fout{self.tag}'])})"

        self.calls[result] = [call]
        self.names[inout] = [f"fio{self.tag}"]
        self.names.setdefault(output, []).append(f"fout{self.tag}")
        return f"fio{self.tag} : {inout}; fout{self.tag} : {output};"

    def _open_array(self) -> str:
        kind = self.pick((*WHOLE, "REAL"))
        name = f"Sum{self.tag}"
        self.units.append(
            f"FUNCTION {name} : {kind}\nVAR_IN_OUT a : ARRAY[*] OF {kind}; END_VAR\nVAR i : DINT; END_VAR\n"
            f"FOR i := LOWER_BOUND(a, 1) TO UPPER_BOUND(a, 1) DO {name} := {name} + a[i]; a[i] := {name}; END_FOR;\n"
            f"END_FUNCTION\n"
        )
        low, high = self.random.randrange(-3, 1), self.random.randrange(2, 6)
        array = f"oa{self.tag}"
        self.calls[kind] = [lambda depth: f"{name}(a := {array})"]
        inside = f"LIMIT({low}, {{}}, {high})"

        def element(depth: int) -> str:
            index = self.expression("INT", depth)
            index = (
                self.leaf_name("INT") if self.chance(0.05) and "INT" in self.names else inside.format(index)
            )
            return f"{array}[{index}] := {self.expression(kind, depth)};\n"

        def copied(depth: int) -> str:
            return f"{array}b := {array}; {array}b[{high}] := {array}[{low}];\n"

        self.extra += [element, copied]
        self.names[kind] = [f"{array}[{low}]", f"{array}b[{high}]"]
        return f"{array}, {array}b : ARRAY[{low}..{high}] OF {kind} := [2({self.literal(kind)}), {self.literal(kind)}];"

    def _block(self) -> str:
        base, derived, face = f"Base{self.tag}", f"Sub{self.tag}", f"Face{self.tag}"
        kind = self.pick((*WHOLE, "REAL", "TIME", "BOOL"))
        self.declared("b", [kind, "BOOL", "INT", *self.some(3)])
        own = " ".join(f"{name} : {one};" for one, names in self.names.items() for name in names)
        self.counters = []
        body, method = self.statements(3, 1), self.expression(kind, 2)
        other, prop = self.expression(kind, 2), self.expression(kind, 1)
        self.units.append(
            f"INTERFACE {face} METHOD Get : {kind} VAR_INPUT x : {kind}; END_VAR END_METHOD END_INTERFACE\n"
            f"FUNCTION_BLOCK {base} IMPLEMENTS {face}\n"
            f"VAR_INPUT in1 : {kind}; END_VAR VAR_OUTPUT out1 : {kind}; END_VAR\n"
            f"VAR {own} END_VAR\nMETHOD PUBLIC Get : {kind} VAR_INPUT x : {kind}; END_VAR b0 := x; Get := {method};"
            f" END_METHOD\nPROPERTY PUBLIC Value : {kind} GET Value := {prop}; END_GET"
            f" SET b0 := Value; END_SET END_PROPERTY\n"
            f"{body} out1 := in1; END_FUNCTION_BLOCK\n"
            f"FUNCTION_BLOCK {derived} EXTENDS {base}\n"
            f"METHOD PUBLIC OVERRIDE Get : {kind} VAR_INPUT x : {kind}; END_VAR\n"
            f"Get := SEL(b1, SUPER.Get(x := x), {other}); END_METHOD\n"
            f"SUPER(); b2 := b2 + 1; END_FUNCTION_BLOCK\n"
        )
        one, two, via = f"ob{self.tag}", f"od{self.tag}", f"oi{self.tag}"
        self.names = {}
        self.calls[kind] = [
            lambda depth: f"{one}.Get(x := {self.expression(kind, depth)})",
            lambda depth: f"{two}.Get({self.expression(kind, depth)})",
            lambda depth: f"{self.pick((one, two))}.Value",
            lambda depth: f"{self.pick((one, two))}.out1",
        ]

        def run(depth: int) -> str:
            which = self.pick((one, two))
            given = f"in1 := {self.expression(kind, depth)}" if self.chance(0.7) else ""
            return f"{which}({given});\n"

        def through(depth: int) -> str:
            target = self.pick(self.names[kind]) if kind in self.names else f"{one}.Value"
            return f"{via} := {self.pick((one, two))};\n{target} := {via}.Get(x := {self.expression(kind, depth)});\n"

        self.extra += [run, run, through, lambda depth: f"{two}.Value := {self.expression(kind, depth)};\n"]
        return f"{one} : {base}; {two} : {derived}; {via} : {face};"

    def _types(self) -> str:
        tag = self.tag
        one, two, three = self.pick(SCALARS), self.pick(SCALARS), self.pick(TEXTS)
        self.units.append(
            f"TYPE Colour{tag} : (red{tag}, green{tag} := 5, blue{tag}); Part{tag} : INT(-5..9) := 3;\n"
            f"Inner{tag} : STRUCT a : {one}; b : ARRAY[0..2] OF {two}; END_STRUCT;\n"
            f"Outer{tag} : STRUCT i : Inner{tag}; s : {three}; k : ARRAY[1..2] OF Inner{tag}; END_STRUCT; END_TYPE\n"
        )
        first, second = f"s1{tag}", f"s2{tag}"
        names = [
            (one, f"{first}.i.a"),
            (two, f"{second}.k[2].b[1]"),
            (three, f"{first}.s"),
            (one, f"{second}.k[1].a"),
        ]
        for kind, name in names:
            self.names.setdefault(kind, []).append(name)
        colours = [f"Colour{tag}#{name}{tag}" for name in ("red", "green", "blue")]

        def painted(depth: int) -> str:
            label = self.pick(colours)
            return (
                f"c{tag} := SEL({self.expression('BOOL', depth)}, c{tag}, {label});\n"
                f"CASE c{tag} OF {colours[0]}: {first}.i := {first}.k[2]; {colours[1]}, {colours[2]}: ; END_CASE;\n"
            )

        def bounded(depth: int) -> str:
            low = self.pick(("-5", "-5", "-5", "-5", "-5", "-6"))
            return f"sub{tag} := LIMIT({low}, {self.expression('INT', depth)}, 9);\n"

        self.extra += [painted, bounded, lambda depth: f"{second} := {first};\n"]
        return f"{first}, {second} : Outer{tag}; c{tag} : Colour{tag}; sub{tag} : Part{tag};"

    def _standard(self) -> str:
        block = standard_blocks()[self.pick(BLOCKS)]
        name = f"fb{self.tag}"
        inputs = [(one.name, one.type.type.name) for one in block.inputs if hasattr(one.type, "type")]
        outputs = [(one.name, one.type.type.name) for one in block.outputs if hasattr(one.type, "type")]

        def run(depth: int) -> str:
            given = [f"{pin} := {self.expression(kind, depth)}" for pin, kind in inputs if self.chance(0.7)]
            for pin, kind in outputs:
                if self.names.get(kind) and self.chance(0.4):
                    given.append(f"{pin} => {self.pick(self.names[kind])}")
            return f"{name}({', '.join(given)});\n"

        self.extra += [run, run]
        for pin, kind in outputs:
            self.calls.setdefault(kind, []).append(lambda depth, pin=pin: f"{name}.{pin}")  # type: ignore[misc]
        return f"{name} : {block.name};"

    def _chart(self) -> str:
        """A block that is a chart: a ring of steps with jumps, and actions of every qualifier."""
        count = self.random.randrange(2, 5)
        names = [f"S{number}" for number in range(count)]
        self.declared("c", ["INT", "DINT", "BOOL", "BOOL", "BOOL"])
        flags = self.names["BOOL"]
        text = []
        for number, name in enumerate(names):
            actions = "".join(
                f"{self.pick(('A0', 'A1', *flags[1:]))}({self.pick(QUALIFIERS)}); "
                for _ in range(self.random.randrange(3))
            )
            word = "INITIAL_STEP" if number == 0 else "STEP"
            text.append(f"{word} {name}: {actions}END_STEP\n")
        for number, name in enumerate(names):
            to = names[(number + 1) % count]
            text.append(f"TRANSITION FROM {name} TO {to} := {self.expression('BOOL', 2)}; END_TRANSITION\n")
            if self.chance(0.3):
                other = self.pick(names)
                text.append(
                    f"TRANSITION FROM {name} TO {other} := {self.expression('BOOL', 1)}; END_TRANSITION\n"
                )
        self.counters = []
        for number in range(2):
            text.append(f"ACTION A{number}: {self.statements(2, 1)}END_ACTION\n")
        own = " ".join(f"{name} : {kind};" for kind, known in self.names.items() for name in known)
        self.units.append(
            f"FUNCTION_BLOCK Chart{self.tag}\nVAR_INPUT go : BOOL; END_VAR VAR_OUTPUT {own} END_VAR\n{''.join(text)}"
            f"END_FUNCTION_BLOCK\n"
        )
        self.names = {}
        name = f"ch{self.tag}"
        self.extra += [lambda depth: f"{name}(go := {self.expression('BOOL', depth)});\n"] * 2
        self.calls = {"DINT": [lambda depth: f"{name}.c1"], "BOOL": [lambda depth: f"{name}.S0.X"]}
        return f"{name} : Chart{self.tag};"

    def _list(self) -> str:
        """A function in the instruction list."""
        kind = self.pick(("DINT", "INT", "LINT", "UDINT"))
        name = f"List{self.tag}"
        lines = [f"LD a{self.random.randrange(3)}"]
        for _ in range(self.random.randrange(2, 7)):
            op = self.pick(("ADD", "SUB", "MUL", "ADD(", "ST"))
            if op == "ADD(":
                lines += [f"ADD( a{self.random.randrange(3)}", f"MUL a{self.random.randrange(3)}", ")"]
            elif op == "ST":
                lines += [f"ST t{self.random.randrange(2)}"]
            else:
                lines.append(f"{op} {self.pick(('a0', 'a1', 'a2', 't0', 't1', self.literal(kind)))}")
        lines += [
            f"ST {name}",
            f"{self.pick(('GT', 'LT', 'EQ', 'GE'))} a1",
            "JMPCN done",
            "LD a2",
            f"ST {name}",
            "done:",
        ]
        lines += [f"LD {name}", f"ST {name}"]
        body = "\n".join(lines)
        self.units.append(
            f"FUNCTION {name} : {kind}\nVAR_INPUT a0, a1, a2 : {kind}; END_VAR VAR t0, t1 : {kind}; END_VAR\n{body}\n"
            f"END_FUNCTION\n"
        )
        self.calls[kind] = [
            lambda depth: f"{name}({', '.join(self.expression(kind, depth) for _ in range(3))})"
        ]
        return ""

    def _reference(self, declarations: list[str]) -> None:
        kind = self.pick([one for one in self.names if one not in TEXTS and one != "BOOL"])
        targets = [
            one for one in self.names[kind] if "." not in one and "[" not in one and one not in ("q", "w")
        ]
        if not targets or self.chance(0.5):
            return
        name = f"r{self.tag}"
        declarations.append(f"{name} : REF_TO {kind} := REF({targets[0]});")

        def redirected(depth: int) -> str:
            return f"{name} := {self.pick((f'REF({self.pick(targets)})',) * 12 + ('NULL',))};\n"

        self.extra += [redirected, lambda depth: f"{name}^ := {self.expression(kind, depth)};\n"]
        self.calls.setdefault(kind, []).append(lambda depth: f"{name}^")
