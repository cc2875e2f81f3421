import dataclasses

import jax
import probes
import pytest
from probes import CONFIG

from train import memory
from train.agent import hyperparameters
from train.ppo import make_learner


@pytest.mark.parametrize("num_envs", [8, 512])
def test_the_estimate_is_near_what_the_compiler_says(num_envs):
    config = dataclasses.replace(CONFIG, num_envs=num_envs, steps=50 * num_envs)
    env = probes.RewardFromBoth()
    learner = make_learner(env, config)
    state = jax.jit(learner.init)(jax.random.key(0), hyperparameters(config))
    found = jax.jit(learner.update).lower(state).compile().memory_analysis()
    of_state, work = memory.needed(env, config)
    assert of_state == pytest.approx(found.argument_size_in_bytes, rel=0.05)
    assert found.temp_size_in_bytes / 3 < work < 4 * found.temp_size_in_bytes


def test_some_memory_is_free():
    assert 10**6 < memory.free(jax.devices()[:1]) < 10**14
