"""Which non-ideality acts under which encoding and wires: found out by running, not by saying so.

python -m benchmarks.analog.support --write
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

import cimsim
from benchmarks.paper import document
from cimsim.chip.cells import device_of
from cimsim.engine.execute import execute
from cimsim.engine.prepare import prepare
from cimsim.errors import CimsimError
from cimsim.mapping.mapping import Mapping as ChipMapping

PATH = document.PATH.with_name("model.md")
SIZE = 9
# nothing errs: what a non-ideality changes is then its own doing
CLEAN: Mapping[str, Any] = {
    "device.sigma_program": 0, "device.sigma_read": 0, "adc.range": "full", "adc.bits": 12,
    "calibration.column_gain": False, "calibration.column_offset": False, "tile.count": 400,
    "array.rows": 64, "array.cols": 64, "adc.count": 8, "inputs.percentile": 100,
}  # fmt: skip
DRIFT = {"device.drift_per_decade": "5 %", "device.drift_start": "1 min"}
ROWS: Mapping[str, Mapping[str, Any]] = {
    "programming error": {"device.sigma_program": "2 %"},
    "read noise": {"device.sigma_read": "1 %"},
    "drift": {**DRIFT, "conditions.time": "1 d"},
    "temperature": {"conditions.temperature": "85 C"},
    "stuck and open cells": {"faults.stuck_on": "5 %", "faults.open": "5 %"},
    "write-verify as a loop": {"device.verify": {"tolerance": "2 %", "max_pulses": 5}},
    "converter noise": {"adc.noise_lsb": 2},
    "converter gain and offset": {"adc.gain_sigma": "2 %", "adc.offset_sigma_lsb": 3},
    "converter non-linearity": {"adc.inl_bow_lsb": 3, "adc.inl_steps_lsb": 3},
    "driver gain": {"dac.gain_sigma": "2 %"},
    "driver non-linearity": {"dac.inl_lsb": 3},
    "one-bit pulses": {"dac.bits": 1, "adc.bits": 4},
    "slices of 2 bits": {"weights.cell_bits": 2, "adc.bits": 4},
    "negative inputs in two phases": {"inputs.signed": "phases"},
    "negative inputs on two rows": {"inputs.signed": "rows"},
    "non-linear cells": {"device.nonlinearity": 4},
}
# eFlash cells are driven at their gates: what only ohmic cells can do is asked of those, and
# compared with the same cells without it
OHMIC: Mapping[str, Any] = {"device.kind": "ideal", "device.g_max": "11.5 nS"}
OF_OHMIC = ("non-linear cells",)
ENCODINGS = ("differential", "offset", "twos_complement")
WIRES: Mapping[str, Mapping[str, Any]] = {
    "ideal": {},
    "fast": {"wires.model": "fast", "wires.r_word": "2 kohm", "wires.r_bit": "2 kohm"},
    "exact": {"wires.model": "exact", "wires.r_word": "2 kohm", "wires.r_bit": "2 kohm"},
}


def support() -> dict[tuple[str, str, str], str]:
    """Return the verdict on every (non-ideality, encoding, wires): acts, none or refused.

    ``acts``: the output of a small layer is finite and not what it is without the non-ideality.
    """
    found = {}
    for encoding in ENCODINGS:
        for wires, ohms in WIRES.items():
            base = {**CLEAN, "weights.encoding": encoding, **ohms}
            clean = _output(base)
            for name, change in ROWS.items():
                own = with_ohmic(base) if name in OF_OHMIC else base
                without = _output(own) if name in OF_OHMIC else clean
                found[name, encoding, wires] = _judge({**own, **change}, without)
    return found


def with_ohmic(base: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chip's overrides with the perfect ohmic cell in place of its own."""
    rest = {path: value for path, value in base.items() if not path.startswith("device.")}
    return {**rest, **OHMIC}


def _judge(overrides: Mapping[str, Any], clean: np.ndarray[Any, Any]) -> str:
    try:
        output = _output(overrides)
    except CimsimError:
        return "refused"
    if not np.isfinite(output).all():
        return "not finite"
    return "none" if np.array_equal(output, clean) else "acts"


def _output(overrides: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Return the output of a convolution with signed inputs on a chip with changes."""
    graph, frame = _layer()
    chip = cimsim.load_hw("eflash40nm", overrides=dict(overrides))
    mapping: ChipMapping = cimsim.map_graph(graph, chip)
    ready = prepare(mapping, device_of(chip), [(frame,)], 0, threads=1)
    return execute(ready, (frame,), 0, 0, 1).outputs[0].numpy()


@functools.cache
def _layer() -> tuple[Any, torch.Tensor]:
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(4, 6, 3)
    frame = torch.rand(1, 4, SIZE, SIZE) - 0.3
    return cimsim.trace(layer, (frame,), name="layer"), frame


def markdown(found: Mapping[tuple[str, str, str], str]) -> str:
    """Return the matrix as a table: columns are encodings with their wires."""
    columns = [(encoding, wires) for encoding in ENCODINGS for wires in WIRES]
    lines = [
        "| | " + " | ".join(f"{e.replace('_', ' ')}, {w}" for e, w in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name in ROWS:
        cells = (found[name, encoding, wires] for encoding, wires in columns)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the matrix, or write it into docs/model.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="rewrite the table of docs/model.md")
    given = parser.parse_args()
    table = markdown(support())
    print(table)
    if given.write:
        document.rewrite(PATH, {"support": table})


if __name__ == "__main__":
    main()
