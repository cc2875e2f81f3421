import dataclasses

import matplotlib.image
import numpy as np
import pytest

from configs import IMITATED
from train.imitation import figures
from train.imitation.figures import Success
from train.runs import metrics, plots, run
from train.runs.intervals import bootstrap_interval
from train.system.errors import UserError

DIGITS, PUSH = IMITATED["digits"], IMITATED["push"]
STEPS = np.arange(11) * 1000.0
ERROR = np.geomspace(10, 1, 11)
BASELINES = {"class_mean": 4.0, "global_mean": 25.0, "floor": 0.05}


def make_run(folder, *, error=ERROR, config=DIGITS, baselines=None):
    """A run that trains 6 s and is busy with other things 1 s every 1000 steps."""
    folder.mkdir()
    run.save_config(folder, config, {})
    for number, steps in enumerate(STEPS[: len(error)]):
        metrics.append(folder / metrics.EVALUATIONS, {"steps": steps, "error": error[number]})
        if steps:
            seconds = {"seconds": 7.0 * number, "evaluating": 0.75 * number, "saving": number / 4}
            metrics.append(folder / metrics.TIMING, {"steps": steps} | seconds)
    if baselines:
        run.write_json(folder / "evaluation.json", {"error": 1.0, "baselines": baselines})
    return folder


def drawn(folders):
    baselines = [figures.read_baselines(folder) for folder in folders]
    figure = figures.draw(plots.gather(folders, figures.read), baselines, "mean")
    figure.canvas.draw()
    figures.plt.close(figure)
    return figure.axes


def labels(folders):
    return drawn(folders)[0].get_legend_handles_labels()[1]


