"""Clips that are read as the run goes on: the bits of arrays, at memory that does not grow."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn

import cimsim
from cimsim.errors import InputError
from cimsim.session.loading import Network
from cimsim.tasks.contract import Contract
from cimsim.video.embedded import embedded_clip
from cimsim.video.io import displayed, to_uint8, write_clip
from cimsim.video.noise import add_awgn
from cimsim.video.reel import KEPT, LEAST, NoisyReel, Reel, Spool, with_channels

HEIGHT, WIDTH = 16, 24
SMALL = {"array.rows": 64, "array.cols": 64, "tile.count": 40}


class Net(nn.Module):
    """One convolution of five frames, so that windows reach over the clip's ends."""

    n_frames = 5

    def __init__(self, channels=3):
        super().__init__()
        self.channels = self.frame_channels = channels
        self.conv = nn.Conv2d(5 * channels + 1, channels, 3, padding=1)

    def forward(self, x, noise_map):
        centre = x[:, 2 * self.channels : 3 * self.channels]
        return centre - 0.1 * self.conv(torch.cat([x, noise_map], dim=1))


@pytest.fixture(scope="module")
def mapping():
    torch.manual_seed(0)
    net = Network(Net().eval(), "mine", 5, True)
    graph = cimsim.trace(net.module, net.example(HEIGHT, WIDTH))
    return cimsim.map_graph(graph, cimsim.load_hw("example_minimal", overrides=SMALL))


@pytest.fixture(scope="module")
def grey_mapping():
    torch.manual_seed(0)
    net = Network(Net(1).eval(), "mine", 5, True)
    graph = cimsim.trace(net.module, net.example(HEIGHT, WIDTH))
    return cimsim.map_graph(graph, cimsim.load_hw("example_minimal", overrides=SMALL))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A clean clip, and one that is noisy as it is, as files without loss."""
    folder = tmp_path_factory.mktemp("clips")
    clean = embedded_clip("default", 7, HEIGHT, WIDTH)
    noisy = to_uint8(add_awgn(clean / np.float32(255), 20, 3))
    write_clip(folder / "clean.mkv", clean)
    write_clip(folder / "noisy.mkv", noisy)
    return folder / "clean.mkv", folder / "noisy.mkv", clean, noisy


def frames_of(result):
    return {name: to_uint8(np.asarray(frames)) for name, frames in result.frames.items()}


def assert_same(long, whole):
    """The same quality, hash and frames; a long clip's frames are 8 bit."""
    assert long.quality == whole.quality
    assert long.hash == whole.hash
    assert long.frame == whole.frame
    assert set(long.frames) == set(whole.frames)
    for name, frames in frames_of(whole).items():
        np.testing.assert_array_equal(frames_of(long)[name], frames)


def test_a_clip_gives_the_bits_of_an_array(mapping, files):
    path, _, clean, _ = files
    assert_same(cimsim.simulate(mapping, cimsim.load_clip(path)), cimsim.simulate(mapping, clean))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_clips_shorter_than_a_window_are_mirrored_alike(mapping, files, length):
    path, _, clean, _ = files
    long = cimsim.simulate(mapping, cimsim.load_clip(path, length, 2))
    assert_same(long, cimsim.simulate(mapping, clean[2 : 2 + length]))


def test_a_noisy_clip_is_judged_by_its_reference(mapping, files):
    path, noisy_path, clean, noisy = files
    whole = cimsim.simulate(mapping, noisy, noise_sigma=20, noisy=True, reference=clean)
    long = cimsim.simulate(
        mapping, cimsim.load_clip(noisy_path), noise_sigma=20, noisy=True,
        reference=cimsim.load_clip(path),
    )  # fmt: skip
    assert_same(long, whole)
    # nothing is added: the noisy frames are those of the file
    np.testing.assert_array_equal(frames_of(long)["noisy"], noisy)
    error = (noisy / 255 - clean / 255).reshape(7, -1)
    expected = 10 * np.log10(1 / (error**2).mean(axis=1))
    np.testing.assert_allclose(whole.quality.noisy_psnr, expected, atol=1e-4)


