"""Small changes of a source file that a test should notice, one at a time."""

from __future__ import annotations

import ast
from dataclasses import dataclass

OPERATORS = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "+"), ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"), ast.Mod: ("%", "//"), ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"), ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"),
    ast.BitXor: ("^", "|"),
}  # fmt: skip
COMPARISONS = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"),
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "argmin": "argmax",
         "argmax": "argmin", "floor": "ceil", "ceil": "floor"}  # fmt: skip
# what says nothing about results: types, decorators, messages
SKIPPED = (ast.Raise, ast.AnnAssign, ast.Import, ast.ImportFrom, ast.Assert)


@dataclass(frozen=True)
class Mutant:
    """One change: ``old`` from byte ``at`` of line ``line`` on becomes ``new``."""

    line: int
    at: int
    old: str
    new: str

    def apply(self, source: str) -> str:
        """Return the changed source."""
        lines = source.splitlines(keepends=True)
        raw = lines[self.line - 1].encode()
        end = self.at + len(self.old.encode())
        assert raw[self.at : end].decode() == self.old
        lines[self.line - 1] = (raw[: self.at] + self.new.encode() + raw[end:]).decode()
        return "".join(lines)


class _Sites(ast.NodeVisitor):
    def __init__(self, source: str) -> None:
        self.lines = source.splitlines()
        self.found: list[Mutant] = []

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):  # not their decorators
            for part in node.body:
                self.visit(part)
        elif isinstance(node, ast.AnnAssign) and node.value:
            self.visit(node.value)
        elif not isinstance(node, SKIPPED):
            super().visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self._between(node.left, node.right, OPERATORS.get(type(node.op)))
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        change = OPERATORS.get(type(node.op))
        if change:
            self._between(node.target, node.value, (change[0] + "=", change[1] + "="))
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        for left, op, right in zip(sides, node.ops, sides[1:], strict=False):
            self._between(left, right, COMPARISONS.get(type(op)))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        change = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._between(left, right, change)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        line, at, value = node.lineno, node.col_offset, node.value
        raw = self.lines[line - 1].encode()[at : node.end_col_offset].decode()
        if isinstance(value, bool):
            self.found.append(Mutant(line, at, raw, str(not value)))
        elif isinstance(value, int):
            self.found += [Mutant(line, at, raw, str(value + step)) for step in (1, -1)]
        elif isinstance(value, float):
            self.found.append(Mutant(line, at, raw, f"({raw} * 1.5 + {0.0 if value else 1.0})"))

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if name in NAMES:
            end = function.end_col_offset or 0
            at = end - len(name)
            self.found.append(Mutant(function.end_lineno or 0, at, name, NAMES[name]))
        if name == "range" and node.args:
            last = node.args[min(1, len(node.args) - 1)]
            self._insert(last, " - 1")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
            self.found.append(Mutant(node.lineno, node.col_offset, "-", "+"))
        elif isinstance(node.op, ast.Not):
            self.found.append(Mutant(node.lineno, node.col_offset, "not ", ""))
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        self._never(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._never(node.test)
        self.generic_visit(node)

    def _never(self, test: ast.expr) -> None:
        """Negate a condition that stands on one line."""
        if test.lineno == test.end_lineno:
            raw = self.lines[test.lineno - 1].encode()[test.col_offset : test.end_col_offset]
            text = raw.decode()
            self.found.append(Mutant(test.lineno, test.col_offset, text, f"not ({text})"))

    def _insert(self, after: ast.expr, text: str) -> None:
        line, at = after.end_lineno or 0, after.end_col_offset or 0
        self.found.append(Mutant(line, at, "", text))

    def _between(self, left: ast.expr, right: ast.expr, change: tuple[str, str] | None) -> None:
        if change is None or left.end_lineno != right.lineno:
            return
        line, start = right.lineno, left.end_col_offset or 0
        gap = self.lines[line - 1].encode()[start : right.col_offset].decode()
        if change[0] in gap:
            at = start + len(gap[: gap.index(change[0])].encode())
            self.found.append(Mutant(line, at, *change))


def sites(source: str) -> list[Mutant]:
    """Return all changes of a source file in the order of its lines."""
    visitor = _Sites(source)
    visitor.visit(ast.parse(source))
    return sorted(visitor.found, key=lambda one: (one.line, one.at, one.new))
