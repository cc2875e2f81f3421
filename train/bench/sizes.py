"""How much a suite measures."""

import dataclasses
import math
from typing import NamedTuple

from configs import PRESETS, TrainConfig

UPDATES = 12
"""Of a training, at least."""

NAMES = {"c": "C", "jax": "MJX", "warp": "Warp"}
"""Of those who compute the physics, in tables."""


class Sizes(NamedTuple):
    """What somebody wants to be measured; where nothing is said, each suite knows.

    Attributes:
      tasks: their names.
      num_envs: environments stepped in parallel.
      batches: movements in a call.
      members: of a sweep.
      impl: who computes the physics.
      thorough: whether it may take long.
    """

    tasks: tuple[str, ...] = ()
    num_envs: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()
    members: tuple[int, ...] = ()
    impl: str | None = None
    thorough: bool = False

    @property
    def impls(self) -> tuple[str, ...]:
        """Who computes the physics where several are compared."""
        return (self.impl,) if self.impl else ("c", "jax")

    def configs(self, *num_envs: int, every_pass: bool = True) -> list[TrainConfig]:
        """What is trained: every task, push by default, with so many environments or its own."""
        return [
            train_config(task, count, impl=self.impl or "auto", every_pass=every_pass)
            for task in self.tasks or ("push",)
            for count in self.num_envs or num_envs or (PRESETS[task].num_envs,)
        ]


def train_config(
    task: str, num_envs: int, *, impl: str = "auto", every_pass: bool = True
) -> TrainConfig:
    """A task's preset with so many environments and updates enough to be timed.

    Args:
      every_pass: over its batch is made, however far the policy has moved.
    """
    preset = PRESETS[task]
    return dataclasses.replace(
        preset,
        num_envs=num_envs,
        steps=max(preset.steps, UPDATES * num_envs * preset.rollout_steps),
        impl=impl,
        ppo=dataclasses.replace(preset.ppo, **({"max_kl": math.inf} if every_pass else {})),
    )
