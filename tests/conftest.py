import functools
import gc
import os

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
