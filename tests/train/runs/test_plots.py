import csv
import dataclasses

import matplotlib.image
import numpy as np
import pytest

from configs import HEADS, PPO, PRESETS, Primitive
from train.runs import plots, run
from train.system.errors import UserError

CONFIG = PRESETS["push"]
STEPS = np.arange(1, 21) * 1000.0


def write_table(path, columns):
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))


def make_run(folder, *, success=STEPS / 2e4, seconds=STEPS / 100, config=CONFIG, evaluations=None):
    """A run with a row every 1000 steps, whose return is ten times its success."""
    folder.mkdir()
    run.save_config(folder, config, {})
    steps, success = STEPS[: len(success)], np.asarray(success)
    write_table(
        folder / "metrics.csv", {"steps": steps, "success": success, "returns": 10 * success}
    )
    write_table(folder / "timing.csv", {"steps": steps, "seconds": seconds[: len(success)]})
    if evaluations:
        write_table(folder / "evaluations.csv", evaluations)
    return folder


def drawn(folders, statistic="mean"):
    """The figure's lines with a label, per axis: [[success, return] vs. steps, [...] vs. time]."""
    figure = plots.draw(plots.gather(folders, plots.read), statistic)
    figure.canvas.draw()
    axes = np.reshape(figure.axes, (2, 2))
    plots.plt.close(figure)
    return axes


def main_curve(axis, index=0):
    return axis.get_legend_handles_labels()[0][index].get_data()


def labels(folders):
    return drawn(folders)[0, 0].get_legend_handles_labels()[1]


def test_every_policy_is_on_the_image_in_its_color(tmp_path):
    runs = [
        make_run(
            tmp_path / f"{policy}-{seed}",
            success=np.linspace(0, 1, 20 - seed) ** power,
            config=dataclasses.replace(CONFIG, policy=policy, seed=seed),
        )
        for policy, power in (("ndp", 1), ("prodmp", 1.5), ("ppo-multi", 2), ("ppo", 3))
        for seed in range(3)
    ]
    image = tmp_path / "curves.png"
    plots.learning_curves(runs, image)
    pixels = matplotlib.image.imread(image)[..., :3]
    for color in (head.color for head in HEADS.values()):
        wanted = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        assert np.sum(np.all(np.abs(pixels - wanted) < 0.05, axis=-1)) > 400


def test_one_run_is_drawn_as_it_is(tmp_path):
    axes = drawn([make_run(tmp_path / "run")])
    for row, x in zip(axes, (STEPS, STEPS / 6000), strict=True):
        for axis, y in zip(row, (STEPS / 2e4, STEPS / 2e3), strict=True):
            np.testing.assert_allclose(main_curve(axis), (x, y))
            assert len(axis.lines) == 1 and not axis.collections


def test_seeds_are_averaged_as_far_as_all_of_them_went(tmp_path):
    runs = [
        make_run(
            tmp_path / str(seed), success=success, config=dataclasses.replace(CONFIG, seed=seed)
        )
        for seed, success in enumerate((np.full(20, 0.2), np.full(12, 0.4)))
    ]
    axis = drawn(runs)[0, 0]
    np.testing.assert_allclose(main_curve(axis), (STEPS[:12], np.full(12, 0.3)))
    band = axis.collections[0].get_paths()[0].get_extents()
    np.testing.assert_allclose((band.ymin, band.ymax), (0.2, 0.4))
    assert [len(line.get_xdata()) for line in axis.lines] == [12, 20, 12]


def test_seeds_meet_at_equal_wall_times(tmp_path):
    """Success grows by .1 and .3 a minute: on average by .2."""
    runs = [
        make_run(
            tmp_path / str(seed),
            success=STEPS / 2e4,
            seconds=60 * STEPS / 2e4 / slope,
            config=dataclasses.replace(CONFIG, seed=seed),
        )
        for seed, slope in enumerate((0.1, 0.3))
    ]
    minutes, success = main_curve(drawn(runs)[1, 0])
    np.testing.assert_allclose(minutes[[0, -1]], (0.5, 1 / 0.3))
    np.testing.assert_allclose(success, 0.2 * minutes)


