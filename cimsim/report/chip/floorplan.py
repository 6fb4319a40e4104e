"""The floor plan: every used array of a mapping with its layers, replicas and unused cells."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cimsim.errors import InputError
from cimsim.mapping.mapping import Mapping
from cimsim.mapping.placement import Placement, Slot
from cimsim.mapping.sharing import union

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
_UNUSED, _EDGE, _TEXT = "#ECEEF1", "#9AA3AD", "#3C444D"
_GAP, _TITLE = 0.14, 0.20  # between arrays and above them, in widths of an array
_MARGIN = 0.10  # between the frame of a tile and its arrays
_WIDEST_IN, _NARROWEST_IN, _ARRAY_IN = 13.0, 8.5, 3.0  # the page, and the largest array
_SIDE_IN = 0.2
_WIDE = 0.58  # of a letter, in sizes of type
_LEAST = 0.012  # blocks are drawn at least so wide and high, in widths of an array


_Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where arrays stand, in widths of an array.

    Attributes
    ----------
    corners : dict
        Array -> lower left corner.
    frames : dict
        Tile -> x, y, width and height of its frame; only where a tile has several arrays.
    width, height : float
    array_height : float
    """

    corners: dict[Slot, tuple[float, float]]
    frames: dict[int, tuple[float, float, float, float]]
    width: float
    height: float
    array_height: float


def draw_floorplan(mapping: Mapping, paths: Sequence[Path]) -> None:
    """Write the floor plan into each of ``paths``, whose suffix says the format.

    Raises
    ------
    InputError
        Another suffix, or a place that cannot be written.
    """
    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")
    for load in range(mapping.loads):
        figure = floorplan(mapping, load)
        for path in paths:
            target = path.with_stem(f"{path.stem}_load{load}") if load else path
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                figure.savefig(target, dpi=150)
            except OSError as error:
                raise InputError(f"{target}: cannot be written: {error}") from None


def floorplan(mapping: Mapping, load: int = 0) -> Figure:
    """Draw all used arrays, tile by tile, and a legend of the layers; of several loads, one.

    Row 0 of an array is at the top, column 0 at the left. Full colour: cells that hold weights;
    pale colour: other cells on rows and columns that fire together with them, which must hold 0;
    grey: unused.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    held = mapping.held(load)
    grid = _grid(mapping, {slot.tile for slot in held})
    names = [layer.name for layer in mapping.layers]
    colours = dict(zip(names, layer_colours(len(names)), strict=True))
    page = min(_WIDEST_IN, max(_NARROWEST_IN, grid.width * _ARRAY_IN))
    inch = min(page / grid.width, _ARRAY_IN)
    columns = _legend_columns(names, page)
    head, foot = 0.8, 0.35 + 0.21 * math.ceil(len(names) / columns)
    height = grid.height * inch + head + foot
    figure = Figure(figsize=(page + 2 * _SIDE_IN, height))
    FigureCanvasAgg(figure)
    width = page + 2 * _SIDE_IN
    axes = figure.add_axes(
        (_SIDE_IN / width, foot / height, grid.width * inch / width, grid.height * inch / height)
    )
    axes.set_xlim(0, grid.width)
    axes.set_ylim(0, grid.height)
    axes.set_axis_off()
    _draw_tiles(axes, grid)
    drawing = _Drawing(mapping, grid, colours, inch, axes)
    for slot in sorted(grid.corners, key=lambda s: (s.tile, s.array)):
        drawing.array(slot, held.get(slot, ()))
    _headline(figure, mapping, load)
    _draw_legend(figure, mapping, colours, columns, foot)
    return figure


def layer_colours(count: int) -> list[str]:
    """Return a colour for each layer: hues in execution order, neighbours of other lightness."""
    found = []
    for index in range(count):
        hue = (0.58 + index * 0.618034) % 1.0  # golden ratio: neighbours are far apart
        lightness, saturation = ((0.52, 0.55), (0.66, 0.60), (0.42, 0.45))[index % 3]
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, saturation)
        found.append(f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}")
    return found


def _ink(colour: str) -> str:
    """Black or white, whichever is read better on a colour (relative luminance, ITU-R BT.709)."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return "#1F2429" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.58 else "white"


