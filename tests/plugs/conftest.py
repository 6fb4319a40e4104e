"""Plugs as their authors have them: files in a folder of their own, outside of the package."""

import importlib
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

import cimsim

HERE = Path(__file__).parent


@pytest.fixture
def plug(monkeypatch):
    """Return a plug by import path, ``module:Class``; modules of plugs are forgotten afterwards."""
    monkeypatch.syspath_prepend(HERE)
    known = set(sys.modules)

    def of(path):
        module, _, name = path.partition(":")
        return getattr(importlib.import_module(module), name)

    yield of
    for name in set(sys.modules) - known:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == HERE:
            del sys.modules[name]


@pytest.fixture
def broken(plug, monkeypatch):
    """Return the import path of a plug with something else in it."""

    def of(path, change):
        kind = plug(path)
        wrong = type(kind.__name__, (kind,), {"__module__": "broken_plug", **change})
        module = types.ModuleType("broken_plug")
        setattr(module, kind.__name__, wrong)
        monkeypatch.setitem(sys.modules, "broken_plug", module)
        return f"broken_plug:{kind.__name__}"

    return of


class Sorted(nn.Module):
    """Sorts the rows of a map."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        return torch.sort(self.layer(x), dim=3).values


@pytest.fixture(scope="module")
def sorts():
    """Return a network with an operation that cimsim has no cost for."""
    return cimsim.trace(Sorted().eval(), (torch.zeros(1, 3, 16, 16),))
