"""A folder is the old one or the new one, whatever kills the process, and the user's files stay."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from cimsim import folders
from cimsim.errors import InputError
from cimsim.files import replacing
from tests.thorough import some

# every event of the file system that CPython audits, and the exchange of two folders
EVENTS = {
    "open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink",
    "os.truncate", "shutil.rmtree", "cimsim.exchange",
}  # fmt: skip
USERS = {"mine.txt": "mine", "sub/x": "x", "ln": "mine"}


def content(tag):
    names = ("result.json", "layers.csv", "plots/a.png", "frames/chip/00.png", f"only_{tag}")
    return {name: f"{tag} {name}" for name in names}


def write(target, tag):
    with folders.new_folder(target) as made:
        for name, text in content(tag).items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_text(text)


def in_child(work, stop, home, cwd=None):
    """Run ``work`` in a fork that is killed before its ``stop``-th step; return its status."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    done, steps = 1, 0
    try:
        if cwd is not None:
            os.chdir(cwd)

        def hook(event, arguments):
            nonlocal steps
            if event in EVENTS and (event != "open" or str(arguments[0]).startswith(str(home))):
                steps += 1
                if steps == stop:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        work()
        done = 0
    finally:
        os._exit(done)


def state(folder):
    """All files that are not cimsim's own book-keeping, with their content."""
    found = {}
    for place in folder.rglob("*"):
        name = str(place.relative_to(folder))
        if place.is_file() and name != folders.MANIFEST and ".cimsim-" not in name:
            found[name] = place.read_text()
    return found


def with_users_files(home):
    target = home / "o"
    write(target, "old")
    (target / "mine.txt").write_text("mine")
    (target / "sub").mkdir()
    (target / "sub" / "x").write_text("x")
    (target / "empty").mkdir()
    (target / "ln").symlink_to("mine.txt")
    return target


@pytest.mark.parametrize("every", some([1, 13], 13))
@pytest.mark.parametrize("way", ["exchange", "two renames", "in place"])
def test_killed_at_every_step_of_a_rerun(tmp_path, monkeypatch, way, every):
    if way == "two renames":
        monkeypatch.setattr(folders.ctypes, "CDLL", lambda *_, **__: object())
    inside = way == "in place"
    found, stop = [], 1 - every
    while True:
        stop += every
        home = tmp_path / str(stop)
        home.mkdir()
        target = with_users_files(home)
        where = Path() if inside else target
        status = in_child(lambda w=where: write(w, "new"), stop, home, target if inside else None)
        if inside:
            folders.recover(target)  # what the next run and `Result.load` do first
        if way == "two renames" and not target.exists():
            folders.collect(home)  # between the two: the old one waits under another name
        now = state(target)
        assert now in (content("old") | USERS, content("new") | USERS), (way, stop)
        assert (target / "empty").is_dir()
        found.append(now["result.json"])
        # the next run goes through and leaves nothing behind
        assert in_child(lambda t=target: write(t, "third"), 10**9, home) == 0
        assert state(target) == content("third") | USERS, (way, stop)
        assert [place.name for place in home.rglob(".*")] == [], (way, stop)
        assert [place.name for place in home.iterdir()] == ["o"], (way, stop)
        if not os.WIFSIGNALED(status):
            break
    assert stop > 40
    assert found[0].startswith("old")
    assert found[-1].startswith("new")


def test_the_folder_that_one_stands_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for tag in ("first", "second"):
        write(Path(), tag)
        assert state(Path()) == content(tag)
        assert Path("result.json").is_file()  # the shell still stands in a folder that exists
    (tmp_path / "frames" / "mine").write_text("m")
    monkeypatch.chdir(tmp_path / "frames")
    write(Path(".."), "third")
    assert state(tmp_path) == content("third") | {"frames/mine": "m"}


def test_links_are_followed_and_stay(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for tag in ("first", "second"):
        write(tmp_path / "link", tag)
        assert (tmp_path / "link").is_symlink()
        assert state(tmp_path / "real") == content(tag)


def test_what_is_not_cimsims_is_refused(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "note.txt").write_text("mine")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "result.json").write_text("{}")
    write(tmp_path / "edited", "a")
    (tmp_path / "edited" / "layers.csv").write_text("my own columns")
    (tmp_path / "forged").mkdir()
    (tmp_path / "forged" / folders.MANIFEST).write_text(
        '{"format": "cimsim folder", "files": {"../other/note.txt": "0"}}'
    )
    for name, part in (
        ("other", "other files and no earlier run"),
        ("other/note.txt", "is a file"),
        ("other/note.txt/run", "no write access"),
        ("old", "a run of an older version"),
        ("edited", "layers.csv was changed since cimsim wrote it"),
        ("forged", "no earlier run"),
        ("a\0b", "cannot use"),
    ):
        with pytest.raises(InputError, match=part):
            write(tmp_path / name, "b")
    assert (tmp_path / "edited" / "layers.csv").read_text() == "my own columns"
    assert (tmp_path / "other" / "note.txt").read_text() == "mine"


