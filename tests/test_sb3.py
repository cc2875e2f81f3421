"""stable-baselines3 on the tasks; where it is not installed, this is skipped."""

import runpy
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from envs.gym import GymEnv

pytest.importorskip("stable_baselines3", reason="pip install stable-baselines3 to try these")

import gymnasium
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from envs.sb3 import Lanes

EPISODE = 4
SINGLE = partial(GymEnv, "push", episode_length=EPISODE)
EXAMPLE = Path(__file__).parents[1] / "examples" / "sb3_ppo.py"

pytestmark = pytest.mark.slow


def test_its_checker_finds_nothing():
    check_env(SINGLE(), skip_render_check=False)


@pytest.mark.parametrize("kind", [DummyVecEnv, SubprocVecEnv])
def test_its_own_vector_environments_drive_single_ones(kind):
    env = kind([SINGLE, SINGLE])
    env.seed(3)
    start = env.reset()
    assert start.shape == (2, 9) and not np.allclose(start[0], start[1])
    for _ in range(EPISODE):
        observation, reward, done, infos = env.step(np.zeros((2, 3), np.float32))
    assert done.all() and all(info["TimeLimit.truncated"] for info in infos)
    assert infos[0]["terminal_observation"].shape == (9,)
    env.close()


def test_lanes_do_what_theirs_does():
    many = gymnasium.make_vec(
        "ndp/push-v0", num_envs=2, autoreset_mode="SameStep", episode_length=EPISODE
    )
    ours, theirs = Lanes(many), DummyVecEnv([SINGLE, SINGLE])
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    for env in (ours, theirs):
        env.seed(3)
    np.testing.assert_allclose(ours.reset(), theirs.reset(), atol=1e-4)
    rng = np.random.default_rng(0)
    for _ in range(2 * EPISODE):
        actions = rng.uniform(-1, 1, (2, 3)).astype(np.float32)
        *mine, infos = ours.step(actions)
        *others, expected = theirs.step(actions)
        for a, b in zip(mine, others, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
        for info, other in zip(infos, expected, strict=True):
            assert info.get("TimeLimit.truncated", False) == other["TimeLimit.truncated"]
            if "terminal_observation" in other:
                np.testing.assert_allclose(
                    info["terminal_observation"], other["terminal_observation"], atol=1e-4
                )
    for env in (ours, theirs):
        env.close()


def test_its_ppo_learns_from_the_example():
    train = runpy.run_path(str(EXAMPLE))["train"]
    learner = train("push", steps=4 * 10 * EPISODE, num_envs=10, episode_length=EPISODE)
    assert isinstance(learner, PPO)
    assert learner.num_timesteps == 4 * 10 * EPISODE
    assert len(learner.ep_info_buffer) == len(learner.ep_success_buffer) == 40
