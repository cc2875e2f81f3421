"""The whole update is lowered for accelerators that are not here, from the CPU."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import probes
import pytest

from configs import PRESETS
from train.rl import memory
from train.rl.agent import make_env
from train.rl.ppo import make_learner

POLICIES = ("ndp", "prodmp", "ppo-multi", "ppo")
DEFAULT = ("push", "ndp")
OF_THE_CPU = re.compile(r"cpu|callback|lapack")


def lowered(env, config, platform):
    """The program of an update, as text."""
    learner, state = make_learner(env, config), memory.shapes(env, config)
    traced = jax.jit(learner.update, donate_argnums=0).trace(state)
    return traced.lower(lowering_platforms=(platform,)).as_text()


def problems(program):
    """Custom calls that an accelerator does not have, and float64."""
    calls = set(re.findall(r"custom_call @(\w+)", program))
    return {call for call in calls if OF_THE_CPU.search(call)} | set(re.findall("f64", program))


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize(
    ("task", "policy"),
    [
        pytest.param(task, policy, marks=() if (task, policy) == DEFAULT else pytest.mark.slow)
        for task in PRESETS
        for policy in POLICIES
    ],
)
def test_an_update_is_one_program_of_the_accelerator(task, policy, platform):
    config = dataclasses.replace(PRESETS[task], policy=policy, impl="jax")
    program = lowered(make_env(config), config, platform)
    assert "while" in program
    assert problems(program) == set()


class Asking(probes.ConstantReward):
    """Asks Python in every step."""

    def reward(self, drawn, step, action):
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        return jax.pure_callback(lambda: 1.0, shape, vmap_method="sequential")


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_a_callback_would_be_found(platform):
    with pytest.raises(ValueError, match="different from the lowering platform"):
        lowered(Asking(), probes.CONFIG, platform)


def test_a_routine_of_the_cpu_would_be_found():
    traced = jax.jit(jnp.linalg.cholesky).trace(jnp.eye(3))
    assert problems(traced.lower(lowering_platforms=("cpu",)).as_text())
    assert not problems(traced.lower(lowering_platforms=("cuda",)).as_text())
