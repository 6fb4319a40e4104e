"""What a user named with brackets is printed as it is: rich takes them for markup."""

import importlib.resources

import pytest

from tests.cli.command import in_process

NAME, FOLDER = "[bold]x[/nothing]", "out [/b] ä 芯"
SMALL = ("--size", "16x16", "--quiet")


@pytest.fixture
def chip(tmp_path):
    text = importlib.resources.files("cimsim.hwconfigs").joinpath("example_minimal.yaml")
    for letter in "cmtpda":
        (tmp_path / f"{letter}[").mkdir()
    path = tmp_path / "c[/b].yaml"
    lines = text.read_text(encoding="utf-8").splitlines()
    named = [f'name: "{NAME}"' if line.startswith("name:") else line for line in lines]
    path.write_text("\n".join(named), encoding="utf-8")
    return path


def shown(*arguments, cwd):
    done = in_process(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


@pytest.mark.parametrize("arguments", [
    ("time", *SMALL), ("map", "--size", "16x16", "--out", FOLDER, "--save", "m[/b].yaml"),
    ("hw", "show"), ("hw", "check"),
    ("run", *SMALL, "--frames", "1", "--out", FOLDER, "--trace", "t[/b].json.gz"),
    ("program", *SMALL, "--out", "p[/b].safetensors"),
    ("diagnose", *SMALL, "--frames", "1", "--out", "d[/b].json"),
    ("ablate", *SMALL, "--frames", "1", "--out", "a[/b].csv"),
    ("sweep", *SMALL, "--frames", "0", "--set", "adc.bits=6,7", "--workers", "1", "--out", FOLDER),
], ids=lambda found: found[0])  # fmt: skip
def test_names_of_chips_and_files(arguments, chip, tmp_path):
    option = () if arguments[0] == "hw" else ("--hw",)
    found = shown(*arguments, *option, chip, cwd=tmp_path)
    assert NAME in found or arguments[0] == "sweep"
    for name in (FOLDER, "m[/b].yaml", "t[/b].json.gz", "p[/b].safetensors", "d[/b].json",
                 "a[/b].csv"):  # fmt: skip
        assert name in found or name not in arguments


@pytest.mark.parametrize("arguments", [("time", *SMALL), ("map", "--size", "16x16", "--out", "m")],
                         ids=lambda found: found[0])  # fmt: skip
def test_overrides_are_told_whole(arguments, tmp_path):
    found = shown(*arguments, "--set", "leaves_out=[conversion]", cwd=tmp_path)
    assert "with leaves_out=[conversion]," in found


def test_errors_are_told_whole(tmp_path):
    done = in_process("time", "--hw", "no[/b][bold]such.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "no[/b][bold]such.yaml" in done.stderr
