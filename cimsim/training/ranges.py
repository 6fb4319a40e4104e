"""What a chip measures about one layer before it runs: ranges of inputs and converters."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cimsim.chip.spec import Chip
from cimsim.crossbar.adc import AdcRange, two_sided
from cimsim.crossbar.encode import InputCode
from cimsim.errors import ConfigError
from cimsim.rng import key
from cimsim.training.inputs import InputSamples, InputStatistics
from cimsim.training.patches import MatrixShape
from cimsim.training.straight_through import encode

MAX_SUMS = 1_000_000  # partial sums looked at for one converter range
MAX_ERRORS = 200_000  # of them for a range of least error, which converts them many times
MIN_WINDOWS = 32  # looked at however many columns there are
FIELDS = (
    "input_range", "adc_range", "mean", "factors", "rest", "read_shape", "read_share", "read_mean",
)  # fmt: skip
ROUNDING = "rounding"  # of few bits alone


class LayerRanges:
    """Ranges and input statistics of one layer.

    Attributes
    ----------
    state : dict of str to Tensor
        All that was measured, by the names in `FIELDS`; empty before the first calibration.
    code : InputCode
    step, low : Tensor [tiles, n_cols]
        Of each column's converter: partial sum per step, and of code 0; in LSB.
    inputs : InputStatistics
        Of the input codes, less the code of 0.
    read_shape : Tensor [groups, rows]
        Read-noise variance of a row at unit input, mean over the columns; LSB squared.
    read_share : Tensor [tiles, n_cols]
        How much of it a column has.
    read_mean : Tensor [tiles, n_cols]
        Mean read-noise variance of a column over the calibration inputs.
    rounding : Tensor [groups, cols, rows] or None
        What rounding to the calibration inputs added to each weight, LSB.
    """

    def __init__(self, name: str, shape: MatrixShape, chip: Chip) -> None:
        self.name, self.shape, self.chip = name, shape, chip
        self.state: dict[str, Tensor] = {}
        self.rounding: Tensor | None = None

    def measure(
        self, samples: InputSamples, nominal: Tensor, reading: Tensor,
        rounding: Tensor | None = None,
    ) -> None:  # fmt: skip
        """Fix everything from samples, anew.

        Parameters
        ----------
        samples : InputSamples
        nominal, reading : Tensor [groups, cols, rows]
            Wanted weights in LSB, and their read-noise variance at unit input.
        rounding : Tensor [groups, cols, rows], optional
            What rounding added to each weight.
        """
        low, high = samples.range(self.chip.inputs.percentile, self.name)
        self.state = {"input_range": torch.tensor([low, high], dtype=torch.float64)}
        code = self._code()
        steps = encode(samples.vectors, code.scale, code.zero_point, code.top)
        codes = steps + code.zero_point
        self.state["adc_range"] = self._converter_ranges(codes, nominal)
        inputs = InputStatistics.of(steps, key("training", "inputs", self.name) % 2**63)
        inputs = inputs.scaled(code.scale)
        power = codes.square().mean(0)
        row_shape = reading.mean(1)
        cut = self.shape.by_tile
        means = [_product(r, p) for r, p in zip(cut(reading), cut(power), strict=True)]
        shares = [tile.sum(-1) for tile in cut(row_shape * power)]
        expected = torch.stack(shares).repeat_interleave(self.shape.group_cols, dim=1)
        read_mean = torch.stack(means)
        self.state |= {
            "mean": inputs.mean, "factors": inputs.factors, "rest": inputs.rest,
            "read_shape": row_shape, "read_mean": read_mean,
            "read_share": torch.where(expected > 0, read_mean / expected, 0.0),
        }  # fmt: skip
        self.state |= {} if rounding is None else {ROUNDING: rounding}
        self._derive(nominal.device)

    def load(self, state: dict[str, Tensor], device: torch.device) -> None:
        """Take the state of the same layer on the same chip."""
        missing = [name for name in FIELDS if name not in state]
        if missing:
            raise ConfigError(f"saved ranges of layer '{self.name}': {missing[0]} is missing")
        wanted = (len(self.shape.tiles), len(self.shape.blocks), 2)
        if tuple(state["adc_range"].shape) != wanted:
            raise ConfigError(
                f"saved ranges of layer '{self.name}' are of another chip: for arrays "
                f"{list(state['adc_range'].shape[:2])}, here it takes {list(wanted[:2])}"
            )
        held = (*FIELDS, ROUNDING) if ROUNDING in state else FIELDS
        self.state = {name: state[name].detach().clone() for name in held}
        for name in FIELDS[:2]:  # ranges are read on the host
            self.state[name] = self.state[name].cpu()
        self._derive(device)

    def _code(self) -> InputCode:
        low, high = self.state["input_range"].tolist()
        return InputCode.of_range(low, high, self.chip.inputs.bits)

    def _derive(self, device: torch.device) -> None:
        """Bring the state into the form that every step needs."""
        shape, adc = self.shape, self.chip.adc
        self.code = self._code()
        step, low = np.ones((2, len(shape.tiles), shape.n_cols)) * [[[1.0]], [[0.0]]]
        if not adc.converter.is_exact:
            for t, blocks in enumerate(self.state["adc_range"].tolist()):
                for block, (bottom, top) in zip(shape.blocks, blocks, strict=True):
                    fitted = AdcRange.covering(bottom, top, adc.bits)
                    step[t, block], low[t, block] = fitted.lsb, fitted.lo
        for name in FIELDS[2:]:
            self.state[name] = self.state[name].to(device)
        self.step, self.low = (torch.from_numpy(part).float().to(device) for part in (step, low))
        held = InputStatistics(*(self.state[name] for name in ("mean", "factors", "rest")))
        self.inputs = held.scaled(1 / self.code.scale)
        self.read_shape, self.read_share, self.read_mean = (
            self.state[name] for name in ("read_shape", "read_share", "read_mean")
        )
        rounding = self.state.get(ROUNDING)
        self.rounding = None if rounding is None else rounding.to(device)
        self.is_noisy = bool(self.read_shape.any())

    def _converter_ranges(self, codes: Tensor, nominal: Tensor) -> Tensor:
        """Return both ends of each array's partial sums, float64 [tiles, blocks, 2]."""
        shape, adc = self.shape, self.chip.adc
        ends = torch.zeros(len(shape.tiles), len(shape.blocks), 2, dtype=torch.float64)
        if adc.converter.is_exact:
            return ends
        if adc.range == "full":
            rows = [(tile.stop - tile.start) * shape.sharing for tile in shape.tiles]
            rows = [max(rows)] * len(rows) if adc.scope == "layer" else rows
            worst = torch.tensor(rows, dtype=torch.float64)
            worst *= (2**self.chip.inputs.bits - 1) * self.chip.weights.q_max
            return torch.stack([-worst, worst], -1)[:, None].expand_as(ends).clone()
        pooled = []
        pieces = zip(shape.by_tile(codes), shape.by_tile(nominal), strict=True)
        for t, (x, weights) in enumerate(pieces):
            sums = shape.multiplied(x, weights)
            for b, block in enumerate(shape.blocks):
                width = block.stop - block.start
                stride = math.ceil(len(sums) / max(MIN_WINDOWS, MAX_SUMS // width))
                pooled.append(sums[::stride, block].cpu().numpy().reshape(-1))
                if adc.scope != "layer":
                    ends[t, b] = self._ends(pooled[-1])
        if adc.scope == "layer":
            ends[:] = self._ends(np.concatenate(pooled))
        return ends

    def _ends(self, sums: NDArray[np.float32]) -> Tensor:
        """Return both ends of a converter's range for sampled partial sums."""
        adc = self.chip.adc
        if adc.method == "percentile":
            return torch.tensor(two_sided(sums, adc.percentile))
        fitted = AdcRange.least_error(sums[:: math.ceil(len(sums) / MAX_ERRORS) | 1], adc.bits)
        return torch.tensor((fitted.lo, fitted.lo + fitted.lsb * (2**adc.bits - 1)))


def _product(matrix: Tensor, vector: Tensor) -> Tensor:
    """Return [groups, cols, rows] @ [groups, rows] as [groups * cols]."""
    return (matrix @ vector[..., None]).reshape(-1)
