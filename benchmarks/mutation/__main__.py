"""Change lines of the kernels and of the crossbar, one at a time, and see whether a test notices.

python -m benchmarks.mutation --lines 100 --seed 0

Changes (`benchmarks/mutation/sites.py`) are made in a copy of the tree, and the tests that stand
for the file run on it: compiled where the file writes machine code, else as plain Python
(`benchmarks/mutation/interpreted.py`). What no test can notice is judged by hand and stands in
``equivalent.yaml`` with the reason. CPU seconds are added up; no new change begins after
``--minutes``, and with ``--keep FILE`` the next run of the same command goes on from there.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import shutil
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.mutation.sites import Mutant, sites

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("cimsim/kernels", "cimsim/crossbar")
SECONDS = 90  # of a change; one that hangs is noticed
K, C = "tests/kernels/test_", "tests/crossbar/test_"
COMPILED = {
    "kernels/avx2.py": [f"{K}products.py"],
    "kernels/borrow.py": [f"{K}borrow.py"],
    "kernels/emit.py": [f"{K}products.py"],
    "kernels/fma.py": [f"{K}fma.py"],
    "kernels/frame.py": [
        "tests/engine/test_flow.py",
        "tests/engine/test_steps.py",
        "-k",
        "compiled_code or anew or on_the_way or steps or queue",
    ],
    "kernels/lookup.py": [f"{K}lookup.py"],
    "kernels/neon.py": [f"{K}neon.py"],
    "kernels/normals.py": [f"{K}normals.py"],
    "kernels/products.py": [
        f"{K}products.py",
        f"{K}fused.py::test_blocks_are_collected_row_by_row",
        f"{K}parts.py::test_blocks_hold_whole_tiles",
    ],
    "kernels/rows.py": [f"{K}rows.py"],
    "kernels/threads.py": [f"{K}threads.py"],
    "kernels/vnni.py": [f"{K}products.py"],
    "kernels/nonlinear.py": [f"{C}nonlinear.py"],
    "kernels/wide.py": [f"{K}normals.py"],
    "kernels/wires.py": [f"{K}wires.py", f"{K}parts.py", "-k", "not bits and not values"],
    "crossbar/nonlinear.py": [f"{C}nonlinear.py"],
    "crossbar/wire_tree.py": [f"{C}wires.py"],
    "crossbar/wires.py": [f"{C}wires.py"],
}
INTERPRETED = {
    "kernels/bitwise.py": [
        f"{K}bitwise.py",
        f"{K}parts.py",
        "-k",
        "few_vectors or cut_into or 70-33 or same_outputs or only_single or looked_up or bits_that "
        "or single_bits or tables",
    ],
    "kernels/conversion.py": [
        f"{K}conversion.py",
        f"{K}shared.py",
        f"{K}parts.py",
        "-k",
        "not rectangle and not row_sums and not looked_up",
    ],
    "kernels/floats.py": [
        f"{K}floats.py",
        f"{K}parts.py::test_what_pulses_share_keeps_the_variance_and_has_its_part_in_it",
    ],
    "kernels/formula.py": [f"{K}conversion.py", f"{K}floats.py"],
    "kernels/fused.py": [f"{K}fused.py", f"{K}shared.py", f"{K}parts.py", "-k", "not rectangle"],
    "kernels/planes.py": [f"{K}planes.py"],
    "crossbar/adc.py": [f"{C}adc.py"],
    "crossbar/encode.py": [f"{C}encode.py", f"{C}weight_codes.py"],
    "crossbar/faults.py": [f"{C}faults.py", "tests/mapping/allocation/test_around_faults.py"],
    "crossbar/operator_cache.py": [f"{C}operator_cache.py"],
    "crossbar/programmed.py": [f"{C}programmed.py", f"{C}weight_codes.py", f"{C}disturb.py"],
    "crossbar/rounding.py": ["tests/engine/test_rounding.py"],
}


@dataclass(frozen=True)
class Suite:
    """The tests of a file."""

    arguments: list[str]
    compiled: bool

    @classmethod
    def of(cls, path: Path) -> Suite:
        """Return those of a file of the package."""
        name = path.relative_to("cimsim").as_posix()
        if name in COMPILED:
            return cls(COMPILED[name], compiled=True)
        return cls(INTERPRETED[name], compiled=False)

    def passes(self, tree: Path) -> tuple[bool, float]:
        """Run them on a tree in a process of its own; return whether all pass, and CPU seconds."""
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = self._run(tree)
            except BaseException:  # noqa: BLE001  # whatever it is, it goes into the log
                traceback.print_exc(file=sys.stdout)
            finally:
                sys.stdout.flush()
                os._exit(status)
        _, status, used = os.wait4(child, 0)
        return status == 0, used.ru_utime + used.ru_stime

    def _run(self, tree: Path) -> int:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        log = os.open(tree / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(nowhere, 2)
        os.chdir(tree)
        for name in [
            name
            for name in sys.modules
            if name.partition(".")[0] in ("tests", "cimsim", "benchmarks")
        ]:
            del sys.modules[name]
        sys.path.insert(0, str(tree))
        if not self.compiled:
            from benchmarks.mutation import interpreted

            interpreted.install()
        import pytest

        quiet = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", "--tb=line"]
        kinds = ("RuntimeWarning", "pytest.PytestAssertRewriteWarning")
        ignored = [word for kind in kinds for word in ("-W", f"ignore::{kind}")]
        return int(pytest.main([*quiet, *ignored, *self.arguments]))


def copied(folder: Path) -> Path:
    """Copy what tests need of the tree."""
    tree = folder / "tree"
    ignored = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc", "*.safetensors.tmp")
    for name in ("cimsim", "frontends", "hwconfigs", "tests", "examples", "benchmarks"):
        shutil.copytree(ROOT / name, tree / name, ignore=ignored, symlinks=True)
    shutil.copy(ROOT / "pyproject.toml", tree)
    return tree


def chosen(lines: int, seed: int, only: str) -> list[tuple[Path, Mutant]]:
    """Choose lines, all alike, and one change of each."""
    found: dict[tuple[Path, int], list[Mutant]] = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).glob("*.py")):
            if only in str(path):
                for mutant in sites(path.read_text()):
                    found.setdefault((path.relative_to(ROOT), mutant.line), []).append(mutant)
    rng = random.Random(seed)
    places = rng.sample(sorted(found), min(lines, len(found)))
    return sorted(
        ((place[0], rng.choice(found[place])) for place in places),
        key=lambda one: (one[0], one[1].line),
    )


def equivalent(path: Path, line: str, mutant: Mutant) -> str | None:
    """Return why no test can notice a change, if that was judged."""
    known = yaml.safe_load((Path(__file__).parent / "equivalent.yaml").read_text()) or []
    for one in known:
        before = line.encode()[: mutant.at].decode()
        same = one["file"] == path.as_posix() and one["line"] == line.strip()
        same = same and before.endswith(one.get("after", ""))
        if same and one["change"] in ("any", f"{mutant.old} -> {mutant.new}"):
            return str(one["why"])
    return None


def change_of(path: Path, line: str, mutant: Mutant) -> str:
    """Return a change as one line of text."""
    return f"{path}:{mutant.line}: {line.strip()}   [{mutant.old} -> {mutant.new}]"


class Kept:
    """Changes that were noticed before, of files that are still the same."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        told = file.read_text() if file is not None and file.exists() else ""
        self.lines = set(told.splitlines())

    def __contains__(self, one: tuple[str, str]) -> bool:
        return self._line(*one) in self.lines

    def add(self, change: str, source: str) -> None:
        """Keep a change of a file with this text."""
        if self.file is not None:
            with self.file.open("a") as file:
                file.write(self._line(change, source) + "\n")

    @staticmethod
    def _line(change: str, source: str) -> str:
        return f"{hashlib.sha256(source.encode()).hexdigest()[:16]} {change}"


