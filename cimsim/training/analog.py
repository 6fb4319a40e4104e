"""One matrix of a network as it computes on the chip, differentiable.

What is simpler here than in the engine:

- Read noise: the variance of a column is the power of its inputs weighted by the layer's mean over
  the columns, times the column's share; over the calibration inputs its mean is right for every
  column. It passes no gradient.
- Correction: a column's gain and offset are the least-squares fit for the mean, the principal
  directions and the spread in each row of the calibration inputs, not for sampled windows.
- Weights that the chip rounds to their inputs (``weights.rounding: inputs``): with more than
  `ROUNDED_BITS` bits they are not rounded, since that way of rounding leaves next to no error in a
  layer's output. With fewer they are rounded as the chip would at every calibration, and until the
  next one each weight keeps the error that it got there while the weight itself moves on. Rounding
  them to nearest instead trains a network that is good at those integers alone, and they are not
  what the chip will hold.
- Erased cells between groups that share an array have no error.
- A matrix that is used several times has one set of ranges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from cimsim.chip.spec import Chip
from cimsim.crossbar.rounding import round_matrix
from cimsim.rng import key
from cimsim.training.cells import Cells, weight_scales
from cimsim.training.folding import Matrix, folded
from cimsim.training.inputs import InputSamples
from cimsim.training.patches import MatrixShape
from cimsim.training.ranges import LayerRanges
from cimsim.training.straight_through import convert, encode, stand_in

MIN_WINDOWS = 32  # fewer say nothing about correlations, as in the engine
EXACT_BITS = 8  # inputs that bfloat16 holds exactly
ROUNDED_BITS = 6  # of weights that are rounded to their inputs in training, too


@dataclass(frozen=True, eq=False)
class Written:
    """A matrix after one writing; columns are those of all groups.

    Attributes
    ----------
    cells : Tensor [groups, cols, rows]
        Weights in LSB with their errors.
    gain, shift : Tensor [tiles, n_cols]
        Of the converters: factor, and level of no current.
    factor, constant : Tensor [n_cols]
        From the sum of the converters to the output: scales, correction, bias.
    """

    cells: Tensor
    gain: Tensor
    shift: Tensor
    factor: Tensor
    constant: Tensor


class AnalogLayer:
    """A convolution or linear layer with the batch norm behind it, and the chip that it runs on.

    Parameters
    ----------
    name : str
    matrix : nn.Conv2d or nn.Linear
    norm : nn.BatchNorm2d or None
    chip : Chip
    cells : Cells
        Of that chip.
    """

    def __init__(
        self, name: str, matrix: Matrix, norm: nn.BatchNorm2d | None, chip: Chip, cells: Cells
    ) -> None:
        self.name, self.matrix, self.norm, self.chip = name, matrix, norm, chip
        self.shape = MatrixShape.of(matrix, chip)
        self.ranges = LayerRanges(name, self.shape, chip)
        self.samples = InputSamples()
        self._cells = cells

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.matrix.weight.device

    @property
    def cells(self) -> Cells:
        """The chip's cells, where the weights are."""
        if self._cells.sigma.device != self.device:
            self._cells = self._cells.to(self.device)
        return self._cells

    @torch.no_grad()
    def measure(self) -> None:
        """Fix ranges from the inputs that were added to `samples`, and forget those."""
        if not self.samples.empty:
            nominal, _ = self._scaled(self._folded()[0])
            errors = self._rounding_errors(nominal)
            nominal = nominal if errors is None else nominal + errors
            if self.chip.weights.rounding == "nearest":
                nominal = nominal.round()
            self.ranges.measure(self.samples, nominal, self.cells.reading(nominal), errors)
            self.samples.clear()

    def _rounding_errors(self, nominal: Tensor) -> Tensor | None:
        """Return what rounding to the sampled inputs adds to each weight, LSB; None: not done."""
        spec, vectors = self.chip.weights, self.samples.vectors
        if spec.rounding != "inputs" or spec.bits > ROUNDED_BITS or len(vectors) < MIN_WINDOWS:
            return None
        wanted, inputs = nominal.double().cpu().numpy(), vectors.cpu().numpy()
        whole = [
            round_matrix(matrix.T, inputs[:, group], spec.q_max).T
            for group, matrix in enumerate(wanted)
        ]
        return torch.from_numpy(np.stack(whole) - wanted).to(nominal)

    def write(self, seed: int) -> Written:
        """Write the matrix into cells and correct its columns; errors are drawn from ``seed``."""
        with torch.autocast(self.device.type, enabled=False):
            weight, bias = self._folded()
            generator = self._generator(seed, "program")
            with torch.no_grad():
                nominal = self._nominal(weight)
                cells = self.cells.written(nominal, generator)
                gain, offset = self._mismatch(generator)
                shift, factor, constant = self._digital(nominal, cells, gain, offset)
            # what is wrong on the chip is so many LSB: its share of the output goes with the scale
            live, scales = self._scaled(weight)
            scale = scales.reshape(-1) * self.ranges.code.scale
            factor, constant = factor * scale, constant * scale
            return Written(stand_in(live, cells), gain, shift, factor, bias + constant)

    def read(self, x: Tensor, written: Written, seed: int, use: int) -> Tensor:
        """Return the layer's output.

        Products run in the caller's autocast dtype where that holds the inputs exactly, everything
        else in float32.

        Parameters
        ----------
        x : Tensor
            As the layer takes it.
        written : Written
        seed, use : int
            Read noise is drawn from them; ``use`` tells readings of one writing apart.
        """
        ranges, adc, code = self.ranges, self.chip.adc, self.ranges.code
        codes = encode(x.float(), code.scale, code.zero_point, code.top)
        generator = self._generator(seed, "read", use)
        total: Tensor | float = 0.0
        for t, (current, power) in enumerate(self._currents(codes, written.cells)):
            noise = self._noise(t, current, power, written.gain[t], generator)
            if adc.converter.is_exact:
                part = current + written.shift[t]
                total = total + (part if noise is None else part + noise)
            else:
                total = total + convert(
                    current, written.gain[t], written.shift[t], noise, ranges.step[t],
                    2**adc.bits - 1,
                )  # fmt: skip
        return self.shape.output(total * written.factor + written.constant)

    def _folded(self) -> tuple[Tensor, Tensor]:
        """Return weights [groups, cols, rows] and bias [n_cols] with the batch norm in them."""
        gain, bias = folded(self.matrix, self.norm)
        weight = self.shape.matrix(self.matrix.weight.float())
        if gain is not None:
            weight = weight * gain.reshape(self.shape.groups, -1, 1)
        return weight, bias

    def _scaled(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights in LSB, not rounded, and their scales [groups, cols, 1]."""
        spec = self.chip.weights
        scales = weight_scales(weight, spec.q_max, spec.scale)
        return weight / scales, scales

    def _nominal(self, weight: Tensor) -> Tensor:
        """Return the wanted weights in LSB."""
        spec, errors = self.chip.weights, self.ranges.rounding
        nominal, _ = self._scaled(weight)
        if spec.rounding == "nearest":
            nominal.round_()
        elif errors is not None:
            nominal.add_(errors).clamp_(-spec.q_max, spec.q_max)
        return nominal

    def _mismatch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw gain and offset (in steps) of every column's converter, [tiles, n_cols]."""
        adc = self.chip.adc
        gain, offset = torch.ones_like(self.ranges.step), torch.zeros_like(self.ranges.step)
        if not adc.converter.is_exact and adc.gain_sigma:
            gain += adc.gain_sigma * torch.empty_like(gain).normal_(generator=generator)
        if not adc.converter.is_exact and adc.offset_sigma_lsb:
            offset = adc.offset_sigma_lsb * offset.normal_(generator=generator)
        return gain, offset

    def _digital(
        self, nominal: Tensor, cells: Tensor, gain: Tensor, offset: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the converters' levels of no current, and what is done with their sum.

        The output in LSB is ``factor * (sum of converters, less their lower ends) + constant``.
        """
        ranges, zero = self.ranges, self.ranges.code.zero_point
        shift, fixed = offset - ranges.low / ranges.step, ranges.low.sum(0)
        if zero:
            # inputs of 0 drive their rows with this code; its share is subtracted digitally
            sums = torch.stack([t.sum(-1).reshape(-1) for t in self.shape.by_tile(cells)])
            shift = shift + zero * sums * gain / ranges.step
            fixed = fixed - zero * nominal.sum(-1).reshape(-1)
        factor, constant = self._correction(nominal, cells, gain, offset)
        return shift, factor, constant + factor * fixed

    def _correction(
        self, nominal: Tensor, cells: Tensor, gain: Tensor, offset: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the gain and offset that the chip's calibration would give each column."""
        wanted, ranges, shape = self.chip.calibration, self.ranges, self.shape
        factor, constant = torch.ones_like(gain[0]), torch.zeros_like(gain[0])
        if not (wanted.column_gain or wanted.column_offset):
            return factor, constant
        got, x = cells, ranges.inputs
        if self.chip.adc.gain_sigma:
            per_tile = gain.reshape(len(shape.tiles), shape.groups, -1, 1)
            parts = zip(shape.by_tile(cells), per_tile, strict=True)
            got = torch.cat([part * factor for part, factor in parts], -1)
        directions = torch.cat([x.factors, x.mean[:, None]], 1).transpose(1, 2)
        along, along_got = nominal @ directions, got @ directions
        mean, mean_got = along[..., -1].reshape(-1), along_got[..., -1].reshape(-1)
        mean_got = mean_got + (ranges.step * offset).sum(0)
        if ranges.code.zero_point:
            mean_got = mean_got + ranges.code.zero_point * (got - nominal).sum(-1).reshape(-1)
        if wanted.column_gain:
            along, along_got, rest = along[..., :-1], along_got[..., :-1], x.rest[..., None]
            cross = (along * along_got).sum(-1) + ((nominal * got) @ rest)[..., 0]
            power = along_got.square().sum(-1) + (got.square() @ rest)[..., 0]
            cross, power = cross.reshape(-1), power.reshape(-1) + self._noise_power(gain)
            if not wanted.column_offset:
                cross, power = cross + mean * mean_got, power + mean_got.square()
            factor = torch.where(power > 0, cross / power, factor)
        if wanted.column_offset:
            constant = mean - factor * mean_got
        return factor, constant

    def _noise_power(self, gain: Tensor) -> Tensor:
        """Return the mean noise power of each column's sum, LSB squared."""
        adc, ranges = self.chip.adc, self.ranges
        power = (ranges.read_mean * gain.square()).sum(0)
        if adc.converter.is_exact:
            return power
        # of a step of 1 there is next to nothing to round
        rounding = torch.where(ranges.step > 1, 1 / 12, 0.0)
        return power + (ranges.step.square() * (rounding + adc.converter.noise_lsb**2)).sum(0)

    def _currents(self, codes: Tensor, cells: Tensor) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield the partial sums of each row tile, and their read noise at unit share.

        ``codes`` are those less the code of 0, whose share is a constant.

        Yields
        ------
        Tensor [..., n_cols], Tensor [..., groups] or None
        """
        if self.shape.collects:
            yield from self._collected(codes, cells)
        else:
            yield self._convolved(codes, cells)

    def _convolved(self, codes: Tensor, cells: Tensor) -> tuple[Tensor, Tensor | None]:
        shape, zero, by_row = self.shape, self.ranges.code.zero_point, self.ranges.read_shape
        with self._product_dtype():
            current = shape.convolved(codes, cells.reshape(shape.n_cols, -1))
        if not self.ranges.is_noisy:
            return current, None
        # padded pixels drive their rows with the code of 0 too
        square = (codes.detach() + zero).square_().sub_(zero**2)
        with torch.autocast(self.device.type, enabled=False):
            power = shape.convolved(square, by_row).add_(zero**2 * by_row.sum(-1))
        return current, power.clamp_(min=0)

    def _collected(self, codes: Tensor, cells: Tensor) -> Iterator[tuple[Tensor, Tensor | None]]:
        shape, noisy = self.shape, self.ranges.is_noisy
        rows = shape.vectors(codes)
        pieces = zip(
            *(shape.by_tile(x) for x in (rows, cells, self.ranges.read_shape)), strict=True
        )
        for x, weights, by_row in pieces:
            power: Tensor | None = None
            if noisy:
                square = (x.detach() + self.ranges.code.zero_point).square_()
                with torch.autocast(self.device.type, enabled=False):
                    parts = zip(square.unbind(-2), by_row.unbind(0), strict=True)
                    power = torch.stack([x2 @ r for x2, r in parts], -1)
            with self._product_dtype():
                current = shape.multiplied(x, weights)
            yield current, power

    def _product_dtype(self) -> torch.autocast:
        """Leave products to the caller's autocast only where that holds the inputs exactly."""
        kind = self.device.type
        allowed = self.chip.inputs.bits <= EXACT_BITS and torch.is_autocast_enabled(kind)
        return torch.autocast(kind, enabled=allowed, dtype=torch.get_autocast_dtype(kind))

    def _noise(
        self, tile: int, current: Tensor, power: Tensor | None, gain: Tensor,
        generator: torch.Generator,
    ) -> Tensor | None:  # fmt: skip
        """Draw the noise of one tile's sums, in steps of their converters."""
        adc = self.chip.adc
        added = 0.0 if adc.converter.is_exact else adc.converter.noise_lsb
        if power is None and not added:
            return None
        noise = torch.empty_like(current).normal_(generator=generator)
        if power is None:
            return noise.mul_(added)
        share = self.ranges.read_share[tile] * (gain / self.ranges.step[tile]).square()
        if self.shape.groups > 1:
            power = power.repeat_interleave(self.shape.group_cols, -1)
        if not added:
            return noise.mul_(share.sqrt()).mul_(power.sqrt())
        return noise.mul_((power * share).add_(added**2).sqrt_())

    def _generator(self, seed: int, *purpose: str | int) -> torch.Generator:
        number = key(seed, *purpose, self.name) % 2**63
        return torch.Generator(self.device).manual_seed(number)
