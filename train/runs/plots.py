"""Learning curves."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial, reduce
from itertools import cycle, product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
from scipy.stats import trim_mean

from configs import HEADS, CloneConfig, Config
from configs.fields import BOOKKEEPING, marked, settings
from envs.outside import short
from train.runs import metrics, run
from train.runs.checks import idle, learner
from train.runs.intervals import bootstrap_interval
from train.runs.metrics import EVALUATIONS, METRICS, TIMING
from train.system.errors import UserError

if "MPLBACKEND" not in os.environ:  # a notebook has chosen one that shows figures
    matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, StrMethodFormatter

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Okabe and Ito's."""

Columns = dict[str, np.ndarray]
Curve = tuple[np.ndarray, np.ndarray]
Statistic = Callable[..., np.ndarray]

STATISTICS: dict[str, tuple[str, Statistic]] = {
    "mean": ("mean", np.mean),
    "iqm": ("interquartile mean", partial(trim_mean, proportiontocut=0.25)),
}
POINTS = 500
"""Of a curve, at most."""

WIDTH_IN_LETTERS = 130  # of the figure

LEARNER = "learner"
"""Of a group's settings: the policy, or the model of digits."""

WALL_TIME = "wall time of training (minutes)"
XLABELS = {"steps": "environment steps", "minutes": WALL_TIME}
YLABELS = {"success": "success rate", "returns": "return of an episode"}
CIRCLE = {"markersize": 5, "markerfacecolor": "white", "markeredgewidth": 1.4, "zorder": 4}


class Record(NamedTuple):
    """What a run wrote down.

    Attributes:
      training: the columns of the curves; for learning curves `steps`, `minutes`, `returns` and,
        if the task knows it, `success` of every update that ended episodes.
      held_out: `steps` and the same of every evaluation, if there are any.
    """

    training: Columns
    held_out: Columns | None = None


Group = tuple[dict[str, Any], list[Record]]
"""Settings that runs share, and the runs."""


def learning_curves(
    folders: list[Path], path: Path, *, statistic: Literal["mean", "iqm"] = "mean"
) -> None:
    """Success rate and return of runs against environment steps and wall time.

    Runs whose settings differ in nothing but the seed are one curve: the statistic over them, as
    far as all of them went, with a 95 % bootstrap interval as a band and every run as a thin line.
    Circles are evaluations on held-out resets with the action means.

    Args:
      folders: of the runs.
      path: image to write.
      statistic: "mean", or "iqm" for the interquartile mean, which leaves out a quarter of the
        runs, rounded down, at either end; of up to three runs it is the mean.

    Raises:
      UserError: a folder is not a run or has nothing to draw yet, or the image cannot be written.
    """
    save(draw(gather(folders, read), statistic), path)


def save(figure: Figure, path: Path) -> None:
    """Writes and closes a figure.

    Raises:
      UserError: the image cannot be written.
    """
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot write the image {path} ({error}); choose another --out.") from None
    finally:
        plt.close(figure)


def gather(folders: Sequence[Path], read: Callable[[Path], Record]) -> list[Group]:
    """Reads runs and groups those whose settings differ in nothing that matters but the seed."""
    groups: dict[tuple, list[Record]] = {}
    for folder in dict.fromkeys(folders):
        shared = tuple(learning_settings(run.load_any(folder)).items())
        groups.setdefault(shared, []).append(read(folder))
    return [(dict(shared), found) for shared, found in groups.items()]


def learning_settings(config: Config) -> dict[str, Any]:
    """The settings that decide what a run learns, but for the seed; first what learns it."""
    left_out = {"seed", *marked(type(config), BOOKKEEPING)} | idle(config)
    if isinstance(config, CloneConfig):
        left_out |= {"num_envs"}  # of evaluations
    every = settings(config)
    return {LEARNER: every.pop(learner(config))} | {
        name: value for name, value in every.items() if name not in left_out
    }


