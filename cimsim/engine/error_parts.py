"""The error of a layer on the chip, cut into what each part of the chip adds to it.

A chip's sum is that of an ideal one plus, in the order of the signal's way: wrongly written cells,
faulty ones, drift, bent cells, wires, drivers, read noise, what the converters clip, their steps.
Each is what the sum changes by when that part of the chip is switched on behind those before it, on
the same cells and with the same draws. Before the converters sums are linear in the cells, so the
order of the parts before them does not matter to any digit (but for bent cells and drivers).

The digital gain and offset of a column, where the chip has them, are fitted to the whole of these
errors. The fit takes from each of them its own least-squares line over the exact sums; that line is
taken off each part. What is left is that a gain fitted on noisy sums is a little small, as in a
Wiener filter: this is shared among the causes by what each has in the error that the fit saw.
Each part is thus what remains of a cause behind a correction that knows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from cimsim.crossbar.adc import AdcRange
from cimsim.engine.calibrate import MIN_WINDOWS
from cimsim.engine.calibrated import CalibratedMapping, CalibratedOp
from cimsim.engine.firing import Firing
from cimsim.engine.maps import encode_input, rounded_first
from cimsim.engine.program import ProgrammedLayer, ProgrammedMapping, program
from cimsim.engine.samples import Samples
from cimsim.engine.together import fire_together
from cimsim.engine.windows import Reads, padded_shape, window_places
from cimsim.engine.without import without
from cimsim.graph.ir import MatrixOp
from cimsim.graph.layout import to_nhwc
from cimsim.kernels.arrays import Codes, Numbers
from cimsim.rng import key

if TYPE_CHECKING:
    from torch import Tensor

    from cimsim.chip.parts.converters import Calibration
    from cimsim.chip.spec import Chip
    from cimsim.engine.written import Learned

CAUSES = {
    "input bits": "steps of the input code",
    "input clipping": "inputs beyond the ends of the input code",
    "weight bits": "weights rounded to integers",
    "programming": "cells that were not written exactly",
    "faults": "cells that hold one conductance whatever is written",
    "drift": "time and temperature since programming",
    "cell curve": "cells whose current is not linear in the voltage",
    "wires": "resistance of lines, drivers and amplifiers",
    "drivers": "gain and non-linearity of word-line drivers",
    "read noise": "fluctuation of the cells while they are read",
    "converter clipping": "sums beyond the range of the converters",
    "converter steps": "steps of the converters",
    "converter errors": "noise, mismatch and non-linearity of the converters",
}
"""Cause -> what it is; in the order of the signal's way."""

LIMIT = 1024  # activations of a map that are looked at: of more, `BLOCKS` stretches of it
BLOCKS = 4
_FINER = 64  # steps of a converter that clips as the chip's own and hardly rounds
_GOLDEN = 0.6180339887498949
_ROWS, _COLUMNS = 128, 64  # of sums that are worked on together: they stay in the caches

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Parts:
    """Errors of some output vectors of a layer, in units of its output.

    Attributes
    ----------
    windows : int64 [n]
        Numbers of the windows, in raster order.
    by_cause : dict of str to float32 [n, n_cols]
        Their sum is the difference from the exact layer on the same input.
    share : float
        Part of all windows that was looked at.
    """

    windows: NDArray[np.int64]
    by_cause: dict[str, Array]
    share: float


