"""Many at once: processes, threads, cold caches; and many or large in one process."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.load import work
from benchmarks.load.support import RUN, SIZE, TIMED, Finding, Process, called, leftovers, workplace

AT_ONCE = 8
# arrays large enough that their solved wires are kept on disk
_WIRES = ["--set", "wires.model=exact", "--set", "wires.r_word=1 ohm", "--set", "wires.r_bit=1 ohm",
          "--set", "array.rows=128", "--set", "array.cols=64",
          "--model", "own:Wide"]  # fmt: skip


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def runs(home: Path) -> list[Finding]:
    """Start eight runs at once: into eight folders, and into one."""
    folder = workplace(home, "runs")
    first = called(folder, [*RUN, "--out", "first"])
    expected = _outputs(folder / "first")
    found = []
    for title, names in (
        ("eight runs at once, eight folders", [f"o{n}" for n in range(AT_ONCE)]),
        ("eight runs at once, one folder", ["same"] * AT_ONCE),
    ):
        started = [Process(folder, [*RUN, "--out", name]) for name in names]
        ends = [process.end() for process in started]
        faults = [fault for end in ends if (fault := end.fault((0,)))]
        faults += [
            f"{n}: other frames" for n in sorted({*names}) if _outputs(folder / n) != expected
        ]
        faults += [f"left: {leftovers(folder)}"] if leftovers(folder) else []
        peak = max(end.peak_mb for end in ends)
        slowest = max(end.seconds for end in ends)
        figures = f"{peak:.0f} MB each at most; {slowest / first.seconds:.1f} times one run's time"
        found.append(Finding(title, AT_ONCE, faults, figures))
    return found


def cold_caches(home: Path) -> list[Finding]:
    """Let eight processes find both caches empty: solved arrays, and compiled kernels."""
    folder = workplace(home, "cold")
    warm = called(folder, [*RUN, *_WIRES, "--out", "warm"], CIMSIM_CACHE="off")
    started = [
        Process(folder, [*RUN, *_WIRES, "--out", f"o{n}"], CIMSIM_CACHE=str(home / "operators"))
        for n in range(AT_ONCE)
    ]
    ends = [process.end() for process in started]
    faults = [fault for end in [warm, *ends] if (fault := end.fault((0,)))]
    expected = _outputs(folder / "warm")
    faults += [
        f"o{n}: other frames" for n in range(AT_ONCE) if _outputs(folder / f"o{n}") != expected
    ]
    files = list((home / "operators").rglob("*.bin"))
    faults += [] if files else ["no file in the cache: nothing was tried"]
    kept = sum(file.stat().st_size for file in files)
    solved = Finding("cold cache of solved arrays, eight processes", AT_ONCE, faults,
                     f"{len(files)} files, {kept:,} bytes")  # fmt: skip
    count = ["time", *TIMED, *SIZE]
    started = [
        Process(folder, [*count, "--quiet"], NUMBA_CACHE_DIR=str(home / "kernels"))
        for _ in range(AT_ONCE)
    ]
    ends = [process.end() for process in started]
    faults = [fault for end in ends if (fault := end.fault((0,)))]
    files = list((home / "kernels").rglob("*.nbc"))
    faults += [] if files else ["no kernel was kept: nothing was tried"]
    slowest = max(end.seconds for end in ends)
    kernels = Finding("cold cache of compiled kernels, eight processes", AT_ONCE, faults,
                      f"{len(files)} files, {slowest:.0f} s")  # fmt: skip
    return [solved, kernels]


def api(home: Path, count: int = 200) -> list[Finding]:
    """Trace, place and simulate many times in one process: memory must not grow."""
    del home
    held = alone(work.calls, count)
    early, late = max(held[count // 4 : count // 2]), max(held[-count // 4 :])
    faults = [] if late - early < 10 else [f"memory grows: {early:.0f} to {late:.0f} MB"]
    figures = f"{held[0]:.0f} MB after the first, {early:.0f} by half, {late:.0f} at the end"
    return [Finding(f"{count} calls of the API in one process", count, faults, figures)]


def frames(home: Path) -> list[Finding]:
    """Run 200 and 2,000 frames of a video file, with the report."""
    from cimsim.video.embedded import embedded_clip
    from cimsim.video.io import write_clip

    path = home / "long.mkv"
    write_clip(path, embedded_clip("default", 2000, 16, 24))
    few, _ = alone(work.long_clip, str(path), 200, str(home / "few"))
    many, seconds = alone(work.long_clip, str(path), 2000, str(home / "many"))
    faults = [] if many - few < 15 else [f"memory grows: {few:.0f} to {many:.0f} MB"]
    figures = f"peak {few:.0f} MB at 200, {many:.0f} MB at 2,000; {seconds:.0f} s"
    return [Finding("2,000 frames of 24 x 16", 2, faults, figures)]


def large(home: Path) -> list[Finding]:
    """Run one frame of 3840 x 2160."""
    del home
    peak, seconds = alone(work.large_frame, 2160, 3840)
    return [
        Finding("one frame of 3840 x 2160", 1, [], f"peak {peak / 1000:.1f} GB, {seconds:.0f} s")
    ]


def threads(home: Path, count: int = 40) -> list[Finding]:
    """Run chips on eight threads at once: the frames of one after another."""
    del home
    expected = alone(work.one_after_another, count)
    found = alone(work.in_threads, count, AT_ONCE)
    wrong = [f"seed {n}: other frames" for n in range(count) if found[n] != expected[n]]
    wrong += [] if len({*expected}) == count else ["seeds make no difference: nothing was tried"]
    return [Finding("calls of the API on eight threads", count, wrong, "the bits of one thread")]


def processes(home: Path) -> list[Finding]:
    """Run a chip in forked and in spawned processes, after one ran in the parent."""
    del home
    expected, faults = work.digest(), []
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(4, mp_context=context) as pool:
            found = list(pool.map(work.digest, [0] * 4, [1, 2] * 2))
        faults += [f"{method}: other frames" for one in found if one != expected]
    return [Finding("4 forked and 4 spawned processes, 1 and 2 threads", 8, faults,
                    "the bits of the parent")]  # fmt: skip


def _outputs(folder: Path) -> Any:
    try:
        held = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError):
        return None
    return held["outputs"]
