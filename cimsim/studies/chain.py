"""One point through all stages: each result from memory, from the store, or worked out now.

Keys need no results: what is kept is found without anything above it.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from cimsim.boundary import json_text
from cimsim.chip.load import dump
from cimsim.errors import InputError, SimulationError
from cimsim.studies import stages
from cimsim.studies.graphs import KeptGraph, export_key, weights_content
from cimsim.studies.keys import Stage, file_digest, narrowed, values_of
from cimsim.studies.points import Network, Point
from cimsim.studies.stages import (
    STAGES,
    Cells,
    Judged,
    Learned,
    Measured,
    Numbers,
    Reference,
    Scores,
    Strip,
)

if TYPE_CHECKING:
    from cimsim.chip.spec import Chip
    from cimsim.engine.calibrated import CalibratedMapping, CalibratedOp
    from cimsim.engine.program import ProgrammedLayer
    from cimsim.engine.rounding import Integers
    from cimsim.engine.statistics import OpStatistics
    from cimsim.graph.ir import LayerGraph
    from cimsim.mapping.mapping import Mapping as Placed
    from cimsim.studies.store import Arrays, Store
    from cimsim.tasks.contract import Tensors
    from cimsim.timing.timeline import Timeline
    from cimsim.video.clip import Clip

    Sampled = tuple[Tensors, dict[str, OpStatistics]]

log = logging.getLogger(__name__)

T = TypeVar("T")
Packed = tuple[object, Mapping[str, NDArray[np.generic]] | None]

# results that stay in memory, by stage: what many points share is large
_HELD = {"export": 4, "network": 4, "map": 16, "time": 256, "learn": 2, "round": 2, "program": 2,
         "calibrate": 4, "ready": 1, "clip": 1}  # fmt: skip
_FEW_BYTES = 1 << 26  # of a clip that stays in memory, clean and noisy
_BYTES_PER_S = 5e7  # that are packed, hashed, written and read again


class Memory:
    """Results of stages that the next point may need, the last used ones of each stage."""

    def __init__(self) -> None:
        self._held: dict[str, OrderedDict[str, object]] = {name: OrderedDict() for name in _HELD}
        self.made: dict[str, int] = {}
        self.unsound: dict[str, int] = {}
        self.reused: dict[str, int] = {}

    def get(self, stage: str, key: str) -> object:
        """Return a result, or None."""
        held = self._held.get(stage)
        if held is None or key not in held:
            return None
        held.move_to_end(key)
        return held[key]

    def put(self, stage: str, key: str, value: object) -> None:
        """Keep a result as long as there is room for it."""
        held = self._held.get(stage)
        if held is not None:
            held[key] = value
            while len(held) > _HELD[stage]:
                held.popitem(last=False)


class Chain:
    """The stages of one point.

    Parameters
    ----------
    point : Point
    memory : Memory
        Shared by the points of one process.
    store : Store or None
        None: nothing is looked up or kept on disk.
    threads : int
        Never changes a bit.
    graph : LayerGraph, optional
        The network itself, instead of the point's name of one.
    chip : Chip, optional
        The chip itself, instead of the point's name of one.
    """

    def __init__(
        self, point: Point, memory: Memory | None = None, store: Store | None = None,
        threads: int = 1, graph: LayerGraph | None = None, chip: Chip | None = None,
    ) -> None:  # fmt: skip
        self.point, self.store, self.threads = point, store, threads
        self.memory = Memory() if memory is None else memory
        self.chip = point.chip if chip is None else chip
        self._graph = graph

    # --- keys -------------------------------------------------------------------------------

    @cached_property
    def _values(self) -> dict[str, object]:
        return values_of(self.chip)

    @cached_property
    def export_key(self) -> str:
        """Key of the graph: by names and weights where the program has them, else by content."""
        network, size = self.point.network, self.size
        if self._graph is not None or self._is_own_network:
            from cimsim.graph.digest import operations_hash, weights_hash

            graph = self.graph if self._graph is None else self._graph
            what = {"operations": operations_hash(graph), "weights": weights_hash(graph),
                    "title": graph.name}  # fmt: skip
            return STAGES["export"].key((), **what)
        return export_key(network, size, self.chip.name, self.point.seeds.clip)

    @property
    def _is_own_network(self) -> bool:
        from cimsim.session.loading import is_own

        return is_own(self.point.network.model)

    def _weights(self, network: Network) -> object:
        return weights_content(network, self.chip.name, self.point.seeds.clip)

    @cached_property
    def map_key(self) -> str:
        """Key of the mapping."""
        from cimsim.session.collect import mapping_hash

        if is_own_code(self.point.mapping, self.point.allocation):
            # what foreign code gives is known when it has run
            content = mapping_hash(self.mapping)
            return STAGES["map"].key((self.export_key,), self._values, content=content)
        return self._named_map_key

    @cached_property
    def _named_map_key(self) -> str:
        """Key of the mapping by the names of what makes it."""
        from cimsim.mapping.files import is_file

        point = self.point
        file = file_digest(Path(point.mapping)) if is_file(point.mapping) else None
        stage = stages.map_stage(point.mapping, point.allocation)
        return stage.key(
            (self.export_key,), self._values, strategy=point.mapping,
            allocation=point.allocation, file=file,
        )  # fmt: skip

    @cached_property
    def time_key(self) -> str:
        """Key of the cycles."""
        return STAGES["time"].key((self.map_key,), self._values, schedule=self.point.schedule)

    @cached_property
    def learn_key(self) -> str:
        """Key of what the calibration frames teach."""
        return STAGES["learn"].key(
            (self.map_key,), self._values, sigma=self.point.frames.sigma,
            seed=self.point.seeds.calibration,
        )  # fmt: skip

    @property
    def _by_inputs(self) -> bool:
        return self.chip.weights.rounding == "inputs"

    @cached_property
    def round_key(self) -> str:
        """Key of weights that are rounded with regard to their inputs."""
        return STAGES["round"].key((self.learn_key,), self._values)

    @cached_property
    def program_key(self) -> str:
        """Key of the written cells."""
        above = (self.map_key, self.round_key) if self._by_inputs else (self.map_key,)
        return STAGES["program"].key(above, self._values, seed=self.point.seeds.programming)

    @cached_property
    def calibrate_key(self) -> str:
        """Key of converter ranges and corrections."""
        return STAGES["calibrate"].key(
            (self.learn_key, self.program_key), self._values, seed=self.point.seeds.programming
        )

    @cached_property
    def clip_key(self) -> str:
        """Key of the frames, noise included."""
        frames = self.point.frames
        content = None if frames.clip is None else content_of(frames.clip)
        what = asdict(frames) | {"clip": content, "size": list(self.size)}
        return STAGES["reference"].key((), what="clip", clip=what, seed=self.point.seeds.clip)

    @cached_property
    def reference_key(self) -> str:
        """Key of the float network's scores."""
        return STAGES["reference"].key((self.export_key, self.clip_key))

    @cached_property
    def execute_key(self) -> str:
        """Key of all samples on this chip, without what they are."""
        return STAGES["execute"].key(
            (self.program_key, self.calibrate_key), self._values, seed=self.point.seeds.reads
        )

    @cached_property
    def measure_key(self) -> str:
        """Key of the chip's scores."""
        return STAGES["measure"].key((self.execute_key, self.clip_key))

    @cached_property
    def key(self) -> str:
        """Key of all numbers of the point."""
        above = [self.time_key]
        if self.point.frames.count:
            above += [self.reference_key, self.measure_key]
        return STAGES["energise"].key(
            above, self._values, told=told_of(self.chip), rate=self.point.frame_rate_hz,
            dump=dump(self.chip),
        )  # fmt: skip

    # --- results ----------------------------------------------------------------------------

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames."""
        frames = self.point.frames
        if frames.size is not None:
            return frames.size
        if self._graph is not None:
            return self._graph.inputs[0].output.grid
        return (256, 256) if frames.clip is None else self.clip.size

    @cached_property
    def clip(self) -> Clip:
        """The frames as the user has them."""
        from cimsim.video.clip import Clip, load_clip
        from cimsim.video.embedded import EmbeddedSource

        frames = self.point.frames
        if frames.clip is None:
            height, width = self.size
            clip = Clip(EmbeddedSource("default", height, width), frames.count, frames.start)
        else:
            clip = load_clip(frames.clip, frames.count, frames.start, size=frames.size)
        clip.check()
        return clip

    @cached_property
    def graph(self) -> LayerGraph:
        """The exported network."""
        if self._graph is not None:
            return self._graph
        name = json_text.digest({
            "network": asdict(self.point.network), "chip": self.chip.name, "size": self.size,
            "seed": self.point.seeds.clip, "weights": self._weights_key(),
        })  # fmt: skip
        held = self.memory.get("export", name)
        if held is None:
            own = self._is_own_network or self.store is None
            kept = KeptGraph(None, "") if own else KeptGraph(self.store, self.export_key)
            graph = kept.graph(self._traced)
            self._count(self.memory.made, "export")
            self.memory.put("export", name, graph)
            return graph
        return cast("LayerGraph", held)

    def _weights_key(self) -> object:
        network = self.point.network
        if self._is_own_network:
            given = network.weights
            return file_digest(Path(given)) if given and Path(given).exists() else given
        return self._weights(network)

    def _traced(self) -> LayerGraph:
        import cimsim
        from cimsim.session.loading import load_network

        spec = self.point.network
        network = load_network(
            spec.model, dict(spec.options), spec.weights, self.point.seeds.clip, self.chip.name
        )
        network = (network.streaming() if spec.streaming else network).taking(spec.inputs)
        if network.inputs and self.point.frames.count:
            raise InputError(
                f"{network.title} takes {' and '.join(map(str, network.inputs))} and no frames: a "
                "study asks it for time and energy alone; give --frames 0 (cimsim run --task "
                "asks one chip for quality)"
            )
        example = network.example(*self.size)
        graph: LayerGraph = cimsim.trace(network.module, example, name=network.title)
        return graph

    @cached_property
    def mapping(self) -> Placed:
        """The network on this very chip."""
        from cimsim.placing.by_name import map_graph

        point = self.point
        made = self._have(
            "map", self._named_map_key,
            lambda chip: map_graph(self.graph, chip, point.mapping, point.allocation),
            stage=stages.map_stage(point.mapping, point.allocation),
        )  # fmt: skip
        return made.on(self.chip)

    @cached_property
    def timeline(self) -> Timeline:
        """Its cycles."""
        return self._have(
            "time", self.time_key,
            lambda chip: stages.timed(self.mapping.on(chip), self.point.schedule),
            lambda line: (_plain(line), None), lambda data, _: _timeline(data),
        )  # fmt: skip

    @cached_property
    def learned(self) -> Learned:
        """What the calibration frames teach."""
        point = self.point
        return self._have(
            "learn", self.learn_key,
            lambda chip: stages.learned(
                self.mapping.on(chip), point.frames.sigma, point.seeds.calibration
            ),
        )  # fmt: skip

    @cached_property
    def integers(self) -> Integers:
        """Its weights as the inputs of their layers have them rounded."""
        return self._have(
            "round", self.round_key,
            lambda chip: stages.rounded(self.mapping.on(chip), self.learned, self.threads),
            lambda found: (sorted(found), {name: small(q) for name, q in found.items()}),
            lambda data, arrays: {name: arrays[name].astype(np.int32) for name in data},
        )  # fmt: skip

    @cached_property
    def cells(self) -> Cells:
        """Its written cells."""

        def make(chip: Chip) -> Cells:
            integers = self.integers if self._by_inputs else None
            mapping = self.mapping.on(chip)
            return stages.programmed(mapping, integers, self.point.seeds.programming)

        return self._have(
            "program", self.program_key, make, _pack_cells,
            lambda data, arrays: _unpack_cells(self.mapping, data, arrays),
        )  # fmt: skip

    @cached_property
    def ops(self) -> dict[str, CalibratedOp]:
        """Its converter ranges and corrections."""
        from cimsim.engine.saved import pack_ops, unpack_ops

        def pack(ops: dict[str, CalibratedOp]) -> Packed:
            arrays, plan = pack_ops(ops)
            return plan, arrays

        return self._have(
            "calibrate", self.calibrate_key,
            lambda chip: stages.calibrated(
                self.mapping.on(chip), self.cells, self.learned, self.point.seeds.programming,
                self.threads,
            ),
            pack, lambda data, arrays: unpack_ops(self.mapping, arrays, data),
        )  # fmt: skip

    @cached_property
    def ready(self) -> CalibratedMapping:
        """The chip, ready to run."""
        return self._ready_on(self._narrow(STAGES["execute"]))

    def _ready_on(self, chip: Chip) -> CalibratedMapping:
        return stages.ready(self.mapping.on(chip), self.cells, self.ops)

    @cached_property
    def strip(self) -> Strip:
        """Its frames; a short clip stays in memory for the next point."""
        key = json_text.digest([self.export_key, self.clip_key])
        held = self.memory.get("clip", key)
        if held is not None:
            return cast(Strip, held)
        strip = Strip(self.graph, self.clip, self.point.frames.sigma, self.point.seeds.clip)
        if len(strip) <= strip.clean.kept and strip.n_bytes <= _FEW_BYTES:
            self.memory.put("clip", key, strip)
        return strip

    @cached_property
    def reference(self) -> Reference:
        """Scores of the float network."""
        scores: Reference = self._have(
            "reference", self.reference_key, lambda _: stages.reference(self.strip),
            lambda data: (data, None), lambda data, _: data,
        )  # fmt: skip
        return scores

    @cached_property
    def measured(self) -> Measured:
        """Scores of the chip, and what its arrays did."""
        scores: Measured = self._have(
            "measure", self.measure_key, self._measure, lambda data: (data, None),
            lambda data, _: data,
        )  # fmt: skip
        return scores

    def _measure(self, _: Chip) -> Measured:
        from cimsim.engine.statistics import OpStatistics
        from cimsim.session.frames import picture

        scores, strip = Scores([], []), self.strip
        total: dict[str, OpStatistics] = {}
        kept = strip.contract.blank()
        for step in strip.steps:
            inputs = strip.inputs(step, kept)
            outputs, counted = self._sample(inputs, step)
            kept, frame = strip.kept(kept, outputs), strip.frame(step)
            if frame >= 0:
                scores.add(strip.clean[frame], picture(outputs[0]))
                for name, one in counted.items():
                    total[name] = total.get(name, OpStatistics()) + one
        fresh, aged = self.cells.on(self.mapping)
        pulses = (fresh if aged is None else aged).pulses_per_cell
        return {
            "chip": scores.to_data(), "pulses_per_cell": pulses,
            "statistics": {name: asdict(one) for name, one in total.items()},
        }  # fmt: skip

    def _sample(self, inputs: Tensors, step: int) -> Sampled:
        """Run one sample, or take what was kept of it."""
        import torch

        from cimsim.engine.statistics import OpStatistics

        what = [stages.sha256(tensor.numpy()) for tensor in inputs]
        key = STAGES["execute"].key((self.execute_key,), step=step, inputs=what)

        def make(chip: Chip) -> Sampled:
            ready = self._ready_on(chip) if chip is self.chip else self.ready
            done = stages.executed(ready, inputs, step, self.point.seeds.reads, self.threads)
            return done.outputs, done.statistics.by_op

        def pack(sampled: Sampled) -> Packed:
            outputs, counted = sampled
            arrays = {str(i): one.detach().numpy() for i, one in enumerate(outputs)}
            return {name: asdict(one) for name, one in counted.items()}, arrays

        def unpack(data: Any, arrays: Arrays) -> Sampled:
            outputs = tuple(torch.from_numpy(arrays[str(i)]) for i in range(len(arrays)))
            return outputs, {name: OpStatistics(**one) for name, one in data.items()}

        return self._have("execute", key, make, pack, unpack)

    @cached_property
    def row(self) -> Numbers:
        """All numbers of the point; see `cimsim.studies.stages.energised`."""

        def make(_: Chip) -> Numbers:
            judged: Judged | None = None
            if self.point.frames.count:
                judged = {**self.reference, **self.measured}
            return stages.energised(self.mapping, self.timeline, judged, self.point.frame_rate_hz)

        row: Numbers = self._have("energise", self.key, make, lambda d: (d, None), lambda d, _: d)
        return row

    def _have(
        self, name: str, key: str, make: Callable[[Chip], T],
        pack: Callable[[T], Packed] | None = None, unpack: Callable[[Any, Arrays], T] | None = None,
        stage: Stage | None = None,
    ) -> T:  # fmt: skip
        """Return a result from memory or the store, or make and keep it."""
        stage = stage or STAGES[name]
        held = self.memory.get(name, key)
        if held is not None:
            return cast(T, held)  # what this stage has put there
        entry = None if self.store is None or unpack is None else self.store.get(key)
        if entry is not None and unpack is not None:
            try:
                result = unpack(entry.data, entry.arrays)
            except (SimulationError, KeyError, TypeError, ValueError):
                log.warning("kept result of stage %s does not fit; it is made anew", name)
            else:
                self._count(self.memory.reused, name)
                self.memory.put(name, key, result)
                return result
        return self._make(stage, key, make, pack)

    def _make(
        self, stage: Stage, key: str, make: Callable[[Chip], T],
        pack: Callable[[T], Packed] | None,
    ) -> T:  # fmt: skip
        began = process_time()
        self._count(self.memory.made, stage.name)
        try:
            result = make(self._narrow(stage))
        except AttributeError as error:
            # it read what its key does not hold: right for this chip, and for no other one
            result = make(self.chip)
            self._count(self.memory.unsound, stage.name)
            log.warning("stage %s: %s among the fields it declares; not kept", stage.name, error)
            return result
        took_s = process_time() - began
        self.memory.put(stage.name, key, result)
        if self.store is not None and pack is not None:
            data, arrays = pack(result)
            n_bytes = sum(array.nbytes for array in (arrays or {}).values())
            if n_bytes < took_s * _BYTES_PER_S:  # else made sooner than read
                self.store.put(key, stage.name, data, arrays)
        return result

    def _narrow(self, stage: Stage) -> Chip:
        """Return the chip with what a stage declares, and nothing else."""
        if "*" in stage.reads:
            return self.chip
        return narrowed(self.chip, stage.fields_of(self._values))

    @staticmethod
    def _count(counts: dict[str, int], stage: str) -> None:
        counts[stage] = counts.get(stage, 0) + 1


def told_of(chip: Chip) -> dict[str, object]:
    """Return what is said of a chip's numbers: sources, ranges, what was given and rescaled."""
    from cimsim.chip.fields import fields as described

    history = chip.history
    return {
        "sources": {path: asdict_of(one) for path, one in chip.sources.items()},
        "ranges": {path: list(ends) for path, ends in history.ranges.items()},
        "estimated": sorted(history.estimated),
        "rescaled": [asdict(one) for one in history.rescaled],
        "kept": [asdict(one) for one in history.kept],
        "given": sorted(path for path, one in described().items() if one.is_given(chip)),
        "overrides": [str(one) for one in history.overrides],
    }


