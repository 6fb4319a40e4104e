"""The scripts and notebooks of ``examples/`` run, and what they find is what it should be."""

import contextlib
import importlib.util
import io
import math
import re
import sys

import pytest

from tests.docs.pages import ROOT

EXAMPLES = ROOT / "examples"


@pytest.fixture
def example(monkeypatch):
    """Return a function that imports one of the scripts as a module of its own name."""

    def loaded(name):
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return loaded


def said(function, *arguments):
    with contextlib.redirect_stdout(io.StringIO()) as text:
        found = function(*arguments)
    return found, text.getvalue()


def test_every_example_is_listed_and_tested():
    listed = re.findall(r"^\| `(\S+)` \|", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    files = [path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")]
    assert sorted(listed) == sorted(files)
    source = (ROOT / "tests" / "docs" / "test_examples.py").read_text()
    assert all(f'"{name.partition(".")[0]}"' in source for name in files)


@pytest.mark.slow
def test_first_run(example):
    result, text = said(example("first_run").main)
    assert result.quality.psnr_db > result.quality.mean("noisy_psnr") + 2
    assert f"{result.quality.psnr_db:6.2f} dB" in text


def test_compare_chips(example):
    results, text = said(example("compare_chips").main)
    assert len({result.energy.total_j for result in results.values()}) == 3
    assert text.count("not counted: ") == 3
    assert "control" in text or "clock" in text  # what the minimal chip leaves out


def test_own_network(example):
    result, _ = said(example("own_network").main)
    chip = result.numbers()["quality.top1"].value
    assert chip > 85  # two moons are easy
    assert abs(chip - result.numbers()["quality.float_top1"].value) < 5


def test_own_cell(example):
    found, _ = said(example("own_cell").main)
    assert found[0.01] > found[0.02] > found[0.04]
    # an error of twice the size is four times the power, where nothing else counts
    assert found[0.02] - found[0.04] == pytest.approx(20 * math.log10(2), abs=1.5)


@pytest.mark.slow
def test_which_adc(example):
    front, text = said(example("which_adc").main)
    assert front
    assert text.count(" bits: ") == 4


def test_why_slow(example):
    found, _ = said(example("why_slow").main)
    assert found["replicated"].interval < found["in_order"].interval


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("name", "tables", "pictures"), [("first_look", 5, 5), ("study", 4, 2)])
def test_notebook(name, tables, pictures, tmp_path, monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel brings its own
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("pandas")
    book = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in book.cells), "kept without outputs: small"
    nbclient.NotebookClient(
        book, timeout=1000, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    kinds = [
        kind
        for cell in book.cells
        for output in cell.get("outputs", ())
        for kind in output.get("data", ())
    ]
    assert kinds.count("text/html") >= tables
    assert kinds.count("image/png") >= pictures
    nbformat.write(book, tmp_path / f"{name}.ipynb")  # for whoever wants to look
