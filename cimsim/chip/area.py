"""Silicon area by component, of the whole chip and of the tiles that a mapping uses.

Spare lines are charged as cells; their drivers and switches are not known and not counted.
"""

from __future__ import annotations

from cimsim.chip.interconnects import interconnect_of
from cimsim.chip.spec import Chip


def area(chip: Chip, tiles: int | None = None) -> dict[str, float]:
    """Return component -> m2.

    Parameters
    ----------
    chip : Chip
    tiles : int, optional
        Tiles that count, all of them by default; what belongs to the chip counts always, once for
        each chip of the system.
    """
    tiles = chip.n_tiles if tiles is None else tiles
    chips = chip.system.chips
    arrays = tiles * chip.tile.arrays
    converters = chip.adc.count * (arrays if chip.adc.shared == "array" else tiles)
    vectors = tiles if chip.vector.scope == "tile" else chips
    unit = chip.matmul
    rows, cols = chip.array.rows + chip.faults.spare_rows, chip.array.cols + chip.faults.spare_cols
    products = 0.0 if unit is None else unit.area_m2 * (tiles if unit.scope == "tile" else chips)
    return {
        "cells": arrays * rows * cols * chip.array.cell_area_m2,
        "array periphery": arrays * chip.array.periphery_area_m2,
        "dac": arrays * chip.array.rows * chip.dac.area_m2,
        "adc": converters * chip.adc.area_m2,
        "adder": tiles * chip.adder.area_m2,
        "vector": vectors * chip.vector.area_m2,
        "matmul": products,
        "buffer": tiles * chip.buffer.area_m2,
        "tile other": tiles * chip.tile.area_m2,
        "interconnect": chips * interconnect_of(chip).area_m2,
        "global buffer": chips * chip.global_buffer.area_m2,
        "other": chips * chip.other_area_m2,
    }
