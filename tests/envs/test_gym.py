"""gymnasium's own checks and wrappers around our environments."""

import builtins
import copy
import importlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
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
@pytest.mark.slow
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


def both(mode):
    """Our vector environment and gymnasium's own of our single ones."""
    ours = gymnasium.make_vec(ID, num_envs=4, episode_length=EPISODE, autoreset_mode=mode)
    singles = [lambda: envs.gym.GymEnv("push", episode_length=EPISODE) for _ in range(4)]
    return ours, SyncVectorEnv(singles, autoreset_mode=mode)


def assert_same(ours, theirs):
    """What two calls of `reset` or `step` returned, or parts of it."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for name in theirs:
            assert_same(ours[name], theirs[name])
    elif isinstance(theirs, tuple) or getattr(theirs, "dtype", "") == "O":
        assert type(ours) is type(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_same(a, b)
    elif theirs is None:
        assert ours is None
    else:
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("mode", AutoresetMode)
def test_the_vector_behaves_as_gymnasiums_own(mode):
    """Three episodes, one of them ended by a NaN, with resets of all and of some in between."""
    ours, theirs = both(mode)
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"] == mode
    for name in ("single_observation_space", "single_action_space", "observation_space"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.action_space == theirs.action_space

    rng = np.random.default_rng(0)
    assert_same(ours.reset(seed=5), theirs.reset(seed=5))
    assert ours.np_random_seed == theirs.np_random_seed == (5, 6, 7, 8)
    for time in range(3 * (EPISODE + 1)):
        action = rng.uniform(-1, 1, (4, 3)).astype(np.float32)
        if time == 1:
            action[2] = np.nan
        results = ours.step(action), theirs.step(action)
        assert_same(*results)
        _, _, terminated, truncated, _ = results[0]
        over = terminated | truncated
        if mode == AutoresetMode.DISABLED and over.any():
            assert_same(*(env.reset(options={"reset_mask": over}) for env in (ours, theirs)))
    assert_same(ours.reset(), theirs.reset())
    mask = np.array([True, False, True, False])
    for seed in (9, [None, None, 3, 4], None):
        resets = [env.reset(seed=seed, options={"reset_mask": mask}) for env in (ours, theirs)]
        assert_same(*resets)
        assert ours.np_random_seed == theirs.np_random_seed
        action = rng.uniform(-1, 1, (4, 3)).astype(np.float32)
        assert_same(ours.step(action), theirs.step(action))
    assert_same(ours.reset(seed=[3, None, None, 5]), theirs.reset(seed=[3, None, None, 5]))
    for env in (ours, theirs):
        env.close()
        env.close()


def test_an_episode_that_has_ended_waits_for_its_reset():
    vector, _ = both("Disabled")
    vector.reset(seed=0)
    for _ in range(EPISODE):
        vector.step(np.zeros((4, 3)))
    with pytest.raises(ResetNeeded, match=r"episodes of \[0, 1, 2, 3\] have ended"):
        vector.step(np.zeros((4, 3)))
    vector.reset(options={"reset_mask": np.array([True, True, False, True])})
    with pytest.raises(ResetNeeded, match=r"episodes of \[2\] have ended"):
        vector.step(np.zeros((4, 3)))


@pytest.mark.parametrize(
    "mask", [np.zeros(4, bool), np.ones(3, bool), np.ones(4), np.ones((4, 1), bool), 1]
)
def test_a_mask_that_is_none_is_refused(vector, mask):
    vector.reset(seed=0)
    with pytest.raises(ValueError, match="reset_mask must hold 4 booleans"):
        vector.reset(options={"reset_mask": mask})


def test_nothing_works_before_the_first_reset(vector):
    single = envs.gym.GymEnv("push", render_mode="rgb_array", episode_length=EPISODE)
    for env, action in ((single, np.zeros(3)), (vector.unwrapped, np.zeros((4, 3)))):
        with pytest.raises(ResetNeeded, match=r"Call reset\(\) before step\(\)"):
            env.step(action)
    with pytest.raises(ResetNeeded, match=r"Call reset\(\) before render\(\)"):
        single.render()
    with pytest.raises(ResetNeeded, match="without a reset_mask first"):
        vector.reset(options={"reset_mask": np.array([True, False, False, False])})


def test_actions_of_another_shape_are_refused(env, vector):
    env.reset(seed=0)
    for action in (0.5, [0.5], np.zeros(2), np.zeros((1, 3))):
        with pytest.raises(ValueError, match=r"has the shape \(.*; it must be \(3,\)"):
            env.unwrapped.step(action)
    vector.reset(seed=0)
    for actions in (0.5, np.zeros(3), np.zeros((1, 3)), np.zeros((4, 1)), np.zeros((3, 4))):
        with pytest.raises(ValueError, match=r"has the shape \(.*; it must be \(4, 3\)"):
            vector.step(actions)
    before = vector.step([[0.5, 0, 0]] * 4)[0]
    assert before.shape == (4, 9)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("name", ["env", "vector"])
def test_a_copy_goes_on_with_the_same_episode(request, name, copied):
    original = request.getfixturevalue(name)
    original.reset(seed=0)
    action = np.full(original.action_space.shape, 0.5, np.float32)
    original.step(action)
    other = copied(original)
    assert other.unwrapped.spec == original.unwrapped.spec
    for _ in range(EPISODE):
        results = original.step(action), other.step(action)
        for a, b in zip(*(result[:4] for result in results), strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(original.reset()[0], other.reset()[0])


PARALLEL = """
import sys
import gymnasium
import numpy as np

if __name__ == "__main__":
    env = gymnasium.make_vec(
        "envs.gym:ndp/push-v0",
        num_envs=2,
        vectorization_mode="async",
        episode_length=3,
        vector_kwargs={"context": sys.argv[1]},
    )
    try:
        print(env.reset(seed=0)[0].shape)
        print(env.step(np.zeros((2, 3), np.float32))[0].shape)
    finally:
        env.close(timeout=5, terminate=True)
"""


def parallel(tmp_path, context):
    (tmp_path / "main.py").write_text(PARALLEL)
    command = [sys.executable, "main.py", context]
    root = str(Path(envs.__file__).parents[1])
    return subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": root},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_fork_is_refused_and_does_not_hang(tmp_path):
    done = parallel(tmp_path, "fork")
    assert done.stderr.splitlines()[-1].startswith("RuntimeError: JAX hangs in a process that was")
    assert "vector_kwargs={'context': 'spawn'}" in done.stderr


@pytest.mark.slow  # three processes compile
@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_processes_of_their_own_work(tmp_path, context):
    done = parallel(tmp_path, context)
    assert done.stdout.splitlines() == ["(2, 9)", "(2, 9)"], done.stderr


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


def test_no_environments_are_refused():
    with pytest.raises(ValueError, match="num_envs is 0; it must be at least 1"):
        envs.gym.GymVectorEnv("push", 0)


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
