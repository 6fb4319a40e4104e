"""An LSTM layer as its two matrices, one time step after another, as the chip computes it.

The matrix of the inputs and that of the state stand on arrays of their own (`frontends/recurrent`);
each has one set of ranges for all steps. The state starts at 0, so the first step needs no product
with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from cimsim.errors import ConfigError

Forward = Callable[[Tensor], Tensor]


def halves(name: str, lstm: nn.LSTM) -> tuple[tuple[str, nn.Linear], tuple[str, nn.Linear]]:
    """Return the matrices of inputs and state as linear layers with the LSTM's own parameters.

    Raises
    ------
    ConfigError
        More than one layer, two directions or a projection.
    """
    if lstm.num_layers != 1 or lstm.bidirectional or lstm.proj_size:
        raise ConfigError(
            f"hardware-aware training: layer '{name}': an LSTM of one layer and one direction "
            "without projection can be modelled; write several as layers of their own"
        )
    matrices = []
    for part, weight, bias in (
        ("ih", lstm.weight_ih_l0, lstm.bias_ih_l0 if lstm.bias else None),
        ("hh", lstm.weight_hh_l0, lstm.bias_hh_l0 if lstm.bias else None),
    ):
        n_cols, n_rows = cast(nn.Parameter, weight).shape
        linear = nn.utils.skip_init(nn.Linear, n_rows, n_cols, bias is not None)
        linear.weight = cast(nn.Parameter, weight)
        linear.bias = cast(nn.Parameter, bias)
        matrices.append((f"{name}.{part}", linear))
    return matrices[0], matrices[1]


class Unrolled:
    """The forward of an LSTM with other products than its own.

    Parameters
    ----------
    lstm : nn.LSTM
    of_input, of_state : callable
        ``[..., features]`` -> ``[..., 4 H]`` with the bias of that matrix.
    """

    def __init__(self, lstm: nn.LSTM, of_input: Forward, of_state: Forward) -> None:
        self.lstm, self.of_input, self.of_state = lstm, of_input, of_state

    def __call__(
        self, x: Tensor, initial: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return what `nn.LSTM` returns for [B, T, F] or [T, B, F] from a state of 0."""
        if initial is not None:
            raise ConfigError("hardware-aware training: an LSTM starts from a state of 0")
        time = 1 if self.lstm.batch_first else 0
        drives = self.of_input(x).unbind(time)
        memory = x.new_zeros(x.shape[1 - time], self.lstm.hidden_size)
        state, states = memory, []
        for step, drive in enumerate(drives):
            if step:
                drive = drive + self.of_state(state)
            elif self.lstm.bias:
                drive = drive + cast(Tensor, self.lstm.bias_hh_l0)
            i, f, g, o = drive.chunk(4, -1)
            memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
            state = o.sigmoid() * memory.tanh()
            states.append(state)
        return torch.stack(states, time), (state[None], memory[None])
