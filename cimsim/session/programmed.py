"""A programmed chip as a thing of its own: written and calibrated once, kept in a file, run often.

The file is one `safetensors` file. Its tensors are what the engine works with: integer weights,
conductances, read noise, mismatch and bends of converters and drivers, column corrections. Its
header holds one JSON text, ``cimsim``: schema version, cimsim version, seed, noise and frame size
of the calibration, the chip's full description, hashes of network and mapping, all numbers that are
no tensors, and the SHA-256 of everything.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, TypeGuard

import numpy as np
from numpy.typing import NDArray

from cimsim import __version__
from cimsim.boundary import json_text
from cimsim.boundary.arguments import number, whole
from cimsim.boundary.limits import RESULT
from cimsim.boundary.text import is_file, told_missing
from cimsim.errors import InputError, SimulationError
from cimsim.files import replacing
from cimsim.graph.ir import LayerGraph
from cimsim.mapping.mapping import Mapping

if TYPE_CHECKING:
    from cimsim.engine.calibrated import CalibratedMapping
    from cimsim.session.frames import Clip, Progress

FORMAT = "cimsim programmed chip"
SCHEMA_VERSION = 1
_KEY = "cimsim"
_SHOWN = 4  # fields of the chip that an error names


class Header(TypedDict):
    """What a file says besides its tensors."""

    format: str
    schema_version: int
    version: str
    title: str
    network: dict[str, object]
    weights: str
    operations: str
    frame: list[int]
    chip: dict[str, object]
    chip_hash: str
    strategy: str
    mapping: str
    seed: int
    sigma: float
    calibration: str
    plan: dict[str, object]
    sha256: str


@dataclass(frozen=True, eq=False)
class ProgrammedChip:
    """A chip whose cells are written and whose converters are calibrated.

    Attributes
    ----------
    header : dict
        As `Header`: what JSON can hold, see the module's description.
    arrays : dict of str to ndarray
    file : Path or None
        Where it was saved or loaded.
    """

    header: Header
    arrays: dict[str, NDArray[np.generic]]
    file: Path | None = None

    @property
    def hash(self) -> str:
        """SHA-256 of all that is kept: equal hashes are equal chips."""
        return self.header["sha256"]

    @property
    def seed(self) -> int:
        """Seed of the programming and of the noise during calibration."""
        return self.header["seed"]

    @property
    def sigma(self) -> float:
        """Noise on the calibration frames, in 8-bit steps."""
        return float(self.header["sigma"])

    @property
    def title(self) -> str:
        """Name of the network."""
        return self.header["title"]

    def on(self, mapping: Mapping) -> CalibratedMapping:
        """Return the chip ready to run.

        Parameters
        ----------
        mapping : Mapping
            Of the same network and weights, for the same frame size and chip.

        Raises
        ------
        InputError
            Naming everything that differs and what to do.
        """
        from cimsim.chip.cells import device_of
        from cimsim.engine.saved import unpack

        differing = list(_differences(self.header, mapping))
        if differing:
            raise InputError(
                f"{self._name}: does not fit this run: {'; '.join(differing)}. Run it with what it "
                "was programmed for, or program a chip for this run: cimsim program with the same "
                "options and --out FILE"
            )
        try:
            return unpack(mapping, device_of(mapping.chip), self.arrays, self.header["plan"])
        except SimulationError as error:
            raise InputError(
                f"{self._name}: {error}; program it again with cimsim program"
            ) from error

    def save(self, path: str | Path) -> ProgrammedChip:
        """Write the file, whole or not at all, and return the chip with its `file`.

        Raises
        ------
        InputError
            See `check_file`, or the disk takes no more.
        """
        from safetensors.numpy import save

        path = check_file(path)
        # through memory: safetensors' own file could be read by its owner alone
        content = save(self.arrays, metadata={_KEY: json.dumps(self.header)})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as scratch:
                scratch.write_bytes(content)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written: {error}; free some space or take another --out"
            ) from error
        return ProgrammedChip(self.header, self.arrays, path)

    @classmethod
    def load(cls, path: str | Path) -> ProgrammedChip:
        """Read a file and check that it is whole.

        Raises
        ------
        InputError
            No such file, another kind of file, damaged, or of another version of cimsim.
        """
        path = Path(path)
        header, arrays = _read(path)
        for name, own, fix in (
            ("schema_version", SCHEMA_VERSION, "program the chip again with cimsim program"),
            ("version", __version__, "program the chip again, or run it with that version"),
        ):
            if header.get(name) != own:
                raise InputError(
                    f"{path}: {name.replace('_', ' ')} of cimsim: {header.get(name)} in the file, "
                    f"{own} here; {fix}"
                )
        if not _is_header(header):
            raise InputError(
                f"{path}: its header is not one of a programmed chip: it is damaged or was edited; "
                "program the chip again with cimsim program"
            )
        if header["sha256"] != _digest(header, arrays):
            raise InputError(
                f"{path}: the content does not have the SHA-256 that the file names: it is damaged "
                "or was edited; copy it again, or program the chip again with cimsim program"
            )
        return cls(header, arrays, path)

    @property
    def provenance(self) -> dict[str, str | float | None]:
        """What a result says about the chip that it ran on."""
        name = None if self.file is None else self.file.name
        return {"file": name, "sha256": self.hash, "seed": self.seed, "sigma": self.sigma}

    @property
    def _name(self) -> str:
        return "programmed chip" if self.file is None else str(self.file)


def program(
    mapping: Mapping,
    *,
    noise_sigma: float = 15.0,
    seed: int = 0,
    calibration: Clip | None = None,
    title: str | None = None,
    identity: MappingABC[str, object] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ProgrammedChip:
    """Write and calibrate a chip once, to save it and to run it often.

    `cimsim.simulate` with ``programmed=`` and the same ``seed`` and ``noise_sigma`` gives the bits
    and the result hash of a run that programs the chip itself.

    Parameters
    ----------
    mapping : Mapping
    noise_sigma : float
        Standard deviation of the noise on the calibration frames, in 8-bit steps.
    seed : int
        Of programming and of the noise during calibration.
    calibration, threads, progress
        See `cimsim.simulate`.
    title, identity : optional
        Name of the network and where it came from; kept in the file for people.

    Raises
    ------
    ConfigError, InputError, SimulationError
        As `cimsim.simulate`.

    Examples
    --------
    >>> chip = cimsim.program(mapping, seed=3)  # doctest: +SKIP
    >>> chip.save("chip.safetensors")  # doctest: +SKIP
    >>> chip = cimsim.ProgrammedChip.load("chip.safetensors")  # doctest: +SKIP
    >>> cimsim.simulate(mapping, clip, seed=3, programmed=chip)  # doctest: +SKIP
    """
    from cimsim.chip.load import chip_hash, dump
    from cimsim.engine.saved import pack
    from cimsim.engine.workers import one_torch_thread
    from cimsim.graph.digest import operations_hash, weights_hash
    from cimsim.session.calibration import programmed
    from cimsim.session.collect import mapping_hash

    noise_sigma = number("noise_sigma", noise_sigma, 0, 255, InputError)
    seed = whole("seed", seed, 0, 2**63 - 1, InputError)
    if threads is not None:
        threads = whole("threads", threads, 1, 4096, InputError)
    report = progress or (lambda stage, done, total: None)
    with one_torch_thread():
        made = programmed(mapping, noise_sigma, seed, calibration, threads, report)
    arrays, plan = pack(made.calibrated)
    graph = mapping.graph
    header = {
        "format": FORMAT, "schema_version": SCHEMA_VERSION, "version": __version__,
        "title": title or graph.name, "network": identity or {"model": graph.name},
        "weights": weights_hash(graph), "operations": operations_hash(graph),
        "frame": list(graph.inputs[0].output.grid),
        "chip": dump(mapping.chip), "chip_hash": chip_hash(mapping.chip),
        "strategy": mapping.strategy, "mapping": mapping_hash(mapping),
        "seed": seed, "sigma": noise_sigma, "calibration": made.scene, "plan": plan,
    }  # fmt: skip
    # as a file gives it back: the hash must not depend on int or float, tuple or list
    header = json.loads(json.dumps(header))
    return ProgrammedChip(header | {"sha256": _digest(header, arrays)}, arrays)


def check_file(path: str | Path) -> Path:
    """Refuse a target that cannot be written, before a chip is programmed for it.

    Raises
    ------
    InputError
        Another suffix, a folder, or no write access.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(
            f"--out: expected a file name that ends in .safetensors, got '{path}'; take "
            f"'{path.with_suffix('.safetensors') if path.name else 'chip.safetensors'}'"
        )
    if path.is_dir():
        raise InputError(f"--out: '{path}' is a folder; give a file name in it")
    above = next(place for place in path.absolute().parents if place.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"--out: cannot write '{path}': no write access to '{above}'")
    return path


