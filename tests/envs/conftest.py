"""One compiled environment for all tests of this folder; compiling is most of their time."""

from pathlib import Path

import jax
import numpy as np
import pytest

import envs

BATCH = 20


@pytest.fixture(scope="session")
def env():
    return envs.make("push")


@pytest.fixture(scope="session")
def reset(env):
    """Keys (BATCH,) -> batched `State`."""
    return jax.jit(jax.vmap(env.reset))


@pytest.fixture(scope="session")
def step(env):
    """Batched `State`, actions (BATCH, 3) -> batched `State`."""
    return jax.jit(jax.vmap(env.step))


@pytest.fixture(scope="session")
def start(reset):
    return reset(jax.random.split(jax.random.key(0), BATCH))


@pytest.fixture(scope="session")
def play(step):
    """State, policy(state, time) -> final state, actions and observations (time, BATCH, ...)."""

    def play(state, policy, steps=150):
        actions, observations = [], []
        for time in range(steps):
            actions.append(policy(state, time))
            state = step(state, actions[-1])
            observations.append(state.obs)
        return state, np.array(actions, float), np.array(observations, float)

    return play


@pytest.fixture(scope="session")
def released():
    """Numbers recorded from the released environment (MuJoCo 3.17, float64)."""
    return np.load(Path(__file__).parents[1] / "data" / "push.npz")


@pytest.fixture
def rng():
    return np.random.default_rng(0)
