"""The examples do what they say, with a policy that has learned nothing."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import gymnasium
import imageio
import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import envs.gym
from ndp_jax import load_policy

EXAMPLES = Path(__file__).parents[1] / "examples"
OUTPUT = r"(episode \d+: distance (1[5-9]|2\d|3[0-6])\.\d cm\n){2}"


def test_c_mujoco_alone_drives_the_robot(untrained):
    """In a process of its own, which imports no simulator but MuJoCo."""
    program = (
        "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__');"
        "others = {'mujoco.mjx', 'brax', 'envs', 'train', 'gymnasium'} & set(sys.modules);"
        "assert not others, others"
    )
    script = EXAMPLES / "c_mujoco_policy.py"
    command = [sys.executable, "-c", program, script, untrained / "push", "--episodes", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(OUTPUT + r"success 0\.00\n", done.stdout)


def test_gymnasium_drives_the_robot(untrained, capsys):
    """The episode's twelve steps end within the third query."""
    example = runpy.run_path(str(EXAMPLES / "gym_policy.py"))
    assert example["play"](untrained / "push", episodes=2) == 0
    assert re.fullmatch(OUTPUT, capsys.readouterr().out)


def test_both_examples_see_and_do_the_same(untrained):
    """From the same start, C MuJoCo's observation and velocity are those of the environment."""
    example = runpy.run_path(str(EXAMPLES / "c_mujoco_policy.py"))
    policy = load_policy(untrained / "push")
    env = gymnasium.make("ndp/push-v0", episode_length=12)
    expected, info = env.reset(seed=3)

    model = mujoco.MjModel.from_xml_path(str(example["SCENE"]))
    data = example["start"](model, example["settle"](model), np.random.default_rng(0))
    data.qpos[-7:-4], data.mocap_pos[model.body("goal").mocapid.item()] = np.split(expected[3:], 2)
    mujoco.mj_forward(model, data)
    start = expected
    for _ in range(2):
        observation, velocity = example["observe"](model, data)
        np.testing.assert_allclose(observation, expected, atol=1e-3)
        np.testing.assert_allclose(velocity, info["robot_velocity"], atol=3e-3)
        for action in np.asarray(policy(observation, velocity)):
            example["act"](model, data, 0.01 * np.clip(action, -1, 1))
            expected, *_, info = env.step(action)
    observation, velocity = example["observe"](model, data)
    np.testing.assert_allclose(observation, expected, atol=1e-3)
    np.testing.assert_allclose(velocity, info["robot_velocity"], atol=3e-3)
    assert np.linalg.norm(expected[:3] - start[:3]) > 0.02


def test_starts_are_those_of_the_task():
    example = runpy.run_path(str(EXAMPLES / "c_mujoco_policy.py"))
    model = mujoco.MjModel.from_xml_path(str(example["SCENE"]))
    settled, rng = example["settle"](model), np.random.default_rng(0)
    starts = [
        example["observe"](model, example["start"](model, settled, rng))[0] for _ in range(99)
    ]
    hand, puck, goal = np.split(np.array(starts), 3, axis=1)
    np.testing.assert_allclose(hand, np.tile([0, 0.6, 0.2], (99, 1)), atol=5e-4)
    for places, low, high in ((puck, (-0.1, 0.6), (0.1, 0.7)), (goal, (-0.1, 0.8), (0.1, 0.9))):
        np.testing.assert_array_less(np.abs(places[:, :2].min(axis=0) - low), 0.02)
        np.testing.assert_array_less(np.abs(places[:, :2].max(axis=0) - high), 0.02)
    assert np.linalg.norm((puck - goal)[:, :2], axis=1).min() >= 0.15


def test_another_tasks_policy_is_refused(untrained):
    example = runpy.run_path(str(EXAMPLES / "c_mujoco_policy.py"))
    with pytest.raises(SystemExit, match="was trained on soccer, and this is push"):
        example["play"](untrained / "soccer", episodes=1)


def test_a_scripted_arm_reaches_the_ball(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    env, script = envs.make("my_task:Reach"), envs.script("my_task:Reach")

    def step(state, _):
        return jax.vmap(env.step)(state, jnp.clip(script(state), -1, 1)), None

    start = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), 64))
    final, _ = jax.jit(lambda state: jax.lax.scan(step, state, length=50))(start)
    assert start.metrics["success"].mean() < 0.2
    assert final.metrics["success"].min() == 1


@pytest.mark.parametrize("name", ["my_task.py", "spline.py"])
def test_readme_shows_them(name):
    readme = (EXAMPLES.parent / "README.md").read_text()
    (shown,) = re.findall(rf"```python\n# examples/{name}\n(.*?)```", readme, re.DOTALL)
    assert shown in (EXAMPLES / name).read_text()


def test_a_drawn_curve_is_fitted_and_moved():
    """Reproduced by every forcing term, and led to other goals but for the scaled closed one."""
    example = runpy.run_path(str(EXAMPLES / "fit_curve.py"))
    ends, lowest = {}, {}
    for forcing, dmp in example["DMPS"].items():
        for curve, goals in example["GOALS"].items():
            demonstration, reproduction, moved = example["follow"](dmp, curve)
            assert np.max(np.abs(reproduction - demonstration)) < 0.05
            ends[curve, forcing] = np.max(np.abs(moved[:, -1] - goals))
            lowest[curve, forcing] = float(moved[0].min())
    assert ends.pop(("back to its start", "scaled")) > 1
    gradual = [ends.pop((curve, "hoffmann")) for curve in example["GOALS"]]
    assert max(gradual) < 0.7
    assert max(ends.values()) < 0.02
    assert lowest["along a line", "unscaled"] < -3
    assert lowest["along a line", "hoffmann"] > -0.7


def test_the_picture_is_where_it_was_asked_for(tmp_path):
    script = EXAMPLES / "fit_curve.py"
    command = [sys.executable, script, "--out", tmp_path / "here.png"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'here.png'}\n"
    assert imageio.v3.imread(tmp_path / "here.png").std() > 5
