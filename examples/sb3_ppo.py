"""Trains stable-baselines3's PPO on a task whose environments are stepped by one program.

    pip install -e ".[gym]" stable-baselines3
    python examples/sb3_ppo.py push --steps 750000

`envs.sb3.Lanes` is all that another of its learners needs.
"""

import argparse
from typing import Any

import gymnasium
from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports] (optional)
from stable_baselines3.common.vec_env import (  # pyright: ignore[reportMissingImports]
    VecMonitor,
    VecNormalize,
)

import envs.gym  # noqa: F401 (registers the tasks)
from envs.sb3 import Lanes


def train(task: str, *, steps: int, num_envs: int, **options: Any) -> PPO:
    """`options` go to the environment."""
    many = gymnasium.make_vec(
        f"ndp/{task}-v0", num_envs=num_envs, autoreset_mode="SameStep", **options
    )
    env = VecNormalize(VecMonitor(Lanes(many)))
    length = options.get("episode_length", 150)
    learner = PPO("MlpPolicy", env, n_steps=length, batch_size=length * num_envs // 10, verbose=1)
    return learner.learn(steps)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train stable-baselines3's PPO on a task.")
    parser.add_argument("task", nargs="?", default="push")
    parser.add_argument("--steps", type=int, default=750_000)
    parser.add_argument("--num-envs", type=int, default=64)
    arguments = parser.parse_args()
    train(arguments.task, steps=arguments.steps, num_envs=arguments.num_envs)