def read(folder: Path) -> Record:
    """Reads the tables of a run, which may still be training.

    Raises:
      UserError: a table is missing or cannot be read, or no episode has ended yet.
    """
    there = metrics.read(folder, METRICS)
    known = [name for name in YLABELS if name in there or not there]
    names = ("steps", *dict.fromkeys([*known, "returns"]))
    training = read_columns(folder, METRICS, names)
    seconds = read_columns(folder, TIMING, ("seconds",))["seconds"]
    rows = min(len(training["steps"]), len(seconds))
    training = {name: values[:rows] for name, values in training.items()}
    training["minutes"] = seconds[:rows] / 60
    ended = np.all([np.isfinite(training[name]) for name in known], axis=0)
    if not ended.any():
        raise UserError(f"{folder} has nothing to draw yet: no episode has ended.")
    evaluated = bool(metrics.read(folder, EVALUATIONS))
    return Record(
        training={name: values[ended] for name, values in training.items()},
        held_out=read_columns(folder, EVALUATIONS, names) if evaluated else None,
    )


def read_columns(folder: Path, file: str, names: Sequence[str]) -> Columns:
    """Columns of a table of a run.

    Raises:
      UserError: it has no such columns, or no rows yet.
    """
    columns = metrics.read(folder, file)
    for name in names:
        if name not in columns:
            raise UserError(f"{folder / file} has no column {name} with numbers yet.")
    return {name: np.array(columns[name]) for name in names}


def draw(groups: list[Group], statistic: str) -> Figure:
    """Draws success, if all tasks know it, and return (columns) against environment steps and wall
    time (rows)."""
    records = [record for _, found in groups for record in found]
    ylabels = {y: YLABELS[y] for y in YLABELS if all(y in record.training for record in records)}
    size = {"figsize": (5 * len(ylabels), 6.8), "squeeze": False}
    _, axes = plt.subplots(2, len(ylabels), **size, sharex="row", sharey="col")
    lines = "episodes of training, exploring"
    figure = draw_curves(axes, groups, statistic, (XLABELS, ylabels), color_of, lines)
    if "success" in ylabels:
        axes[0, 0].set_ylim(-0.03, 1.03)
    axes[0, -1].yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    return figure


def draw_curves(
    axes: np.ndarray,
    groups: Sequence[Group],
    statistic: str,
    labels: tuple[Mapping[str, str], Mapping[str, str]],
    color_of: Callable[[str], str],
    lines: str,
) -> Figure:
    """Draws a curve of each group in every panel, and says below them what is drawn.

    Args:
      axes: the panels: a row for each x, a column for each y.
      groups: of runs.
      statistic: one of `STATISTICS`.
      labels: of x and of y, by the names of columns.
      color_of: the color of a learner.
      lines: what the curves are.
    """
    kinds = [kind for kind, _ in groups]
    word, reduce_runs = STATISTICS[statistic]
    explanation, circles = f"Lines: {lines}", ""
    for (kind, records), (color, line) in zip(groups, styles(kinds, color_of), strict=False):
        label = f"{name_of(kind, kinds)}, {len(records)} run{'s' if len(records) > 1 else ''}"
        look = {"color": color, "linestyle": line, "label": label}
        for axis, (x, y) in zip(axes.flat, product(*labels), strict=True):
            curves = [(record.training[x], record.training[y]) for record in records]
            draw_training(axis, curves, reduce_runs, look)
        evaluated = [record.held_out for record in records if record.held_out]
        if evaluated:
            draw_held_out(axes[0], evaluated, labels[1], reduce_runs, color)
            circles = "\nCircles: held-out episodes, action means"
    if any(len(records) > 1 for _, records in groups):
        explanation += f"; {word} over runs and its 95 % bootstrap interval"

    for axis, (x, y) in zip(axes.flat, product(*labels), strict=True):
        axis.set(xlabel=labels[0][x], ylabel=labels[1][y])
        axis.set_xlim(left=0)
        frame(axis)
    first = axes.flat[0]
    first.xaxis.set_major_formatter(EngFormatter(sep=""))
    first.figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    explain(first.figure, first, explanation + circles)
    first.figure.suptitle(", ".join(dict.fromkeys(kind["task"] for kind in kinds)))
    return first.figure