def _grid(mapping: Mapping, used: set[int]) -> _Grid:
    """Arrange tiles in rows; a tile of several arrays keeps them together, unused ones included."""
    chip = mapping.chip
    tiles = sorted(used)
    inside = chip.tile.arrays
    tall = min(max(chip.array.rows / chip.weight_cols, 0.4), 2.5)  # very long arrays are squeezed
    across = math.ceil(math.sqrt(inside)) if inside > 3 else inside
    down = math.ceil(inside / across)
    several = inside > 1
    margin = _MARGIN if several else 0.0
    # names of arrays are of one size of type: large arrays need relatively less room for them
    cell_w, cell_h = 1 + _GAP, tall + (0.04 if several else _TITLE) + _GAP
    tile_w = across * cell_w + 2 * margin
    tile_h = down * cell_h + (2 * margin + 0.10 if several else 0)
    columns = _columns(len(tiles), tile_w, tile_h)
    rows = math.ceil(len(tiles) / columns)
    corners, frames = {}, {}
    for number, tile in enumerate(tiles):
        y, x = divmod(number, columns)
        left, top = x * tile_w, (rows - y) * tile_h
        if several:
            frames[tile] = (left + 0.05, top - tile_h + 0.05, tile_w - 0.1, tile_h - 0.1)
            left, top = left + margin, top - margin - 0.10
        for array in range(inside):
            j, i = divmod(array, across)
            corners[Slot(tile, array)] = (
                left + i * cell_w + _GAP / 2, top - (j + 1) * cell_h + _GAP / 2
            )  # fmt: skip
    return _Grid(corners, frames, columns * tile_w, rows * tile_h, tall)


def _columns(count: int, tile_w: float, tile_h: float) -> int:
    """Tiles beside each other, for a picture about twice as wide as high."""
    ideal = math.sqrt(2.0 * count * tile_h / tile_w)
    return max(1, min(count, round(ideal)))


def _draw_tiles(axes: Axes, grid: _Grid) -> None:
    from matplotlib.patches import FancyBboxPatch

    for tile, (x, y, width, height) in grid.frames.items():
        axes.add_patch(
            FancyBboxPatch(
                (x, y), width, height, boxstyle="round,pad=0,rounding_size=0.04",
                facecolor="#FAFBFC", edgecolor="#C5CBD2", linewidth=0.8,
            )
        )  # fmt: skip
        axes.text(
            x + 0.06, y + height - 0.06, f"tile {tile}", va="top", fontsize=8, color=_TEXT,
            fontweight="bold",
        )  # fmt: skip


