"""The numbers of a study as markdown."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from envs.outside import short
from train.studies.record import (
    Cell,
    Results,
    Variant,
    shared_tasks,
    tasks_of,
    variants_of,
)
from train.studies.statistics import (
    Estimate,
    after,
    estimate,
    improvement,
    interquartile_mean,
    reached,
)

SHARES = (0.25, 0.5, 1.0)
"""Of the steps, after which success is told."""

LEVELS = (0.5, 0.8, 0.9)
"""Of success, to which steps and minutes are told."""


def markdown(found: Results, machines: Sequence[str]) -> str:
    """All tables."""
    seeds = sorted({len(cell.final) for cell in found.values()})
    episodes = sorted({cell.episodes for cell in found.values()})
    parts = [
        f"Success is the share of {joined(episodes)} held-out episodes, played with the action "
        f"means; interquartile mean of {joined(seeds)} seeds and its 95 % bootstrap interval. "
        "Before the end it is that of the latest evaluation. `hours` is the wall time of the cell, "
        "all seeds and evaluations.",
        success_table(found),
        "The first evaluation with so much success, median of the seeds, and how many of them "
        "came so far if not all; minutes are wall time of training without compilation, the "
        "cell's divided by its seeds.",
        speed_table(found),
    ]
    if len(variants_of(found)) > 1 and shared_tasks(found):
        first = label(variants_of(found)[0], variants_of(found))
        parts += [
            f"All tasks, and the probability that a seed of {first} ends with more success than "
            "one of the other, ties half, with stratified bootstrap intervals.",
            comparison_table(found),
        ]
    if machines:
        parts.append(f"Trained on {'; '.join(machines)}.")
    return "\n\n".join(parts) + "\n"


def joined(numbers: Sequence[int]) -> str:
    return " or ".join(map(str, numbers))


def success_table(found: Results) -> str:
    """Success after shares of the steps, and what a cell took."""
    heads = [f"after {100 * share:.0f} %" if share < 1 else "at the end" for share in SHARES]

    def cells(cell: Cell) -> list[str]:
        parts = [told(estimate([after(cell, share)], interquartile_mean)) for share in SHARES]
        return [f"{cell.steps[-1] / 1e6:.3g} M", *parts, f"{cell.hours:.2f}"]

    return by_cell(found, ["steps", *heads, "hours"], cells)


def speed_table(found: Results) -> str:
    """Steps and minutes to levels of success."""
    heads = [f"{what} to {number(level, 1)}" for what in ("steps", "min") for level in LEVELS]

    def cells(cell: Cell) -> list[str]:
        steps = [median(reached(cell, level, cell.steps), million) for level in LEVELS]
        return steps + [median(reached(cell, level, cell.minutes), minutes) for level in LEVELS]

    return by_cell(found, heads, cells)


def by_cell(found: Results, heads: Sequence[str], cells: Callable[[Cell], list[str]]) -> str:
    """A row for each task and variant, in which the variants of a task follow each other."""
    variants = variants_of(found)
    rows = [
        [task, label(variant, variants), *cells(found[task, variant])]
        for task in tasks_of(found)
        for variant in variants
        if (task, variant) in found
    ]
    return rows_of(["task", "policy", *heads], rows)


def comparison_table(found: Results) -> str:
    """Success over all tasks, and how probably the first variant improves on each other."""
    tasks, variants = shared_tasks(found), variants_of(found)
    every = "all tasks" if len(tasks) > 1 else tasks[0]
    scopes = {every: tasks} | ({task: [task] for task in tasks} if len(tasks) > 1 else {})
    rows = []
    for variant in variants:
        overall = estimate([found[task, variant].final for task in tasks], interquartile_mean)
        better = [
            "" if variant == variants[0] else told(improvement_on(found, variant, scope))
            for scope in scopes.values()
        ]
        rows.append([label(variant, variants), told(overall), *better])
    return rows_of(["policy", "success", *(f"P, {scope}" for scope in scopes)], rows)


def improvement_on(found: Results, other: Variant, tasks: Sequence[str]) -> Estimate:
    """How probably the first variant does better than another, at the end."""
    first = variants_of(found)[0]
    strata = [found[task, variant].final for variant in (first, other) for task in tasks]
    return estimate(strata, improvement)


def rows_of(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def label(variant: Variant, variants: Sequence[Variant]) -> str:
    """The policy, and the values that set it apart."""
    parts = [short(variant.policy)]
    for place, (name, value) in enumerate(variant.values):
        if any(other.values[place][1] != value for other in variants):
            parts.append(f"{name.replace('_', ' ')} {value}")
    return ", ".join(parts)


def told(found: Estimate) -> str:
    value, low, high = (number(float(end)) for end in found)
    return f"{value} ({low} to {high})"


def number(value: float, digits: int = 3) -> str:
    """A share, without the zero before its point."""
    return f"{value:.{digits}f}".removeprefix("0")


def median(values: Float[np.ndarray, " S"], word: Callable[[float], str]) -> str:
    """Of the seeds, those that never came so far being the last."""
    came = int(np.isfinite(values).sum())
    middle = float(np.median(values))
    value = word(middle) if math.isfinite(middle) else "-"
    return value if came == len(values) else f"{value} ({came} of {len(values)})"


def million(steps: float) -> str:
    return f"{steps / 1e6:.2f} M"


def minutes(value: float) -> str:
    return f"{value:.1f}"
