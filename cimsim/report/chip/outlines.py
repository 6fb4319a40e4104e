"""What FastDVDnet, CIM-NET and the networks between them consist of, without torch.

`cimsim count` needs shapes alone, and importing torch takes longer than counting. The networks are
written down here once more, as layers with shapes; tests hold them to what is exported from
modules of `cimsim.zoo`, and whatever is not written down here is exported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph, MatrixOp, Op, Ref, TensorSpec, Window
from cimsim.graph.layout import output_shape
from cimsim.graph.signs import mark_signs
from cimsim.zoo import registry

Options = Mapping[str, Any]
_WIDTHS = (32, 64, 128)  # of CIM-NET, `cimsim.zoo.cimnet.WIDTHS`
_FRAMES = 3  # that one block reads


def outline(name: str, options: Options, size: tuple[int, int]) -> LayerGraph | None:
    """Return a network of the zoo as matrices and digital operations whose shapes alone are known.

    Parameters
    ----------
    name : str
    options : mapping
        Of the network; defaults are filled in.
    size : (int, int)
        Height and width of the frames.

    Returns
    -------
    LayerGraph or None
        Its weights are zeros that take no memory, its digital operations cannot be executed. None:
        the network, one of its options or the padding of this size is not known here.

    Raises
    ------
    ZooError
        An unknown option, or a value that is not allowed.
    """
    if name not in _NETWORKS:
        return None
    given = registry.info(name).resolve(options)
    multiple, draw = _NETWORKS[name](given)
    if any(n % multiple for n in size) or draw is None:
        return None
    n_frames = 5 if name == "fastdvdnet" or given.get("stages") == 2 else _FRAMES
    sketch = _Sketch(name, n_frames, size)
    estimate = draw(sketch)
    return mark_signs(LayerGraph(name, sketch.ops.values(), [estimate]))


class _Sketch:
    """A graph that grows layer by layer; values are known by their names."""

    def __init__(self, name: str, n_frames: int, size: tuple[int, int]) -> None:
        self.name, self.n_frames, self.size = name, n_frames, size
        self.ops: dict[str, Op] = {}
        self.frames = self._add(InputOp("frames", TensorSpec((1, 3 * n_frames, *size))))
        self.noise = self._add(InputOp("noise_map", TensorSpec((1, 1, *size))))

    def _add(self, op: Op) -> str:
        name, k = op.name, 2
        while name in self.ops:
            name, k = f"{op.name}#{k}", k + 1
        self.ops[name] = replace(op, name=name)
        return name

    def channels(self, x: str) -> int:
        """Return the channels of a map."""
        return self.ops[x].output.shape[1]

    def conv(
        self, label: str, x: str, c_out: int, window: tuple[int, int] = (3, 1), *, groups: int = 1,
        bias: bool = True, relu: bool = True, block: int = 1,
    ) -> str:  # fmt: skip
        """Convolve with padding 1 and write blocks of pixels; a batch norm gives a bias, too.

        ``window`` is the edge of the kernel, and the stride.
        """
        source, (kernel, stride) = self.ops[x].output, window
        rows = kernel**2 * source.shape[1] // groups
        cols = c_out * block**2
        op = MatrixOp(
            label, (x,), source, source, _zeros(groups, rows, cols // groups),
            _zeros(cols) if bias else None, Window((kernel,) * 2, (stride,) * 2, (1,) * 4),
            (c_out, block, block), weights_id=label,
        )  # fmt: skip
        made = self._add(replace(op, output=TensorSpec(output_shape(op), source.dtype)))
        return self.digital("relu", made) if relu else made

    def digital(self, what: str, *inputs: str, cost: float = 1.0, c_out: int = 0) -> str:
        """Do something for each element of maps of one size."""
        first = self.ops[inputs[0]].output.shape
        shape = (first[0], c_out or first[1], *first[2:])
        return self._add(
            DigitalOp(
                f"{inputs[0]}.{what}", tuple(dict.fromkeys(inputs)), TensorSpec(shape), what, None,
                tuple(Ref(name) for name in inputs), locality="pointwise", ops_per_element=cost,
            )
        )  # fmt: skip

    def joined(self, *inputs: str, c_out: int = 0) -> str:
        """Lay maps side by side."""
        wide = c_out or sum(map(self.channels, inputs))
        return self.digital("cat", *inputs, cost=0.0, c_out=wide)

    def triplet(self, frames: str) -> str:
        """Take three frames of more."""
        if self.channels(frames) == 3 * _FRAMES:
            return frames
        return self.digital("slice", frames, cost=0.0, c_out=3 * _FRAMES)

    def centre(self, frames: str, drawn: str) -> str:
        """Subtract what was drawn from the frame in the middle."""
        return self.digital("sub", self.digital("slice", frames, cost=0.0, c_out=3), drawn)

    def interleaved(self, frames: str) -> str:
        """Put the noise map behind each of three frames."""
        return self.joined(frames, self.noise, c_out=4 * _FRAMES)


def _zeros(*shape: int) -> NDArray[np.float32]:
    return np.broadcast_to(np.float32(0), shape)


def _window(stride: int) -> tuple[int, int]:
    """Return the kernel of `cimsim.zoo.cim_conv.default_kernel` with the stride."""
    return 3 if stride in (1, 2) else stride + 2, stride


def _plain(s: _Sketch, label: str, x: str, n: int, c_out: int = 0) -> str:
    """Apply some 3 x 3 convolutions, each with its batch norm and ReLU."""
    for layer in range(n):
        x = s.conv(f"{label}.{layer}", x, c_out or s.channels(x))
    return x


def _down(s: _Sketch, label: str, x: str, c_out: int, window: tuple[int, int] = (3, 2)) -> str:
    return _plain(s, f"{label}.cv", s.conv(f"{label}.down", x, c_out, window), 2, c_out)


def _up(s: _Sketch, label: str, x: str, c_out: int, block: int = 2) -> str:
    x = _plain(s, f"{label}.cv", x, 2)
    return s.conv(f"{label}.up", x, c_out, bias=False, relu=False, block=block)


def _levels(s: _Sketch, label: str, top: str, width: int) -> str:
    """Go two levels down and up again, as FastDVDnet's block does."""
    half = _down(s, f"{label}.downc0", top, 2 * width)
    quarter = _down(s, f"{label}.downc1", half, 4 * width)
    half = s.digital("add", half, _up(s, f"{label}.upc2", quarter, 2 * width))
    return s.digital("add", top, _up(s, f"{label}.upc1", half, width))


