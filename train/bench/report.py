"""A suite's rows as a table, as JSON and as a figure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle, groupby
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from rich.console import Console

from train.bench.suite import Case, Row, Suite, machine
from train.runs import plots
from train.runs.plots import plt
from train.runs.run import write_json
from train.system.runtime import versions

FIRST, REST = 24, 11
"""Widths of columns, in letters."""

ACROSS = 4
"""Panels of the figure."""

EXPLANATION = (
    "Time and speed are medians of calls after a warm-up; ± is half their interquartile range. "
    '"... is" says how many times as fast as the row that way is.'
)


def report(name: str, suite: Suite, rows: Iterable[Row], folder: Path, console: Console) -> None:
    """Prints every case as soon as it is measured, then writes NAME.json and NAME.png."""
    ratios, unit = (f"{way} is" for way in suite.ours), filter(None, [suite.unit])
    head = cells("", "time", "±", *unit, *ratios, *suite.more)
    console.print(f"{suite.title}\n{machine()}\n\n{head}", soft_wrap=True)
    done: list[Row] = []
    for case, group in groupby(rows, key=lambda row: row.case):
        console.print(label(case), soft_wrap=True)
        ways = list(group)
        console.print("\n".join(line(suite, row, ways) for row in ways), soft_wrap=True)
        done += ways
    console.print(f"\n{EXPLANATION}\n{suite.about}", soft_wrap=True)
    files = [folder / f"{name}.json"]
    about = {"title": suite.title, "unit": suite.unit, "versions": versions()}
    write_json(files[0], about | {"rows": [content(row) for row in done]})
    if suite.unit and (drawn := panels(done)):
        files.append(folder / f"{name}.png")
        draw(suite, drawn, files[1])
    console.print("\n".join(f"Wrote  {file}" for file in files) + "\n", soft_wrap=True)


def line(suite: Suite, row: Row, ways: Sequence[Row]) -> str:
    """A row, next to the other ways of its case."""
    if row.note:
        return f"  {row.way:<{FIRST - 2}} {row.note}"
    low, median, high = row.quartiles
    ours = {other.way: other.speed / row.speed for other in ways if other.seconds}
    return cells(
        *(f"  {row.way}", duration(median), f"{(high - low) / 2 / median:.0%}"),
        *([figures(row.speed)] if suite.unit else []),
        *(f"{figures(ours[way])} x" if way in ours else "" for way in suite.ours),
        *(
            form.format(row.more[key]) if key in row.more else ""
            for key, form in suite.more.items()
        ),
    )


def cells(first: str, *rest: str) -> str:
    """A line of the table; no cell runs into the next."""
    return f"{first:<{FIRST}}" + "".join(f" {cell:>{REST - 1}}" for cell in rest)


def label(case: Case) -> str:
    """What is done, for people."""
    words = (what if isinstance(what, str) else f"{name} {what:,}" for name, what in case.items())
    return ", ".join(words)


def duration(seconds: float) -> str:
    """In the largest unit of which there is one."""
    for unit, size in (("s", 1), ("ms", 1e-3)):
        if seconds >= size:
            return f"{figures(seconds / size)} {unit}"
    return f"{figures(seconds / 1e-6)} us"


def figures(number: float) -> str:
    """Three of them, or all before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:#.3g}".rstrip(".")


def content(row: Row) -> dict[str, Any]:
    """A row for the file, with the seconds of every call."""
    told: dict[str, Any] = {"case": row.case, "way": row.way}
    if row.note:
        return told | {"note": row.note}
    numbers = {"units": row.units, "speed": row.speed, "quartiles": row.quartiles.tolist()}
    return told | numbers | {"seconds": row.seconds, **row.more}


def panels(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """What was measured, by all of its case but the last number, which it is drawn over."""
    drawn: dict[str, list[Row]] = {}
    for row in rows:
        if row.seconds:
            *rest, _ = row.case
            drawn.setdefault(label({name: row.case[name] for name in rest}), []).append(row)
    return drawn


def draw(suite: Suite, drawn: Mapping[str, Sequence[Row]], path: Path) -> None:
    """Speed of every way over the size of a call, ours drawn through; bars are quartiles."""
    ways = list(dict.fromkeys(row.way for rows in drawn.values() for row in rows))
    looks = {
        way: {"color": color, "linestyle": "-" if way in suite.ours else "--", "label": way}
        for way, color in zip(ways, cycle(plots.PALETTE), strict=False)
    }
    across = min(ACROSS, len(drawn))
    down = -(-len(drawn) // across)
    size = (max(7.0, 3.2 * across), 2.6 * down + 1.2)
    figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, sharey="row")
    for axis, (title, rows) in zip(axes.flat, drawn.items(), strict=False):
        draw_panel(axis, rows, looks)
        axis.set_title("\n".join(title.split(", ", maxsplit=1)), fontsize="small")
    for axis in axes[:, 0]:
        axis.set_ylabel(suite.unit)
    for axis in axes.flat[len(drawn) :]:
        axis.remove()
    fullest = max(axes.flat[: len(drawn)], key=lambda axis: len(axis.containers))
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    plots.explain(figure, fullest, f"{suite.title}; {machine()}")
    plots.save(figure, path)


def draw_panel(axis: Axes, rows: Sequence[Row], looks: Mapping[str, dict[str, Any]]) -> None:
    """A line for each way that was measured in the panel's cases."""
    *_, across = rows[0].case
    ticks = sorted({row.case[across] for row in rows})
    axis.set_xlim(ticks[0] / 1.5, ticks[-1] * 1.5)
    axis.set(xscale="log", yscale="log", xlabel=across)
    axis.set_xticks(ticks, labels=[f"{tick:,}" for tick in ticks], minor=False)
    axis.tick_params(which="minor", bottom=False, labelbottom=False)
    for way, look in looks.items():
        points = [row for row in rows if row.way == way]
        if points:
            where = [row.case[across] for row in points]
            fast, speeds, slow = np.array([row.units / row.quartiles for row in points]).T
            bars = [speeds - slow, fast - speeds]
            axis.errorbar(where, speeds, yerr=bars, marker="o", markersize=4, **look)
    plots.frame(axis)
