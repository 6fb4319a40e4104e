"""What the README's commands name and the reader brings: clips, networks, weights, data, runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import torch

import cimsim
from cimsim.video.embedded import embedded_clip
from tests.cli.test_train import write_clips
from tests.docs.pages import ROOT
from tests.docs.pages import cimsim as command
from tests.measured.synthetic import flash, rows_to_xlsx

EDGE = 48
NETS = """
import torch
from torch import nn


class MyNet(nn.Module):
    n_frames = 3

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(9, 8, 3, padding=1), nn.ReLU(),
                                    nn.Conv2d(8, 3, 3, padding=1))

    def forward(self, x):
        return self.layers(x)


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(),
                                    nn.Linear(4 * 9, 10))

    def forward(self, x):
        return self.layers(x)


class Keywords(nn.Module):
    def __init__(self, classes=12):
        super().__init__()
        self.lstm = nn.LSTM(40, 8, batch_first=True)
        self.out = nn.Linear(8, int(classes))

    def forward(self, x):
        return self.out(self.lstm(x.squeeze(1)[:, :4])[0][:, -1])
"""
SPACE = f"""
networks: [{{model: cimnet, stride: 8}}]
set: {{adc.bits: "4..6", adc.count: "16,32"}}
frames: 0
size: {EDGE}x{EDGE}
"""


def bring(place: Path) -> None:
    """Lay everything into a folder that is the working directory."""
    for name in ("clip.mp4", "night.mp4", "day.mp4", "phone.mov"):
        film(place / name)
    shutil.copy(ROOT / "hwconfigs" / "example_minimal.yaml", place / "my_chip.yaml")
    (place / "mypkg").mkdir()
    (place / "mypkg" / "__init__.py").write_text("")
    (place / "mypkg" / "nets.py").write_text(NETS)
    from mypkg.nets import Digits, MyNet
    from safetensors.torch import save_file

    from tests.onnxfiles.writer import write  # needs the package onnx

    torch.manual_seed(0)
    save_file(MyNet().state_dict(), place / "w.safetensors")
    digits = Digits().eval()
    torch.save(digits.state_dict(), place / "w.pt")
    example = (torch.zeros(1, 1, 8, 8),)
    torch.export.save(torch.export.export(digits, example), place / "net.pt2")
    write(digits, example, place / "net.onnx")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(48, 1, 8, 8)).astype(np.float32)
    np.save(place / "inputs.npy", x)
    np.savez(place / "digits.npz", x=x, y=rng.integers(10, size=48))
    half = cimsim.load_network("fastdvdnet", {"width": 16}, "random")
    torch.save(half.module.state_dict(), place / "half.pth")
    write_clips(place / "clips", n_clips=12, edge=2 * EDGE)  # prune takes crops of 64
    flash(place / "cells.csv", seed=1, cells=30)
    for name in ("space.yaml", "study.yaml"):
        (place / name).write_text(SPACE)
    small = ("--frames", "1", "--size", f"{EDGE}x{EDGE}", "-q")
    for name, bits in (("a", "6"), ("b", "8")):
        command(["run", "--out", f"runs/{name}", "--set", f"adc.bits={bits}", *small])
    command(["sweep", "--out", "runs/x", "--set", "adc.bits=6,8", *small])
    shutil.copytree(place / "runs" / "a", place / "runs" / "20261126-104535-cimnet")


def workbook(place: Path) -> None:
    """Lay the readings of cells.csv there as a workbook, too; needs openpyxl."""
    header, *lines = (place / "cells.csv").read_text(encoding="utf-8-sig").splitlines()
    rows = [[float(word.replace(",", ".")) for word in line.split(";")] for line in lines]
    rows_to_xlsx(place / "retention.xlsx", header.split(";"), rows)


def film(path: Path, frames: int = 3) -> None:
    """Write the beginning of the embedded clip, twice a small edge wide, as a video."""
    write_frames(path, embedded_clip(frames=frames)[:, :EDGE, :EDGE])


def write_frames(path: Path, clip: np.ndarray) -> None:
    """Write frames [T, H, W, 3], H.264 at 25 a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = clip.shape[1:3]
        for picture in clip:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
