"""Typed presets, one file per task."""

from configs import faucet, pick, push, soccer, throw
from configs.base import PPO, Network, Primitive, TrainConfig

PRESETS: dict[str, TrainConfig] = {
    preset.task: preset
    for preset in (throw.PRESET, pick.PRESET, push.PRESET, soccer.PRESET, faucet.PRESET)
}

__all__ = ["PPO", "PRESETS", "Network", "Primitive", "TrainConfig"]
