import re

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import probes
import pytest
from rich.console import Console

import envs
from train.bench import speed


@pytest.fixture(scope="module")
def env():
    return envs.make("push", episode_length=20)


@pytest.fixture(scope="module")
def measured(env):
    return speed.mjx_speed(env, 3)


@pytest.mark.slow
def test_c_mujoco_is_told_what_mjx_was(env, measured):
    """From the reset pose on, and within the range of a step."""
    episode = measured[-1]
    assert episode.ctrl.shape == (21, env.mj_model.nu)
    mocap = env.mj_model.body("mocap").mocapid.item()
    moves = np.diff(episode.mocap_pos[:, mocap], axis=0)
    assert np.abs(moves).max() == pytest.approx(env.action_scale, rel=0.1)
    data = mujoco.MjData(env.mj_model)
    data.qpos[:], data.mocap_pos[:] = episode.qpos, episode.mocap_pos[0]
    mujoco.mj_kinematics(env.mj_model, data)
    np.testing.assert_allclose(data.body("hand").xpos, [0, 0.6, 0.2], atol=5e-4)


class Clock:
    """Goes on by a second whenever somebody looks at it."""

    now = 0.0

    def perf_counter(self):
        self.now += 1
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(speed, "time", clock)
    return clock


def test_a_time_is_the_median_of_calls_after_the_first(clock):
    spent = iter((50, 9, 3, 4, 1, 8))

    def run():
        clock.now += next(spent)

    assert speed.seconds(run, repeats=5) == 4 + 1
    assert not list(spent)


def test_an_update_is_timed_without_its_compilation(clock):
    """Here each takes a second more than the one before."""

    def spend(number):
        clock.now += float(number)
        return number + 1

    def update(state):
        return jax.pure_callback(spend, jax.typeof(state), state), None

    compilation, update = speed.update_seconds(update, jnp.ones(()))
    assert (compilation, update) == (1, 1 + 1 + (speed.SWEEP_REPEATS + 1) / 2)


def test_the_speed_of_c_is_that_of_an_episode(clock, env):
    """Of 20 steps, in which the clock goes on by a second."""
    model, start = env.mj_model, mujoco.MjData(env.mj_model)
    told = np.zeros((21, model.nu)), np.tile(start.mocap_pos, (21, 1, 1))
    assert speed.c_speed(env, speed.Episode(start.qpos, *told)) == 20


@pytest.mark.slow
def test_sweeps_are_timed_next_to_a_run_alone(capsys, monkeypatch, clock):
    """Which takes as long, as the clock says: two members take half of it each."""
    monkeypatch.setattr(speed, "make_env", lambda config: probes.RewardFromBoth())
    speed.bench_sweeps(probes.CONFIG, [2], console=Console(width=100, force_terminal=False))
    shown = capsys.readouterr().out
    assert re.search(r"│ alone +│ 1 s +│ 1\.00 s +│ 1\.000 s +│ 1 ", shown)
    assert re.search(r"│ 2 +│ 1 s +│ 1\.00 s +│ 0\.500 s +│ 0\.50 ", shown)


@pytest.mark.slow
def test_the_table_states_both_speeds_and_what_measuring_took(env, capsys, monkeypatch, clock):
    """An episode of 20 steps takes a second, and every measurement two looks at the clock."""
    monkeypatch.setattr(speed, "PRIMITIVES", ((4, 2, 3, 5),))
    monkeypatch.setattr(envs, "make", lambda task: env)
    speed.bench(["push"], num_envs=3, console=Console(width=100, force_terminal=False))
    shown = capsys.readouterr().out
    assert re.search(r"│ batch 4, D 2, N 3, 5 steps +│ 1000\.00 ms +│ 1000\.00 ms +│", shown)
    assert re.search(r"│ push +│ 3 +│ 60 +│ 20 +│ 1 s +│", shown)
    looks = 2 * (speed.REPEATS + 1)
    assert f"Measured in {2 * looks + 1} s" in shown
    assert f"Measured push in {2 + 2 * speed.EPISODES + looks + 1} s" in shown
    assert "one thread" in shown
