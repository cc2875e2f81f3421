"""evaluations.csv: every evaluation of a study, and all that its statistics are made from."""

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from train.runs import metrics, run
from train.runs.metrics import EVALUATIONS, TIMING
from train.studies.folder import Study
from train.sweeps.folder import Sweep
from train.sweeps.grid import shown
from train.system.errors import UserError

MEASURED = ("episodes", "success", "returns", "distance")
BEHIND_SEED = ("steps", "minutes", "hours", "final", *MEASURED)
"""Columns behind those that say which run it is: task, policy, the study's settings and seed."""

Row = dict[str, str]


class Variant(NamedTuple):
    """What is compared: a policy, and the values of the settings that were varied, by name."""

    policy: str
    values: tuple[tuple[str, str], ...]


class Cell(NamedTuple):
    """What S seeds of a variant did on a task in E evaluations, the last of them at the end.

    Attributes:
      steps: of each run up to an evaluation, (E,).
      minutes: wall time of training up to there without compilation, the cell's divided by S, (E,).
      hours: wall time of the whole cell, evaluations and compilation included.
      success: on held-out episodes with the action means, (S, E).
      final: the same on the episodes of the end, (S,).
      episodes: at the end of each run.
    """

    steps: Float[np.ndarray, " E"]
    minutes: Float[np.ndarray, " E"]
    hours: float
    success: Float[np.ndarray, "S E"]
    final: Float[np.ndarray, " S"]
    episodes: int


Results = dict[tuple[str, Variant], Cell]
"""By task and variant, in the order in which they were trained."""


def rows_of(study: Study) -> list[Row]:
    """The rows of the cells that have come to their end."""
    return [row for cell in study.finished for row in cell_rows(cell)]


def cell_rows(cell: Sweep) -> list[Row]:
    """A row for each evaluation of each seed, and one for that of its end."""
    rows = []
    for member in cell.runs:
        config, folder = member.config, member.folder
        evaluations, timing = metrics.read(folder, EVALUATIONS), metrics.read(folder, TIMING)
        clock = clock_of(timing, seeds=len(cell.runs))
        swept = {name: shown(value) for name, value in cell.swept(config).items()}
        which = {"task": config.task, "policy": config.policy} | swept | {"seed": str(config.seed)}
        for place, steps in enumerate(evaluations["steps"]):
            measured = {name: evaluations[name][place] for name in MEASURED}
            rows.append(which | row(steps, clock, measured, final=False))
        measured = {name: member.evaluation[name] for name in MEASURED}
        rows.append(which | row(timing["steps"][-1], clock, measured, final=True))
    return rows


def clock_of(timing: dict[str, list[float]], *, seeds: int) -> dict[float, tuple[float, float]]:
    """Minutes of training for each seed, and hours of all and everything, by steps.

    Of the first update, which includes compilation, training is taken to be the median update.
    """
    seconds = np.array(timing["seconds"])
    training = seconds - np.array(timing["evaluating"]) - np.array(timing["saving"])
    if len(training) > 1:
        training += np.median(np.diff(training)) - training[0]
    minutes, hours = training / 60 / seeds, seconds / 3600
    passed = dict(zip(timing["steps"], zip(minutes, hours, strict=True), strict=True))
    return {0.0: (0.0, 0.0)} | passed


def row(
    steps: float,
    clock: dict[float, tuple[float, float]],
    measured: dict[str, float],
    *,
    final: bool,
) -> Row:
    minutes, hours = clock[steps]
    times = {"steps": f"{steps:.0f}", "minutes": f"{minutes:.5g}", "hours": f"{hours:.5g}"}
    return times | {"final": f"{final:d}"} | {name: f"{measured[name]:.6g}" for name in MEASURED}


def write(rows: Sequence[Row], path: Path) -> None:
    """Writes rows, of which there is at least one, to a file that is complete or absent."""
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    run.write_whole(path, text.getvalue())


def read(paths: Sequence[Path]) -> list[Row]:
    """The rows of one or more files with the same columns.

    Raises:
      UserError: one cannot be read, or is of another kind.
    """
    rows: list[Row] = []
    for path in paths:
        if not path.is_file():
            raise UserError(f"There is no file {path}; give a folder that `ndp study` left.")
        found = list(csv.DictReader(path.read_text().splitlines()))
        columns = tuple(found[0]) if found else ()
        if columns[:2] != ("task", "policy") or columns[-len(BEHIND_SEED) :] != BEHIND_SEED:
            raise UserError(f"{path} is not the evaluations.csv of a study.")
        if rows and columns != tuple(rows[0]):
            raise UserError(f"{path} varies other settings than {paths[0]}; plot them apart.")
        rows += found
    return rows


def results(rows: Sequence[Row]) -> Results:
    """What the rows say.

    Raises:
      UserError: a number cannot be read, or a run is not whole or comes twice.
    """
    names = [*rows[0]]
    over = names[2 : names.index("seed")]
    runs: dict[tuple[str, Variant], dict[str, list[Row]]] = {}
    for each in rows:
        variant = Variant(each["policy"], tuple((name, each[name]) for name in over))
        runs.setdefault((each["task"], variant), {}).setdefault(each["seed"], []).append(each)
    return {place: cell_of(place[0], seeds) for place, seeds in runs.items()}


def cell_of(task: str, seeds: dict[str, list[Row]]) -> Cell:
    """The numbers of a cell, from the rows of each seed."""
    curves = [[each for each in rows if each["final"] == "0"] for rows in seeds.values()]
    ends = [each for rows in seeds.values() for each in rows if each["final"] == "1"]
    try:
        steps = np.array([[float(each["steps"]) for each in curve] for curve in curves])
        success = np.array([[float(each["success"]) for each in curve] for curve in curves])
        minutes = [float(each["minutes"]) for each in curves[0]]
        final = np.array([float(each["success"]) for each in ends])
        whole = steps.size and len(ends) == len(curves) and (np.diff(steps) > 0).all()
        if not whole or (steps != steps[0]).any():
            raise ValueError("its runs are not whole, of different lengths or there twice")
        hours, episodes = float(ends[0]["hours"]), int(float(ends[0]["episodes"]))
    except (TypeError, ValueError) as error:
        raise UserError(f"The evaluations of {task} cannot be read ({error}).") from None
    return Cell(steps[0], np.array(minutes), hours, success, final, episodes)


def tasks_of(found: Results) -> list[str]:
    """In the order in which they were trained."""
    return list(dict.fromkeys(task for task, _ in found))


def variants_of(found: Results) -> list[Variant]:
    """In the order in which they were trained."""
    return list(dict.fromkeys(variant for _, variant in found))


def shared_tasks(found: Results) -> list[str]:
    """The tasks that every variant was trained on."""
    variants = variants_of(found)
    return [task for task in tasks_of(found) if all((task, each) in found for each in variants)]
