"""How much a suite measures."""

import dataclasses
from typing import NamedTuple

from configs import PRESETS, TrainConfig

UPDATES = 12
"""Of a training, at least."""

NAMES = {"auto": "auto", "c": "C", "jax": "MJX", "warp": "Warp"}
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

    def configs(self, *usual: int) -> list[TrainConfig]:
        """What is trained: every task, push by default, with every number of environments, by
        default the usual ones or the preset's; for updates enough to be timed."""
        presets = [PRESETS[task] for task in self.tasks or ("push",)]
        return [
            dataclasses.replace(
                preset,
                num_envs=num_envs,
                steps=max(preset.steps, UPDATES * num_envs * preset.rollout_steps),
                impl=self.impl or "auto",
            )
            for preset in presets
            for num_envs in self.num_envs or usual or (preset.num_envs,)
        ]
