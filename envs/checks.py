"""Whether a task that is not ours returns what it must, asked before anything is compiled."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from envs.base import MjxEnv


def check(env: MjxEnv) -> None:
    """Asks once for everything that a task fills in; computes nothing.

    Raises `ValueError` for what has another shape than it must have.
    """
    jax.eval_shape(lambda key: _ask(env, key), jax.random.key(0))


def _ask(env: MjxEnv, key: PRNGKeyArray) -> None:
    data = env.place(env.home, key)
    for name, was in vars(env.home).items():
        _demand(env, "place", getattr(data, name), was.shape, name)
    points = env.points(data)
    for name, point in points.items():
        _demand(env, "points", point, (3,), name)
    if env.reward_delay > 1 and "object" not in points:
        raise ValueError(
            f"reward_delay is {env.reward_delay}, but {type(env).__name__} has no point 'object'; "
            "let it be 1."
        )
    seen = points | env.remember(points)
    observation = env.observe(data, seen)
    _demand(env, "observe", observation, (jnp.size(observation),))
    terms = env.reward(seen)
    if not isinstance(terms, dict):
        raise ValueError(
            f"`reward` of {type(env).__name__} returns no dictionary; it must return its terms by "
            "their names."
        )
    for name, term in terms.items():
        _demand(env, "reward", term, (), name)
    for name, number in zip(("success", "distance"), env.outcome(points), strict=True):
        _demand(env, "outcome", number, (), name)


def _demand(
    env: MjxEnv, hook: str, value: Any, shape: tuple[int, ...], name: str | None = None
) -> None:
    if jnp.shape(value) != shape:
        what = f"{name!r} with the shape" if name else "the shape"
        raise ValueError(
            f"`{hook}` of {type(env).__name__} returns {what} {jnp.shape(value)}; it must be "
            f"{shape}."
        )
