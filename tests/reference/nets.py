"""Random small networks and random chips without noise, each from one seed."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

ACTIVATIONS = {
    "none": lambda x: x,
    "relu": torch.relu,
    "leaky": lambda x: functional.leaky_relu(x, 0.1),
    "relu6": functional.relu6,
    "hardtanh": functional.hardtanh,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "gelu": functional.gelu,
}


class Act(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.name = name

    def forward(self, x):
        return ACTIVATIONS[self.name](x)


class Residual(nn.Module):
    def __init__(self, body, how):
        super().__init__()
        self.body, self.how = body, how

    def forward(self, x):
        if self.how == "add":
            return x + self.body(x)
        if self.how == "sub":
            return x - self.body(x)
        return self.body(x) * torch.sigmoid(x)


class Branches(nn.Module):
    def __init__(self, left, right, dim):
        super().__init__()
        self.left, self.right, self.dim = left, right, dim

    def forward(self, x):
        return torch.cat([self.left(x), self.right(x)], dim=self.dim)


class Twice(nn.Module):
    """The same weights applied one time after the other."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(torch.relu(self.body(x)))


class Unrolled(nn.Module):
    """A cell stepped by hand over the first axis of time."""

    def __init__(self, cell, hidden):
        super().__init__()
        self.cell, self.hidden = cell, hidden

    def forward(self, x):
        h = x.new_zeros(x.shape[0], self.hidden)
        c = x.new_zeros(x.shape[0], self.hidden)
        out = []
        for t in range(x.shape[1]):
            if isinstance(self.cell, nn.LSTMCell):
                h, c = self.cell(x[:, t], (h, c))
            else:
                h = self.cell(x[:, t], h)
            out.append(h)
        return torch.stack(out, dim=1)


