"""Whole modules through torch.export: the graph computes what the module computes."""

import io
import math
import re
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from cimsim.errors import GraphError
from cimsim.frontends.torch_export import from_exported, trace
from cimsim.graph.digest import operations_hash
from cimsim.graph.ir import LayerGraph

registry = pytest.importorskip("cimsim.zoo.registry")


def randomise(model):
    """Give every BatchNorm statistics and weights that show when they are folded wrongly."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return model


def agrees(model, graph, *inputs):
    """Compare with the module in eval mode, to 1e-5 of the largest output."""
    model.eval()
    with torch.no_grad():
        expected = model(*inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for y, z in zip(graph.reference(*inputs), expected, strict=True):
        assert y.dtype == z.dtype
        scale = max(float(z.double().abs().max()), 1.0)
        torch.testing.assert_close(y, z, rtol=0, atol=1e-5 * scale)


def traced(model, *inputs, frames=2):
    """Trace with one frame, compare with several."""
    torch.manual_seed(0)
    graph = trace(randomise(model), inputs)
    more = [torch.randn(frames, *x.shape[1:]) for x in inputs]
    agrees(model, graph, *more)
    return graph


# The zoo

ZOO = [
    ("cimnet", {"stride": 2}, 16, 3.875),
    ("fastdvdnet-block", {}, 16, 5.875),
    ("ffdnet", {}, 15, None),
    ("foldnet", {"stride": 2, "levels": 3}, 16, 5 / 4 + 6 / 16 + 6 / 64),
    ("foldnet", {"stride": 8}, 16, 5 / 64),
    pytest.param("fastdvdnet", {}, 16, 23.5, marks=pytest.mark.slow),
    pytest.param("dncnn", {}, 16, 17, marks=pytest.mark.slow),
]
# from S = 8 on CIM-NET has its two smoothing modules and no coarse path
ZOO += [
    pytest.param("cimnet", options, 4 * options["stride"], factor, marks=pytest.mark.slow)
    for options, factor in (
        ({"stride": 4}, 9.5 / 16), ({"stride": 8}, 2 / 64), ({"stride": 8, "coarse": 1}, 9.5 / 64),
    )
]  # fmt: skip
for model in ("baseline-o1", "baseline-o2", "abla-net"):
    factor = {"baseline-o1": 5.875, "baseline-o2": 11.5}.get(model, 9.5)
    ZOO += [
        pytest.param(model, {"stride": s}, 4 * s, factor / s**2, marks=pytest.mark.slow)
        for s in (4, 8)
    ]
ZOO += [
    pytest.param("cimnet", {"stride": 16, "coarse": 1}, 64, 9.5 / 256, marks=pytest.mark.slow),
    pytest.param("cimnet", {"stride": 4, "stages": 2}, 16, 4 * 9.5 / 16, marks=pytest.mark.slow),
    pytest.param("fastdvdnet-block", {}, 18, None, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "options", "size", "windows"), ZOO)
def test_zoo(name, options, size, windows):
    torch.manual_seed(1)
    model = randomise(registry.build(name, **options))
    frames = torch.rand(1, 3 * model.n_frames, size, size)
    noise_map = torch.full((1, 1, size, size), 25 / 255)
    graph = trace(model, (frames, noise_map), name)
    agrees(model, graph, frames, noise_map)
    assert not graph.uncosted
    assert [op.name for op in graph.inputs] == ["frames", "noise_map"]
    assert not [op for op in graph.digital_ops if op.op in ("batch_norm", "pixel_shuffle")]
    assert not [op for op in graph.digital_ops if op.locality == "barrier"]
    if windows is not None:
        assert sum(op.windows for op in graph.matrix_ops) == windows * size * size


def test_every_network_of_the_zoo_is_tested():
    tested = {getattr(case, "values", case)[0] for case in ZOO}
    assert tested == set(registry.MODELS)


def test_shared_blocks_share_their_weights():
    from cimsim.zoo.fastdvdnet import FastDVDnet

    model = FastDVDnet(width=4, per_frame=2)
    graph = traced(model, torch.rand(1, 15, 8, 8), torch.rand(1, 1, 8, 8))
    assert len(graph.matrix_ops) == 64
    ids = [op.weights_id for op in graph.matrix_ops]
    assert sorted(ids.count(i) for i in set(ids)) == [1] * 16 + [3] * 16
    first = [op for op in graph.matrix_ops if op.name.startswith("temp1.inc.convblock.0")]
    assert [op.name for op in first] == [f"temp1.inc.convblock.0{k}" for k in ("", "#2", "#3")]
    assert {op.weights_id for op in first} == {"temp1.inc.convblock.0*temp1.inc.convblock.1"}
    assert first[0].weight is first[2].weight


# Networks of other shapes


class Residual(nn.Module):
    """A classifier: convolutions with skips, pooling, a linear head with BatchNorm."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.body = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        )
        self.down = nn.Conv2d(8, 16, 1, stride=2)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(16, 12), nn.BatchNorm1d(12), nn.SiLU(), nn.Dropout(0.5)
        )
        self.out = nn.Linear(12, 5)

    def forward(self, image):
        x = functional.max_pool2d(self.stem(image), 3, 2, 1)
        x = x + self.body(x)
        x = functional.relu(self.down(x), inplace=True)
        x = functional.adaptive_avg_pool2d(x, 1)
        return functional.softmax(self.out(self.head(x)), dim=1)


