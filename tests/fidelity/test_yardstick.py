"""FastDVDnet of half width, trained by others, reaches its measured quality here."""

from pathlib import Path

import pytest

import cimsim
from cimsim.engine.workers import one_torch_thread
from cimsim.session.frames import window_of_frames
from cimsim.video.io import read_clip, to_float
from cimsim.video.metrics import per_frame
from cimsim.video.noise import add_awgn

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
WEIGHTS = SHARED / "weights" / "fastdvdnet_half_litedvdnet.pth"
# frames 3 to 5 of each clip, top 536 rows, sigma 15, output clipped to 0 .. 1
MEASURED = {"motorbike": 32.2, "hypersmooth": 35.4}


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS.is_file(), reason="no shared weights and clips here")
def test_independent_weights_give_their_measured_quality():
    network = cimsim.load_network("fastdvdnet", {"width": 16}, WEIGHTS)
    assert network.title == "FastDVDnet (width 16)"
    graph = cimsim.trace(network.module, network.example(536, 960))
    assert cimsim.map_graph(graph, cimsim.load_hw("eflash40nm")).arrays_used == 32
    for name, expected in MEASURED.items():
        clean = to_float(read_clip(SHARED / "data" / "test" / name, frames=7)[:, :536])
        noisy = add_awgn(clean, 15.0, 0)
        found = []
        with one_torch_thread():
            for t in (2, 3, 4):
                out = graph.reference(*window_of_frames(noisy, t, 5, 15.0, 2))[0]
                picture = out[0].permute(1, 2, 0).numpy()[None]
                found += list(per_frame(clean[t : t + 1], picture).psnr_db)
        assert sum(found) / 3 == pytest.approx(expected, abs=0.1), name
