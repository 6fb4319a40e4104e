"""Arrays read with torch's operators, on any device that torch knows.

The same integers and the same counter-based noise as the compiled kernels
(`cimsim.kernels.fused`, `cimsim.kernels.normals`), written in whole tensors. Sums of integers are
exact on every device. Elementwise steps are single IEEE operations one after the other, and a fused
multiply-add of float32 is worked out in float64 and rounded, so that a value differs from the
compiled one only where that is rounded twice: about once in 2**29 operations, by the last bit of a
float32.

Layers that need float products (bent cells, drivers or converters, wires solved pulse by pulse) or
whose noise is shared by several pulses are left to the compiled kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cimsim.crossbar.programmed import ProgrammedArray
from cimsim.engine.blocks import Sink, counts_of
from cimsim.engine.firing import DrivenArray, DrivenRows, Firing
from cimsim.engine.statistics import OpStatistics
from cimsim.errors import InputError
from cimsim.kernels.arrays import Codes, Int32, Packed
from cimsim.kernels.formula import Operation, quotient, twice
from cimsim.kernels.formula import level as level_of
from cimsim.kernels.formula import sigma as sigma_of
from cimsim.kernels.formula import value as value_of
from cimsim.kernels.fused import offsets_of
from cimsim.kernels.products import unpack

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_EXACT_ROWS = 512  # products of 255 * 128 whose sum float32 holds exactly (2**24)
_BLOCK_VALUES = 2**24  # of the largest tensor of a block of activations
_MULTIPLIERS, _STEPS = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)
_LOW, _ROUNDS = 0xFFFFFFFF, 10
_LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip


def device_of(name: str) -> torch.device:
    """Return torch's device of a name such as ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises
    ------
    InputError
        Torch does not know it, or cannot compute on it.
    """
    import torch

    try:
        device = torch.device(name)
        torch.zeros(1, dtype=torch.int64, device=device).add_(1).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).strip().splitlines()[0]
        raise InputError(f"--device: torch cannot compute on '{name}': {why}") from None
    return device


_CURRENT: ContextVar[TorchArrays | None] = ContextVar("arrays", default=None)


@contextmanager
def reading_on(name: str | None) -> Iterator[None]:
    """Let frames inside read their arrays on a device of torch's; None: with compiled kernels."""
    token = _CURRENT.set(None if name is None else TorchArrays(name))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current() -> TorchArrays | None:
    """Return what `reading_on` has set."""
    return _CURRENT.get()


