"""`ndp imitate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, cast

import tyro
from rich.console import Console

from configs import IMITATED, ImitateConfig
from train.commands.command import Command, check_chosen, chosen, farewell, show
from train.runs.checks import check_idle, check_imitation, check_sources
from train.runs.run import check_free, read_imitation
from train.sweeps.grid import Grid
from train.system.hints import hint

Imitated = TypeVar("Imitated", bound=ImitateConfig)


@dataclass(frozen=True)
class Imitate(Command, Generic[Imitated]):
    """Learn from examples: to write digits, or to do what demonstrations of a task do.

    The settings differ: see `ndp imitate digits --help` and `ndp imitate push --help`.

    --over.NAME V1 V2 ... sweeps a setting, every combination of several: --over.model cnn-ndp cnn
    --over.lr 1e-3 2e-3. Layer widths are joined by x: --over.hidden 64x64 200x200.
    """

    config: Imitated
    seeds: int = 1
    """Runs for each combination, or of the same settings, with seeds from --seed on."""
    file: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """File of settings that take the place of the task's defaults, like the config.json of a
    run."""
    resume: Path | None = None
    """Run or sweep folder to continue, in place of a task; of a run's settings only --steps can be
    raised."""
    out: Path | None = None
    """Folder to create; by default the first free runs/digits-MODEL-seedN or
    runs/TASK-clone-POLICY-seedN, for a sweep runs/digits-sweep or runs/TASK-clone-sweep."""
    grid: tyro.conf.Suppress[Grid | None] = None

    def check(self) -> None:
        """Refuses an imitation that cannot start, or that would ignore what it was told."""
        config: ImitateConfig = self.config
        preset = read_imitation(self.file) if self.file else IMITATED[config.task]
        if self.out:
            check_free(self.out)
        if self.grid:
            members = [cast(ImitateConfig, member.config) for member in self.grid.members]
            check_chosen(members, preset)
            for member in members:
                check_sources(member)
            return
        check_imitation(config)
        check_idle(config, chosen(config, preset))
        check_sources(config)

    def execute(self, console: Console) -> None:
        if self.grid:
            from train.sweeps.imitation import sweep

            sum_up(sweep(self.grid, out=self.out, console=console), console)
        else:
            from train.imitation.train import imitate

            farewell(imitate(self.config, out=self.out, console=console), console)


def sum_up(done: Any, console: Console) -> None:
    """What a `folder.Sweep` of imitations has found and left, and what to do with it."""
    from train.sweeps import table

    console.print(table.summary(done))
    folder = done.folder
    show(
        console,
        f"Table  {folder / 'table.csv'}",
        *([f"Curves {curves}"] if (curves := folder / "curves.png").exists() else []),
        *([f"Figure {bars}"] if (bars := folder / "bars.png").exists() else []),
        f"Next   {hint('imitate', '--config', folder / 'best.json')}",
        f"       {hint('render', table.best(done).folder)}",
    )
