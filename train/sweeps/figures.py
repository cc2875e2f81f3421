"""What a sweep came to, drawn: success and area over the swept settings."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from train.runs import metrics, plots
from train.runs.plots import plt
from train.sweeps.folder import Run, Sweep
from train.sweeps.grid import shown
from train.sweeps.table import Row, interval, read

TITLES = {
    "success": "success at the end\n(held-out episodes, action means)",
    "area": "success on average over the training\n(exploring)",
}
RETURNS = {"returns": "return at the end\n(held-out episodes, action means)"}
"""Where the tasks know no success."""
COLORS = "viridis"
BEHIND = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 1}  # of texts
MOST_CURVES = 12
"""Settings that one figure of learning curves can tell apart."""


def draw(sweep: Sweep) -> None:
    """Writes curves.png and, if a setting was swept, sweep.png.

    curves.png has the learning curves of all members or, of many settings, of the best. sweep.png
    is a line over one swept setting, heat maps over two, and parallel coordinates over more or
    over random draws.
    """
    rows = read(sweep)["settings"]
    draw_best(sweep, plots.learning_curves, has_curve)
    names = [name for name in sweep.over if len({key(row[name]) for row in rows}) > 1]
    if not names:
        return
    combinations = {tuple(key(row[name]) for name in names) for row in rows}
    possible = math.prod(len(values_of(rows, name)) for name in names)
    complete = len(rows) == len(combinations) == possible
    kind = {1: line, 2: heat_map}.get(len(names), parallel) if complete else parallel
    figure = kind(rows, names)
    task = sweep.runs[0].config.task if "task" not in sweep.over else ""
    seeds = rows[0]["seeds"]
    over = f"{seeds} seeds each, 95 % bootstrap intervals" if seeds > 1 else "one seed each"
    figure.suptitle(", ".join(filter(None, (task, f"{len(rows)} settings", over))))
    plots.save(figure, sweep.folder / "sweep.png")


def draw_best(
    sweep: Sweep, curves: Callable[[list[Path], Path], None], drawable: Callable[[Run], bool]
) -> None:
    """Writes curves.png, of those members of the best settings that can be drawn."""
    best = [row["setting"] for row in read(sweep)["settings"][:MOST_CURVES]]
    folders = [run.folder for run in sweep.runs if run.setting in best and drawable(run)]
    if folders:
        curves(folders, sweep.folder / "curves.png")


def has_curve(run: Run) -> bool:
    """Whether an episode has ended: a loser may have been stopped before that."""
    return bool(np.any(np.isfinite(metrics.read(run.folder)["returns"])))


def key(value: Any) -> Any:
    """A value to compare and sort by."""
    return tuple(value) if isinstance(value, list) else value


def values_of(rows: Sequence[Row], name: str) -> list[Any]:
    """The values of a setting: numbers in order, names as they come."""
    in_order = sorted(rows, key=lambda row: row["setting"])
    values = list(dict.fromkeys(key(row[name]) for row in in_order))
    return values if isinstance(values[0], str) else sorted(values)


def words(name: str) -> str:
    """A setting's name on an axis."""
    return name.replace("_", " ")


def measures_of(rows: Sequence[Row]) -> dict[str, str]:
    """What every setting has, with what it is; those that stopped early have no area."""
    if any(row["success"] is None for row in rows):
        return RETURNS
    return {
        name: title for name, title in TITLES.items() if all(row[name] is not None for row in rows)
    }


def ends_of(rows: Sequence[Row], measure: str) -> tuple[float, float]:
    """Between which all values of a measure lie."""
    if measure in TITLES:
        return 0.0, 1.0
    values = [row[measure] for row in rows]
    return min(values), max(values)


def unit_of(measure: str) -> str:
    """What an axis of a measure says."""
    return "success rate" if measure in TITLES else "return"


def panels(measures: Sequence[str], *, height: float) -> tuple[Figure, list[Axes]]:
    """A panel for each measure, side by side."""
    size = (5.2 * len(measures), height)
    figure, axes = plt.subplots(1, len(measures), figsize=size, squeeze=False, layout="constrained")
    return figure, list(axes[0])


