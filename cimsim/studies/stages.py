"""The stages of a simulation, and what each of them reads of a chip.

Export, map, time, learn, round, program, calibrate, float reference, execute a sample, measure,
energise.
Each is a function of what stands above it and of the chip; `STAGES` says which of the chip's fields
it reads. `cimsim.studies.chain` puts them one after another, with a key for each.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from cimsim.mapping.mapping import Mapping
from cimsim.mapping.strategies import STRATEGIES
from cimsim.studies.keys import Stage
from cimsim.studies.points import NumberData

if TYPE_CHECKING:
    from cimsim.engine.calibrate import Known
    from cimsim.engine.calibrated import CalibratedMapping, CalibratedOp
    from cimsim.engine.execute import Execution
    from cimsim.engine.program import ProgrammedLayer, ProgrammedMapping
    from cimsim.engine.rounding import Integers
    from cimsim.engine.samples import Samples
    from cimsim.graph.ir import LayerGraph
    from cimsim.session.parts import Number, Quality
    from cimsim.tasks.contract import Tensors
    from cimsim.timing.plan.plan import Schedule
    from cimsim.timing.timeline import Timeline
    from cimsim.video.clip import Clip

_SHAPE = (
    "array.rows", "array.cols", "weights.bits", "weights.cell_bits", "weights.encoding",
    "inputs.signed",
)  # fmt: skip
_PLACES = ("tile.count", "tile.arrays", "system.chips", "programming.reload")
_WRITING = ("programming.t_pulse", "programming.pulses_per_cell", "programming.parallel_cells",
            "programming.t_erase")  # fmt: skip
# a map of places by name looks at counts only; what else an allocation or a strategy asks is open
PLAIN_ALLOCATIONS = ("in_order", "packed")
PLAIN_STRATEGIES = tuple(STRATEGIES)

_TIMED = (
    *_SHAPE, *_PLACES, *_WRITING, "process.clock", "array.t_read", "inputs.bits", "dac.bits",
    "dac.t_step", "adc.count", "adc.kind", "adc.shared", "adc.t_conversion", "adc.t_step",
    "adder.lanes",
    "buffer.bytes_per_cycle", "buffer.overflow", "buffer.size", "dram.bytes_per_cycle",
    "dram.latency_cycles", "frames", "global_buffer.bytes_per_cycle", "global_buffer.size",
    "global_buffer.overflow", "interconnect.kind", "interconnect.bytes_per_cycle",
    "interconnect.latency_cycles", "interconnect.hop_cycles", "system.*", "tile.input_reuse",
    "tile.sample_hold", "tile.t_stage", "vector.costs", "vector.lanes", "vector.scope",
    "matmul", "matmul.*",
)  # fmt: skip
_STEPS = (("adc.t_step", None),)  # converters that take time by the step
_CELLS = (
    *_SHAPE, "array.write_disturb", "device.*", "wires.*", "weights.*", "conditions.*", "faults.*",
    "dac.*", "adc.kind", "adc.gain_sigma", "adc.offset_sigma_lsb", "adc.inl_bow_lsb",
    "adc.inl_steps_lsb",
)  # fmt: skip
# how fast reads follow each other counts where the speed of the cells' noise is known
_SPEED = dict.fromkeys(
    ("array.t_read", "dac.t_step", "adc.t_conversion", "adc.t_step", "adc.count", "adc.bits",
     "adc.kind", "tile.sample_hold", "inputs.bits"),
    (("device.spectrum", None),),
)  # fmt: skip
# which places there are: for faults that belong to places
_PLACED = (("faults.seed", None), ("faults.map", None))
_READ_OUT = (
    "inputs.*", "weights.*", "dac.*", "device.*", "wires.*", "array.rows", "array.cols",
    "array.r_supply",
    "adc.bits", "adc.kind", "adc.range", "adc.percentile", "adc.method", "adc.scope",
    "adc.noise_lsb", "adc.count_noise_lsb", "calibration.*", "conditions.*",
)  # fmt: skip

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("export"),
        Stage("map", reads=(*_SHAPE, *_PLACES, *_WRITING)),
        Stage("time", reads=_TIMED, also={"adc.bits": _STEPS}),
        Stage("learn", reads=("calibration.frames", "inputs.percentile", "weights.*",
                              "inputs.bits", "inputs.signed")),
        Stage("round", reads=("weights.*",)),
        Stage("program", reads=_CELLS,
              also=_SPEED | {"adc.count": (("adc.inl_bow_lsb", 0), ("adc.inl_steps_lsb", 0),
                                           ("device.spectrum", None)),
                             "adc.bits": (("adc.inl_bow_lsb", 0), ("adc.inl_steps_lsb", 0),
                                          ("device.spectrum", None)),
                             "tile.count": (("conditions.gradient", 0), *_PLACED),
                             "tile.arrays": _PLACED, "system.chips": _PLACED}),
        Stage("calibrate", reads=_READ_OUT, also=_SPEED),
        Stage("reference"),
        Stage("execute", reads=_READ_OUT, also=_SPEED),
        Stage("measure"),
        Stage("energise", reads=("*",)),
    )
}  # fmt: skip


def map_stage(strategy: str, allocation: str) -> Stage:
    """Return what mapping reads: anything, where the allocation looks at time or is the user's."""
    plain = strategy.partition(":")[0] in PLAIN_STRATEGIES and allocation in PLAIN_ALLOCATIONS
    return STAGES["map"] if plain else Stage("map", reads=("*",))