class UNet(nn.Module):
    """Encoder, decoder with transposed convolutions, concatenated skips."""

    def __init__(self):
        super().__init__()
        self.enc0 = self.twice(1, 4)
        self.enc1 = self.twice(4, 8)
        self.mid = self.twice(8, 16)
        self.up1 = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.dec1 = self.twice(16, 8)
        self.up0 = nn.Sequential(
            nn.ConvTranspose2d(8, 4, 3, 2, 1, 1), nn.BatchNorm2d(4), nn.LeakyReLU(0.1)
        )
        self.dec0 = self.twice(8, 4)
        self.last = nn.Conv2d(4, 2, 1)

    @staticmethod
    def twice(c_in, c_out):
        return nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, padding="same", padding_mode="reflect"),
            nn.BatchNorm2d(c_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(c_out, c_out, 3, padding="same"),
            nn.ReLU(inplace=True),
        )

    def forward(self, x):
        a = self.enc0(x)
        b = self.enc1(functional.avg_pool2d(a, 2))
        c = self.mid(functional.max_pool2d(b, 2))
        b = self.dec1(torch.cat([b, self.up1(c)], dim=1))
        a = self.dec0(torch.cat((a, self.up0(b)), dim=1))
        return self.last(a), functional.interpolate(b, scale_factor=2, mode="bilinear")


class Separable(nn.Module):
    """Depthwise-separable blocks, a channel shuffle, squeeze and excitation."""

    def __init__(self):
        super().__init__()
        self.depth = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.point = nn.Conv2d(6, 12, 1)
        self.gate = nn.Sequential(nn.Linear(12, 3), nn.Hardswish(), nn.Linear(3, 12), nn.Sigmoid())
        self.depth2 = nn.Conv2d(12, 24, (5, 1), stride=(2, 1), padding=(2, 0), groups=12)

    def forward(self, x):
        x = functional.relu6(self.norm(self.depth(x)))
        x = functional.channel_shuffle(self.point(x), 3)
        x = x * self.gate(x.mean((2, 3)))[:, :, None, None]
        return self.depth2(functional.pad(x, (1, 0, 2, 1)))


def test_residual_classifier():
    graph = traced(Residual(), torch.rand(1, 3, 17, 14))
    assert [op.kind for op in graph.matrix_ops] == ["conv2d"] * 3 + ["linear"] * 2
    assert not [op for op in graph.digital_ops if op.op in ("batch_norm", "dropout", "clone")]
    assert graph["head.1"].weights_id == "head.1*head.2"
    assert graph["head.1"].layout == "last"
    assert not graph.uncosted


