"""Cells that hold one conductance whatever is written: drawn at random, or from a map."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from cimsim.boundary import memory
from cimsim.boundary.arguments import whole_of_text
from cimsim.boundary.limits import shown
from cimsim.boundary.tables import read_table
from cimsim.chip.cells.base import AbstractDevice
from cimsim.chip.parts.cells import Faults
from cimsim.chip.spec import Chip
from cimsim.errors import ConfigError, suggest

STUCK_OFF, STUCK_ON, OPEN = 1, 2, 3  # 0: the cell works
_KINDS = {"off": STUCK_OFF, "on": STUCK_ON, "open": OPEN}
_CELLS = {"+": 0, "-": 1}
_LARGEST = 2**31 - 1
_HEADER = ["tile", "array", "row", "col", "cell", "fault"]

FaultCodes = NDArray[np.uint8]
FaultMap = Mapping[tuple[int, int], FaultCodes]


def draw_faults(shape: tuple[int, ...], faults: Faults, rng: np.random.Generator) -> FaultCodes:
    """Draw independent faults.

    Parameters
    ----------
    shape : tuple of int
        Of the cells.
    faults : Faults
        Share of each kind.
    rng : numpy.random.Generator
        One uniform number per cell; a larger share adds cells to those of a smaller one.

    Returns
    -------
    uint8, ``shape``
        0, `STUCK_OFF`, `STUCK_ON` or `OPEN`.
    """
    u = rng.random(shape)
    codes = np.zeros(shape, np.uint8)
    codes[u < faults.stuck_off] = STUCK_OFF
    # from the other end, so that the share of one kind does not move the cells of another
    codes[u >= 1 - faults.stuck_on] = STUCK_ON
    codes[(u >= faults.stuck_off) & (u < faults.stuck_off + faults.open)] = OPEN
    return codes


def apply_faults(
    g_s: NDArray[np.float64], codes: FaultCodes, device: AbstractDevice
) -> NDArray[np.float64]:
    """Return conductances with those of faulty cells replaced.

    Parameters
    ----------
    g_s : float64, any shape
    codes : uint8, same shape
    device : AbstractDevice
        ``g_min`` of a cell that is stuck off, ``g_max`` of one that is stuck on.
    """
    held = np.array([0.0, device.g_min_s, device.g_max_s, 0.0])
    return np.where(codes == 0, g_s, held[codes])


def fault_map(chip: Chip) -> FaultMap:
    """Return the map of faults that a chip names; an empty one when it names none.

    Raises
    ------
    ConfigError
        See `read_fault_map`; an array that the chip does not have.
    """
    if chip.faults.map is None:
        return {}
    found = read_fault_map(Path(chip.faults.map), (chip.array.rows, chip.array.cols))
    for tile, array in found:
        if tile >= chip.n_tiles or array >= chip.tile.arrays:
            raise ConfigError(
                f"faults.map: {chip.faults.map}: tile {tile}, array {array} is outside the chip of "
                f"{chip.n_tiles} tiles with {chip.tile.arrays} arrays, counted from 0"
            )
    return found


def read_fault_map(path: Path, shape: tuple[int, int]) -> dict[tuple[int, int], FaultCodes]:
    """Read the faults of a chip.

    Parameters
    ----------
    path : Path
        A CSV of ``tile, array, row, col, cell, fault``: physical row and column of a pair, its cell
        ``+`` or ``-``, fault ``off``, ``on`` or ``open``. Or an .npz of uint8 [2, rows, cols]
        (``+`` and ``-`` cells; 0 works, 1 off, 2 on, 3 open) under names ``tile_array`` such as
        ``0_0``. Everything counts from 0; slice s of weight column c is physical column ``s *
        (cols // slices) + c``. Arrays that do not occur have no faults.
    shape : (int, int)
        Rows and physical columns of an array.

    Returns
    -------
    dict of (tile, array) to uint8 [2, rows, cols]

    Raises
    ------
    ConfigError
        The file cannot be read or says something impossible: ``faults.map: file, line 3: ...``.
    """
    reader = {".csv": _from_csv, ".npz": _from_npz}.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"faults.map: {path}: expected a .csv or .npz file")
    try:
        return reader(path, shape)
    except FileNotFoundError:
        raise ConfigError(
            f"faults.map: {path}: no such file; a relative path starts at the folder of the YAML "
            "file, in --set at the working directory"
        ) from None
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        raise ConfigError(f"faults.map: {path}: cannot be read: {error}") from None


def _from_csv(path: Path, shape: tuple[int, int]) -> dict[tuple[int, int], FaultCodes]:
    found: dict[tuple[int, int], FaultCodes] = {}
    table = read_table(path, tuple(_HEADER))
    lines = table.rows
    header = lines[0][1] if lines else []
    if header != _HEADER:
        raise ConfigError(
            f"faults.map: {path}, line 1: expected '{','.join(_HEADER)}', got '{','.join(header)}'"
        )
    for number, cells in lines[1:]:
        where = f"faults.map: {path}, line {number}"
        if len(cells) != len(_HEADER):
            raise ConfigError(f"{where}: expected {len(_HEADER)} values, got {len(cells)}")
        tile, array, row, col = (
            _whole(where, name, text) for name, text in zip(_HEADER[:4], cells[:4], strict=True)
        )
        sign, kind = cells[4].strip(), cells[5].strip()
        for name, value, limit in (("row", row, shape[0]), ("col", col, shape[1])):
            if value >= limit:
                raise ConfigError(f"{where}: {name}: expected 0 .. {limit - 1}, got {value}")
        if sign not in _CELLS:
            raise ConfigError(f"{where}: cell: expected '+' or '-', got '{sign}'")
        if kind not in _KINDS:
            raise ConfigError(f"{where}: fault: {shown(kind)} is unknown{suggest(kind, _KINDS)}")
        codes = found.setdefault((tile, array), np.zeros((2, *shape), np.uint8))
        codes[_CELLS[sign], row, col] = _KINDS[kind]
    return found


def _whole(where: str, name: str, text: str) -> int:
    try:
        return whole_of_text(f"{where}: {name}", text, 0, _LARGEST)
    except ConfigError:
        raise ConfigError(
            f"{where}: {name}: expected a whole number >= 0, got {shown(text.strip())}"
        ) from None


def _from_npz(path: Path, shape: tuple[int, int]) -> dict[tuple[int, int], FaultCodes]:
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile) or file.zip is None:
                raise ValueError("a .npy array")
            whole: int = sum(int(item.file_size) for item in file.zip.infolist())
            memory.check(2 * whole, f"faults.map: {path}", "take a map of this chip's arrays")
            content: dict[str, NDArray[Any]] = {name: file[name] for name in file.files}
    except (ConfigError, OSError):
        raise
    except (ValueError, EOFError, KeyError, BadZipFile, zlib.error, NotImplementedError) as error:
        raise ConfigError(f"faults.map: {path}: not readable as .npz: {error}") from None
    found = {}
    for name, codes in content.items():
        match = re.fullmatch(r"(\d+)_(\d+)", name)
        if match is None:
            raise ConfigError(
                f"faults.map: {path}: expected names tile_array such as '0_0', got '{name}'"
            )
        if codes.shape != (2, *shape) or codes.dtype.kind not in "iu":
            raise ConfigError(
                f"faults.map: {path}: '{name}': expected whole numbers of shape {[2, *shape]}, got "
                f"{codes.dtype} {list(codes.shape)}"
            )
        if codes.min() < 0 or codes.max() > OPEN:
            raise ConfigError(
                f"faults.map: {path}: '{name}': expected 0 .. {OPEN}, got {codes.min()} .. "
                f"{codes.max()}"
            )
        found[int(match[1]), int(match[2])] = codes.astype(np.uint8)
    return found
