"""gymnasium's own checks and wrappers around our environments."""

import builtins
import importlib
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import envs.gym
from envs import camera

EPISODE = 3
ID = "ndp/push-v0"


@pytest.fixture
def env():
    env = gymnasium.make(ID, episode_length=EPISODE)
    yield env
    env.close()


@pytest.fixture
def vector():
    vector = gymnasium.make_vec(ID, num_envs=4, episode_length=EPISODE)
    yield vector
    vector.close()


# Positions and velocities have no bound that could be stated.
@pytest.mark.filterwarnings("ignore:.*observation space m.* value is -?infinity:UserWarning")
def test_gymnasiums_checker_finds_nothing(monkeypatch):
    class Blank:
        """Stands in for OpenGL."""

        def __init__(self, model): ...

        def picture(self, physics):
            return np.zeros((camera.HEIGHT, camera.WIDTH, 3), np.uint8)

        def close(self): ...

    monkeypatch.setattr(envs.gym, "Camera", Blank)
    env = gymnasium.make(ID, render_mode="rgb_array", episode_length=EPISODE)
    check_env(env.unwrapped)


def test_spaces_are_the_tasks(env):
    assert env.observation_space == gymnasium.spaces.Box(-np.inf, np.inf, (9,), np.float32)
    assert env.action_space == gymnasium.spaces.Box(-1, 1, (3,), np.float32)


def test_an_episode_is_truncated_and_not_terminated(env):
    env.reset(seed=0)
    ends = [env.step(np.zeros(3, np.float32))[2:4] for _ in range(EPISODE)]
    assert ends == [(False, False)] * (EPISODE - 1) + [(False, True)]


def test_info_tells_success_and_distance(env):
    observation, info = env.reset(seed=0)
    np.testing.assert_allclose(
        info["distance"], np.linalg.norm((observation[3:6] - observation[6:])[:2]), rtol=1e-6
    )
    assert info["success"] is False


def test_info_tells_the_velocity_of_the_robot(env):
    """At rest in the beginning; then along the hand's motion, whose speed varies within a step."""
    before, info = env.reset(seed=0)
    assert np.linalg.norm(info["robot_velocity"]) < 1e-3
    for _ in range(EPISODE):
        after, *_, info = env.step(np.array([1, -1, 0], np.float32))
        moved, before = (after - before)[:3] / 0.05, after
    speed, mean_speed = np.linalg.norm(info["robot_velocity"]), np.linalg.norm(moved)
    assert info["robot_velocity"] @ moved > 0.999 * speed * mean_speed
    assert 0.3 * mean_speed < speed < 3 * mean_speed


def test_a_nan_terminates(env):
    env.reset(seed=0)
    observation, reward, terminated, truncated, _ = env.unwrapped.step(
        np.array([np.nan, 0, 0], np.float32)
    )
    assert terminated is True and truncated is False
    assert reward == 0
    assert np.all(np.isfinite(observation))


def test_seeds_decide_all_episodes_to_come(env):
    def starts(seed):
        return [env.reset(seed=seed)[0], env.reset()[0], env.reset()[0]]

    first, again, other = starts(0), starts(0), starts(1)
    np.testing.assert_array_equal(first, again)
    starts = np.unique([*first, *other], axis=0)
    assert len(starts) == 6


@pytest.mark.usefixtures("renderer")
def test_the_picture_shows_the_scene():
    env = gymnasium.make(ID, render_mode="rgb_array", episode_length=EPISODE)
    env.reset(seed=0)
    picture = env.render()
    env.close()
    assert picture.shape == (camera.HEIGHT, camera.WIDTH, 3)
    red, green, blue = np.moveaxis(picture.astype(int), -1, 0)
    assert np.sum((green > 60) & (green > red + 30) & (green > blue + 30)) > 500
    assert env.metadata["render_fps"] == 20


def test_the_vector_behaves_as_gymnasiums_own(vector):
    """Autoreset included: three episodes, one of them ended by a NaN."""
    serial = SyncVectorEnv(
        [lambda: envs.gym.GymEnv("push", episode_length=EPISODE) for _ in range(4)]
    )
    assert vector.metadata["autoreset_mode"] == serial.metadata["autoreset_mode"]
    assert vector.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    for name in ("single_observation_space", "single_action_space", "observation_space"):
        assert getattr(vector, name) == getattr(serial, name)
    assert vector.action_space == serial.action_space

    def assert_same(ours, theirs):
        *ours, info = ours
        *theirs, expected = theirs
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, atol=1e-4)
        assert info.keys() == expected.keys()
        for name in info:
            np.testing.assert_allclose(info[name], expected[name], atol=1e-4)

    rng = np.random.default_rng(0)
    assert_same(vector.reset(seed=5), serial.reset(seed=5))
    for time in range(3 * (EPISODE + 1)):
        action = rng.uniform(-1, 1, (4, 3)).astype(np.float32)
        if time == 1:
            action[2] = np.nan
        assert_same(vector.step(action), serial.step(action))
    assert_same(vector.reset(), serial.reset())
    serial.close()


def test_no_two_lanes_start_alike(vector):
    observation, _ = vector.reset()
    assert len(np.unique(observation[:, 3:], axis=0)) == 4
    with pytest.raises(ValueError, match="2 seeds for 4 environments"):
        vector.reset(seed=[1, 2])


def test_gymnasiums_statistics_count_our_episodes(vector):
    recorded = RecordEpisodeStatistics(vector)
    recorded.reset(seed=0)
    total = np.zeros(4)
    for time in range(EPISODE):
        _, reward, _, truncated, info = recorded.step(vector.action_space.sample())
        total += reward
        assert truncated.all() == (time == EPISODE - 1)
    np.testing.assert_allclose(info["episode"]["r"], total, rtol=1e-5)
    np.testing.assert_array_equal(info["episode"]["l"], EPISODE)


def test_every_task_is_registered():
    for task in envs.TASKS:
        assert gymnasium.spec(f"ndp/{task}-v0").kwargs == {"task": task}


def test_an_unknown_render_mode_is_refused():
    with pytest.raises(ValueError, match="no render mode 'human'"):
        envs.gym.GymEnv("push", render_mode="human")


def test_without_gymnasium_one_sentence_says_what_to_install(monkeypatch):
    def without_gymnasium(name, *arguments, **options):
        if name == "gymnasium":
            raise ImportError(name)
        return original(name, *arguments, **options)

    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without_gymnasium)
    monkeypatch.delitem(sys.modules, "envs.gym")
    with pytest.raises(ImportError, match="envs.gym needs gymnasium"):
        importlib.import_module("envs.gym")