def _block(s: _Sketch, label: str, frames: str, given: Options) -> str:
    width, hidden = given["width"], _FRAMES * given["per_frame"]
    x = s.conv(f"{label}.inc.0", s.interleaved(frames), hidden, groups=_FRAMES)
    x = _levels(s, label, s.conv(f"{label}.inc.1", x, width), width)
    x = s.conv(f"{label}.outc.0", x, width)
    return s.centre(frames, s.conv(f"{label}.outc.1", x, 3, bias=False, relu=False))


Drawn = tuple[int, Callable[[_Sketch], str] | None]
_Stage = Callable[[_Sketch, str, str, Options], str]


def _cascade(s: _Sketch, block: _Stage, given: Options) -> str:
    """Run one block on three triplets and another one on the results."""
    steps = [block(s, "first", s.triplet(s.frames), given) for _ in range(3)]
    return block(s, "second", s.joined(*steps), given)


def _fastdvdnet(given: Options) -> Drawn:
    return 4, lambda s: _cascade(s, _block, given)


def _fastdvdnet_block(given: Options) -> Drawn:
    return 4, lambda s: _block(s, "block", s.frames, given)


def _last(s: _Sketch, label: str, x: str, block: int, given: Options) -> str:
    """Draw three colours, or subtract them from the centre frame."""
    direct = given["output"] == "direct"
    drawn = s.conv(label, x, 3, bias=direct, relu=False, block=block)
    return drawn if direct else s.centre(s.frames, drawn)


def _baseline_o1(given: Options) -> Drawn:
    stride, width, hidden = given["stride"], 32, 90

    def draw(s: _Sketch) -> str:
        x = s.interleaved(s.frames)
        x = s.conv("inc.0", x, hidden, _window(stride), groups=_FRAMES)
        x = _levels(s, "o1", s.conv("inc.1", x, width), width)
        return _last(s, "outc.1", s.conv("outc.0", x, given["inner"]), stride, given)

    return 4 * stride, draw