class First(nn.Module):
    """A recurrent layer's sequence without its last state."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x)[0]


class Mean(nn.Module):
    def forward(self, x):
        return x.flatten(2).mean(2)


def act(rng):
    return Act(str(rng.choice(list(ACTIVATIONS))))


def map_block(rng, c, h, w):
    """One block on a map of c x h x w."""
    kind = rng.choice(
        ["conv", "grouped", "depthwise", "up", "max", "avg", "residual", "cat", "shuffle", "twice",
         "norm", "nearest"]
    )  # fmt: skip
    n = int(rng.integers(1, 7))
    bias = bool(rng.integers(2))
    if kind == "conv":
        k = (int(rng.integers(1, min(4, h) + 1)), int(rng.integers(1, min(4, w) + 1)))
        s = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        p = (int(rng.integers(0, k[0])), int(rng.integers(0, k[1])))
        d = 2 if rng.random() < 0.2 and h > 2 * k[0] and w > 2 * k[1] else 1
        return nn.Conv2d(c, n, k, s, p, d, bias=bias)
    if kind == "grouped":
        g = next(g for g in (3, 2, 1) if c % g == 0)
        return nn.Conv2d(c, g * int(rng.integers(1, 4)), 3, padding=1, groups=g, bias=bias)
    if kind == "depthwise":
        return nn.Conv2d(c, c, 3, int(rng.integers(1, 3)), 1, groups=c, bias=bias)
    if kind == "up" and h * w <= 64:
        k = int(rng.integers(2, 5))
        return nn.ConvTranspose2d(c, n, k, 2, padding=(k - 2) // 2, bias=bias)
    if kind == "max" and min(h, w) >= 3:
        return nn.MaxPool2d(2, int(rng.integers(1, 3)))
    if kind == "avg" and min(h, w) >= 3:
        return nn.AvgPool2d(2)
    if kind == "residual":
        body = nn.Sequential(nn.Conv2d(c, c, 3, padding=1), act(rng), nn.Conv2d(c, c, 1, bias=bias))
        return Residual(body, str(rng.choice(["add", "sub", "gate"])))
    if kind == "cat":
        left = nn.Sequential(nn.Conv2d(c, n, 3, padding=1, bias=bias), act(rng))
        return Branches(left, nn.Conv2d(c, int(rng.integers(1, 4)), 1), 1)
    if kind == "shuffle" and h * w <= 64:
        return nn.Sequential(nn.Conv2d(c, 4 * min(n, 3), 3, padding=1), nn.PixelShuffle(2))
    if kind == "twice":
        return Twice(nn.Conv2d(c, c, 3, padding=1, bias=bias))
    if kind == "norm":
        norm = nn.BatchNorm2d(n)
        with torch.no_grad():
            norm.running_mean.normal_(0, 0.2)
            norm.running_var.uniform_(0.5, 2)
            norm.weight.uniform_(-1, 1)
        return nn.Sequential(nn.Conv2d(c, n, 3, padding=1, bias=bias), norm, nn.ReLU())
    if kind == "nearest" and h * w <= 36:
        return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(c, n, 3, padding=1))
    return nn.Conv2d(c, n, 1, bias=bias)


def series_block(rng, c, length):
    """One block on a series of c channels."""
    n, k = int(rng.integers(1, 7)), int(rng.integers(1, min(5, length) + 1))
    kind = rng.choice(["conv", "up", "residual", "depthwise"])
    if kind == "up" and length <= 16:
        return nn.ConvTranspose1d(c, n, 3, 2, 1)
    if kind == "residual":
        return Residual(nn.Conv1d(c, c, 3, padding=1), "add")
    if kind == "depthwise":
        return nn.Conv1d(c, c, 3, padding=1, groups=c)
    return nn.Conv1d(c, n, k, int(rng.integers(1, 3)), k // 2)


def features_block(rng, f):
    """One block on features on the last axis."""
    n = int(rng.integers(1, 17))
    kind = rng.choice(["linear", "residual", "cat", "norm"])
    if kind == "residual":
        return Residual(nn.Sequential(nn.Linear(f, n), act(rng), nn.Linear(n, f)), "add")
    if kind == "cat":
        return Branches(nn.Linear(f, n), nn.Sequential(nn.Linear(f, 3), act(rng)), -1)
    if kind == "norm" and f > 1:
        return nn.Sequential(nn.LayerNorm(f), nn.Linear(f, n))
    return nn.Linear(f, n, bias=bool(rng.integers(2)))


def recurrent(rng, f):
    """A recurrent layer or a cell stepped by hand."""
    hidden = int(rng.integers(2, 7))
    kind = rng.choice(["lstm", "gru", "rnn", "lstm cell", "gru cell"])
    if kind == "lstm cell":
        return Unrolled(nn.LSTMCell(f, hidden), hidden)
    if kind == "gru cell":
        return Unrolled(nn.GRUCell(f, hidden), hidden)
    whole = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[str(kind)]
    more = {"num_layers": int(rng.integers(1, 3)), "bidirectional": bool(rng.integers(2))}
    return First(whole(f, hidden, batch_first=True, **more))


def net(seed):
    """A random network and the shape of its input."""
    rng = np.random.default_rng([seed, 1])
    torch.manual_seed(seed)
    kind = str(rng.choice(["map", "map", "map", "series", "features", "recurrent"]))
    if kind == "map":
        shape = (1, int(rng.integers(1, 5)), int(rng.integers(4, 9)), int(rng.integers(4, 9)))
    elif kind == "series":
        shape = (1, int(rng.integers(1, 5)), int(rng.integers(6, 17)))
    else:
        shape = (1, int(rng.integers(1, 6)), int(rng.integers(2, 17)))
    blocks, x = [], torch.zeros(shape)
    for number in range(int(rng.integers(1, 5))):
        if kind == "map":
            block = map_block(rng, *x.shape[1:])
        elif kind == "series":
            block = series_block(rng, *x.shape[1:])
        elif kind == "recurrent" and number == 0:
            block = recurrent(rng, x.shape[-1])
        else:
            block = features_block(rng, x.shape[-1])
        blocks += [block, act(rng)]
        x = nn.Sequential(*blocks[-2:]).eval()(x)
    if kind in ("map", "series") and rng.random() < 0.3:
        blocks.append(Mean() if rng.random() < 0.5 else nn.Flatten())
        blocks.append(nn.Linear(blocks[-1](x).shape[1], int(rng.integers(1, 8))))
    if not any(hasattr(part, "weight_hh_l0") or getattr(part, "weight", None) is not None
               for block in blocks for part in block.modules()):  # fmt: skip
        blocks.append(nn.Flatten())
        blocks.append(nn.Linear(blocks[-1](x).shape[1], 4))
    return nn.Sequential(*blocks).eval(), shape


def chip_fields(seed):
    """Overrides of ``eflash40nm`` that make a random chip without noise, strategy, allocation."""
    rng = np.random.default_rng([seed, 2])

    def one(*values):
        return values[int(rng.integers(len(values)))]

    encoding = one("differential", "differential", "offset", "twos_complement")
    most = one(8, 8, 10, 16)
    bits, inputs = int(rng.integers(2, most + 1)), int(rng.integers(1, most + 1))
    cell_bits = int(rng.integers(max(1, bits // 4), bits + 1))
    strategy = one("im2col", "im2col", "smd", "omm", "multipoint:2", "sdk", "sdk:2", "vwsdk")
    fields = {"device.kind": "ideal", "device.g_max": "2 uS", "device.g_min": one("0 uS", "0.1 uS")}
    if encoding == "differential" and rng.random() < 0.3:
        fields = {"device.sigma_program": 0, "device.sigma_read": 0}  # eFlash without its errors
    fields |= {
        "array.rows": int(rng.integers(4, 64)),
        "array.cols": int(rng.integers(17, 46)),
        "weights.bits": bits, "weights.cell_bits": cell_bits, "weights.encoding": encoding,
        "weights.scale": one("layer", "column", "balanced"),
        "weights.rounding": one("nearest", "nearest", "inputs"),
        "inputs.bits": inputs,
        "inputs.signed": "offset" if inputs == 1 else one("offset", "phases", "rows"),
        "inputs.percentile": one(100, 100, 99.0, 95.0),
        "dac.bits": int(rng.integers(1, inputs + 1)),
        "adc.kind": one("sar", "sar", "sar", "ideal"),
        "adc.bits": one(3, 4, 5, 6, 8, 10, 12, 24, 32),
        "adc.range": one("full", "calibrated", "calibrated", "power2"),
        "adc.method": one("percentile", "least_error"), "adc.scope": one("layer", "array"),
        "adc.percentile": one(100, 100, 99.5, 90.0),
        "adc.count": 2, "tile.count": 400,
        "calibration.column_gain": one(False, True), "calibration.column_offset": one(False, True),
    }  # fmt: skip
    if encoding != "differential":
        fields |= {"array.cell_area": "1 um2"}
    allocation = one("in_order", "packed", "replicated", "short_wires")
    return fields, strategy, allocation
