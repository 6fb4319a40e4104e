"""What an installed cimsim holds, checked from a copy of the tree in a fresh process elsewhere."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("cimsim", "frontends", "hwconfigs", "setup.py", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    tree = tmp_path_factory.mktemp("tree")
    for name in SHIPPED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree / name)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w",
         str(tree / "dist"), str(tree)],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    return next((tree / "dist").glob("*.whl"))


def test_wheel_has_one_top_level_folder_and_all_its_data(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"cimsim"}
    for folder, pattern in (
        ("hwconfigs", "*.yaml"), ("cimsim/zoo/weights", "*.*"), ("cimsim/tasks", "digits.*"),
    ):  # fmt: skip
        inside = f"cimsim/{folder}" if folder == "hwconfigs" else folder
        for path in (ROOT / folder).glob(pattern):
            assert f"{inside}/{path.name}" in names
    assert "cimsim/frontends/torch_export.py" in names
    assert "cimsim/frontends/onnx/operators/maps.py" in names
    assert "cimsim/py.typed" in names


def test_installed_package_works_away_from_the_checkout(wheel, tmp_path):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        "import cimsim, sys, cimsim.chip.load as hw;"
        "assert cimsim.__file__.startswith(sys.argv[1]);"
        "print(*[hw.load_hw(name).name for name in hw.shipped()]);"
        "import cimsim.frontends; print(cimsim.frontends.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(site)], cwd=tmp_path, capture_output=True, text=True,
        check=False, env={"PYTHONPATH": str(site), "PATH": ""}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    chips, frontends = done.stdout.splitlines()
    assert "eflash40nm" in chips
    assert frontends.startswith(str(site))
