"""Trains on a probe in a process of its own, to be killed: python killed.py FOLDER.

Checkpoints are written after every update, so that about half of the time one is being written.
"""

import dataclasses
import sys
from pathlib import Path

import probes
import trained

from configs import PPO
from train.rl.ppo import TrainState
from train.runs import run
from train.system import runtime

CONFIG = dataclasses.replace(
    probes.CONFIG,
    num_envs=256,
    steps=40 * 256 * 5,
    eval_every=3,
    checkpoint_seconds=1e-9,
    ppo=PPO(minibatches=8, epochs=20),
)


def learn(folder: Path) -> TrainState:
    """Brings the run in `folder` to its end."""
    with run.held(folder):
        return trained.learn(folder, CONFIG)[0]


if __name__ == "__main__":
    runtime.configure_jax()
    learn(Path(sys.argv[1]))
