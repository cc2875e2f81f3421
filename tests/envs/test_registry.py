import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mujoco.mjx import warp

import envs


def test_every_task_can_be_made():
    for task in envs.TASKS:
        assert envs.make(task, episode_length=7).episode_length == 7


@pytest.mark.parametrize(("wrong", "right"), [("pusch", "push"), ("Push", "push"), ("", "throw")])
def test_an_unknown_task_is_refused_with_the_nearest_name(wrong, right):
    with pytest.raises(ValueError, match=f"did you mean '{right}'"):
        envs.make(wrong)


def test_an_unknown_override_is_refused():
    with pytest.raises(TypeError, match="colour"):
        envs.make("push", colour="red")


def test_the_package_alone_loads_no_simulator():
    code = "import envs, sys; sys.exit('mujoco' in sys.modules or 'brax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "program", ["import envs; envs.make('push')", "import envs; envs.push", "import envs.gym"]
)
def test_nothing_is_printed(program):
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert shown.stdout == b""


@pytest.mark.parametrize("impl", ["wrap", "cpp", ""])
def test_an_unknown_impl_is_refused_in_one_sentence(impl):
    with pytest.raises(ValueError, match=f"no impl '{impl}'; use 'auto', 'jax', 'c' or") as caught:
        envs.make("push", impl=impl)
    assert "\n" not in str(caught.value)


def test_warp_is_refused_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr(warp, "WARP_INSTALLED", False)
    with pytest.raises(ValueError, match=r"needs the package warp-lang.* or use impl='jax'\.$"):
        envs.make("push", impl="warp")


def test_warp_is_refused_on_a_tpu(monkeypatch):
    monkeypatch.setattr(warp, "WARP_INSTALLED", True)
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    with pytest.raises(ValueError, match=r"needs a CUDA GPU or the CPU.* use impl='jax'\.$"):
        envs.make("push", impl="warp")


@pytest.mark.skipif(not warp.WARP_INSTALLED, reason="warp-lang is not installed")
def test_warp_moves_the_robot_as_jax_does():
    def play(env):
        def step(state, action):
            state = jax.vmap(env.step)(state, jnp.broadcast_to(action, (4, env.action_size)))
            return state, state.obs

        actions = jax.random.uniform(jax.random.key(0), (20, env.action_size), minval=-1)
        actions = actions.at[:, 2].set(jnp.abs(actions[:, 2]))
        state = jax.vmap(env.reset)(jax.random.split(jax.random.key(1), 4))
        return jax.lax.scan(step, state, actions)

    final, path = jax.jit(lambda: play(envs.make("push")))()
    warp_final, warp_path = jax.jit(lambda: play(envs.make("push", impl="warp")))()
    np.testing.assert_allclose(warp_path, path, atol=1e-5)
    assert jax.tree.structure(warp_final) == jax.tree.structure(final)