class TorchArrays:
    """Fires the arrays of operations on one device; their matrices stay there.

    Parameters
    ----------
    name : str
        Of the device.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._device = device_of(name)
        self._held: dict[Firing, list[_Rows]] = {}

    def takes(self, firing: Firing) -> bool:
        """Whether a layer can be fired here."""
        return self.why_not(firing) is None

    def why_not(self, firing: Firing) -> str | None:
        """Return why a layer cannot be fired here; None if it can."""
        if not firing.is_fast:
            return firing.path.why
        return "noise that pulses share" if firing.correlation else None

    def fire(
        self, firing: Firing, codes: Codes, first_window: int, key: int, sink: Sink
    ) -> OpStatistics:
        """Do what `cimsim.engine.blocks.fire` does.

        Parameters
        ----------
        firing : Firing
            That `takes` agrees to.
        codes, first_window, key, sink
            As there.
        """
        import torch

        if firing not in self._held:
            self._held[firing] = [_Rows.of(firing, rows, self._device) for rows in firing.groups]
        groups = self._held[firing]
        applied = [torch.zeros(rows.n_rows, dtype=torch.int64, device=self._device)
                   for rows in groups]  # fmt: skip
        total, clipped = len(firing.reads.bases), 0
        widest = max(rows.n_rows + 8 * max(a.driven.n_cols for a in rows.arrays) for rows in groups)
        step = max(1, _BLOCK_VALUES // widest)
        kind = torch.float32 if firing.sum_dtype is np.float32 else torch.float64
        with torch.no_grad():
            held = None
            for start in range(0, total, step):
                stop = min(start + step, total)
                some, bases = firing.reads.block(codes, start, stop)
                if held is None or firing.reads.bases.ndim > 1:
                    held = torch.from_numpy(_signed(some)).to(self._device)
                begins = torch.from_numpy(np.ascontiguousarray(bases)).to(self._device)
                shape = stop - start, firing.layer.n_outputs
                acc = torch.zeros(shape, dtype=kind, device=self._device)
                for rows, sums in zip(groups, applied, strict=True):
                    vectors = held[begins[:, None] + rows.offsets].to(torch.int64)
                    clipped += rows.read_out(vectors, acc, sums, (first_window + start, key))
                sink.add_up(start, acc.cpu().numpy())
        weighed = firing.weigh([sums.cpu().numpy() for sums in applied])
        conductance = firing.conductance(weighed)
        counts = counts_of(firing, total, clipped)
        return OpStatistics(windows=firing.reads.answered, **counts, conductance_s=conductance)


def _signed(codes: Codes) -> Codes | Int32:
    """Return codes in a type that torch can index."""
    return codes if codes.dtype == np.uint8 else codes.astype(np.int32)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Arrays that are driven by the same vectors.

    Attributes
    ----------
    firing : Firing
    n_rows : int
    offsets : int64 [n_rows]
    arrays : list of _Array
    """

    firing: Firing
    n_rows: int
    offsets: Tensor
    arrays: list[_Array]

    @classmethod
    def of(cls, firing: Firing, rows: DrivenRows, device: torch.device) -> _Rows:
        """Bring matrices and places to the device."""
        import torch

        offsets = torch.from_numpy(offsets_of(rows.runs).astype(np.int64)).to(device)
        arrays = [
            _Array.of(array, firing.layer.arrays[array.index].written, device)
            for array in rows.arrays
        ]
        return cls(firing, rows.n_rows, offsets, arrays)

    def read_out(
        self, vectors: Tensor, acc: Tensor, sums: Tensor, keyed: tuple[int, int]
    ) -> int:  # fmt: skip
        """Read all pulses of some vectors int64 [B, n_rows] by all arrays; return saturations."""
        import torch

        firing, clipped, driven = self.firing, 0, []
        for drop, mask, exponent in firing.packed_pulses.tolist():
            x = (vectors >> drop) & mask
            sums += (x**firing.power).sum(0) >> (firing.power * exponent)
            driven.append(x.to(torch.uint8))
        for array in self.arrays:
            for columns, (first, end, _) in zip(array.phases, firing.phases, strict=True):
                for p in range(first, end):
                    drawn = keyed[0], array.driven.index * len(firing.pulses) + p, keyed[1]
                    pulse = firing.packed_pulses[p].tolist()
                    value, outside = array.convert(driven[p], pulse, columns, drawn)
                    clipped += outside
                    for column, place, n in array.stretches:
                        acc[:, place : place + n] += value[:, column : column + n]
        return clipped


