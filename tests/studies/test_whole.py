"""A run that is served from the store is the run: same files, same screen, and never another's."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cimsim.session.simulation
from cimsim.chip.load import load_hw
from cimsim.cli.main import app
from cimsim.session.result import Result
from cimsim.studies import whole
from cimsim.studies.points import Network
from cimsim.studies.whole import Asked

SMALL = ["run", "--size", "64x48", "--frames", "1", "--quiet"]


@pytest.fixture
def simulated(tmp_path, monkeypatch):
    """Give commands a store of their own, and return a count of simulations."""
    monkeypatch.setenv("CIMSIM_CACHE", str(tmp_path / "store"))
    counted, simulate = [], cimsim.session.simulation.simulate

    def counting(*arguments, **options):
        counted.append(options)
        return simulate(*arguments, **options)

    monkeypatch.setattr(cimsim, "simulate", counting, raising=False)
    return counted


def run(folder, *more):
    done = CliRunner(env={"COLUMNS": "120"}).invoke(app, [*SMALL, "--out", str(folder), *more])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output.replace(str(folder), "FOLDER")


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file()}  # fmt: skip


def test_a_repeated_run_has_the_bytes_of_a_fresh_one(simulated, tmp_path):
    screens = [run(tmp_path / name, *more) for name, more in (
        ("first", []), ("kept", []), ("fresh", ["--no-cache"]),
    )]  # fmt: skip
    assert len(simulated) == 2  # the one in the middle was served
    first, kept, fresh = (content(tmp_path / name) for name in ("first", "kept", "fresh"))
    assert kept == first == fresh
    assert screens[0] == screens[1] == screens[2]
    result = Result.load(tmp_path / "kept")
    assert result.hash == Result.load(tmp_path / "fresh").hash
    assert "chip" in result.outputs


@pytest.mark.slow
def test_a_run_on_a_kept_network_has_the_bytes_of_a_fresh_one(simulated, tmp_path):
    run(tmp_path / "other", "--seed", "1")
    run(tmp_path / "kept", "--seed", "2")
    run(tmp_path / "fresh", "--seed", "2", "--no-cache")
    assert len(simulated) == 3
    assert content(tmp_path / "kept") == content(tmp_path / "fresh")


@pytest.mark.parametrize("other", [
    ["--seed", "1"], ["--sigma", "16"], ["--start", "1"], ["--set", "adc.bits=7"],
    ["--set", "adc.energy=3 pJ"], ["--fps", "5"], ["--seeds", "2"], ["--weights", "cimnet_s8"],
    ["--schedule", "sequential"], ["--allocation", "replicated"], ["--mapping", "sdk"],
    ["--stride", "2"], ["--hw", "sonos40nm"], ["--time", "1d"],
])  # fmt: skip
def test_what_changes_a_result_changes_the_key(other, monkeypatch, tmp_path):
    monkeypatch.setenv("CIMSIM_CACHE", str(tmp_path))
    keys = []

    def looked_up(self, folder, *, unique):
        keys.append(self.key)
        raise SystemExit(7)

    monkeypatch.setattr(whole.Whole, "written", looked_up)
    for more in ([], other, []):
        done = CliRunner().invoke(app, [*SMALL, "--out", str(tmp_path / "o"), *more])
        assert done.exit_code == 7, (done.output, done.exception)
    assert keys[0] == keys[2] != keys[1]


def test_the_key_follows_files_by_their_content(tmp_path):
    chip = load_hw("eflash40nm")
    weights, clip = tmp_path / "w.safetensors", tmp_path / "clip.mp4"

    def key():
        return Asked(Network(weights=str(weights)), chip, "eflash40nm", "im2col", "in_order", 0,
                     [clip]).key({"name": "run"})  # fmt: skip

    weights.write_bytes(b"a")
    clip.write_bytes(b"a")
    seen = [key()]
    weights.write_bytes(b"bb")
    seen.append(key())
    clip.write_bytes(b"bb")
    seen.append(key())
    (tmp_path / "w.json").write_text("{}")  # the weights' card
    seen.append(key())
    assert len(set(seen)) == 4
    assert key() == seen[-1]


def test_code_of_the_users_is_never_served():
    chip = load_hw("eflash40nm")
    for model, mapping, allocation in (
        ("mynets:Net", "im2col", "in_order"), ("net.onnx", "im2col", "in_order"),
        ("cimnet", "mypkg.maps:Mine", "in_order"), ("cimnet", "im2col", "mypkg.maps:Mine"),
    ):  # fmt: skip
        assert not Asked(Network(model), chip, "eflash40nm", mapping, allocation, 0).is_known
    assert Asked(Network(), chip, "eflash40nm", "im2col", "in_order", 0).is_known


@pytest.mark.slow
def test_a_damaged_entry_costs_a_run(simulated, tmp_path):
    run(tmp_path / "first")
    (arrays,) = [path for path in (tmp_path / "store").rglob("*.safetensors")
                 if b"result.json" in path.read_bytes()]  # fmt: skip
    held = bytearray(arrays.read_bytes())
    held[-1] ^= 1
    arrays.write_bytes(held)
    run(tmp_path / "second")
    assert len(simulated) == 2
    assert content(tmp_path / "first") == content(tmp_path / "second")


@pytest.mark.slow
def test_a_run_that_was_broken_off_is_not_kept(simulated, tmp_path, monkeypatch):
    from cimsim.session.functional import FunctionalRun

    keep = FunctionalRun._keep

    def interrupted(self, index, *arguments):
        if index == 1:
            raise KeyboardInterrupt
        keep(self, index, *arguments)

    with monkeypatch.context() as broken:
        broken.setattr(FunctionalRun, "_keep", interrupted)
        run(tmp_path / "first", "--frames", "2")
    assert Result.load(tmp_path / "first").frame[0] == 1
    run(tmp_path / "second", "--frames", "2")
    assert Result.load(tmp_path / "second").frame[0] == 2


@pytest.mark.slow
def test_files_that_stand_elsewhere_are_made_each_time(simulated, tmp_path):
    for name in ("a", "b"):
        run(tmp_path / name, "--picture", str(tmp_path / f"{name}.png"))
        assert (tmp_path / f"{name}.png").is_file()
    assert len(simulated) == 2


@pytest.mark.slow
def test_a_verified_run_runs_again(simulated, tmp_path, monkeypatch):
    run(tmp_path / "first")
    asked = []

    def called(line, **_):
        asked.extend(line)
        return subprocess.CompletedProcess(line, 1, "", "enough")

    monkeypatch.setattr(subprocess, "run", called)
    CliRunner().invoke(app, ["verify", str(tmp_path / "first")])
    assert "--no-cache" in asked


def test_a_served_run_imports_no_torch(simulated, tmp_path):
    run(tmp_path / "first")
    code = (
        "import sys; from cimsim.cli.main import app\n"
        f"try: app({[*SMALL, '--out', str(tmp_path / 'second')]!r})\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'numba', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True, cwd=Path(__file__).parents[2])  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"
    assert content(tmp_path / "first") == content(tmp_path / "second")
