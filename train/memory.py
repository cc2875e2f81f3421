"""How much memory a program needs, and how much there is."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from jaxtyping import PyTree

from configs import TrainConfig
from train.agent import RobotEnv, hyperparameters
from train.ppo import make_learner

SHARE = 0.8
"""Of the free memory, to be used at most."""


def needed(env: RobotEnv, config: TrainConfig) -> tuple[int, int]:
    """Bytes that a run's state takes, and those that its update takes beside it.

    The second is an estimate: the state once more, for the physics, and four times the batch.
    """
    learner = make_learner(env, config)
    state = jax.eval_shape(learner.init, jax.random.key(0), hyperparameters(config))
    batch = jax.eval_shape(learner.collect, state)[1]
    return size(state), size(state) + 4 * size(batch)


def size(tree: PyTree) -> int:
    """Bytes of a tree of arrays or their shapes."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def free(devices: Sequence[Any]) -> int:
    """Bytes that can be had on all devices together; those of the machine for CPUs."""
    known = [stats for device in devices if (stats := device.memory_stats())]
    if known:
        return sum(stats["bytes_limit"] - stats["bytes_in_use"] for stats in known)
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        return 1024 * int(lines["MemAvailable"].split()[0])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
