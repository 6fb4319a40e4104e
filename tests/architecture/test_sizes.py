"""A function fits on a screen and takes what a reader can keep in mind."""

import ast

import pytest

from tests.architecture.test_imports import ROOT, modules

MOST_LINES, MOST_ARGUMENTS = 60, 8  # docstrings, self and cls do not count
API = "public: what a user of Python may ask for, by name"
LOOP = "compiled: a loop over arrays, which cannot be handed on as one object"
TORCH = "the arguments are those of the torch operator"
EXCEPTIONS = {
    "cimsim/chip/fact.py:Fact.__init__": "all that a field of a chip may declare, by name",
    "cimsim/session/simulation.py:simulate": API,
    "cimsim/studies/ablation.py:ablate": API,
    "cimsim/studies/diagnosis.py:diagnose": API,
    "cimsim/studies/switching.py:switched": API,
    "cimsim/timing/analysis/critical.py:_walk": LOOP,
    "frontends/matrices.py:conv2d_op": TORCH,
    "frontends/matrices.py:conv_transpose2d_ops": TORCH,
}


def functions(tree, above=()):
    """Yield each function with its dotted name, those inside of others, too."""
    for node in ast.iter_child_nodes(tree):
        inside = above
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inside = (*above, node.name)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield ".".join(inside), node
        yield from functions(node, inside)


def lines(node):
    """Lines from the first of the signature to the last, without the docstring."""
    first = node.body[0]
    told = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    doc = first.end_lineno - first.lineno + 1 if told and ast.get_docstring(node) else 0
    return node.end_lineno - node.lineno + 1 - doc


def arguments(node):
    of = node.args
    named = [one.arg for one in (*of.posonlyargs, *of.args, *of.kwonlyargs)]
    several = sum(one is not None for one in (of.vararg, of.kwarg))
    return sum(name not in ("self", "cls") for name in named) + several


def too_large():
    for path in modules():
        for name, node in functions(ast.parse(path.read_text(encoding="utf-8"))):
            if lines(node) > MOST_LINES or arguments(node) > MOST_ARGUMENTS:
                place = f"{path.relative_to(ROOT).as_posix()}:{name}"
                yield place, f"{place}: {lines(node)} lines, {arguments(node)} arguments"


def test_functions_are_small_but_those_with_a_reason():
    found = dict(too_large())
    others = [told for place, told in found.items() if place not in EXCEPTIONS]
    assert not others, "\n".join(others)
    assert set(EXCEPTIONS) == set(found), "an exception that is none any more"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def f(a, *b, c=1, **d):\n    return a", (2, 4)),
        ('def f(self, a):\n    """One\n    two."""\n    return a', (2, 1)),
        ("@given\ndef f(\n    a,\n): ...", (3, 1)),
    ],
)
def test_how_it_is_counted(text, found):
    ((_, node),) = functions(ast.parse(text))
    assert (lines(node), arguments(node)) == found
