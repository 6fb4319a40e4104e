"""The chip's frames have the same bits whatever the process, its threads, hash seed and vectors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
import torch
from torch import nn

import cimsim
from cimsim.kernels import products

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import hashlib, json, sys
import numpy as np, torch
from torch import nn
import cimsim
torch.set_num_threads(1)
torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 3, 3, padding=1))
graph = cimsim.trace(net.eval(), (torch.zeros(1, 3, 24, 32),))
clip = np.random.default_rng(1).random((2, 24, 32, 3), dtype=np.float32)
from cimsim.session.environment import environment
found = {"arithmetic": environment()["arithmetic"]}
for hw in ("example_minimal", "eflash40nm"):
    mapping = cimsim.map_graph(graph, cimsim.load_hw(hw))
    done = cimsim.simulate(mapping, clip, threads=int(sys.argv[1]))
    found[hw] = [done.hash, *sorted(done.outputs.items())]
print(json.dumps(found))
"""


def outcome(threads=1, **environment):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(threads)], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "other",
    [
        {"threads": 2},
        {"PYTHONHASHSEED": "7"},
        {"PYTHONHASHSEED": "0", "threads": 3},
        # another target for the kernels: no 512-bit integers, other vectors; compiled anew
        {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""},
        *({"CIMSIM_ARITHMETIC": name} for name in products.NEEDED),
    ],
    ids=["2 threads", "hash seed 7", "hash seed 0, 3 threads", "plain x86-64", *products.NEEDED],
)
def test_the_same_bits_in_another_process(other, tmp_path):
    if "NUMBA_CPU_NAME" in other:
        if os.uname().machine != "x86_64":
            pytest.skip("names a target of x86-64")
        other = other | {"NUMBA_CACHE_DIR": str(tmp_path)}
    wanted = other.get("CIMSIM_ARITHMETIC")
    if wanted and not all(map(llvm.get_host_cpu_features().get, products.NEEDED[wanted])):
        pytest.skip(f"a processor without {wanted}")
    there, here = outcome(**other), outcome()
    path = there.pop("arithmetic"), here.pop("arithmetic")
    assert path[0] == "generic" or "NUMBA_CPU_NAME" not in other, path
    assert path[0] == (wanted or path[0])
    assert there == here


def test_a_frame_alone_is_the_frame_in_a_clip():
    """Noise is drawn for the number of a frame; without noise a frame is the same anywhere."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    graph = cimsim.trace(net.eval(), (torch.zeros(1, 3, 16, 20),))
    clip = np.random.default_rng(1).random((3, 16, 20, 3), dtype=np.float32)

    def frames(hw, some, **how):
        chip = cimsim.load_hw("example_minimal", hw)
        done = cimsim.simulate(cimsim.map_graph(graph, chip), some, threads=1, **how)
        return np.asarray(done.frames["chip"])

    whole = frames({}, clip)
    np.testing.assert_array_equal(frames({}, clip[:1])[0], whole[0])
    np.testing.assert_array_equal(frames({}, clip[:2]), whole[:2])
    exact = {"device.kind": "ideal"}
    whole = frames(exact, clip, noisy=True, noise_sigma=15.0)
    for index in range(3):
        alone = frames(exact, clip[index : index + 1], noisy=True, noise_sigma=15.0)
        np.testing.assert_array_equal(alone[0], whole[index])