def test_unet():
    graph = traced(UNet(), torch.rand(1, 1, 12, 8))
    up = graph["up0.0"]
    assert up.kind == "conv_transpose2d"
    assert up.weights_id == "up0.0*up0.1"
    assert graph["up0.0.crop"].locality == "window"
    assert not [op for op in graph.digital_ops if op.op == "batch_norm"]
    assert len(graph.matrix_ops) == 13
    assert {op.op for op in graph.digital_ops if op.locality == "barrier"} == {"upsample_bilinear"}


def test_depthwise_separable():
    graph = traced(Separable(), torch.rand(1, 6, 9, 10))
    assert graph["depth"].groups == 6
    assert graph["depth"].group_cols == 1
    assert graph["depth2"].window.padding == (4, 3, 1, 0)
    assert [op.name for op in graph.digital_ops if op.op == "pad"] == []
    assert not graph.uncosted


class Mixed(nn.Module):
    """Operators of many kinds: several outputs, constants, in-place writes, products."""

    def __init__(self):
        super().__init__()
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 1))
        self.series = nn.Conv1d(4, 6, 3, padding=1, stride=2, groups=2)
        self.attend = nn.MultiheadAttention(6, 2, batch_first=True)
        self.token = nn.Linear(6, 6)
        self.scale = nn.Parameter(torch.randn(1, 4, 1, 1))
        self.register_buffer("table", torch.randn(3, 6))

    def forward(self, x):
        a, b = x.chunk(2, dim=1)
        first, *others = torch.unbind(b, dim=1)
        x = torch.cat([b, a], 1) * self.scale + torch.tensor(0.25)
        mask = torch.zeros_like(x)
        mask[:, :, 1:-1, 1:-1] = 1
        x = self.conv(self.conv(x * mask))
        x += first.unsqueeze(1)
        series = self.series(x.flatten(2))
        tokens = self.token(series.transpose(1, 2))
        tokens = tokens + self.attend(tokens, tokens, tokens, need_weights=False)[0]
        peak, _ = tokens.max(dim=1)
        top = torch.cummax(peak, 1).values
        product = torch.addmm(self.table[0], peak @ self.table.t() @ self.table, self.token.weight)
        last = self.token(x.permute(0, 2, 3, 1)[..., :2].repeat(1, 1, 1, 3))
        return top, product, last, others[0], x.to(torch.float32)


def test_operators_of_many_kinds():
    graph = traced(Mixed(), torch.rand(1, 4, 6, 5))
    assert {op.op for op in graph.uncosted} == {"cummax"}
    ids = {op.name: op.weights_id for op in graph.matrix_ops}
    # a weight norm is computed anew for each call and is still one matrix
    assert ids["conv"] == ids["conv#2"]
    assert graph["series"].window.kernel == (1, 3)
    assert ids["token"] == ids["token#2"] == "token"
    positions = graph["token#2"].input
    assert positions.shape == (1, 30, 6)
    projections = [op for op in graph.matrix_ops if op.name.startswith("attend")]
    assert [(op.windows, op.n_cols) for op in projections] == [(15, 18), (15, 6)]
    # constants are part of the arguments, nothing computes them at run time
    tensors = [a for op in graph.digital_ops for a in op.args if isinstance(a, torch.Tensor)]
    assert any(t.shape == (1, 4, 1, 1) for t in tensors)
    assert not [op for op in graph.digital_ops if op.op in ("zeros", "slice_scatter", "fill")]


def test_unknown_operators_run_and_are_listed():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.digamma(torch.cummax(x, 1).values)

    graph = traced(Odd(), torch.rand(1, 2, 4, 4), frames=1)
    assert [op.op for op in graph.uncosted] == ["cummax", "digamma"]
    source = graph.uncosted[0].source
    assert re.fullmatch(r"forward \(frontends/test_torch_export.py:\d+\)", source)


# Names, state, files


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU())

    def forward(self, image, weight_map):
        y = self.block(self.block(image)) + weight_map
        return functional.conv2d(y, weight_map) + y.mean()


