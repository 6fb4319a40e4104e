"""Networks and chips of a few layers, built by hand, and random ones."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import yaml
from hypothesis import strategies as st

from cimsim.chip.load import build, shipped
from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph, MatrixOp, Ref, TensorSpec, Window
from cimsim.mapping.layout import Layout
from cimsim.mapping.mapping import Mapping, Slot, map_graph
from cimsim.mapping.strategies import Im2col
from cimsim.timing.spec.stage import Served

_RAW = yaml.safe_load(shipped()["eflash40nm"])
for _told in ("sources", "leaves_out", "included_in"):
    _RAW.pop(_told)


def chip(**overrides):
    """The eFlash chip at 1 GHz with small numbers; dots are written as two underscores."""
    raw = copy.deepcopy(_RAW)
    base = {
        "process__clock": "1 GHz", "array__rows": 64, "array__cols": 64, "array__t_read": "10 ns",
        "adc__count": 64, "adc__t_conversion": "7 ns", "buffer__bytes_per_cycle": 8,
        "vector__lanes": 16, "interconnect__bytes_per_cycle": 16, "interconnect__latency_cycles": 0,
        "tile__count": 500, "buffer__overflow": "ignore", "frames": "resident",
        "interconnect__energy": "1 pJ/B",
    }  # fmt: skip
    for path, value in (base | overrides).items():
        *folder, key = path.split("__")
        place = raw
        for name in folder:
            place = place.setdefault(name, {})
        place[key] = value
    return build(raw)


class Net:
    """Adds ops one by one; every method returns the name of the new one."""

    def __init__(self, channels=4, height=6, width=6):
        self.ops = [InputOp("x", TensorSpec((1, channels, height, width)))]

    def shape(self, name):
        return next(op for op in self.ops if op.name == name).output.shape

    def conv(
        self, source, channels, kernel=3, stride=1, padding=None, dilation=1, groups=1, block=1,
        weights_id="",
    ):  # fmt: skip
        _, c_in, height, width = self.shape(source)
        pad = (kernel - 1) * dilation // 2 if padding is None else padding
        window = Window((kernel,) * 2, (stride,) * 2, (pad,) * 4, (dilation,) * 2)
        rows, cols = window.positions(height, width)
        cols_of_group = channels * block * block // groups
        weight = np.zeros((groups, kernel * kernel * c_in // groups, cols_of_group), np.float32)
        name = f"m{len(self.ops)}"
        self.ops.append(
            MatrixOp(
                name, (source,), TensorSpec((1, c_in, height, width)),
                TensorSpec((1, channels, rows * block, cols * block)), weight, None, window,
                (channels, block, block), weights_id=weights_id,
            )
        )  # fmt: skip
        return name

    def digital(self, op, *sources, locality="pointwise", cost=1.0, window=None, shape=None):
        shape = shape or self.shape(sources[0])
        if window is not None:
            shape = (*shape[:2], *window.positions(*shape[2:]))
        name = f"{op}{len(self.ops)}"
        self.ops.append(
            DigitalOp(
                name, tuple(dict.fromkeys(sources)), TensorSpec(shape), op, None,
                tuple(Ref(s) for s in sources), {}, locality, cost, window,
            )
        )  # fmt: skip
        return name

    def add(self, first, second):
        return self.digital("add", first, second)

    def relu(self, source):
        return self.digital("relu", source)

    def pool(self, source):
        return self.digital(
            "pool", source, locality="window", cost=4.0, window=Window((2, 2), (2, 2))
        )

    def cat(self, *sources):
        shapes = [self.shape(s) for s in sources]
        joined = (1, sum(s[1] for s in shapes), *shapes[0][2:])
        return self.digital("cat", *sources, locality="view", cost=0.0, shape=joined)

    def graph(self, *outputs):
        return LayerGraph("net", self.ops, outputs or [self.ops[-1].name])


def stage_times(services):
    """Cycles of one replica's stages that meet nobody, by name."""
    alone = services.alone
    return SimpleNamespace(
        load_first=alone(Served.LOAD), load_next=alone(Served.LOAD_NEXT),
        drive=alone(Served.DRIVE), convert=alone(Served.CONVERT), reduce=alone(Served.REDUCE),
        post=alone(Served.POST), store=alone(Served.STORE),
        reduce_own=services.stages[Served.REDUCE].own,
        reduce_bus=alone(Served.REDUCE) - services.stages[Served.REDUCE].own,
        pulses=services.pulses,
        analog=services.analog, interval=services.interval, serial=services.serial,
        latency=services.latency,
    )  # fmt: skip


