"""Instruction lists to statements (IEC 61131-3:2013, 7.2).

Theory. The current result is a value that each instruction takes and gives. In a list without jumps it stays an
expression and is stored in a temporary whenever a statement is emitted, so that it keeps the value of its moment. A
list with labels is cut into blocks; a loop around a CASE runs the block whose number a variable holds. At the border of
two blocks the current result travels in a variable of its type.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from programs import ast, hir, types
from programs.check_meanings import PlaceMeaning
from programs.check_statements import Body
from programs.check_values import Given, Value
from programs.diagnostics import closest

_ARITHMETIC = {
    "ADD": "+", "SUB": "-", "MUL": "*", "DIV": "/", "MOD": "MOD", "GT": ">", "GE": ">=", "EQ": "=", "LE": "<=",
    "LT": "<", "NE": "<>", "AND": "AND", "OR": "OR", "XOR": "XOR", "ANDN": "AND", "ORN": "OR", "XORN": "XOR",
}  # fmt: skip
# Operators that give an input of a block and call it (table 69).
_BLOCK_INPUTS = frozenset(("S1", "R1", "CLK", "CU", "CD", "PV", "IN", "PT"))
_JUMPS = frozenset(("JMP", "JMPC", "JMPCN"))
_END = -1


@dataclass(slots=True)
class _Block:
    number: int
    instructions: list[ast.IlInstruction] = field(default_factory=list)
    entry: hir.Type | None = None  # type of the current result when the block starts, None: nothing known


def lower_list(body: Body, node: ast.IlBody) -> list[hir.Statement]:
    """The statements of an instruction list."""
    return body.statements_of(lambda: _List(body).run(node))


def condition_of(body: Body, node: ast.IlBody) -> hir.Expression | None:
    """The current result at the end of a list, as a condition; its statements go to ``body.output``."""
    work = _List(body)
    work.straight(node.instructions)
    if work.current is None or work.current.unknown:
        if work.current is None:
            work.nothing_loaded(node)
        return None
    return body.convert(work.current, types.BOOL, node, what="the condition")


class _List:
    def __init__(self, body: Body) -> None:
        self.body = body
        self.current: Value | None = None
        self.carriers: dict[hir.Type, hir.Variable] = {}
        self.labels: dict[str, _Block] = {}

    # -- control flow

    def run(self, node: ast.IlBody) -> None:
        if not any(i.label is not None or i.operator in _JUMPS for i in node.instructions):
            self.straight(node.instructions)
            return
        blocks = self._cut(node.instructions)
        number = self.body.temporary(types.DINT, node)
        line = self.body.line(node)
        self.next_place = hir.VariablePlace(number, types.DINT, line)
        branches: list[tuple[list[tuple[int, int]], list[hir.Statement]]] = []
        for index, block in enumerate(blocks):
            following = blocks[index + 1] if index + 1 < len(blocks) else None
            statements = self.body.statements_of(lambda b=block, f=following: self._block(b, f))
            branches.append(([(block.number, block.number)], statements))
        load = hir.Load(self.next_place, types.DINT, line)
        going = hir.Compare("ge", load, hir.Constant(types.DINT, 0, line), types.BOOL, line)
        self.body.output.append(self._go(0, line))
        self.body.output.append(hir.While(going, [hir.Case(load, branches, [], line)], line))

    def _cut(self, instructions: list[ast.IlInstruction]) -> list[_Block]:
        blocks = [_Block(0)]
        for instruction in instructions:
            if instruction.label is not None:
                if blocks[-1].instructions:
                    blocks.append(_Block(len(blocks)))
                key = instruction.label.name.upper()
                if key in self.labels:
                    self.body.context.duplicate(instruction.label, instruction.label.name, None)
                self.labels.setdefault(key, blocks[-1])
            blocks[-1].instructions.append(instruction)
            if instruction.operator in _JUMPS:
                blocks.append(_Block(len(blocks)))
        return blocks

    def _block(self, block: _Block, following: _Block | None) -> None:
        self.current = None
        if block.entry is not None:
            carrier = self._carrier(block.entry)
            place = hir.VariablePlace(carrier, block.entry, carrier.line)
            self.current = Value(hir.Load(place, block.entry, carrier.line), block.entry)
        line = 0
        for instruction in block.instructions:
            line = self.body.line(instruction)
            if instruction.operator in _JUMPS:
                self._jump(instruction, following)
                return
            self._instruction(instruction)
        self._leave(following)
        self.body.output.append(self._go(following.number if following is not None else _END, line))

    def _leave(self, *targets: _Block | None) -> None:
        """Hand the current result to the blocks that may follow."""
        if self.current is None or self.current.unknown:
            return
        value = self.body.settle(self.current)
        kind = value.type
        carrier = self._carrier(kind)
        line = value.expr.line
        self.body.output.append(
            hir.Assign(hir.VariablePlace(carrier, kind, line), self.body.coerce(value.expr, kind), line)
        )
        for target in targets:
            if target is not None and target.entry is None:
                target.entry = kind

    def _carrier(self, kind: hir.Type) -> hir.Variable:
        if kind not in self.carriers:
            self.carriers[kind] = self.body.temporary(kind, _Line())
        return self.carriers[kind]

    def _go(self, number: int, line: int) -> hir.Assign:
        return hir.Assign(self.next_place, hir.Constant(types.DINT, number, line), line)

    def _jump(self, node: ast.IlInstruction, following: _Block | None) -> None:
        operand = node.operands[0] if node.operands else None
        name = operand.name if isinstance(operand, ast.Name) else ""
        target = self.labels.get(name.upper())
        line = self.body.line(node)
        if target is None:
            meant = closest(name, self.labels)
            self.body.error(
                "ST4022",
                operand or node,
                f"there is no label {name}",
                expected=", ".join(self.labels) or "a label",
                found=name,
                remedy=f"did you mean {meant}?" if meant else f"write {name}: before an instruction",
            )
            return
        rest = following.number if following is not None else _END
        if node.operator == "JMP":
            self._leave(target)
            self.body.output.append(self._go(target.number, line))
            return
        condition = self._boolean(node, negated=node.operator == "JMPCN")
        self._leave(target, following)
        branches: list[tuple[hir.Expression | None, list[hir.Statement]]] = [
            (condition, [self._go(target.number, line)]),
            (None, [self._go(rest, line)]),
        ]
        self.body.output.append(hir.If(branches, line))

    def straight(self, instructions: list[ast.IlInstruction]) -> None:
        for instruction in instructions:
            if instruction.operator in _JUMPS:
                self.body.error(
                    "ST4022",
                    instruction,
                    "a jump cannot stand in brackets or in a transition",
                    expected="an instruction that gives a value",
                    found=instruction.operator,
                    remedy="move the jump out",
                )
                continue
            self._instruction(instruction)

    # -- instructions

    def _instruction(self, node: ast.IlInstruction) -> None:
        operator = node.operator
        if not operator:
            return
        if operator in ("LD", "LDN"):
            value = self._operand(node, None)
            self.current = (
                self.body.invert(value, node, None) if operator == "LDN" and not value.unknown else value
            )
        elif operator in ("ST", "STN"):
            self._store(node, negated=operator == "STN")
        elif operator in ("S", "R"):
            self._latch(node)
        elif operator == "NOT":
            current = self._loaded(node)
            self.current = current if current.unknown else self.body.invert(current, node, None)
        elif operator in _ARITHMETIC:
            self._combine(node)
        elif operator.startswith("CAL"):
            self._call_block(node)
        elif operator.startswith("RET"):
            self._return(node)
        elif operator in _BLOCK_INPUTS and node.callee is None:
            self._block_input(node)
        else:
            self._function(node)

    def nothing_loaded(self, node: ast.Node) -> None:
        self.body.error(
            "ST4022",
            node,
            "there is no current result here",
            expected="LD before this instruction",
            found="nothing loaded",
            remedy="load a value first: LD x",
        )

    def _loaded(self, node: ast.IlInstruction) -> Value:
        if self.current is None:
            self.nothing_loaded(node)
            self.current = self.body.poison(node)
        return self.current

    def _operand(self, node: ast.IlInstruction, want: hir.Type | None) -> Value:
        if node.nested is not None:
            inner = _List(self.body)
            inner.straight(node.nested)
            if inner.current is None:
                inner.nothing_loaded(node)
            return inner.current or self.body.poison(node)
        if not node.operands:
            return self.body.poison(node)
        return self.body.expression(node.operands[0], want)

    def _pin(self, node: ast.IlInstruction) -> None:
        """Keep the current result as it is now: a statement follows that may change what it was made of."""
        value = self.current
        if value is None or value.unknown or isinstance(value.expr, hir.Constant):
            return
        kept = self.body.temporary(value.computed, node)
        place = hir.VariablePlace(kept, kept.type, self.body.line(node))
        self.body.output.append(hir.Assign(place, value.expr, place.line))
        self.current = Value(hir.Load(place, kept.type, place.line), value.type)

    def _store(self, node: ast.IlInstruction, *, negated: bool) -> None:
        value = self._loaded(node)
        if value.unknown or not node.operands:
            return
        self._pin(node)
        value = self.current or value
        if negated:
            value = self.body.invert(value, node, None)
        self.body.store(node.operands[0], value, node)

    def _boolean(self, node: ast.IlInstruction, *, negated: bool) -> hir.Expression:
        value = self._loaded(node)
        self._pin(node)
        value = self.current or value
        condition = self.body.convert(value, types.BOOL, node, what="the condition")
        if negated and not value.unknown:
            condition = hir.Unary("not", condition, types.BOOL, self.body.line(node))
        return condition

    def _latch(self, node: ast.IlInstruction) -> None:
        if not node.operands:
            return
        target = node.operands[0]
        if self._is_instance(target):
            self._block_input(node)
            return
        condition = self._boolean(node, negated=False)
        line = self.body.line(node)
        value = Value(hir.Constant(types.BOOL, int(node.operator == "S"), line), types.BOOL)
        statements = self.body.statements_of(lambda: self.body.store(target, value, node))
        if condition.type == types.BOOL:
            self.body.output.append(hir.If([(condition, statements)], line))

    def _is_instance(self, target: ast.Expression) -> bool:
        if not isinstance(target, ast.Name | ast.Member):
            return False
        found = self.body.meaning(target)
        return isinstance(found, PlaceMeaning) and isinstance(found.type, hir.Instance)

    def _combine(self, node: ast.IlInstruction) -> None:
        left = self._loaded(node)
        want = None if left.literal or left.unknown else left.type
        right = self._operand(node, want)
        if node.operator.endswith("N") and node.operator != "N" and not right.unknown:
            right = self.body.invert(right, node, want)
        self.current = self.body.combine(_ARITHMETIC[node.operator], left, right, node)

    # -- calls

    def _call_block(self, node: ast.IlInstruction) -> None:
        callee = node.callee or (node.operands[0] if node.operands else None)
        if callee is None:
            return
        call = ast.Call(node.start, node.end, callee, node.arguments or [])
        if node.operator == "CAL":
            self._pin(node)
            self.body.call(call)
            return
        condition = self._boolean(node, negated=node.operator == "CALCN")
        statements = self.body.statements_of(lambda: self.body.call(call))
        if condition.type == types.BOOL:
            self.body.output.append(hir.If([(condition, statements)], self.body.line(node)))

    def _block_input(self, node: ast.IlInstruction) -> None:
        """``CU counter``: the current result is the input CU, and the block is called."""
        if not node.operands:
            return
        target = node.operands[0]
        self._pin(node)
        value = self._loaded(node)
        if value.unknown:
            return
        kept = self.body.settle(value)
        name = ast.Name(node.start, node.end, node.operator)
        variable = self.body.temporary(kept.computed, node)
        place = hir.VariablePlace(variable, variable.type, self.body.line(node))
        self.body.output.append(hir.Assign(place, kept.expr, place.line))
        argument = ast.Argument(node.start, node.end, name, Given(node.start, node.end, Value(
            hir.Load(place, variable.type, place.line), kept.type)))  # type: ignore[arg-type]  # fmt: skip
        self.body.call(ast.Call(node.start, node.end, target, [argument]))

    def _return(self, node: ast.IlInstruction) -> None:
        line = self.body.line(node)
        if node.operator == "RET":
            self._result(node)
            self.body.output.append(hir.Return(line))
            return
        condition = self._boolean(node, negated=node.operator == "RETCN")
        if condition.type == types.BOOL:
            self.body.output.append(hir.If([(condition, [hir.Return(line)])], line))

    def _result(self, node: ast.IlInstruction) -> None:
        """RET hands nothing over: the result of a function is what was stored under its name."""

    def _function(self, node: ast.IlInstruction) -> None:
        """A function: with a formal list as written, else the current result is its first argument."""
        callee = node.callee or ast.Name(node.start, node.end, node.operator)
        arguments = node.arguments
        formal = arguments is not None and any(a.name is not None for a in arguments)
        given = list(arguments or [])
        given += [ast.Argument(o.start, o.end, None, o) for o in node.operands]
        if not formal:
            first = self._loaded(node)
            if first.unknown:
                return
            given.insert(0, ast.Argument(node.start, node.end, None, Given(node.start, node.end, first)))  # type: ignore[arg-type]
        value = self.body.call(ast.Call(node.start, node.end, callee, given))
        self.current = None if value.type is types.VOID else value
        if self.current is not None:
            self._pin(node)


class _Line:
    start = 0
    end = 0
