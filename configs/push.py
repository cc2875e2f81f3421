"""Push the puck to the goal with the Sawyer arm."""

from configs.base import TrainConfig

PRESET = TrainConfig(task="push")