def linear(rows, cols, positions):
    """One linear layer on ``positions`` vectors."""
    op = MatrixOp(
        "fc", ("x",), TensorSpec((1, positions, rows)), TensorSpec((1, positions, cols)),
        np.zeros((1, rows, cols), np.float32), None, Window(), (cols, 1, 1), "last", "linear",
    )  # fmt: skip
    return LayerGraph("linear", [InputOp("x", TensorSpec((1, positions, rows))), op], ["fc"])


class Duplicates:
    """Several windows per activation: a copy of the matrix for each on arrays of its own."""

    name = "duplicates"

    def __init__(self, windows):
        self.windows = windows

    def place(self, op, chip):
        one = Im2col().place(op, chip)
        blocks = [
            replace(block, array=block.array + w * one.n_arrays, window=w)
            for w in range(self.windows)
            for block in one.blocks
        ]
        return Layout.of(op, chip, blocks, self.windows)


def replicated(mapping, replicas):
    """The same mapping with ``replicas[layer index]`` copies of each layer."""
    free = 1 + max(slot.tile for slot in mapping.slots_used)
    layers = []
    for layer, count in zip(mapping.layers, replicas, strict=True):
        slots = list(layer.slots)
        for _ in range(count - 1):
            copies = [Slot(free + i, 0) for i in range(layer.layout.n_arrays)]
            free += layer.layout.n_arrays
            slots.append(tuple(copies))
        layers.append(replace(layer, slots=tuple(slots)))
    return Mapping(mapping.graph, mapping.chip, mapping.strategy, tuple(layers))


def joined(mapping, index):
    """The same mapping with layers ``index`` and ``index + 1`` in common arrays, if they fit.

    Those are array 0 of each replica; the later layer's rows stand below the earlier one's.
    """
    first, second = mapping.layers[index : index + 2]
    below = max(block.row0 + block.rows for block in first.layout.by_array[0])
    blocks = [
        replace(block, row0=block.row0 + below) if block.array == 0 else block
        for block in second.layout.blocks
    ]
    if max(b.row0 + b.rows for b in blocks if b.array == 0) > second.layout.array_rows:
        return mapping
    slots = list(second.slots)
    for replica, (others, mine) in enumerate(zip(first.slots, second.slots, strict=False)):
        slots[replica] = (others[0], *mine[1:])
    layers = list(mapping.layers)
    layers[index + 1] = replace(
        second, layout=replace(second.layout, blocks=tuple(sorted(blocks))), slots=tuple(slots)
    )
    return Mapping(mapping.graph, mapping.chip, mapping.strategy, tuple(layers))


def moved(mapping, step, chips):
    """The same mapping with tile ``t`` at ``t * step`` (mod tiles), replicas on ``chips`` in turn.

    ``step`` has no common divisor with the number of tiles, so tiles stay apart.
    """
    count, places = mapping.chip.tile.count, iter(chips)
    layers = []
    for layer in mapping.layers:
        slots = []
        for one in layer.slots:
            first = next(places) * count
            slots.append(tuple(Slot(first + slot.tile * step % count, slot.array) for slot in one))
        layers.append(replace(layer, slots=tuple(slots)))
    return Mapping(mapping.graph, mapping.chip, mapping.strategy, tuple(layers))


def spread(mapping, cuts):
    """The same mapping with local arrays ``cuts[copy]`` and later ones of a copy on the next chip.

    Tiles keep their number on the chip; behind the last chip comes the first one.
    """
    count, places = mapping.chip.tile.count, iter(cuts)
    layers = []
    for layer in mapping.layers:
        slots = []
        for one in layer.slots:
            cut = next(places)
            far = [Slot((s.tile + count) % mapping.chip.n_tiles, s.array) for s in one[cut:]]
            slots.append((*one[:cut], *far))
        layers.append(replace(layer, slots=tuple(slots)))
    return Mapping(mapping.graph, mapping.chip, mapping.strategy, tuple(layers))


