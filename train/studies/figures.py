"""What a study came to, drawn: learning curves, and the policies compared."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from train.runs import plots
from train.runs.plots import LEARNER, plt
from train.studies.record import Cell, Results, Variant, shared_tasks, tasks_of, variants_of
from train.studies.statistics import Estimate, estimate, interquartile_mean, over_shares
from train.studies.table import improvement_on, label

COLUMNS = 3
"""Of panels, at most."""

SHARES = np.linspace(0, 1, 101)
ALL = "all tasks"
EXPLANATION = (
    "Held-out episodes, action means; interquartile mean of the seeds\n"
    "and its 95 % bootstrap interval, over all tasks stratified by task"
)

Look = dict[str, Any]


def draw(found: Results, folder: Path) -> None:
    """Writes curves.png, minutes.png and, of several variants, comparison.png."""
    plots.save(step_curves(found), folder / "curves.png")
    plots.save(minute_curves(found), folder / "minutes.png")
    if len(variants_of(found)) > 1 and shared_tasks(found):
        plots.save(comparison(found), folder / "comparison.png")


def looks(found: Results) -> dict[Variant, Look]:
    """Colour, line style and label of each variant: the policy's colour, where all have another."""
    variants = variants_of(found)
    kinds = [{LEARNER: variant.policy} for variant in variants]
    styles = zip(variants, plots.styles(kinds, plots.color_of), strict=False)
    return {
        variant: {"color": color, "linestyle": line, "label": label(variant, variants)}
        for variant, (color, line) in styles
    }


def step_curves(found: Results) -> Figure:
    """Success against environment steps for each task, and against their share for all."""
    together = shared_tasks(found) if len(tasks_of(found)) > 1 else []
    figure, axes = panels([*tasks_of(found), *[ALL] * bool(together)])
    curves(found, axes, lambda cell: cell.steps, plots.XLABELS["steps"])
    for task in tasks_of(found):
        axes[task].xaxis.set_major_formatter(EngFormatter(sep=""))
    if together:
        for variant, look in looks(found).items():
            strata = [over_shares(found[task, variant], SHARES) for task in together]
            band(axes[ALL], SHARES, estimate(strata, interquartile_mean), look)
        finish(axes[ALL], "share of the environment steps")
        axes[ALL].xaxis.set_major_formatter(PercentFormatter(1))
    return explained(figure, axes)


def minute_curves(found: Results) -> Figure:
    """Success against wall time for each task."""
    figure, axes = panels(tasks_of(found))
    curves(found, axes, lambda cell: cell.minutes, "wall time of training, one seed (minutes)")
    return explained(figure, axes)


def panels(names: Sequence[str]) -> tuple[Figure, dict[str, Axes]]:
    """A panel for each name, in rows of `COLUMNS`."""
    columns = min(COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    size = (max(5.5, 3.9 * columns), 3.1 * rows + 0.6)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for unused in axes.flat[len(names) :]:
        unused.set_axis_off()
    return figure, dict(zip(names, axes.flat, strict=False))


def curves(
    found: Results, axes: dict[str, Axes], clock: Callable[[Cell], np.ndarray], xlabel: str
) -> None:
    """Draws a curve of each variant into the panel of each task."""
    for task in tasks_of(found):
        for variant, look in looks(found).items():
            if cell := found.get((task, variant)):
                seeds = estimate([cell.success], interquartile_mean)
                band(axes[task], clock(cell), seeds, look)
        finish(axes[task], xlabel)


def band(axis: Axes, x: np.ndarray, seeds: Estimate, look: Look) -> None:
    axis.plot(x, seeds.value, linewidth=2, zorder=3, **look)
    axis.fill_between(x, seeds.low, seeds.high, color=look["color"], alpha=0.2, linewidth=0)


def finish(axis: Axes, xlabel: str) -> None:
    axis.set(xlabel=xlabel, ylabel="success rate", ylim=(-0.03, 1.03))
    axis.set_xlim(left=0)
    plots.frame(axis)


def by_scope(axis: Axes, scopes: Sequence[str], ylabel: str) -> None:
    axis.set_xticks(range(len(scopes)), scopes)
    axis.set(xlim=(-0.5, len(scopes) - 0.5), ylabel=ylabel, ylim=(-0.03, 1.03))
    plots.frame(axis, lines="y")


def explained(figure: Figure, axes: dict[str, Axes], explanation: str = EXPLANATION) -> Figure:
    """Titles above the panels, and below all of them what the colours are."""
    for name, axis in axes.items():
        axis.set_title(name, fontsize="medium")
    by_label: dict[str, Any] = {}
    for axis in axes.values():
        handles, labels = axis.get_legend_handles_labels()
        by_label = dict(zip(labels, handles, strict=True)) | by_label
    legend = figure.legend(
        by_label.values(),
        by_label.keys(),
        loc="outside lower center",
        ncols=max(1, min(4, len(by_label))),
        frameon=False,
        title=explanation,
        title_fontsize="small",
    )
    legend.get_title().set_multialignment("center")
    return figure


def comparison(found: Results) -> Figure:
    """Success at the end, and how probably the first variant improves on each other."""
    tasks, every = shared_tasks(found), looks(found)
    scopes = {task: [task] for task in tasks} | ({ALL: tasks} if len(tasks) > 1 else {})
    first, *others = every
    figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.2), layout="constrained")
    for place, variant in enumerate(every):
        ends = [
            estimate([found[task, variant].final for task in scope], interquartile_mean)
            for scope in scopes.values()
        ]
        points(left, ends, aside(place, len(every)), every[variant])
    for place, variant in enumerate(others):
        better = [improvement_on(found, variant, scope) for scope in scopes.values()]
        points(right, better, aside(place, len(others)), every[variant] | {"label": ""})
    by_scope(left, list(scopes), "success rate at the end")
    by_scope(right, list(scopes), f"P({every[first]['label']} > other)")
    right.axhline(0.5, color="black", linewidth=0.8, linestyle=":", zorder=0)
    titles = {"success at the end": left, "probability of improvement": right}
    return explained(figure, titles)


def aside(place: int, of: int) -> float:
    """How far right of a scope's middle the points of a variant stand."""
    return 0.6 * (place - (of - 1) / 2) / of


def points(axis: Axes, estimates: Sequence[Estimate], aside: float, look: Look) -> None:
    """An estimate of each scope."""
    value, low, high = (np.array(column) for column in zip(*estimates, strict=True))
    style = look | {"linestyle": "", "marker": "o", "capsize": 3}
    axis.errorbar(np.arange(len(value)) + aside, value, (value - low, high - value), **style)