class ErrorParts:
    """Cuts the errors of a calibrated chip's layers into parts.

    Parameters
    ----------
    chip : CalibratedMapping
    seed : int
        Of its cells and reads.
    learned : dict
        As `cimsim.engine.written.written` returned it for this mapping.
    """

    def __init__(self, chip: CalibratedMapping, seed: int, learned: Learned) -> None:
        self.chip, self.seed = chip, seed
        self._samples: Mapping[str, Samples] = learned["samples"]
        self._written = tuple(_switched_on(chip, seed, learned["integers"]))
        self._layers: dict[str, _Layer] = {}
        self._firings: dict[tuple[str, CalibratedOp, str], Firing] = {}
        self._wholes: dict[tuple[str, str], Firing] = {}
        self._lines: dict[str, dict[str, _Line]] = {}

    @property
    def causes(self) -> tuple[str, ...]:
        """Causes that this chip has, in the order of the signal's way."""
        mapping = self.chip.programmed.mapping
        adc = mapping.chip.adc
        found = {"input bits", "weight bits", *(cause for cause, _ in self._written)}
        if mapping.chip.inputs.percentile < 100:
            found.add("input clipping")
        if any(
            array.written.read_variance is not None
            for layer in self.chip.programmed.layers.values()
            for array in layer.arrays
        ):
            found.add("read noise")  # fmt: skip
        if not adc.converter.is_exact:
            found |= {"converter steps"} | (
                {"converter clipping"} if adc.range != "full" else set()
            )
            if _has_errors(mapping.chip):
                found.add("converter errors")
        return tuple(cause for cause in CAUSES if cause in found)

    def of_frame(
        self, op: MatrixOp, x: Tensor, error: Callable[[NDArray[np.int64]], Array], frame: int,
        clips: bool = True,
    ) -> Parts:  # fmt: skip
        """Cut the errors of one map.

        Parameters
        ----------
        op : MatrixOp
        x : torch.Tensor
            The input map as the chip had it.
        error : callable
            ``error(windows)`` returns chip minus exact layer for some output vectors, [n, n_cols].
        frame : int
            Its number: read noise depends on it.
        clips : bool
            False where no conversion of the map was clipped.
        """
        ready = self.chip.ready[op.name]
        code = ready.calibrated.code
        codes = encode_input(op, x.detach().numpy(), code, ready.places.shape).flat
        bases, total = ready.firing.reads.bases, len(ready.firing.reads.bases)
        noise = key(self.seed, "read", op.name)
        found: list[dict[str, Array]] = []
        answered, nominal = [], []
        for start, stop in _stretches(total, frame):
            reads = replace(
                ready.firing.reads, bases=bases[start:stop], answered=stop - start, row=1
            )
            exact, values = self._sums(op, codes, reads, frame * total + start, noise, clips)
            windows = ready.places.windows[start:stop].reshape(-1)
            inside = windows >= 0
            answered.append(windows[inside])
            nominal.append(exact.reshape(-1, op.n_cols)[inside])
            found.append({
                cause: part.reshape(-1, op.n_cols)[inside] for cause, part in values.items()
            })  # fmt: skip
        windows = np.concatenate(answered)
        joined = {cause: np.concatenate([part[cause] for part in found]) for cause in found[0]}
        parts = self._inputs(op, x, windows, np.concatenate(nominal)) | joined
        # what no other part is: what the chip's own converters made of it
        left = error(windows) - sum(parts.values())
        last = "converter steps"
        parts[last] = parts[last] + left if last in parts else left
        return Parts(
            windows, {c: parts[c] for c in CAUSES if c in parts}, len(windows) / op.windows
        )

    def _layer(self, op: MatrixOp) -> _Layer:
        name = self.chip.programmed.mapping.layer_of[op.name].name
        if name not in self._layers:
            steps = [(cause, written.layers[name]) for cause, written in self._written]
            self._layers[name] = _Layer.of(self.chip.programmed.layers[name], steps)
        return self._layers[name]

    def _sums(
        self, op: MatrixOp, codes: Codes, reads: Reads, first: int, noise: int, clips: bool
    ) -> tuple[Array, dict[str, Array]]:
        """Return exact integer sums and their errors, [activations, windows * n_cols].

        Errors are corrected and scaled.
        """
        ready = self.chip.ready[op.name]
        scale = (ready.digital[1] * ready.digital[3]).astype(np.float32)
        exact, raw = self._raw(op, codes, reads, first, noise, clips)
        lines = self._fitted(op)
        if not lines:
            return exact, {cause: part * scale for cause, part in raw.items()}
        # a fit on sums that were clipped counts where none is clipped, too
        found = {cause: np.empty_like(exact) for cause in {**raw, **lines}}
        none = _Line.none(exact.shape[1])
        gain, offset = ready.digital[1], ready.digital[2]
        for first_row in range(0, len(exact), _ROWS):
            part = slice(first_row, first_row + _ROWS)
            taken = {cause: lines.get(cause, none).at(exact[part]) for cause in found}
            left = (gain - 1) * exact[part] + offset + gain * sum(taken.values())
            left = (left * ready.digital[3]).astype(np.float32)
            for cause, out in found.items():
                error = raw[cause][part] - taken[cause] if cause in raw else -taken[cause]
                out[part] = error * scale + lines.get(cause, none).share * left
        return exact, found

    def _raw(
        self, op: MatrixOp, codes: Codes, reads: Reads, first: int, noise: int, clips: bool,
        all_of_them: bool = False,
    ) -> tuple[Array, dict[str, Array]]:  # fmt: skip
        """Return exact integer sums and what each cause adds to them, weight times input LSB."""
        ready, layer = self.chip.ready[op.name], self._layer(op)
        firing, code = ready.firing, ready.calibrated.code
        vectors = reads.vectors(codes, np.arange(len(reads.bases)))
        integers = code.integers(vectors).astype(np.float32)
        patch = self.chip.programmed.mapping.layer_of[op.name].layout.patch
        windows = [integers[:, rows.reshape(-1)] for rows in patch.elements]
        exact = np.concatenate([layer.nominal(x) for x in windows], axis=1)
        zero = ready.digital[0].astype(np.float32)

        def fired(makes: dict[str, Callable[[], Firing]]) -> dict[str, Array]:
            by = [self._firing(op, kind, make, reads) for kind, make in makes.items()]
            sums = fire_together(by, codes, first, noise)
            return {kind: part - zero for kind, part in zip(makes, sums, strict=True)}

        found: dict[str, Array] = {}
        linear = exact
        if layer.matrices is not None:
            values = integers if code.signed != "offset" else vectors.astype(np.float32)
            for cause, difference in layer.matrices:
                found[cause] = values @ difference
                linear = linear + found[cause]
        else:
            for cause, written in layer.steps:
                after = fired({cause: partial(_plain, firing, written)})[cause]
                found[cause], linear = after - linear, after
        chip = self.chip.programmed.mapping.chip
        behind = fired(_behind_cells(firing, layer, chip, clips, all_of_them))
        read = behind.get("ideal", linear)
        if layer.is_noisy:
            found["read noise"] = read - linear
        if chip.adc.converter.is_exact:
            return exact, found
        clipped = behind.get("fine", read)
        if clips:
            found["converter clipping"] = clipped - read
        if "straight" in behind:
            found["converter steps"] = behind["straight"] - clipped
            if "own" in behind:
                found["converter errors"] = behind["own"] - behind["straight"]
        else:
            # of a frame they are known: what the chip's own output says beyond all of this
            found["converter steps"] = np.zeros_like(exact)
        return exact, found

    def _firing(self, op: MatrixOp, kind: str, make: Callable[[], Firing], reads: Reads) -> Firing:
        """Return arrays that read some activations; those of a whole map are kept.

        Steps in time of one layer that were calibrated together are driven alike.
        """
        ready, layer = self.chip.ready[op.name], self.chip.programmed.mapping.layer_of[op.name]
        whole = len(reads.bases) == len(ready.firing.reads.bases) and reads.offsets is (
            ready.firing.reads.offsets
        )
        if whole and (op.name, kind) in self._wholes:
            return self._wholes[op.name, kind]
        place = layer.name, ready.calibrated, kind
        if place not in self._firings:
            self._firings[place] = make()
        found = self._firings[place].reading(reads)
        if whole:
            self._wholes[op.name, kind] = found
        return found

    def _fitted(self, op: MatrixOp) -> dict[str, _Line]:
        """Return what the correction takes off each cause's errors."""
        calibration = self.chip.programmed.mapping.chip.calibration
        if not (calibration.column_gain or calibration.column_offset):
            return {}
        if op.name not in self._lines:
            names = self._together(op)
            self._lines |= dict.fromkeys(names, self._fit(op, names))
        return self._lines[op.name]

    def _together(self, op: MatrixOp) -> tuple[str, ...]:
        """Return the operations that were calibrated with this one: they share its result."""
        mine = self.chip.ops[op.name]
        return tuple(name for name, found in self.chip.ops.items() if found is mine)

    def _fit(self, op: MatrixOp, names: tuple[str, ...]) -> dict[str, _Line]:
        ready = self.chip.ready[op.name]
        if ready.calibrated.windows < MIN_WINDOWS:
            return {}
        taken = [self._samples[name] for name in names]
        samples = taken[0] if len(taken) == 1 else Samples.joined(taken)
        several = ready.firing.layer.windows > 1
        vectors = np.concatenate(samples.activations if several else samples.vectors)
        code = ready.calibrated.code
        codes = code.encode(rounded_first(op, code, vectors))
        exact, parts = self._raw(
            op, codes.reshape(-1), Reads.of_vectors(*codes.shape), 0,
            key(self.seed, "calibrate", op.name), True, all_of_them=True,
        )  # fmt: skip
        chip = self.chip.programmed.mapping.chip
        conditions = chip.conditions
        if not conditions.recalibrate and conditions.compensation != "column":
            parts.pop("drift", None)  # the columns were fitted before
        return _lines(exact, parts, chip.calibration)

    def _inputs(
        self, op: MatrixOp, x: Tensor, windows: NDArray[np.int64], exact: Array
    ) -> dict[str, Array]:
        """Return errors by the input code and by rounded weights, [n, n_cols].

        ``exact`` are the products of the codes with the nominal weights.
        """
        ready, layer = self.chip.ready[op.name], self._layer(op)
        code = ready.calibrated.code
        with_ends = x if op.rounding is None else op.rounding(x)
        vectors = _vectors(op, with_ends.detach().numpy(), windows)
        unclipped = np.rint(vectors / np.float32(code.scale))
        bottom = -code.zero_point if code.signed == "offset" else -code.top
        integers = np.clip(unclipped, bottom, bottom + code.top if code.signed == "offset" else
                           code.top)  # fmt: skip
        weight = op.weight
        scale = np.float32(code.scale)
        rounded = exact * (layer.scales.astype(np.float32) * scale)
        coded = _product(weight, integers * scale)
        found = {
            "input bits": _product(weight, unclipped * scale - vectors),
            "weight bits": rounded - coded,
        }
        clipped = (integers - unclipped) * scale
        hit = clipped.any(axis=1)
        if hit.any():
            found["input clipping"] = np.zeros_like(coded)
            found["input clipping"][hit] = _product(weight, clipped[hit])
        return found


