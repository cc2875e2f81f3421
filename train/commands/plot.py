"""`ndp plot`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import tyro
from rich.console import Console

from train.commands.command import IMAGES, Command, check_file, imitated, make_folder_of
from train.runs.run import load_any
from train.system.errors import UserError


@dataclass(frozen=True)
class Plot(Command):
    """Draw learning curves; runs that differ only in their seed become one curve with a band."""

    computes: ClassVar[bool] = False

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders."""
    out: Path = Path("curves.png")
    """Image to write."""
    statistic: Literal["mean", "iqm"] = "mean"
    """What to draw of several seeds: their mean or their interquartile mean."""

    def check(self) -> None:
        """Refuses runs that have no axes in common, and an image that cannot be written."""
        if not self.runs:
            raise UserError("Name at least one run folder to plot.")
        first, *others = self.runs
        kind = type(load_any(first))
        for folder in others:
            if type(load_any(folder)) is not kind:
                raise UserError(
                    f"{first} and {folder} measure different things; plot them one after the other."
                )
        check_file(self.out, IMAGES)

    def execute(self, console: Console) -> None:
        if imitated(self.runs[0]):
            from train.imitation.figures import imitation_curves as curves
        else:
            from train.runs.plots import learning_curves as curves

        make_folder_of(self.out)
        curves(list(self.runs), self.out, statistic=self.statistic)
        console.print(f"Wrote {self.out}", soft_wrap=True)
