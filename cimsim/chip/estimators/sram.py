"""Buffers: a table over sizes."""

from __future__ import annotations

from typing import ClassVar

from cimsim.chip.estimators.base import AbstractEstimator, within
from cimsim.chip.estimators.scaling import Scaling, log_log
from cimsim.chip.spec import Chip

KIB = [1, 4, 8, 32, 64, 320, 1024]
_NODE_M, _VDD_V = 40e-9, 1.1


class _SramTable(AbstractEstimator):
    """Figures of a 64-bit port at 40 nm by size, scaled to the chip's node and supply."""

    gives: ClassVar = ("read_energy", "write_energy", "leakage", "area")
    formula: ClassVar = "log-log between sizes of a table at 40 nm, then C V**2 scaling"
    # pJ/B, pJ/B, uW, mm2
    table: ClassVar[dict[str, list[float]]]

    def estimate(self, chip: Chip, section: str) -> dict[str, float]:
        """See the base class; valid for 1 KiB .. 1 MiB, 7 .. 130 nm and 0.4 .. 1.8 V."""
        size = within(f"{section}.size", getattr(chip, section).size_b, 1024, 2**20, "B")
        scale = Scaling(_NODE_M, _VDD_V, chip.process.node_m, chip.process.vdd_v)
        factor = {
            "read_energy": 1e-12 * scale.energy, "write_energy": 1e-12 * scale.energy,
            "leakage": 1e-6 * scale.leakage, "area": 1e-6 * scale.area,
        }  # fmt: skip
        return {
            name: log_log(KIB, column, size / 1024) * factor[name]
            for name, column in self.table.items()
        }


class SramLstp(_SramTable):
    """Low-standby-power cells: what a chip that waits most of the time is built of."""

    source: ClassVar = "CACTI 7, 40 nm LSTP, 64-bit port, 320 K"
    table: ClassVar = {
        "read_energy": [0.17, 0.34, 0.51, 0.84, 1.50, 5.49, 9.61],
        "write_energy": [0.35, 0.65, 1.13, 2.38, 2.76, 4.33, 7.77],
        "leakage": [0.06, 0.28, 0.56, 1.9, 4.4, 17, 54],
        "area": [0.0028, 0.0107, 0.0200, 0.0949, 0.167, 0.884, 2.58],
    }


class SramLop(_SramTable):
    """Low-operating-power cells: cheaper accesses, a thousand times the leakage; area of LSTP."""

    source: ClassVar = "CACTI 7, 40 nm LOP, 64-bit port, 320 K"
    table: ClassVar = {
        "read_energy": [0.075, 0.17, 0.31, 0.63, 0.93, 2.10, 3.57],
        "write_energy": [0.14, 0.26, 0.31, 0.53, 0.76, 1.76, 3.04],
        "leakage": [41, 180, 340, 1280, 2540, 11500, 36800],
        "area": [0.0028, 0.0107, 0.0200, 0.0949, 0.167, 0.884, 2.58],
    }
