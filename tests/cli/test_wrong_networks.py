"""Wrong networks and questions to them: one message, exit code 2, nothing of torch's own."""

import sys

import numpy as np
import pytest

from cimsim.cli.main import main

MODULE = """
import torch
from torch import nn

class Words(nn.Module):
    def __init__(self, classes=4, width=8):
        super().__init__()
        self.a = nn.Conv1d(5, width, 3)
        self.b = nn.Linear(width, classes)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)).mean(-1))

class Two(Words):
    def forward(self, x, y):
        return super().forward(x) + y

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.e, self.b = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, ids):
        return self.b(self.e(ids))

class Branch(Words):
    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else self.b.weight

class Writes(Words):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x):
        self.count += 1
        return super().forward(x) + self.count

class Attends(nn.Module):
    def __init__(self):
        super().__init__()
        self.q = nn.Linear(4, 4)

    def forward(self, x):
        q = self.q(x)
        return (q @ q.transpose(1, 2)).softmax(-1) @ q

def broken(**options):
    raise RuntimeError("first line\\nsecond line")

class Fails:
    def __len__(self):
        return 40

    def __getitem__(self, index):
        raise OSError("gone")

class Texts(Fails):
    def __getitem__(self, index):
        return ("a", 0)

number = 3
"""
SHAPE = ["--input-shape", "1x5x20"]
TIME, RUN = ["time", "-q"], ["run", "-q", "--weights", "random", "--task"]
CASES = {
    "another shape": ("Words", [*TIME, "--input-shape", "1x6x20"], "1x6x20|[1, 6, 20]"),
    "frames": ("Words", TIME, "--input-shape"),
    "no shape at all": ("Words", [*TIME, "--input-shape", "large"], "such as 1x40x98"),
    "a shape of nothing": ("Words", [*TIME, "--input-shape", "1x0x20"], "at least 1"),
    "a kind that is none": ("Words", [*TIME, "--input-shape", "1x5x20:text"], "1x12:int100"),
    "too few inputs": ("Two", [*TIME, *SHAPE], "y"),
    "too many inputs": ("Words", [*TIME, *SHAPE, *SHAPE], "too many positional"),
    "numbers for tokens": ("Tokens", [*TIME, "--input-shape", "1x7"], "int"),
    "tokens for numbers": ("Words", [*TIME, "--input-shape", "1x5x20:int9"], "int64"),
    "no such argument": ("Words", [*TIME, *SHAPE, "--arg", "clases=3"], "clases"),
    "an argument of another kind": ("Words", [*TIME, *SHAPE, "--arg", "width=many"], "many"),
    "an argument of no size": ("Words", [*TIME, *SHAPE, "--arg", "width=-3"], "dimension -3"),
    "no argument": ("Words", [*TIME, *SHAPE, "--arg", "width"], "NAME=VALUE"),
    "a branch on values": ("Branch", [*TIME, *SHAPE], "net.py"),
    "a buffer that is written": ("Writes", [*TIME, *SHAPE], "buffer 'count'"),
    "a constructor that fails": ("broken", TIME, "RuntimeError: first line"),
    "no module": ("number", TIME, "number"),
    "no such class": ("Word", TIME, "has no 'Word'"),
    "products without a unit": (
        "Attends", [*TIME, "--input-shape", "1x30x4"], "--set matmul.lanes=64"),
    "classes without labels": (
        "Words", [*RUN, "classification", *SHAPE], "give --data with labels"),
    "no such data": ("Words", [*RUN, "tensors", "--data", "none.npy"], "there is no such file"),
    "an empty folder": ("Words", [*RUN, "tensors", "--data", "."], "no images in"),
    "a damaged array": ("Words", [*RUN, "tensors", "--data", "damaged.npz"], "cannot read"),
    "data of another shape": ("Words", [*RUN, "tensors", "--data", "maps.npy"], "[1, 3, 8, 8]"),
    "fewer samples than asked": (
        "Words", [*RUN, "tensors", "--data", "few.npy", "--samples", "99"], "take fewer"),
    "text": ("Words", [*RUN, "tensors", "--data", "text.npz"], "array 'x': expected numbers, got"),
    "an infinite sample": ("Words", [*RUN, "tensors", "--data", "infinite.npy"], "NaN or infinity"),
    "a dataset that fails": ("Words", [*RUN, "tensors", "--data", "net:Fails"], "OSError: gone"),
    "a dataset of text": ("Words", [*RUN, "tensors", "--data", "net:Texts"], "a sample holds <U"),
    "labels of no kind": ("Words", [*RUN, "classification", "--data", "reals.npz"], "labels"),
    "a class that it lacks": (
        "Words", [*RUN, "classification", "--data", "ninth.npz", "--calibration", "4"], "label 9"),
}  # fmt: skip
NAMED = {
    "torchvision:resnet18": "pip install torchvision",
    "timm:mobilenetv2_100": "pip install --no-deps timm",
    "transformers:BertModel": "pip install transformers",
}


def refused(arguments, words, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["cimsim", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capfd.readouterr()
    assert end.value.code == 2, out + err
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert any(one in err for one in words.split("|")), err
    assert "Traceback" not in out + err
    assert not out.strip()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5, 20)).astype(np.float32)
    (tmp_path / "net.py").write_text(MODULE)
    (tmp_path / "damaged.npz").write_bytes(b"PK\3\4 and no more")
    np.save(tmp_path / "maps.npy", rng.normal(size=(40, 3, 8, 8)).astype(np.float32))
    np.save(tmp_path / "few.npy", x)
    np.savez(tmp_path / "reals.npz", x=x, y=rng.normal(size=40))
    np.savez(tmp_path / "text.npz", x=np.full(40, "a"), y=np.zeros(40, int))
    np.save(tmp_path / "infinite.npy", np.full((40, 5, 20), np.inf, np.float32))
    np.savez(tmp_path / "ninth.npz", x=x, y=np.full(40, 9))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "net", raising=False)
    yield tmp_path
    sys.modules.pop("net", None)


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_network_or_question_has_one_message(name, folder, monkeypatch, capfd):
    attribute, arguments, words = CASES[name]
    refused(
        [arguments[0], "--model", f"net:{attribute}", *arguments[1:]], words, monkeypatch, capfd
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_a_package_that_is_missing_is_told_with_the_way_to_it(name, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, name.partition(":")[0], None)
    refused(["map", "--model", name], NAMED[name], monkeypatch, capfd)


def test_a_network_of_a_package_knows_its_inputs():
    timm = pytest.importorskip("timm")
    from cimsim.session.loading import load_network

    network = load_network("timm:mobilenetv2_100", {"num_classes": 7}).taking(())
    assert [str(shape) for shape in network.inputs] == ["1x3x224x224"]
    assert network.module(*network.example(1, 1)).shape == (1, 7)
    assert network.random_weights
    assert "mobilenetv2_100" in timm.list_models()
