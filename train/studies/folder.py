"""The study folder: study.json and, for each cell, a sweep folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from train.runs import run
from train.studies.cells import name_of
from train.sweeps import folder as sweeps
from train.sweeps.folder import LONGEST_NAME, Sweep, settled
from train.sweeps.grid import Grid
from train.system.errors import UserError

STUDY = "study.json"


class Study(NamedTuple):
    """What a study folder says.

    Attributes:
      folder: of the study.
      over: names of the settings that make variants of a policy.
      cells: the sweeps over seeds, in the order in which they are trained.
    """

    folder: Path
    over: tuple[str, ...]
    cells: tuple[Sweep, ...]

    @property
    def finished(self) -> list[Sweep]:
        """The cells that have come to their end."""
        return [cell for cell in self.cells if is_finished(cell)]


def is_finished(cell: Sweep) -> bool:
    """Whether all seeds of a cell have been evaluated at their end, and that is summed up."""
    return not (cell.folder / "groups").exists() and all(member.evaluation for member in cell.runs)


def fresh(cells: Sequence[Grid], out: Path | None, *, versions: dict[str, str]) -> Study:
    """Creates the folder of a new study: `out`, or the first free runs/study.

    Raises:
      UserError: `out` holds something already, or cannot be written, or nobody can compute the
        physics.
    """
    cells = [settled(cell) for cell in cells]
    folder = run.claim(out, Path("runs") / "study", mark=STUDY)
    width = len(str(len(cells) - 1))
    names = [f"{i:0{width}d}-{name_of(cell)}"[:LONGEST_NAME] for i, cell in enumerate(cells)]
    for name, cell in zip(names, cells, strict=True):
        sweeps.fresh(cell, folder / "cells" / name, halving=False, versions=versions)
    content = {"over": list(cells[0].over), "cells": names, "versions": versions, "machines": []}
    run.write_json(folder / STUDY, content)
    return load(folder)


def load(folder: Path) -> Study:
    """Reads a study folder.

    Raises:
      UserError: it is none, or damaged.
    """
    content = read(folder)
    try:
        over, names = tuple(map(str, content["over"])), list(map(str, content["cells"]))
    except (TypeError, KeyError) as error:
        raise UserError(f"{folder / STUDY} cannot be read as a study ({error}).") from None
    return Study(folder, over, tuple(sweeps.load(folder / "cells" / name) for name in names))


def read(folder: Path) -> dict:
    """What study.json says; raises as `load`."""
    path = folder / STUDY
    if not folder.exists():
        raise UserError(f"There is no study folder {folder}.")
    if not path.is_file():
        raise UserError(f"{folder} is not a study folder: it has no {STUDY}.")
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read as a study ({error}).") from None
