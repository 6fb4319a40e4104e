import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.jit import jit
from cimsim.kernels.fma import fma

NOISE = """
import hashlib, sys
import numpy as np
from cimsim.kernels import conversion
from cimsim.kernels.normals import counters, many_normals

def digest():
    numbers = np.zeros((16, 16), np.uint64), np.zeros((16, 16), np.uint64)
    counters(*numbers)
    draws = np.zeros(1024, np.float32)
    flat = numbers[0].reshape(-1), numbers[1].reshape(-1)
    many_normals(draws, flat, np.uint64(2**40 + 3), np.uint64(5), np.uint64(2**50 + 11))
    rng = np.random.default_rng(0)
    high, low = rng.integers(-2000, 2000, (2, 1024)).astype(np.int32)
    columns = rng.uniform(0.1, 1, (5, 1024)).astype(np.float32)
    value, adc = np.zeros(1024, np.float32), np.array([-3e5, 2111.3, 255], np.float32)
    variance = rng.uniform(0, 9, 1024).astype(np.float32)
    conversion.convert(
        conversion.Sums(high, low, 0.37, 1), (0, 0, 0), conversion.Noise(variance, draws),
        conversion.Converter(columns, adc), value, 1024,
    )
    assert len(np.unique(value)) > 100
    return hashlib.sha256(draws.tobytes() + value.tobytes()).hexdigest()
"""


@jit
def fused(a, b, c):
    return fma(a, b, c)


def rounded(exact, kind):
    """The float next to a fraction, to even at a tie."""
    near = kind(float(exact))
    found = [kind(np.nextafter(near, kind(side))) for side in (-np.inf, np.inf)] + [near]
    distance = [abs(Fraction(float(one)) - exact) for one in found]
    best = [one for one, d in zip(found, distance, strict=True) if d == min(distance)]
    size = {np.float32: np.uint32, np.float64: np.uint64}[kind]
    return next((one for one in best if int(one.view(size)) % 2 == 0), best[0])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@given(data=st.data())
def test_the_sum_is_rounded_once(kind, data):
    bits = 32 if kind == np.float32 else 64
    sizes = st.floats(2**-10, 1024, width=bits) | st.floats(-1024, -(2**-10), width=bits)
    a, b, c = (kind(data.draw(sizes)) for _ in range(3))
    c = data.draw(st.sampled_from([c, kind(-a * b)]))  # what cancels shows the rounding
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    assert fused(a, b, c) == rounded(exact, kind)


@pytest.mark.slow
def test_noise_has_the_same_bits_on_a_processor_without_the_instruction(tmp_path):
    scope = {}
    exec(NOISE, scope)
    env = {"NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": str(tmp_path), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", NOISE + "print(digest())"], check=True, env=env,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == scope["digest"]()
