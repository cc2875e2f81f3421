"""`ndp train`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from configs import TrainConfig
from configs.base import PresetName
from train.commands.command import Command, check_task, check_wandb, chosen, farewell, start
from train.runs.checks import check, check_idle
from train.runs.run import check_free
from train.system.hardware import Hardware, check_hardware


@dataclass(frozen=True)
class Train(Command):
    """Train a policy on a task and leave a run folder with curve, video and checkpoints."""

    config: TrainConfig
    file: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """File of settings that take the place of the task's defaults, like the best.json of a sweep or
    the config.json of a run."""
    preset: PresetName = "tuned"
    """The settings that the others start from: ours for task and policy, or the paper's."""
    resume: Path | None = None
    """Run folder to continue, in place of a task; of its settings only --steps can be raised."""
    out: Path | None = None
    """Run folder to create; by default the first free runs/TASK-POLICY-seedN."""
    wandb: bool = False
    """Publish to Weights & Biases, too."""
    hardware: Hardware = Hardware()

    @property
    def joins(self) -> bool:
        return self.hardware.distributed

    def check(self) -> None:
        """Refuses a run that cannot start, or that would ignore what it was told."""
        check_task(self.config.task)
        check(self.config)
        check_idle(self.config, chosen(self.config, start(self.config, self.preset, self.file)))
        if self.out:
            check_free(self.out)
        check_wandb(self.wandb)
        check_hardware(self.hardware, self.config)

    def execute(self, console: Console) -> None:
        from train.rl.agent import make_env
        from train.rl.train import train
        from train.system import distributed

        with distributed.joined(self.hardware, self.config) as mesh:
            console.quiet = not distributed.leads()
            env, options = make_env(self.config), {"out": self.out, "wandb": self.wandb}
            folder = train(env, self.config, **options, console=console, mesh=mesh)
        farewell(folder, console)