def _read(path: Path) -> tuple[dict[str, object], dict[str, NDArray[np.generic]]]:
    from safetensors import safe_open

    if not is_file(path):
        raise InputError(f"{path}: {told_missing(path)}; make one with cimsim program --out {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_KEY)
            header = None if text is None else json_text.load(text, RESULT)
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise InputError(
                    f"{path}: a safetensors file, but no programmed chip; make one with cimsim "
                    "program (weights are given with --weights)"
                )
            if text != json.dumps(header):
                raise ValueError("its header is not as cimsim writes it")
            # the engine's memory is its own, aligned and in C order
            return header, {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except InputError:
        raise
    except Exception as error:  # a damaged header makes safetensors raise many kinds
        raise InputError(
            f"{path}: no programmed chip: the file is damaged, cut short or of another kind "
            f"({error}); copy it again, or program the chip again with cimsim program"
        ) from error


def _is_header(header: dict[str, object]) -> TypeGuard[Header]:
    """Whether all fields of a header are there, with their types and ranges."""
    if header.keys() != Header.__annotations__.keys():
        return False
    texts = ("format", "version", "title", "weights", "operations", "chip_hash", "strategy",
             "mapping", "calibration", "sha256")  # fmt: skip
    frame, seed, sigma = header["frame"], header["seed"], header["sigma"]
    return (
        all(isinstance(header[name], str) for name in texts)
        and all(isinstance(header[name], dict) for name in ("network", "chip", "plan"))
        and isinstance(frame, list)
        and [type(size) for size in frame] == [int, int]
        and isinstance(seed, int)
        and not isinstance(seed, bool)
        and 0 <= seed < 2**63
        and isinstance(sigma, int | float)
        and not isinstance(sigma, bool)
        and 0 <= sigma <= 255
    )


def _digest(header: MappingABC[str, object], arrays: dict[str, NDArray[np.generic]]) -> str:
    """SHA-256 of a header without its own hash, and of names, types, shapes and values."""
    told = {name: value for name, value in header.items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name, value in sorted(arrays.items()):
        digest.update(f"\n{name} {value.dtype.str} {value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()


def _differences(header: Header, mapping: Mapping) -> Iterator[str]:
    """Say what differs between a file and a mapping; consequences of it are left out."""
    from cimsim.chip.load import chip_hash
    from cimsim.graph.digest import operations_hash, weights_hash
    from cimsim.session.collect import mapping_hash

    graph = mapping.graph
    frame, own = header["frame"], list(graph.inputs[0].output.grid)
    same_frame = frame == own
    # shapes of maps stand among the operations' arguments
    operations = not same_frame or header["operations"] == operations_hash(graph)
    same_network = header["weights"] == weights_hash(graph) and operations
    if not same_network:
        yield _other_network(header, graph)
    if not same_frame:
        yield f"frame size: {_size(frame)} in the file, {_size(own)} here"
    same_chip = header["chip_hash"] == chip_hash(mapping.chip)
    if not same_chip:
        yield _other_chip(header["chip"], mapping)
    if same_network and same_frame and same_chip and header["mapping"] != mapping_hash(mapping):
        yield (
            f"mapping: '{header['strategy']}' in the file, '{mapping.strategy}' here, or other "
            "places of the same strategy"
        )


def _other_network(header: Header, graph: LayerGraph) -> str:
    network = header["network"]
    weights = f" with the weights {network['weights']}" if "weights" in network else ""
    if header["title"] != graph.name:
        return f"network: '{header['title']}'{weights} in the file, '{graph.name}' here"
    return f"weights: those of '{header['title']}'{weights} in the file, others here"


def _other_chip(held: dict[str, object], mapping: Mapping) -> str:
    from cimsim.chip.load import dump

    before, now = _flat(held), _flat(json.loads(json.dumps(dump(mapping.chip))))
    names = sorted(before.keys() | now.keys())
    fields = [n for n in names if n != "summary" and before.get(n) != now.get(n)]
    told = [f"{n}: {before.get(n)} in the file, {now.get(n)} here" for n in fields[:_SHOWN]]
    more = f" and {len(fields) - _SHOWN} more fields" if len(fields) > _SHOWN else ""
    return f"chip '{held.get('name')}': {', '.join(told)}{more}"


def _flat(data: dict[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in data.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _size(frame: list[int]) -> str:
    height, width = frame
    return f"{width}x{height}"