@dataclass(frozen=True)
class _Drawing:
    """What all arrays of a floor plan share."""

    mapping: Mapping
    grid: _Grid
    colours: dict[str, str]
    inch: float
    axes: Axes

    def array(self, slot: Slot, places: Sequence[Placement]) -> None:
        """Draw one array, its blocks, its name and its utilisation."""
        chip = self.mapping.chip
        whole = (0, 0, chip.array.rows, chip.weight_cols)
        self._box(slot, *whole, facecolor=_UNUSED, edgecolor="none")
        fired: dict[tuple[str, int, int], list[Placement]] = {}
        for place in places:
            fired.setdefault((place.layer, place.replica, place.local), []).append(place)
        for (layer, _, _), own in fired.items():
            for top, bottom in union((p.row0, p.row0 + p.rows) for p in own):
                for left, right in union((p.col0, p.col0 + p.cols) for p in own):
                    self._box(slot, top, left, bottom - top, right - left, alpha=0.25,
                              facecolor=self.colours[layer], edgecolor="none")  # fmt: skip
        for p in places:
            self._box(slot, p.row0, p.col0, p.rows, p.cols, facecolor=self.colours[p.layer],
                      edgecolor="white", linewidth=0.3)  # fmt: skip
        self._box(slot, *whole, fill=False, edgecolor=_EDGE, linewidth=0.6)
        taken: list[_Box] = []
        for (layer, replica, _), own in fired.items():
            text = self._text(layer, replica)
            self._label(slot, text if _copy(places) is None else text.partition(".")[0], own,
                        places, taken)  # fmt: skip
        self._title(slot, places)

    def _corner(self, slot: Slot, row: int, col: int, rows: int) -> tuple[float, float]:
        x, y = self.grid.corners[slot]
        chip, tall = self.mapping.chip, self.grid.array_height
        return x + col / chip.weight_cols, y + tall * (1 - (row + rows) / chip.array.rows)

    def _size(self, rows: int, cols: int) -> tuple[float, float]:
        """Width and height."""
        chip = self.mapping.chip
        return cols / chip.weight_cols, self.grid.array_height * rows / chip.array.rows

    def _box(self, slot: Slot, row: int, col: int, rows: int, cols: int, **style: Any) -> None:
        from matplotlib.patches import Rectangle

        (x, y), (width, height) = self._corner(slot, row, col, rows), self._size(rows, cols)
        wide, high = max(width, _LEAST), max(height, _LEAST)
        if wide > width or high > height:
            style |= {"linewidth": 0}
        x = min(x, self.grid.corners[slot][0] + 1 - wide)
        self.axes.add_patch(Rectangle((x, y + height - high), wide, high, **style))

    def _text(self, layer: str, replica: int) -> str:
        number = list(self.colours).index(layer) + 1
        copies = len(self.mapping.layers[number - 1].slots)
        return f"{number}.{replica + 1}" if copies > 1 else str(number)

    def _label(
        self, slot: Slot, text: str, own: Sequence[Placement], places: Sequence[Placement],
        taken: list[_Box],
    ) -> None:  # fmt: skip
        """Write the number inside the largest block or beside it; nowhere if neither has room."""
        largest = max(own, key=lambda p: min(self._size(p.rows, p.cols)))
        (x, y), (width, height) = (
            self._corner(slot, largest.row0, largest.col0, largest.rows),
            self._size(largest.rows, largest.cols),
        )
        style: dict[str, Any] = {"va": "center", "fontweight": "bold"}
        style |= {"color": _ink(self.colours[largest.layer]), "ha": "center"}
        full, points = min(11.0, max(6.0, 10.0 * self.inch)), 72 * self.inch
        for size, turn in product((full, 0.75 * full, 0.6 * full), (0, 90)):
            need = (0.68 * size * len(text) + 1) / points, (size + 0.5) / points
            across, up = need if turn == 0 else need[::-1]
            if width >= across and height >= up and size >= 4.5:
                self.axes.text(x + width / 2, y + height / 2, text, fontsize=size, rotation=turn,
                               **style)  # fmt: skip
                return
        need = (0.68 * full * len(text) + 4) / points, (full + 1) / points
        right = x + max(width, _LEAST) if len(own) == 1 else self._right(slot, own)
        box = (right, self._below(slot, y + height, need[1]), *need)
        if self._free(slot, box, own, places) and not any(_meet(box, other) for other in taken):
            taken.append(box)
            style |= {"color": _TEXT, "ha": "left"}
            self.axes.text(right + 2 / points, box[1] + need[1] / 2, text, fontsize=full, **style)

    def _right(self, slot: Slot, own: Sequence[Placement]) -> float:
        last = max(p.col0 + p.cols for p in own)
        return self._corner(slot, 0, last, 0)[0]

    def _below(self, slot: Slot, top: float, needed: float) -> float:
        """Lower edge of a label that begins at the top of its block, inside the array."""
        return max(top - needed, self.grid.corners[slot][1])

    def _free(
        self, slot: Slot, box: _Box, own: Sequence[Placement], places: Sequence[Placement]
    ) -> bool:
        """Whether a label beside a block meets no other block and stays in the array."""
        if box[0] + box[2] > self.grid.corners[slot][0] + 1:
            return False
        for p in places:
            if p in own:
                continue
            (left, low), (wide, high) = (
                self._corner(slot, p.row0, p.col0, p.rows), self._size(p.rows, p.cols),
            )  # fmt: skip
            if _meet(box, (left, low, wide, high)):
                return False
        return True

    def _title(self, slot: Slot, places: Sequence[Placement]) -> None:
        chip = self.mapping.chip
        share = sum(p.rows * p.cols for p in places) / (chip.array.rows * chip.weight_cols)
        name = f"tile {slot.tile}" if chip.tile.arrays == 1 else f"array {slot.array}"
        copy = _copy(places)
        several = copy is not None and any(
            len(layer.slots) > 1 for layer in self.mapping.layers if layer.name == places[0].layer
        )
        name += f", copy {copy}" if several else ""
        size = min(8.5, max(5.0, 6.5 * self.inch))
        x, y = self.grid.corners[slot]
        top = y + self.grid.array_height + 0.02
        short = f"{slot.tile if chip.tile.arrays == 1 else slot.array}"
        shown = _percent(share) if places else "unused"
        # as much as there is room for above a narrow array
        pairs = (name, shown), (name, ""), (short, shown), (short, "")
        fits = [pair for pair in pairs if _WIDE * size * len(" ".join(pair)) <= 72 * self.inch]
        name, shown = fits[0] if fits else pairs[-1]
        self.axes.text(x, top, name, fontsize=size, color=_TEXT, va="bottom")
        self.axes.text(x + 1, top, shown, fontsize=size, color=_EDGE, va="bottom", ha="right")