def asdict_of(model: BaseModel) -> dict[str, object]:
    """Return a pydantic model as plain data."""
    return model.model_dump(mode="json")


def content_of(path: str) -> list[object]:
    """Return what identifies a clip by its content, whatever its name."""
    from cimsim.video._series import is_pattern, of_pattern

    place = Path(path)
    if is_pattern(place):
        return [[file.suffix, file_digest(file)] for file in of_pattern(place).files]
    if not place.exists():
        raise InputError(f"{place}: no such file or folder")
    return [place.suffix.lower(), file_digest(place)]


def is_own_code(strategy: str, allocation: str) -> bool:
    """Whether a strategy or an allocation is the user's or an installed package's code."""
    from cimsim.mapping.files import is_file
    from cimsim.placing.by_name import ALLOCATIONS

    known = is_file(strategy) or strategy.partition(":")[0] in stages.PLAIN_STRATEGIES
    return not known or allocation not in ALLOCATIONS


def small(values: NDArray[np.int32]) -> NDArray[np.signedinteger]:
    """Return whole numbers in the shortest type that holds them."""
    most = int(np.abs(values).max(initial=0))
    return values.astype(next(t for t in (np.int8, np.int16, np.int32) if most <= np.iinfo(t).max))


def _pack_cells(cells: Cells) -> Packed:
    from cimsim.engine.saved import pack_layers

    arrays: Arrays = {}
    plans: dict[str, object] = {}
    for name, layers in (("fresh", cells.fresh), ("aged", cells.aged)):
        if layers is not None:
            held, plans[name] = pack_layers(layers)
            arrays |= {f"{name}/{place}": value for place, value in held.items()}
    return plans, arrays


