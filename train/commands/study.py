"""`ndp study`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from configs import PRESETS
from configs.base import PresetName
from train.commands.command import Command, check_count, show
from train.runs.run import check_free, check_place
from train.sweeps.grid import Grid
from train.system.errors import UserError

QUICK: dict[str, Any] = {"tasks": ("push",), "seeds": 3, "steps": 500_000}
"""What --quick says."""


@dataclass(frozen=True)
class Study(Command):
    """Train tasks x policies x seeds and compare the policies: one folder with a csv of every
    evaluation, learning curves, a table.

    A cell (a task, a policy and all seeds) is a sweep, trained as one program; finished cells are
    in the table while the others train. --over.NAME V1 V2 ... makes variants of every policy, as
    for ablations: --policies ndp --over.n-basis 3 6 12. With one value it is a setting of all
    cells: --over.num-envs 256.
    """

    tasks: tuple[str, ...] = tuple(PRESETS)
    """Tasks, also the package.module:Class of your own."""
    policies: tuple[str, ...] = ("ndp", "ppo-multi", "ppo")
    """Policies, by default the paper's; the first is compared with each other."""
    seeds: int = 10
    """Of each cell, from 0 on."""
    steps: int | None = None
    """Environment steps of each run; by default those of the task's preset."""
    preset: PresetName = "tuned"
    """The settings of the cells: ours for task and policy, or the paper's."""
    quick: bool = False
    """Push, 3 seeds, half a million steps: a quarter of an hour on 2 CPU cores."""
    devices: int = 1
    """Devices to spread the seeds over."""
    resume: Path | None = None
    """Study folder to continue, in place of everything else but --devices."""
    plot: tuple[Path, ...] = ()
    """Folders with an evaluations.csv of a study, to write table and figures anew, of several
    together; nothing is trained."""
    out: Path | None = None
    """Folder to create; by default the first free runs/study, with --plot the folder itself."""
    cells: tyro.conf.Suppress[tuple[Grid, ...]] = ()

    @property
    def computes(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return not self.plot

    def check(self) -> None:
        """Refuses a study that cannot start, and folders that cannot be drawn together."""
        if self.plot:
            if len(self.plot) > 1 and not self.out:
                raise UserError("--plot of several folders needs --out, a folder to write to.")
            check_place(self.out or next(iter(self.plot)))
            return
        check_count("--devices", self.devices)
        if self.out:
            check_free(self.out)

    def execute(self, console: Console) -> None:
        if self.plot:
            from train.studies import report

            out = self.out or next(iter(self.plot))
            report.write(self.plot, out)
            return show(console, *left(out))
        from train.studies.train import study

        options = {"out": self.out, "devices": self.devices, "console": console}
        sum_up(study(self.cells, **options).folder, console)


def sum_up(folder: Path, console: Console) -> None:
    """What a study has found and left."""
    show(console, "", (folder / "table.md").read_text(), *left(folder))


def left(folder: Path) -> list[str]:
    """The files that a study has left, for people."""
    files = {"Table ": "table.md", "Rows  ": "evaluations.csv", "Curves": "curves.png"}
    files |= {"": "minutes.png", "Policies": "comparison.png"}
    return [f"{word:8} {folder / file}" for word, file in files.items() if (folder / file).exists()]
