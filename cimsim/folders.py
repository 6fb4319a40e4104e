"""Folders that are replaced whole, and in which nothing of the user's is ever touched.

A new folder is written under a temporary name beside its place, with a manifest: the SHA-256 of
every file. Only when it is complete it takes the place of an earlier one, in one step where the
system has one (Linux: ``renameat2``, ``RENAME_EXCHANGE``). Of the earlier one, files go that its
manifest names and that are unchanged; everything else is the user's and moves along, as hard links
first, so that each step leaves every file of the user's in its place. A folder that cannot change
places, as one stands in it or it is a mount point, is brought up to date file by file from a
complete copy inside; a run that dies there is finished by the next one (`recover`).

Runs that write into one folder at the same time do so one after the other: what looks at names and
changes them holds a lock on the folder above and on the folder. It is never held while a run
computes or writes its files.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cimsim.errors import InputError

MANIFEST = "manifest.json"
FORMAT = "cimsim folder"
_UNFINISHED = ".cimsim-unfinished"  # stands in a folder that is still being written
_MARK = ".cimsim-new-"
_COMMIT = ".cimsim-commit"  # complete, inside a folder that is brought up to date in place
_ASIDE = "-old"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def check_target(folder: str | Path, proof: str = "result.json", *, beside: bool = False) -> Path:
    """Refuse a place where a folder could not be written without touching what is the user's.

    Parameters
    ----------
    folder : str or Path
        Links are followed.
    proof : str
        A file that says that the folder is one of cimsim's.
    beside : bool
        Other files may stand there; none of them is replaced.

    Raises
    ------
    InputError
        The path is a file, a folder with other content, or one whose own files were edited, or
        nothing can be written there.
    """
    given, folder = folder, Path(folder)
    try:
        folder = folder.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"--out: cannot use '{given}': {error}") from None
    above = next(place for place in (folder.parent, *folder.parents) if _exists(place))
    inside = folder.is_dir() and _must_stay(folder)
    if not inside and (not above.is_dir() or not os.access(above, os.W_OK | os.X_OK)):
        raise InputError(f"--out: cannot write '{given}': no write access to '{above}'")
    if _exists(folder) and not folder.is_dir():
        raise InputError(f"--out: '{given}' is a file; give a folder that does not exist yet")
    if not folder.is_dir():
        return folder
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"--out: cannot write '{given}': no write access to it")
    with _locked(folder.parent, folder):
        return _checked(given, folder, proof, beside=beside)


def _checked(given: str | Path, folder: Path, proof: str, *, beside: bool) -> Path:
    """Refuse a folder whose files are not cimsim's, or were edited."""
    _recover(folder)
    if all(place.name.startswith(_MARK) for place in folder.iterdir()):
        return folder
    names = manifest(folder)
    if names is None and beside:
        return folder
    if names is None:
        why = "no manifest: a run of an older version" if (folder / proof).is_file() else (
            "other files and no earlier run"
        )  # fmt: skip
        raise InputError(f"--out: '{given}' holds {why}; give a new folder")
    edited = [name for name in names if _is_there(folder / name) and not _same(folder, name, names)]
    if edited:
        raise InputError(
            f"--out: '{given}': {edited[0]} was changed since cimsim wrote it; move it elsewhere, "
            "or give a new folder"
        )
    return folder


