"""The list of what is stable: everything on it exists, is documented, and has types."""

import doctest
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import cimsim
from cimsim import api

ROOT = Path(__file__).resolve().parents[1]
USER = """\
from cimsim import Chip, load_hw
from cimsim.api import AbstractDevice, Result, Timeline, map_graph, simulate_timing, trace

chip: Chip = load_hw("eflash40nm")
bits: int = chip.adc.bits
def cycles(timeline: Timeline) -> int:
    return timeline.interval
wrong: str = chip.adc.bits
"""


@pytest.mark.parametrize("name", api.__all__)
def test_every_stable_name_is_there_and_says_what_it_is(name):
    assert inspect.getdoc(getattr(api, name))


def test_the_everyday_names_are_stable_names():
    everyday = set(cimsim.__all__) - {"__version__"}
    assert everyday <= set(api.__all__)
    assert all(getattr(cimsim, name) is getattr(api, name) for name in everyday)


def test_type_checkers_see_the_same_names():
    seen = set()
    text = Path(api.__file__).read_text()
    for line in text.splitlines():
        if line.startswith("    from cimsim") and " as " in line and " as _" not in line:
            seen.add(line.rpartition(" as ")[2])
    assert seen | {"simulate_timing"} == set(api.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'simulato'"):
        _ = api.simulato
    assert "Chip" in dir(api)


@pytest.mark.slow
def test_a_users_file_is_checked_against_the_types(tmp_path):
    (tmp_path / "user.py").write_text(USER)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", str(tmp_path / "user.py")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    errors = [line for line in done.stdout.splitlines() if "user.py" in line and "error" in line]
    assert len(errors) == 1, done.stdout
    assert "user.py:8" in errors[0]


DOCUMENTED = (
    "cimsim", "cimsim.api", "cimsim.cli.helped", "cimsim.display.styled",
    "cimsim.report.screen", "cimsim.session.programmed", "cimsim.studies.optimise",
    "cimsim.studies.study",
)  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTED)
def test_doctests(name):
    done = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert done.failed == 0


def test_no_doctest_is_left_out():
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for folder in ("cimsim", "frontends")
        for path in (ROOT / folder).rglob("*.py")
        if ">>> " in path.read_text(encoding="utf-8")
    }
    # needs images of the reader's own; every line is skipped
    skipped = {"cimsim.session.simulation"}
    assert found - skipped <= set(DOCUMENTED), found