def _unpack_cells(mapping: Placed, data: Mapping[str, Any], arrays: Arrays) -> Cells:
    from cimsim.engine.saved import unpack_layers

    layers: dict[str, dict[str, ProgrammedLayer] | None] = {"aged": None}
    for name, plan in data.items():
        begin = f"{name}/"
        held = {p.removeprefix(begin): a for p, a in arrays.items() if p.startswith(begin)}
        layers[name] = unpack_layers(mapping, held, plan)
    fresh = layers["fresh"]
    assert fresh is not None
    return Cells(fresh, layers["aged"])


def _plain(value: object) -> object:
    """Return a timeline as plain data."""
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    return [_plain(part) for part in value] if isinstance(value, tuple | list) else value


def _timeline(data: Mapping[str, Any]) -> Timeline:
    from cimsim.timing.timeline import EdgePeak, NodeTime, ResourceTime, Timeline

    def node(one: dict[str, Any]) -> NodeTime:
        held: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in one.items()}
        return NodeTime(**held)

    nodes = tuple(map(node, data["nodes"]))
    return Timeline(
        data["schedule"], tuple(data["completions"]), data["least_interval"], nodes,
        tuple(ResourceTime(**one) for one in data["resources"]),
        tuple(EdgePeak(**one) for one in data["edges"]),
    )  # fmt: skip