@pytest.mark.slow
def test_without_a_reference_there_is_no_quality_but_frames(mapping, files, tmp_path):
    _, noisy_path, _, noisy = files
    whole = cimsim.simulate(mapping, noisy, noisy=True)
    long = cimsim.simulate(mapping, cimsim.load_clip(noisy_path), noisy=True)
    assert_same(long, whole)
    assert whole.quality is None
    assert "clean" not in whole.frames
    chip, reference = (whole.frames[name] for name in ("chip", "float"))
    error = (np.clip(chip, 0, 1) - np.clip(reference, 0, 1)).reshape(7, -1)
    loss = np.mean(10 * np.log10(1 / (error.astype(float) ** 2).mean(axis=1)))
    assert any(f"{loss:.2f} dB (PSNR) from those of the float32" in note for note in long.notes)
    folder = long.to_dir(tmp_path / "run")
    assert len(list((folder / "frames" / "chip").iterdir())) == 7
    assert cimsim.Result.load(folder).quality is None


@pytest.mark.parametrize("sigma", [5, 15, 40])
def test_sigma_is_estimated_where_it_is_not_given(mapping, sigma):
    """On grey, where nothing clips, the estimate is the noise; in the run it is what is used."""
    flat = np.full((4, 128, 128, 3), 0.5, np.float32)
    from cimsim.video.sigma import estimate_sigma

    assert estimate_sigma(add_awgn(flat, sigma, 1)) == pytest.approx(sigma, rel=0.03)
    noisy = add_awgn(flat[:, :HEIGHT, :WIDTH], sigma, 1)
    result = cimsim.simulate(mapping, noisy, noisy=True)
    assert result.inputs["sigma"] == pytest.approx(sigma, rel=0.15)
    assert any("estimated from the clip" in note for note in result.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": np.zeros((7, HEIGHT, WIDTH, 3), np.uint8)}, "the clip itself is clean"),
        ({"noisy": True, "programmings": 2}, "needs a clean reference"),
        ({"noisy": True, "reference": np.zeros((6, HEIGHT, WIDTH, 3), np.uint8)}, "6 frames, the"),
        (
            {"noisy": True, "reference": np.zeros((7, 8, WIDTH, 3), np.uint8)},
            "reference: frames of",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(mapping, files, options, message):
    with pytest.raises(InputError, match=message):
        cimsim.simulate(mapping, files[3], **options)
    with pytest.raises(InputError, match="there is no clip"):
        cimsim.simulate(mapping, None, noisy=True)


@pytest.mark.slow
def test_grey_clips_and_grey_networks(mapping, grey_mapping, files):
    path, _, clean, _ = files
    grey = clean[..., 1]
    three = np.repeat(grey[..., None], 3, axis=3)
    for given in (grey, grey[..., None]):
        assert cimsim.simulate(mapping, given).hash == cimsim.simulate(mapping, three).hash
    assert Contract.of(grey_mapping.graph).channels == 1
    result = cimsim.simulate(grey_mapping, grey)
    assert result.frames["chip"].shape == (7, HEIGHT, WIDTH, 1)
    assert cimsim.simulate(grey_mapping, three).quality == result.quality
    # colour becomes its luma (BT.709)
    luma = (clean / 255.0) @ [0.2126, 0.7152, 0.0722]
    coloured = cimsim.simulate(grey_mapping, cimsim.load_clip(path))
    np.testing.assert_array_equal(frames_of(coloured)["clean"][..., 0], np.rint(255 * luma))
    assert_same(coloured, cimsim.simulate(grey_mapping, clean))


def test_reels_hand_out_any_frame(files):
    path, _, clean, _ = files
    reel = Reel(cimsim.load_clip(path))
    noisy = NoisyReel(Reel(cimsim.load_clip(path)), 15, 4)
    expected = add_awgn(clean / np.float32(255), 15, 4)
    for index in (0, 3, 1, 6, 0, 5):
        np.testing.assert_array_equal(reel[index], clean[index] / np.float32(255))
        np.testing.assert_array_equal(noisy[index], expected[index])
    with pytest.raises(IndexError):
        reel[7]


def test_reels_hold_few_frames(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3 * KEPT, 8, 9, 3), np.uint8))
    reel = NoisyReel(Reel(cimsim.load_clip(tmp_path / "a.npy")), 15, 4)
    for index in range(len(reel)):
        reel[index]
    assert len(reel._held) <= KEPT
    assert len(reel._clean._held) <= KEPT


