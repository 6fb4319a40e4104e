"""Who waits for a kernel to be compiled is told what for, once."""

import io
import sys
from types import SimpleNamespace

import pytest

from cimsim import jit


class Terminal(io.StringIO):
    def __init__(self, is_one):
        super().__init__()
        self.is_one = is_one

    def isatty(self):
        return self.is_one


def compiling(module):
    return SimpleNamespace(data={"dispatcher": SimpleNamespace(
        py_func=SimpleNamespace(__module__=module))})  # fmt: skip


@pytest.mark.parametrize(
    ("module", "is_one", "lines"),
    [("cimsim.kernels.fused", True, 1), ("cimsim.kernels.fused", False, 0), ("mine", True, 0)],
)
def test_the_first_kernel_that_is_compiled_is_announced_on_a_terminal(
    monkeypatch, module, is_one, lines
):
    screen = Terminal(is_one)
    monkeypatch.setattr(sys, "stderr", screen)
    listener = jit._Told()
    for _ in range(3):
        listener.on_start(compiling(module))
    assert screen.getvalue().count("once") == lines
