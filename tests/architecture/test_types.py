"""`Any` says nothing to a reader and nothing to mypy: how often it still stands, room by room.

The bounds only go down. Whoever types a room lowers its bound; whoever meets one here types what
was added, with a protocol, a type variable, `object` and a check, or a typed mapping.
"""

import ast
import functools
from collections import Counter

import pytest

from tests.architecture.test_imports import PACKAGE, ROOT, known, room

# room: (in all annotations, in those of public functions); rooms that are not here have none
MOST = {
    "cli": (8, 0), "frontends": (14, 0), "graph": (1, 0), "jit": (4, 0), "kernels": (4, 0),
    "mapping": (1, 0), "report": (8, 0), "session": (25, 0), "studies": (11, 0),
}  # fmt: skip


def is_ours(path):
    return path.is_relative_to(PACKAGE) or path.is_relative_to(ROOT / "frontends")


def trees():
    for name, path in known().items():
        if is_ours(path):
            yield room(name), ast.parse(path.read_text())


def is_any(node):
    name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
    return name == "Any"


def anys(node):
    return sum(is_any(part) for part in ast.walk(node))


def functions(tree, public=True):
    """Yield functions, and whether a user can call them: no name on the way has an underscore."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            is_own = node.name.startswith("_") and not node.name.endswith("__")
            yield node, public and not is_own
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, public and not node.name.startswith("_"))
        elif isinstance(node, ast.If | ast.Try):
            yield from functions(node, public)


def signature(function):
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    rest = [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    told = [one.annotation for one in (*named, *rest)]
    return [one for one in (*told, function.returns) if one is not None]


@functools.cache
def counted():
    everywhere, in_public = Counter(), Counter()
    for where, tree in trees():
        everywhere[where] += anys(tree)
        in_public[where] += sum(
            anys(part)
            for function, public in functions(tree)
            if public
            for part in signature(function)
        )
    return everywhere, in_public


ROOMS = sorted({room(name) for name, path in known().items() if is_ours(path)})


@pytest.mark.parametrize("where", ROOMS)
def test_no_room_says_any_more_often_than_it_did(where):
    everywhere, in_public = counted()
    all_, public = MOST.get(where, (0, 0))
    assert everywhere[where] <= all_
    assert in_public[where] <= public


def test_the_counts_see_what_they_are_to_see():
    tree = ast.parse(
        "def f(a: Any, *b: dict[str, typing.Any]) -> Any: ...\n"
        "def _g(a: Any): ...\n"
        "class C:\n    x: Any\n    def h(self, a: Any): ...\n    def __call__(self) -> Any: ...\n"
        "class _D:\n    def k(self) -> Any: ...\n"
    )
    found = [(f.name, anys(ast.Tuple([*signature(f)])), public) for f, public in functions(tree)]
    assert found == [
        ("f", 3, True), ("_g", 1, False), ("h", 1, True), ("__call__", 1, True), ("k", 1, False)
    ]  # fmt: skip
    assert anys(tree) == 8
