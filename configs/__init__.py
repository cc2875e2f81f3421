"""Typed presets, one file per task."""

from configs import push
from configs.base import PPO, Network, Primitive, TrainConfig

PRESETS: dict[str, TrainConfig] = {"push": push.PRESET}

__all__ = ["PPO", "PRESETS", "Network", "Primitive", "TrainConfig"]
