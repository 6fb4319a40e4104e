"""Who waits for a kernel to be compiled is told what for, once."""

import io
import pickle
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


class Gone:
    """Stands for a class that kernels of an earlier state of the package were compiled for."""


def test_an_index_of_an_earlier_state_is_passed_over_though_its_classes_are_gone(
    tmp_path, monkeypatch
):
    from cimsim.kernels.avx2 import product as kernel

    file = kernel._cache._cache_file
    index = tmp_path / "kernel.nbi"
    monkeypatch.setattr(file, "_index_path", str(index))

    def written(version):
        index.write_bytes(pickle.dumps(version) + pickle.dumps((file._source_stamp, {1: Gone})))

    written(file._version)
    assert file._load_index() == {1: Gone}
    written(f"{file._version} before")
    with monkeypatch.context() as patch:
        patch.delattr(sys.modules[__name__], "Gone")
        assert file._load_index() == {}