def timed(mapping: Mapping, schedule: Schedule) -> Timeline:
    """Simulate the cycles of a few frames."""
    from cimsim.timing.simulate import simulate

    return simulate(mapping, schedule=schedule)


@dataclass(frozen=True, eq=False)
class Learned:
    """What the calibration frames teach, whatever the cells.

    Attributes
    ----------
    inputs : list of tuple of torch.Tensor
    samples
        See `cimsim.engine.written.sampled`.
    scene : str
        SHA-256 of the clean frames.
    known : Known
        What calibrations on these samples share.
    """

    inputs: list[Tensors]
    samples: dict[str, Samples]
    scene: str
    known: Known = field(default_factory=lambda: _known())


def _known() -> Known:
    from cimsim.engine.calibrate import Known

    return Known()


def learned(mapping: Mapping, sigma: float, seed: int) -> Learned:
    """Run the float network on the calibration frames."""
    from cimsim.engine.written import sampled
    from cimsim.session.calibration import calibration_inputs

    clean, inputs = calibration_inputs(mapping, sigma, seed, None)
    return Learned(inputs, sampled(mapping, inputs), sha256(clean))


def rounded(mapping: Mapping, taught: Learned, threads: int | None) -> Integers:
    """Round weights with regard to what their layers read on the calibration frames."""
    from cimsim.engine.rounding import round_to_inputs

    return round_to_inputs(mapping, taught.samples, threads)


@dataclass(frozen=True, eq=False)
class Cells:
    """Written arrays by layer: those that the converter ranges are fixed on, and aged ones."""

    fresh: dict[str, ProgrammedLayer]
    aged: dict[str, ProgrammedLayer] | None

    def on(self, mapping: Mapping) -> tuple[ProgrammedMapping, ProgrammedMapping | None]:
        """Return them as the engine takes them, on a chip that agrees in all that writing reads."""
        from cimsim.chip.cells import device_of
        from cimsim.engine.program import ProgrammedMapping

        device = device_of(mapping.chip)
        made = [None if layers is None else ProgrammedMapping(mapping, device, layers)
                for layers in (self.fresh, self.aged)]  # fmt: skip
        assert made[0] is not None
        return made[0], made[1]


def programmed(mapping: Mapping, integers: dict[str, NDArray[np.int32]] | None, seed: int) -> Cells:
    """Write the cells, and age them where the chip's conditions ask for it."""
    from cimsim.chip.cells import device_of
    from cimsim.engine.prepare import cells

    fresh, aged = cells(mapping, device_of(mapping.chip), seed, integers)
    return Cells(fresh.layers, None if aged is None else aged.layers)


