"""What a sweep of imitations came to: `table.table` by error, or by success of clones."""

import json
import math
from typing import Any

from rich.table import Table

from configs import DigitsConfig
from train.runs import metrics
from train.runs.metrics import EVALUATIONS, TIMING
from train.sweeps import table
from train.sweeps.sweep_folder import Run, Sweep
from train.sweeps.table import Row

ENDS = {
    "digits": ("error", "worst"),
    "clones": ("success", "success_low", "success_high", "returns", "distance"),
}
"""Of a member's evaluation.json, what its row says."""

MEASURES = {"digits": ("error", "worst", "seconds"), "clones": ("success", "error", "seconds")}
"""Of the settings, each with an interval."""

SUMMARIZED = {"digits": ("error",), "clones": ("success", "error")}
"""What people are shown at the end."""


def kind(sweep: Sweep) -> str:
    """What is imitated: digits, or robots by clones."""
    return "digits" if isinstance(sweep.runs[0].config, DigitsConfig) else "clones"


def write(sweep: Sweep) -> None:
    """Writes table.csv, settings.csv, table.json and best.json.

    The best setting has the lowest error or, of clones, the highest success and then the lowest
    error. One with a member that came to nothing is last.
    """
    members = [member_row(sweep, member) for member in sweep.runs]
    settings = table.means(sweep, members, MEASURES[kind(sweep)])
    table.save(sweep, members, sorted(settings, key=demerit))


def demerit(row: Row) -> tuple[float, float, int]:
    """What the settings are sorted by."""
    error, success = row["error"], row.get("success")
    return (
        -1.0 if success is None else -success,
        math.inf if error is None else error,
        row["setting"],
    )


def member_row(sweep: Sweep, member: Run) -> Row:
    """How a member ended.

    Digits: `error` and that of the `worst` digit in px^2 per coordinate. Clones: `success` with its
    Wilson interval, `returns` and `distance` (m) of the final evaluation, and the held-out `error`
    of the actions. None where nothing but NaN came out. `seconds` are of training alone and, in the
    first member of a program, of compiling it.
    """
    found = ended(member)
    seconds = metrics.last_row(member.folder, TIMING)
    row = {
        "member": member.folder.name,
        "setting": member.setting,
        **sweep.swept(member.config),
        "seed": member.config.seed,
        "steps": int(metrics.last_row(member.folder, metrics.METRICS)["steps"]),
        **{name: found.get(name) for name in ENDS[kind(sweep)]},
        "seconds": round(seconds["seconds"] - seconds["evaluating"] - seconds["saving"], 3),
    }
    if kind(sweep) == "clones":
        evaluated = metrics.last_row(member.folder, EVALUATIONS) if found else {}
        row["error"] = evaluated.get("error")
    return row


def summary(sweep: Sweep) -> Table:
    """The best settings for people."""
    return table.summary(sweep, SUMMARIZED[kind(sweep)])


def ended(member: Run) -> dict[str, Any]:
    """A member's evaluation, empty if it has come to no end."""
    path = member.folder / "evaluation.json"
    return json.loads(path.read_text()) if path.exists() else {}
