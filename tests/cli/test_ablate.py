"""The command, its files, its messages; and what a recorded card makes `cimsim run` say."""

import csv
import io
import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from cimsim.cli.main import app
from cimsim.errors import CimsimError
from cimsim.zoo import registry
from cimsim.zoo.weights import Card, named_card, read_state, save_weights

SMALL = ["--size", "32x32", "--frames", "1", "--quiet"]
IDLE = [*SMALL, "--arg", "coarse=1"]  # with the path that the zoo leaves out


def invoke(*arguments, columns=120):
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(app, [*map(str, arguments)])


def run(*arguments, columns=120):
    done = invoke(*arguments, columns=columns)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


WRONG = {
    "no denoiser": (["--model", "torch.nn:Flatten"], ["a clip needs an input", "[1, 3, H, W]"]),
    "unknown branch": (["--part", "block1.up3"], ["or branch 'block1.up3'", "block1.smooth_in"]),
    "no frames": (["--frames", "0"], ["--frames", "got 0"]),
    "no programming": (["--seeds", "0"], ["--seeds", "got 0"]),
    "threshold": (["--threshold", "-1"], ["--threshold", "got -1"]),
    "no table": (["--out", "parts.txt"], ["--out", ".csv", "parts.txt"]),
    "no folder": (["--out", "nowhere/parts.csv"], ["--out", "no folder"]),
    "no card": (["--record", "--weights", "random"], ["--record", "random", "no card"]),
    "half a card": (["--record", "--part", "block1.up1"], ["--record", "leave out --part"]),
    "unknown mapping": (["--mapping", "im3col"], ["im3col", "known: im2col"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_clear_message_before_any_long_wait(case):
    arguments, parts = WRONG[case]
    done = invoke("ablate", "--size=32x32", "--quiet", *arguments)
    assert done.exit_code != 0
    assert isinstance(done.exception, CimsimError), done.output
    for part in parts:
        assert part in str(done.exception)


def test_a_mapping_file_is_refused_because_layers_go(tmp_path):
    path = tmp_path / "m.yaml"
    run("map", "--size=32x32", "--json", f"--save={path}")
    done = invoke("ablate", *SMALL, f"--mapping={path}")
    assert "places all layers" in str(done.exception)


@pytest.mark.slow
def test_table_csv_and_json(tmp_path):
    options = [*IDLE, f"--weights={own_weights(tmp_path)}"]
    options += ["--part", "block1.up1", "--part", "smooth_out"]
    done = invoke("ablate", *options)
    assert "smooth_out" in str(done.exception)  # names are whole ones
    path = tmp_path / "parts.csv"
    options[-1] = "block1.smooth_out"
    data = json.loads(run("ablate", *options, "--json", f"--out={path}"))
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [(r["kind"], r["part"], r["instead"]) for r in rows] == [
        ("branch", "block1.up1.act", "zero"), ("branch", "block1.up1.act", "mean"),
        ("layer", "block1.up1.fc", "mean"), ("layer", "block1.smooth_out.fc", "mean"),
    ]  # fmt: skip
    assert [float(row["chip_loss_dB"]) for row in rows] == [
        part["chip_loss_dB"] for part in data["parts"]
    ]
    assert data["gone"]["branch block1.up1.act"][0] == "block1.down1.fc"
    assert len(data["gone"]["branch block1.up1.act"]) == 12
    screen = run("ablate", *options, "--no-chip", columns=80)
    assert max(map(len, screen.splitlines())) <= 80
    assert "6 arrays instead of 27" in " ".join(screen.split())


def own_weights(folder):
    """The shipped two layers and a silent coarse path; a card without contributions."""
    shipped = named_card("cimnet_s8")
    torch.manual_seed(0)
    network = registry.build("cimnet", stride=8, coarse=1)
    network.load_state_dict(read_state(shipped.file), strict=False)
    for part in (network.block1.up1.norm.weight, network.block1.up1.norm.bias):
        torch.nn.init.zeros_(part)
    path = folder / "mine.safetensors"
    options = registry.info("cimnet").resolve({"coarse": 1})
    save_weights(network, path, replace(shipped, options=options))
    told = json.loads(path.with_suffix(".json").read_text())
    del told["contributions"], told["contributions_on"]
    path.with_suffix(".json").write_text(json.dumps(told))
    return path


def result_of(folder, weights):
    screen = run("run", *IDLE, f"--weights={weights}", f"--out={folder}", "--hw=eflash40nm")
    return screen, json.loads((folder / "result.json").read_text())


@pytest.mark.slow
def test_a_recorded_card_makes_a_run_doubt_the_branch_that_gives_nothing(tmp_path):
    weights = own_weights(tmp_path)
    before_screen, before = result_of(tmp_path / "a", weights)
    assert "doubt: branch" not in before_screen
    assert "contribution_db" not in before["layers"][0]

    run("ablate", *IDLE, f"--weights={weights}", "--no-chip", "--record")
    card = Card.read(weights.with_suffix(".json"))
    assert card.contributions_on == "PSNR, embedded clip, 1 frame of 32 x 32, sigma 15, float32"
    gives, noise = card.contributions["branch block1.smooth_in.act"]
    assert gives > 5
    assert noise is None  # one frame, one network

    screen, after = result_of(tmp_path / "b", weights)
    told = " ".join(screen.split())
    assert "doubt: branch block1.up1.act (12 of 14 layers) gives 0.00 dB" in told
    assert "embedded clip, 1 frame of 32 x 32" in told
    assert "block1.up2" not in told  # inside of the other one
    assert after["hash"] == before["hash"]  # what is known of weights changes no bit
    given = {row["layer"]: row.get("contribution_db") for row in after["layers"]}
    assert given["block1.down1.fc"] == card.contributions["layer block1.down1.fc"][0]
    assert given["block1.smooth_out.fc"] > 5
    rows = list(csv.DictReader(io.StringIO((tmp_path / "b" / "layers.csv").read_text())))
    assert {r["layer"]: r["contribution_db"] for r in rows}["block1.down1.fc"] != ""


def test_models_show_prints_what_a_card_says():
    run("models", "show", "cimnet")
