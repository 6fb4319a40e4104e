"""What holds for every network of the zoo: weight counts, window counts, the common contract."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cimsim.zoo import registry
from cimsim.zoo.errors import ZooError
from cimsim.zoo.streaming import StreamingDenoiser

ALL = [
    ("cimnet", {"stride": 2}),
    ("cimnet", {"stride": 4}),
    ("cimnet", {"stride": 8}),
    ("cimnet", {"stride": 4, "stages": 2}),
    ("fastdvdnet", {}),
    ("fastdvdnet-block", {}),
    ("baseline-o1", {"stride": 4}),
    ("baseline-o2", {"stride": 4}),
    ("abla-net", {"stride": 4}),
    ("foldnet", {"stride": 2}),
    ("foldnet", {"stride": 8}),
    ("dncnn", {}),
    ("ffdnet", {}),
]


def built(name, options):
    torch.manual_seed(0)
    return registry.build(name, **options).eval()


def example(model, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    frames = torch.rand(1, model.n_frames * 3, height, width, generator=generator)
    return frames, torch.full((1, 1, height, width), 15 / 255)


def n_matrix_weights(model):
    """Matrix elements as placed on arrays: a grouped layer counts as its block-diagonal matrix."""
    return sum(
        part.weight.numel() * part.groups for part in model.modules() if isinstance(part, nn.Conv2d)
    )


def n_windows(model, height, width):
    """Sliding windows of one run: output pixels of every convolution."""
    total = 0

    def count(_module, _args, output):
        nonlocal total
        total += output.shape[2] * output.shape[3]

    hooks = [
        part.register_forward_hook(count) for part in model.modules() if isinstance(part, nn.Conv2d)
    ]
    with torch.no_grad():
        model(*example(model, height, width))
    for hook in hooks:
        hook.remove()
    return total


@pytest.mark.parametrize(
    ("stride", "count"), [(2, 1_201_824), (4, 1_714_176), (8, 5_152_768), (16, 40_992_768)]
)
def test_cimnet_weights(stride, count):
    with torch.device("meta"):
        assert n_matrix_weights(registry.build("cimnet", stride=stride, coarse=1)) == count


def test_fastdvdnet_weights():
    block = registry.build("fastdvdnet-block")
    assert n_matrix_weights(block) == 1_243_800
    assert n_matrix_weights(registry.build("fastdvdnet")) == 2 * 1_243_800
    # published: 2.48 M parameters, two per channel of the 13 batch norms included
    assert sum(p.numel() for p in registry.build("fastdvdnet").parameters()) == 2 * (
        1_237_320 + 2 * 1114
    )


@pytest.mark.parametrize(
    ("name", "options", "per_pixel"),
    [
        ("fastdvdnet-block", {}, 5.875),
        ("fastdvdnet", {}, 4 * 5.875),
        ("cimnet", {"stride": 2}, 3.875),
        ("cimnet", {"stride": 4}, 9.5 / 16),
        ("cimnet", {"stride": 8}, 2 / 64),
        ("cimnet", {"stride": 8, "coarse": 1}, 9.5 / 64),
        ("cimnet", {"stride": 16, "coarse": 1}, 9.5 / 256),
        ("cimnet", {"stride": 8, "stages": 2, "coarse": 1}, 4 * 9.5 / 64),
        ("baseline-o1", {"stride": 2}, 5.875 / 4),
        ("baseline-o1", {"stride": 4}, 5.875 / 16),
        ("baseline-o1", {"stride": 8}, 5.875 / 64),
        ("baseline-o2", {"stride": 2}, 5.875),
        ("baseline-o2", {"stride": 4}, 11.5 / 16),
        ("baseline-o2", {"stride": 8}, 11.5 / 64),
        ("abla-net", {"stride": 2}, 3.875),
        ("abla-net", {"stride": 4}, 9.5 / 16),
        ("abla-net", {"stride": 8}, 9.5 / 64),
    ],
)
def test_windows(name, options, per_pixel):
    height, width = 32, 64
    if options.get("stride") == 16:
        height = 64
    assert n_windows(built(name, options), height, width) == per_pixel * height * width


@pytest.mark.parametrize(("name", "options"), ALL)
def test_contract(name, options):
    model = built(name, options)
    assert model.n_frames in (1, 3, 5)
    frames, noise_map = example(model, 35, 29)  # no multiple of any stride
    with torch.no_grad():
        out = model(frames, noise_map)
    assert out.shape == (1, 3, 35, 29)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize(("name", "options"), [entry for entry in ALL if entry[0] != "dncnn"])
def test_padding_repeats_the_border_and_is_cropped(name, options):
    model = built(name, options)
    frames, noise_map = example(model, 32, 32)
    frames[..., 31:, :] = frames[..., 30:31, :]  # 31 is padded to 32 by every stride
    with torch.no_grad():
        whole = model(frames, noise_map)[..., :31, :]
        torch.testing.assert_close(model(frames[..., :31, :], noise_map[..., :31, :]), whole)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        # cascades trace four blocks
        pytest.param(*entry, marks=pytest.mark.slow)
        if entry[0] == "fastdvdnet" or "stages" in entry[1]
        else entry
        for entry in ALL
    ],
)
def test_exports(name, options):
    model = built(name, options)
    arguments = example(model, 32, 32)
    program = torch.export.export(model, arguments)
    ops = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not any("pad" in op for op in ops), "a size that fits needs no padding"
    with torch.no_grad():
        torch.testing.assert_close(program.module()(*arguments), model(*arguments))


@pytest.mark.parametrize("name", ["fastdvdnet-block", "baseline-o1", "baseline-o2", "abla-net"])
def test_residual_networks_subtract_from_the_centre_frame(name):
    model = built(name, {})
    last = [part for part in model.modules() if isinstance(part, nn.Conv2d)][-1]
    nn.init.zeros_(last.weight)
    if last.bias is not None:
        nn.init.zeros_(last.bias)
    frames, noise_map = example(model, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(frames, noise_map), frames[:, 3:6])


def test_cimnet_has_no_residual():
    model = built("cimnet", {})
    nn.init.zeros_(model.block1.smooth_out.fc.weight)
    nn.init.zeros_(model.block1.smooth_out.fc.bias)
    with torch.no_grad():
        assert not model(*example(model, 32, 32)).any()


@pytest.mark.parametrize(
    ("name", "options", "reads"),
    [("dncnn", {}, False), ("ffdnet", {}, True), ("cimnet", {}, True), ("abla-net", {}, True)],
)
def test_who_reads_the_noise_map(name, options, reads):
    model = built(name, options)
    frames, noise_map = example(model, 32, 32)
    with torch.no_grad():
        same = torch.equal(model(frames, noise_map), model(frames, 3 * noise_map))
    assert same is not reads


@pytest.mark.parametrize(
    ("name", "options"), [("fastdvdnet", {}), ("cimnet", {"stride": 4, "stages": 2})]
)
def test_streaming_equals_the_window_by_window_run(name, options):
    model = built(name, options)
    generator = torch.Generator().manual_seed(1)
    clip = torch.rand(7, 1, 3, 20, 24, generator=generator)
    noise_map = torch.full((1, 1, 20, 24), 0.1)
    stream = StreamingDenoiser(model)
    with torch.no_grad():
        streamed = [stream.push(frame, noise_map) for frame in clip]
        assert streamed[:4] == [None] * 4
        for centre in range(2, 5):
            window = torch.cat(list(clip[centre - 2 : centre + 3]), dim=1)
            torch.testing.assert_close(streamed[centre + stream.delay], model(window, noise_map))


def test_streaming_runs_each_stage_once_per_frame():
    model = built("cimnet", {"stride": 4, "stages": 2})
    per_block = n_windows(registry.build("cimnet", stride=4).eval(), 16, 16)
    stream = StreamingDenoiser(model)
    noise_map = torch.full((1, 1, 16, 16), 0.1)
    runs = []
    for block in (model.block1, model.block2):
        block.register_forward_hook(lambda *_: runs.append(1))
    with torch.no_grad():
        for _ in range(5):
            stream.push(torch.rand(1, 3, 16, 16), noise_map)
        runs.clear()
        stream.push(torch.rand(1, 3, 16, 16), noise_map)
    assert len(runs) == 2
    assert per_block == 9.5 / 16 * 256


def test_streaming_needs_a_cascade():
    with pytest.raises(ZooError, match="3 frames"):
        StreamingDenoiser(built("cimnet", {}))


@pytest.mark.parametrize("name", ["cimnet", "baseline-o1", "baseline-o2", "abla-net"])
def test_classes_refuse_other_strides(name):
    factory = type(registry.build(name))
    with pytest.raises(ZooError, match=f"{name} stride: expected one of"):
        factory(stride=3)