@st.composite
def nets(draw, layers=5):
    """Random networks: strides, dilation, blocks, branches, skips, pooling, shared weights."""
    net = Net(draw(st.integers(1, 5)), draw(st.integers(3, 7)), draw(st.integers(3, 7)))
    values = ["x"]
    kinds = ["conv", "conv", "conv", "again", "twice", "add", "pool", "cat", "all"]
    for _ in range(draw(st.integers(1, layers))):
        source = draw(st.sampled_from(values[-3:]))
        channels, height, width = net.shape(source)[1:]
        same = [v for v in values if net.shape(v)[1:] == (channels, height, width)]
        flat = [v for v in values if net.shape(v)[2:] == (height, width)]
        what = draw(st.sampled_from(kinds))
        if what == "add" and len(same) > 1:
            other = draw(st.sampled_from([v for v in same if v != source]))
            values.append(net.add(source, other))
        elif what == "cat" and len(flat) > 1:
            values.append(net.cat(source, draw(st.sampled_from(flat))))
        elif what == "pool" and min(height, width) > 1:
            values.append(net.pool(source))
        elif what == "all":
            values.append(net.digital("norm", source, locality="barrier", cost=2.0))
        elif what == "twice" and channels < 9:  # one after the other, or side by side
            first = net.conv(source, channels, weights_id=f"shared{channels}")
            following = draw(st.sampled_from([source, first]))
            values += [first, net.conv(following, channels, weights_id=f"shared{channels}")]
        elif what == "again" and channels < 9:
            values.append(net.conv(source, channels, weights_id=f"shared{channels}"))
        else:
            kernel = draw(st.sampled_from([k for k in (1, 2, 3) if k <= min(height, width)]))
            values.append(
                net.conv(
                    source, draw(st.integers(1, 9)), kernel, draw(st.sampled_from([1, 1, 2])),
                    draw(st.integers(0, kernel - 1)), block=draw(st.sampled_from([1, 1, 2])),
                )
            )  # fmt: skip
        if draw(st.booleans()):
            values.append(net.relu(values[-1]))
    if not any(isinstance(op, MatrixOp) for op in net.ops):
        values.append(net.conv(values[-1], 3, 1))
    read = {name for op in net.ops for name in op.inputs}
    ends = [op.name for op in net.ops if op.name not in read and op.name != "x"]
    return net.graph(*ends)


@st.composite
def chips(draw, **fixed):
    """Random chips, slow and fast in every part."""
    pick = {
        "array__t_read": st.sampled_from(["1 ns", "5 ns", "20 ns"]),
        "adc__count": st.sampled_from([1, 4, 64]),
        "adc__t_conversion": st.sampled_from(["1 ns", "3 ns"]),
        "adc__shared": st.sampled_from(["array", "tile"]),
        "dac__bits": st.sampled_from([2, 4, 8]),
        "tile__sample_hold": st.sampled_from(["double", "single"]),
        "tile__input_reuse": st.sampled_from(["row", "none"]),
        "tile__t_stage": st.sampled_from(["0 s", "0 s", "6 ns"]),
        "tile__arrays": st.sampled_from([1, 2, 4]),
        "buffer__bytes_per_cycle": st.sampled_from([1, 8, 64]),
        "vector__lanes": st.sampled_from([1, 4, 64]),
        "vector__scope": st.sampled_from(["tile", "chip"]),
        "interconnect__kind": st.sampled_from(["bus", "bus", "mesh", "mesh", "ideal"]),
        "interconnect__bytes_per_cycle": st.sampled_from([1, 8]),
        "interconnect__latency_cycles": st.sampled_from([0, 3, 40]),
        "interconnect__hop_cycles": st.integers(1, 3),
        "frames": st.sampled_from(["resident", "resident", "global_buffer", "dram"]),
        "global_buffer__bytes_per_cycle": st.sampled_from([1, 64]),
        "dram__bytes_per_cycle": st.sampled_from([1, 8]),
        "dram__latency_cycles": st.sampled_from([0, 20]),
        "buffer__overflow": st.sampled_from(["ignore", "error"]),
        "buffer__size": st.sampled_from(["64 B", "256 B", "1 KiB", "4 KiB"]),
        "system__chips": st.sampled_from([1, 1, 2, 3]),
        "system__bytes_per_cycle": st.sampled_from([1, 8]),
        "system__latency_cycles": st.sampled_from([0, 5]),
        "array__rows": st.sampled_from([9, 24, 64]),
        "weights__cell_bits": st.sampled_from([3, 7]),
    }
    return chip(**{key: fixed[key] if key in fixed else draw(value) for key, value in pick.items()})


@st.composite
def mappings(draw, layers=5, replicas=True, **fixed):
    """Random networks on random chips: replicas, several windows at a time, common arrays."""
    graph = draw(nets(layers))
    windows = draw(st.sampled_from([1, 1, 2, 3])) if replicas else 1
    mapping = map_graph(graph, draw(chips(**fixed)), Duplicates(windows))
    if replicas:
        mapping = replicated(mapping, [draw(st.sampled_from([1, 1, 2, 3])) for _ in mapping.layers])
    for index in range(len(mapping.layers) - 1 if replicas else 0):
        if draw(st.sampled_from([False, False, True])):
            mapping = joined(mapping, index)
    n_chips, count = mapping.chip.system.chips, sum(len(layer.slots) for layer in mapping.layers)
    of_replica = draw(st.lists(st.integers(0, n_chips - 1), min_size=count, max_size=count))
    mapping = moved(mapping, draw(st.sampled_from([1, 27])), of_replica)  # 27: down the grid, too
    return spread(mapping, draw(st.lists(st.integers(1, 6), min_size=count, max_size=count)))
