"""A study from Python and its folder: run, look at, compare."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from cimsim import __version__
from cimsim.boundary import json_text
from cimsim.boundary.limits import RESULT
from cimsim.boundary.text import read_text
from cimsim.display import drawing
from cimsim.display.tables import data_frame, html_table
from cimsim.errors import InputError
from cimsim.files import replacing
from cimsim.studies import engine, grid
from cimsim.studies.grid import Plan
from cimsim.studies.points import Row, Value
from cimsim.studies.table import SHORT, USUAL, Table

if TYPE_CHECKING:
    from pandas import DataFrame

FORMAT = "cimsim study"
STUDY = "study.json"
Progress = Callable[[str, int, int], None]


class StudyData(TypedDict):
    """What ``study.json`` holds."""

    format: str
    version: str
    plan: dict[str, object]
    search: dict[str, object] | None
    points: list[str] | None


@dataclass(frozen=True)
class Outcome:
    """The numbers of a study's points.

    Attributes
    ----------
    plan : dict
        What was asked, as `Plan.to_data` has it.
    rows : tuple of dict
        One for each point: settings, numbers, doubts, and the error of a point that has none.
    folder : Path or None
    interrupted : bool
    reused : int
        Points that an earlier run of the same study had left in the folder.
    """

    plan: Mapping[str, object]
    rows: tuple[Row, ...]
    folder: Path | None = None
    interrupted: bool = False
    reused: int = 0

    @property
    def name(self) -> str:
        """What the study is called."""
        return str(self.plan.get("name", "study"))

    @property
    def table(self) -> Table:
        """Its numbers, chips on the same frames put together."""
        return Table.of(self.rows)

    @property
    def errors(self) -> list[Row]:
        """Points that have no numbers."""
        return [row for row in self.rows if row["error"] is not None]

    def to_frame(self) -> DataFrame:
        """Return one row per point, a ``pandas.DataFrame``: settings, numbers, ends of intervals.

        Raises
        ------
        InputError
            Pandas is not installed.
        """
        return data_frame(list(flat(self.rows)), "Study.to_frame")

    def __repr__(self) -> str:
        wrong = f", {len(self.errors)} without numbers" if self.errors else ""
        return f"Outcome({self.name!r}: {len(self.rows)} points{wrong})"

    def _repr_html_(self) -> str:
        table = self.table
        names = [name for name in USUAL if any(SHORT[name] in g.cells for g in table.groups)]
        varies = table.distinguishing
        rows = [
            [*(str(g.settings.get(name, "")) for name in varies),
             *(g.cells[SHORT[name]].text if SHORT[name] in g.cells else g.error or ""
               for name in names)]
            for g in table.groups
        ]  # fmt: skip
        return html_table(repr(self), rows, [*varies, *names])

    @property
    def plot(self) -> drawing.StudyPictures:
        """Pictures: ``outcome.plot.over("adc.bits", "psnr")``, ``.pareto("psnr", "energy")``."""
        return cast(
            "drawing.StudyPictures", drawing.above("cimsim.studies.show:StudyPictures")(self)
        )

    def pareto(self, *objectives: str) -> list[dict[str, Value]]:
        """Return the groups that no other one beats; see `cimsim.studies.table.Table.pareto`."""
        return self.table.pareto(objectives)

    @classmethod
    def load(cls, folder: str | Path) -> Outcome:
        """Read a study's folder.

        Raises
        ------
        InputError
            No study there.
        """
        folder = Path(folder)
        data = read_plan(folder)
        rows = engine.kept_rows(folder)
        ids = list(rows) if data["points"] is None else data["points"]
        return cls(data["plan"], tuple(rows[one] for one in ids if one in rows), folder)


class Study:
    """One question with ranges.

    Parameters
    ----------
    networks, chips, set, mappings, allocations, clips, sigmas, frames, seeds, ...
        As in a ``study.yaml``: see `cimsim.studies.grid.Grid`. Values are lists, ranges as text
        (``"4..10"``) or single values.
    name : str

    Examples
    --------
    >>> import cimsim
    >>> study = cimsim.Study(networks="cimnet", set={"adc.bits": "4..10"}, seeds=5, frames=3)
    >>> study.plan.n_points
    35
    >>> outcome = study.run()  # doctest: +SKIP
    >>> outcome.pareto("max quality.chip_psnr", "min energy.per_frame")  # doctest: +SKIP
    """

    def __init__(self, *, name: str = "study", **given: object) -> None:
        self.plan = grid.from_data({"name": name, **given})

    def __repr__(self) -> str:
        return f"Study({self.plan.name!r}: {self.plan.n_points} points)"

    def _repr_html_(self) -> str:
        grids = self.plan.to_data()["grids"]
        assert isinstance(grids, list)
        rows = [
            (name, str(value))
            for grid_data in grids
            for name, value in grid_data.items()
            if value not in (None, {}, [], ())
        ]
        return html_table(repr(self), rows, ("key", "values"))

    @classmethod
    def read(cls, path: str | Path) -> Study:
        """Read a ``study.yaml``."""
        return cls.of(grid.read(path))

    @classmethod
    def of(cls, plan: Plan) -> Study:
        """Return the study of a plan."""
        study = cls.__new__(cls)
        study.plan = plan
        return study

    def run(
        self, folder: str | Path | None = None, *, workers: int | None = None,
        cached: bool = True, confirmed: bool = False, progress: Progress | None = None,
        crew: engine.Crew | None = None,
    ) -> Outcome:  # fmt: skip
        """Work out every point that is not there yet.

        Parameters
        ----------
        folder : path, optional
            Where rows are kept as they come, then tables. A study that was interrupted there goes
            on.
        workers : int, optional
            Processes, one thread each; by default one for each core. From a script other than
            ``python -m`` more than one need ``if __name__ == "__main__":``.
        cached : bool
            Whether results of stages are taken from and kept in the store.
        confirmed : bool
            Whether more than `cimsim.studies.grid.MOST` points are meant.
        progress : callable, optional
            ``progress(stage, done, total)``.
        crew : Crew, optional
            What works points out instead of ``workers``, as `cimsim.studies.cluster` gives it. It
            is closed in the end.

        Raises
        ------
        CimsimError
            A name, field or range that is wrong; before anything takes long.
        """
        crew = crew or engine.crew(engine.check_workers(workers))
        self.plan.check(confirmed)
        points = self.plan.points()
        plan = self.plan.to_data()
        ids = [engine.identity(point) for point in points]
        place = None if folder is None else opened(Path(folder), plan, ids)
        rows = {} if place is None else engine.kept_rows(place)
        rows = {
            name: rows[name]
            for name, point in zip(ids, points, strict=True)
            if name in rows and engine.still_holds(rows[name], point)
        }
        missing = [p for p, name in zip(points, ids, strict=True) if name not in rows]
        report = progress or (lambda stage, done, total: None)
        known, interrupted = len(points) - len(missing), False
        report("points", known, len(points))

        def done(row: Row) -> None:
            rows[row["id"]] = row
            if log is not None:
                log.add(row)
            report("points", len(rows), len(points))

        log = None if place is None else engine.Log(place)
        try:
            if log is not None:
                log.__enter__()
            with closing(crew):
                crew.compute(missing, cached, done)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            if log is not None:
                log.__exit__()
        made = Outcome(plan, tuple(engine.merged(list(rows.values()), points)), place,
                       interrupted, known)  # fmt: skip
        if place is not None:
            write_tables(made)
        return made


def opened(
    folder: Path, plan: Mapping[str, object], ids: Sequence[str] | None,
    search: Mapping[str, object] | None = None,
) -> Path:  # fmt: skip
    """Make a study's folder, or go on in it if it holds this very study.

    Parameters
    ----------
    folder : Path
    plan : mapping
        As `cimsim.studies.grid.Plan.to_data` has it.
    ids : sequence of str or None
        Of its points; None: all that have rows.
    search : mapping, optional
        What a search is after; it is another study with other aims.

    Raises
    ------
    InputError
        It holds something else, or cannot be written.
    """
    content = {
        "format": FORMAT, "version": __version__, "plan": _plain(plan), "search": _plain(search),
        "points": None if ids is None else list(ids),
    }  # fmt: skip
    path = folder / STUDY
    if path.exists():
        held = read_plan(folder)
        if (held["plan"], held.get("search")) != (content["plan"], content["search"]):
            raise InputError(
                f"--out: '{folder}' holds another study; repeat that one, or take another --out"
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"--out: '{folder}' is no study of cimsim and not empty; take another")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as scratch:
            scratch.write_text(json_text.dump(content), encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out: cannot write '{folder}': {error}") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"--out: cannot write '{folder}'")
    return folder


def _plain(data: object) -> object:
    """Return data as JSON gives it back."""
    plain: object = json.loads(json.dumps(data))
    return plain


def read_plan(folder: Path) -> StudyData:
    """Return ``study.json`` of a folder.

    Raises
    ------
    InputError
        None there, or damaged.
    """
    path = folder / STUDY
    try:
        data = json_text.load(read_text(path, RESULT))
    except OSError as error:
        raise InputError(f"{folder}: no study: {error}") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InputError(f"{folder}: {STUDY} is not that of a study")
    points = data.get("points", 0)
    if not isinstance(data.get("plan"), dict) or not (points is None or isinstance(points, list)):
        raise InputError(
            f"{path}: damaged, it has no plan or no points; repeat the command with another --out: "
            "the store still has what was worked out"
        )
    return cast(StudyData, data)


def flat(rows: Sequence[Row]) -> Iterator[dict[str, Value]]:
    """Yield one flat mapping per point: settings, numbers, ends of intervals, error."""
    for row in rows:
        cells = dict(row["settings"])
        for name, number in row["numbers"].items():
            cells[name] = number["value"]
            if number["interval"] is not None:
                cells[f"{name}.low"], cells[f"{name}.high"] = number["interval"]
        yield cells | {"error": row["error"]}


def write_tables(outcome: Outcome) -> None:
    """Write ``points.csv``, ``table.csv`` and ``table.json`` into a study's folder.

    Raises
    ------
    InputError
        They cannot be written.
    """
    from cimsim.studies.table import csv_text

    assert outcome.folder is not None
    table = outcome.table
    texts = {
        "points.csv": csv_text(list(flat(outcome.rows))),
        "table.csv": table.to_csv(),
        "table.json": table.to_json(),
    }
    for name, text in texts.items():
        try:
            with replacing(outcome.folder / name) as scratch:
                scratch.write_text(text, encoding="utf-8", newline="")
        except OSError as error:
            raise InputError(f"{outcome.folder / name}: cannot be written: {error}") from None


@dataclass
class Runs:
    """Results of ``cimsim run`` as rows of a study, for `cimsim compare` and `cimsim report`."""

    rows: list[Row] = field(default_factory=list)

    @classmethod
    def of(cls, places: Iterable[Path]) -> Runs:
        """Put runs and studies beside each other; points of a study are told apart by its name.

        Raises
        ------
        InputError
            There is neither in one of the places.
        """
        runs = cls()
        for place in places:
            if (place / STUDY).is_file():
                for row in Outcome.load(place).rows:
                    settings: dict[str, Value] = {"run": place.name, **row["settings"]}
                    runs.rows.append({**row, "settings": settings})
            else:
                runs.add(place)
        return runs

    def add(self, path: Path) -> None:
        """Add a run's folder or ``result.json``.

        Raises
        ------
        InputError
            No result there.
        """
        from dataclasses import asdict

        from cimsim.session.result import Result
        from cimsim.studies.stages import plain

        result = Result.load(path)
        inputs = result.inputs
        settings = {
            "run": (path.parent if path.name == "result.json" else path).name,
            "network": result.model, "chip": result.chip_label,
            "mapping": inputs.get("mapping", {}).get("strategy"),
            "sigma": inputs.get("sigma"), "seed": inputs.get("seed"),
        }  # fmt: skip
        numbers = {name: plain(number) for name, number in result.numbers().items()}
        self.rows.append({
            "id": result.hash, "key": None, "settings": settings, "numbers": numbers,
            "doubts": [asdict(doubt) for doubt in result.doubts], "network": result.model,
            "frame": list(result.frame), "error": None,
        })  # fmt: skip