@dataclass(frozen=True, eq=False)
class _Layer:
    """One matrix with one cause after another switched on.

    Attributes
    ----------
    actual, clean : ProgrammedLayer
        As it is; with converters that are all alike and straight.
    steps : list of (str, ProgrammedLayer)
    matrices : list of (str, float32 [n_inputs, n_cols]), or None
        What each cause adds to the matrix; None where its sums are no product of one matrix.
    scales : float64 [n_cols]
    """

    actual: ProgrammedLayer
    clean: ProgrammedLayer
    steps: list[tuple[str, ProgrammedLayer]]
    matrices: list[tuple[str, Array]] | None
    scales: NDArray[np.float64] = field(repr=False)

    @classmethod
    def of(cls, actual: ProgrammedLayer, steps: list[tuple[str, ProgrammedLayer]]) -> _Layer:
        """Work out what is the same for all frames."""
        alone = all(
            array.dac_curves.size == 0 and array.written.steepness == 0
            for _, layer in steps for array in layer.arrays
        )  # fmt: skip
        matrices: list[tuple[str, Array]] | None = None
        inputs = actual.weight.shape[0] * actual.weight.shape[1]
        largest = max((int(a.row_source.max(initial=0)) for a in actual.arrays), default=0)
        if alone and actual.windows == 1 and largest < inputs:
            # the groups of a matrix stand on its diagonal
            matrices, before = [], block_diag(*actual.weight).astype(np.float64)
            for cause, layer in steps:
                after = _folded(layer, before.shape)
                matrices.append((cause, (after - before).astype(np.float32)))
                before = after
        return cls(actual, _clean(actual), steps, matrices, actual.scales)

    @property
    def is_noisy(self) -> bool:
        """Whether any cell fluctuates."""
        return any(
            array.written.read_variance is not None or array.written.reference_variance is not None
            for array in self.actual.arrays
        )

    def nominal(self, integers: Array) -> Array:
        """Return products with the nominal integer weights, [n, n_cols]."""
        return _product(self._weight, integers)

    @cached_property
    def _weight(self) -> Array:
        return self.actual.weight.astype(np.float32)


