"""Typed presets, one file per task, and what each policy or the paper changes in them."""

import dataclasses
import functools
import importlib
from typing import TypeVar

import envs
from configs.base import PAPER, PPO, Adapter, Network, Primitive, TrainConfig
from configs.fields import replaced
from configs.heads import CLONED, HEADS, Head
from configs.imitation import CloneConfig, Descent, DigitsConfig, ImitateConfig, Pen
from configs.registry import Registry

Config = TrainConfig | ImitateConfig
"""Of any run."""

AnyConfig = TypeVar("AnyConfig", bound=Config)


def from_outside(task: str) -> TrainConfig:
    """What the module of somebody's task calls PRESET, or what holds where nothing is said.

    Raises:
      ValueError: there is no such task.
    """
    if envs.is_foreign(task) and not hasattr(own_module(task), "PRESET"):
        return of_foreign(task)
    preset = getattr(envs.module(task), "PRESET", TrainConfig(task=task))
    if not isinstance(preset, TrainConfig):
        raise ValueError(f"PRESET in the module of {task} must be a configs.TrainConfig.")
    return dataclasses.replace(preset, task=task)


def preset(task: str, policy: str = "ndp", *, paper: bool = False) -> TrainConfig:
    """What a policy is trained with on a task, or was in the paper.

    A task's module may have `BY_POLICY`, what its `PRESET` does not share among policies, by their
    names, and `PAPER`, what the paper has otherwise beside `configs.base.PAPER`.
    """
    module = OURS.get(task) or own_module(task)
    if paper:
        changes = PAPER | getattr(module, "PAPER", {})
    else:
        changes = getattr(module, "BY_POLICY", {}).get(policy, {})
    return replaced(PRESETS[task], {"policy": policy, **changes})


def own_module(task: str) -> object:
    """Where a task that is not ours is from; None of those of brax and Playground."""
    return envs.module(task) if ":" in task else None


@functools.cache
def of_foreign(task: str) -> TrainConfig:
    """What holds for an environment that is adapted, which says how long it is.

    Five steps a chunk: an output of 1 asks for actions of about 1.
    """
    env, chunk = envs.make(task), TrainConfig.chunk
    length = env.episode_length
    fits = [n for n in range(1, min(length, LONGEST_ROLLOUT) + 1) if length % n == 0]
    whole = [n for n in fits if n % chunk == 0]
    return TrainConfig(
        task=task,
        episode_length=length,
        rollout_steps=max(whole or fits),
        chunk=chunk if whole else 1,
        primitive=Primitive(goal_scale=round(chunk * env.action_scale, 6)),
    )


LONGEST_ROLLOUT = 100
"""Environment steps between updates of what has no preset."""


def clone(task: str) -> CloneConfig:
    """How demonstrations of a task are imitated: in its episodes, with the paper's primitive."""
    paper = preset(task, paper=True)
    return CloneConfig(
        task=task,
        episode_length=paper.episode_length,
        chunk=paper.chunk,
        primitive=paper.primitive,
    )


OURS = {task: importlib.import_module(f"configs.{task}") for task in envs.TASKS}

PRESETS: Registry[TrainConfig] = Registry(
    {task: module.PRESET for task, module in OURS.items()},
    from_outside,
    envs.is_task,
)
"""Of ndp, by task."""

IMITATED: Registry[ImitateConfig] = Registry(
    {"digits": DigitsConfig(), **{task: clone(task) for task in PRESETS}},
    clone,
    envs.is_task,
)

__all__ = [
    "CLONED",
    "HEADS",
    "IMITATED",
    "PPO",
    "PRESETS",
    "Adapter",
    "AnyConfig",
    "CloneConfig",
    "Config",
    "Descent",
    "DigitsConfig",
    "Head",
    "ImitateConfig",
    "Network",
    "Pen",
    "Primitive",
    "TrainConfig",
    "preset",
]
