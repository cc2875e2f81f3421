"""Where an object and its goal start on Sawyer's table."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

_OBJECT_LOW, _OBJECT_HIGH = (-0.1, 0.6), (0.1, 0.7)
_GOAL_LOW, _GOAL_HIGH = (-0.1, 0.8), (0.1, 0.9)
_MIN_SEPARATION = 0.15


def draw_start(key: PRNGKeyArray) -> tuple[Float[Array, "2"], Float[Array, "2"]]:
    """Places (m) of object and goal: uniform, drawn again while closer than .15."""
    low, high = jnp.array([_OBJECT_LOW, _GOAL_LOW]), jnp.array([_OBJECT_HIGH, _GOAL_HIGH])

    def draw(carry):
        _, key = carry
        key, now = jax.random.split(key)
        return jax.random.uniform(now, (2, 2), minval=low, maxval=high), key

    def too_close(carry):
        (object, goal), _ = carry
        return jnp.linalg.norm(object - goal) < _MIN_SEPARATION

    (object, goal), _ = jax.lax.while_loop(too_close, draw, draw((low, key)))
    return object, goal