def _behind_cells(
    firing: Firing, layer: _Layer, chip: Chip, clips: bool, all_of_them: bool
) -> dict[str, Callable[[], Firing]]:
    """Return how a layer with all of its cells' errors is fired, one part more each time."""
    clean = replace(firing, layer=layer.clean, noise_lsb=0.0, noise_curve=None)
    found: dict[str, Callable[[], Firing]] = {}
    if layer.is_noisy:
        found["ideal"] = lambda: replace(clean, ranges=_ideal(firing))
    if chip.adc.converter.is_exact:
        return found
    if clips:
        found["fine"] = lambda: replace(clean, ranges=tuple(_fine(one) for one in firing.ranges))
    if _has_errors(chip) or all_of_them:
        found["straight"] = lambda: clean
    if _has_errors(chip):
        found["own"] = lambda: firing
    return found


def _switched_on(
    chip: CalibratedMapping, seed: int, integers: Mapping[str, NDArray[np.int32]] | None
) -> Iterator[tuple[str, ProgrammedMapping]]:
    """Write the same cells again with one cause more each time; the last are the chip's own."""
    actual = chip.programmed
    mapping, device = actual.mapping, actual.device
    spec = mapping.chip
    present = {
        "faults": not spec.faults.none,
        "drift": not spec.conditions.fresh,
        "cell curve": device.steepness > 0,
        "wires": not spec.wires.are_ideal,
        "drivers": spec.dac.gain_sigma > 0 or spec.dac.inl_lsb > 0,
    }
    causes = ([] if device.is_exact else ["programming"]) + [
        c for c, is_on in present.items() if is_on
    ]
    for number, cause in enumerate(causes):
        if number == len(causes) - 1:
            yield cause, actual
            return
        off = set(causes[number + 1 :])
        reduced, cells = without(spec, device, off)
        yield (
            cause,
            program(replace(mapping, chip=reduced), cells, seed, integers, aged="drift" not in off),
        )


