"""Drives the gymnasium task that a policy was trained on.

    ndp export runs/push-ndp-seed0
    python examples/gym_policy.py runs/push-ndp-seed0/policy.msgpack --episodes 10

Needs gymnasium: pip install -e ".[gym]".
"""

import argparse
from typing import Any

import gymnasium
import numpy as np

import envs.gym  # noqa: F401 (registers the tasks)
import ndp_jax


def play(file: str, *, episodes: int, **options: Any) -> float:
    """Success rate; `options` go to the environment."""
    policy = ndp_jax.load_policy(file)
    options = {"episode_length": policy.about["config"]["episode_length"]} | options
    env = gymnasium.make(f"ndp/{policy.about['task']}-v0", **options)
    successes = 0
    for episode in range(episodes):
        observation, info = env.reset(seed=episode)
        over = False
        while not over:
            for action in np.asarray(policy(observation, info["robot_velocity"])):
                observation, _, terminated, truncated, info = env.step(action)
                over = terminated or truncated
                if over:
                    break
        successes += info["success"]
        print(f"episode {episode + 1}: distance {100 * info['distance']:.1f} cm")
    env.close()
    return successes / episodes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Drive the gymnasium task that a policy was trained on."
    )
    parser.add_argument("file", help="what `ndp export` wrote")
    parser.add_argument("--episodes", type=int, default=10)
    arguments = parser.parse_args()
    print(f"success {play(arguments.file, episodes=arguments.episodes):.2f}")
