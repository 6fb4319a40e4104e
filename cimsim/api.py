"""What is stable: names that keep their meaning from one minor version to the next.

``import cimsim`` offers the names of everyday use; here stand these and the ones that code of one's
own builds on: cell models, estimators, tasks, strategies, allocations. A name in ``__all__`` is
removed or changed only after a minor version in which it warns. Everything else in the package may
change at any time.

>>> from cimsim import api
>>> "AbstractDevice" in api.__all__
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cimsim.chip.cells.base import AbstractDevice as AbstractDevice
    from cimsim.chip.converters.base import AbstractConverter as AbstractConverter
    from cimsim.chip.estimators.base import AbstractEstimator as AbstractEstimator
    from cimsim.chip.interconnects.base import AbstractInterconnect as AbstractInterconnect
    from cimsim.chip.interconnects.base import Hop as Hop
    from cimsim.chip.load import load_hw as load_hw
    from cimsim.chip.spec import Chip as Chip
    from cimsim.display.doubts import Doubt as Doubt
    from cimsim.errors import CimsimError as CimsimError
    from cimsim.errors import ConfigError as ConfigError
    from cimsim.errors import GraphError as GraphError
    from cimsim.errors import InputError as InputError
    from cimsim.errors import MappingError as MappingError
    from cimsim.errors import SimulationError as SimulationError
    from cimsim.frontends.onnx.network import load_onnx as load_onnx
    from cimsim.frontends.torch_export import trace as trace
    from cimsim.frontends.trainers import trained_for as trained_for
    from cimsim.graph.costs import AbstractOpCost as AbstractOpCost
    from cimsim.graph.ir import LayerGraph as LayerGraph
    from cimsim.graph.ir import MatrixOp as MatrixOp
    from cimsim.mapping.allocation import Request as Request
    from cimsim.mapping.files import load_mapping as load_mapping
    from cimsim.mapping.files import save_mapping as save_mapping
    from cimsim.mapping.layout import Block as Block
    from cimsim.mapping.layout import Layout as Layout
    from cimsim.mapping.mapping import Mapping as Mapping
    from cimsim.mapping.placement import PlacedLayer as PlacedLayer
    from cimsim.mapping.placement import Slot as Slot
    from cimsim.mapping.strategies import array_size as array_size
    from cimsim.placing.by_name import map_graph as map_graph
    from cimsim.report.run.writers import AbstractWriter as AbstractWriter
    from cimsim.session.loading import Network as Network
    from cimsim.session.loading import load_network as load_network
    from cimsim.session.parts import Number as Number
    from cimsim.session.programmed import ProgrammedChip as ProgrammedChip
    from cimsim.session.programmed import program as program
    from cimsim.session.result import Result as Result
    from cimsim.session.simulation import run as run
    from cimsim.session.simulation import simulate as simulate
    from cimsim.studies.ablation import ablate as ablate
    from cimsim.studies.diagnosis import diagnose as diagnose
    from cimsim.studies.diagnosis_result import Diagnosis as Diagnosis
    from cimsim.studies.optimise import Search as Search
    from cimsim.studies.study import Outcome as Outcome
    from cimsim.studies.study import Study as Study
    from cimsim.tasks.metrics import AbstractMetric as AbstractMetric
    from cimsim.tasks.questions import Classification as Classification
    from cimsim.tasks.questions import Comparison as Comparison
    from cimsim.tasks.questions import Judge as Judge
    from cimsim.tasks.questions import Score as Score
    from cimsim.tasks.questions import Task as Task
    from cimsim.tasks.sources import Arrays as Arrays
    from cimsim.tasks.sources import Images as Images
    from cimsim.tasks.sources import Sample as Sample
    from cimsim.tasks.sources import Source as Source
    from cimsim.timing import simulate as _timing
    from cimsim.timing.timeline import Timeline as Timeline
    from cimsim.training.hardware import ChipInTheLoop as ChipInTheLoop
    from cimsim.units import quantity as quantity
    from cimsim.video.clip import load_clip as load_clip

    simulate_timing = _timing.simulate

# Where each name lives. They are imported when they are first used: torch and numba take time.
_WHERE = {
    "AbstractConverter": "chip.converters.base",
    "AbstractDevice": "chip.cells.base",
    "AbstractEstimator": "chip.estimators.base",
    "AbstractInterconnect": "chip.interconnects.base",
    "AbstractMetric": "tasks.metrics",
    "AbstractOpCost": "graph.costs",
    "AbstractWriter": "report.run.writers",
    "Arrays": "tasks.sources",
    "Block": "mapping.layout",
    "Chip": "chip.spec",
    "ChipInTheLoop": "training.hardware",
    "CimsimError": "errors",
    "Classification": "tasks.questions",
    "Comparison": "tasks.questions",
    "ConfigError": "errors",
    "Diagnosis": "studies.diagnosis_result",
    "Doubt": "display.doubts",
    "GraphError": "errors",
    "Hop": "chip.interconnects.base",
    "Images": "tasks.sources",
    "InputError": "errors",
    "Judge": "tasks.questions",
    "LayerGraph": "graph.ir",
    "Layout": "mapping.layout",
    "Mapping": "mapping.mapping",
    "MappingError": "errors",
    "MatrixOp": "graph.ir",
    "Network": "session.loading",
    "Number": "session.parts",
    "Outcome": "studies.study",
    "PlacedLayer": "mapping.placement",
    "ProgrammedChip": "session.programmed",
    "Request": "mapping.allocation",
    "Result": "session.result",
    "Sample": "tasks.sources",
    "Score": "tasks.questions",
    "Search": "studies.optimise",
    "SimulationError": "errors",
    "Slot": "mapping.placement",
    "Source": "tasks.sources",
    "Study": "studies.study",
    "Task": "tasks.questions",
    "Timeline": "timing.timeline",
    "ablate": "studies.ablation",
    "array_size": "mapping.strategies",
    "diagnose": "studies.diagnosis",
    "load_clip": "video.clip",
    "load_hw": "chip.load",
    "load_mapping": "mapping.files",
    "load_network": "session.loading",
    "load_onnx": "frontends.onnx.network",
    "map_graph": "placing.by_name",
    "program": "session.programmed",
    "quantity": "units",
    "run": "session.simulation",
    "save_mapping": "mapping.files",
    "simulate": "session.simulation",
    "simulate_timing": "timing.simulate",
    "trace": "frontends.torch_export",
    "trained_for": "frontends.trainers",
}
_CALLED = {"simulate_timing": "simulate"}  # where the name here is another one
__all__ = list(_WHERE)


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'cimsim.api' has no attribute '{name}'")
    return getattr(import_module(f"cimsim.{_WHERE[name]}"), _CALLED.get(name, name))


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
