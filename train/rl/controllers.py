"""Scripted and random controllers, and one that does nothing."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from brax.envs.base import State
from jaxtyping import Array, Float, PRNGKeyArray

import envs
from train.rl import evaluate
from train.rl.agent import Act, RobotEnv
from train.rl.evaluate import Outcome
from train.system.errors import UserError

CONTROLLERS = ("scripted", "random", "zero")

# Environments stepped at once.
BATCH = 64


def make_controller(name: str, task: str, env: RobotEnv) -> Act:
    """One of `CONTROLLERS`, which act step by step.

    Raises:
      UserError: the task has no script.
    """
    limit = env.action_limit

    def random(key: PRNGKeyArray, state: State) -> Float[Array, "E A"]:
        shape = (len(state.done), env.action_size)
        return jax.random.uniform(key, shape, minval=-limit, maxval=limit)

    def zero(key: PRNGKeyArray, state: State) -> Float[Array, "E A"]:
        del key
        return jnp.zeros((len(state.done), env.action_size))

    control = scripted(task) if name == "scripted" else {"random": random, "zero": zero}[name]
    return lambda key, state: (control(key, state)[:, None], None)


def scripted(task: str) -> Callable[[PRNGKeyArray, State], Float[Array, "E A"]]:
    """The demonstrator in a task's module."""
    try:
        script = envs.script(task)
    except ValueError as problem:
        raise UserError(str(problem)) from None
    return lambda key, state: script(state)


def play(env: RobotEnv, act: Act, key: PRNGKeyArray, *, episodes: int) -> Outcome:
    """Plays whole episodes with a controller."""
    lanes = min(episodes, BATCH)

    @jax.jit
    def batch(key: PRNGKeyArray) -> Outcome:
        return evaluate.play(env, act, key, num_envs=lanes, chunk=1)[0]

    batches = [batch(key) for key in jax.random.split(key, -(-episodes // lanes))]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts)[:episodes], *batches)
