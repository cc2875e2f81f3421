"""Typed presets, one file per task, and what each policy or the paper changes in them."""

import dataclasses
import importlib
from typing import TypeVar

import envs
from configs.base import PAPER, PPO, Network, Primitive, TrainConfig
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
    preset = getattr(envs.module(task), "PRESET", TrainConfig(task=task))
    if not isinstance(preset, TrainConfig):
        raise ValueError(f"PRESET in the module of {task} must be a configs.TrainConfig.")
    return dataclasses.replace(preset, task=task)


def preset(task: str, policy: str = "ndp", *, paper: bool = False) -> TrainConfig:
    """What a policy is trained with on a task, or was in the paper.

    A task's module may have `BY_POLICY`, what its `PRESET` does not share among policies, by their
    names, and `PAPER`, what the paper has otherwise beside `configs.base.PAPER`.
    """
    module = OURS.get(task) or envs.module(task)
    if paper:
        changes = PAPER | getattr(module, "PAPER", {})
    else:
        changes = getattr(module, "BY_POLICY", {}).get(policy, {})
    return replaced(PRESETS[task], {"policy": policy, **changes})


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
    {task: module.PRESET for task, module in OURS.items()}, from_outside
)
"""Of ndp, by task."""

IMITATED: Registry[ImitateConfig] = Registry(
    {"digits": DigitsConfig(), **{task: clone(task) for task in PRESETS}}, clone
)

__all__ = [
    "CLONED",
    "HEADS",
    "IMITATED",
    "PPO",
    "PRESETS",
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