def _clean(layer: ProgrammedLayer) -> ProgrammedLayer:
    none = np.empty((0, 0), np.float32)
    arrays = tuple(
        replace(array, adc_gain=np.ones_like(array.adc_gain),
                adc_offset=np.zeros_like(array.adc_offset), adc_curves=none)
        for array in layer.arrays
    )  # fmt: skip
    return replace(layer, arrays=arrays)


def _plain(firing: Firing, layer: ProgrammedLayer) -> Firing:
    """Return a layer behind ideal converters, its cells still."""
    still = tuple(
        replace(a, written=replace(a.written, read_variance=None, reference_variance=None))
        for a in _clean(layer).arrays
    )
    return replace(
        firing, layer=replace(layer, arrays=still), ranges=_ideal(firing), noise_lsb=0.0,
        noise_curve=None,
    )  # fmt: skip


def _ideal(firing: Firing) -> tuple[AdcRange, ...]:
    return (AdcRange.ideal(),) * len(firing.ranges)


def _fine(range_: AdcRange) -> AdcRange:
    """Return a range with the same ends and steps so small that they do not count."""
    if range_.top is None:
        return range_
    finer = max(1, min(_FINER, (2**19) // max(1, range_.top)))
    return AdcRange(range_.lo, range_.lsb / finer, range_.top * finer)


def _has_errors(chip: Chip) -> bool:
    adc, converter = chip.adc, chip.adc.converter
    sizes = converter.noise_lsb, adc.gain_sigma, adc.offset_sigma_lsb
    present = any(size > 0 for size in sizes) or converter.is_bent
    return not converter.is_exact and (present or converter.noise_curve() is not None)


def _stretches(total: int, frame: int) -> list[tuple[int, int]]:
    """Return which activations of a map are looked at; others from frame to frame."""
    if total <= LIMIT:
        return [(0, total)]
    length, period = LIMIT // BLOCKS, total / BLOCKS
    slack = period - length
    begins = [int(n * period + slack * ((n + 1 + frame * BLOCKS) * _GOLDEN % 1))
              for n in range(BLOCKS)]  # fmt: skip
    return [(start, start + length) for start in begins]


def _folded(layer: ProgrammedLayer, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the matrix that a layer's arrays hold together, float64 [n_inputs, n_cols]."""
    matrix = np.zeros(shape)
    for array in layer.arrays:
        written = array.written
        slices = written.difference.astype(np.float64).reshape(written.n_rows, written.slices, -1)
        held = np.einsum("rsc,s->rc", slices, np.array(written.factors))
        np.add.at(matrix, (array.row_source[:, None], array.col_target[None]), held)
    return matrix


def _product(weight: Numbers, x: Array) -> Array:
    """Return the products of vectors [n, groups * rows] with a matrix [groups, rows, cols]."""
    groups, rows, _ = weight.shape
    if groups == 1:
        alone: Array = x @ weight[0]
        return alone
    split = x.reshape(len(x), groups, rows).transpose(1, 0, 2)
    found: Array = np.matmul(split, weight).transpose(1, 0, 2).reshape(len(x), -1)
    return found


def _vectors(op: MatrixOp, x: Array, windows: NDArray[np.int64]) -> Array:
    """Return the input vectors of some windows of a map, [n, n_rows]."""
    nhwc = to_nhwc(op, x)[0]
    padded = np.zeros(padded_shape(op), np.float32)
    top, _, left, _ = op.window.padding
    padded[top : top + nhwc.shape[0], left : left + nhwc.shape[1]] = nhwc
    bases, offsets = window_places(op)
    found: Array = padded.reshape(-1)[bases[windows][:, None] + offsets]
    return found


@dataclass(frozen=True, eq=False)
class _Line:
    """What a column's correction knows of one cause.

    Attributes
    ----------
    slope, shift : float64 [n_outputs]
        Least-squares line through its errors over the exact sums.
    share : float32 [n_outputs]
        Its part in the error beside the lines of all causes; all shares of a column sum to 1.
    """

    slope: NDArray[np.float64]
    shift: NDArray[np.float64]
    share: NDArray[np.float32]

    @classmethod
    def none(cls, n: int) -> _Line:
        return cls(np.zeros(n), np.zeros(n), np.zeros(n, np.float32))

    def at(self, exact: Array) -> Array:
        """Return the line at some sums, [n, n_outputs]."""
        return (self.slope * exact + self.shift).astype(np.float32)


def _lines(exact: Array, parts: dict[str, Array], calibration: Calibration) -> dict[str, _Line]:
    """Fit a line for each column through the errors of each cause."""
    if not parts:
        return {}
    n_cols = exact.shape[1]
    fitted = []
    for first in range(0, n_cols, _COLUMNS):  # few enough for the caches
        part = slice(first, first + _COLUMNS)
        some = {cause: error[:, part].astype(np.float64) for cause, error in parts.items()}
        fitted.append(_some_lines(exact[:, part].astype(np.float64), some, calibration))
    return {
        cause: _Line(*(np.concatenate(each) for each in zip(*(f[cause] for f in fitted),
                                                            strict=True)))
        for cause in parts
    }  # fmt: skip


def _some_lines(
    t: NDArray[np.float64], parts: dict[str, NDArray[np.float64]], calibration: Calibration
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]]:
    """Return slope, shift and share of each cause for some columns."""
    n_cols = t.shape[1]
    t_mean = t.mean(axis=0) if calibration.column_offset else np.zeros(n_cols)
    centred = t - t_mean
    power = np.einsum("ij,ij->j", centred, centred)
    lines: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    for cause, e in parts.items():
        mean = e.mean(axis=0) if calibration.column_offset else np.zeros(n_cols)
        slope = np.zeros(n_cols)
        if calibration.column_gain:
            cross = np.einsum("ij,ij->j", centred, e - mean)
            np.divide(cross, power, out=slope, where=power > 0)
        shift = mean - slope * t_mean if calibration.column_offset else np.zeros(n_cols)
        lines[cause] = slope, shift
    rests = {c: parts[c] - (slope * t + shift) for c, (slope, shift) in lines.items()}
    whole = np.sum(list(rests.values()), axis=0)
    energy = np.einsum("ij,ij->j", whole, whole)
    found = {}
    for cause, rest in rests.items():
        share = np.zeros(n_cols)
        np.divide(np.einsum("ij,ij->j", rest, whole), energy, out=share, where=energy > 0)
        found[cause] = *lines[cause], share.astype(np.float32)
    return found