def test_beside_other_files(tmp_path):
    (tmp_path / "note.txt").write_text("mine")

    def write_beside(*names):
        with folders.new_folder(tmp_path, beside=True) as made:
            for name in names:
                (made / name).write_text(f"made {name}")

    with pytest.raises(InputError, match=r"note\.txt' stands there"):
        write_beside("a", "note.txt")
    write_beside("a", "b")
    assert state(tmp_path) == {"a": "made a", "b": "made b", "note.txt": "mine"}
    write_beside("c")
    assert state(tmp_path) == {"c": "made c", "note.txt": "mine"}


def test_an_error_inside_leaves_the_old_one_and_nothing_else(tmp_path):
    target = with_users_files(tmp_path)

    def fail():
        with folders.new_folder(target) as made:
            (made / "half").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert state(target) == content("old") | USERS
    assert [place.name for place in tmp_path.iterdir()] == ["o"]


def test_two_runs_of_one_second_and_a_race_take_two_names(tmp_path):
    with folders.new_folder(tmp_path / "r", unique=True) as first:
        with folders.new_folder(tmp_path / "r", unique=True) as second:
            (second / "who").write_text("second")
        (first / "who").write_text("first")
    assert folders.placed(second) == tmp_path / "r"
    assert folders.placed(first) == tmp_path / "r-2"
    assert (tmp_path / "r-2" / "who").read_text() == "first"


@pytest.mark.parametrize("where", ["beside", "inside", "both"])
def test_runs_into_one_folder_at_the_same_time(tmp_path, where):
    """Four at once through links and from inside: one of them whole, the user's files, no more."""
    home = tmp_path / "home"
    home.mkdir()
    target = with_users_files(home)
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "home2").symlink_to(home)
    names = [target, tmp_path / "link", tmp_path / "home2" / "o", home / "." / "o"]
    stand = {"beside": (), "inside": range(4), "both": (0, 2)}[where]

    def begun(number, turn):
        """A fork that has begun its folder; a folder that a run stands in keeps its name."""
        ready, go = os.pipe()
        if not (pid := os.fork()):
            status = 1
            try:
                os.chdir(target if number in stand else tmp_path)
                with folders.new_folder(Path() if number in stand else names[number]) as made:
                    os.write(go, b"1")
                    for name, text in content(f"{turn}-{number}").items():
                        (made / name).parent.mkdir(parents=True, exist_ok=True)
                        (made / name).write_text(text)
                status = 0
            finally:
                os._exit(status)
        os.close(go)
        if number in stand:
            os.read(ready, 1)
        os.close(ready)
        return pid

    for turn in range(5):
        pids = [begun(number, turn) for number in sorted(range(4), key=lambda n: n not in stand)]
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 4
        now = state(target)
        tag = now["result.json"].split()[0]
        assert now == content(tag) | USERS
        assert tag.startswith(f"{turn}-")
        assert [place.name for place in home.rglob(".*")] == []
        assert [place.name for place in home.iterdir()] == ["o"]


def test_a_lock_does_not_outlive_the_run_in_a_forked_process(tmp_path):
    with folders.new_folder(tmp_path / "o") as made:
        (made / "x").write_text("first")
        if not (pid := os.fork()):
            time.sleep(60)
            os._exit(0)
    try:
        done = in_child(lambda: write(tmp_path / "o", "second"), 10**9, tmp_path)
        assert done == 0  # it does not wait for the other one's end
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_live_process_keeps_its_temporary_folder(tmp_path):
    with folders.new_folder(tmp_path / "a") as made:
        write(tmp_path / "b", "other")
        assert made.is_dir()
    assert sorted(place.name for place in tmp_path.iterdir()) == ["a", "b"]


def test_changes_are_found(tmp_path):
    write(tmp_path / "o", "a")
    assert folders.changes(tmp_path / "o") == ([], [])
    (tmp_path / "o" / "layers.csv").write_text("x")
    (tmp_path / "o" / "plots" / "a.png").unlink()
    assert folders.changes(tmp_path / "o") == (["plots/a.png"], ["layers.csv"])


def test_a_file_that_a_dead_process_left_is_collected(tmp_path):
    def die():
        with replacing(tmp_path / "t.json") as scratch:
            scratch.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)

    in_child(die, 10**9, tmp_path)
    assert len([*tmp_path.iterdir()]) == 1
    ready, go = os.pipe()
    if not (live := os.fork()):
        with replacing(tmp_path / "t.json") as scratch:
            scratch.write_text("slow")
            os.write(go, b"1")
            time.sleep(60)
    os.read(ready, 1)
    with replacing(tmp_path / "t.json") as scratch:
        scratch.write_text("whole")
    assert len([*tmp_path.iterdir()]) == 2  # the live one's is not touched
    os.kill(live, signal.SIGKILL)
    os.waitpid(live, 0)
    with replacing(tmp_path / "t.json") as scratch:
        scratch.write_text("again")
    assert [place.read_text() for place in tmp_path.iterdir()] == ["again"]
