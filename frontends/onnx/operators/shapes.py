"""Shapes, views, joining and cutting, look-ups, constants."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cimsim.frontends.onnx.program import (
    MOST,
    Call,
    Node,
    Operator,
    Outcome,
    Value,
    constant,
    renamed,
)


def _identity(node: Node) -> Outcome:
    if node.kind == "Dropout" and node.opset >= 12:
        training = node.constant(2, "mode of training")
        if training is not None and bool(training):
            raise node.error("drops values at random; export the network in eval mode")
    return [node.value(0)]


def _constant(node: Node) -> Outcome:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if node.given(name):
            held = node.attribute(name)
            kind = torch.float32 if "float" in name else torch.int64
            made = held if isinstance(held, Tensor) else torch.tensor(held, dtype=kind)
            return [constant(str(node.proto.output[0]), made)]
    raise node.error("holds no numbers (text, or a sparse tensor)")


def _shape(node: Node) -> Outcome:
    sizes = list(node.value(0).shape)
    start = int(node.attribute("start", 0))
    stop = int(node.attribute("end", len(sizes)))
    return [node.made(torch.tensor(sizes[start:stop], dtype=torch.int64), "sizes")]


def _size(node: Node) -> Outcome:
    return [node.made(torch.tensor(node.value(0).meta.numel()), "size")]


def _filled(node: Node) -> Outcome:
    shape = node.whole(0, "shape") or []
    value = node.attribute("value")
    value = torch.zeros(()) if value is None else value.reshape(-1)[0]
    _bounded(node, shape)
    return [node.made(value.expand(shape).clone(), "filled")]


def _bounded(node: Node, shape: list[int]) -> None:
    count = 1
    for n in shape:
        count *= n
        if n < 0 or count > MOST >> 3:
            raise node.error(f"a constant of sizes {shape[:16]}")


def _range(node: Node) -> Outcome:
    ends = [node.constant(i, "end") for i in range(3)]
    start, stop, step = (0 if end is None else end.item() for end in ends)
    if not step or abs((stop - start) / step) > MOST >> 3:
        raise node.error(f"numbers from {start} to {stop} in steps of {step}")
    return [node.made(torch.arange(start, stop, step, dtype=node.value(0).meta.dtype), "numbers")]


def _reshape(node: Node) -> Outcome:
    x, shape = node.value(0), node.whole(1, "shape") or []
    if not node.attribute("allowzero", 0):
        if any(not n and i >= x.rank for i, n in enumerate(shape)):
            raise node.error(f"the shape {shape} keeps an axis that {list(x.shape)} has not")
        shape = [x.shape[i] if n == 0 else n for i, n in enumerate(shape)]
    return Call(lambda a: torch.reshape(a, shape), (x,))


def _flatten(node: Node) -> Outcome:
    x = node.value(0)
    axis = int(node.attribute("axis", 1))
    axis = axis + x.rank if axis < 0 else axis
    if axis == 1 and x.rank > 1:
        return Call(lambda a: torch.flatten(a, 1), (x,))
    lead = 1
    for n in x.shape[:axis]:
        lead *= n
    return Call(lambda a: torch.reshape(a, [lead, -1]), (x,))


def _squeeze(node: Node) -> Outcome:
    x, axes = node.value(0), node.whole(1, "axes")
    if axes is None:
        axes = [i for i, n in enumerate(x.shape) if n == 1]
    axes = sorted({node.within(axis, x.rank) for axis in axes})
    if any(x.shape[axis] != 1 for axis in axes):
        raise node.error(f"axes {axes} of {list(x.shape)} are not all of one element")
    return Call(lambda a: torch.squeeze(a, axes), (x,)) if axes else [x]


def _unsqueeze(node: Node) -> Outcome:
    x, axes = node.value(0), node.whole(1, "axes") or []
    axes = sorted({node.within(axis, x.rank + len(axes)) for axis in axes})

    def raised(a: Tensor) -> Tensor:
        for axis in axes:
            a = torch.unsqueeze(a, axis)
        return a

    return Call(raised, (x,)) if axes else [x]


def _transpose(node: Node) -> Outcome:
    x = node.value(0)
    order = [int(n) for n in node.attribute("perm", list(range(x.rank))[::-1])]
    if sorted(order) != list(range(x.rank)):
        raise node.error(f"axes {order} of a value with {x.rank}")
    return Call(lambda a: torch.permute(a, order), (x,))


def _concat(node: Node) -> Outcome:
    values = tuple(node.value(i) for i in range(len(node.inputs)))
    axis = node.axis("axis", 0, values[0].rank)
    if len(values) == 1:
        return [values[0]]
    return Call(lambda *xs: torch.cat(xs, axis), values)


def _split(node: Node) -> Outcome:
    x, sizes = node.value(0), node.whole(1, "sizes")
    axis = node.axis("axis", 0, x.rank)
    if sizes is None:
        parts = int(node.attribute("num_outputs", node.n_outputs))
        if not 0 < parts <= len(node.proto.output):
            raise node.error(f"{parts} parts for {len(node.proto.output)} outputs")
        each = -(-x.shape[axis] // parts)
        sizes = [each] * (parts - 1) + [x.shape[axis] - each * (parts - 1)]
    return Call(lambda a: torch.split(a, sizes, axis), (x,))


def _slice(node: Node) -> Outcome:
    x = node.value(0)
    starts, stops = node.whole(1, "starts") or [], node.whole(2, "ends") or []
    axes = node.whole(3, "axes") or list(range(len(starts)))
    steps = node.whole(4, "steps") or [1] * len(starts)
    if not len(starts) == len(stops) == len(axes) == len(steps) or 0 in steps:
        raise node.error(f"cuts {starts}, {stops} along {axes} in steps {steps}")
    cuts = [
        (node.within(axis, x.rank), start, stop, step)
        for axis, start, stop, step in zip(axes, starts, stops, steps, strict=True)
    ]

    def cut(a: Tensor) -> Tensor:
        for axis, start, stop, step in cuts:
            kept = range(a.shape[axis])[slice(start, _end(stop, a.shape[axis], step), step)]
            if step > 0:
                a = torch.ops.aten.slice.Tensor(a, axis, kept.start, max(kept.stop, 0), step)
            elif step == -1 and len(kept) == a.shape[axis]:
                a = torch.flip(a, [axis])
            else:
                places = torch.tensor(list(kept), dtype=torch.int64, device=a.device)
                a = torch.index_select(a, axis, places)
        return a

    return Call(cut, (x,))


def _end(stop: int, size: int, step: int) -> int | None:
    """Return the end of a slice; backwards, one before the first element is no end."""
    return None if step < 0 and stop < -size else stop


def _gather(node: Node) -> Outcome:
    x, places = node.value(0), node.value(1)
    axis = node.axis("axis", 0, x.rank)
    if places.const is None:
        if x.const is not None and axis == 0 and x.rank == 2:
            # a table of words, whose numbers are not counted from the end
            return Call(lambda table, at: functional.embedding(at, table), (x, places))
        shape = (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])
        n = x.shape[axis]

        def look_up(a: Tensor, at: Tensor) -> Tensor:
            at = torch.where(at < 0, at + n, at).reshape(-1)
            return torch.index_select(a, axis, at).reshape(shape)

        return Call(look_up, (x, places))
    size = x.shape[axis]
    flat = [int(n) for n in places.const.reshape(-1)]
    if any(not -size <= n < size for n in flat):
        raise node.error(f"looks up places beyond the {size} of axis {axis}")
    if not places.rank:
        return Call(lambda a: torch.select(a, axis, flat[0] % size), (x,))
    wanted = node.made(places.const.reshape(-1) % max(size, 1), "places")
    if places.rank == 1:
        return Call(lambda a, at: torch.index_select(a, axis, at), (x, wanted))
    shape = (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])
    return Call(lambda a, at: torch.index_select(a, axis, at).reshape(shape), (x, wanted))


def _gather_elements(node: Node) -> Outcome:
    x, places = node.value(0), node.value(1)
    axis = node.axis("axis", 0, x.rank)
    if places.const is not None:
        places = node.made(places.const % max(x.shape[axis], 1), "places")
        return Call(lambda a, at: torch.gather(a, axis, at), (x, places))
    n = x.shape[axis]
    return Call(lambda a, at: torch.gather(a, axis, torch.where(at < 0, at + n, at)), (x, places))


def _expand(node: Node) -> Outcome:
    x, shape = node.value(0), node.whole(1, "shape") or []
    whole = list(np.broadcast_shapes(x.shape, tuple(shape)))
    return [x] if whole == list(x.shape) else Call(lambda a: a.expand(whole), (x,))


def _tile(node: Node) -> Outcome:
    x, times = node.value(0), node.whole(1, "repeats") or []
    if len(times) != x.rank or min(times, default=1) < 0:
        raise node.error(f"repeats {times} of {list(x.shape)}")
    return Call(lambda a: a.repeat(times), (x,))


def pads_of(node: Node, pads: list[int], axes: list[int], rank: int) -> list[int]:
    """Return torch's order (last axis first, before and after) of ONNX's (all befores first)."""
    if len(pads) != 2 * len(axes):
        raise node.error(f"pads {pads} for {len(axes)} axes")
    found = {axis: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    flat = [n for axis in reversed(range(rank)) for n in found.get(axis, (0, 0))]
    while len(flat) > 2 and flat[-2:] == [0, 0]:
        flat = flat[:-2]
    return flat


def _pad(node: Node) -> Outcome:
    x, how = node.value(0), str(node.attribute("mode", "constant"))
    axes = node.whole(3, "axes") or list(range(x.rank))
    axes = [node.within(axis, x.rank) for axis in axes]
    pads = pads_of(node, node.whole(1, "pads") or [], axes, x.rank)
    if not any(pads):
        return [x]
    filler = node.constant(2, "filler")
    value: float = 0 if filler is None or not filler.numel() else filler.reshape(-1)[0].item()
    modes = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    if how not in modes:
        raise node.error(f"the mode '{how}' is not supported ({', '.join(modes)})")
    if how == "constant":
        return Call(lambda a: functional.pad(a, pads, "constant", value), (x,))
    return Call(lambda a: functional.pad(a, pads, modes[how]), (x,))


def _depth_to_space(node: Node) -> Outcome:
    x, factor = node.value(0), int(node.attribute("blocksize", 0))
    if x.rank != 4 or factor < 1 or x.shape[1] % factor**2:
        raise node.error(f"blocks of {factor} from {list(x.shape)}")
    if str(node.attribute("mode", "DCR")) == "CRD":
        return Call(lambda a: functional.pixel_shuffle(a, factor), (x,))
    b, c, h, w = x.shape
    shape = [b, factor, factor, c // factor**2, h, w]
    return Call(
        lambda a: a.reshape(shape).permute(0, 3, 4, 1, 5, 2).reshape(b, -1, h * factor, w * factor),
        (x,),
    )


def _space_to_depth(node: Node) -> Outcome:
    x, factor = node.value(0), int(node.attribute("blocksize", 0))
    if node.given("mode"):
        raise node.error("the attribute 'mode' is of a newer opset")
    if x.rank != 4 or factor < 1 or x.shape[2] % factor or x.shape[3] % factor:
        raise node.error(f"blocks of {factor} from {list(x.shape)}")
    b, c, h, w = x.shape
    shape = [b, c, h // factor, factor, w // factor, factor]
    return Call(
        lambda a: a.reshape(shape).permute(0, 3, 5, 1, 2, 4).reshape(
            b, -1, h // factor, w // factor
        ),
        (x,),
    )  # fmt: skip


def _triangle(node: Node) -> Outcome:
    shift = (node.whole(1, "diagonal") or [0])[0]
    upper = bool(node.attribute("upper", 1))
    return Call(lambda a: (torch.triu if upper else torch.tril)(a, shift), (node.value(0),))


def _branch(node: Node) -> Outcome:
    """Take the branch of an ``If`` whose condition is known."""
    condition = node.constant(0, "condition")
    assert condition is not None
    graph = node.attribute("then_branch" if bool(condition) else "else_branch")
    if graph is None:
        raise node.error("has no such branch")
    for tensor in graph.initializer:
        node.program.keep(tensor)
    node.program.run(graph.node, f"{node.name}/")
    found: list[Value] = [node.program.value(node, entry.name) for entry in graph.output]
    return [one if one.const is None else renamed(one, out)
            for one, out in zip(found, node.proto.output, strict=False)]  # fmt: skip


TABLE: dict[str, Operator] = {
    "Identity": _identity, "Dropout": _identity, "Constant": _constant, "Shape": _shape,
    "Size": _size, "ConstantOfShape": _filled, "Range": _range, "Reshape": _reshape,
    "Flatten": _flatten, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Transpose": _transpose,
    "Concat": _concat, "Split": _split, "Slice": _slice, "Gather": _gather,
    "GatherElements": _gather_elements, "Expand": _expand, "Tile": _tile, "Pad": _pad,
    "DepthToSpace": _depth_to_space, "SpaceToDepth": _space_to_depth, "Trilu": _triangle,
    "If": _branch,
}  # fmt: skip