def _trunk(s: _Sketch, full: str, width: int, stride: int) -> str:
    coarse = _down(s, "down1", full, 2 * width, _window(stride))
    below = _up(s, "up2", _down(s, "down2", coarse, 4 * width), 2 * width)
    coarse = s.digital("add", coarse, below)
    return s.digital("add", full, _up(s, "up1", coarse, width, stride))


def _baseline_o2(given: Options) -> Drawn:
    stride, width, hidden = given["stride"], 32, _FRAMES * given["per_frame"]
    smooth = 1 if stride == 2 else stride

    def draw(s: _Sketch) -> str:
        x = s.interleaved(s.frames)
        x = s.conv("smooth_in.0", x, hidden, _window(smooth), groups=_FRAMES)
        x = _trunk(s, s.conv("smooth_in.1", x, width, block=smooth), width, stride)
        x = s.conv("smooth_out.0", x, given["inner"], _window(smooth))
        return _last(s, "smooth_out.1", x, smooth, given)

    return 2 * stride, draw if given["inner_skip"] == "none" else None


def _abla_net(given: Options) -> Drawn:
    stride, width = given["stride"], 32
    smooth = 1 if stride == 2 else stride

    def draw(s: _Sketch) -> str:
        x = s.joined(s.frames, s.noise)
        x = s.conv("smooth_in", x, width, _window(smooth), block=smooth)
        x = _trunk(s, x, width, stride)
        x = s.conv("smooth_out", x, 3, _window(smooth), relu=False, block=smooth)
        return s.centre(s.frames, x)

    return 2 * stride, draw


def _coarse(s: _Sketch, label: str, full: str, given: Options) -> str:
    """Return what the map at full size becomes where CIM-NET's coarse path ends."""
    stride, skip = given["stride"], given["skip"]
    w0, w1, w2 = _WIDTHS[0], _WIDTHS[1] * given["coarse"], _WIDTHS[2] * given["coarse"]
    x = s.conv(f"{label}.down1", full, w1, _window(stride))
    coarse = _plain(s, f"{label}.encode", x, 2)
    x = _plain(s, f"{label}.middle", s.conv(f"{label}.down2", coarse, w2, (3, 2)), 4)
    below = s.conv(f"{label}.up2", x, w1, block=2)
    joined = below if skip == "neither" else s.digital("add", coarse, below)
    x = s.conv(f"{label}.up1", _plain(s, f"{label}.decode", joined, 2), w0, block=stride)
    if skip == "concat":
        return s.joined(full, x)
    return s.digital("add", full, x) if skip == "add" else x


def _cim_block(s: _Sketch, label: str, frames: str, given: Options) -> str:
    stride, width = given["stride"], _WIDTHS[0]
    smooth = 1 if stride == 2 or given["smoothing"] == "conv" else stride
    window = _window(smooth)
    x = s.joined(s.digital("sub", frames), s.noise)
    for layer in range(given["before"]):
        x = s.conv(f"{label}.in{layer}", x, width, window, block=smooth)
    if given["coarse"]:
        x = _coarse(s, label, x, given)
    for layer in range(given["behind"] - 1):
        x = s.conv(f"{label}.out{layer}", x, width, window, block=smooth)
    x = s.conv(f"{label}.out", x, 3, window, relu=False, block=smooth)
    return x if given["residual"] == "none" else s.centre(frames, x)


def _cimnet(given: Options) -> Drawn:
    if given["stages"] == 2:
        return 2 * given["stride"], lambda s: _cascade(s, _cim_block, given)
    return 2 * given["stride"], lambda s: _cim_block(s, "block1", s.frames, given)


_NETWORKS: Mapping[str, Callable[[Options], Drawn]] = {
    "fastdvdnet": _fastdvdnet,
    "fastdvdnet-block": _fastdvdnet_block,
    "baseline-o1": _baseline_o1,
    "baseline-o2": _baseline_o2,
    "abla-net": _abla_net,
    "cimnet": _cimnet,
}
