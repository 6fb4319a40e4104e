"""One array, a map and vectors in it, read by a fused pass and by plain loops."""

import math

import numpy as np

from cimsim.engine.windows import runs_of
from cimsim.kernels import bitwise, conversion, fused, products
from cimsim.kernels.normals import Stream
from cimsim.kernels.planes import signal_planes, variance_planes


class Case:
    """One array, a map with vectors at any places in it, and how the array is read."""

    def __init__(self, seed, rows=37, cols=21, vectors=101, codes=np.uint8, whole=False):
        rng = np.random.default_rng(seed)
        self.rows, self.cols, self.vectors = rows, cols, vectors
        self.codes = rng.integers(0, np.iinfo(codes).max + 1, 5 * rows + 20, codes)
        self.bases = rng.integers(0, 3 * rows, vectors)
        cut = rows // 3
        self.runs = np.array([[0, 4, cut], [cut, cut + 9, rows - cut]])
        self.matrix = rng.normal(0, 40, (rows, cols))
        if whole:
            self.matrix = np.clip(np.rint(self.matrix), -127, 127)
        self.variance = rng.uniform(0, 2, (rows, cols))
        self.gain, self.offset = rng.normal(1, 0.05, cols), rng.normal(0, 1, cols)
        self.weight = 2.0 ** rng.integers(0, 4, cols)
        self.target = rng.permutation(cols)

    def vector(self, b):
        parts = [self.codes[self.bases[b] + at : self.bases[b] + at + n] for _, at, n in self.runs]
        return np.concatenate(parts).astype(np.int64)

    def fast(
        self, pulses, adc, noise_lsb, dtype, read_noise=True, power=1, first=0, by_bits=False,
        fresh=False, folded=None, floor=0.0, common=None,
    ):  # fmt: skip
        signal, noise = signal_planes(self.matrix), variance_planes(self.variance)
        none = np.empty((0,) * signal.low.ndim, signal.low.dtype)
        packed = adc.packed(noise_lsb)
        converters = np.stack([self.weight, self.gain, self.offset])
        columns = conversion.packed_columns(converters, packed, (signal.unit, noise.unit))
        acc = np.full((self.vectors, self.cols), np.nan if fresh else 0.0, dtype)
        sums = np.zeros(self.rows, np.int64)
        planes = (signal.high, signal.low, noise.low if read_noise else none)
        planes = (*planes, products.tiles(*planes))
        read_out = fused.read_out
        scaling = np.empty((2, 0), np.float32) if folded is None else folded, floor
        if by_bits:
            tables = bitwise.Tables.of(signal, noise if read_noise else None, self.rows)
            planes, read_out = (tables.sums, tables.has_high, tables.has_noise), bitwise.read_out
        clipped = read_out(
            fused.Inputs(self.codes, self.bases, self.runs),
            fused.Pulses(fused.pulse_bits(pulses), power), planes,
            conversion.Converter(columns.astype(dtype), packed[:3].astype(dtype)),
            Stream(np.uint64(2**33 + first), np.uint64(8), np.uint64(2**40 + 9)),
            fused.Outputs(acc, runs_of(self.target), fresh, sums, scaling),
            None if common is None else (common, np.uint64(2**41 + 3)),
        )  # fmt: skip
        return acc, sums, clipped

    def naive(self, draw, pulses, adc, noise_lsb, read_noise=True, power=1):
        acc, sums = np.zeros((self.vectors, self.cols)), np.zeros(self.rows, np.int64)
        lo, step, top, own = adc.packed(noise_lsb)
        clipped, padded = 0, -(-self.cols // 16) * 16
        for b in range(self.vectors):
            for p, (shift, mask) in enumerate(pulses):
                x = self.vector(b) >> shift & mask
                sums += x**power
                normal = draw(1, padded, 2**40 + 9, 2**33 + b, 8 + p)[0]
                for j in range(self.cols):
                    current = float(x @ self.matrix[:, j])
                    read = math.sqrt(float(x**2 @ self.variance[:, j])) if read_noise else 0.0
                    scale = self.weight[j] * 2**shift
                    if top < 0:
                        acc[b, self.target[j]] += (current + read * normal[j]) * scale
                        continue
                    sigma = math.hypot(read * self.gain[j] / step, own)
                    level = (current * self.gain[j] - lo) / step + self.offset[j]
                    code = round(level + sigma * normal[j])
                    clipped += not 0 <= code <= top
                    acc[b, self.target[j]] += (lo + step * min(max(code, 0), top)) * scale
        return acc, sums, clipped


PULSES = {
    "one pulse": ((0, 255),),
    "two pulses": ((0, 15), (4, 15)),
    "bit-serial": tuple((s, 1) for s in range(8)),
    "uneven": ((0, 7), (3, 7), (6, 7)),
}
