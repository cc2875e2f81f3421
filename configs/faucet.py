"""Turn the faucet's handle with the Sawyer arm."""

from configs.base import TrainConfig

PRESET = TrainConfig(task="faucet")
