"""Movements to try, and how to compare them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike


def draw(dmp, batch, dims, *, dtype: DTypeLike = np.float32):
    """goal, weights, y0 and dy0 of ordinary size."""
    rng = np.random.default_rng(0)
    shape = (*batch, dims)
    arrays = (
        rng.normal(size=shape),
        20 * rng.normal(size=(*shape, dmp.n_basis)),
        rng.normal(size=shape),
        rng.normal(size=shape),
    )
    return tuple(jnp.asarray(array, dtype) for array in arrays)


def assert_close(actual, expected, tolerance):
    """Equal up to a tolerance relative to the largest expected number, leaf by leaf."""
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape
        error = np.max(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)))
        assert error <= tolerance * np.max(np.abs(b))


def start(dmp, positions):
    """The y0 and dy0 that fit assumes."""
    y0 = positions[..., 0, :]
    return y0, (positions[..., 1, :] - y0) * dmp.n_steps / dmp.tau
