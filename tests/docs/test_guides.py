"""Python and YAML of the guides: run and loaded as printed, on small things of the reader's own.

A guide shows what is special and leaves network, chip and clip to its reader: ``GIVEN`` lays them
there, small. Its commands take data or hours; `tests.docs.test_commands` holds them to the options.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import cimsim
from cimsim.chip.cells import device_of
from cimsim.chip.load import shipped
from cimsim.errors import CimsimError
from cimsim.video.embedded import embedded_clip
from tests.docs.pages import DOCS, ROOT, blocks, inside, run_block
from tests.docs.stage import EDGE, write_frames
from tests.docs.test_pages import LEARN

RUN_ELSEWHERE = {"README.md"}  # tests/test_docs.py
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")))
GUIDES = [path for path in PAGES if path.name not in LEARN]
SHELL = {"cimsim", "python", "pip", "make", "dask", "kill"}  # what commands of guides begin with


def denoiser() -> dict[str, Any]:
    """Return a network, a chip and a clip of one frame."""
    network = cimsim.load_network("cimnet", {"stride": 8})
    chip = cimsim.load_hw("eflash40nm")
    graph = cimsim.trace(network.module, network.example(EDGE, EDGE))
    clip = embedded_clip(frames=1)[:, :EDGE, :EDGE]
    return {"network": network, "chip": chip, "graph": graph, "clip": clip, "cimsim": cimsim}


def for_video() -> dict[str, Any]:
    """Lay two clips of 150 frames there, and return a mapping of their size."""
    clip = np.concatenate([embedded_clip(frames=10)[:, :EDGE, :EDGE]] * 15)
    noise = np.random.default_rng(0).normal(0, 15, clip.shape)
    write_frames(Path("day.mp4"), clip)
    write_frames(Path("night.mp4"), np.clip(clip + noise, 0, 255).astype(np.uint8))
    made = denoiser()
    return {"mapping": cimsim.map_graph(made["graph"], made["chip"])}


def for_training() -> dict[str, Any]:
    """Return a network, a batch and a step of a loop."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    x, y = torch.randn(16, 1, 8, 8), torch.randint(0, 5, (16,))
    return {"model": model, "x": x, "y": y, "loss": nn.CrossEntropyLoss(), "step": 7}


def for_files() -> dict[str, Any]:
    """Write net.onnx, and return what a loop with aihwkit-lightning has."""
    pytest.importorskip("onnx")
    pytest.importorskip("aihwkit_lightning")
    from tests.frontends.test_trainers import config, data
    from tests.onnxfiles.writer import write

    torch.manual_seed(0)
    pictures = nn.Sequential(
        nn.Conv2d(3, 4, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 10),
    ).eval()  # fmt: skip
    write(pictures, (torch.zeros(1, 3, 224, 224),), Path("net.onnx"))
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(128, 4)
    ).eval()
    x, y = data(116, 0)
    return {"net": net, "rpu_config": config(), "x": x, "y": y}


def for_studies() -> dict[str, Any]:
    """Return nothing: the page has all it needs, and a table for pandas in the end."""
    pytest.importorskip("pandas")
    return {}


GIVEN: dict[str, Callable[[], dict[str, Any]]] = {
    "ablation.md": denoiser,
    "onnx.md": for_files,
    "studies.md": for_studies,
    "training.md": for_training,
    "video.md": for_video,
}


def check_ablation(names: dict[str, Any]) -> None:
    assert len(names["found"].contributions) == 2


def check_onnx(names: dict[str, Any]) -> None:
    assert names["chip"].adc.bits == 8
    assert len(names["graph"].matrix_ops) == 2
    assert names["result"].energy.total_j > 0


def check_studies(names: dict[str, Any]) -> None:
    rows = names["outcome"].to_frame()
    assert len(rows) == 35
    assert not names["outcome"].errors


def check_training(names: dict[str, Any]) -> None:
    for value in names["model"].parameters():
        assert value.grad is not None
        assert bool(value.grad.any())


def check_video(names: dict[str, Any]) -> None:
    quality = names["result"].quality
    assert len(quality.chip_psnr) == 100
    assert quality.psnr_db > np.mean(quality.noisy_psnr)


CHECKS = {
    "ablation.md": check_ablation, "onnx.md": check_onnx, "studies.md": check_studies,
    "training.md": check_training, "video.md": check_video,
}  # fmt: skip
SLOW = {"studies.md", "video.md", "ablation.md"}


def slow(names):
    for name in sorted(names):
        yield pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [], id=name)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [*slow(GIVEN)])
