"""From one technology node and supply to another."""

from __future__ import annotations

import bisect
import math

from cimsim.chip.estimators.base import within

# area of one and the same logic relative to 130 nm: Stillmaker and Baas, Integration 58 (2017)
_AREA = {
    7: 0.0092, 10: 0.016, 14: 0.027, 16: 0.03, 20: 0.033, 32: 0.072, 45: 0.16, 65: 0.23, 90: 0.44,
    130: 1.0,
}  # fmt: skip
NODE_M = (7e-9, 130e-9)
VDD_V = (0.4, 1.8)


class Scaling:
    """Energy, leakage and area of digital logic and memory at another node and supply.

    Energy of an action is ``C V**2`` with ``C`` in proportion to the feature size (constant-field
    scaling, Dennard et al., JSSC 9(5), 1974); leakage goes as ``V`` at the same power per area, so
    as ``V`` times area; area follows the table of Stillmaker and Baas, Integration 58 (2017), on
    straight lines in log-log between its nodes. Valid from 7 to 130 nm and from 0.4 to 1.8 V; below
    20 nm capacitance falls more slowly than the name of the node: energies there are lower bounds.

    Parameters
    ----------
    node_m, vdd_v : float
        Where the figures to scale hold, m and V.
    to_node_m, to_vdd_v : float
        Where they are wanted, m and V.

    Raises
    ------
    ValueError
        Outside of the valid range.
    """

    def __init__(self, node_m: float, vdd_v: float, to_node_m: float, to_vdd_v: float) -> None:
        within("process.node", to_node_m, *NODE_M, "m")
        within("process.vdd", to_vdd_v, *VDD_V, "V")
        volts = to_vdd_v / vdd_v
        self.energy = to_node_m / node_m * volts**2
        self.area = _area(to_node_m) / _area(node_m)
        self.leakage = self.area * volts


def _area(node_m: float) -> float:
    return log_log(list(_AREA), list(_AREA.values()), node_m * 1e9)


def log_log(x: list[float] | list[int], y: list[float], at: float) -> float:
    """Interpolate on straight lines between points in log-log.

    Parameters
    ----------
    x, y : list of float
        Points, ``x`` ascending; all > 0.
    at : float
        Inside of ``x``, up to rounding.
    """
    right = min(max(bisect.bisect_left(x, at), 1), len(x) - 1)
    x0, x1 = math.log(x[right - 1]), math.log(x[right])
    y0, y1 = math.log(y[right - 1]), math.log(y[right])
    return math.exp(y0 + (y1 - y0) * (math.log(at) - x0) / (x1 - x0))