def _meet(one: _Box, other: _Box) -> bool:
    """Whether two boxes (x, y, width, height) overlap."""
    across = one[0] < other[0] + other[2] and other[0] < one[0] + one[2]
    return across and one[1] < other[1] + other[3] and other[1] < one[1] + one[3]


def _copy(places: Sequence[Placement]) -> int | None:
    """Return the copy, from 1, that several layers on one array all have; None otherwise."""
    replicas = {place.replica for place in places}
    layers = {place.layer for place in places}
    return replicas.pop() + 1 if len(layers) > 1 and len(replicas) == 1 else None


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"


def _headline(figure: Figure, mapping: Mapping, load: int) -> None:
    chip, (width, height) = mapping.chip, figure.get_size_inches()
    arrays = f"{mapping.arrays_used} of {chip.n_arrays} arrays of {chip.array.rows} x "
    arrays += f"{chip.weight_cols} weights, {100 * mapping.utilisation:.1f} % of their cells used"
    x = (_SIDE_IN + 0.05) / width
    figure.text(x, 1 - 0.16 / height, f"{mapping.graph.name} on {chip.label}", fontsize=14,
                fontweight="bold", color=_TEXT, va="top")  # fmt: skip
    how = f"{mapping.strategy}, {mapping.allocation}"
    how += f" (load {load} of 0..{mapping.loads - 1})" if mapping.loads > 1 else ""
    figure.text(x, 1 - 0.49 / height, f"{how}: {arrays}",
                fontsize=9.5, color=_TEXT, va="top")  # fmt: skip


def _legend_columns(names: Sequence[str], page: float) -> int:
    longest = max(len(name) for name in names)
    return max(1, min(len(names), int(page / (0.07 * longest + 1.75))))


def _draw_legend(
    figure: Figure, mapping: Mapping, colours: dict[str, str], columns: int, foot: float
) -> None:
    from matplotlib.patches import Rectangle

    width, height = figure.get_size_inches()
    rows = math.ceil(len(colours) / columns)
    step = (width - 2 * _SIDE_IN) / columns
    for number, layer in enumerate(mapping.layers):
        x, y = divmod(number, rows)
        left, base = _SIDE_IN + 0.05 + x * step, foot - 0.30 - 0.21 * y
        colour, middle = colours[layer.name], (base + 0.075) / height
        style: dict[str, Any] = {"va": "center_baseline"}
        figure.add_artist(
            Rectangle(
                (left / width, base / height), 0.24 / width, 0.15 / height,
                transform=figure.transFigure, facecolor=colour, edgecolor="none",
            )
        )  # fmt: skip
        figure.text((left + 0.12) / width, middle, str(number + 1), fontsize=7, ha="center",
                    color=_ink(colour), fontweight="bold", **style)  # fmt: skip
        name = figure.text((left + 0.31) / width, middle, layer.name, fontsize=8, color=_TEXT,
                           **style)  # fmt: skip
        end = name.get_window_extent().x1 / figure.dpi
        layout = layer.layout
        size = f"{layout.groups * layout.group_rows} x {layout.groups * layout.group_cols}"
        copies = f", {len(layer.slots)} replicas" if len(layer.slots) > 1 else ""
        copies += f", load {layer.load}" if mapping.loads > 1 else ""
        figure.text((end + 0.08) / width, middle, f"{size}{copies}", fontsize=7, color=_EDGE,
                    **style)  # fmt: skip
