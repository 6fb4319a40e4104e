import functools
import gc
import os
from pathlib import Path

import pytest
import typer.main
import typer.testing
from hypothesis import settings

# Kernels compile in the first example of a test; a deadline would call that a failure.
settings.register_profile("cimsim", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("cimsim")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["CIMSIM_CACHE"] = "off"  # no test reads or writes what the user has kept

# typer builds all commands anew for every call, which takes longer than most calls do
typer.main.get_command = typer.testing._get_command = functools.cache(typer.main.get_command)

# rooms whose tests hardly need compiled kernels
_LIGHT = {
    "architecture", "boundary", "chip", "display", "docs", "energy", "frontends", "graph",
    "mapping", "measured", "timing", "video", "zoo",
}  # fmt: skip


def pytest_collection_modifyitems(items):
    """Put the tests that need no kernels first: they are half of all.

    Each of two workers begins with a half, so that only one of them compiles what both will need.
    """
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(here).parts[0] not in _LIGHT)


def pytest_collection_finish(session):
    """Leave what was imported out of garbage collections: there are millions of objects."""
    gc.set_threshold(100_000, 50, 100)
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _one_torch_thread():
    """Tests run beside each other; nested thread pools would fight for two cores."""
    import torch

    torch.set_num_threads(1)
