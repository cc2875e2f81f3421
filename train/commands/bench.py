"""`ndp bench`."""

import dataclasses
import importlib.util
from dataclasses import dataclass

import tyro
from rich.console import Console

from configs import PRESETS, DigitsConfig, TrainConfig
from train.commands.command import Command, check_count, check_task
from train.runs.checks import check, is_foreign
from train.system.errors import UserError


@dataclass(frozen=True)
class Bench(Command):
    """Time the primitive and the environments, or training, or sweeps, each next to a peer."""

    tasks: tyro.conf.Positional[tuple[str, ...]] = ()
    """Task names; all if none is given."""
    num_envs: int | None = None
    """Environments stepped in parallel; 256 by default, and for --training and --members as many as
    in the preset."""
    training: bool = False
    """Time only training: an update, and what of it are physics, policy and learning."""
    members: tuple[int, ...] = ()
    """Time only sweeps, of so many members each, next to a run alone."""
    digits: bool = False
    """Time only a training step on digits, next to PyTorch."""

    def learner(self, task: str) -> TrainConfig:
        """What training and sweeps of the task are timed with: two updates are worth a run."""
        preset = PRESETS[task]
        num_envs = self.num_envs or preset.num_envs
        steps = max(preset.steps, 2 * num_envs * preset.rollout_steps)
        return dataclasses.replace(preset, num_envs=num_envs, steps=steps)

    def check(self) -> None:
        """Refuses what cannot be timed."""
        if self.digits:
            others = {
                "--num-envs": self.num_envs,
                "--members": self.members,
                "--training": self.training,
            }
            given = [*self.tasks, *(option for option, value in others.items() if value)]
            if given:
                raise UserError(f"--digits is timed alone; leave out {given[0]}.")
            if not importlib.util.find_spec("torch"):
                raise UserError("--digits needs the package torch; run `pip install torch`.")
        if self.training and self.members:
            raise UserError("--training and --members are timed apart; leave one out.")
        if self.num_envs is not None:
            check_count("--num-envs", self.num_envs)
        for members in self.members:
            check_count("--members", members)
        for task in self.tasks:
            check_task(task)
            if is_foreign(task) and not (self.members or self.training):
                raise UserError(
                    f"{task} brings its own physics, which is not timed; add --training."
                )
            if self.members or self.training:
                check(self.learner(task))

    def execute(self, console: Console) -> None:
        import jax

        import envs
        from train.bench import speed

        jax.config.update("jax_enable_compilation_cache", False)  # compiling is measured, too
        if self.digits:
            from train.bench.digits import bench_digits

            bench_digits(DigitsConfig(), console=console)
            return
        if self.training:
            from train.bench.training import bench_training

            configs = [self.learner(task) for task in self.tasks or envs.TASKS]
            bench_training(configs, console=console)
            return
        if not self.members:
            num_envs = self.num_envs or speed.ENVIRONMENTS
            speed.bench(self.tasks or envs.TASKS, num_envs=num_envs, console=console)
            return
        for task in self.tasks or ("push",):
            speed.bench_sweeps(self.learner(task), self.members, console=console)