def test_names_and_sources():
    graph = traced(Named(), torch.rand(1, 2, 4, 4), torch.rand(1, 2, 1, 1), frames=1)
    assert graph.name == "Named"
    assert [op.name for op in graph] == [
        "image",
        "weight_map",
        "block.0",
        "block.1",
        "block.0#2",
        "block.1#2",
        "add",
        "conv2d",
        "mean",
        "add#2",
    ]
    # weights that are an input are no matrix: the vector unit multiplies and adds
    assert not graph.uncosted
    assert graph["conv2d"].ops_per_element == 2 * 2
    assert re.fullmatch(
        r"block\.0 \(frontends/test_torch_export\.py:\d+\)", graph["block.0"].source
    )


def test_modes_are_restored_and_later_training_changes_nothing():
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.PReLU(2))
    model.train()
    model[1].eval()
    x = torch.rand(1, 2, 3, 3)
    graph = trace(model, (x,))
    assert [m.training for m in model.modules()] == [True, True, False, True]
    before = graph.reference(x)[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert graph.reference(x)[0].equal(before)


def test_exported_programs_from_a_file():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.PixelShuffle(2))
    randomise(model).eval()
    x = torch.rand(1, 3, 6, 6)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while it writes and reads
        torch.export.save(torch.export.export(model, (x,)), file)
        file.seek(0)
        program = torch.export.load(file)
    graph = from_exported(program, "loaded")
    agrees(model, graph, x)
    assert [op.name for op in graph] == ["input", "0", "2"]
    assert graph["0"].kind == "cim_conv"


def test_outputs_that_are_inputs_or_constants():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("grid", torch.arange(3.0))

        def forward(self, x):
            return x, self.grid * 2, x

    x = torch.rand(1, 2)
    graph = trace(Odd(), (x,))
    assert isinstance(graph, LayerGraph)
    assert graph.outputs == ("x", "constant", "x")
    assert graph.reference(x)[1].tolist() == [0, 2, 4]


# Errors


class Branch(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x
        return -x


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        return x * self.calls


class Masked(nn.Module):
    def forward(self, x):
        return x[x > 0.5]


class Unique(nn.Module):
    def forward(self, x):
        return torch.unique(x, return_counts=True)


class Conditional(nn.Module):
    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,))


@pytest.mark.parametrize(
    ("model", "shape", "words"),
    [
        (
            nn.Sequential(nn.Conv2d(1, 1, 1), nn.Sequential(Branch())),
            (1, 1, 4, 4),
            ("module '1.0' (Branch)", "`if x.sum() > 0:`", "torch.where"),
        ),
        (
            nn.Sequential(nn.Conv2d(2, 1, 1)),
            (1, 1, 4, 4),
            ("module '0' (Conv2d)", "expected input[1, 1, 4, 4] to have 2 channels", "run with"),
        ),
        (Counter(), (1, 4), ("Counter: forward() writes the buffer 'calls'", "no state")),
        (Conditional(), (1, 4), ("sub-program", "torch.where")),
        (Masked(), (1, 4), ("'aten.index' [forward (frontends/", "shape depends on values")),
        (Unique(), (1, 4), ("shape depends on values",)),
        (nn.Conv2d(2, 1, 1), (2, 4, 4), ("a convolution needs an input [B, C, H, W]", "[2, 4, 4]")),
    ],
)
def test_what_cannot_be_traced_is_explained(model, shape, words, capfd):
    with pytest.raises(GraphError) as caught:
        trace(model, (torch.rand(shape),))
    for word in words:
        assert word in str(caught.value)
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precision_is_refused(kind):
    words = rf"{str(kind)[6:]}, expected float32 .*\.float\(\)"
    with pytest.raises(GraphError, match=words):
        trace(nn.Conv2d(1, 1, 1).to(kind), (torch.rand(1, 1, 4, 4).to(kind),))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (torch.rand(1, 2), "Linear: example_inputs must be a tuple.*got Tensor"),
        ((), "Linear: example_inputs hold no tensor"),
        ((2, None), "Linear: example_inputs hold no tensor"),
        ((torch.rand(1, 2), object()), "Linear: an argument of forward.. is object; expected ten"),
    ],
)
def test_example_inputs_are_a_tuple_of_what_forward_takes(given, words):
    with pytest.raises(GraphError, match=words):
        trace(nn.Linear(2, 2), given)


