"""The command line within this process, which has imported everything, or as a process."""

import contextlib
import importlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cimsim.cli.main import main

ROOT = Path(__file__).resolve().parents[2]


def in_process(*arguments, cwd, columns=200):
    """Run a command in a folder; what it imports from there is forgotten afterwards."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.chdir(cwd)
        patch.setenv("COLUMNS", str(columns))
        patch.setattr(sys, "argv", ["cimsim", *map(str, arguments)])
        patch.setattr(sys, "path", [str(cwd), *sys.path])
        patch.setattr(sys, "dont_write_bytecode", True)
        importlib.invalidate_caches()
        known = set(sys.modules)
        with contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as left:
                code = left.code or 0
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(cwd):
                del sys.modules[name]
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def as_process(*arguments, cwd):
    """Run a command as a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "cimsim", *map(str, arguments)], cwd=cwd, capture_output=True,
        text=True, check=False, env=environment, timeout=300,
    )  # fmt: skip
