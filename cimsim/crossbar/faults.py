"""Cells that hold one conductance whatever is written: drawn at random, or from a map."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
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
from cimsim.kernels.arrays import Numbers
from cimsim.rng import stream

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


def draw_dead_lines(
    shape: tuple[int, int, int], faults: Faults, rng: np.random.Generator
) -> FaultCodes:
    """Draw broken lines: all cells of a word line or of a bit line conduct nothing.

    Parameters
    ----------
    shape : (int, int, int)
        Bit lines of a column (two of a pair), rows, columns.
    faults : Faults
    rng : numpy.random.Generator
        One uniform number per line; a larger share adds lines to those of a smaller one.

    Returns
    -------
    uint8, ``shape``
        0 or `OPEN`.
    """
    lines, rows, cols = shape
    codes = np.zeros(shape, np.uint8)
    codes[:, rng.random(rows) < faults.dead_rows] = OPEN
    broken = rng.random((lines, cols)) < faults.dead_cols
    codes[np.broadcast_to(broken[:, None], shape)] = OPEN
    return codes


class TestedFaults(Mapping[tuple[int, int], FaultCodes]):
    """Faults of a tested chip, ``faults.seed``: drawn array by array, repaired by spare lines.

    An array's faults depend on its place alone. What a map says is left as it is and added.

    Parameters
    ----------
    chip : Chip
    known : mapping of (tile, array) to uint8 [2, rows, cols]
        Of ``faults.map``.
    """

    def __init__(self, chip: Chip, known: FaultMap) -> None:
        self.chip, self.known = chip, known
        self._kept: dict[tuple[int, int], FaultCodes] = {}

    def __getitem__(self, place: tuple[int, int]) -> FaultCodes:
        """Return the codes of an array, uint8 [2, rows, cols]."""
        tile, array = place
        if not (0 <= tile < self.chip.n_tiles and 0 <= array < self.chip.tile.arrays):
            raise KeyError(place)
        if place not in self._kept:
            self._kept[place] = self._drawn(tile, array)
        return self._kept[place]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Go through the places of all arrays."""
        for tile in range(self.chip.n_tiles):
            for array in range(self.chip.tile.arrays):
                yield tile, array

    def __len__(self) -> int:
        """Return the number of arrays."""
        return int(self.chip.n_tiles * self.chip.tile.arrays)

    def _drawn(self, tile: int, array: int) -> FaultCodes:
        faults, size = self.chip.faults, self.chip.array
        assert faults.seed is not None
        rows, cols = size.rows, size.cols
        shape = (2, rows + faults.spare_rows, cols + faults.spare_cols)
        codes = draw_faults(shape, faults, stream(faults.seed, "tested cells", tile, array))
        lines = draw_dead_lines(shape, faults, stream(faults.seed, "tested lines", tile, array))
        codes = repaired(np.maximum(codes, lines), rows, cols)
        known = self.known.get((tile, array))
        return codes if known is None else np.where(known > 0, known, codes)


def repaired(codes: FaultCodes, rows: int, cols: int) -> FaultCodes:
    """Return an array whose worst lines were replaced by its spare ones.

    One line after the other: the row or column of the array with most faulty cells gives way to the
    best spare row or column that is left, as long as that has fewer. Greedy, so that crossing lines
    are not chosen together; chips choose likewise at test (must-repair, then most repair).

    Parameters
    ----------
    codes : uint8 [lines, rows + spare rows, cols + spare cols]
    rows, cols : int
        Of the array without spares.

    Returns
    -------
    uint8 [lines, rows, cols]
    """
    row_of, col_of = np.arange(rows), np.arange(cols)
    spare_rows = np.arange(rows, codes.shape[1])
    spare_cols = np.arange(cols, codes.shape[2])
    bad = (codes > 0).sum(axis=0, dtype=np.int64)
    # faulty cells of every line, spare ones too, where it crosses the lines that are in use
    in_row, in_col = bad[:, col_of].sum(axis=1), bad[row_of].sum(axis=0)
    while len(spare_rows) or len(spare_cols):
        worst_row, worst_col = int(in_row[row_of].argmax()), int(in_col[col_of].argmax())
        gain_row = gain_col = -1
        if len(spare_rows):
            best_row = int(spare_rows[in_row[spare_rows].argmin()])
            gain_row = int(in_row[row_of[worst_row]] - in_row[best_row])
        if len(spare_cols):
            best_col = int(spare_cols[in_col[spare_cols].argmin()])
            gain_col = int(in_col[col_of[worst_col]] - in_col[best_col])
        if max(gain_row, gain_col) <= 0:
            break
        if gain_row >= gain_col:
            in_col += bad[best_row] - bad[row_of[worst_row]]
            row_of[worst_row] = best_row
            spare_rows = spare_rows[spare_rows != best_row]
        else:
            in_row += bad[:, best_col] - bad[:, col_of[worst_col]]
            col_of[worst_col] = best_col
            spare_cols = spare_cols[spare_cols != best_col]
    return codes[:, row_of[:, None], col_of]


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
    """Return the faults that belong to a chip's arrays: of its map, and of its own seed.

    Raises
    ------
    ConfigError
        See `read_fault_map`; an array that the chip does not have.
    """
    known = {} if chip.faults.map is None else _of_file(chip, chip.faults.map)
    if chip.faults.seed is not None and chip.faults.drawn:
        return TestedFaults(chip, known)
    return known


def _of_file(chip: Chip, name: str) -> FaultMap:
    """Return the faults of a map, which name arrays of this chip."""
    found = read_fault_map(Path(name), (chip.array.rows, chip.array.cols))
    for tile, array in found:
        if tile >= chip.n_tiles or array >= chip.tile.arrays:
            raise ConfigError(
                f"faults.map: {name}: tile {tile}, array {array} is outside the chip of "
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
            content: dict[str, Numbers] = {name: file[name] for name in file.files}
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