class Nested(nn.Module):
    """Takes and returns what is no tensor but holds some."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 3), nn.Linear(4, 3)

    def forward(self, batch, pair, count, mask=None, *, scale, flip=False):
        y = self.a(batch["x"]) + self.b(batch["more"]["y"]) * pair[0] - pair[1]
        y = y[:, :count] if mask is None else y
        return {"scores": y.flip(1) if flip else y, "parts": [torch.relu(y) * scale, None]}


@pytest.mark.parametrize("flip", [False, True])
def test_tensors_inside_of_dictionaries_lists_and_keywords_are_inputs(flip):
    torch.manual_seed(0)
    net = Nested().eval()
    batch = {"x": torch.randn(1, 6), "more": {"y": torch.randn(1, 4)}}
    given = (batch, (torch.randn(1, 3), torch.randn(1, 3)), 2)
    named = {"flip": flip, "scale": torch.randn(1, 2)}
    graph = trace(net, given, kwargs=named)
    assert [op.output.shape for op in graph.inputs] == [(1, 6), (1, 4), (1, 3), (1, 3), (1, 2)]
    with torch.no_grad():
        want = net(*given, **named)
    for got in (
        graph.reference(*given, named["scale"]),
        graph.reference(batch["x"], batch["more"]["y"], *given[1], named["scale"]),
    ):
        torch.testing.assert_close(got, (want["scores"], want["parts"][0]))


class Composed(nn.Module):
    """Calls what torch composes of other operators."""

    def __init__(self):
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.randn(*size) / 3) for size in ((6, 8), (8, 4)))

    def forward(self, x):
        y = torch.fft.irfft(torch.fft.rfft(torch.fft.fft2(x).real) * (2 + 1j), n=6)
        return torch.linalg.multi_dot([y[0], self.a, self.b])


def test_operators_that_torch_composes_of_others_are_taken_apart():
    torch.manual_seed(0)
    graph = traced(Composed(), torch.rand(1, 5, 6), frames=1)
    assert not graph.uncosted
    assert sum(op.weight.size for op in graph.matrix_ops) >= 6 * 4
    costs = {op.target._overloadpacket._qualified_op_name: op.ops_per_element
             for op in graph.digital_ops if op.op == "fft"}  # fmt: skip
    assert costs["aten::_fft_c2c"] == pytest.approx(5 * math.log2(30))
    assert costs["aten::_fft_r2c"] == pytest.approx(2.5 * math.log2(6) * 6 / 4)
    assert costs["aten::_fft_c2r"] == pytest.approx(2.5 * math.log2(6))
    assert [op.ops_per_element for op in graph.digital_ops if op.op == "mul"] == [6]


@pytest.mark.parametrize(
    ("net", "x", "batch"),
    [
        (nn.TransformerEncoderLayer(8, 2, 16), torch.rand(7, 1, 8), 1),
        (nn.TransformerEncoderLayer(8, 2, 16), torch.rand(7, 3, 8), 3),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.rand(3, 7, 8), 3),
        (nn.TransformerEncoderLayer(8, 2, 16, norm_first=True), torch.rand(7, 8), 1),
        (nn.Sequential(nn.Embedding(9, 8), nn.TransformerEncoderLayer(8, 2, 16)),
         torch.zeros(7, 3, dtype=torch.int64), 3),
        (nn.Sequential(nn.Linear(5, 8), nn.TransformerEncoderLayer(8, 2, 16)),
         torch.rand(7, 2, 5), 2),
    ],
)  # fmt: skip
def test_the_batch_of_attention_is_where_torch_has_it(net, x, batch):
    graph = trace(net, (x,))
    assert graph.batch == batch
    # each of the seven steps of one sample goes through the layer behind the attention
    assert [op.windows for op in graph.matrix_ops if op.n_cols == 16] == [7]
    with torch.no_grad():
        torch.testing.assert_close(graph.reference(x)[0], net.eval()(x), rtol=1e-4, atol=1e-5)


class Places(nn.Module):
    """Reads the places of the largest values alone."""

    def forward(self, x):
        return x.topk(2)[1]


def test_an_operator_of_several_outputs_is_charged_whichever_is_read():
    graph = trace(nn.Sequential(nn.Linear(4, 8), Places()), (torch.rand(1, 4),))
    (op,) = (op for op in graph.digital_ops if op.op == "topk")
    assert op.ops_per_element == 8


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_what_only_runs_a_module_elsewhere_is_taken_off(wrap):
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    graph = trace(wrap(net), (torch.rand(1, 3),))
    assert graph.name == "Sequential"
    agrees(net, graph, torch.rand(1, 3))


def test_several_threads_may_trace_at_once():
    """torch.export keeps its modes in the process: one after another, whoever calls."""
    from concurrent.futures import ThreadPoolExecutor

    def traced(channels):
        net = nn.Sequential(nn.Conv2d(3, channels, 3), nn.ReLU(), nn.Conv2d(channels, 3, 3)).eval()
        return trace(net, (torch.zeros(1, 3, 12, 12),)).matrix_ops[0].group_cols

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(traced, range(2, 14))) == list(range(2, 14))


def test_constants_are_computed_however_they_lie_in_memory():
    """A copy in another order is none in a graph; a view of it must not insist on its strides."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.w = nn.Linear(6, 6), nn.Parameter(torch.randn(2, 3))

        def forward(self, x):
            return self.a(x) * self.w.t().contiguous().view(-1)

    net, x = Net().eval(), torch.randn(1, 6)
    with torch.no_grad():
        torch.testing.assert_close(trace(net, (x,)).reference(x)[0], net(x))


