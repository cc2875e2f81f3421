import re

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


@pytest.mark.slow
def test_sweeps_are_timed_next_to_a_run_alone(capsys, monkeypatch):
    """Of compiling and of an update, as if the clock had said so."""
    spent, measure = iter([(1.0, 0.2), (3.0, 0.6)]), speed.update_seconds

    def told(update, state):
        measure(update, state)
        return next(spent)

    monkeypatch.setattr(speed, "make_env", lambda config: probes.RewardFromBoth())
    monkeypatch.setattr(speed, "update_seconds", told)
    speed.bench_sweeps(probes.CONFIG, [2], console=Console(width=100, force_terminal=False))
    shown = capsys.readouterr().out
    assert re.search(r"│ alone +│ 1 s +│ 0\.20 s +│ 0\.200 s +│ 1 ", shown)
    assert re.search(r"│ 2 +│ 3 s +│ 0\.60 s +│ 0\.300 s +│ 1\.50 ", shown)


@pytest.mark.slow
def test_the_table_states_both_speeds_and_what_measuring_took(env, measured, capsys, monkeypatch):
    c_speed = speed.c_speed
    monkeypatch.setattr(speed, "PRIMITIVES", ((4, 2, 3, 5),))
    monkeypatch.setattr(envs, "make", lambda task: env)
    monkeypatch.setattr(speed, "mjx_speed", lambda env, num_envs: (1234.4, *measured[1:]))
    monkeypatch.setattr(speed, "c_speed", lambda *_: c_speed(*_) and 98765.4)
    speed.bench(["push"], num_envs=3, console=Console(width=100, force_terminal=False))
    shown = capsys.readouterr().out
    assert re.search(r"│ push +│ 3 +│ 1,234 +│ 98,765 +│ \d+ s +│", shown)
    assert len(re.findall(r"Measured.* in \d+ s", shown)) == 2
    assert "one thread" in shown
