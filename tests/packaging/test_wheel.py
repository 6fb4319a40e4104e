"""What an installed cimsim holds, checked from a copy of the tree in a fresh process elsewhere."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
# what a checkout has beside the package is no part of it
NOTHING_ELSE = """
import importlib.util, pkgutil
for name in ("setup", "tests", "benchmarks", "cimsim", "docs", "examples"):
    assert importlib.util.find_spec(f"cimsim.{name}") is None, name
assert "setup" not in [one.name for one in pkgutil.iter_modules(cimsim.__path__)]
"""
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


@pytest.fixture(scope="module")
def sdist(wheel):
    """Return the source archive of the same tree."""
    pytest.importorskip("build")
    tree = wheel.parents[1]
    subprocess.run(
        [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir",
         str(tree / "dist"), str(tree)],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    return next((tree / "dist").glob("*.tar.gz"))


@pytest.mark.slow
def test_a_wheel_of_the_source_archive_is_that_of_the_tree(wheel, sdist, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w",
         str(tmp_path / "dist"), str(next(tmp_path.glob("cimsim-*")))],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    again = next((tmp_path / "dist").glob("*.whl"))
    names = [set(zipfile.ZipFile(one).namelist()) for one in (wheel, again)]
    assert names[0] == names[1]


@pytest.mark.slow
def test_metadata_names_the_pythons_and_the_types(wheel):
    archive = zipfile.ZipFile(wheel)
    name = next(name for name in archive.namelist() if name.endswith("METADATA"))
    text = archive.read(name).decode()
    for version in ("3.11", "3.12", "3.13"):
        assert f"Classifier: Programming Language :: Python :: {version}\n" in text
    assert "Classifier: Typing :: Typed\n" in text
    extras = ("docs", "notebook", "onnx", "search", "cluster")
    assert all(f"Provides-Extra: {extra}\n" in text for extra in extras)
    needs = [line for line in text.splitlines() if line.startswith("Requires-Dist")]
    plain = [line for line in needs if "extra ==" not in line]
    light = ("mkdocs", "pandas", "optuna", "distributed", "onnx", "ipykernel")
    assert not [line for line in plain if any(name in line for name in light)]


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


@pytest.mark.slow
def test_installed_package_works_away_from_the_checkout(wheel, tmp_path):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        "import cimsim, sys, cimsim.chip.load as hw;"
        "assert cimsim.__file__.startswith(sys.argv[1]);"
        "print(*[hw.load_hw(name).name for name in hw.shipped()]);"
        "import cimsim.frontends; print(cimsim.frontends.__file__);"
        "\n" + NOTHING_ELSE
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(site)], cwd=tmp_path, capture_output=True, text=True,
        check=False, env={"PYTHONPATH": str(site), "PATH": ""}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    chips, frontends = done.stdout.splitlines()
    assert "eflash40nm" in chips
    assert frontends.startswith(str(site))


def test_a_checkout_offers_the_package_and_nothing_beside_it(tmp_path):
    code = (
        "import cimsim, cimsim.chip.load as hw, cimsim.frontends, cimsim.frontends.aten;"
        "assert 'eflash40nm' in hw.shipped();"
        "assert cimsim.frontends.aten.__name__ == 'cimsim.frontends.aten'\n" + NOTHING_ELSE
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": ""}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_dockerfile_copies_what_the_package_is_made_of():
    copied = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in copied if line.startswith("!")} == set(SHIPPED)


def test_issue_forms_are_valid():
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert len(forms) == 4
    for path in forms:
        form = yaml.safe_load(path.read_text())
        if path.name == "config.yml":
            continue
        assert {"name", "description", "body"} <= set(form)
        ids = [part["id"] for part in form["body"]]
        assert len(set(ids)) == len(ids)
        assert {part["type"] for part in form["body"]} <= {"textarea", "input", "dropdown"}
        assert all("label" in part["attributes"] for part in form["body"])
