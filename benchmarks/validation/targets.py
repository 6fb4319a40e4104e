"""Published figures, the chip file that stands for each, and whether it was fitted to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.validation import measures as m

Kind = Literal["fit", "rescaling", "prediction", "identity"]


@dataclass(frozen=True)
class Target:
    """One published figure.

    Attributes
    ----------
    row, what : str
        Identifier of the table and what is compared.
    chip : str
        Shipped description; empty for an identity between published figures alone.
    published : float
    unit : str
    source : str
    measure : callable
        Chip -> the same figure from the model.
    kind : {"fit", "rescaling", "prediction", "identity"}
        ``fit``: a number of the description was chosen so that this comes out; ``rescaling``: the
        same macro under other conditions (supply, bits, phases, data, number) than those it was
        fitted to; ``identity``: it follows from other published figures of the row;
        ``prediction``: none of these.
    changes : mapping
        Overrides of the description: the condition that was measured.
    """

    row: str
    what: str
    chip: str
    published: float
    unit: str
    source: str
    measure: Callable[[Any], float]
    kind: Kind
    changes: Mapping[str, Any] = field(default_factory=dict)


# What the estimators say where a description holds fitted figures. What none of them knows is taken
# out (0), so the result is a bound of converters, drivers and cells alone.
_CONVERTERS = {"adc.energy": "auto", "dac.energy": "auto"}
_DIGITAL = {
    f"{section}.{name}": "auto"
    for section, names in {
        "buffer": ("read_energy", "write_energy", "area"), "adder": ("energy", "area"),
        "vector": ("energy", "scale_energy", "area"), "interconnect": ("energy",),
    }.items()
    for name in names
}  # fmt: skip
_LINES = {"array.fixed_energy": "0 J", "array.cell_capacitance": "auto"}
# the files count a ninth bit that flipped columns save in the publication
_EIGHT = {"adc.bits": 8, "adc.area": "auto", "dac.area": "auto"}
UNCALIBRATED: Mapping[str, Mapping[str, Any]] = {
    "hermes14nm": _CONVERTERS | {"array.active_power": "0 W"},
    "pcm64core14nm": _CONVERTERS | {"array.active_power": "0 W"},
    "neurram130nm": _CONVERTERS | {"array.active_power": "0 W", "dac.bit_energy": "0 J"},
    "sram65nm": _CONVERTERS | {"array.fixed_energy": "0 J", "adc.area": "auto"},
    "sram22nm": _CONVERTERS
    | {
        "array.fixed_energy": "0 J",
        "array.cell_capacitance": "auto",
        "array.cell_area": "0.74 um2",
    },
    "sram7nm": _CONVERTERS | {"array.fixed_energy": "0 J", "array.cell_capacitance": "auto"},
    "isaac32nm": _CONVERTERS | _DIGITAL | _EIGHT,
    "puma32nm": _CONVERTERS | _DIGITAL | _EIGHT,
}
# times have no estimator, and these macros give one area for everything
_MEASURED = (m.tops, m.one_bit_tops, m.interval_us, m.macro_density)


def is_estimable(target: Target) -> bool:
    """Whether estimators have anything to say about a figure."""
    return target.chip in UNCALIBRATED and target.measure not in _MEASURED


_BAI, _KHA = "Bai, TCAD 2024", "Khaddam-Aljameh, JSSC 2022"
_LEG, _WAN = "Le Gallo, Nature Electronics 2023", "Wan, Nature 2022, as in CiMLoop"
_JIA, _WANG = "Jia, JSSC 2020, as in CiMLoop", "Wang, VLSI 2022, as in CiMLoop"
_SIN, _ISA, _PUM = (
    "Sinangil, JSSC 2021, as in CiMLoop", "Shafiee, ISCA 2016", "Ankit, ASPLOS 2019",
)  # fmt: skip
_FOUR = {"dac.bits": 2, "dac.t_step": "42.5 ns"}  # four reads of one vector of 128 ns each
_SHRUNK = {"tile.count": 64}
_AT_085 = {"operating.vdd": "0.85 V"}

_FLASH = (
    Target("V1a", "throughput", "wtm2101", 0.050, "TOPS", _BAI, m.tops, "fit"),
    Target("V1b", "efficiency, activity 1", "wtm2101", 26, "TOPS/W", _BAI, m.npu_tops_per_w, "fit",
           {"array.activity": 1.0}),
    Target("V1b", "efficiency, activity 0.10", "wtm2101", 160, "TOPS/W", _BAI, m.npu_tops_per_w,
           "fit", {"array.activity": 0.0997}),
    Target("V10", "time of a tile's MVM", "eflash40nm", 6.4, "us",
           "2 x 1024^2 x 76 / 25 TOPS, M1076 product page", m.interval_us, "fit"),
    Target("V12", "power, 76 busy tiles", "eflash40nm", 3.5, "W",
           "M1076 product page: 3 .. 4 W", m.busy_chip_w, "fit"),
    Target("V12", "throughput, 76 busy tiles", "eflash40nm", 25, "TOPS",
           "M1076 product page: 25 .. 26 TOPS", m.tops, "fit"),
    Target("V13", "SoC, denoising, 1024 Mop/s", "wtm2101", 2.70, "mW", _BAI, m.soc_mw(1024e6),
           "fit"),
    *(
        Target("V13", f"SoC, {what}, 400 Mop/s", "wtm2101", published, "mW", _BAI, m.soc_mw(400e6),
               "prediction", {"processor.load": 400 / 1024})
        for what, published in (("100 words", 1.26), ("40 words", 0.90), ("wake-up", 0.54))
    ),
    # no energies of its components are published: power over throughput, nothing more
    Target("V11", "55 nm NOR SoC, 0.16 TOPS at 21.4 mW", "", 7.48, "TOPS/W", "Jin, 55 nm NOR SoC",
           lambda _: 0.16 / 21.4e-3, "identity"),
)  # fmt: skip
_PCM = (
    Target("V2", "throughput", "hermes14nm", 1.008, "TOPS", _KHA, m.tops, "fit"),
    Target("V2", "efficiency", "hermes14nm", 10.5, "TOPS/W", _KHA, m.tops_per_w, "fit"),
    Target("V2", "density", "hermes14nm", 1.59, "TOPS/mm2", _KHA, m.macro_density, "fit"),
    Target("V3", "throughput, 1 phase", "pcm64core14nm", 63.1, "TOPS", _LEG, m.tops, "fit"),
    Target("V3", "efficiency, 1 phase", "pcm64core14nm", 9.76, "TOPS/W", _LEG, m.tops_per_w, "fit"),
    Target("V3", "density, 1 phase", "pcm64core14nm", 1.55, "TOPS/mm2", _LEG, m.macro_density,
           "fit"),
    Target("V3", "power, 1 phase", "pcm64core14nm", 6.47, "W", _LEG, m.macro_power_w, "identity"),
    Target("V3", "throughput, 64 cores of V2", "hermes14nm", 63.1, "TOPS", _LEG, m.tops,
           "rescaling", _SHRUNK),
    Target("V3", "efficiency, 64 cores of V2", "hermes14nm", 9.76, "TOPS/W", _LEG, m.tops_per_w,
           "rescaling", _SHRUNK),
    Target("V3", "throughput, 4 phases", "pcm64core14nm", 16.1, "TOPS", _LEG, m.tops,
           "rescaling", _FOUR),
    Target("V3", "efficiency, 4 phases", "pcm64core14nm", 2.48, "TOPS/W", _LEG, m.tops_per_w,
           "rescaling", _FOUR),
    Target("V3", "density, 4 phases", "pcm64core14nm", 0.40, "TOPS/mm2", _LEG, m.macro_density,
           "rescaling", _FOUR),
)  # fmt: skip

# bits out, bits in, phases: TOPS, TOPS/W. The description is fitted to times of one phase and to
# the energies of the row of 6 bits out, 4 in.
_NEURRAM = {
    (3, 1, 1): (2.122, 43.1), (4, 2, 1): (1.793, 40.3), (5, 3, 1): (1.165, 23.1),
    (6, 4, 1): (0.744, 16.0), (7, 5, 1): (0.452, 11.3), (8, 6, 1): (0.261, 9.12),
    (7, 5, 2): (0.525, 11.0), (8, 6, 2): (0.418, 8.26), (9, 7, 2): (0.344, 7.75),
    (10, 8, 2): (0.264, 6.44),
}  # fmt: skip


def _neurram() -> tuple[Target, ...]:
    found = []
    for (out, bits, phases), (speed, efficiency) in _NEURRAM.items():
        magnitude = max(1, bits - 1)  # signs are free: polarity of the pulses
        changes = {
            "adc.bits": out, "inputs.bits": magnitude, "dac.bits": -(-magnitude // phases),
        }  # fmt: skip
        name = f"{out} bit out, {bits} in" + (", 2 phases" if phases == 2 else "")
        timed: Kind = "fit" if phases == 1 else "rescaling"
        spent: Kind = "fit" if (out, bits) == (6, 4) else "rescaling"
        found += [
            Target("V4a", f"throughput, {name}", "neurram130nm", speed, "TOPS", _WAN, m.tops,
                   timed, changes),
            Target("V4b", f"efficiency, {name}", "neurram130nm", efficiency, "TOPS/W", _WAN,
                   m.tops_per_w, spent, changes),
        ]  # fmt: skip
    return tuple(found)


_CHARGE = (
    Target("V5", "efficiency, 1.2 V", "sram65nm", 192, "1b-TOPS/W", _JIA, m.one_bit_tops_per_w,
           "fit"),
    Target("V5", "efficiency, 0.85 V", "sram65nm", 400, "1b-TOPS/W", _JIA, m.one_bit_tops_per_w,
           "rescaling", _AT_085),
    Target("V5b", "throughput, 1.2 V", "sram65nm", 2.185, "1b-TOPS", _JIA, m.one_bit_tops, "fit"),
    Target("V5b", "throughput, 0.85 V", "sram65nm", 0.874, "1b-TOPS", _JIA, m.one_bit_tops,
           "rescaling", _AT_085),
    Target("V5b", "area of the converters", "sram65nm", 0.497, "mm2", _JIA, m.adc_mm2, "fit"),
    Target("V6", "efficiency, 1.0 V", "sram22nm", 16.4, "TOPS/W", _WANG, m.tops_per_w, "fit"),
    Target("V6", "density, 1.0 V", "sram22nm", 3.60, "TOPS/mm2", _WANG, m.macro_density, "fit"),
)  # fmt: skip
_SWEEP = {0.7: (32.0, 2.38), 0.8: (22.6, 2.86), 0.9: (18.4, 3.20), 1.1: (15.5, 3.94)}


def _sweep() -> tuple[Target, ...]:
    found = []
    for volts, (efficiency, density) in _SWEEP.items():
        changes = {"operating.vdd": f"{volts} V"}
        found += [
            Target("V6b", f"efficiency, {volts} V", "sram22nm", efficiency, "TOPS/W", _WANG,
                   m.tops_per_w, "rescaling", changes),
            Target("V6b", f"density, {volts} V", "sram22nm", density, "TOPS/mm2", _WANG,
                   m.macro_density, "rescaling", changes),
        ]  # fmt: skip
    return tuple(found)


# supply, average output of 15: TOPS/W; an average output of 0 is an activity of next to nothing
_OUTPUTS = {
    (0.8, 15): 262, (0.8, 6): 351, (0.8, 0): 610, (1.0, 15): 189, (1.0, 6): 321, (1.0, 0): 436,
}  # fmt: skip


def _outputs() -> tuple[Target, ...]:
    found = [
        Target("V7", "throughput, 0.8 V", "sram7nm", 0.3724, "TOPS", _SIN, m.tops, "fit"),
        Target("V7", "throughput, 1.0 V", "sram7nm", 0.4551, "TOPS", _SIN, m.tops, "rescaling",
               {"operating.vdd": "1.0 V"}),
    ]  # fmt: skip
    for (volts, output), efficiency in _OUTPUTS.items():
        kind: Kind = "fit" if volts == 0.8 and output in (0, 15) else "rescaling"
        changes = {"array.activity": max(output / 15, 1e-9), "operating.vdd": f"{volts} V"}
        what = f"efficiency, {volts} V, average output {output}"
        found.append(Target("V7", what, "sram7nm", efficiency, "TOPS/W", _SIN, m.tops_per_w, kind,
                            changes))  # fmt: skip
    return tuple(found)


_RRAM = (
    Target("V8", "density", "isaac32nm", 0.479, "TOPS/mm2", _ISA, m.chip_density, "prediction"),
    Target("V8", "power, all arrays busy", "isaac32nm", 65.8, "W", _ISA, m.chip_power_w,
           "prediction"),
    Target("V8", "area", "isaac32nm", 85.4, "mm2", _ISA, m.chip_mm2, "fit"),
    Target("V9", "energy of an MVM", "puma32nm", 43.97, "nJ", _PUM, m.unit_nj, "prediction"),
    Target("V9", "time of an MVM", "puma32nm", 2.304, "us", _PUM, m.interval_us, "fit"),
    Target("V9", "area", "puma32nm", 90.6, "mm2", _PUM, m.chip_mm2, "fit"),
    Target("V9", "power, all units busy", "puma32nm", 62.5, "W", _PUM, m.chip_power_w, "fit"),
)  # fmt: skip

TARGETS: tuple[Target, ...] = (
    *_FLASH, *_PCM, *_neurram(), *_CHARGE, *_sweep(), *_outputs(), *_RRAM,
)  # fmt: skip
