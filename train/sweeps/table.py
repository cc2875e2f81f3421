"""What a sweep came to: a row for each member, a row for each setting, and the best of them."""

import csv
import json
from collections.abc import Sequence
from io import StringIO
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from train.rl.evaluate import bootstrap_interval
from train.runs import metrics, run
from train.runs.metrics import EVALUATIONS
from train.runs.progress import SHORT
from train.sweeps.grid import shown
from train.sweeps.sweep_folder import Run, Sweep

MEASURES = ("success", "best_success", "area", "returns", "distance")
"""Of the settings, each with an interval; `member_row` says what they are."""

SUMMARIZED, SHOWN = ("success", "area"), 12
"""What people are shown at the end, and of how many settings."""

Row = dict[str, Any]


def write(sweep: Sweep) -> None:
    """Writes table.csv, settings.csv, table.json and best.json."""
    members = [member_row(sweep, member) for member in sweep.runs]
    save(sweep, members, setting_rows(sweep, members))


def save(sweep: Sweep, members: Sequence[Row], settings: Sequence[Row]) -> None:
    """Writes a row for each member and, the best first, for each setting."""
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
    """How a member ended, and how it got there.

    `success` and its Wilson interval, `returns` and `distance` (m) are those of the final
    evaluation, `best_success` that of the best one while training, after `best_steps`. `area` is
    success while exploring, averaged over the whole training; there is none if it stopped early.
    """
    evaluation = json.loads((member.folder / "evaluation.json").read_text())
    evaluations = metrics.read(member.folder, EVALUATIONS)
    rows = metrics.read(member.folder)
    best = metrics.best_evaluation(member.folder)
    whole = len(rows["steps"]) == member.config.updates
    return {
        "member": member.folder.name,
        "setting": member.setting,
        **sweep.swept(member.config),
        "seed": member.config.seed,
        "steps": int(rows["steps"][-1]),
        **{name: evaluation[name] for name in ("success", "success_low", "success_high")},
        "episodes": evaluation["episodes"],
        **{name: evaluation[name] for name in ("returns", "distance")},
        "best_success": max(evaluations["success"]) if evaluations else None,
        "best_steps": best,
        "area": float(np.mean(np.nan_to_num(rows["success"]))) if whole else None,
        **{name: int(rows[name][-1]) for name in ("broken_episodes", "skipped_minibatches")},
    }


def setting_rows(sweep: Sweep, members: Sequence[Row]) -> list[Row]:
    """Each setting's means over its seeds with 95 % bootstrap intervals, the best first.

    The best was not stopped early, or latest, and has the highest success, to two decimals, then
    the largest area.
    """
    planned = {run.setting: run.config.updates * run.config.steps_per_update for run in sweep.runs}

    def merit(row: Row) -> tuple:
        share = row["steps"] / planned[row["setting"]]
        return share, round(row["success"], 2), row["area"] or 0.0, -row["setting"]

    return sorted(means(sweep, members, MEASURES), key=merit, reverse=True)


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


def summary(sweep: Sweep, measures: Sequence[str] = SUMMARIZED) -> Table:
    """The best settings and how they measure, for people."""
    rows = read(sweep)["settings"]
    view = Table(box=SIMPLE, pad_edge=False)
    names = [name.replace("_", " ") for name in sweep.over]
    for name in (*names, "seeds", "steps", *measures):
        view.add_column(name, justify="right", no_wrap=name in measures)
    for row in rows[:SHOWN]:
        swept = [shown(tuple(v) if isinstance(v := row[name], list) else v) for name in sweep.over]
        cells = [interval(row, measure) for measure in measures]
        view.add_row(*swept, str(row["seeds"]), steps_of(row), *cells)
    if len(rows) > SHOWN:
        view.caption = f"and {len(rows) - SHOWN} more in settings.csv"
    return view


def interval(row: Row, measure: str) -> str:
    """A mean and its interval over seeds."""
    if row[measure] is None:
        return "-"
    digits = ".2f" if measure in MEASURES else "#.3g"
    mean, low, high = (f"{row[measure + end]:{digits}}" for end in ("", "_low", "_high"))
    return mean if row["seeds"] == 1 else f"{mean} ({low} to {high})"


def steps_of(row: Row) -> str:
    """How far a setting went; many steps are counted in millions."""
    steps = row["steps"]
    return f"{steps / 1e6:.2f}M" if steps >= SHORT else f"{steps:,}"
