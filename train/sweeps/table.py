"""What a sweep came to: a row for each member, a row for each setting, and the best of them."""

import csv
import json
import math
from collections.abc import Sequence
from io import StringIO
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from configs import CloneConfig, DigitsConfig, TrainConfig
from train.runs import metrics, run
from train.runs.intervals import bootstrap_interval
from train.runs.metrics import EVALUATIONS, TIMING
from train.runs.progress import SHORT
from train.sweeps.folder import Run, Sweep
from train.sweeps.grid import shown

MEASURES = {
    TrainConfig: ("success", "best_success", "area", "returns", "distance"),
    DigitsConfig: ("error", "worst", "seconds"),
    CloneConfig: ("success", "error", "seconds"),
}
"""Of the settings, each with an interval; the rows of members say what they are."""

SUMMARIZED = {
    TrainConfig: ("success", "area"),
    DigitsConfig: ("error",),
    CloneConfig: ("success", "error"),
}
SHOWN = 12
"""What people are shown at the end, and of how many settings."""

CLONE_ENDS = ("success", "success_low", "success_high", "returns", "distance")
"""Of a clone's evaluation, what its row says."""

Row = dict[str, Any]


def write(sweep: Sweep) -> None:
    """Writes table.csv and settings.csv, the best first, table.json and best.json."""
    members = [member_row(sweep, member) for member in sweep.runs]
    settings = setting_rows(sweep, members)
    write_csv(sweep, "table.csv", members)
    write_csv(sweep, "settings.csv", settings)
    run.write_json(sweep.folder / "table.json", {"members": members, "settings": settings})
    run.copy_config(best(sweep).folder, sweep.folder / "best.json")


def best(sweep: Sweep) -> Run:
    """The first member of the best setting."""
    setting = read(sweep)["settings"][0]["setting"]
    return next(member for member in sweep.runs if member.setting == setting)


def read(sweep: Sweep) -> dict[str, list[Row]]:
    """What table.json says: `members` and, the best first, `settings`."""
    return json.loads((sweep.folder / "table.json").read_text())


def member_row(sweep: Sweep, member: Run) -> Row:
    """How a member ended, and how it got there."""
    rows = metrics.read(member.folder)
    measured = trained if isinstance(member.config, TrainConfig) else imitated
    return {
        "member": member.folder.name,
        "setting": member.setting,
        **sweep.swept(member.config),
        "seed": member.config.seed,
        "steps": int(rows["steps"][-1]),
        **measured(member, rows),
    }


def trained(member: Run, rows: dict[str, list[float]]) -> Row:
    """What a member of `ndp sweep` is told by.

    `success` and its Wilson interval, `returns` and `distance` (m) are those of the final
    evaluation, `best_success` that of the best one while training, after `best_steps`. `area` is
    success while exploring, averaged over the whole training; there is none if it stopped early.
    None stands for what the task does not know; where that is success, `area` is of the return.
    """
    evaluation, evaluations = member.evaluation, metrics.read(member.folder, EVALUATIONS)
    ends = ("success", "success_low", "success_high", "episodes", "returns", "distance")
    whole = len(rows["steps"]) == member.config.updates
    explored = rows["success" if "success" in rows else "returns"]
    return {
        **{name: evaluation.get(name) for name in ends},
        "best_success": max(evaluations.get("success", []), default=None),
        "best_steps": metrics.best_evaluation(member.folder),
        "area": float(np.mean(np.nan_to_num(explored))) if whole else None,
        **{name: int(rows[name][-1]) for name in ("broken_episodes", "skipped_minibatches")},
    }


def imitated(member: Run, rows: dict[str, list[float]]) -> Row:
    """What a member of a sweep of `ndp imitate` is told by.

    Digits: `error` and that of the `worst` digit in px^2 per coordinate. Clones: `success` with its
    Wilson interval, `returns` and `distance` (m) of the final evaluation, and the held-out `error`
    of the actions. None where nothing but NaN came out. `seconds` are of training alone and, in the
    first member of a program, of compiling it.
    """
    del rows
    found = member.evaluation
    timing = metrics.last_row(member.folder, TIMING)
    training = timing["seconds"] - timing["evaluating"] - timing["saving"]
    seconds = {"seconds": round(training, 3)}
    if isinstance(member.config, DigitsConfig):
        return {name: found.get(name) for name in ("error", "worst")} | seconds
    evaluated = metrics.last_row(member.folder, EVALUATIONS) if found else {}
    ends = {name: found.get(name) for name in CLONE_ENDS}
    return ends | seconds | {"error": evaluated.get("error")}


