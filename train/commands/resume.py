"""`ndp resume`, which is also what --resume makes of other verbs."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from configs import TrainConfig
from configs.base import Impl
from configs.fields import flag, settings
from train.commands import imitate, study, sweep
from train.commands.command import Command, check_count, check_wandb, farewell
from train.runs.checks import check_sources
from train.runs.run import changed, load_any, load_config, load_imitation
from train.studies import folder as studies
from train.studies.folder import STUDY
from train.sweeps.folder import SWEEP, load
from train.system.errors import UserError
from train.system.hardware import Hardware, check_hardware

TAKES = {
    "run": {"steps", "wandb", "impl", "threads", *settings(Hardware())},
    "imitation": {"steps", "impl", "threads"},
    "sweep": {"devices"},
    "sweep of imitations": set(),
    "study": {"devices"},
}
"""What can be said about the continuation of each kind of folder."""


@dataclass(frozen=True)
class Resume(Command):
    """Continue a run, an imitation, a sweep or a study from its latest checkpoint, as if nothing
    had happened."""

    folder: tyro.conf.Positional[Path]
    """Run, sweep or study folder."""
    steps: int | None = None
    """Steps to go on to, of a run; by default as many as it was started with."""
    impl: Impl | None = None
    """Who computes the physics from here on, not bit for bit as before; not of a sweep."""
    threads: int | None = None
    """Threads of C MuJoCo; not of a sweep."""
    wandb: bool = False
    """Publish to Weights & Biases, too."""
    hardware: Hardware = Hardware()

    @property
    def changes(self) -> dict[str, Any]:
        """Of a run's settings; None for none."""
        return {"steps": self.steps, "impl": self.impl, "threads": self.threads}

    @property
    def joins(self) -> bool:
        return self.hardware.distributed

    @cached_property
    def kind(self) -> str:
        """Of the folder: one of `TAKES`."""
        if (self.folder / STUDY).is_file():
            return "study"
        if (self.folder / SWEEP).is_file():
            first = load(self.folder).runs[0].config
            return "sweep" if isinstance(first, TrainConfig) else "sweep of imitations"
        return "run" if isinstance(load_any(self.folder), TrainConfig) else "imitation"

    def check(self) -> None:
        """Refuses a folder that is damaged, and what cannot be changed about its kind."""
        kind, default = self.kind, settings(Resume(self.folder))
        for name, value in settings(self).items():
            if value != default[name] and name not in TAKES[kind]:
                what = "an imitation" if kind == "imitation" else f"a {kind}"
                raise UserError(
                    f"{flag(name)} cannot be given for {self.folder}, {what}; leave it out."
                )
        if kind in ("sweep", "study"):
            check_count("--devices", self.hardware.devices)
        elif kind == "run":
            check_wandb(self.wandb)
            check_hardware(self.hardware, changed(load_config(self.folder), self.changes))
        elif kind == "imitation":
            check_sources(changed(load_imitation(self.folder), self.changes))

    def execute(self, console: Console) -> None:
        match self.kind:
            case "run":
                resume_run(self, console)
            case "imitation":
                from train.imitation.train import resume

                farewell(resume(self.folder, changes=self.changes, console=console), console)
            case "sweep":
                from train.sweeps.train import complete

                found, devices = load(self.folder), self.hardware.devices
                sweep.sum_up(complete(found, devices=devices, console=console), console)
            case "study":
                from train.studies.train import complete

                found, devices = studies.load(self.folder), self.hardware.devices
                study.sum_up(complete(found, devices=devices, console=console).folder, console)
            case _:
                from train.sweeps.imitation import complete

                found = load(self.folder)
                imitate.sum_up(complete(found, console=console), console)


def resume_run(command: Resume, console: Console) -> None:
    """Goes on with a run of `ndp train`."""
    from train.rl.train import resume
    from train.system import distributed

    with distributed.joined(command.hardware, load_config(command.folder)) as mesh:
        console.quiet = not distributed.leads()
        options = {"changes": command.changes, "wandb": command.wandb}
        folder = resume(command.folder, **options, console=console, mesh=mesh)
    farewell(folder, console)