def calibrated(
    mapping: Mapping, cells: Cells, taught: Learned, seed: int, threads: int | None
) -> dict[str, CalibratedOp]:
    """Fix converter ranges, gain and offset of the columns."""
    from cimsim.engine.prepare import calibrated as calibrate

    fresh, aged = cells.on(mapping)
    return calibrate(fresh, aged, taught.inputs, seed, threads, taught.samples, taught.known).ops


def ready(mapping: Mapping, cells: Cells, ops: dict[str, CalibratedOp]) -> CalibratedMapping:
    """Put cells and calibration together."""
    from cimsim.engine.calibrated import CalibratedMapping

    fresh, aged = cells.on(mapping)
    return CalibratedMapping(fresh if aged is None else aged, ops)


def executed(
    chip: CalibratedMapping, inputs: Tensors, step: int, seed: int, threads: int | None
) -> Execution:
    """Run one sample through the chip."""
    from cimsim.engine.execute import execute

    return execute(chip, inputs, step, seed, threads=threads)


class Strip:
    """The frames of a point, clean and noisy, one near the other in memory but never all."""

    def __init__(self, graph: LayerGraph, clip: Clip, sigma: float, seed: int) -> None:
        from cimsim.errors import InputError
        from cimsim.tasks.contract import Contract
        from cimsim.video.reel import NoisyReel, Reel

        self.graph, self.sigma = graph, sigma
        self.contract = Contract.of(graph)
        self.clean = Reel(clip, self.contract.channels, self.contract.n_frames)
        self.noisy = NoisyReel(self.clean, sigma, seed)
        if tuple(self.clean.shape[1:3]) != self.contract.size:
            height, width = self.contract.size
            raise InputError(
                f"clip: frames of {self.clean.shape[2]} x {self.clean.shape[1]}, but the network "
                f"was exported for {width} x {height}"
            )

    def __len__(self) -> int:
        return len(self.noisy)

    @property
    def n_bytes(self) -> int:
        """What all frames take, clean and noisy, as float32."""
        return 8 * int(np.prod(self.clean.shape))

    @property
    def steps(self) -> range:
        """Steps of a run; those before the first frame fill results that a network keeps."""
        return range(self.contract.steps_ahead + len(self))

    def frame(self, step: int) -> int:
        """Return the frame that a step answers; negative before the first one."""
        return step - self.contract.steps_ahead

    def inputs(self, step: int, kept: Tensors) -> Tensors:
        """Return what the network takes in a step."""
        from cimsim.session.frames import step_inputs

        return (*step_inputs(self.graph, self.noisy, step, self.sigma), *kept)

    def kept(self, before: Tensors, outputs: Tensors) -> Tensors:
        """Return the kept results after a step."""
        from cimsim.session.frames import shifted_results

        return shifted_results(before, outputs)


class ScoresData(TypedDict):
    """PSNR and SSIM of frames as JSON has them; infinite PSNR of equal frames is null."""

    psnr: list[float | None]
    ssim: list[float]
    sha256: str


class Reference(TypedDict):
    """Scores of the noisy frames and of those of the float network."""

    noisy: ScoresData
    float: ScoresData


class Measured(TypedDict):
    """Scores of the chip, and what its arrays did."""

    chip: ScoresData
    pulses_per_cell: float | None
    statistics: dict[str, dict[str, Any]]


class Judged(Reference, Measured):
    """Both together."""


class Numbers(TypedDict):
    """What a point comes to, see `energised`."""

    numbers: dict[str, NumberData]
    doubts: list[dict[str, str]]
    network: str
    frame: list[int]


@dataclass
class Scores:
    """PSNR and SSIM of frames, and the SHA-256 of their bits."""

    psnr: list[float]
    ssim: list[float]

    def __post_init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, clean: NDArray[np.float32], shown: NDArray[np.float32]) -> None:
        """Judge one frame."""
        from cimsim.video.metrics import psnr, ssim

        self.psnr.append(float(psnr(clean, shown)))
        self.ssim.append(float(ssim(clean, shown)))
        self._digest.update(np.ascontiguousarray(shown).tobytes())

    def to_data(self) -> ScoresData:
        """Return plain data; infinite PSNR of equal frames is null."""
        psnr = [value if np.isfinite(value) else None for value in self.psnr]
        return {"psnr": psnr, "ssim": self.ssim, "sha256": self._digest.hexdigest()}


