"""From sets of channels of the layer graph to the modules that hold their numbers, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cimsim.graph.ir import LayerGraph, MatrixOp
from cimsim.mapping.mapping import matrix_name
from cimsim.pruning.groups import Channels
from cimsim.zoo.narrow import narrow


@dataclass(frozen=True)
class Holder:
    """Where a matrix of the graph has its numbers.

    Attributes
    ----------
    matrix, norm : str
        Module paths; no norm: empty.
    per_channel : int
        Columns of one output channel.
    inputs, groups : int
        Input channels, and groups of them.
    """

    matrix: str
    norm: str
    per_channel: int
    inputs: int
    groups: int


def holders(model: nn.Module, graph: LayerGraph) -> dict[str, Holder]:
    """Return the modules of every matrix whose rows and columns can be cut.

    Convolutions and linear layers whose weights are their own, with at most a batch norm behind
    them; any other matrix (transposed convolutions, weights without a module) is left out.
    """
    modules = dict(model.named_modules())
    by_matrix = {}
    for op in graph.matrix_ops:
        name, _, norm = matrix_name(op).partition("*")
        part, behind = modules.get(name), modules.get(norm) if norm else None
        inputs = op.input.shape[1] if len(op.input.shape) == 4 else op.input.shape[-1]
        if isinstance(part, nn.Conv2d):
            own = (op.n_cols, inputs // op.groups, *op.window.kernel)
            fits = tuple(part.weight.shape) == own
        else:
            fits = isinstance(part, nn.Linear) and tuple(part.weight.shape) == (op.n_cols, inputs)
        if fits and (not norm or isinstance(behind, nn.BatchNorm2d)):
            per_channel = math.prod(op.out_block[1:])
            by_matrix[matrix_name(op)] = Holder(name, norm, per_channel, inputs, op.groups)
    return by_matrix


def channels_of(model: nn.Module, graph: LayerGraph) -> tuple[Channels, dict[str, Holder]]:
    """Return the channels of a network that can be removed, and where its numbers are."""
    known = holders(model, graph)

    def prunable(op: MatrixOp) -> bool:
        return matrix_name(op) in known

    return Channels(graph, prunable), known


def kept_lines(
    channels: Channels, known: Mapping[str, Holder], model: nn.Module, kept: NDArray[np.bool_]
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return, for every matrix, the outputs and the inputs (of one group) of its module that stay.

    Parameters
    ----------
    channels, known
        From `channels_of`.
    model : nn.Module
    kept : bool [n_sets]
    """
    modules = dict(model.named_modules())
    lines = {}
    for matrix, held in known.items():
        outputs = modules[held.matrix].weight.shape[0]  # type: ignore[union-attr,index]
        lines[matrix] = (
            torch.ones(outputs // held.per_channel, dtype=torch.bool),
            torch.ones(held.inputs, dtype=torch.bool),
        )
    for number in np.flatnonzero(~kept):
        each = channels.sets[number]
        for matrix, channel in each.outputs:
            lines[matrix][0][channel] = False
        for matrix, channel in each.inputs:
            lines[matrix][1][channel] = False
    return {
        matrix: (
            outputs.repeat_interleave(known[matrix].per_channel).nonzero()[:, 0],
            # groups lose the same channels, so that the first one tells
            inputs[: len(inputs) // known[matrix].groups].nonzero()[:, 0],
        )
        for matrix, (outputs, inputs) in lines.items()
    }


@torch.no_grad()
def cut(
    model: nn.Module, channels: Channels, known: Mapping[str, Holder], kept: NDArray[np.bool_]
) -> None:
    """Remove all sets that are not kept from a network, in place.

    Parameters
    ----------
    model : nn.Module
    channels, known
        From `channels_of` for this network.
    kept : bool [n_sets]
    """
    state = dict(model.state_dict())
    for matrix, (outputs, inputs) in kept_lines(channels, known, model, kept).items():
        held = known[matrix]
        for path in filter(None, (held.matrix, held.norm)):
            for key in [key for key in state if key.rpartition(".")[0] == path]:
                if state[key].dim() > 0:
                    state[key] = state[key][outputs]
        weight = f"{held.matrix}.weight"
        state[weight] = state[weight][:, inputs].contiguous()
    narrow(model, {key: tuple(value.shape) for key, value in state.items()}, where="pruning")
    model.load_state_dict(state)
