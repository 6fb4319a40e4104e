"""Wrong input: one clear message, exit code 2, no traceback, nothing written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import as_process
from tests.cli.command import in_process as cimsim

ROOT = Path(__file__).resolve().parents[2]


WRONG = {
    "unknown chip": (["run", "--hw", "eflsh40nm"], ["eflsh40nm", "did you mean eflash40nm?"]),
    "missing file": (["run", "--hw", "./mine.yaml"], ["./mine.yaml"]),
    "misspelt key": (["run", "--set", "adc.bit=6"], ["adc.bit", "did you mean bits?"]),
    "wrong unit": (["run", "--set", "adc.energy=3 ns"], ["adc.energy", "in J", "3 ns"]),
    "wrong device": (["run", "--set", "device.kind=rramm"], ["rramm", "known:"]),
    "too old": (["run", "--time", "21y"], ["conditions.time", "0 .. 20 y", "got 21 y"]),
    "too late": (["run", "--set", "device.kind=sonos40", "--time", "6d"],
                 ["conditions.time", "0 .. 5 d", "got 6 d"]),
    "too warm": (["run", "--temperature", "90C"], ["conditions.temperature", "85 °C", "90 °C"]),
    "no unit of time": (["run", "--time", "30"], ["conditions.time", "no unit"]),
    "no map": (["run", "--set", "faults.map=f.csv"], ["faults.map", "f.csv", "no such file"]),
    "no cells": (["run", "--set", "device.kind=table", "--set", "device.file=c.csv"],
                 ["device.file", "c.csv", "no such file"]),
    "too many bits": (["run", "--set", "device.kind=sram"], ["weights.cell_bits", "1", "got 7"]),
    "negative size": (["run", "--size", "-64x48"], ["-64x48", "positive"]),
    "no size": (["run", "--size", "large"], ["large", "WIDTHxHEIGHT"]),
    "negative sigma": (["run", "--sigma", "-1"], ["--sigma", "-1"]),
    "no frames": (["run", "--frames", "0"], ["--frames", "0"]),
    "unknown network": (["run", "--model", "cimnett"], ["cimnett", "did you mean", "cimnet"]),
    "unknown stride": (["run", "--stride", "3"], ["stride", "2, 4, 8, 16", "3"]),
    "unknown width": (["run", "--model", "fastdvdnet", "--width", "0"], ["width", "1..256", "0"]),
    "width of another": (["run", "--width", "16"], ["cimnet", "width", "known: stride, stages"]),
    "nothing to reuse": (["run", "--streaming"], ["--streaming", "CIM-NET (stride 8, stages 1",
                                                  "--model fastdvdnet", "--stages 2"]),
    "count: no such option": (["count", "--model", "cimnet", "--per-frame", "3"],
                              ["--per-frame", "none of cimnet"]),
    "no weights": (["run", "--model", "dncnn"], ["DnCNN", "--weights", "cimsim train"]),
    "unknown mapping": (["run", "--mapping", "im3col", "--size", "32x32", "--frames", "1"],
                        ["im3col", "known: im2col"]),
    "unknown allocation": (["run", "--allocation", "paked"], ["paked", "did you mean packed?"]),
    "no mapping file": (["map", "--mapping", "m.yaml"], ["m.yaml", "cannot be read"]),
    "own mapping": (["map", "--mapping", "nomaps:X"], ["mapping: 'nomaps:X'", "cannot import"]),
    "no clip": (["run", "--input", "clip.mp4"], ["clip.mp4"]),
    "no room": (["run", "--set", "tile.count=5", "--size", "32x32", "--frames", "1"],
                ["needs 6 arrays", "has 5", "tile.count=6", "smaller network"]),
    "no class": (["run", "--model", ":x"], ["--model :x:", "package.module:Class"]),
    "time: no frames": (["time", "--frames", "0"], ["--frames", "0"]),
    "time: no such mapping": (["time", "--mapping", "im3col"], ["im3col", "known: im2col"]),
    "time: no picture": (["time", "--picture", "t.jpg"], ["--picture", ".png", "t.jpg"]),
    "time: no trace": (["time", "--trace", "t.json"], ["--trace", ".json.gz", "t.json"]),
    "time: no folder": (["time", "--trace", "none/t.json.gz"], ["--trace", "none/t.json.gz"]),
    "run: no trace": (["run", "--trace", "t.txt"], ["--trace", ".json.gz", "t.txt"]),
    "time: no room": (["time", "--set", "tile.count=5", "--size", "32x32"], ["needs 6 arrays"]),
    "no matrix": (["run", "--model", "torch.nn:ReLU", "--size", "32x32", "--frames", "1"],
                  ["'ReLU'", "no convolution"]),
    "endless seed": (["run", "--seed", "9" * 30], ["--seed", "2**63"]),
    "folder below a file": (["run", "--out", "/dev/null/x"], ["--out", "/dev/null"]),
    "a boolean": (["run", "--set", "adc.bits=true"], ["adc.bits", "true"]),
    "no module": (["run", "--model", "nowhere:Net"], ["nowhere"]),
    "count: unknown network": (["count", "--model", "cimnett"], ["cimnett", "did you mean"]),
    "show: unknown chip": (["hw", "show", "wtm2102"], ["wtm2102", "did you mean wtm2101?"]),
    "show: unknown network": (["models", "show", "cimnett"], ["cimnett", "cimnet"]),
    "train: no data": (["train", "--data", "nowhere", "--out", "o", "--steps", "1"], ["nowhere"]),
}  # fmt: skip


def test_a_process_says_what_the_command_says(tmp_path):
    arguments, parts = WRONG["misspelt key"]
    check(as_process(*arguments, cwd=tmp_path), parts, tmp_path)


@pytest.mark.parametrize("case", WRONG)
def test_wrong_argument(case, tmp_path):
    arguments, parts = WRONG[case]
    done = cimsim(*arguments, cwd=tmp_path)
    check(done, parts, tmp_path)


def check(done, parts, folder):
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    message = done.stderr
    for part in parts:
        assert part in message, message
    assert not (folder / "runs").exists()
    assert not list(folder.rglob("*.partial*"))


def test_unreadable_clip(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"this is no video")
    check(cimsim("run", "--input", "clip.mp4", cwd=tmp_path), ["clip.mp4"], tmp_path)


def test_weights_of_the_wrong_shape(tmp_path):
    import torch

    from cimsim.zoo.registry import build

    torch.save(build("cimnet", stride=8, coarse=0).state_dict(), tmp_path / "s8.pt")
    asked = ("run", "--stride", "4", "--arg", "coarse=0")
    done = cimsim(*asked, "--weights", "s8.pt", cwd=tmp_path)
    check(done, ["s8.pt", "fc.weight", "(2048, 10, 10, 10)", "(512, 10, 6, 6)",
                 "it fits --model cimnet --stride 8 --stages 1"],
          tmp_path)  # fmt: skip


def test_strict_names_the_operation_without_a_cost(tmp_path):
    (tmp_path / "odd.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Odd(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = nn.Conv2d(3, 3, 3, padding=1)\n"
        "    def forward(self, x):\n"
        "        return torch.special.bessel_j0(self.conv(x))\n"
    )
    arguments = ["run", "--model", "odd:Odd", "--weights", "random", "--size", "32x32",
                 "--frames", "1", "--hw", "example_minimal", "--strict"]  # fmt: skip
    check(cimsim(*arguments, cwd=tmp_path), ["--strict", "bessel_j0"], tmp_path)
    relaxed = cimsim(*arguments[:-1], "--out", "o", cwd=tmp_path)
    assert relaxed.returncode == 0, relaxed.stderr
    assert "bessel_j0" in relaxed.stdout


@pytest.mark.parametrize(
    ("text", "part"), [("1 / 0", "ZeroDivisionError"), ("class Net(", "SyntaxError")]
)
def test_a_module_that_cannot_be_imported(tmp_path, text, part):
    (tmp_path / "mine.py").write_text(text)
    done = cimsim("run", "--model", "mine:Net", "--size", "32x32", "--frames", "1", cwd=tmp_path)
    check(done, ["mine:Net", part], tmp_path)


def test_interrupting_early_says_so_and_leaves_nothing(tmp_path):
    # as from a terminal: whoever runs the tests in the background has SIGINT ignored
    code = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from cimsim.session import loading\n"
        "loading.load_network = lambda *a, **k: signal.raise_signal(signal.SIGINT)\n"
        "import sys; sys.argv = ['cimsim', 'run', '--size', '32x32', '--frames', '1']\n"
        "from cimsim.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 130
    assert done.stderr.strip() == "interrupted; no result was written"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_is_not_overwritten(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("years of work")
    done = cimsim("run", "--out", "precious", cwd=tmp_path)
    check(done, ["precious", "other files"], tmp_path)
    assert (tmp_path / "precious" / "thesis.tex").read_text() == "years of work"


def test_help_needs_neither_torch_nor_numba(tmp_path):
    heavy = ("torch", "numba", "scipy", "matplotlib", "skimage", "av", "networkx", "pydantic")
    code = (
        "import sys; from cimsim.cli.main import app\n"
        f"print(sorted(set({heavy}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