@pytest.mark.parametrize("rows", [1, 3])
def test_a_constant_vector_may_lie_with_gaps(rows):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.w = nn.Linear(6, rows), nn.Parameter(torch.randn(rows, 4))

        def forward(self, x):
            return self.a(x) * self.w[:, 0]

    net, x = Net().eval(), torch.randn(1, 6)
    graph = trace(net, (x,))
    assert operations_hash(graph) == operations_hash(trace(net, (x,)))
    with torch.no_grad():
        torch.testing.assert_close(graph.reference(x)[0], net(x))


class Drawing(nn.Module):
    """A convolution, and what is done with its output."""

    def __init__(self, draw):
        super().__init__()
        self.conv, self.draw = nn.Conv2d(3, 3, 1), draw

    def forward(self, x):
        return self.draw(self.conv(x))


DRAWS = {
    "rand": lambda y: y + torch.rand(1),
    "randn_like": lambda y: y + torch.randn_like(y),
    "dropout": lambda y: nn.functional.dropout(y, 0.5, training=True),
    "bernoulli": lambda y: y * torch.bernoulli(torch.full_like(y, 0.5)),
    "randperm": lambda y: y[:, torch.randperm(3)],
    "uniform": lambda y: y + torch.empty_like(y).uniform_(),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_network_that_draws_random_numbers_is_refused(name):
    with pytest.raises(GraphError, match=rf"draws random numbers \(aten\.{name}\).*an input of"):
        trace(Drawing(DRAWS[name]), (torch.zeros(1, 3, 8, 8),))


@pytest.mark.parametrize(
    "still",
    [
        lambda y: nn.functional.dropout(y, 0.5, training=False),
        lambda y: nn.functional.dropout(y, 0.0, training=True),
        lambda y: nn.functional.scaled_dot_product_attention(y, y, y, dropout_p=0.0),
        lambda y: nn.functional.rrelu(y),
    ],
)
def test_operators_that_could_draw_and_do_not_are_taken(still):
    graph = trace(Drawing(still), (torch.zeros(1, 3, 8, 8),))
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert all(map(torch.equal, graph.reference(x), graph.reference(x)))


@pytest.mark.parametrize("spoil", ["weight", "bias", "variance"])
def test_weights_that_are_not_finite_are_refused_with_the_name_of_the_layer(spoil):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.BatchNorm2d(2))
    with torch.no_grad():
        if spoil == "variance":
            model[3].running_var[1] = -1
        else:
            getattr(model[2], spoil).view(-1)[-1] = math.nan if spoil == "weight" else math.inf
    with pytest.raises(GraphError, match=r"node '2' .*holds NaN or infinity"):
        trace(model.eval(), (torch.zeros(1, 3, 8, 8),))