@dataclass(frozen=True, eq=False)
class _Array:
    """One array on the device.

    Attributes
    ----------
    driven : DrivenArray
    low, high, noise : float32 [n_rows, n_cols]
        Planes of the conductances and of the read noise; None where there is none.
    phases : list of [5, n_cols]
        As `cimsim.kernels.conversion.packed_columns`, for each phase.
    is_noisy : bool
        Whether cells or converters fluctuate.
    stretches : list of (int, int, int)
        See `cimsim.kernels.conversion.add`.
    """

    driven: DrivenArray
    low: Tensor
    high: Tensor | None
    noise: Tensor | None
    phases: list[Tensor]
    is_noisy: bool
    stretches: list[tuple[int, int, int]]

    @classmethod
    def of(cls, driven: DrivenArray, written: ProgrammedArray, device: torch.device) -> _Array:
        """Unpack the planes that the kernels read."""
        import torch

        signal, noise = written.signal, written.noise
        if signal is None:
            raise AssertionError("no planes")  # `TorchArrays.takes` has looked
        n, width = driven.n_rows, driven.n_cols

        def plane(packed: Packed) -> Tensor:
            whole = np.ascontiguousarray(unpack(packed)[:n, :width])
            return torch.from_numpy(whole).to(device, torch.float32)

        phases = [phase[:, :width].copy() for phase in driven.phases]
        return cls(
            driven, plane(signal.low), plane(signal.high) if signal.high.size else None,
            None if noise is None else plane(noise.low),
            [torch.from_numpy(phase).to(device) for phase in phases],
            noise is not None or bool((phases[0][3] > 0).any()),
            [(int(a), int(b), int(c)) for a, b, c in driven.stretches.tolist()],
        )  # fmt: skip

    def convert(
        self, x: Tensor, pulse: list[int], columns: Tensor, drawn: tuple[int, int, int]
    ) -> tuple[Tensor, int]:  # fmt: skip
        """Return output values of one pulse [B, n_cols], and how many conversions were clipped.

        Parameters
        ----------
        x : uint8 [B, n_rows]
        pulse : (int, int, int)
            As in `cimsim.kernels.fused.read_out`.
        columns : [5, n_cols]
            Of the phase.
        drawn : (int, int, int)
            Number of the first vector over all frames, of the array's pulse, key of the noise.
        """
        import torch

        drop, mask, exponent = pulse
        kind, width = columns.dtype, self.driven.n_cols
        scale, unit = 1.0 / (1 << exponent), columns[4] * float(1 << (drop + exponent))
        lo, step, top = (float(one) for one in self.driven.scales)
        usual = self.is_noisy and top >= 0
        total = _product(x, self.low).to(kind) * scale
        if self.high is not None:
            total = _fma(_product(x, self.high).to(kind), 256.0 * scale, total)
        mad: Operation[Tensor] = _fma if usual else twice
        # the reciprocal is one in the type of the arithmetic
        ends = -lo, float(1 / self.driven.scales[1]) if usual else step
        column, over = (columns[0], columns[1]), _fma if usual else quotient
        level: Tensor = level_of(total, column, ends, mad, over)
        if self.is_noisy:
            variance = _variance(x, self.noise, mask, exponent, scale * scale, kind)
            window, stage, key = drawn
            draws = normals(len(x), width, window, stage, key, x.device).to(kind)
            level = mad(sigma_of(variance, columns[2], columns[3], mad, _sqrt), draws, level)
        if top < 0:
            return level * unit, 0
        code = torch.round(level)
        outside = int(((code < 0) | (code > top)).sum())
        return value_of(code.clamp(0, top), (lo, step), unit, mad), outside


def _fma(a: Tensor | float, b: Tensor | float, c: Tensor | float) -> Tensor:
    """Multiply and add with one rounding; in float64 with two."""
    import torch

    (kind, *_) = [one.dtype for one in (a, b, c) if isinstance(one, torch.Tensor)]
    if kind != torch.float32:
        exact = a * b + c
        assert isinstance(exact, torch.Tensor)
        return exact
    wide = [one.double() if isinstance(one, torch.Tensor) else one for one in (a, b, c)]
    found = wide[0] * wide[1] + wide[2]
    assert isinstance(found, torch.Tensor)
    return found.to(kind)


def _sqrt(x: Tensor) -> Tensor:
    """Return the root, rounded once: that of float32 is not on every device and build of torch."""
    import torch

    return torch.sqrt(x.double()).to(x.dtype)


def _product(x: Tensor, plane: Tensor) -> Tensor:
    """Return the exact integer product int64 [B, width] of inputs 0..255 and a plane of bytes."""
    import torch

    values = x.to(torch.float32)
    found = torch.zeros((len(x), plane.shape[1]), dtype=torch.int64, device=x.device)
    for start in range(0, plane.shape[0], _EXACT_ROWS):
        part = slice(start, start + _EXACT_ROWS)
        found += (values[:, part] @ plane[part]).to(torch.int64)
    return found


def _variance(
    x: Tensor, noise: Tensor | None, mask: int, exponent: int, unit: float, kind: torch.dtype
) -> Tensor:
    """Return the variance of the read noise in units of its plane, [B, width] or [B, 1]."""
    import torch

    if noise is None:
        return torch.zeros((len(x), 1), dtype=kind, device=x.device)
    if mask & (mask - 1) == 0:  # one bit: its square is itself times its value
        factor = torch.full((len(x), 1), unit * (1 << exponent), dtype=torch.float64)
        return _product(x, noise).to(kind) * factor.to(x.device).to(kind)
    x = x.to(torch.int64)
    largest = x.amax(1, keepdim=True)
    # squares in bytes with the smallest even exponent for which the largest fits
    shift = 2 * torch.stack([largest > limit for limit in (15, 31, 63, 127)]).sum(0)
    half = (1 << shift) >> 1
    squares = (x * x + half) >> shift
    factor = (unit * (1 << shift).to(torch.float64)).to(kind)
    return _product(squares, noise).to(kind) * factor


