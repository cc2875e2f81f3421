"""Typed presets, one file per task."""

from typing import TypeVar

from configs import faucet, pick, push, soccer, throw
from configs.base import PPO, Network, Primitive, TrainConfig
from configs.imitation import CloneConfig, Descent, DigitsConfig, ImitateConfig, Pen

Config = TrainConfig | ImitateConfig
"""Of any run."""

AnyConfig = TypeVar("AnyConfig", bound=Config)

PRESETS: dict[str, TrainConfig] = {
    preset.task: preset
    for preset in (throw.PRESET, pick.PRESET, push.PRESET, soccer.PRESET, faucet.PRESET)
}

CLONES: dict[str, CloneConfig] = {
    task: CloneConfig(
        task=task,
        episode_length=preset.episode_length,
        chunk=preset.chunk,
        primitive=preset.primitive,
    )
    for task, preset in PRESETS.items()
}

IMITATED: dict[str, ImitateConfig] = {"digits": DigitsConfig(), **CLONES}

__all__ = [
    "CLONES",
    "IMITATED",
    "PPO",
    "PRESETS",
    "AnyConfig",
    "CloneConfig",
    "Config",
    "Descent",
    "DigitsConfig",
    "ImitateConfig",
    "Network",
    "Pen",
    "Primitive",
    "TrainConfig",
]
