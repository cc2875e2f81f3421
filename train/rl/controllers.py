"""Controllers that nobody trained: a task's script, random actions and none at all."""

import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from brax.envs.base import State
from jaxtyping import Array, Float, PRNGKeyArray

from envs.base import MjxEnv
from train.rl import rollout
from train.rl.evaluate import Outcome, pose

CONTROLLERS = ("scripted", "random", "zero")

# Environments stepped at once.
BATCH = 64

Control = Callable[[State, PRNGKeyArray], Float[Array, "E A"]]


def make_controller(name: str, task: str, env: MjxEnv) -> Control:
    """One of `CONTROLLERS` for a batch of states."""
    limit = env.action_limit

    def shape(state: State) -> tuple[int, int]:
        return (state.done.shape[0], env.action_size)

    def scripted(state: State, key: PRNGKeyArray) -> Float[Array, "E A"]:
        del key
        return importlib.import_module(f"envs.{task}").scripted(state)

    def random(state: State, key: PRNGKeyArray) -> Float[Array, "E A"]:
        return jax.random.uniform(key, shape(state), minval=-limit, maxval=limit)

    def zero(state: State, key: PRNGKeyArray) -> Float[Array, "E A"]:
        del key
        return jnp.zeros(shape(state))

    return {"scripted": scripted, "random": random, "zero": zero}[name]


def play(env: MjxEnv, control: Control, key: PRNGKeyArray, *, episodes: int) -> Outcome:
    """Plays whole episodes with a controller."""
    lanes = min(episodes, BATCH)

    def step(carry: Any, key: PRNGKeyArray):
        state, returns, broken = carry
        state = rollout.strong(jax.vmap(env.step)(state, control(state, key)))
        return (state, returns + state.reward, broken | (state.metrics["nan"] > 0)), pose(state)

    @jax.jit
    def batch(key: PRNGKeyArray) -> Outcome:
        reset_key, key = jax.random.split(key)
        state = rollout.strong(jax.vmap(env.reset)(jax.random.split(reset_key, lanes)))
        start = (state, jnp.zeros(lanes), jnp.zeros(lanes, bool))
        (state, returns, broken), poses = jax.lax.scan(
            step, start, jax.random.split(key, env.episode_length)
        )
        return Outcome(
            success=jnp.where(broken, 0.0, state.metrics["success"]),
            returns=returns,
            distance=state.metrics["distance"],
            broken=broken,
            poses=jax.tree.map(lambda x: x.swapaxes(0, 1), poses),
        )

    batches = [batch(key) for key in jax.random.split(key, -(-episodes // lanes))]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts)[:episodes], *batches)
