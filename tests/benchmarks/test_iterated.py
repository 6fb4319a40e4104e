"""Conjugate gradients over the lines of a crossbar against all nodes in one sparse system."""

import numpy as np
import pytest

from benchmarks.speed.iterated import Iterated
from tests.crossbar.nodal import Nodal


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (7, 12), (40, 25)])
@pytest.mark.parametrize("lines", [(1.0, 2.0, 50.0, 30.0), (3e3, 8e2, 1e3, 2e4)])
def test_currents_are_those_of_all_nodes(shape, lines):
    rng = np.random.default_rng(2)
    g, volts = 1e-6 * 10 ** rng.uniform(-1, 2, shape), rng.uniform(-1, 1, shape[0])
    g[rng.random(shape) < 0.2] = 0
    currents, steps = Iterated(g, *lines).currents(volts)
    expected = Nodal(g, *lines).solve(volts)[1]
    np.testing.assert_allclose(currents, expected, rtol=1e-9, atol=1e-12 * abs(expected).max())
    assert steps < 100
