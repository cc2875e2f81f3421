"""Trains stable-baselines3's PPO on a task whose environments are stepped by one program.

    pip install -e ".[gym]" stable-baselines3
    python examples/sb3_ppo.py push --steps 750000

`Lanes` is all that another of its learners needs.
"""

import argparse
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports] (optional)
from stable_baselines3.common.vec_env import (  # pyright: ignore[reportMissingImports]
    VecEnv,
    VecMonitor,
    VecNormalize,
)

import envs.gym  # noqa: F401 (registers the tasks)


class Lanes(VecEnv):
    """gymnasium's vector environment, with autoreset in the same step, as stable-baselines3's."""

    def __init__(self, env: gymnasium.vector.VectorEnv):
        self.env = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> np.ndarray:
        observation, _ = self.env.reset(seed=self._seeds)
        self._reset_seeds()
        return observation

    def step_async(self, actions: np.ndarray) -> None:
        self.actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        observation, reward, terminated, truncated, info = self.env.step(self.actions)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i in np.flatnonzero(terminated | truncated):
            infos[i] = {
                "terminal_observation": info["final_obs"][i],
                "TimeLimit.truncated": bool(truncated[i] and not terminated[i]),
                "is_success": bool(info["final_info"]["success"][i]),
            }
        return observation, reward.astype(np.float32), terminated | truncated, infos

    def close(self) -> None:
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self.env, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("The environments are one; set attributes of `env`.")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **options: Any):
        raise NotImplementedError("The environments are one; call methods of `env`.")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]


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