def line(rows: Sequence[Row], names: Sequence[str]) -> Figure:
    """The measures over one setting, with intervals over seeds."""
    (name,), measures = names, measures_of(rows)
    values = values_of(rows, name)
    by_value = {key(row[name]): row for row in rows}
    figure, axes = panels(list(measures), height=4)
    for axis, measure in zip(axes, measures, strict=True):
        mean, low, high = (
            np.array([by_value[value][measure + end] for value in values])
            for end in ("", "_low", "_high")
        )
        joined = "" if isinstance(values[0], str) else "-"
        look = {"marker": "o", "linestyle": joined, "capsize": 4, "color": "C0"}
        axis.errorbar(range(len(values)), mean, (mean - low, high - mean), **look)
        axis.set_xticks(range(len(values)), [shown(value) for value in values])
        axis.set(xlabel=words(name), ylabel=unit_of(measure))
        if measure in TITLES:
            axis.set_ylim(-0.03, 1.03)
        axis.set_title(measures[measure], fontsize="medium")
        plots.frame(axis)
    return figure


def heat_map(rows: Sequence[Row], names: Sequence[str]) -> Figure:
    """The measures over two settings, with intervals over seeds in the cells."""
    measures = measures_of(rows)
    columns, lines = (values_of(rows, name) for name in names)
    place = {(key(row[names[0]]), key(row[names[1]])): row for row in rows}
    figure, axes = panels(list(measures), height=1.6 + 0.75 * len(lines))
    norms = [Normalize(*ends_of(rows, measure)) for measure in measures]
    for axis, measure, norm in zip(axes, measures, norms, strict=True):
        cells = np.array([[place[x, y][measure] for x in columns] for y in lines])
        axis.imshow(cells, cmap=COLORS, norm=norm, aspect="auto", origin="lower")
        for j, y in enumerate(lines):
            for i, x in enumerate(columns):
                text = interval(place[x, y], measure).replace(" (", "\n(")
                color = "black" if norm(cells[j, i]) > 0.5 else "white"
                axis.text(i, j, text, ha="center", va="center", color=color, fontsize="small")
        axis.set_xticks(range(len(columns)), [shown(value) for value in columns])
        axis.set_yticks(range(len(lines)), [shown(value) for value in lines])
        axis.set(xlabel=words(names[0]), ylabel=words(names[1]))
        axis.set_title(measures[measure], fontsize="medium")
    colors = plt.cm.ScalarMappable(norms[0], COLORS)
    figure.colorbar(colors, ax=axes, label=unit_of(next(iter(measures))))
    return figure


def parallel(rows: Sequence[Row], names: Sequence[str]) -> Figure:
    """A line for each setting through its values, in the color of its success; the best on top."""
    measure, title = list(measures_of(rows).items())[-1]
    norm = Normalize(*ends_of(rows, measure))
    color = plt.get_cmap(COLORS)
    figure, (axis,) = panels([measure], height=4.6)
    figure.set_size_inches(max(6.0, 1.9 * len(names) + 2.5), 4.6)
    scales = [scale(values_of(rows, name)) for name in names]
    for order, row in enumerate(reversed(rows)):
        heights = [places[key(row[name])] for places, name in zip(scales, names, strict=True)]
        merit = float(norm(row[measure]))
        look = {"color": color(merit), "linewidth": 1 + 2 * merit, "zorder": order}
        axis.plot(range(len(names)), heights, **look)
    for x, places in enumerate(scales):
        values = list(places)
        ends = values if len(values) <= 8 else [values[0], values[-1]]
        look = {"va": "center", "fontsize": "small", "zorder": len(rows), "bbox": BEHIND}
        for value in ends:
            axis.text(x + 0.03, places[value], shown(value), **look)
        axis.axvline(x, color="black", linewidth=0.8, zorder=0)
    axis.set_xticks(range(len(names)), [words(name) for name in names])
    axis.set_yticks([])
    axis.set_xlim(-0.1, len(names) - 0.7)
    axis.spines[["top", "right", "bottom", "left"]].set_visible(False)
    label = title.replace("\n", " ")
    figure.colorbar(plt.cm.ScalarMappable(norm, color), ax=axis, label=label)
    return figure


def scale(values: Sequence[Any]) -> dict[Any, float]:
    """Where values lie on an axis from 0 to 1: names evenly, numbers by size or, if they differ by
    a factor of ten, by orders of magnitude."""
    if isinstance(values[0], str | tuple) or len(values) <= 5:
        return dict(zip(values, np.linspace(0, 1, len(values)), strict=True))
    numbers = np.array(values, float)
    if numbers[0] > 0 and numbers[-1] / numbers[0] >= 10:
        numbers = np.log(numbers)
    return dict(zip(values, (numbers - numbers[0]) / (numbers[-1] - numbers[0]), strict=True))
