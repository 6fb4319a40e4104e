from __future__ import annotations

import csv

import numpy as np
import pytest

from cimsim.errors import InputError
from cimsim.training.data import (
    Clip,
    Dataset,
    Sampler,
    choose_scenes,
    load_dataset,
    moving_window,
    recolour,
    validation_batch,
)
from cimsim.video.io import write_clip


def numbered(n_frames=5, height=20, width=24):
    """Frames whose pixels all differ: red and green say where, blue which frame."""
    frames = np.zeros((n_frames, height, width, 3), np.uint8)
    frames[..., 0] = 10 * np.arange(height)[None, :, None]
    frames[..., 1] = 10 * np.arange(width)[None, None, :]
    frames[..., 2] = 40 * np.arange(n_frames)[:, None, None]
    return frames


def dataset(stills=True):
    clip = Clip("a", "a", numbered())
    photo = Clip("p", "p", numbered(1, 40, 40)[:1])
    return Dataset((clip,), (Clip("v", "v", numbered()),), (photo,) if stills else ())


def sampler(share=0.0, sigma=(15.0, 15.0), **changes):
    options = {"n_frames": 3, "crop": 8, "batch": 4, "seed": 0} | changes
    return Sampler(dataset(), sigma=sigma, stills=share, **options)


def write_folder(folder, scenes):
    rng = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="") as handle:
        table = csv.DictWriter(handle, ["file", "scene"])
        table.writeheader()
        for index, scene in enumerate(scenes):
            name = f"{index}.mkv"
            write_clip(folder / name, rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8))
            table.writerow({"file": name, "scene": scene})


def test_clips_of_a_scene_stay_together(tmp_path):
    write_folder(tmp_path, ["a", "b", "a", "c", "b", "d"])
    for count in range(1, 4):
        found = load_dataset(tmp_path, validation_scenes=count)
        train, validation = found.scenes
        assert not train & validation
        assert len(validation) == count
        assert len(found.train) + len(found.validation) == 6


def test_split_depends_on_the_names_alone():
    scenes = {f"s{index}" for index in range(20)}
    held_out = choose_scenes(scenes, 8)
    assert held_out == choose_scenes({f"s{19 - index}" for index in range(20)}, 8)
    assert held_out < scenes
    assert held_out != set(sorted(scenes)[:8])


def test_missing_manifest_and_too_few_scenes(tmp_path):
    with pytest.raises(InputError, match=r"manifest\.csv: not found"):
        load_dataset(tmp_path)
    write_folder(tmp_path, ["a", "b"])
    with pytest.raises(InputError, match="2 asked, but the data has 2 scenes"):
        load_dataset(tmp_path, validation_scenes=2)


@pytest.mark.parametrize(
    "text", ["name,scene\na.mp4,a\n", "file\na.mp4\n", "file,scene\na.mp4\n", ""]
)
def test_a_manifest_without_its_columns_is_named(tmp_path, text):
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.csv: expected the columns file and scene"):
        load_dataset(tmp_path)


def test_a_batch_depends_on_seed_and_step_alone():
    first, second = sampler(share=0.5), sampler(share=0.5)
    second.draw(0)
    for a, b in zip(first.draw(7), second.draw(7), strict=True):
        assert a.equal(b)
    assert not first.draw(7)[0].equal(first.draw(8)[0])
    assert not first.draw(7)[0].equal(sampler(share=0.5, seed=1).draw(7)[0])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_noise_free_windows_are_consecutive_crops(share):
    noisy, noise_map, clean = sampler(share=share, sigma=(0.0, 0.0), batch=20, recoloured=0.0).draw(
        0
    )
    assert noisy.shape == (20, 9, 8, 8)
    assert clean.equal(noisy[:, 3:6])
    assert not noise_map.any()
    blue = np.rint(255 * noisy[:, 2::3, 0, 0].numpy())
    steps = np.diff(blue, axis=1)
    assert (np.abs(steps) == (0 if share else 40)).all()  # forwards or backwards in time
    assert (steps[:, 0] == steps[:, 1]).all()
    rows = np.rint(255 * noisy[:, 0].numpy() / 10)
    assert {len(np.unique(row)) for row in rows} == {8}  # never a repeated or skipped row


def test_recolouring_is_one_colour_map_for_the_whole_window():
    window = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    orders = set()
    for seed in range(20):
        changed = recolour(window, np.random.default_rng(seed))
        order = []
        for colour in range(3):
            found = [
                source
                for source in range(3)
                if np.corrcoef(changed[..., colour].ravel(), window[..., source].ravel())[0, 1]
                > 0.99
            ]
            order += found
            ratio = changed[..., colour].astype(float) / window[..., found[0]].clip(1)
            bright = window[..., found[0]] > 100
            assert np.ptp(ratio[bright]) < 0.02
            assert 0.59 < ratio[bright].mean() < 1.01
        assert sorted(order) == [0, 1, 2]
        orders.add(tuple(order))
    assert len(orders) > 3


def test_noise_has_the_level_asked_for_and_is_not_clipped():
    noisy, noise_map, clean = sampler(sigma=(30.0, 30.0), crop=16, batch=64).draw(0)
    noise = (noisy[:, 3:6] - clean).numpy()
    n = noise.size
    assert abs(noise.std() * 255 - 30) < 5 * 30 / np.sqrt(2 * n)
    assert abs(noise.mean() * 255) < 5 * 30 / np.sqrt(n)
    assert noisy.min() < 0
    assert np.allclose(noise_map.numpy(), 30 / 255)


def test_each_crop_draws_its_own_level():
    _, noise_map, _ = sampler(sigma=(5.0, 50.0), batch=50).draw(0)
    levels = 255 * noise_map[:, 0, 0, 0].numpy()
    assert len(np.unique(levels)) == 50
    assert levels.min() >= 5
    assert levels.max() <= 50


def test_photographs_move_smoothly():
    photo = numbered(1, 60, 60)[0]
    photo[..., 0] = np.arange(60)[:, None]
    photo[..., 1] = np.arange(60)[None, :]
    for seed in range(20):
        window = moving_window(photo, 5, 16, np.random.default_rng(seed))
        corner = window[:, 0, 0, :2].astype(int)
        assert np.abs(np.diff(corner, axis=0)).max() <= 4 + 2  # speed and bend
        assert np.abs(np.diff(corner, n=2, axis=0)).max() <= 4


def test_validation_does_not_change():
    a = validation_batch(dataset(), n_frames=3, sigma=15, crop=16)
    b = validation_batch(dataset(), n_frames=3, sigma=15, crop=16)
    assert all(x.equal(y) for x, y in zip(a, b, strict=True))
    assert np.array_equal(
        np.rint(255 * a[2][0].numpy()).transpose(1, 2, 0), numbered()[2, 2:18, 4:20]
    )


def test_crops_that_fit_nowhere():
    with pytest.raises(InputError, match="crop 64 with 3 frames fits into none of the 1"):
        sampler(crop=64)
    with pytest.raises(InputError, match="crop 64 fits into none of the held-out clips"):
        validation_batch(dataset(), n_frames=3, sigma=15, crop=64)
