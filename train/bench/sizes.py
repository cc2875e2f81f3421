"""How much a suite measures."""

import dataclasses
from typing import NamedTuple

from configs import PRESETS, TrainConfig

UPDATES = 12
"""Of a training, at least."""


class Sizes(NamedTuple):
    """What somebody wants to be measured; where nothing is said, each suite knows.

    Attributes:
      tasks: their names.
      num_envs: environments stepped in parallel.
      batches: movements, or members of a sweep.
    """

    tasks: tuple[str, ...] = ()
    num_envs: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()

    def configs(self, *, num_envs: tuple[int, ...] = ()) -> list[TrainConfig]:
        """What is trained: every task's preset with so many environments, or with its own."""
        return [
            train_config(task, count or PRESETS[task].num_envs)
            for task in self.tasks or ("push",)
            for count in self.num_envs or num_envs or (0,)
        ]


def train_config(task: str, num_envs: int) -> TrainConfig:
    """A task's preset with so many environments, and with updates enough to be timed."""
    preset = PRESETS[task]
    steps = max(preset.steps, UPDATES * num_envs * preset.rollout_steps)
    return dataclasses.replace(preset, num_envs=num_envs, steps=steps)
