"""One compiled environment per task for all tests of this folder; compiling is most of their time.

A test module says which task it is about: `TASK = "push"`.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs

BATCH = 20


class Compiled(NamedTuple):
    """An environment, and its batched reset and step."""

    env: Any
    reset: Callable[..., Any]
    step: Callable[..., Any]
    start: Any


@functools.cache
def compiled(task: str) -> Compiled:
    env = envs.make(task)
    reset, step = jax.jit(jax.vmap(env.reset)), jax.jit(jax.vmap(env.step))
    start = reset(jax.random.split(jax.random.key(0), BATCH))
    return Compiled(env, reset, step, start)


@pytest.fixture(scope="module")
def env(request):
    return compiled(request.module.TASK).env


@pytest.fixture(scope="module")
def reset(request):
    """Keys (BATCH,) -> batched `State`."""
    return compiled(request.module.TASK).reset


@pytest.fixture(scope="module")
def step(request):
    """Batched `State`, actions (BATCH, A) -> batched `State`."""
    return compiled(request.module.TASK).step


@pytest.fixture(scope="module")
def start(request):
    return compiled(request.module.TASK).start


@pytest.fixture(scope="module")
def play(step, env):
    """State, policy(state, time) -> final state, actions and observations (time, BATCH, ...)."""

    def play(state, policy, steps=env.episode_length):
        actions, observations = [], []
        for time in range(steps):
            actions.append(policy(state, time))
            state = step(state, actions[-1])
            observations.append(state.obs)
        return state, np.array(actions, float), np.array(observations, float)

    return play


@pytest.fixture(scope="module")
def released(request):
    """Numbers recorded from the released environment (MuJoCo 3.17, float64)."""
    return np.load(Path(__file__).parents[1] / "data" / f"{request.module.TASK}.npz")


@pytest.fixture
def table(released):
    """300 states judged by the release, in float64."""
    with jax.enable_x64(True):
        names = [name for name in released.files if name.startswith("table/")]
        yield {name.removeprefix("table/"): jnp.asarray(released[name]) for name in names}


@pytest.fixture
def rng():
    return np.random.default_rng(0)
