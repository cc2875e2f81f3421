"""How imitations went: error curves, and success of clones."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from configs import CLONED
from envs.outside import short
from train.runs import metrics, plots
from train.runs.intervals import bootstrap_interval
from train.runs.metrics import EVALUATIONS, TIMING
from train.runs.plots import Group, Record, plt, read_columns, save
from train.system.errors import UserError

COLORS = {"cnn-ndp": "#0072b2", "mlp-ndp": "#56b4e9", "cnn-dmp": "#009e73", "cnn": "#d55e00"}
"""Okabe and Ito's, by model of digits."""

XLABELS = {"steps": "gradient steps", "minutes": plots.WALL_TIME}
DIGITS = "held-out error (px² per coordinate)"
CLONES = "held-out action error"

BASELINES = {
    "global_mean": "mean stroke of all digits",
    "class_mean": "mean stroke of the digit's class",
    "floor": "primitives fitted to the strokes",
}
"""Predictors that learn nothing from pictures, or nothing at all."""

Baselines = dict[str, float]

WIDTH = 0.76
"""Of the bars of a task; tasks are one apart."""
BESIDE = 0.3
"""Widths of a bar from its centre, where its interval is: seeds to the left, the paper to the
right."""

PUBLISHED = {
    "throw": {"nn": 0.528, "ndp": 0.642},
    "pick": {"nn": 0.672, "ndp": 0.408},
    "push": {"nn": 0.002, "ndp": 0.208},
    "soccer": {"nn": 0.885, "ndp": 0.890},
    "faucet": {"nn": 0.532, "ndp": 0.790},
}
"""Success by task and policy in Bahl et al., NeurIPS 2020, with other simulators, demonstrators and
networks."""


class Success(NamedTuple):
    """How often a policy that cloned demonstrations of a task succeeds, for every seed."""

    task: str
    policy: str
    seeds: tuple[float, ...]


def imitation_curves(
    folders: list[Path], path: Path, *, statistic: Literal["mean", "iqm"] = "mean"
) -> None:
    """Held-out error of imitations against gradient steps and wall time of training.

    Runs whose settings differ in nothing but the seed are one curve, as those of
    `plots.learning_curves`. Dashed lines are what simpler predictors of digits reach.

    Args:
      folders: of the runs, all of digits or all of robot tasks.
      path: image to write.
      statistic: as in `plots.learning_curves`.

    Raises:
      UserError: a folder is not a run or has nothing to draw yet, or the image cannot be written.
    """
    baselines = [read_baselines(folder) for folder in dict.fromkeys(folders)]
    save(draw(plots.gather(folders, read), baselines, statistic), path)


def read(folder: Path) -> Record:
    """Reads `steps`, `minutes` and `error` of an imitation, which may still be training.

    Raises:
      UserError: a table is missing or cannot be read, or no evaluation is finite.
    """
    found = read_columns(folder, EVALUATIONS, ("steps", "error"))
    timing = {"steps": [0.0], "seconds": [0.0], "evaluating": [0.0], "saving": [0.0]}
    if metrics.read(folder, TIMING):
        timing |= read_columns(folder, TIMING, tuple(timing))
    training = np.subtract(timing["seconds"], np.add(timing["evaluating"], timing["saving"]))
    steps = np.r_[0, timing["steps"]]
    found["minutes"] = np.interp(found["steps"], steps, np.r_[0, training]) / 60
    drawn = np.isfinite(found["error"]) & (found["error"] > 0) & (found["steps"] <= steps[-1])
    if not drawn.any():
        raise UserError(f"{folder} has nothing to draw yet: no evaluation is a positive number.")
    return Record({name: values[drawn] for name, values in found.items()})


def read_baselines(folder: Path) -> Baselines:
    """What simpler predictors reach, as evaluation.json says; empty where it does not.

    Raises:
      UserError: it is not what a run writes.
    """
    path = folder / "evaluation.json"
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text()).get("baselines", {})
        return {name: float(found[name]) for name in BASELINES if name in found}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read as an evaluation ({error}).") from None


def color_of(learner: str) -> str:
    """A model's or a policy's."""
    return COLORS[learner] if learner in COLORS else CLONED[learner].color