def reference(strip: Strip) -> Reference:
    """Run the float network; return the scores of its frames and of the noisy ones."""
    from cimsim.graph.reference import TorchWeights
    from cimsim.session.frames import picture

    noisy, floats = Scores([], []), Scores([], [])
    kept, weights = strip.contract.blank(), TorchWeights()
    for step in strip.steps:
        outputs = strip.graph.reference(*strip.inputs(step, kept), weights=weights)
        kept, frame = strip.kept(kept, outputs), strip.frame(step)
        if frame >= 0:
            noisy.add(strip.clean[frame], strip.noisy[frame])
            floats.add(strip.clean[frame], picture(outputs[0]))
    return {"noisy": noisy.to_data(), "float": floats.to_data()}


def energised(
    mapping: Mapping,
    timeline: Timeline,
    judged: Judged | None,
    frame_rate_hz: float | None,
) -> Numbers:
    """Charge every action of a frame, and put all numbers of a point together.

    Parameters
    ----------
    mapping : Mapping
    timeline : Timeline
    judged : mapping or None
        Of the stages reference and measure; None: no frames ran.
    frame_rate_hz : float or None

    Returns
    -------
    dict
        ``numbers`` as those of `cimsim.session.result.Result.numbers`, ``doubts`` and ``frame``.
    """
    from cimsim.energy.idle import working
    from cimsim.energy.ledger import Ledger, draw
    from cimsim.engine.statistics import OpStatistics
    from cimsim.graph.coverage import coverage
    from cimsim.session import collect
    from cimsim.session.doubts import chip_doubts, run_doubts
    from cimsim.session.result import Result

    counted = None if judged is None else {
        name: OpStatistics(**one) for name, one in judged["statistics"].items()
    }  # fmt: skip
    frames = 0 if judged is None else len(judged["chip"]["psnr"])
    sums = None if counted is None else {
        name: one.conductance_s / frames for name, one in counted.items()
    }  # fmt: skip
    period_s = collect.frame_period_s(mapping, timeline, frame_rate_hz)
    ledger = Ledger(mapping, period_s, sums, working(mapping, timeline), "operands",
                    timeline.spilled)  # fmt: skip
    covered = coverage(mapping.graph, mapping.chip)
    height, width = mapping.graph.inputs[0].output.grid
    pulses = judged["pulses_per_cell"] if judged else None
    result = Result(
        model=mapping.graph.name, frame=(frames, height, width), quality=_quality(judged),
        timing=collect.timing(mapping, timeline),
        energy=collect.energies(mapping, ledger.report(), pulses, frame_rate_hz),
        hardware=collect.hardware(mapping), layers=(), inputs={},
        intervals=draw(ledger).intervals(), coverage=covered,
    )  # fmt: skip
    doubts = [
        *chip_doubts(mapping.chip),
        *(run_doubts(mapping.chip, counted) if counted else ()),
        *collect.coverage_doubts(covered),
    ]
    numbers = {name: plain(number) for name, number in result.numbers().items()}
    return {
        "numbers": numbers, "doubts": [asdict(doubt) for doubt in doubts],
        "network": mapping.graph.name, "frame": [frames, height, width],
    }  # fmt: skip


def plain(number: Number) -> NumberData:
    """Return a number of a result as JSON has it."""
    ends = None if number.interval is None else list(number.interval)
    return {"value": number.value, "unit": number.unit, "meaning": number.meaning,
            "interval": ends}  # fmt: skip


def _quality(judged: Judged | None) -> Quality | None:
    from cimsim.session.parts import Quality

    if judged is None:
        return None
    whose = judged["noisy"], judged["float"], judged["chip"]
    psnr = (tuple(math.inf if v is None else v for v in one["psnr"]) for one in whose)
    return Quality(*psnr, *(tuple(one["ssim"]) for one in whose))


def sha256(frames: NDArray[np.generic]) -> str:
    """Return the SHA-256 of an array's bits."""
    return hashlib.sha256(np.ascontiguousarray(frames).tobytes()).hexdigest()
