"""LSTM, GRU and plain RNN layers and cells as gates on arrays, one time step after another.

A layer has two matrices: that of its inputs, ``W_ih``, and that of its state, ``W_hh``. Both stay
apart, on arrays of their own: an array applies one step of its inputs' codes and one range of its
converters to all its rows, and inputs (features of any scale) and state (-1 .. 1) want different
ones. With both behind one range, a state beside inputs ten times as large is left three bits fewer.
The price is one conversion more for each gate, and that rows of both cannot fill one array.

Each matrix is programmed once and applied once per time step; the state goes from step to step, so
a step waits for the one before. The gates' arithmetic is one digital operation, done where the
state's matrix puts its results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cimsim.errors import GraphError
from cimsim.frontends.builder import GraphBuilder
from cimsim.frontends.locality import Call
from cimsim.frontends.matrices import linear_op
from cimsim.graph.ir import Ref, TensorSpec

_aten = torch.ops.aten
Value = Ref | Tensor


@dataclass(frozen=True)
class Gates:
    """What a recurrent cell does with the results of its two matrices.

    Called as ``(of_input, of_state, state)``; ``state`` is [B, H], of an LSTM the cell state. The
    result is the new state; of an LSTM output and cell state side by side, [B, 2 H].

    Attributes
    ----------
    kind : str
        ``lstm``, ``gru``, ``rnn_tanh`` or ``rnn_relu``.
    """

    kind: str

    @property
    def __name__(self) -> str:
        return f"{self.kind}_gates"

    def __call__(self, of_input: Tensor, of_state: Tensor, state: Tensor) -> Tensor:
        """Return the new state."""
        if self.kind == "lstm":
            i, f, g, o = (of_input + of_state).chunk(4, dim=-1)
            cell = f.sigmoid() * state + i.sigmoid() * g.tanh()
            return torch.cat([o.sigmoid() * cell.tanh(), cell], dim=-1)
        if self.kind == "gru":
            (r, z, n), (hr, hz, hn) = of_input.chunk(3, dim=-1), of_state.chunk(3, dim=-1)
            z = (z + hz).sigmoid()
            return (1 - z) * (n + (r + hr).sigmoid() * hn).tanh() + z * state
        total = of_input + of_state
        return total.tanh() if self.kind == "rnn_tanh" else total.relu()


def layers(build: GraphBuilder, call: Call, name: str, source: str) -> tuple[Ref, ...] | None:
    """``aten.lstm``, ``gru``, ``rnn_tanh`` and ``rnn_relu`` over [T, B, F] or [B, T, F].

    Returns
    -------
    tuple of Ref or None
        As torch returns them: all outputs, the last states and, of an LSTM, the last cell states.
        None where weights are computed from activations, or sequences are packed.
    """
    n = call.named
    if "batch_sizes" in n or not isinstance(n.get("input"), Ref):
        return None
    kind = call.target.__name__.partition(".")[0]
    params = list(n["params"])
    if not all(isinstance(p, Tensor) for p in params):
        return None
    spec = build.spec(n["input"])
    if len(spec.shape) != 3:
        raise GraphError(f"{name} [{source}]: expected [T, B, F] or [B, T, F], got {spec.shape}")
    time_axis = 1 if n["batch_first"] else 0
    steps = spec.shape[time_axis]
    net = _Net(build, name, source, kind)
    x: list[Ref] = [net.pick(n["input"], time_axis, t, "step") for t in range(steps)]
    first: Sequence[Value] = n["hx"] if kind == "lstm" else (n["hx"],)
    directions = 2 if n["bidirectional"] else 1
    each = len(params) // (n["num_layers"] * directions)
    states: list[Ref] = []
    cells: list[Ref] = []
    for layer in range(n["num_layers"]):
        sides: list[list[Ref]] = []
        for side in range(directions):
            index = layer * directions + side
            mine = params[index * each : (index + 1) * each]
            suffix = f"l{layer}" + ("_reverse" if side else "")
            cell = _Cell(net, suffix, mine, has_bias=n["has_biases"])
            state = net.initial(first[0], index)
            memory = net.initial(first[1], index) if kind == "lstm" else None
            order = list(range(steps))[:: -1 if side else 1]
            out: dict[int, Ref] = {}
            for t in order:
                state, memory = cell.step(x[t], state, memory, f".t{t}")
                out[t] = state
            assert isinstance(state, Ref)
            states.append(state)
            if isinstance(memory, Ref):
                cells.append(memory)
            sides.append([out[t] for t in range(steps)])
        x = sides[0] if directions == 1 else [
            net.joined([one, two], -1, f"both_l{layer}") for one, two in zip(*sides, strict=True)
        ]  # fmt: skip
    found = [net.stacked(x, time_axis, "outputs"), net.stacked(states, 0, "last")]
    if kind == "lstm":
        found.append(net.stacked(cells, 0, "last_cell"))
    return tuple(found)


def cell(build: GraphBuilder, call: Call, name: str, source: str) -> tuple[Ref, ...] | None:
    """``aten.lstm_cell``, ``gru_cell``, ``rnn_tanh_cell`` and ``rnn_relu_cell``: one step."""
    n = call.named
    params = [n["w_ih"], n["w_hh"], n["b_ih"], n["b_hh"]]
    if not isinstance(n["input"], Ref) or any(isinstance(p, Ref) for p in params):
        return None
    kind = call.target.__name__.partition(".")[0].removesuffix("_cell")
    given = params if n["b_ih"] is not None else params[:2]
    net = _Net(build, name, source, kind)
    state, memory = n["hx"] if kind == "lstm" else (n["hx"], None)
    made = _Cell(net, "", given, has_bias=len(given) > 2)
    out, memory = made.step(n["input"], state, memory, "")
    return (out, memory) if isinstance(memory, Ref) else (out,)


class _Net:
    """Adds the nodes of one recurrent layer."""

    def __init__(self, build: GraphBuilder, name: str, source: str, kind: str) -> None:
        self.build, self.name, self.source, self.kind = build, name, source, kind

    def digital(
        self, target: object, args: tuple[object, ...], shape: tuple[int, ...], what: str
    ) -> Ref:
        call = self.build.call(target, args, {}, TensorSpec(shape))
        return self.build.digital(f"{self.name}.{what}", call, self.source)

    def pick(self, value: Ref, axis: int, index: int, what: str) -> Ref:
        shape = self.build.spec(value).shape
        left = (*shape[:axis], *shape[axis + 1 :])
        return self.digital(_aten.select.int, (value, axis, index), left, what)

    def part(self, value: Ref, start: int, stop: int, what: str) -> Ref:
        shape = (*self.build.spec(value).shape[:-1], stop - start)
        return self.digital(_aten.slice.Tensor, (value, -1, start, stop), shape, what)

    def initial(self, value: Value, index: int) -> Value:
        return value[index] if isinstance(value, Tensor) else self.pick(value, 0, index, "initial")

    def joined(self, values: list[Ref], axis: int, what: str) -> Ref:
        shapes = [self.build.spec(value).shape for value in values]
        shape = (*shapes[0][:-1], sum(one[-1] for one in shapes))
        return self.digital(_aten.cat.default, (values, axis), shape, what)

    def stacked(self, values: list[Ref], axis: int, what: str) -> Ref:
        one = self.build.spec(values[0]).shape
        shape = (*one[:axis], len(values), *one[axis:])
        return self.digital(_aten.stack.default, (values, axis), shape, what)


class _Cell:
    """The matrices of one layer in one direction."""

    def __init__(self, net: _Net, suffix: str, params: list[Tensor], has_bias: bool) -> None:
        self.net, self.suffix = net, suffix
        self.w_ih, self.w_hh = params[:2]
        self.b_ih: Tensor | None = params[2] if has_bias else None
        self.b_hh: Tensor | None = params[3] if has_bias else None
        rest = params[4:] if has_bias else params[2:]
        self.projection = rest[0] if rest else None
        gates = {"lstm": 4, "gru": 3}.get(net.kind, 1)
        self.hidden = self.w_hh.shape[0] // gates

    def step(self, x: Ref, state: Value, memory: Value | None, at: str) -> tuple[Ref, Ref | None]:
        """Return output and cell state of one time step."""
        net = self.net
        of_input = self._apply(x, self.w_ih, self.b_ih, f"ih{at}")
        of_state = self._apply(state, self.w_hh, self.b_hh, f"hh{at}")
        kept = memory if net.kind == "lstm" else state
        assert kept is not None
        batch = net.build.spec(x).shape[0]
        width = 2 * self.hidden if net.kind == "lstm" else self.hidden
        gated = net.digital(
            Gates(net.kind), (of_input, of_state, kept), (batch, width), self._named(f"gates{at}")
        )
        if net.kind != "lstm":
            return gated, None
        out = net.part(gated, 0, self.hidden, self._named(f"h{at}"))
        cell_state = net.part(gated, self.hidden, width, self._named(f"c{at}"))
        if self.projection is not None:
            projected = self._apply(out, self.projection, None, f"hr{at}")
            assert isinstance(projected, Ref)
            out = projected
        return out, cell_state

    def _named(self, what: str) -> str:
        return f"{self.suffix}.{what}" if self.suffix else what

    def _apply(self, x: Value, weight: Tensor, bias: Tensor | None, what: str) -> Value:
        """Apply a matrix; to a constant (a state of zeros, at first) here and now."""
        net = self.net
        if isinstance(x, Tensor):
            y = torch.nn.functional.linear(x, weight, bias)
            return net.build.parameters.computed(f"{net.name}.{what}", y)
        name = net.build.unique(f"{net.name}.{self._named(what)}")
        op = linear_op(name, x.name, net.build.spec(x), weight.t(), bias)
        return net.build.matrix(
            replace(op, source=net.source, kind=net.kind), weight, bias, ("gates",)
        )


RECURRENT = {
    "aten.lstm": layers, "aten.gru": layers, "aten.rnn_tanh": layers, "aten.rnn_relu": layers,
    "aten.lstm_cell": cell, "aten.gru_cell": cell, "aten.rnn_tanh_cell": cell,
    "aten.rnn_relu_cell": cell,
}  # fmt: skip
