"""The keyword task on the recordings that are shipped, and its features by another formula."""

import io
import wave
import zipfile
from importlib import resources

import numpy as np
import pytest
import torch

import cimsim
from cimsim.errors import InputError
from cimsim.session.loading import load_network
from cimsim.tasks.cepstra import FLOOR, cepstra, triangles
from cimsim.tasks.keywords import keywords
from cimsim.tasks.recordings import EMBEDDED, WORDS, load
from cimsim.zoo import registry
from cimsim.zoo.weights import shipped_cards

BAR = 80.0  # percent; an untrained network finds one word in ten
NETWORKS = [name for name, entry in registry.CLASSIFIERS.items() if entry.task == "keywords"]


def by_sums(samples):
    """Cepstra of a recording of less than a second, each step as its defining sum."""
    rate, frame, hop, points, bands = 8000, 320, 160, 512, 40
    level = (samples.astype(float) ** 2).mean() ** 0.5
    second = np.zeros(rate)
    start = (rate - len(samples)) // 2
    second[start : start + len(samples)] = samples / level

    def mel(f):
        return 2595 * np.log10(1 + f / 700)

    window = np.sin(np.pi * np.arange(frame) / frame) ** 2
    n, k = np.arange(frame), np.arange(points // 2 + 1)
    fourier = np.exp(-2j * np.pi * np.outer(k, n) / points)
    corners = 700 * (10 ** (np.linspace(mel(20.0), mel(4000.0), bands + 2) / 2595) - 1)
    found = []
    for t in range(49):
        power = np.abs(fourier @ (second[t * hop : t * hop + frame] * window)) ** 2
        logs = []
        for low, middle, high in zip(corners, corners[1:], corners[2:], strict=False):
            f = k * rate / points
            rise, fall = (f - low) / (middle - low), (high - f) / (high - middle)
            weight = np.where(f < middle, rise, fall)
            logs.append(np.log((power * np.where(weight > 0, weight, 0)).sum() + 0.1))
        m = np.arange(bands)
        found.append([
            (np.sqrt(1 / bands) if c == 0 else np.sqrt(2 / bands))
            * (np.array(logs) * np.cos(np.pi * c * (2 * m + 1) / (2 * bands))).sum()
            for c in range(10)
        ])  # fmt: skip
    return np.array(found)


def test_cepstra_are_those_of_the_defining_sums():
    recording = load(None)[0].recordings[7]
    np.testing.assert_allclose(cepstra(recording.samples), by_sums(recording.samples), atol=2e-4)


def test_loudness_does_not_matter_and_long_recordings_keep_their_middle():
    rng = np.random.default_rng(0)
    sound = rng.normal(size=5000).astype(np.float32)
    np.testing.assert_allclose(cepstra(sound), cepstra(0.01 * sound), atol=1e-3)
    silence = cepstra(np.zeros(100, np.float32))
    np.testing.assert_allclose(silence[:, 1:], 0, atol=1e-5)
    np.testing.assert_allclose(silence[:, 0], np.log(FLOOR) * np.sqrt(40), rtol=1e-5)
    long = np.zeros(20001, np.float32)
    long[10000] = 1.0
    assert np.ptp(cepstra(long)[:, 0]) > 1  # the click is there
    long[:] = 0.0
    long[100] = 1.0
    assert np.ptp(cepstra(long)[:, 0]) < 1e-3  # this one was cut off
    with pytest.raises(InputError, match="one channel"):
        cepstra(np.zeros((2, 3), np.float32))


def test_every_bin_between_the_first_and_the_last_corner_is_heard():
    heard = triangles().sum(axis=0)
    assert (heard[3:-8] > 0.5).all()
    assert heard.max() <= 1 + 1e-9


def test_shipped_recordings_are_whole_with_their_attribution():
    tests, others = load(None)
    assert sorted(r.digit for r in tests.recordings) == sorted(list(range(10)) * 6)
    assert {r.index for r in tests.recordings} == {0}
    assert len({r.speaker for r in tests.recordings}) == 6
    assert len(others) == 40
    assert all(r.index == 5 for r in others.recordings)
    assert tests.classes == WORDS
    held = resources.files("cimsim.tasks").joinpath(EMBEDDED).read_bytes()
    with zipfile.ZipFile(io.BytesIO(held)) as file:
        text = file.read("LICENCE.txt").decode()
    for word in ("free-spoken-digit-dataset", "CC BY-SA 4.0", "unchanged",
                 *{r.speaker for r in tests.recordings}):  # fmt: skip
        assert word in text


@pytest.mark.parametrize("name", NETWORKS)
def test_shipped_weights_know_the_shipped_words(name):
    task = keywords()
    network = load_network(name, hw="wtm2101").taking(None)
    graph = cimsim.trace(network.module, network.example(1, 1))
    right = 0
    for i in range(task.count):
        sample = task.asked(i)
        right += int(graph.reference(*task.inputs(sample, graph))[0].argmax()) == sample.label
    assert 100 * right / task.count > BAR
    assert network.card.hw == "wtm2101"
    assert network.card.accuracy["held out"] > BAR


@pytest.mark.parametrize("name", ["dscnn", pytest.param("keyword-lstm", marks=pytest.mark.slow)])
def test_words_are_known_on_the_chip(name):
    network = load_network(name, hw="wtm2101").taking(None)
    graph = cimsim.trace(network.module, network.example(1, 1))
    chip = cimsim.load_hw("wtm2101")
    mapping = cimsim.map_graph(graph, chip, allocation="packed")
    result = cimsim.run(mapping, keywords(samples=20))
    top = result.measures[0]
    assert top.name == "top1"
    assert top.mean > BAR
    assert result.hardware.arrays == 2
    assert 0 < result.timing.latency_s < 0.2


def test_untrained_networks_miss_the_bar():
    network = load_network("dscnn", weights="random")
    task, right = keywords(), 0
    for i in range(task.count):
        sample = task.asked(i)
        x = torch.from_numpy(sample.inputs[0])[None]
        right += int(network.module(x).argmax()) == sample.label
    assert 100 * right / task.count < BAR / 2


def test_other_weights_for_other_tasks_do_not_mix():
    assert {card.model for card in shipped_cards("keywords")} == set(NETWORKS)
    assert not {card.model for card in shipped_cards()} & set(registry.CLASSIFIERS)


def wav(path, rate=8000, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((1000 * np.ones(channels * 800, "<i2")).tobytes())


def test_folders_of_recordings(tmp_path):
    with pytest.raises(InputError, match="no test recordings in"):
        load(tmp_path)
    wav(tmp_path / "3_ann_0.wav")
    wav(tmp_path / "4_ann_7.wav")
    (tmp_path / "notes.wav").write_bytes(b"ignored: no digit in its name")
    tests, others = load(tmp_path)
    assert [r.digit for r in tests.recordings] == [3]
    assert [r.digit for r in others.recordings] == [4]
    assert tests.sample(0).inputs[0].shape == (1, 49, 10)
    wav(tmp_path / "5_ann_1.wav", rate=16000)
    with pytest.raises(InputError, match=r"'5_ann_1.wav'.*expected 8000 Hz.*got 16000 Hz"):
        load(tmp_path)
    (tmp_path / "5_ann_1.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"'5_ann_1.wav' .* is no WAV file"):
        load(tmp_path)
