"""The field's networks by hand, and the files that torch's own exporter makes of them."""

import contextlib
import io
import logging
import warnings
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """The basic block of ResNet-18."""

    def __init__(self, inner, outer, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outer), nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.down = None
        if stride > 1 or inner != outer:
            self.down = nn.Sequential(
                nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer)
            )

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.down is None else self.down(x)))


class ResNet18(nn.Module):
    def __init__(self, width=64, classes=1000):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, 2, 1)
        sizes = [width, width, 2 * width, 4 * width, 8 * width]
        self.layers = nn.Sequential(
            *(
                nn.Sequential(Block(a, b, 1 + (i > 0)), Block(b, b, 1))
                for i, (a, b) in enumerate(pairwise(sizes))
            )
        )
        self.average, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(sizes[-1], classes)

    def forward(self, x):
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.average(self.layers(x)), 1))


class Inverted(nn.Module):
    """The block of MobileNetV2."""

    def __init__(self, inner, outer, stride, wider):
        super().__init__()
        hidden = inner * wider
        parts = [] if wider == 1 else [nn.Conv2d(inner, hidden, 1, bias=False),
                                       nn.BatchNorm2d(hidden), nn.ReLU6()]  # fmt: skip
        self.conv = nn.Sequential(
            *parts, nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden), nn.ReLU6(), nn.Conv2d(hidden, outer, 1, bias=False),
            nn.BatchNorm2d(outer),
        )  # fmt: skip
        self.same = stride == 1 and inner == outer

    def forward(self, x):
        return x + self.conv(x) if self.same else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, share=1.0, classes=1000):
        super().__init__()

        def wide(n):
            return max(8, int(n * share + 4) // 8 * 8)

        first = wide(32)
        parts = [nn.Conv2d(3, first, 3, 2, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU6()]
        for wider, channels, times, stride in [
            (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
            (6, 160, 3, 2), (6, 320, 1, 1),
        ]:  # fmt: skip
            for i in range(times):
                parts.append(Inverted(first, wide(channels), stride if not i else 1, wider))
                first = wide(channels)
        last = wide(1280)
        parts += [nn.Conv2d(first, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU6()]
        self.features, self.drop = nn.Sequential(*parts), nn.Dropout(0.2)
        self.head = nn.Linear(last, classes)

    def forward(self, x):
        return self.head(self.drop(self.features(x).mean([2, 3])))


class UNet(nn.Module):
    """Transposed convolution, nearest and bilinear resizing, concatenation."""

    def __init__(self, width=8):
        super().__init__()

        def double(a, b):
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(),
                                 nn.Conv2d(b, b, 3, padding=1), nn.LeakyReLU(0.1))  # fmt: skip

        w = width
        self.one, self.two, self.three = double(3, w), double(w, 2 * w), double(2 * w, 4 * w)
        self.four = double(4 * w, 4 * w)
        self.up3 = nn.ConvTranspose2d(4 * w, 4 * w, 2, stride=2)
        self.up2 = nn.Upsample(scale_factor=2, mode="nearest")
        self.up1 = nn.Upsample(scale_factor=2, mode="bilinear")
        self.back3, self.back2 = double(8 * w, 4 * w), double(6 * w, 2 * w)
        self.back1, self.out = double(3 * w, w), nn.Conv2d(w, 3, 1)

    def forward(self, x):
        one = self.one(x)
        two = self.two(functional.max_pool2d(one, 2))
        three = self.three(functional.avg_pool2d(two, 2))
        four = self.four(functional.max_pool2d(three, 3, 2, 1))
        y = self.back3(torch.cat([self.up3(four), three], 1))
        y = self.back2(torch.cat([self.up2(y), two], 1))
        return self.out(self.back1(torch.cat([self.up1(y), one], 1)))


class Layer(nn.Module):
    """One encoder layer; ``own`` attention is written out, else torch's."""

    def __init__(self, width, heads, own):
        super().__init__()
        self.one, self.two = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down, self.act = nn.Linear(width, 4 * width), None, nn.GELU()
        self.down = nn.Linear(4 * width, width)
        self.heads, self.own = heads, own

    def forward(self, x):
        b, n, width = x.shape
        parts = self.qkv(self.one(x)).reshape(b, n, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        if self.own:
            a = torch.softmax(q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5, -1) @ v
        else:
            a = functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(a.transpose(1, 2).reshape(b, n, width))
        return x + self.down(self.act(self.up(self.two(x))))


class Transformer(nn.Module):
    """Tokens to classes."""

    def __init__(self, own=True, width=32):
        super().__init__()
        self.words, self.places = nn.Embedding(50, width), nn.Parameter(torch.randn(1, 12, width))
        self.layers = nn.Sequential(*(Layer(width, 4, own) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, tokens):
        x = self.layers(self.words(tokens) + self.places[:, : tokens.shape[1]])
        return self.head(self.norm(x)[:, 0])


class Recurrent(nn.Module):
    def __init__(self, kind="LSTM", **options):
        super().__init__()
        self.r = getattr(nn, kind)(6, 8, batch_first=True, **options)
        self.head = nn.Linear(16 if options.get("bidirectional") else 8, 4)

    def forward(self, x):
        return self.head(self.r(x)[0][:, -1])


def ready(module, seed=0):
    """Random weights, statistics of BatchNorm that are no 0 and 1, eval mode."""
    torch.manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
            part.weight.data.uniform_(0.5, 1.5)
            part.bias.data.normal_(0, 0.1)
    return module.eval()


def export(module, inputs, path, opset=18, **options):
    """Write a file with torch's own exporter, which is talkative."""
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module, inputs, path, opset_version=opset, dynamo=True, external_data=False,
                verbose=False, **options,
            )  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)
    return path