def frame(axis: Axes, *, lines: Literal["both", "y"] = "both") -> None:
    """Gives an axis faint grid lines and takes the frame away from its far sides."""
    axis.grid(alpha=0.25, axis=lines)
    axis.spines[["top", "right"]].set_visible(False)


def color_of(policy: str) -> str:
    """A policy's."""
    return HEADS[policy].color


def styles(
    kinds: Sequence[dict[str, Any]], color_of: Callable[[str], str]
) -> Iterator[tuple[str, str]]:
    """A color and a line style for each of the groups: the learner's, where all have another."""
    colors = [color_of(kind[LEARNER]) for kind in kinds]
    if len(set(colors)) == len(colors):
        return iter([(color, "-") for color in colors])
    return cycle((color, line) for line, color in product(("-", "--", "-."), PALETTE))


def explain(figure: Figure, axis: Axes, explanation: str) -> None:
    """Puts the labels of an axis under a figure, below an explanation of what is drawn."""
    handles, labels = axis.get_legend_handles_labels()
    legend = figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=max(1, min(4, WIDTH_IN_LETTERS // (max(map(len, labels)) + 7))),
        frameon=False,
        title=explanation,
        title_fontsize="small",
    )
    legend.get_title().set_multialignment("center")


def name_of(kind: dict[str, Any], kinds: list[dict[str, Any]]) -> str:
    """What learns, the task if there are several, and what sets it apart on its task."""
    rivals = [other for other in kinds if other["task"] == kind["task"]]
    parts = [short(kind[LEARNER])] + [kind["task"]] * (len(rivals) < len(kinds))
    for name, value in kind.items():
        if name != LEARNER and any(other.get(name, value) != value for other in rivals):
            shown = "x".join(map(str, value)) if isinstance(value, tuple) else value
            shown = f"{value:g}" if isinstance(value, float) else shown
            parts.append(f"{name.replace('_', ' ')} {shown}")
    return ", ".join(parts)


def draw_training(
    axis: Axes, curves: list[Curve], reduce_runs: Statistic, look: dict[str, Any]
) -> None:
    """Draws the runs of a group as one curve with a band, as far as all of them went."""
    end = min(x[-1] for x, _ in curves)
    start = min(end, max(x[0] for x, _ in curves))
    grid = np.linspace(start, end, min(POINTS, *(len(x) for x, _ in curves)))
    values = np.stack([np.interp(grid, x, y) for x, y in curves])
    marker = "." if len(grid) == 1 else ""
    axis.plot(grid, reduce_runs(values, axis=0), marker=marker, linewidth=2, zorder=3, **look)
    if len(curves) > 1:
        low, high = bootstrap_interval(values, reduce_runs)
        axis.fill_between(grid, low, high, color=look["color"], alpha=0.2, linewidth=0)
        for x, y in curves:
            axis.plot(x, y, color=look["color"], alpha=0.35, linewidth=0.7)


def draw_held_out(
    axes: np.ndarray,
    evaluations: list[Columns],
    columns: Iterable[str],
    reduce_runs: Statistic,
    color: str,
) -> None:
    """Draws the evaluations at the steps at which all of a group's evaluated runs made one."""
    steps = reduce(np.intersect1d, [each["steps"] for each in evaluations])
    for axis, y in zip(axes, columns, strict=True):
        values = [each[y][np.isin(each["steps"], steps)] for each in evaluations]
        axis.plot(steps, reduce_runs(values, axis=0), "o", color=color, **CIRCLE)
