import dataclasses

import matplotlib.image
import numpy as np
import pytest

from configs import PRESETS
from train import metrics, plots, run
from train.errors import UserError


def make_run(folder, policy, seed, rows):
    folder.mkdir()
    config = dataclasses.replace(PRESETS["push"], policy=policy, seed=seed)
    run.save_config(folder, config, {})
    rng = np.random.default_rng(seed)
    with metrics.open_log(folder) as write:
        for row in range(rows):
            success = float(np.clip(row / rows + 0.1 * rng.normal(), 0, 1))
            write(
                steps=1000 * (row + 1),
                seconds=row,
                metrics={"success": success, "returns": 10 * success},
            )
    return folder


def test_runs_of_several_seeds_and_policies(tmp_path):
    runs = [
        make_run(tmp_path / f"{policy}-{seed}", policy, seed, rows=20 + seed)
        for policy in ("ndp", "ppo")
        for seed in range(3)
    ]
    image = tmp_path / "curves.png"
    plots.learning_curves(runs, image)
    pixels = matplotlib.image.imread(image)[..., :3]
    for policy in ("ndp", "ppo"):
        color = [int(plots.COLORS[policy][i : i + 2], 16) / 255 for i in (1, 3, 5)]
        assert np.sum(np.all(np.abs(pixels - color) < 0.05, axis=-1)) > 100


def test_a_folder_without_metrics_is_one_sentence(tmp_path):
    run.save_config(tmp_path, PRESETS["push"], {})
    with pytest.raises(UserError, match=r"has no metrics.csv yet"):
        plots.learning_curves([tmp_path], tmp_path / "curves.png")


@pytest.mark.parametrize("name", ["nowhere/curves.png", "curves.docx"])
def test_an_image_that_cannot_be_written_is_one_sentence(tmp_path, name):
    folder = make_run(tmp_path / "run", "ndp", 0, rows=3)
    with pytest.raises(UserError, match="choose another --out"):
        plots.learning_curves([folder], tmp_path / name)