@contextmanager
def new_folder(folder: str | Path, *, unique: bool = False, beside: bool = False) -> Iterator[Path]:
    """Yield an empty folder to write to; it takes the place of ``folder`` when the block is done.

    A kill or an error inside leaves what was there before; what it leaves under temporary names is
    collected by the next call.

    Parameters
    ----------
    folder : str or Path
    unique : bool
        Never replace anything: if the name is taken, ``-2`` is added, and so on.
    beside : bool
        See `check_target`.

    Yields
    ------
    Path
        Where to write. Its attribute is of no use afterwards: see `placed`.

    Raises
    ------
    InputError
        As `check_target`, or the disk does not take it.
    """
    target = Path(folder).resolve() if unique else check_target(folder, beside=beside)
    made, lock = None, -1
    try:
        in_place = not unique and target.is_dir() and _must_stay(target)
        home = target if in_place else target.parent
        home.mkdir(parents=True, exist_ok=True)
        with _locked(target.parent, target):
            _collect(home)
            name = f"{_MARK}{os.getpid()}-{os.urandom(4).hex()}"
            made = home / (name if in_place else f".{target.name}{name}")
            made.mkdir()
            lock = os.open(made, os.O_RDONLY)
            with suppress(OSError):  # some network file systems have no locks
                fcntl.flock(lock, fcntl.LOCK_EX)  # tells other processes that this one lives
        (made / _UNFINISHED).touch()
        yield made
        _seal(made)
        with _locked(target.parent, target):
            if beside and target.is_dir() and manifest(target) is None:
                _check_free(made, target)
            if not unique:
                _recover(target)
            if in_place or (not unique and _is_written_in_place(target)):
                _into(made, target)
            else:
                _swap(made, target, unique=unique)
            _discard(made, target)
    except OSError as error:
        raise InputError(f"--out: cannot write '{folder}': {error}") from None
    finally:
        if lock >= 0:
            _release(lock)
        if made is not None and made.is_dir():
            with _locked(target.parent, target):
                _discard(made, target)


@contextmanager
def _locked(*places: Path) -> Iterator[None]:
    """Hold a lock on folders, the upper one first; on those that are there and have locks."""
    held: list[int] = []
    try:
        for place in places:
            with suppress(OSError):
                held.append(os.open(place, os.O_RDONLY | os.O_DIRECTORY))
                fcntl.flock(held[-1], fcntl.LOCK_EX)
        yield
    finally:
        for one in held:
            _release(one)


def _release(lock: int) -> None:
    """Give a lock up for forked processes, too, which have it open."""
    with suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)


def _is_written_in_place(target: Path) -> bool:
    """Whether a process that stands in a folder is writing into it: it cannot change places."""
    with suppress(OSError):
        return any(
            inner.name.startswith(_MARK) and inner.is_dir() and _is_live(inner)
            for inner in target.iterdir()
        )
    return False


def manifest(folder: Path) -> dict[str, str] | None:
    """Return file -> SHA-256 of a folder that `new_folder` wrote, else None."""
    from cimsim.boundary import json_text
    from cimsim.boundary.limits import RESULT
    from cimsim.boundary.text import read_text

    try:
        held = json_text.load(read_text(folder / MANIFEST, RESULT), RESULT)
        if not isinstance(held, dict):
            return None
        names = held["files"]
        if held["format"] != FORMAT or not isinstance(names, dict):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    inside = all(
        not Path(name).is_absolute() and ".." not in Path(name).parts and isinstance(value, str)
        for name, value in names.items()
    )
    return dict(names) if inside else None


def changes(folder: Path) -> tuple[list[str], list[str]]:
    """Return which files of a folder's manifest are missing, and which are changed.

    Raises
    ------
    InputError
        When there is no manifest.
    """
    names = manifest(folder)
    if names is None:
        raise InputError(f"{folder}: no {MANIFEST} of cimsim in it")
    missing = [name for name in names if not (folder / name).is_file()]
    return missing, [n for n in names if n not in missing and not _same(folder, n, names)]


def recover(folder: Path) -> None:
    """Finish what a run that died left half done in place, if it did; else do nothing."""
    with suppress(OSError):
        names = [place.name for place in folder.iterdir()]
        if _COMMIT in names or any(name.startswith(_MARK) for name in names):
            with _locked(folder.parent, folder):
                _recover(folder)


def _recover(folder: Path) -> None:
    with suppress(OSError):
        if not folder.is_dir():
            return
        if (folder / _COMMIT).is_dir():
            _move_in(folder / _COMMIT, folder)
        _collect(folder)


def collect(home: Path) -> None:
    """Remove temporary folders in ``home`` whose process is gone; files of the user's stay."""
    with _locked(home):
        _collect(home)


