"""The diagonal normal distribution, as pure functions of its mean and log standard deviation.

The last axis holds the D independent dimensions of one event; every function but `sample` sums
over it. Leading axes are batch axes. The log standard deviation broadcasts against the mean, so
one of shape (D,) serves a whole batch.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


def log_prob(
    mean: Float[Array, "*batch D"],
    log_std: Float[Array, "*#batch D"],
    value: Float[Array, "*batch D"],
) -> Float[Array, "*batch"]:
    """Log density of each value, in nats, (*batch,)."""
    log_std = jnp.broadcast_to(log_std, mean.shape)
    standard = (value - mean) * jnp.exp(-log_std)
    return -jnp.sum(standard**2 / 2 + log_std + math.log(2 * math.pi) / 2, axis=-1)


def entropy(log_std: Float[Array, "*batch D"]) -> Float[Array, "*batch"]:
    """Differential entropy in nats, (*batch,)."""
    return jnp.sum(log_std + (1 + math.log(2 * math.pi)) / 2, axis=-1)


def sample(
    key: PRNGKeyArray, mean: Float[Array, "*batch D"], log_std: Float[Array, "*#batch D"]
) -> Float[Array, "*batch D"]:
    """One independent draw for every mean, (*batch, D); differentiable in mean and log_std."""
    noise = jax.random.normal(key, mean.shape, mean.dtype)
    return mean + jnp.broadcast_to(jnp.exp(log_std), mean.shape) * noise


def kl(
    mean: Float[Array, "*batch D"],
    log_std: Float[Array, "*#batch D"],
    other_mean: Float[Array, "*batch D"],
    other_log_std: Float[Array, "*#batch D"],
) -> Float[Array, "*batch"]:
    """Kullback-Leibler divergence from the other distribution, KL(this || other), in nats."""
    ratio = jnp.broadcast_to(log_std - other_log_std, mean.shape)
    shift = (mean - other_mean) * jnp.broadcast_to(jnp.exp(-other_log_std), mean.shape)
    return jnp.sum((jnp.exp(2 * ratio) + shift**2 - 1) / 2 - ratio, axis=-1)
