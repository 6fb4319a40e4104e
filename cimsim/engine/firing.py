"""How the arrays of one operation are driven and read: what every frame finds ready."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.cells.base import AbstractDevice
from cimsim.chip.spec import Chip
from cimsim.crossbar.adc import AdcRange
from cimsim.crossbar.encode import InputCode
from cimsim.crossbar.programmed import ProgrammedArray
from cimsim.engine.noise import noise_shares
from cimsim.engine.path import Path
from cimsim.engine.program import PlacedArray, ProgrammedLayer
from cimsim.engine.windows import Reads, runs_of
from cimsim.kernels import conversion, floats, frame, fused
from cimsim.kernels.arrays import Floats
from cimsim.kernels.products import tiles
from cimsim.mapping.mapping import Mapping

_EXACT_FLOAT32 = 2**24
_FINE_CODES = 2**20  # with as many a float32 level is exact to a sixteenth of a step


@dataclass(frozen=True, eq=False)
class Firing:
    """The arrays of one operation, their pulses, ranges and inputs.

    Attributes
    ----------
    layer : ProgrammedLayer
    reads : Reads
        Where activations find their inputs.
    ranges : tuple of AdcRange
        One for each array.
    pulses : tuple of (shift, mask)
    factors : tuple of float
        What a unit of each pulse counts in the output; negative in a negative phase.
    power : int
        Exponent of the pulse value in the read energy, 1 or 2.
    noise_lsb : float
        Input-referred noise of a converter, rms, in steps.
    correlation : float
        Of the read noise of one cell in two pulses of an input, without what is held through the
        frame; 0 where each pulse has noise of its own.
    r_supply_ohm : float
        Between the supply and the drivers of an array.
    noise_curve : float32 [k] or None
        Of `AbstractConverter.noise_curve`.
    """

    layer: ProgrammedLayer
    reads: Reads
    ranges: tuple[AdcRange, ...]
    pulses: tuple[tuple[int, int], ...]
    factors: tuple[float, ...]
    power: int
    noise_lsb: float
    correlation: float = 0.0
    r_supply_ohm: float = 0.0
    noise_curve: NDArray[np.float32] | None = None

    @classmethod
    def of(
        cls,
        layer: ProgrammedLayer,
        reads: Reads,
        ranges: tuple[AdcRange, ...],
        chip: Chip,
        device: AbstractDevice,
        code: InputCode,
        mapping: Mapping | None = None,
    ) -> Firing:
        """Take what the chip, the input code and, for how fast reads follow, the mapping say."""
        converter = chip.adc.converter
        quadratic = device.conduction == "ohmic" and chip.dac.encoding == "amplitude"
        factors = code.pulse_factors(chip.dac.bits)
        positive = [factor for factor in factors if factor > 0]
        correlation = 0.0
        if mapping is not None and len(positive) > 1:
            placed = next(one for one in mapping.layers if one.name == layer.name)
            time_s = chip.conditions.time_s
            correlation = noise_shares(mapping, device, placed, time_s, positive).correlation
        return cls(
            layer, reads, ranges, code.pulses(chip.dac.bits), factors,
            2 if quadratic else 1, converter.noise_lsb, correlation, chip.array.r_supply_ohm,
            converter.noise_curve(),
        )  # fmt: skip

    def reading(self, reads: Reads) -> Firing:
        """Return the same arrays on other activations; what is prepared of them is shared.

        Parameters
        ----------
        reads : Reads
            Of vectors of the same length.
        """
        offsets = reads.row_offsets
        groups = [
            replace(rows, runs=runs_of(offsets[rows.arrays[0].row_source])) for rows in self.groups
        ]
        found = copy.copy(self)
        for name in ("cuts", "compiled", "plans"):
            vars(found).pop(name, None)  # all else that was worked out holds for any activations
        vars(found).update(reads=reads, groups=groups)
        return found

    def __getstate__(self) -> dict[str, object]:
        """Leave out addresses: elsewhere other things lie there."""
        own = ("compiled", "plans")
        return {name: value for name, value in vars(self).items() if name not in own}

    @cached_property
    def path(self) -> Path:
        """Which arithmetic reads the arrays, and why."""
        return Path.of(
            self.layer, self.packed_pulses, self.r_supply_ohm, self.noise_curve is not None
        )

    @property
    def is_fast(self) -> bool:
        """Whether products are those of integers."""
        return self.path.way != "floats"

    @property
    def by_bits(self) -> bool:
        """Whether sums of single bits are looked up."""
        return self.path.way == "bits"

    @cached_property
    def packed_pulses(self) -> NDArray[np.int64]:
        """Pulses as the fast paths take them."""
        return fused.pulse_bits(self.pulses)

    @cached_property
    def cuts(self) -> dict[int, NDArray[np.int64]]:
        """Blocks of activations, int64 [n, 2], by number of threads, once they are known."""
        return {}

    @cached_property
    def phases(self) -> list[tuple[int, int, float]]:
        """Return (first pulse, next phase's first, factor beyond ``2**shift``) of each phase."""
        ratios = [f / 2.0**s for f, (s, _) in zip(self.factors, self.pulses, strict=True)]
        starts = [i for i, ratio in enumerate(ratios) if i == 0 or ratio != ratios[i - 1]]
        ends = [*starts[1:], len(ratios)]
        return [(i, end, ratios[i]) for i, end in zip(starts, ends, strict=True)]

    @property
    def is_noisy(self) -> bool:
        """Whether every conversion carries noise and none so many codes that float32 were coarse.

        Without noise the arithmetic is that of float64: codes are those of the dense formula.
        """
        tops = [found.top for found in self.ranges]
        if any(top is not None and top >= _FINE_CODES for top in tops):
            return False
        by_converter = self.noise_lsb > 0 and None not in tops
        return by_converter or all(
            array.written.read_variance is not None for array in self.layer.arrays
        )

    @cached_property
    def dtype(self) -> type[np.floating]:
        """Of float products: float32; float64 where whole numbers would not fit exactly."""
        largest = max(array.written.largest_sum for array in self.layer.arrays)
        too_large = largest * self.pulses[0][1] >= _EXACT_FLOAT32
        return np.float64 if self.layer.is_exact and too_large else np.float32

    @cached_property
    def sum_dtype(self) -> type[np.floating]:
        """Of output values."""
        return np.float32 if self.is_fast and self.is_noisy else np.float64

    @cached_property
    def groups(self) -> list[DrivenRows]:
        """Arrays that are driven by the same vector stand together: it is collected once."""
        found: dict[bytes, list[DrivenArray]] = {}
        for index, array in enumerate(self.layer.arrays):
            item = DrivenArray(self, index, array)
            found.setdefault(array.row_source.tobytes(), []).append(item)
        self._mark_first([array for arrays in found.values() for array in arrays])
        offsets = self.reads.row_offsets
        return [
            DrivenRows(runs_of(offsets[arrays[0].row_source]), arrays[0].n_rows, arrays)
            for arrays in found.values()
        ]

    def _mark_first(self, arrays: list[DrivenArray]) -> None:
        """Find the arrays that are the first, in order of firing, to add to all their outputs."""
        reached = np.zeros(self.layer.n_outputs, bool)
        for array in arrays:
            alone = len(np.unique(array.target)) == len(array.target)
            array.is_first = self.is_fast and alone and not reached[array.target].any()
            reached[array.target] = True

    @cached_property
    def row_bounds(self) -> list[int]:
        """Where the rows of each group begin among those of all, and how many there are in all."""
        return [0, *accumulate(rows.n_rows for rows in self.groups)]

    @cached_property
    def lines(self) -> tuple[int, int, int]:
        """Return arrays, and rows and columns of all of them."""
        arrays = [array for rows in self.groups for array in rows.arrays]
        rows = sum(array.n_rows for array in arrays)
        return len(arrays), rows, sum(array.n_cols for array in arrays)

    @cached_property
    def fills(self) -> bool:
        """Whether arrays that are the first to add to their outputs reach every output."""
        first = [a.target for rows in self.groups for a in rows.arrays if a.is_first]
        return len(np.unique(np.concatenate([np.empty(0, int), *first]))) == self.layer.n_outputs

    @cached_property
    def is_direct(self) -> bool:
        """Whether an output is one conversion's, noisy: it can be scaled where it is made."""
        arrays = [array for rows in self.groups for array in rows.arrays]
        once = len(self.pulses) == 1 and self.fills and all(array.is_first for array in arrays)
        return once and not self.by_bits and self.sum_dtype == np.float32

    def phases_of(self, array: DrivenArray) -> Iterator[PhaseRead]:
        """Yield how an array is read in each phase."""
        for (first, end, _), columns in zip(self.phases, array.phases, strict=True):
            stage = array.index * len(self.pulses) + first
            fresh = self.fills and array.is_first and first == 0
            yield PhaseRead(first, end, stage, fresh, columns)

    @property
    def is_compiled(self) -> bool:
        """Whether compiled code drives all arrays for a whole frame: `compiled`.

        Arrays without noise are for comparisons; a third of the code would be for them.
        """
        alone = self.path.way == "bytes" and self.sum_dtype == np.float32
        return alone and self.reads.bases.ndim == 1

    @cached_property
    def plans(self) -> dict[int, frame.Plan]:
        """What is the same in every frame of compiled code, by number of threads, once known."""
        return {}

    @cached_property
    def compiled(self) -> frame.Layer:
        """The arrays as `cimsim.kernels.frame` takes them, which finds them by address."""
        readings = []
        for rows, summed in zip(self.groups, self.row_bounds[:-1], strict=True):
            for number, array in enumerate(rows.arrays):
                counted = summed, rows.n_rows if number == 0 else 0
                for phase in self.phases_of(array):
                    reading = frame.Reading(
                        rows.runs, array.planes,
                        conversion.Converter(phase.columns, array.scales), array.stretches,
                        phase.stage, (phase.first, phase.end), phase.fresh, counted,
                    )  # fmt: skip
                    readings.append(reading.fields)
        one = self.groups[0].arrays[0]
        return frame.Layer(
            np.array(readings, np.int64), one.planes[1], one.phases[0], self.packed_pulses,
            self.power, self.fills, self.layer.n_outputs,
        )  # fmt: skip

    @cached_property
    def conductances(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return conductances of the rows of all arrays, S, and where each array's begin.

        int64 [arrays, 3]: begin and end among the rows of all groups, begin in what follows;
        float64 [n]
        """
        table, held, begin = [], [], 0
        for rows, (start, end) in zip(self.groups, pairwise(self.row_bounds), strict=True):
            for array in rows.arrays:
                table.append((start, end, begin))
                held.append(array.row_conductance_s)
                begin += end - start
        return np.array(table, np.int64), np.concatenate(held)

    def conductance(self, weighed: list[float]) -> float:
        """Return the sum of (x / x_fs)**p * G from the sums of x**p * G of all arrays, S."""
        full_scale = float(self.pulses[0][1]) ** self.power
        return math.fsum(one / full_scale for one in weighed)

    def weigh(self, applied: list[NDArray[np.int64]]) -> list[float]:
        """Return the sum of x**p * G of each array from those of x**p on the rows of each group.

        They are added up row by row, so that it is the same sum on every processor.
        """
        table, weights = self.conductances
        sums = np.empty(len(table))
        floats.weigh(np.concatenate(applied), table, weights, sums)
        return sums.tolist()


class PhaseRead(NamedTuple):
    """One array in one phase.

    Attributes
    ----------
    first, end : int
        Its pulses.
    stage : int
        Number of the first pulse, counted over all arrays.
    fresh : bool
        Whether nothing was added to the array's outputs before.
    columns : float [5, n]
        Of the array's converters in this phase.
    """

    first: int
    end: int
    stage: int
    fresh: bool
    columns: Floats


@dataclass(frozen=True, eq=False)
class DrivenRows:
    """Arrays whose rows take the same inputs.

    Attributes
    ----------
    runs : int64 [n_runs, 3]
        Where the inputs of a vector lie, see `cimsim.kernels.floats.gather`.
    n_rows : int
    arrays : list of DrivenArray
    """

    runs: NDArray[np.int64]
    n_rows: int
    arrays: list[DrivenArray]


class DrivenArray:
    """One array as the kernels read it: matrices in their dtype, numbers of its columns."""

    is_first = False  # to add to its outputs

    def __init__(self, firing: Firing, index: int, placed: PlacedArray) -> None:
        written = placed.written
        self.index = index
        self.row_source = placed.row_source
        self.row_conductance_s = written.row_conductance_s
        self.common_variance = written.reference_variance
        self.top = firing.pulses[0][1]
        self.dac_curves, self.adc_curves = placed.input_curves(self.top), placed.adc_curves
        self.n_rows, self.n_cols = written.n_rows, written.n_physical_cols
        slices = np.repeat(np.arange(written.slices), written.n_cols)
        self.columns = np.stack(
            [np.array(written.factors)[slices], placed.adc_gain, placed.adc_offset]
        )
        self.target = np.tile(placed.col_target, written.slices)
        self.adc = firing.ranges[index].packed(firing.noise_lsb)
        self.wired = written.wired
        if firing.is_fast:
            self._prepare(written, firing)
        else:
            self.matrix = written.difference.astype(firing.dtype, copy=False)
            self.variance = written.read_variance

    def _prepare(self, written: ProgrammedArray, firing: Firing) -> None:
        """Bring everything into the shape that `fused.read_out` and `bitwise.read_out` take."""
        signal, noise = written.signal, written.noise
        if signal is None:
            raise AssertionError("no planes")  # `Path.of` has looked
        if firing.by_bits:
            tables = written.tables
            self.tables = tables.sums, tables.has_high, tables.has_noise
        else:
            none = np.empty((0,) * signal.low.ndim, signal.low.dtype)
            planes = signal.high, signal.low, none if noise is None else noise.low
            self.planes = *planes, tiles(*planes)
        dtype = firing.sum_dtype
        noise_unit = 0.0 if noise is None else noise.unit
        padded = conversion.packed_columns(self.columns, self.adc, (signal.unit, noise_unit))
        self.scales = self.adc[:3].astype(dtype)
        self.phases = []
        for _, _, factor in firing.phases:
            phase = padded.copy()
            phase[4] *= factor
            self.phases.append(phase.astype(dtype))
        self.stretches = runs_of(self.target)

    def scaled(self, factor: float) -> NDArray[np.float64]:
        """Return the columns' weights for a pulse of which a unit counts ``factor``."""
        columns = self.columns.copy()
        columns[0] *= factor
        return columns
