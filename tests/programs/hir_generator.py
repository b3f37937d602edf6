"""Random typed trees: correct by construction, rich in corner cases, and bound to end."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from programs import hir
from programs.blocks import standard_pou
from programs.evaluate_values import FLOATS, TIME_TYPES, UNSIGNED, bit_width, limits
from programs.layout import scalar_type
from scan.abi import IecType
from tests.programs.hir_builder import BOOL, LINT, E, element, load_of, place, program_of, var

T = IecType
SIGNED = (T.SINT, T.INT, T.DINT, T.LINT)
WHOLE = (*SIGNED, T.USINT, T.UINT, T.UDINT, T.ULINT)
BITS = (T.BYTE, T.WORD, T.DWORD, T.LWORD)
NUMBERS = (*WHOLE, *BITS, *FLOATS)
SCALARS = (T.BOOL, *NUMBERS, T.TIME, T.LTIME, T.DATE, T.DT, T.TOD, T.CHAR)
TEXT = hir.String(12)
TEXTS = (hir.String(5), TEXT, hir.String(80))
LETTERS = "aB0 _-$é9.#T"
DAY_NS = 86_400 * 10**9


class Generator:
    """Trees from a seed. ``depth`` bounds expressions, ``length`` bounds statement lists."""

    def __init__(self, seed: int, *, length: int = 6, depth: int = 4) -> None:
        self.random = random.Random(seed)
        self.length = length
        self.depth = depth
        self.line = 1
        self.loops = 0
        self.counters: list[hir.Variable] = []
        self.variables: list[hir.Variable] = []
        self.arrays: list[hir.Variable] = []
        self.functions: list[hir.Pou] = []
        self.blocks: list[tuple[hir.Variable, hir.Pou]] = []
        self.pous: list[hir.Pou] = []
        self.has_this = False

    # -- the program

    def program(self) -> hir.Program:
        for number in range(self.random.randrange(3)):
            self.functions.append(self._function(f"F{number}"))
        for number in range(self.random.randrange(2)):
            self.pous.append(self._block(f"B{number}"))
        shared = [self._variable(f"g{number}", hir.Storage.GLOBAL) for number in range(3)]
        located = self._located()
        own = self._declare("v", hir.Storage.INSTANCE)
        instances = [var(f"i{number}", hir.Instance(pou.key)) for number, pou in enumerate(self.pous)]
        self.blocks = list(zip(instances, self.pous, strict=True))
        timer = standard_pou("TON")
        assert timer is not None
        delay = var("delay", hir.Instance("TON"))
        self.blocks.append((delay, timer))
        self.variables += [*shared, *located]
        counters = [var(f"n{number}", E(self.pick(WHOLE))) for number in range(6)]
        self.counters = list(counters)
        body = self.statements(self.length)
        variables = [*own, *located, *instances, delay, *counters]
        return program_of(body, variables, pous=[*self.functions, *self.pous, timer], shared=shared)

    def _declare(self, prefix: str, storage: hir.Storage) -> list[hir.Variable]:
        made = [var(f"{prefix}{kind.name}", E(kind), self.initial(kind), storage) for kind in SCALARS]
        made += [var(f"{prefix}s{kind.length}", kind, self.text(kind.length), storage) for kind in TEXTS]
        made.append(var(f"{prefix}sub", E(T.INT, low=-5, high=9), 3, storage))
        arrays = [
            var(f"{prefix}a{kind.name}", hir.Array(E(kind), dims), None, storage)
            for kind, dims in ((T.INT, ((1, 4),)), (T.LREAL, ((-1, 1), (0, 2))), (T.BOOL, ((0, 7),)))
        ]
        self.variables = list(made)
        self.arrays = arrays
        return [*made, *arrays]

    def _variable(self, name: str, storage: hir.Storage) -> hir.Variable:
        kind = self.pick(SCALARS)
        return var(name, E(kind), self.initial(kind), storage)

    def _located(self) -> list[hir.Variable]:
        bit = hir.Location("Q", 0, self.random.randrange(8), 1, "%QX0.0")
        word = hir.Location("Q", self.pick((2, 3)), -1, 2, "%QW1")
        return [
            var("q", BOOL, storage=hir.Storage.LOCATED, location=bit),
            var("w", E(T.WORD), storage=hir.Storage.LOCATED, location=word),
        ]

    def _function(self, name: str) -> hir.Pou:
        inputs = [
            var(f"p{number}", E(self.pick(SCALARS)), storage=hir.Storage.PARAMETER) for number in range(2)
        ]
        text = var("pt", self.pick(TEXTS), storage=hir.Storage.PARAMETER)
        inout = var("io", E(self.pick(NUMBERS)), storage=hir.Storage.INOUT_PARAMETER)
        output = var("out", E(self.pick(SCALARS)), storage=hir.Storage.OUTPUT_PARAMETER)
        kind = self.pick((*(E(one) for one in SCALARS), TEXT))
        result = hir.Variable(name, kind, hir.Storage.LOCAL)
        own = self._declare("l", hir.Storage.LOCAL)
        self.variables += [*inputs, text, inout, output, result]
        self.counters = [
            var(f"n{number}", E(self.pick(WHOLE)), storage=hir.Storage.LOCAL) for number in range(3)
        ]
        counters = list(self.counters)
        body = self.statements(3)
        return hir.Pou(
            name,
            "function",
            [*inputs, text, inout, output, *own, *counters, result],
            body,
            result=result,
            line=1,
        )

    def _block(self, name: str) -> hir.Pou:
        own = self._declare("b", hir.Storage.INSTANCE)
        inout = var("io", E(self.pick(NUMBERS)), storage=hir.Storage.INOUT_PARAMETER)
        self.variables.append(inout)
        self.counters = [var(f"n{number}", E(self.pick(WHOLE))) for number in range(3)]
        counters = list(self.counters)
        body = self.statements(3)
        return hir.Pou(name, "function_block", [*own, inout, *counters], body, line=1)

    # -- values

    def pick(self, items: Sequence[Any]) -> Any:
        return items[self.random.randrange(len(items))]

    def initial(self, kind: IecType) -> float:
        if kind is T.BOOL:
            return self.random.randrange(2)
        if kind in FLOATS:
            return self.pick((0.0, -0.0, 1.0, -2.5, 0.1, 1e10, -1e-10, 3.4e38, 16777216.0))
        if kind is T.TOD:
            return self.random.randrange(DAY_NS)
        if kind in (T.DATE, T.DT):
            return self.random.randrange(-30_000, 60_000) * DAY_NS // (1 if kind is T.DATE else 7)
        low, high = limits(kind)
        edges = (low, low + 1, -1, 0, 1, 2, 7, 8, 9, 31, 63, 64, 100, high - 1, high)
        return max(
            low, min(high, self.pick(edges) if self.random.random() < 0.8 else self.random.randint(low, high))
        )

    def text(self, length: int) -> str:
        return "".join(self.pick(tuple(LETTERS)) for _ in range(self.random.randrange(length + 3)))[:length]

    def next_line(self) -> int:
        self.line += 1
        return self.line

    # -- expressions

    def expression(self, kind: hir.Type, depth: int) -> hir.Expression:
        if isinstance(kind, hir.String):
            return self._text(kind, depth)
        scalar = scalar_type(kind)
        assert scalar is not None
        if depth <= 0 or self.random.random() < 0.15:
            return self._leaf(scalar)
        choices: list[Callable[[IecType, int], hir.Expression]] = [
            self._leaf_of,
            self._converted,
            self._chosen,
            self._call,
        ]
        if scalar is T.BOOL:
            choices += [self._comparison, self._comparison, self._logic, self._part]
        elif scalar in FLOATS:
            choices += [self._arithmetic] * 3 + [self._function_of_real, self._element]
        elif scalar in TIME_TYPES:
            choices += [self._time, self._time]
        elif scalar is not T.CHAR:
            choices += [self._arithmetic] * 3 + [self._bits, self._element]
        return self.pick(choices)(scalar, depth)

    def _leaf_of(self, kind: IecType, depth: int) -> hir.Expression:
        return self._leaf(kind)

    def _leaf(self, kind: IecType) -> hir.Expression:
        fitting = [one for one in [*self.variables, *self.counters] if scalar_type(one.type) is kind]
        if fitting and self.random.random() < 0.75:
            at = place(self.pick(fitting))
            return hir.Load(at, E(kind), self.line)
        return hir.Constant(E(kind), self.initial(kind), self.line)

    def _converted(self, kind: IecType, depth: int) -> hir.Expression:
        sources = [T.BOOL, *NUMBERS]
        if kind in TIME_TYPES:
            sources = [T.DINT, T.LINT, T.UDINT, T.LREAL, T.TIME]
        if kind in (T.DATE, T.TOD):
            sources = [T.DT]
        if kind is T.DT:
            sources = [T.DATE]
        if kind is T.CHAR:
            sources = [T.BYTE, T.INT]
        source = self.pick(sources)
        if source in FLOATS and kind in WHOLE and self.random.random() < 0.3:
            return hir.Convert(self.expression(E(source), depth - 1), E(kind), "trunc", self.line)
        if kind in NUMBERS and self.random.random() < 0.05:
            return hir.Convert(self._text(TEXT, depth - 1), E(kind), "to", self.line)
        if kind in (*WHOLE, *FLOATS) and self.random.random() < 0.1:
            source = self.pick((T.TIME, T.LTIME, T.DATE, T.TOD))
        return hir.Convert(self.expression(E(source), depth - 1), E(kind), "to", self.line)

    def _arithmetic(self, kind: IecType, depth: int) -> hir.Expression:
        if self.random.random() < 0.15:
            return hir.Unary("neg", self.expression(E(kind), depth - 1), E(kind), self.line)
        ops = ["add", "sub", "mul", "div", "mod"] + ([] if kind in FLOATS else ["and", "or", "xor"])
        op = self.pick(ops)
        left = self.expression(E(kind), depth - 1)
        right = self.expression(E(kind), depth - 1)
        if op in ("div", "mod") and kind not in FLOATS and self.random.random() < 0.9:
            # Most divisors are made odd, so that not every program ends with a division by zero.
            right = hir.Binary("or", right, hir.Constant(E(kind), 1), E(kind), self.line)
        return hir.Binary(op, left, right, E(kind), self.line)

    def _bits(self, kind: IecType, depth: int) -> hir.Expression:
        name = self.pick(("SHL", "SHR", "ROL", "ROR", "ABS", "BYTE_SWAP", "not"))
        value = self.expression(E(kind), depth - 1)
        if name == "not":
            return hir.Unary("not", value, E(kind), self.line)
        if name == "ABS":
            return hir.Intrinsic(name, [value], E(kind), self.line)
        if name == "BYTE_SWAP":
            return hir.Intrinsic(name, [value], E(kind), self.line)
        count = hir.Constant(LINT, self.random.randrange(-3, bit_width(kind) + 4))
        amount = count if self.random.random() < 0.5 else self.expression(LINT, depth - 1)
        return hir.Intrinsic(name, [value, amount], E(kind), self.line)

    def _chosen(self, kind: IecType, depth: int) -> hir.Expression:
        name = self.pick(("SEL", "MUX", "MIN", "MAX", "LIMIT"))
        count = {"SEL": 2, "MUX": 3, "MIN": 2, "MAX": 3, "LIMIT": 3}[name]
        values = [self.expression(E(kind), depth - 1) for _ in range(count)]
        if name == "SEL":
            values.insert(0, self.expression(BOOL, depth - 1))
        if name == "MUX":
            values.insert(0, self.expression(LINT, depth - 1))
        return hir.Intrinsic(name, values, E(kind), self.line)

    def _function_of_real(self, kind: IecType, depth: int) -> hir.Expression:
        name = self.pick(
            ("SQRT", "LN", "LOG", "EXP", "SIN", "COS", "ATAN", "FLOOR", "CEIL", "ROUND", "ABS", "pow")
        )
        value = self.expression(E(kind), depth - 1)
        if name == "pow":
            exponent = self.pick((T.LREAL, T.INT, kind))
            return hir.Binary("pow", value, self.expression(E(exponent), depth - 1), E(kind), self.line)
        return hir.Intrinsic(name, [value], E(kind), self.line)

    def _time(self, kind: IecType, depth: int) -> hir.Expression:
        if kind not in (T.TIME, T.LTIME, T.TOD, T.DT):
            return self._leaf(kind)
        left = self.expression(E(kind), depth - 1)
        name = self.pick(("ADD_TIME", "SUB_TIME", "MUL_TIME", "DIV_TIME"))
        if name in ("ADD_TIME", "SUB_TIME") or kind in (T.TOD, T.DT):
            name = name.replace("MUL", "ADD").replace("DIV", "SUB")
            return hir.Intrinsic(name, [left, self.expression(E(T.TIME), depth - 1)], E(kind), self.line)
        return hir.Intrinsic(name, [left, self.expression(E(T.LREAL), depth - 1)], E(kind), self.line)

    def _comparison(self, kind: IecType, depth: int) -> hir.Expression:
        op = self.pick(("eq", "ne", "lt", "le", "gt", "ge"))
        of: hir.Type = E(self.pick(SCALARS)) if self.random.random() < 0.85 else TEXT
        return hir.Compare(
            op, self.expression(of, depth - 1), self.expression(of, depth - 1), BOOL, self.line
        )

    def _logic(self, kind: IecType, depth: int) -> hir.Expression:
        left, right = self.expression(BOOL, depth - 1), self.expression(BOOL, depth - 1)
        if self.random.random() < 0.2:
            return hir.Binary("xor", left, right, BOOL, self.line)
        if self.random.random() < 0.2:
            return hir.Unary("not", left, BOOL, self.line)
        return hir.Logical(self.pick(("and", "or")), left, right, BOOL, self.line)

    def _part(self, kind: IecType, depth: int) -> hir.Expression:
        fitting = [
            one
            for one in self.variables
            if scalar_type(one.type) in (*WHOLE, *BITS) and not _limited(one.type)
        ]
        chosen = self.pick(fitting)
        bits = bit_width(scalar_type(chosen.type) or T.BYTE)
        return load_of(hir.PartPlace(place(chosen), 1, self.random.randrange(bits), BOOL, self.line))

    def _element(self, kind: IecType, depth: int) -> hir.Expression:
        fitting = [
            one
            for one in self.arrays
            if isinstance(one.type, hir.Array) and scalar_type(one.type.element) is kind
        ]
        if not fitting:
            return self._leaf(kind)
        return load_of(self._element_place(self.pick(fitting), depth))

    def _element_place(self, array: hir.Variable, depth: int) -> hir.IndexPlace:
        assert isinstance(array.type, hir.Array)
        indices: list[hir.Expression] = []
        for low, high in array.type.dims:
            if self.random.random() < 0.5:
                indices.append(hir.Constant(LINT, self.random.randint(low, high)))
            elif self.random.random() < 0.95:
                inside = self.expression(LINT, depth - 1)
                bounds = [hir.Constant(LINT, low), inside, hir.Constant(LINT, high)]
                indices.append(hir.Intrinsic("LIMIT", bounds, LINT, self.line))
            else:
                indices.append(self.expression(LINT, depth - 1))
        return element(array, *indices, line=self.line)

    def _call(self, kind: IecType, depth: int) -> hir.Expression:
        fitting = [one for one in self.functions if one.result and scalar_type(one.result.type) is kind]
        if not fitting:
            return self._leaf(kind)
        return self._call_of(self.pick(fitting), depth)

    def _call_of(self, pou: hir.Pou, depth: int) -> hir.Expression:
        by = {storage: [one for one in pou.variables if one.storage is storage] for storage in hir.Storage}
        arguments = [self.expression(one.type, depth - 1) for one in by[hir.Storage.PARAMETER]]
        inouts = []
        for one in by[hir.Storage.INOUT_PARAMETER]:
            own = [mine for mine in self.variables if mine.type == one.type]
            if not own:
                assert pou.result is not None
                kind = pou.result.type
                return (
                    hir.Constant(TEXT, "")
                    if isinstance(kind, hir.String)
                    else self._leaf(scalar_type(kind) or T.INT)
                )
            inouts.append((one, place(self.pick(own))))
        outputs: list[tuple[hir.Variable, hir.Place]] = []
        for one in by[hir.Storage.OUTPUT_PARAMETER]:
            own = [mine for mine in self.variables if mine.type == one.type]
            if own and self.random.random() < 0.7:
                outputs.append((one, place(self.pick(own))))
        assert pou.result is not None
        return hir.Call(pou.key, arguments, pou.result.type, inouts, outputs, line=self.line)

    def _text(self, kind: hir.String, depth: int) -> hir.Expression:
        if kind != TEXT:
            return hir.Convert(self._text(TEXT, depth), kind, "to", self.line)
        if depth <= 0 or self.random.random() < 0.3:
            own = [one for one in self.variables if one.type == TEXT]
            return (
                load_of(self.pick(own))
                if own and self.random.random() < 0.6
                else hir.Constant(TEXT, self.text(12))
            )
        name = self.pick(
            ("CONCAT", "LEFT", "RIGHT", "MID", "INSERT", "DELETE", "REPLACE", "SEL", "number", "other")
        )
        if name == "number":
            source = self.pick((T.BOOL, *WHOLE, *FLOATS, T.TIME, T.DATE, T.TOD))
            long = hir.Convert(self.expression(E(source), depth - 1), hir.String(80), "to", self.line)
            return hir.Convert(long, TEXT, "to", self.line)
        if name == "other":
            own = [one for one in self.variables if isinstance(one.type, hir.String)]
            return (
                hir.Convert(load_of(self.pick(own)), TEXT, "to", self.line)
                if own
                else hir.Constant(TEXT, "x")
            )
        texts = {"CONCAT": 2, "INSERT": 2, "REPLACE": 2, "SEL": 2}.get(name, 1)
        numbers = {"LEFT": 1, "RIGHT": 1, "MID": 2, "INSERT": 1, "DELETE": 2, "REPLACE": 2}.get(name, 0)
        arguments = [self._text(TEXT, depth - 1) for _ in range(texts)]
        arguments += [hir.Constant(LINT, self.random.randrange(-2, 15)) for _ in range(numbers)]
        if name == "SEL":
            arguments.insert(0, self.expression(BOOL, depth - 1))
        return hir.Intrinsic(name, arguments, TEXT, self.line)

    # -- statements

    def statements(self, count: int, depth: int = 2) -> list[hir.Statement]:
        return [self.statement(depth) for _ in range(self.random.randrange(1, count + 1))]

    def statement(self, depth: int) -> hir.Statement:
        line = self.next_line()
        roll = self.random.random()
        if depth <= 0 or roll < 0.5:
            return self._assignment(line)
        if roll < 0.65:
            branches: list[tuple[hir.Expression | None, list[hir.Statement]]] = [
                (self.expression(BOOL, 3), self.statements(2, depth - 1))
                for _ in range(self.random.randrange(1, 3))
            ]
            if self.random.random() < 0.5:
                branches.append((None, self.statements(2, depth - 1)))
            return hir.If(branches, line)
        if roll < 0.72:
            return self._case(line, depth)
        if roll < 0.86 and self.counters:
            return self._loop(line, depth)
        if roll < 0.93 and self.blocks:
            return self._block_call(line)
        if (
            self.functions
            and (call := self._call_of(self.pick(self.functions), 2))
            and isinstance(call, hir.Call)
        ):
            return hir.CallStatement(call, line)
        if self.loops and roll > 0.97:
            return hir.If(
                [(self.expression(BOOL, 2), [self.pick((hir.Exit(line), hir.Continue(line)))])], line
            )
        if roll > 0.99:
            return hir.If([(self.expression(BOOL, 2), [hir.Return(line)])], line)
        return self._assignment(line)

    def _assignment(self, line: int) -> hir.Statement:
        roll = self.random.random()
        if roll < 0.2 and self.arrays:
            target: hir.Place = self._element_place(self.pick(self.arrays), 2)
        elif roll < 0.3:
            fitting = [
                one for one in self.variables if scalar_type(one.type) in BITS and not _limited(one.type)
            ]
            chosen = self.pick(fitting)
            bits = bit_width(scalar_type(chosen.type) or T.BYTE)
            width = self.pick([one for one in (1, 8, 16, 32) if one <= bits])
            kind = {1: BOOL, 8: E(T.BYTE), 16: E(T.WORD), 32: E(T.DWORD)}[width]
            target = hir.PartPlace(place(chosen), width, self.random.randrange(bits // width), kind, line)
        else:
            target = place(self.pick(self.variables))
        kind = target.type
        if _limited(kind):
            bounds = [hir.Constant(E(T.INT), -6 if roll > 0.9 else -5), self.expression(E(T.INT), 2)]
            return hir.Assign(
                target, hir.Intrinsic("LIMIT", [*bounds, hir.Constant(E(T.INT), 9)], E(T.INT), line), line
            )
        return hir.Assign(target, self.expression(kind, self.depth), line)

    def _case(self, line: int, depth: int) -> hir.Statement:
        kind = self.pick((*WHOLE, T.BYTE))
        _, high = limits(kind)
        branches = []
        for _ in range(self.random.randrange(1, 4)):
            start = int(self.initial(kind))
            labels = [(start, min(high, start + self.random.randrange(3)))]
            branches.append((labels, self.statements(2, depth - 1)))
        return hir.Case(self.expression(E(kind), 2), branches, self.statements(1, depth - 1), line)

    def _loop(self, line: int, depth: int) -> hir.Statement:
        counter = self.counters.pop()
        self.loops += 1
        kind = scalar_type(counter.type)
        assert kind is not None
        low, high = limits(kind)
        step = self.pick((1, 1, 2, 3) if kind in UNSIGNED else (1, -1, 2, -3, 0))
        start = max(low, min(high, int(self.pick((low, high - 5, 0, 1, 3)))))
        end = max(low, min(high, start + self.random.randrange(-6, 7)))
        body = self.statements(2, depth - 1)
        loop: hir.Statement
        form = self.pick(("for", "for", "while", "repeat"))
        if form == "for":
            parts = [hir.Constant(counter.type, value) for value in (start, end, step)]
            if self.random.random() < 0.4:
                parts = [_hidden(part) for part in parts]  # type: ignore[misc]
            loop = hir.For(place(counter), *parts, body, line)
        else:
            one = hir.Constant(counter.type, 1)
            count = hir.Assign(place(counter), hir.Binary("add", load_of(counter), one, counter.type), line)
            more = hir.Compare("lt", load_of(counter), hir.Constant(counter.type, 4), BOOL, line)
            body = [count, *body]
            loop = (
                hir.While(more, body, line)
                if form == "while"
                else hir.Repeat(body, hir.Unary("not", more, BOOL), line)
            )
            start_at = hir.Assign(place(counter), hir.Constant(counter.type, 0), line)
            loop = hir.If([(hir.Constant(BOOL, 1), [start_at, loop])], line)
        self.loops -= 1
        return loop

    def _block_call(self, line: int) -> hir.Statement:
        instance, pou = self.pick(self.blocks)
        inputs = []
        for one in pou.variables:
            fits = (
                one.storage is hir.Storage.INSTANCE
                and not isinstance(one.type, hir.Array)
                and not _limited(one.type)
            )
            hidden = one.attributes.get("access") == "none" or one.direction == "output"
            if fits and not hidden and self.random.random() < 0.3:
                inputs.append((one, self.expression(one.type, 2)))
        inouts = []
        for one in pou.variables:
            if one.storage is hir.Storage.INOUT_PARAMETER:
                own = [mine for mine in self.variables if mine.type == one.type]
                if not own:
                    return self._assignment(line)
                inouts.append((one, place(self.pick(own))))
        return hir.CallBlock(place(instance), pou.key, inputs, [], inouts, line=line)


def _hidden(constant: hir.Constant) -> hir.Expression:
    """The same value in a form that is no constant to the compiler's eye."""
    return hir.Intrinsic("SEL", [hir.Constant(BOOL, 0), constant, constant], constant.type)


def _limited(kind: hir.Type) -> bool:
    return isinstance(kind, hir.Elementary) and kind.low is not None
