"""Who computes the physics of a run."""

import envs
from configs import AnyConfig, CloneConfig, DigitsConfig, TrainConfig
from configs.fields import replaced
from envs import physics
from train.system.errors import UserError


def resolved(config: AnyConfig) -> AnyConfig:
    """A configuration that names who computes the physics here in place of auto, if it is one of
    ours.

    Raises:
      UserError: who is named cannot be had here.
    """
    if isinstance(config, DigitsConfig):
        return config
    try:
        if envs.is_foreign(config.task):
            return config
        impl = physics.resolve(config.impl, threads=config.threads or None)
    except ValueError as error:
        raise UserError(str(error)) from None
    return replaced(config, {"impl": impl})


def line(config: TrainConfig | CloneConfig) -> str:
    """Who computes the physics of a resolved configuration, and how to choose."""
    who = physics.describe(config.impl, threads=config.threads or None)
    other = "--threads, or --impl jax for MJX" if config.impl == "c" else "--impl chooses"
    return f"Physics {who} ({other})"
