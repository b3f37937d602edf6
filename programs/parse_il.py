"""Instruction list (IEC 61131-3, 7.2): one instruction a line."""

from __future__ import annotations

from programs import ast
from programs.parse_cursor import LOOK_AHEAD_MAX, ParseError
from programs.parse_statements import Statements
from programs.tokens import DIRECT, END_KEY, ENDS, NAME, NUMBER, RESERVED, STRING, TIME, WSTRING

_PLAIN = "LD ST S R S1 R1 CLK CU CD PV IN PT ADD SUB MUL DIV MOD GT GE EQ LE LT NE AND OR XOR ANDN ORN XORN NOT LDN STN"
_JUMPS = "JMP JMPC JMPCN CAL CALC CALCN RET RETC RETCN"
OPERATORS = frozenset(f"{_PLAIN} {_JUMPS} & &N".split())
# Operators that are never the name of a function: with a bracket they open a nested list.
_NO_CALL = frozenset(("AND", "OR", "XOR", "ANDN", "ORN", "XORN", "&", "&N"))
_OPERAND_KINDS = frozenset((NAME, NUMBER, STRING, WSTRING, TIME, DIRECT))
_OPERAND_OPTIONAL = frozenset(("RET", "RETC", "RETCN", "NOT"))
_NESTING = frozenset((
    "AND", "OR", "XOR", "ANDN", "ORN", "XORN", "ADD", "SUB", "MUL", "DIV", "MOD", "GT", "GE", "EQ", "LE",
    "LT", "NE", "&", "&N",
))  # fmt: skip