def test_python_of_a_guide_runs_as_printed(name, tmp_path):
    with inside(tmp_path):
        names = {"__name__": "__main__", **GIVEN[name]()}
        for block in blocks(DOCS / name):
            if block.language == "python":
                assert not block.why_not
                run_block(block, tmp_path, names)
        CHECKS[name](names)


def test_no_python_of_a_guide_is_left_out():
    found = {path.name for path in GUIDES
             if any(block.language == "python" for block in blocks(path))}  # fmt: skip
    assert found == set(GIVEN) | RUN_ELSEWHERE


def test_what_has_no_language_is_commands():
    """Python without its label would be taken for commands, and would not run."""
    for path in GUIDES:
        for block in blocks(path):
            assert block.language in ("", "python", "yaml", "text"), block.place
            shown = "\n$ " in f"\n{block.text}"  # with what it prints
            if block.language == "" and not block.title and not shown:
                for command, _ in block.commands:
                    first = command.split("$ ")[-1].split()[0]
                    assert first in SHELL, f"{block.place}: {command}"


YAML = [pytest.param(block, id=block.place) for path in GUIDES for block in blocks(path)
        if block.language == "yaml"]  # fmt: skip


@pytest.mark.parametrize("block", YAML)
def test_yaml_of_a_guide_is_read_by_what_reads_it(block, tmp_path):
    data = yaml.safe_load(block.text)
    keys = set(data)
    if keys == {"jobqueue"}:
        job_of_slurm(block.text, tmp_path)
    elif "grids" in keys or "networks" in keys:
        (tmp_path / "study.yaml").write_text(block.text)
        study = cimsim.Study.read(tmp_path / "study.yaml")
        assert f"{study.plan.n_points} points" in (DOCS / block.page).read_text()
    else:
        sections(data, tmp_path)


def test_there_is_yaml():
    assert len(YAML) >= 6


def job_of_slurm(text: str, place: Path) -> None:
    """Every line of a jobqueue.yaml stands in the script of a job."""
    pytest.importorskip("dask_jobqueue")
    import dask

    from cimsim.studies import cluster

    (place / "jobqueue.yaml").write_text(text)
    with dask.config.set(dask.config.merge(dask.config.config,
                                           *dask.config.collect_yaml([str(place)]))):  # fmt: skip
        made = cluster.slurm(0)
        try:
            script = made.job_script()
        finally:
            made.close()
    asked = yaml.safe_load(text)["jobqueue"]["slurm"]
    assert f"#SBATCH -p {asked.pop('queue')}" in script
    assert f"#SBATCH -t {asked.pop('walltime')}" in script
    assert f"#SBATCH -A {asked.pop('account')}" in script
    assert f"#SBATCH --mem={asked.pop('memory').removesuffix('B')}" in script
    assert all(line in script for line in asked.pop("job-script-prologue"))
    assert not asked


def sections(data: dict[str, Any], place: Path) -> None:
    """Load sections of a chip inside of an RRAM chip: each line counts, none is unknown."""
    base = yaml.safe_load(shipped()["example_minimal"])
    base["device"] = {"kind": "rram"}

    def described(given: dict[str, Any]) -> dict[str, Any] | str:
        (place / "chip.yaml").write_text(yaml.safe_dump(merged(base, given)))
        try:
            chip = cimsim.load_hw(place / "chip.yaml")
            device_of(chip)  # reads its own parameters
        except CimsimError as error:
            return str(error)
        return chip.model_dump(exclude={"history"})

    whole = described(data)
    assert isinstance(whole, dict), whole
    for path in leaves(data):
        if path != ("device", "kind"):  # as it is in the chip around
            assert described(without(data, path)) != whole, path
        assert isinstance(described(without(data, path, "wrong")), str), path


def merged(below: Any, above: Any) -> Any:
    """Return ``above`` laid over ``below``, section by section."""
    if isinstance(below, dict) and isinstance(above, dict):
        both = {key: merged(below.get(key), value) for key, value in above.items()}
        return {**below, **both}
    return above


def leaves(data: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(data, dict):
        return [path]
    return [leaf for key, value in data.items() for leaf in leaves(value, (*path, key))]


def without(data: dict[str, Any], path: tuple[str, ...], instead: Any = None) -> dict[str, Any]:
    """Return a copy that lacks one leaf, or has something else there."""
    new = copy.deepcopy(data)
    inner = new
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    if instead is not None:
        inner[path[-1]] = instead
    return new