def test_seeds_that_never_trained_at_the_same_time_can_be_drawn(tmp_path):
    runs = [make_run(tmp_path / str(start), seconds=start + STEPS / 100) for start in (0.0, 1e4)]
    minutes, _ = main_curve(drawn(runs)[1, 0])
    assert minutes[-1] == pytest.approx(STEPS[-1] / 6000)


def test_the_interquartile_mean_leaves_the_extremes_out(tmp_path):
    runs = [
        make_run(tmp_path / str(level), success=np.full(20, level))
        for level in (0.0, 0.5, 0.6, 0.7, 0.1)
    ]
    for statistic, expected in (("mean", 0.38), ("iqm", 0.4)):
        _, success = main_curve(drawn(runs, statistic)[0, 0])
        np.testing.assert_allclose(success, expected)


def test_a_single_update_is_a_dot(tmp_path):
    axis = drawn([make_run(tmp_path / "run", success=[0.5])])[0, 0]
    (line,) = axis.lines
    assert line.get_marker() == "." and line.get_data() == (STEPS[:1], [0.5])


def test_long_runs_are_thinned(tmp_path):
    x = np.arange(20_000.0)
    record = plots.Record(training={"steps": x, "minutes": x, "success": x, "returns": x})
    figure = plots.draw([({plots.LEARNER: "ndp", "task": "push"}, [record])], "mean")
    plots.plt.close(figure)
    steps, success = main_curve(figure.axes[0])
    assert len(steps) == plots.POINTS and steps[-1] == x[-1]
    np.testing.assert_allclose(steps, success)


def test_evaluations_are_circles_where_all_evaluated_seeds_have_one(tmp_path):
    runs = [
        make_run(tmp_path / str(seed), config=dataclasses.replace(CONFIG, seed=seed), evaluations=e)
        for seed, e in enumerate(
            (
                {"steps": [5000, 10000], "success": [0.2, 0.4], "returns": [2.0, 4.0]},
                {"steps": [10000, 15000], "success": [0.6, 0.9], "returns": [6.0, 9.0]},
                {"steps": [], "success": [], "returns": []},
                None,
            )
        )
    ]
    axes = drawn(runs)
    for axis, mean in zip(axes[0], (0.5, 5.0), strict=True):
        (circles,) = [line for line in axis.lines if line.get_marker() == "o"]
        np.testing.assert_allclose(circles.get_data(), ([10000], [mean]))
    explanation = axes[0, 0].figure.legends[0].get_title().get_text()
    assert "95 % bootstrap interval" in explanation
    assert "Circles: held-out episodes, action means" in explanation


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"eval_every": 3, "eval_episodes": 8},
        {"checkpoint_seconds": 9.0, "keep_checkpoints": 9},
    ],
)
def test_what_changes_no_training_makes_no_curve_of_its_own(tmp_path, changes):
    changed = make_run(tmp_path / "b", config=dataclasses.replace(CONFIG, **changes))
    assert labels([make_run(tmp_path / "a"), changed]) == ["ndp, 2 runs"]


def test_different_settings_are_different_curves_named_by_them(tmp_path):
    alpha = dataclasses.replace(CONFIG, primitive=Primitive(alpha=15.0))
    rate = dataclasses.replace(CONFIG, ppo=PPO(learning_rate=3e-4))
    runs = [
        make_run(tmp_path / str(number), config=config)
        for number, config in enumerate((CONFIG, CONFIG, alpha, rate))
    ]
    assert labels(runs) == [
        "ndp, alpha 5, learning rate 0.001, 2 runs",
        "ndp, alpha 15, learning rate 0.001, 1 run",
        "ndp, alpha 5, learning rate 0.0003, 1 run",
    ]
    colors = {line.get_color() for line in drawn(runs)[0, 0].get_legend_handles_labels()[0]}
    assert len(colors) == 3


