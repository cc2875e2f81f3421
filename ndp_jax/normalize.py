"""Running statistics that bring observations and rewards to unit scale.

Pytrees and pure functions: they live inside a jitted learner, and are saved and stacked with it.

Sources: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
variances", 1979, for the merge; constants and reward scaling as in OpenAI Baselines' VecNormalize.
"""

import math

import jax.numpy as jnp
from flax import struct
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

PRIOR_COUNT = 1e-4
"""Weight of the initial mean 0 and variance 1, in samples."""

EPSILON = 1e-8
"""Added to every variance that is divided by."""


class RunningStats(struct.PyTreeNode):
    """Mean and variance of all samples so far.

    Attributes:
      mean: (*shape,), where shape is that of one sample.
      variance: of the population (not the unbiased estimate), (*shape,).
      count: samples so far, the prior's included, ().
    """

    mean: Float[Array, "*shape"]
    variance: Float[Array, "*shape"]
    count: Float[Array, ""]


class RewardScale(struct.PyTreeNode):
    """What `scale_reward` remembers between steps.

    Attributes:
      returns: discounted sum of each environment's rewards since its reset, (*envs,).
      stats: of all these sums at all steps, scalar.
    """

    returns: Float[Array, "*envs"]
    stats: RunningStats


def init(shape: tuple[int, ...] = (), *, dtype: DTypeLike = float) -> RunningStats:
    """Statistics of no samples yet, each of which will have this shape, in JAX's default float."""
    return RunningStats(
        mean=jnp.zeros(shape, dtype),
        variance=jnp.ones(shape, dtype),
        count=jnp.asarray(PRIOR_COUNT, dtype),
    )


def update(
    stats: RunningStats, batch: Float[Array, "..."], *, where: Bool[Array, "..."] | None = None
) -> RunningStats:
    """Merges the statistics of a batch, (*batch, *shape), into those of earlier samples.

    Args:
      stats: of the earlier samples.
      batch: finite.
      where: which samples of it count, (*batch,); None for all.

    Raises:
      ValueError: the batch's last axes are not the shape of one sample.
    """
    shape = stats.mean.shape
    leading = batch.ndim - len(shape)
    if leading < 0 or batch.shape[leading:] != shape:
        raise ValueError(
            f"batch has shape {batch.shape}; its last axes must be a sample's {shape}."
        )
    axes = tuple(range(leading))
    if where is None:
        size = math.prod(batch.shape[:leading])
        mean, variance = jnp.mean(batch, axis=axes), jnp.var(batch, axis=axes)
    else:
        size = jnp.sum(where, dtype=stats.count.dtype)
        weight = where.reshape(*where.shape, *[1] * len(shape)) / jnp.maximum(size, 1)
        mean = jnp.sum(weight * batch, axis=axes)
        variance = jnp.sum(weight * jnp.square(batch - mean), axis=axes)
    count = stats.count + size
    shift = mean - stats.mean
    squares = (
        stats.variance * stats.count + variance * size + shift**2 * (stats.count * (size / count))
    )
    return RunningStats(
        mean=stats.mean + shift * (size / count), variance=squares / count, count=count
    )


def normalize(
    stats: RunningStats, value: Float[Array, "..."], *, clip: float = 10.0
) -> Float[Array, "..."]:
    """(value - mean) / standard deviation, clipped to [-clip, clip]; value is (..., *shape)."""
    mean = jnp.broadcast_to(stats.mean, value.shape)
    deviation = jnp.broadcast_to(jnp.sqrt(stats.variance + EPSILON), value.shape)
    return jnp.clip((value - mean) / deviation, -clip, clip)


def init_reward_scale(shape: tuple[int, ...] = (), *, dtype: DTypeLike = float) -> RewardScale:
    """Reward scaling before the first step of environments batched as `shape`."""
    return RewardScale(returns=jnp.zeros(shape, dtype), stats=init(dtype=dtype))


def scale_reward(
    scale: RewardScale,
    reward: Float[Array, "*envs"],
    done: Bool[Array, "*envs"],
    *,
    discount: float | Float[Array, ""],
    valid: Bool[Array, "*envs"] | None = None,
    clip: float = 10.0,
) -> tuple[RewardScale, Float[Array, "*envs"]]:
    """Divides one step's rewards by the running standard deviation of the discounted return.

    Dividing by the return's deviation and not the reward's keeps value targets near unit scale,
    and subtracting no mean keeps the sign of a reward.

    Args:
      scale: from `init_reward_scale` or the step before.
      reward: of this step, (*envs,).
      done: whether this step ended the episode, so that the next return starts from 0, (*envs,).
      discount: of the return, per step.
      valid: whether the step happened and counts, (*envs,); None for all.
      clip: scaled rewards are clipped to [-clip, clip].

    Returns:
      The new state, and the scaled rewards, (*envs,).
    """
    returns = scale.returns * discount + reward
    stats = update(scale.stats, returns, where=valid)
    scaled = jnp.clip(reward / jnp.sqrt(stats.variance + EPSILON), -clip, clip)
    return RewardScale(returns=jnp.where(done, 0, returns), stats=stats), scaled
