"""`ndp demos`."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from configs import IMITATED
from configs.base import task_option
from configs.fields import replaced
from envs.outside import short
from train.commands.command import (
    Command,
    Simulation,
    check_count,
    check_file,
    check_seed,
    check_task,
)
from train.runs import physics
from train.runs.run import load_config
from train.system.errors import UserError


@dataclass(frozen=True)
class Demos(Command):
    """Record demonstrations of a task, by its script or by a trained policy, in one file."""

    task: Annotated[tyro.conf.Positional[str], task_option("TASK")]
    episodes: int = 200
    """Successful episodes to record."""
    run: Path | None = None
    """Run folder whose policy demonstrates; by default the task's script does."""
    noise: float | None = None
    """Standard deviation of the noise on the actions executed, in action units, which the recorded
    actions are without; by default what the task's script can bear."""
    images: bool = False
    """Record 84 x 84 pictures of the scene, too."""
    seed: int = 0
    """Seed of starts and noise."""
    out: Path | None = None
    """File to create, .npz; by default demos/TASK.npz."""
    simulation: Simulation = Simulation()

    @property
    def file(self) -> Path:
        """Where to."""
        return self.out or Path("demos") / f"{short(self.task)}.npz"

    def check(self) -> None:
        """Refuses demonstrations that cannot be recorded, or that would overwrite others."""
        check_task(self.task)
        check_count("--episodes", self.episodes)
        check_seed(self.seed)
        noise = self.noise
        if noise is not None and not 0 <= noise < math.inf:
            raise UserError(f"--noise is {noise}; it must be a finite number and not negative.")
        if self.run:
            task = load_config(self.run).task
            if task != self.task:
                raise UserError(f"{self.run} is a run of {task}; name that task or another run.")
        check_file(self.file, (".npz",))
        if self.file.exists():
            raise UserError(f"{self.file} exists already; choose another --out.")

    def execute(self, console: Console) -> None:
        from train.imitation import demonstrations
        from train.rl.agent import make_env
        from train.rl.controllers import make_controller
        from train.rl.train import load_run

        if self.run:
            config, env, state = load_run(self.run, changes=self.simulation.changes)
            demonstrator = demonstrations.policy(env, config, state)
        else:
            config = physics.resolved(replaced(IMITATED[self.task], self.simulation.changes))
            env = make_env(config)
            demonstrator = make_controller("scripted", self.task, env)
        console.print(physics.line(config))
        noise = demonstrations.noise_of(self.task) if self.noise is None else self.noise
        recorded = demonstrations.record(
            env,
            self.task,
            demonstrator,
            episodes=self.episodes,
            seed=self.seed,
            noise=noise,
            images=self.images,
        )
        demonstrations.save(self.file, recorded)
        console.print(f"{self.episodes} of {recorded.played} episodes succeeded (noise {noise:g})")
        size = self.file.stat().st_size / 1e6
        console.print(f"Wrote {self.file} ({size:.1f} MB)", soft_wrap=True)