def test_settings_that_a_policy_ignores_do_not_part_its_runs(tmp_path):
    direct = dataclasses.replace(CONFIG, policy="ppo")
    other = dataclasses.replace(direct, chunk=10, primitive=Primitive(alpha=15.0))
    runs = [make_run(tmp_path / "a", config=direct), make_run(tmp_path / "b", config=other)]
    assert labels(runs) == ["ppo, 2 runs"]


def test_tasks_are_named_and_their_presets_are_not_told_apart(tmp_path):
    runs = [
        make_run(tmp_path / task, config=dataclasses.replace(PRESETS[task], policy=policy))
        for task, policy in (("push", "ndp"), ("throw", "ndp"))
    ]
    assert labels(runs) == ["ndp, push, 1 run", "ndp, throw, 1 run"]


def test_a_run_named_twice_counts_once(tmp_path):
    folder = make_run(tmp_path / "run")
    assert labels([folder, folder]) == ["ndp, 1 run"]


def test_updates_before_the_first_end_of_an_episode_are_left_out(tmp_path):
    success = np.r_[np.nan, np.nan, STEPS[2:] / 2e4]
    steps, values = main_curve(drawn([make_run(tmp_path / "run", success=success)])[0, 0])
    np.testing.assert_allclose((steps, values), (STEPS[2:], STEPS[2:] / 2e4))


@pytest.mark.parametrize("file", ["metrics.csv", "timing.csv", "evaluations.csv"])
@pytest.mark.parametrize("left", [1, 3, 7])
def test_a_line_still_being_written_is_left_out(tmp_path, file, left):
    evaluations = {"steps": [5000, 10000], "success": [0.2, 0.4], "returns": [2.0, 4.0]}
    folder = make_run(tmp_path / "run", evaluations=evaluations)
    content = (folder / file).read_text()
    line = content.splitlines(keepends=True)[-1]
    (folder / file).write_text(content.removesuffix(line) + line[: min(left, len(line) - 2)])
    curve, circles = drawn([folder])[0, 0].lines
    lengths = (len(curve.get_xdata()), len(circles.get_xdata()))
    assert lengths == ((20, 1) if file == "evaluations.csv" else (19, 2))


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("metrics.csv", None, "metrics.csv has no column steps with numbers yet"),
        ("timing.csv", None, "timing.csv has no column seconds with numbers yet"),
        ("metrics.csv", "", "metrics.csv has no column steps with numbers yet"),
        ("metrics.csv", "steps,success,returns\n", "has no column steps with numbers yet"),
        ("timing.csv", "steps,seconds\n", "has no column seconds with numbers yet"),
        ("metrics.csv", "steps,success,returns\n1000,nan,nan\n", "no episode has ended"),
        ("metrics.csv", "steps,success\n1000,0.5\n", "has no column returns with numbers yet"),
        ("metrics.csv", "steps,success,returns\n1000,0.5\n", "metrics.csv cannot be read"),
        ("evaluations.csv", "steps,success,returns\na,b,c\n", "evaluations.csv cannot be read"),
        ("metrics.csv", b"\xff\xfe\n", "metrics.csv cannot be read"),
    ],
)
def test_a_run_that_cannot_be_drawn_is_one_sentence(tmp_path, file, content, sentence):
    folder = make_run(tmp_path / "run")
    (folder / file).unlink(missing_ok=True)
    if content is not None:
        (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=sentence) as caught:
        plots.learning_curves([folder], tmp_path / "curves.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere/curves.png", "curves.docx"])
def test_an_image_that_cannot_be_written_is_one_sentence(tmp_path, name):
    folder = make_run(tmp_path / "run")
    with pytest.raises(UserError, match="choose another --out"):
        plots.learning_curves([folder], tmp_path / name)