def colors_of(image, wanted):
    pixels = matplotlib.image.imread(image)[..., :3]
    wanted = [int(wanted[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return np.sum(np.all(np.abs(pixels - wanted) < 0.05, axis=-1))


def test_every_model_is_on_the_image_in_its_color(tmp_path):
    models = ("cnn-ndp", "mlp-ndp", "cnn-dmp", "cnn")
    runs = [
        make_run(
            tmp_path / f"{model}-{seed}",
            error=np.geomspace(10, last * (1 + seed / 9), 11),
            config=dataclasses.replace(DIGITS, model=model, seed=seed),
        )
        for model, last in zip(models, (0.3, 0.6, 1.2, 2.4), strict=True)
        for seed in range(2)
    ]
    figures.imitation_curves(runs, tmp_path / "curves.png")
    for model in models:
        assert colors_of(tmp_path / "curves.png", figures.COLORS[model]) > 400
    assert labels(runs) == [f"{model}, 2 runs" for model in models]


def test_error_is_drawn_against_steps_and_the_time_of_training(tmp_path):
    axes = drawn([make_run(tmp_path / "run")])
    for axis, x in zip(axes, (STEPS, STEPS * 6 / 60 / 1000), strict=True):
        (line,) = axis.lines
        np.testing.assert_allclose(line.get_data(), (x, ERROR))
        assert axis.get_yscale() == "log"
    assert axes[0].get_ylabel() == "held-out error (px² per coordinate)"


def test_seeds_are_averaged_with_a_band(tmp_path):
    runs = [
        make_run(tmp_path / str(s), error=np.full(11, e), config=dataclasses.replace(PUSH, seed=s))
        for s, e in enumerate((0.2, 0.4))
    ]
    axis = drawn(runs)[0]
    np.testing.assert_allclose(axis.lines[0].get_ydata(), 0.3)
    band = axis.collections[0].get_paths()[0].get_extents()
    np.testing.assert_allclose((band.ymin, band.ymax), (0.2, 0.4))
    assert axis.get_ylabel() == "held-out action error"
    assert labels(runs) == ["ndp, 2 runs"]


def test_baselines_are_labelled_lines_at_their_mean(tmp_path):
    runs = [
        make_run(tmp_path / "a", baselines=BASELINES),
        make_run(tmp_path / "b", baselines={"class_mean": 6.0}),
        make_run(tmp_path / "c"),
    ]
    left, right = drawn(runs)
    for axis in (left, right):
        heights = [line.get_ydata()[0] for line in axis.lines if line.get_linestyle() == "--"]
        np.testing.assert_allclose(sorted(heights), (0.05, 5.0, 25.0))
    assert {text.get_text() for text in right.texts} == set(figures.BASELINES.values())


def test_what_is_not_learned_makes_no_curve_of_its_own(tmp_path):
    other = dataclasses.replace(
        PUSH,
        num_envs=8,
        eval_episodes=9,
        descent=dataclasses.replace(PUSH.descent, eval_every=7, keep_checkpoints=1),
    )
    runs = [make_run(tmp_path / "a", config=PUSH), make_run(tmp_path / "b", config=other)]
    assert labels(runs) == ["ndp, 2 runs"]


def test_runs_are_named_by_what_sets_them_apart(tmp_path):
    configs = (DIGITS, dataclasses.replace(DIGITS, samples=500))
    runs = [make_run(tmp_path / str(c.samples), config=c) for c in configs]
    assert labels(runs) == ["cnn-ndp, samples 20000, 1 run", "cnn-ndp, samples 500, 1 run"]
    clones = [make_run(tmp_path / task, config=IMITATED[task]) for task in ("push", "throw")]
    assert labels(clones) == ["ndp, push, 1 run", "ndp, throw, 1 run"]


def test_evaluations_that_are_no_numbers_or_not_timed_yet_are_left_out(tmp_path):
    folder = make_run(tmp_path / "run", error=np.array([np.inf, 3.0, np.nan, 2.0]))
    metrics.append(folder / metrics.EVALUATIONS, {"steps": 9000, "error": 1.0})
    found = figures.read(folder).training
    np.testing.assert_allclose(found["steps"], (1000, 3000))
    np.testing.assert_allclose(found["minutes"], (0.1, 0.3))


def test_a_run_that_has_just_begun_is_a_dot(tmp_path):
    axes = drawn([make_run(tmp_path / "run", error=[9.0])])
    for axis in axes:
        (line,) = axis.lines
        assert line.get_marker() == "." and line.get_data() == ([0], [9])


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("evaluations.csv", None, "evaluations.csv has no column steps with numbers yet"),
        ("evaluations.csv", "steps,error\n0,nan\n", "no evaluation is a positive number"),
        ("evaluations.csv", "steps,success\n0,1\n", "evaluations.csv has no column error"),
        ("timing.csv", "steps,seconds\n1000,1\n", "timing.csv has no column evaluating"),
        ("evaluation.json", "[", "evaluation.json cannot be read as an evaluation"),
        ("evaluation.json", "[]", "evaluation.json cannot be read as an evaluation"),
        ("evaluation.json", '{"baselines": {"floor": "a"}}', "evaluation.json cannot be read"),
    ],
)
def test_a_run_that_cannot_be_drawn_is_one_sentence(tmp_path, file, content, sentence):
    folder = make_run(tmp_path / "run")
    (folder / file).unlink(missing_ok=True)
    if content is not None:
        (folder / file).write_text(content)
    with pytest.raises(UserError, match=sentence) as caught:
        figures.imitation_curves([folder], tmp_path / "curves.png")
    assert "\n" not in str(caught.value)


def test_bars_show_means_intervals_seeds_and_what_was_published(tmp_path):
    rows = [
        Success("push", "nn", (0.5, 0.6, 0.7)),
        Success("push", "ndp", (0.8, 0.9, 1.0)),
        Success("throw", "ndp", (0.4,)),
        Success("mine", "ndp", (0.3,)),
    ]
    figure = figures.draw_success(rows)
    (axis,) = figure.axes
    bars = [patch for patch in axis.patches if patch.get_width()]
    np.testing.assert_allclose([bar.get_height() for bar in bars], (0.6, 0.9, 0.4, 0.3))
    assert bars[0].get_x() < bars[1].get_x() < bars[2].get_x()
    assert axis.get_legend_handles_labels()[1] == ["nn", "ndp", "paper, in other settings"]
    heights = [line.get_ydata()[0] for line in axis.lines]
    for row, mean_and_ends in zip(rows, (heights[:3], heights[3:]), strict=False):
        ends = bootstrap_interval(np.array(row.seeds))
        np.testing.assert_allclose(mean_and_ends, (np.mean(row.seeds), *ends))
    np.testing.assert_allclose(axis.collections[-1].get_offsets()[:, 1], (0.002, 0.208, 0.642))
    figures.plt.close(figure)

    figures.success_bars(rows, tmp_path / "bars.png")
    assert (tmp_path / "bars.png").stat().st_size > 0
    with pytest.raises(UserError, match="choose another --out"):
        figures.success_bars(rows, tmp_path / "nowhere" / "bars.png")