def main() -> None:
    """Print what was noticed, and every change that was not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="files whose path holds this")
    parser.add_argument("--minutes", type=float, default=25.0, help="of CPU, all together")
    parser.add_argument("--keep", type=Path, help="file of what was noticed; it is not run again")
    given = parser.parse_args()
    import hypothesis  # noqa: F401  # what each run would import anew
    import numba  # noqa: F401
    import numpy  # noqa: F401
    import scipy.sparse.linalg  # noqa: F401
    import torch  # noqa: F401

    kept = Kept(given.keep)
    counts, used, sound = {"noticed": 0, "equivalent": 0, "survived": 0}, 0.0, set()
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder))
        for path, mutant in chosen(given.lines, given.seed, given.only):
            if used > 60 * given.minutes:
                print(f"stopped after {used / 60:.0f} minutes of CPU")
                break
            source, suite = (ROOT / path).read_text(), Suite.of(path)
            line = source.splitlines()[mutant.line - 1]
            change = change_of(path, line, mutant)
            why = equivalent(path, line, mutant)
            if why is not None:
                counts["equivalent"] += 1
                print(f"equivalent  {change}: {why}", flush=True)
                continue
            if (change, source) in kept:
                counts["noticed"] += 1
                continue
            if path not in sound:
                passed, seconds = suite.passes(tree)
                used += seconds
                if not passed:
                    told = (tree / "log.txt").read_text()[-3000:]
                    raise SystemExit(f"{path}: its tests fail as it is\n{told}")
                sound.add(path)
                print(f"{path}: its tests take {seconds:.0f} s", flush=True)
            (tree / path).write_text(mutant.apply(source))
            passed, seconds = suite.passes(tree)
            (tree / path).write_text(source)
            used += seconds
            counts["survived" if passed else "noticed"] += 1
            if not passed:
                kept.add(change, source)
            print(f"{'SURVIVED' if passed else 'noticed '}  {change}  {seconds:.1f} s", flush=True)
    print(f"{counts}; {used / 60:.1f} minutes of CPU")
    sys.exit(counts["survived"] > 0.03 * sum(counts.values()))


if __name__ == "__main__":
    main()