@pytest.mark.slow
def test_reels_hold_as_many_large_frames_of_long_clips_as_of_short_ones(tmp_path):
    held = []
    for number in (LEAST, 3 * LEAST):
        np.save(tmp_path / f"{number}.npy", np.zeros((number, 1080, 1920), np.uint8))
        reel = Reel(cimsim.load_clip(tmp_path / f"{number}.npy"))
        for index in range(len(reel)):
            reel[index]
        held.append(len(reel._held))
    assert held == [LEAST, LEAST]


def test_reels_hold_what_a_network_asks_for_at_once(tmp_path):
    window = KEPT + 3
    np.save(tmp_path / "a.npy", np.arange(2 * KEPT * 8 * 9, dtype=np.uint8).reshape(-1, 8, 9))
    reel = Reel(cimsim.load_clip(tmp_path / "a.npy"), 1, window)
    frames = reel._clip.__iter__()
    read = []
    reel._frames = (read.append(1) or frame for frame in frames)
    for start in range(len(reel) - window):
        for index in range(start, start + window):
            reel[index]
    assert len(read) == len(reel) - 1  # each once


def test_spools_give_back_what_they_got(tmp_path):
    spool, frames = Spool(), np.random.default_rng(0).random((5, 8, 9, 3)).astype(np.float32)
    for frame in frames:
        spool.append(1.2 * frame - 0.1)
    eight = to_uint8(1.2 * frames - 0.1)
    np.testing.assert_array_equal(to_uint8(np.asarray(spool)), eight)
    np.testing.assert_array_equal(to_uint8(spool[-1]), eight[-1])
    spool.cut(3)
    assert spool.shape == (3, 8, 9, 3)
    write_clip(tmp_path / "out.mkv", displayed(spool))
    np.testing.assert_array_equal(np.asarray(cimsim.load_clip(tmp_path / "out.mkv")), eight[:3])


def test_luma_of_grey_is_grey():
    grey = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    np.testing.assert_array_equal(with_channels(grey, 1), grey[..., :1])
    np.testing.assert_array_equal(with_channels(grey[..., :1], 3), grey)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_does_not_grow_with_the_length(tmp_path):
    """Peak resident memory of a run of 200 and of 2,000 frames."""
    program = textwrap.dedent("""
        import resource, sys
        import numpy as np
        from tests.fidelity.test_long_clips import *
        torch.manual_seed(0)
        net = Network(Net().eval(), "mine", 5, True)
        graph = cimsim.trace(net.module, net.example(16, 24))
        placed = cimsim.map_graph(graph, cimsim.load_hw("example_minimal", overrides=SMALL))
        clip = cimsim.load_clip(sys.argv[1], int(sys.argv[2]))
        result = cimsim.simulate(placed, clip, threads=1)
        assert result.frame == (int(sys.argv[2]), 16, 24)
        result.to_dir(sys.argv[3])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """)
    write_clip(tmp_path / "long.mkv", embedded_clip("default", 2000, 16, 24))
    peaks = []
    for length in (200, 2000):
        paths = tmp_path / "long.mkv", str(length), tmp_path / f"{length}"
        done = subprocess.run(
            [sys.executable, "-c", program, *paths],
            capture_output=True, check=True, text=True,
        )  # fmt: skip
        peaks.append(int(done.stdout) * (1 if sys.platform == "darwin" else 1024))
    # the four kinds of frames would be 4 x 1,800 x 4.6 kB = 33 MB more as floats
    assert peaks[1] - peaks[0] < 15e6, peaks