def draw(groups: list[Group], baselines: list[Baselines], statistic: str) -> Figure:
    """Draws the error against gradient steps (left) and wall time (right)."""
    _, axes = plt.subplots(1, 2, figsize=(10, 4.6), sharey=True)
    labels = XLABELS, {"error": DIGITS if groups[0][0]["task"] == "digits" else CLONES}
    lines = "error on held-out examples"
    figure = plots.draw_curves(axes, groups, statistic, labels, color_of, lines)
    axes[1].set_ylabel("")
    for axis in axes:
        axis.set_yscale("log")
        axis.grid(alpha=0.1, which="minor")
    draw_baselines(axes, baselines)
    return figure


def draw_baselines(axes: np.ndarray, found: list[Baselines]) -> None:
    """Draws each baseline, on average over the runs that know it, as a dashed line."""
    for name, label in BASELINES.items():
        values = [baselines[name] for baselines in found if name in baselines]
        if not values:
            continue
        for axis in axes:
            axis.axhline(float(np.mean(values)), color="0.4", linestyle="--", linewidth=1)
        axes[-1].annotate(
            label,
            (1, float(np.mean(values))),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 2),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize="small",
            color="0.3",
        )


def success_bars(rows: Sequence[Success], path: Path) -> None:
    """Success of clones, task by task, the policies side by side, the one with primitive last.

    Bars are means over seeds, with their 95 % bootstrap intervals where there are several; every
    seed is a dot. Hollow diamonds are what is `PUBLISHED`.

    Args:
      rows: of every task and policy.
      path: image to write.

    Raises:
      UserError: the image cannot be written.
    """
    save(draw_success(rows), path)


def draw_success(rows: Sequence[Success]) -> Figure:
    """Draws the bars of `success_bars`."""
    tasks = list(dict.fromkeys(row.task for row in rows))
    drawn = {row.policy for row in rows}
    known = (*CLONED, *sorted(drawn - {*CLONED}))
    policies = [policy for policy in reversed(known) if policy in drawn]
    width = WIDTH / len(policies)

    def centre(row: Success) -> float:
        place = policies.index(row.policy) - (len(policies) - 1) / 2
        return tasks.index(row.task) + place * width

    figure, axis = plt.subplots(figsize=(1.6 + 1.3 * len(tasks), 3.8))
    figure.set_layout_engine("constrained")
    for row in rows:
        draw_bar(axis, centre(row), width, row.seeds, color_of(row.policy))
    for policy in policies:
        look = {"color": color_of(policy), "alpha": 0.75, "label": short(policy)}
        axis.add_patch(Rectangle((0, 0), 0, 0, **look))
    places = [
        (centre(row) + BESIDE * width, PUBLISHED[row.task][row.policy])
        for row in rows
        if row.policy in PUBLISHED.get(row.task, ())
    ]
    if places:
        look = {"color": "white", "edgecolors": "black", "linewidths": 1.3, "zorder": 5}
        x, y = zip(*places, strict=True)
        label = "paper, in other settings"
        axis.scatter(x, y, s=36, marker="D", clip_on=False, label=label, **look)
    axis.set_xticks(range(len(tasks)), tasks)
    axis.set(ylabel="success rate", ylim=(0, 1.05))
    axis.set_axisbelow(True)
    plots.frame(axis, lines="y")
    several = any(len(row.seeds) > 1 for row in rows)
    explanation = "Bars: mean over seeds, its 95 % bootstrap interval; dots: seeds"
    plots.explain(figure, axis, explanation if several else "")
    return figure


def draw_bar(axis: Axes, x: float, width: float, seeds: tuple[float, ...], color: str) -> None:
    """Draws the mean of seeds as a bar, its interval and the seeds themselves."""
    mean = float(np.mean(seeds))
    axis.bar(x, mean, width * 0.94, color=color, alpha=0.75)
    if len(seeds) > 1:
        low, high = bootstrap_interval(np.array(seeds))
        axis.errorbar(x, mean, [[mean - low], [high - mean]], color="black", capsize=3, zorder=3)
        spread = np.linspace(-0.12, 0.12, len(seeds)) * width
        look = {"color": color, "edgecolors": "white", "linewidths": 0.8, "zorder": 4}
        axis.scatter(x - BESIDE * width + spread, seeds, s=20, clip_on=False, **look)
