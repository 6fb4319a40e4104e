"""-v says what is done, before and after the command."""

import subprocess
import sys

import pytest

from cimsim.cli.logged import without_verbose


@pytest.mark.parametrize("arguments", [("-v", "hw", "list"), ("hw", "list", "--verbose")])
def test_verbose_is_understood_before_and_after_a_command(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "cimsim", *arguments], capture_output=True, text=True, check=True
    )
    (line,) = done.stderr.splitlines()
    assert line.endswith(": " + " ".join(arguments))
    assert "eflash40nm" in done.stdout


def test_what_is_no_option_stays():
    assert without_verbose(["run", "--", "-v"]) == ["run", "--", "-v"]