def setting_rows(sweep: Sweep, members: Sequence[Row]) -> list[Row]:
    """Each setting's means over its seeds with 95 % bootstrap intervals, the best first.

    The best of `ndp sweep` was not stopped early, or latest, and has the highest success, to two
    decimals, or return where there is no success, then the largest area. That of `ndp imitate` has
    the lowest error or, of clones, the highest success and then the lowest error; one with a member
    that came to nothing is last.
    """
    configs = {member.setting: member.config for member in sweep.runs}

    def merit(row: Row) -> tuple:
        config = configs[row["setting"]]
        if isinstance(config, TrainConfig):
            share = row["steps"] / (config.updates * config.steps_per_update)
            end = row["returns"] if row["success"] is None else round(row["success"], 2)
            return share, end, row["area"] or 0.0, -row["setting"]
        success, error = row.get("success"), row["error"]
        return (
            -1.0 if success is None else success,
            -math.inf if error is None else -error,
            -row["setting"],
        )

    measures = MEASURES[type(sweep.runs[0].config)]
    return sorted(means(sweep, members, measures), key=merit, reverse=True)


def means(sweep: Sweep, members: Sequence[Row], measures: Sequence[str]) -> list[Row]:
    """Each setting's means over its seeds with 95 % bootstrap intervals, None where a seed has
    no such measure."""
    found: dict[int, list[Row]] = {}
    for row in members:
        found.setdefault(row["setting"], []).append(row)
    rows = []
    for setting, seeds in found.items():
        row = {"setting": setting, **{name: seeds[0][name] for name in sweep.over}}
        row |= {"seeds": len(seeds), "steps": seeds[0]["steps"]}
        for measure in measures:
            values = [each[measure] for each in seeds]
            known = None not in values
            low, high = bootstrap_interval(np.array(values)) if known else (None, None)
            row[measure] = float(np.mean(values)) if known else None
            row |= {f"{measure}_low": low, f"{measure}_high": high}
        rows.append(row)
    return rows


def write_csv(sweep: Sweep, name: str, rows: Sequence[Row]) -> None:
    """Writes a table with an empty cell for None."""
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: shown(v) if isinstance(v, tuple) else v for key, v in row.items()})
    run.write_whole(sweep.folder / name, text.getvalue())


def summary(sweep: Sweep) -> Table:
    """The best settings and how they measure, for people."""
    rows, measures = read(sweep)["settings"], SUMMARIZED[type(sweep.runs[0].config)]
    if all(row.get("success", 0) is None for row in rows):
        measures = ("returns", "area")
    view = Table(box=SIMPLE, pad_edge=False)
    names = [name.replace("_", " ") for name in sweep.over]
    for name in (*names, "seeds", "steps", *measures):
        view.add_column(name, justify="right", no_wrap=name in measures)
    for row in rows[:SHOWN]:
        swept = [shown(tuple(v) if isinstance(v := row[name], list) else v) for name in sweep.over]
        cells = [interval(row, measure) for measure in measures]
        steps = row["steps"]
        went = f"{steps / 1e6:.2f}M" if steps >= SHORT else f"{steps:,}"
        view.add_row(*swept, str(row["seeds"]), went, *cells)
    if len(rows) > SHOWN:
        view.caption = f"and {len(rows) - SHOWN} more in settings.csv"
    return view


def interval(row: Row, measure: str) -> str:
    """A mean and its interval over seeds."""
    if row[measure] is None:
        return "-"
    digits = "#.3g" if measure == "error" else ".2f"
    mean, low, high = (f"{row[measure + end]:{digits}}" for end in ("", "_low", "_high"))
    return mean if row["seeds"] == 1 else f"{mean} ({low} to {high})"
