"""A full disk under every command that writes."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load.support import RUN, Finding, Process, called, commands, leftovers, workplace

SHARES = (0.0, 0.3, 0.6, 0.9)
_PAGE = 4096


def writers() -> dict[str, list[str]]:
    """Return every kind of file that a command writes."""
    return commands() | {
        "run --video .mp4": [*RUN, "--out", "o", "--video", "v.mp4"],
        "run --video .mkv": [*RUN, "--out", "o", "--video", "v.mkv"],
        "run --trace": [*RUN, "--out", "o", "--trace", "t.json.gz"],
    }


def full_disk(home: Path) -> Iterator[Finding]:
    """Give each writer a share of the bytes that it needs.

    It ends with code 2, one message and without a traceback, and leaves no half file: on a disk of
    its own (tmpfs) where that can be mounted, else with files limited in size (``RLIMIT_FSIZE``).
    """
    for number, (name, arguments) in enumerate(writers().items()):
        folder = workplace(home, f"disk{number}", clips=name == "train")
        whole = workplace(home, f"disk{number}-whole", clips=name == "train")
        (home / f"disk{number}-tmp").mkdir()
        before = _size(whole)
        end = called(whole, arguments)
        needed = _size(whole) - before
        finding = Finding(f"full disk under `{name}`", figures=f"{needed:,} bytes needed")
        finding.faults += [f"enough disk: {end.fault((0,))}"] if end.fault((0,)) else []
        for share in SHARES:
            with _disk(folder, name, int(share * needed)) as (place, prepare, kind):
                there = _names(place)
                end = Process(place, arguments, prepare).end()
                more = sorted(_names(place) - there)
                finding.tried += 1
                fault = end.fault((2,))
                left = leftovers(place)
                half = [one for one in more if not _is_whole(place / one, whole / one)]
                fault = fault or (f"temporary names: {left}" if left else "")
                fault = fault or (f"half files: {half[:3]}" if half and name != "train" else "")
                finding.faults += [f"{share:.0%}, {kind}: {fault}"] if fault else []
        yield finding


@contextmanager
def _disk(
    folder: Path, name: str, free: int
) -> Iterator[tuple[Path, Callable[[], None] | None, str]]:
    """Yield a workplace with ``free`` bytes left, what limits the process there, and how."""
    mount = folder / "disk"
    mount.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(mount)],
        capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        try:
            place = workplace(mount, "w", clips=name == "train")
            (mount / "w-tmp").symlink_to(folder.parent / f"{folder.name}-tmp")
            with (mount / "ballast").open("wb") as ballast:
                while (more := _free(mount) - free // _PAGE * _PAGE) > 0:
                    ballast.write(b"x" * min(more, 1 << 20))
                    ballast.flush()
            yield place, None, "tmpfs"
        finally:
            subprocess.run(["umount", str(mount)], check=True)
        return

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (free // 2, free // 2))

    yield folder, limit, "limited files"


def _free(place: Path) -> int:
    held = os.statvfs(place)
    return held.f_bavail * held.f_frsize


def _names(folder: Path) -> set[str]:
    return {str(place.relative_to(folder)) for place in folder.rglob("*") if place.is_file()}


def _size(folder: Path) -> int:
    files = [place for place in folder.rglob("*") if place.is_file()]
    return sum(-(-place.stat().st_size // _PAGE) * _PAGE for place in files)


def _is_whole(place: Path, other: Path) -> bool:
    """Whether a file that stands there is as long as the one of an undisturbed run."""
    if "__pycache__" in place.parts:
        return True
    return other.is_file() and abs(place.stat().st_size - other.stat().st_size) < 200
