"""Typed presets, one file per task."""

import dataclasses
import importlib
from typing import TypeVar

import envs
from configs.base import PPO, Network, Primitive, TrainConfig
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


def clone(task: str) -> CloneConfig:
    """How demonstrations of a task are imitated: in its preset's episodes and chunks."""
    preset = PRESETS[task]
    return CloneConfig(
        task=task,
        episode_length=preset.episode_length,
        chunk=preset.chunk,
        primitive=preset.primitive,
    )


PRESETS: Registry[TrainConfig] = Registry(
    {task: importlib.import_module(f"configs.{task}").PRESET for task in envs.TASKS}, from_outside
)

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
]