class InstructionLists(Statements):
    """LD, ST, CAL, JMP …"""

    _in_il = False

    def in_il_operand(self) -> bool:
        return self._in_il

    def at_instruction_list(self) -> bool:
        """The body that starts here is an instruction list."""
        offset = 0
        if self.kind() == NAME and self.key(1) == ":" and self.key(2) != "=":
            offset = 2
        key, following = self.key(offset), self.key(offset + 1)
        if key not in OPERATORS:  # a function's name and a number on one line
            return self.at_name(offset) and self.kind(offset + 1) == NUMBER and self.on_new_line(offset + 2)
        if self.on_new_line(offset + 1) or following == END_KEY:
            return key in ("RET", "RETC", "RETCN")
        if following in ("S", "R", "REF") and self.key(offset + 2) == "=":
            return False
        if following == "(":
            return key in _NO_CALL
        return self.kind(offset + 1) in _OPERAND_KINDS and not self._semicolon_on_line(offset)

    def _semicolon_on_line(self, ahead: int) -> bool:
        for distance in range(ahead + 1, ahead + LOOK_AHEAD_MAX):
            if self.on_new_line(distance) or self.key(distance) == END_KEY:
                return False
            if self.key(distance) == ";":
                return True
        return True

    def instruction_list(self) -> ast.IlBody:
        """Instructions up to an END_… word."""
        start = self.i
        body = ast.IlBody(self.starts[start], self.ends[start], [])
        self._in_il = True
        while not self._at_il_end():
            at, depth = self.i, self.depth
            try:
                if self.accept(";"):
                    continue
                body.instructions.append(self._instruction())
            except ParseError:
                self.depth = depth
                self._skip_line(at)
        self._in_il = False
        self.layout.instruction_lists.append((start, self.i))
        body.end = self.ends[max(self.i - 1, start)]
        return body

    def _at_il_end(self) -> bool:
        key = self.keys[self.i]
        return key == "<end>" or key in ENDS or (self.on_new_line() and self.at_block_end())

    def _skip_line(self, at: int) -> None:
        if self.i == at:
            self.i += 1
        while not self.on_new_line() and self.keys[self.i] != "<end>":
            self.i += 1

    def _instruction(self) -> ast.IlInstruction:
        label = None
        start = self.i
        if self.key(1) == ":" and self.kind() == NAME:
            label = self.any_word("a label")
            self.layout.tight_colons.add(self.i)
            self.i += 1
            if self.on_new_line() and (self._at_il_end() or self.key(1) == ":"):
                return ast.IlInstruction(self.starts[start], self.ends[self.i - 1], label, "", [])
        instruction = self._operation()
        instruction.label = label
        instruction.start = self.starts[start]
        return instruction

    def _operation(self) -> ast.IlInstruction:
        i = self.i
        key = self.keys[i]
        self.operator_count = 0
        if key in ("CAL", "CALC", "CALCN"):
            return self._call_instruction()
        if key not in OPERATORS:
            return self._function_instruction()
        self.i += 1
        if self.keys[self.i] == "N" and key == "&" and self.starts[self.i] == self.ends[i]:
            key = "&N"
            self.i += 1
        key = key.replace("&", "AND")
        instruction = ast.IlInstruction(self.starts[i], self.ends[i], None, key, [])
        if self.keys[self.i] == "(" and key in _NESTING and not self.on_new_line():
            instruction.nested = self._nested(instruction)
        elif key.startswith("JMP") and self.kinds[self.i] == NAME:
            instruction.operands = [self.any_word("a label")]
        elif not self.on_new_line() and self.keys[self.i] != "<end>":
            instruction.operands = self._operands()
        elif key not in _OPERAND_OPTIONAL:
            self.fail(
                "ST2001",
                f"{key} needs an operand",
                expected="a variable or a literal",
                found="the end of the line",
            )
        instruction.end = self.ends[self.i - 1]
        return instruction

    def _operands(self) -> list[ast.Expression]:
        operands = [self._il_operand()]
        while self.accept(","):
            operands.append(self._il_operand())
        return operands

    def _il_operand(self) -> ast.Expression:
        """A variable or literal; nothing on the next line belongs to it."""
        return self.operand()

    def _nested(self, instruction: ast.IlInstruction) -> list[ast.IlInstruction]:
        """``AND( … )`` or ``AND( x``."""
        opened = self.i
        self.i += 1
        self.enter()
        inner: list[ast.IlInstruction] = []
        if not self.on_new_line() and self.keys[self.i] != ")" and not self._at_operation():
            operand = self.operand()
            inner.append(ast.IlInstruction(operand.start, operand.end, None, "LD", [operand]))
        while self.keys[self.i] != ")" and not self._at_il_end():
            inner.append(self._instruction())
        self.depth -= 1
        self.close(")", opened)
        return inner

    def _at_operation(self) -> bool:
        key = self.keys[self.i]
        return key in OPERATORS and self.kind(1) in (NAME, NUMBER, STRING) and not self.on_new_line(1)

    def _call_instruction(self) -> ast.IlInstruction:
        """``CAL inst(a := 1)``, ``CAL inst``."""
        i = self.i
        self.i += 1
        node = self.operand()
        instruction = ast.IlInstruction(self.starts[i], node.end, None, self.keys[i], [])
        if isinstance(node, ast.Call):
            instruction.callee, instruction.arguments = node.callee, node.arguments
        else:
            instruction.callee = node
        return instruction

    def _function_instruction(self) -> ast.IlInstruction:
        """``LIMIT 0, 10`` or ``LIMIT(MN := 0, …)``: a function takes the accumulator as its first input."""
        i = self.i
        if self.kinds[i] != NAME or self.keys[i] in RESERVED:
            self.fail(
                "ST2023",
                f"{self.found()} is no instruction",
                expected="LD, ST, AND, ADD, CAL, JMP … or a function's name",
                found=self.found(),
            )
        callee: ast.Expression = self.dotted_name("a function")
        name = self._text(callee)
        instruction = ast.IlInstruction(self.starts[i], self.ends[self.i - 1], None, name, [], callee=callee)
        if self.keys[self.i] == "(" and not self.on_new_line():
            call = self.call(callee)
            instruction.arguments = call.arguments
        elif not self.on_new_line() and self.keys[self.i] != "<end>":
            instruction.operands = self._operands()
        instruction.end = self.ends[self.i - 1]
        return instruction
