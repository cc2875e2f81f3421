"""`ndp sweep`."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import tyro
from rich.console import Console

from configs import TrainConfig
from configs.base import PresetName
from train.commands.command import Command, check_chosen, check_count, show, start
from train.runs.run import check_free
from train.sweeps.grid import Grid, program
from train.system.errors import UserError
from train.system.hints import hint


@dataclass(frozen=True)
class Sweep(Command):
    """Train many settings and seeds as one program.

    --over.NAME V1 V2 ... sweeps a setting, every combination of several: --over.lr 1e-4 1e-3
    --over.alpha 5 15. Layer widths are joined by x: --over.hidden 64x64 100x100. With --samples,
    combinations are drawn at random, and a setting may be a range: --over.lr loguniform 1e-4 1e-2,
    --over.clip uniform .1 .3. Settings that are not just numbers in the program (chunk, policy,
    task, num-envs, ...) make groups, each compiled once, trained one after another.
    """

    config: TrainConfig
    seeds: int = 1
    """Runs for each combination, with seeds from --seed on."""
    samples: int | None = None
    """Combinations to draw at random; by default all are trained."""
    halving: bool = False
    """Stop the worse half of the settings after 1/8, 1/4 and 1/2 of the updates."""
    devices: int = 1
    """Devices to spread the members over."""
    file: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """File of settings that take the place of the task's defaults, like the best.json of a sweep or
    the config.json of a run."""
    preset: PresetName = "tuned"
    """The settings that the others start from: ours for task and policy, or the paper's."""
    resume: Path | None = None
    """Sweep folder to continue, in place of everything else but --devices."""
    out: Path | None = None
    """Sweep folder to create; by default the first free runs/TASK-sweep."""
    grid: tyro.conf.Suppress[Grid | None] = None

    def check(self) -> None:
        """Refuses a sweep that cannot start, or that would ignore what it was told."""
        check_count("--devices", self.devices)
        if self.out:
            check_free(self.out)
        members = cast(Grid, self.grid).members
        before = start(cast(TrainConfig, members[0].config), self.preset, self.file)
        check_chosen((member.config for member in members), before)
        programs = {member.setting: program(member.config) for member in members}
        if self.halving and max(Counter(programs.values()).values()) < 2:
            raise UserError(
                "--halving compares settings within one program, and here every setting makes its "
                "own; leave it out or sweep a number, too."
            )

    def execute(self, console: Console) -> None:
        from train.sweeps.train import sweep

        done = sweep(
            cast(Grid, self.grid),
            out=self.out,
            halving=self.halving,
            devices=self.devices,
            console=console,
        )
        sum_up(done, console)


def sum_up(done: Any, console: Console) -> None:
    """What a `folder.Sweep` has found and left, and what to do with it."""
    from train.sweeps import figures, table

    console.print(table.summary(done))
    folder = done.folder
    many = len({member.setting for member in done.runs}) > figures.MOST_CURVES
    some = f", the best {figures.MOST_CURVES} settings" if many else ""
    show(
        console,
        f"Table  {folder / 'table.csv'}",
        *([f"Curves {curves}{some}"] if (curves := folder / "curves.png").exists() else []),
        *([f"Figure {figure}"] if (figure := folder / "sweep.png").exists() else []),
        f"Next   {hint('train', '--config', folder / 'best.json')}",
        f"       {hint('render', table.best(done).folder)}",
    )
