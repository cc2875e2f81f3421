"""What takes many episodes to see, for every task."""

import functools
import importlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs

BATCH = 256

# Columns of the observation that an episode's start draws, and their boxes (m).
DRAWN = {
    "throw": {(9, 10): ((0.58, 0.08), (0.62, 0.12))},
    "pick": {(9, 10): ((0.53, 0.13), (0.57, 0.17))},
    "push": {(3, 4): ((-0.1, 0.6), (0.1, 0.7)), (6, 7): ((-0.1, 0.8), (0.1, 0.9))},
    "soccer": {(3, 4): ((-0.1, 0.6), (0.1, 0.7)), (6, 7): ((-0.1, 0.8), (0.1, 0.9))},
    "faucet": {(6, 7): ((0.05, 0.785), (0.15, 0.835))},
}


class Programs(NamedTuple):
    env: Any
    reset: Any
    play: Any


@functools.cache
def programs(task):
    """Batched reset, and an episode of the script (True) or of full-range random actions."""
    env = envs.make(task)
    script = importlib.import_module(f"envs.{task}").scripted

    def play(key, scripted):
        reset_key, key = jax.random.split(key)
        state = jax.vmap(env.reset)(jax.random.split(reset_key, BATCH))

        def step(state, key):
            noise = jax.random.uniform(key, (BATCH, env.action_size), minval=-1.0)
            action = jnp.where(scripted, script(state), env.action_limit * noise)
            state = jax.vmap(env.step)(state, action)
            return state, state.metrics["nan"]

        final, nan = jax.lax.scan(step, state, jax.random.split(key, env.episode_length))
        return final.metrics["success"], nan.sum()

    return Programs(env, jax.jit(jax.vmap(env.reset)), jax.jit(play))


@pytest.mark.slow
@pytest.mark.parametrize("task", envs.TASKS)
def test_the_script_solves_the_task(task):
    success, nan = programs(task).play(jax.random.key(2), True)
    assert nan == 0
    assert success.mean() >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("task", envs.TASKS)
def test_a_million_random_steps_stay_finite(task):
    env, _, play = programs(task)
    episodes = -(-1_000_000 // (BATCH * env.episode_length))
    for key in jax.random.split(jax.random.key(3), episodes):
        assert play(key, False)[1] == 0


@pytest.mark.slow
@pytest.mark.parametrize("task", envs.TASKS)
def test_ten_thousand_starts_fill_their_boxes(task):
    keys = jax.random.split(jax.random.key(4), (40, BATCH))
    draws = np.concatenate([programs(task).reset(batch).obs for batch in keys])
    for columns, box in DRAWN[task].items():
        points, (low, high) = draws[:, columns], np.float32(box)
        assert np.all((points >= low - 1e-6) & (points <= high + 1e-6))
        np.testing.assert_allclose(points.min(axis=0), low, atol=1e-3)
        np.testing.assert_allclose(points.max(axis=0), high, atol=1e-3)
        assert len(np.unique(points, axis=0)) == len(points)
        if len(DRAWN[task]) == 1:
            spread = (high - low) / np.sqrt(12 * len(points))
            np.testing.assert_array_less(
                np.abs(points.mean(axis=0) - (low + high) / 2), 4.5 * spread
            )