def _collect(home: Path) -> None:
    with suppress(OSError):
        # an earlier folder that was put aside comes back before the one that was to replace it
        for place in sorted(home.iterdir(), key=lambda p: not p.name.endswith(_ASIDE)):
            name, mark, rest = place.name.rpartition(_MARK)
            if not mark or not rest or place.is_symlink() or not place.is_dir():
                continue
            if _is_live(place):
                continue
            target = home / name.removeprefix(".") if name else home
            whole = not _is_there(place / _UNFINISHED) and manifest(place) is not None
            if whole and not _is_there(target):
                place.rename(target)  # it was complete and lacked its name alone
            else:
                _discard(place, target)


def _is_live(place: Path) -> bool:
    """Whether the process that writes a temporary folder still runs."""
    try:
        lock = os.open(place, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def _check_free(made: Path, target: Path) -> None:
    """Refuse to take the place of files that are not cimsim's."""
    taken = [name for name in manifest(made) or {} if _is_there(target / name)]
    if taken:
        raise InputError(
            f"--out: '{target / taken[0]}' stands there and is not known to be cimsim's; move it "
            "elsewhere, or give a new folder"
        )


def _seal(made: Path) -> None:
    """Write the manifest; from here on the folder is complete."""
    names = {
        str(place.relative_to(made)): _digest(place)
        for place in sorted(made.rglob("*"))
        if place.is_file() and place.name != _UNFINISHED
    }
    text = json.dumps({"format": FORMAT, "files": names}, indent=1)
    (made / MANIFEST).write_text(text, encoding="utf-8")


def _swap(made: Path, target: Path, *, unique: bool) -> None:
    """Give a complete folder its name."""
    number, place = 1, target
    while True:
        if not _is_there(place):
            with suppress(FileNotFoundError):
                (made / _UNFINISHED).unlink()
            try:
                os.rename(made, place)  # noqa: PTH104 - a folder only replaces an empty one
            except OSError:
                if not _is_there(place):
                    raise
            else:
                _remember(made, place)
                return
        if not unique:
            break
        number += 1
        place = target.with_name(f"{target.name}-{number}")
    _take_along(target, made)
    (made / _UNFINISHED).unlink(missing_ok=True)
    _exchange(made, target)
    _remember(made, target)


_PLACED: dict[str, Path] = {}


def _remember(made: Path, place: Path) -> None:
    _PLACED[str(made)] = place


def placed(made: Path) -> Path:
    """Return where the folder that `new_folder` yielded stands now."""
    return _PLACED.pop(str(made), made)


def _into(made: Path, target: Path) -> None:
    """Bring a folder up to date that cannot change places."""
    (made / _UNFINISHED).unlink()
    commit = target / _COMMIT
    os.rename(made, commit)  # noqa: PTH104 - the one step that decides
    _move_in(commit, target)
    _remember(made, target)


def _move_in(commit: Path, target: Path) -> None:
    """Move all files of a complete folder to their places and the earlier ones away; repeatable."""
    new, old = manifest(commit), manifest(target) or {}
    if new is not None:
        for name in sorted(old.keys() - new.keys()):
            if _same(target, name, old):
                _remove_file(target, name)
        for name in sorted(new):
            source, place = commit / name, target / name
            if _is_there(source):
                if _is_there(place) and not (_same(target, name, old) or _same(target, name, new)):
                    _out_of_the_way(place)
                place.parent.mkdir(parents=True, exist_ok=True)
                source.replace(place)
        (commit / MANIFEST).replace(target / MANIFEST)
    # after the manifest nothing of worth is left inside
    for place in sorted(commit.rglob("*"), reverse=True):
        if place.is_dir() and not place.is_symlink():
            with suppress(OSError):
                place.rmdir()
    with suppress(OSError):
        commit.rmdir()


def _out_of_the_way(place: Path) -> None:
    """Rename a file of the user's that stands where a new one comes."""
    for number in range(1, 1000):
        other = place.with_name(f"{place.name}.yours-{number}")
        if not _is_there(other):
            place.rename(other)
            return


def _take_along(old: Path, made: Path) -> None:
    """Link everything in ``old`` that is not cimsim's own, unchanged, into ``made``."""
    names = manifest(old) or {}
    for place in sorted(old.rglob("*")):
        name = str(place.relative_to(old))
        if name == MANIFEST and names:
            continue
        here = made / name
        if place.is_dir() and not place.is_symlink():
            if not any(place.iterdir()):  # an empty folder of the user's
                here.mkdir(parents=True, exist_ok=True)
        elif name not in names or not _same(old, name, names):
            here.parent.mkdir(parents=True, exist_ok=True)
            if _is_there(here):
                _out_of_the_way_into(place, here)
            else:
                _link(place, here)


def _out_of_the_way_into(place: Path, here: Path) -> None:
    for number in range(1, 1000):
        other = here.with_name(f"{here.name}.yours-{number}")
        if not _is_there(other):
            _link(place, other)
            return


def _link(source: Path, place: Path) -> None:
    """Make a second name of the same file; a copy where the file system has no links."""
    try:
        os.link(source, place, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, place, follow_symlinks=False)


def _exchange(made: Path, target: Path) -> None:
    """Let two folders change places: at once, or by two renames where the system cannot."""
    sys.audit("cimsim.exchange", str(made), str(target))
    if sys.platform == "linux":
        rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        if rename is not None:
            ends = os.fsencode(made), os.fsencode(target)
            if not rename(_AT_FDCWD, ends[0], _AT_FDCWD, ends[1], _RENAME_EXCHANGE):
                return
    aside = made.with_name(f"{made.name}{_ASIDE}")
    target.rename(aside)
    made.rename(target)
    aside.rename(made)


def _discard(place: Path, target: Path) -> None:
    """Remove a temporary folder, except for what is the user's and stands nowhere else."""
    with suppress(OSError):
        if not place.is_dir():
            return
        if _is_there(place / _UNFINISHED):
            shutil.rmtree(place)  # links of the user's files at most
            return
        names = manifest(place) or {}
        for inner in sorted(place.rglob("*"), reverse=True):
            name = str(inner.relative_to(place))
            if inner.is_dir() and not inner.is_symlink():
                with suppress(OSError):
                    inner.rmdir()
            elif name != MANIFEST and (_twice(inner, target, name) or _same(place, name, names)):
                inner.unlink()
            elif name != MANIFEST and target.is_dir() and not _is_there(target / name):
                # it came while the folders changed places
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                inner.rename(target / name)
        if [inner.name for inner in place.iterdir()] == [MANIFEST]:
            (place / MANIFEST).unlink()
        with suppress(OSError):
            place.rmdir()


def _twice(place: Path, target: Path, name: str) -> bool:
    """Whether a file has its other name, or its like, in the folder that took over."""
    other = target / name
    try:
        if place.is_symlink():
            return other.is_symlink() and place.readlink() == other.readlink()
        return other.is_file() and (place.samefile(other) or _digest(place) == _digest(other))
    except OSError:
        return False


def _remove_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    for above in (folder / name).parents:
        if above == folder:
            break
        try:
            above.rmdir()
        except OSError:
            break


def _same(folder: Path, name: str, names: dict[str, str]) -> bool:
    """Whether a file is as the manifest has it."""
    place = folder / name
    try:
        return name in names and not place.is_symlink() and _digest(place) == names[name]
    except OSError:
        return False


def _digest(place: Path) -> str:
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _must_stay(folder: Path) -> bool:
    """Whether a folder cannot be renamed: one stands in it, it is a mount, its parent is closed."""
    here = Path.cwd().resolve()
    return (
        folder == here
        or folder in here.parents
        or os.path.ismount(folder)
        or not os.access(folder.parent, os.W_OK | os.X_OK)
    )


def _is_there(place: Path) -> bool:
    return os.path.lexists(place)


def _exists(place: Path) -> bool:
    try:
        return place.exists()
    except OSError:
        return False