def normals(
    n: int, width: int, window: int, stage: int, key: int, device: torch.device | str = "cpu"
) -> Tensor:  # fmt: skip
    """Return the standard normals of consecutive windows, float32 [n, width].

    Those of `cimsim.kernels.normals.normals`: Philox4x32-10 and Box-Muller.

    Parameters
    ----------
    n, width : int
        Windows, columns.
    window : int
        Number of the first window over all frames.
    stage : int
        Which array and pulse.
    key : int
        64 bits.
    device : optional
        Of torch.
    """
    import torch

    counts = -(-width // 4)
    shape = n, counts
    counter = torch.arange(counts, device=device).expand(shape)
    number = (torch.arange(n, device=device) + window)[:, None].expand(shape)
    state = [counter, number & _LOW, number >> 32, torch.full_like(counter, stage)]
    k0, k1 = key & _LOW, (key >> 32) & _LOW
    for _ in range(_ROUNDS):
        (low0, high0), (low1, high1) = (
            _times(state[i], multiplier) for i, multiplier in zip((0, 2), _MULTIPLIERS, strict=True)
        )
        state = [high1 ^ state[1] ^ k0, low1, high0 ^ state[3] ^ k1, low0]
        k0, k1 = (k0 + _STEPS[0]) & _LOW, (k1 + _STEPS[1]) & _LOW
    pairs = [_box_muller(state[i], state[i + 1]) for i in (0, 2)]
    whole = torch.stack([one for pair in pairs for one in pair], dim=2)
    return whole.reshape(n, 4 * counts)[:, :width]


def _times(word: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """Return lower and upper 32 bits of a product of 32-bit numbers held in int64."""
    upper = multiplier * (word >> 16)
    lower = multiplier * (word & 0xFFFF)
    middle = upper + (lower >> 16)
    return ((middle & 0xFFFF) << 16) | (lower & 0xFFFF), middle >> 16


def _log(u: Tensor) -> Tensor:
    """Return what the kernels' logarithm does, step by step."""
    import torch

    bits = u.view(torch.int32)
    exponent = ((bits >> 23) - 126).to(torch.float32)
    mantissa = ((bits & 0x007FFFFF) | 0x3F000000).view(torch.float32)
    small = mantissa < np.float32(0.70710678).item()
    exponent = torch.where(small, exponent - 1.0, exponent)
    x = torch.where(small, mantissa + mantissa - 1.0, mantissa - 1.0)
    p = torch.full_like(x, _LOG[0])
    for coefficient in _LOG[1:]:
        p = _fma(p, x, _f(coefficient))
    z = x * x
    y = _fma(x * z, p, -0.5 * z)
    return _fma(exponent, _f(0.69314718), x + y)


def _f(value: float) -> float:
    return float(np.float32(value))


def _box_muller(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return two independent normals of two uniform 32-bit words."""
    import torch

    u = ((a >> 1).to(torch.int32).to(torch.float32) + 0.5) * 2.0**-31
    radius = _sqrt(-2.0 * _log(u))
    part = ((b & 0x3FFFFFFF) - 0x20000000).to(torch.int32)
    t = (part.to(torch.float32) + 0.5) * _f(1.5707963267948966 * 2.0**-30)
    z = t * t
    s = _fma(torch.full_like(z, -1.9515295891e-4), z, _f(8.3321608736e-3))
    s = _fma(_fma(s, z, _f(-1.6666654611e-1)) * z, t, t)
    c = _fma(torch.full_like(z, 2.443315711809948e-5), z, _f(-1.388731625493765e-3))
    c = _fma(c, z, _f(4.166664568298827e-2)) * z
    c = _fma(c, z, _fma(torch.full_like(z, -0.5), z, 1.0))
    quadrant = b >> 30
    odd = (quadrant & 1) == 1
    x, y = torch.where(odd, s, c), torch.where(odd, c, s)
    x = torch.where((quadrant == 1) | (quadrant == 2), -x, x)
    y = torch.where(quadrant >= 2, -y, y)
    return radius * x, radius * y
