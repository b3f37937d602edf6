"""Configurations, resources, tasks and namespaces (IEC 61131-3, 6.8 and 6.9)."""

from __future__ import annotations

from programs import ast
from programs.parse_cursor import ParseError
from programs.parse_declarations import Declarations
from programs.parse_expressions import dotted
from programs.tokens import NAME

_TASK_FIELDS = ("SINGLE", "INTERVAL", "PRIORITY")


class Configurations(Declarations):
    """CONFIGURATION … END_CONFIGURATION."""

    def configuration(self) -> ast.Configuration:
        opened = self.i
        self.i += 1
        name = self.expect_name("a configuration's name")
        node = ast.Configuration(self.starts[opened], 0, name, self.source, [], [])
        node.comment, node.attributes = self.comment_of(opened, None), self.attributes_of(opened)
        self.accept(";")
        self.end_line()
        self.open_ends.append("END_CONFIGURATION")
        direct = ast.Resource(self.starts[opened], 0, None, None, [], [], [])
        while self.keys[self.i] != "END_CONFIGURATION" and self.keys[self.i] != "<end>":
            start, depth, open_ends = self.i, self.depth, len(self.open_ends)
            try:
                if self.is_section():
                    node.sections.append(self.section())
                elif self.keys[self.i] == "RESOURCE":
                    node.resources.append(self._resource())
                elif self.keys[self.i] == "USING":
                    node.using.append(self.using())
                elif not self._element(direct):
                    break
            except ParseError:
                self.depth = depth
                del self.open_ends[open_ends:]
                self.skip_statement(start)
        self.open_ends.pop()
        if direct.tasks or direct.programs:
            direct.end = self.ends[self.i - 1]
            node.resources.insert(0, direct)
        self.end_of("END_CONFIGURATION", opened, f"CONFIGURATION {name.name[:40]}")
        self.accept(";")
        node.end = self.ends[self.i - 1]
        return node

    def _resource(self) -> ast.Resource:
        opened = self.i
        self.i += 1
        name = self.expect_name("a resource's name")
        on = self.expect_name("a resource's type") if self.accept("ON") else None
        self.accept(";")
        self.end_line()
        node = ast.Resource(self.starts[opened], 0, name, on, [], [], [])
        self.open_ends.append("END_RESOURCE")
        while self.keys[self.i] != "END_RESOURCE" and self.keys[self.i] != "<end>":
            start, depth = self.i, self.depth
            try:
                if self.is_section():
                    node.sections.append(self.section())
                elif not self._element(node):
                    break
            except ParseError:
                self.depth = depth
                self.skip_statement(start)
        self.open_ends.pop()
        self.end_of("END_RESOURCE", opened, f"RESOURCE {name.name[:40]}")
        self.accept(";")
        node.end = self.ends[self.i - 1]
        return node

    def _element(self, resource: ast.Resource) -> bool:
        """A task or a program of a resource; False when something else stands here."""
        key = self.keys[self.i]
        if key == "TASK":
            resource.tasks.append(self._task())
        elif key == "PROGRAM":
            resource.programs.append(self._program())
        elif not self.accept(";"):
            if self.at_block_end():
                return False
            self.repair(["TASK", "PROGRAM", "RESOURCE"])
            self.fail_expected("TASK, PROGRAM or RESOURCE", "in a configuration")
        return True

    def _task(self) -> ast.Task:
        start = self.i
        self.i += 1
        name = self.expect_name("a task's name")
        node = ast.Task(self.starts[start], 0, name, None, None, None, self.attributes_of(start))
        if self.keys[self.i] == "(":
            opened = self.i
            self.i += 1
            while self.keys[self.i] != ")":
                self._task_field(node)
                if not self.accept(","):
                    break
            self.close(")", opened)
        self.semicolon("a task")
        node.end = self.ends[self.i - 1]
        return node

    def _task_field(self, node: ast.Task) -> None:
        key = self.keys[self.i]
        if key not in _TASK_FIELDS:
            meant = self.meant(list(_TASK_FIELDS))
            if not meant:
                self.fail_expected("SINGLE, INTERVAL or PRIORITY", "in a task")
            self._report_misspelt(meant)
            key = meant
        self.i += 1
        if self.keys[self.i] == "=":
            self._equals_for_assignment()
        else:
            self.expect(":=", f"TASK name ({key} := …)")
        self.operator_count = 0
        setattr(node, key.lower(), self.expression())

    def _program(self) -> ast.ProgramConfiguration:
        """``PROGRAM RETAIN inst WITH task : Type (in := x, out => y, fb WITH task);``"""
        start = self.i
        self.i += 1
        retain, non_retain = False, False
        if self.keys[self.i] in ("RETAIN", "NON_RETAIN") and self.kind(1) == NAME:
            retain = self.keys[self.i] == "RETAIN"
            non_retain = not retain
            self.i += 1
        name = self.expect_name("the name of a program's instance")
        task = self.expect_name("a task") if self.accept("WITH") else None
        self.expect(":", "PROGRAM instance WITH task : Type;")
        type_name = self.dotted_name("a program's type")
        node = ast.ProgramConfiguration(
            self.starts[start],
            0,
            name,
            task,
            ast.NamedType(type_name.start, type_name.end, dotted(type_name)),
            [],
            retain=retain,
            non_retain=non_retain,
        )
        if self.keys[self.i] == "(":
            self._program_elements(node)
        self.semicolon("a program of a configuration")
        node.end = self.ends[self.i - 1]
        return node

    def _program_elements(self, node: ast.ProgramConfiguration) -> None:
        opened = self.i
        self.i += 1
        while self.keys[self.i] != ")":
            if self._is_block_task():
                block = self.dotted_name("a function block")
                self.i += 1
                node.block_tasks.append((block, self.expect_name("a task")))
            else:
                node.arguments.append(self.argument())
            if not self.accept(","):
                break
        self.close(")", opened)

    def _is_block_task(self) -> bool:
        ahead = 1
        while self.key(ahead) == ".":
            ahead += 2
        return self.key(ahead) == "WITH"
