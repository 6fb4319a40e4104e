"""LSTM, GRU and RNN as torch's own layers, whose gates then become matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cimsim.frontends.onnx.program import Call, Node, Operator, Outcome, Value

# where ONNX has the gates that torch wants, in torch's order
_ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
_ACTIVATIONS = {
    "LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"], "RNN": ["tanh"],
}  # fmt: skip
_RUN: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "LSTM": torch.lstm, "GRU": torch.gru, "tanh": torch.rnn_tanh, "relu": torch.rnn_relu,
}  # fmt: skip


@dataclass(frozen=True)
class _Layer:
    """What a node says about its layer."""

    node: Node
    hidden: int
    directions: int
    backward: bool
    batch_first: bool
    activation: str

    @classmethod
    def of(cls, node: Node) -> _Layer:
        kind, x = node.kind, node.value(0)
        way = str(node.attribute("direction", "forward"))
        directions = 2 if way == "bidirectional" else 1
        if x.rank != 3 or way not in ("forward", "reverse", "bidirectional"):
            raise node.error(f"an input {list(x.shape)}, direction '{way}'")
        given = [str(part, "utf-8") if isinstance(part, bytes) else str(part)
                 for part in node.attribute("activations", [])]  # fmt: skip
        given = [part.lower() for part in given] or _ACTIVATIONS[kind] * directions
        usual = given == _ACTIVATIONS[kind] * directions
        if not usual and not (kind == "RNN" and given == ["relu"] * directions):
            raise node.error(f"the activations {given} are not supported")
        for name in ("clip", "input_forget"):
            if node.attribute(name, 0):
                raise node.error(f"the attribute '{name}' is not supported")
        layer = cls(
            node, node.value(2).shape[-1], directions, way == "reverse",
            bool(node.attribute("layout", 0)), given[0],
        )  # fmt: skip
        layer._check()
        return layer

    def _check(self) -> None:
        node, x = self.node, self.node.value(0)
        steps = x.shape[1 if self.batch_first else 0]
        lengths = node.whole(4, "lengths of the series")
        if lengths is not None and set(lengths) != {steps}:
            raise node.error(f"series of different lengths {lengths[:16]}; all must have {steps}")
        if node.kind == "LSTM" and node.optional(7) is not None:
            raise node.error("peepholes are not supported")

    def weights(self) -> list[Value]:
        """Return torch's weights and biases, one direction after the other."""
        node, order = self.node, _ORDER[self.node.kind]
        parts: list[Value] = []
        w, r = node.constant(1, "weights"), node.constant(2, "weights")
        b = node.constant(3, "bias")
        assert w is not None
        assert r is not None
        gates = len(order)
        if w.dim() != 3 or w.shape[:2] != (self.directions, gates * self.hidden):
            raise node.error(f"weights {list(w.shape)} for {gates} gates of {self.hidden}")
        for way in range(self.directions):
            end = "_reverse" if way else ""
            matrices = {"weight_ih": w[way], "weight_hh": r[way]}
            if b is not None:
                matrices |= {"bias_ih": b[way][: gates * self.hidden],
                             "bias_hh": b[way][gates * self.hidden :]}  # fmt: skip
            for name, matrix in matrices.items():
                cut = matrix.reshape(gates, self.hidden, -1)[list(order)]
                turned = cut.reshape(matrix.shape).clone()
                parts.append(node.made(turned, f"{name}{end}"))
        return parts

    def state(self, index: int) -> Value:
        """Return the state at the beginning, [directions, B, hidden]; zeros by default."""
        found, x = self.node.optional(index), self.node.value(0)
        batch = x.shape[0 if self.batch_first else 1]
        if found is None:
            ways = self.directions
            shape = (batch, ways, self.hidden) if self.batch_first else (ways, batch, self.hidden)
            zeros = torch.zeros(shape)
            return self.node.made(zeros, f"state{index}")
        return found


def _layer(node: Node) -> Outcome:
    layer = _Layer.of(node)
    if node.kind == "GRU" and not node.attribute("linear_before_reset", 0):
        return _gru_reset_first(layer)
    weights = layer.weights()
    states = [layer.state(5)] + ([layer.state(6)] if node.kind == "LSTM" else [])
    name = layer.activation if node.kind == "RNN" else node.kind
    run, several = _RUN[name], len(states)
    biased, both = node.optional(3) is not None, layer.directions == 2

    def apply(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        given = [_turned(one, layer.batch_first) for one in rest[:several]]
        x = torch.flip(x, [1 if layer.batch_first else 0]) if layer.backward else x
        state: Tensor | list[Tensor] = given if several > 1 else given[0]
        found = run(x, state, list(rest[several:]), biased, 1, 0.0, False, both, layer.batch_first)
        return _arranged(layer, found[0], list(found[1:]))

    return Call(apply, (node.value(0), *states, *weights))


def _turned(state: Tensor, batch_first: bool) -> Tensor:
    return state.permute(1, 0, 2) if batch_first else state


def _arranged(layer: _Layer, y: Tensor, states: list[Tensor]) -> tuple[Tensor, ...]:
    """Bring torch's outputs into ONNX's order of axes."""
    first = layer.batch_first
    if layer.backward:
        y = torch.flip(y, [1 if first else 0])
    lead = y.shape[:2]
    y = y.reshape(*lead, layer.directions, layer.hidden)
    y = y if first else y.permute(0, 2, 1, 3)
    return y, *(_turned(state, first) for state in states)


def _gru_reset_first(layer: _Layer) -> Outcome:
    """Run a GRU that resets its state before the matrix, step by step; torch has none."""
    node, weights = layer.node, layer.weights()
    per, size = len(weights) // layer.directions, layer.hidden

    def one_way(x: Tensor, h: Tensor, parts: list[Tensor], backward: bool) -> tuple[Tensor, Tensor]:
        w, r = parts[:2]
        b_ih, b_hh = parts[2:] if per > 2 else (None, None)
        outputs, steps = [], range(x.shape[0])
        before = functional.linear(x, w, b_ih)
        gate = None if b_hh is None else b_hh[: 2 * size]
        new = None if b_hh is None else b_hh[2 * size :]
        for t in reversed(steps) if backward else steps:
            of_state = functional.linear(h, r[: 2 * size], gate)
            gates = torch.sigmoid(before[t][:, : 2 * size] + of_state)
            reset, update = gates[:, :size], gates[:, size:]
            fresh = functional.linear(reset * h, r[2 * size :], new)
            fresh = torch.tanh(before[t][:, 2 * size :] + fresh)
            h = fresh + update * (h - fresh)
            outputs.append(h)
        return torch.stack(outputs[::-1] if backward else outputs), h

    def apply(x: Tensor, state: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        x = x.permute(1, 0, 2) if layer.batch_first else x
        state = _turned(state, layer.batch_first)
        found = [
            one_way(x, state[i], list(parts[i * per : (i + 1) * per]), layer.backward or bool(i))
            for i in range(layer.directions)
        ]
        y = torch.stack([out for out, _ in found], dim=1)
        last = torch.stack([h for _, h in found])
        y = y.permute(2, 0, 1, 3) if layer.batch_first else y
        return y, _turned(last, layer.batch_first)

    return Call(apply, (node.value(0), layer.state(5), *weights))


TABLE: dict[str, Operator] = {"LSTM": _layer, "GRU": _layer, "RNN": _layer}
