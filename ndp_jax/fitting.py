"""Demonstrations become goals and weights, by least squares."""

import functools
import math
import numbers
import reprlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float, Int

from ndp_jax.dmp import DMP, Floats, amplitude, as_arrays, contract, responses

GAP = "leave that sample out and give ndp_jax.resample the times of the others."


def resample(
    positions: Floats,
    n_steps: int,
    *,
    times: Floats | Int[ArrayLike, "..."] | None = None,
) -> Float[Array, "..."]:
    """A demonstration of any length as n_steps + 1 evenly timed samples, linear in between.

    First and last sample stay; differentiable in positions and times.

    Args:
      positions: the demonstration, S >= 2 samples, (..., S, D).
      n_steps: of the primitive that is to be fitted.
      times: of the samples, increasing, in any unit and from any start, (S,) or (..., S); None for
        evenly timed ones.

    Returns:
      (..., n_steps + 1, D), of the dtype of positions.

    Raises:
      ValueError: shapes do not fit together, a number is not finite, times do not increase, or
        n_steps is no whole number above 0. Numbers inside a compiled function are not looked at.
    """
    if not isinstance(n_steps, numbers.Integral) or n_steps < 1:
        raise ValueError(f"n_steps is {n_steps!r}; give a whole number of at least 1.")
    (positions,) = as_arrays(positions=positions)
    shape = np.shape(positions)
    if len(shape) < 2 or shape[-2] < 2:
        raise ValueError(f"positions has shape {shape}; give (..., S, D) with S of at least 2.")
    _check_finite("positions", positions, GAP)
    positions = jnp.asarray(positions, jnp.result_type(float, positions))
    if times is None:
        times = np.arange(shape[-2])
    elif isinstance(times, list | tuple):
        times = _listed_times(times)
    if np.shape(times) not in (shape[-2:-1], shape[:-1]):
        raise ValueError(
            f"times has shape {np.shape(times)}; give {shape[-2:-1]}, one for each sample"
            + (f", or {shape[:-1]}." if shape[:-2] else ".")
        )
    _check_finite("times", times)
    if not isinstance(times, jax.Array):
        times = np.asarray(times)
    if not isinstance(times, Tracer):
        _check_increasing(np.asarray(times))
    elapsed = jnp.asarray(times - times[..., :1], positions.dtype)
    return _interpolate(positions, jnp.broadcast_to(elapsed, shape[:-1]), int(n_steps))


def fit(
    dmp: DMP,
    positions: Floats,
    *,
    goal: Floats | None = None,
    rcond: float | None = None,
    regularization: float = 0.0,
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Goal and weights whose rollout is nearest to a demonstration, by least squares.

    The rollout starts at the demonstration's first sample with the velocity that leads to its
    second, and these are the y0 and dy0 to reproduce it with:

        y0 = positions[..., 0, :]
        dy0 = (positions[..., 1, :] - y0) * dmp.n_steps / dmp.tau

    It is linear in the goal's offset g - y0 and in the weights times g - y0 (not scaled: in the
    weights), which are solved for together: the goal is where the spring should pull to, not the
    last sample. Basis functions overlap, so other goals and weights than those which drew a
    trajectory may redraw it; give the goal of a movement that is to be moved to other goals.

    Weights belong to `dmp.n_steps`; for another number, fit again.

    With a scaled forcing an offset near 0, which no finite weights could bend, is moved out to the
    square root of the dtype's epsilon times the demonstration's extent before the weights are
    solved for.

    Args:
      dmp: the primitive.
      positions: the demonstration, evenly timed, (..., n_steps + 1, D); see `resample`.
      goal: where it leads, if that is known, in units of y, (..., D); None to solve for it.
      rcond: singular values below this fraction of the largest are dropped; a larger one (1e-4,
        say) keeps the weights of a noisy demonstration small. Default epsilon ** (2 / 3).
      regularization: what is minimised is the mean squared error over the samples, plus this times
        the mean square over the basis functions of the goal offset that would pull as hard as the
        weight does, |w (g - y0)| / (alpha beta), or not scaled |w| / (alpha beta). The goal itself
        costs nothing.

    Returns:
      goal in units of y, (..., D), and weights, (..., D, N), dimensionless if the forcing is
      scaled, else in units of y; of the input's dtype.

    Raises:
      ValueError: a shape is another, a number is not finite, or regularization is negative.
        Numbers inside a compiled function are not looked at.
    """
    positions, goal = _demonstration(dmp, positions, goal, "(...,", axes=2)
    return _fit(
        dmp,
        positions,
        goal,
        rcond=rcond,
        regularization=_ridge(regularization),
    )


def fit_shared(
    dmp: DMP,
    positions: Floats,
    *,
    goal: Floats | None = None,
    rcond: float | None = None,
    regularization: float = 0.0,
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """A goal for each of K demonstrations and one set of weights for all, by least squares.

    `fit` for demonstrations of one movement from different starts to different goals; the sum of
    what it minimises for each is the least possible.

    Args:
      dmp: the primitive.
      positions: the demonstrations, evenly timed, (..., K, n_steps + 1, D); see `resample`.
      goal: where each leads, if that is known, in units of y, (..., K, D); None to solve for them.
      rcond: as in `fit`.
      regularization: as in `fit`.

    Returns:
      goals in units of y, (..., K, D), and weights, (..., D, N), dimensionless if the
      forcing is scaled, else in units of y; of the input's dtype.

    Raises:
      ValueError: a shape is another, a number is not finite, or regularization is negative.
        Numbers inside a compiled function are not looked at.
    """
    positions, goal = _demonstration(dmp, positions, goal, "(..., K,", axes=3)
    return _fit_shared(
        dmp,
        positions,
        goal,
        rcond=rcond,
        regularization=_ridge(regularization),
    )


def orthonormal(
    dmp: DMP, *, start: bool = True, damping: float = 1e-3
) -> Float[np.ndarray, "parameters parameters"]:
    """Parameters of movements that are orthonormal to each other, for gradient descent.

    Args:
      dmp: the primitive. A scaled forcing term is taken for one of a unit offset g - y0.
      start: whether y0 is a parameter, too; it is 0 otherwise.
      damping: movements smaller than this share of the largest, for unit parameters, are not
        enlarged to unit size any more.

    Returns:
      A matrix in float64 whose columns are parameters, ordered y0 (if `start`), g - y0 and N
      weights. The movements from rest that columns stand for have a mean square of 1 over the
      samples, or less where damped, and mean products of 0.
    """
    response = responses(dmp)[0][:, 1:]
    # A forcing of alpha * beta displaces the spring as far as a goal offset of 1 does.
    scale = np.r_[1, np.full(dmp.n_basis, dmp.alpha**2 / 4)]
    movements = response * scale
    if start:
        movements, scale = np.c_[np.ones(len(movements)), movements], np.r_[1, scale]
    _, values, right = np.linalg.svd(movements / math.sqrt(len(movements)), full_matrices=False)
    return scale[:, None] * right.T / np.hypot(values, damping * values[0])


def _demonstration(
    dmp: DMP, positions: Floats, goal: Floats | None, leading: str, *, axes: int
) -> tuple[Array, Array | None]:
    """Both as arrays of one dtype, checked."""
    positions, goal = as_arrays(positions=positions, goal=goal)
    shape = np.shape(positions)
    if len(shape) < axes or shape[-2] != dmp.n_steps + 1 or 0 in shape[-axes:]:
        raise ValueError(
            f"positions has shape {shape}; give {leading} {dmp.n_steps + 1}, D), as dmp.n_steps is "
            f"{dmp.n_steps}; ndp_jax.resample makes that of any number of samples."
        )
    _check_finite("positions", positions, GAP)
    positions = jnp.asarray(positions, jnp.result_type(float, positions))
    if goal is None:
        return positions, None
    expected = (*shape[:-2], shape[-1])
    if np.shape(goal) != expected:
        raise ValueError(f"goal has shape {np.shape(goal)}; give {expected}, as positions has.")
    _check_finite("goal", goal)
    return positions, jnp.asarray(goal, positions.dtype)


def _check_finite(name: str, values: Any, fix: str = "give a finite number.") -> None:
    """Of numbers that are known already, which those inside a compiled function are not."""
    if isinstance(values, Tracer):
        return
    values = np.asarray(values)
    wrong = np.argwhere(~np.isfinite(values))
    if wrong.size:
        place = wrong[0].tolist()
        raise ValueError(f"{name}{place} is {values[tuple(place)]}; {fix}")


def _listed_times(times: list | tuple) -> Any:
    """In float64, which float32's 24 bits are too few for, unless a compiled function has them."""
    if any(isinstance(time, Tracer) for time in jax.tree.leaves(times)):
        return jnp.asarray(times)
    try:
        return np.asarray(times, float)
    except (TypeError, ValueError):
        raise ValueError(
            f"times is {reprlib.repr(times)}; give numbers, as an array or in lists of equal "
            "lengths."
        ) from None


def _check_increasing(times: np.ndarray) -> None:
    wrong = np.argwhere(np.diff(times) <= 0)
    if wrong.size:
        *batch, sample = wrong[0].tolist()
        before, after = times[(*batch, sample)], times[(*batch, sample + 1)]
        raise ValueError(
            f"times{[*batch, sample + 1]} is {after} after {before}; give increasing times."
        )


def _ridge(regularization: float) -> float:
    if not 0 <= regularization < math.inf:
        raise ValueError(
            f"regularization is {regularization!r}; give a finite number of at least 0."
        )
    return float(regularization)


@functools.partial(jax.jit, static_argnames="n_steps")
def _interpolate(positions: Array, times: Array, n_steps: int) -> Array:
    """`resample`, of times from 0, (..., S)."""

    def interpolate(times: Array, column: Array) -> Array:
        evenly = times[-1] * jnp.arange(n_steps + 1, dtype=times.dtype) / n_steps
        return jnp.interp(evenly, times, column)

    columns = jnp.swapaxes(positions, -1, -2)
    of_columns = jnp.vectorize(interpolate, signature="(s),(s)->(m)")
    return jnp.swapaxes(of_columns(times[..., None, :], columns), -1, -2)


@functools.partial(jax.jit, static_argnames=("dmp", "rcond", "regularization"))
def _fit(
    dmp: DMP, positions: Array, goal: Array | None, *, rcond: float | None, regularization: float
) -> tuple[Array, Array]:
    response, _, _ = responses(dmp)
    inverse = _inverse(dmp, _cutoff(rcond, positions), regularization)
    y0 = positions[..., 0, :]
    driven = _driven(dmp, positions)
    offset = _solve(inverse.goal_and_forcing, driven)[..., 0] if goal is None else goal - y0
    if dmp.forcing == "scaled":
        epsilon = float(jnp.finfo(positions.dtype).eps)
        extent = jnp.max(jnp.abs(positions - y0[..., None, :]), axis=-2)
        size = jnp.max(jnp.abs(positions), axis=-2)
        least = jnp.maximum(math.sqrt(epsilon) * extent, 4 * epsilon * size)
        least = jnp.where(extent > 0, least, 0)
        offset = jnp.where(jnp.abs(offset) < least, jnp.copysign(least, offset), offset)

    goal = y0 + offset
    offset = (goal - y0)[..., None]  # what rollout will see of it after rounding
    products = _solve(inverse.forcing, driven - contract(offset, response[:, 1:2]))
    factor = amplitude(dmp, offset)
    return goal, products / jnp.where(factor == 0, 1, factor)


@functools.partial(jax.jit, static_argnames=("dmp", "rcond", "regularization"))
def _fit_shared(
    dmp: DMP, positions: Array, goal: Array | None, *, rcond: float | None, regularization: float
) -> tuple[Array, Array]:
    """`fit` of one combination of the demonstrations, moved to start at 0.

    With a scaled forcing they are multiples of one trajectory, in the ratio of their goals'
    offsets; with another they differ from their mean by what their goals pull.
    """
    fit_one = functools.partial(_fit, dmp, rcond=rcond, regularization=regularization)
    y0 = positions[..., 0, :]
    positions = positions - y0[..., None, :]
    offsets = None if goal is None else goal - y0  # (..., K, D)

    if dmp.forcing == "scaled":
        if offsets is None:
            inverse = _inverse(dmp, _cutoff(rcond, positions), regularization)
            explained = contract(_driven(dmp, positions), inverse.goal_and_forcing[0].T)
            ratio, length = _first_singular_vector(explained), None
        else:
            ratio, length = _direction(offsets)
        combined = jnp.sum(ratio[..., None, :] * positions, axis=-3)
        offset, weights = fit_one(combined, length)
        return y0 + ratio * offset[..., None, :], weights

    mean = jnp.mean(positions, axis=-3)
    offset, weights = fit_one(mean, None if offsets is None else jnp.mean(offsets, axis=-2))
    if goal is not None:
        return goal, weights
    pull = responses(dmp)[0][:, 1:2]
    differences = _driven(dmp, positions - mean[..., None, :, :])
    own = contract(differences, pull.T / np.sum(pull**2))[..., 0]
    return y0 + offset[..., None, :] + own, weights


def _cutoff(rcond: float | None, positions: Array) -> float:
    return float(jnp.finfo(positions.dtype).eps) ** (2 / 3) if rcond is None else rcond


def _first_singular_vector(rows: Array) -> Array:
    """The left one of every matrix (K, R) in (..., K, D, R), as (..., K, D).

    By repeated squaring, 2**10 power iterations, because the gradient of an eigendecomposition is
    not finite where other singular values are equal, as they are when all but one are 0.
    """
    product = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)
    moments = product("...kdr,...kds->...drs", rows, rows)
    for _ in range(10):
        trace = jnp.trace(moments, axis1=-2, axis2=-1)[..., None, None]
        moments = moments / jnp.where(trace > 0, trace, 1)
        moments = product("...rs,...st->...rt", moments, moments)
    largest = jnp.argmax(jnp.diagonal(moments, axis1=-2, axis2=-1), axis=-1)
    right = jnp.take_along_axis(moments, largest[..., None, None], axis=-1)[..., 0]
    vector, _ = _direction(product("...kdr,...dr->...kd", rows, right))
    return vector


def _direction(vectors: Array) -> tuple[Array, Array]:
    """Unit vectors along K in (..., K, D), and lengths; the diagonal for a vector of zeros."""
    square = jnp.sum(vectors**2, axis=-2)
    some = square > 0
    length = jnp.sqrt(jnp.where(some, square, 1))
    diagonal = 1 / math.sqrt(vectors.shape[-2])
    unit = jnp.where(some[..., None, :], vectors / length[..., None, :], diagonal)
    return unit, jnp.where(some, length, 0)


def _driven(dmp: DMP, positions: Array) -> Array:
    """What goal and forcing have to do: the way less that of the initial velocity, (..., D, S)."""
    response, _, _ = responses(dmp)
    travelled = jnp.swapaxes(positions, -1, -2) - positions[..., 0, :, None]
    step = travelled[..., 1:2] * dmp.n_steps / dmp.tau
    return travelled - contract(step, response[:, :1])


class _Inverse(NamedTuple):
    """Truncated pseudo-inverses, each the factors (n_steps + 1, rank) and (inputs, rank)."""

    goal_and_forcing: tuple[np.ndarray, np.ndarray]
    forcing: tuple[np.ndarray, np.ndarray]


@functools.lru_cache
def _inverse(dmp: DMP, rcond: float, regularization: float) -> _Inverse:
    matrix = responses(dmp)[0][:, 1:]
    # A forcing of alpha * beta displaces the spring as far as a goal offset of 1 does.
    scale = np.r_[1, np.full(dmp.n_basis, dmp.alpha**2 / 4)]
    samples = len(matrix)
    matrix = matrix * scale
    if regularization:  # as more samples to explain, which are 0
        penalty = np.eye(len(scale))[1:] * math.sqrt(regularization * samples / max(dmp.n_basis, 1))
        matrix = np.concatenate([matrix, penalty])

    def factors(matrix, scale):
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        rank = np.count_nonzero(values > rcond * values.max(initial=0))
        return left[:samples, :rank], scale[:, None] * right[:rank].T / values[:rank]

    return _Inverse(factors(matrix, scale), factors(matrix[:, 1:], scale[1:]))


def _solve(factors: tuple[np.ndarray, np.ndarray], driven: Array) -> Array:
    """Least squares along the last axis. Two factors, not their product, for float32's sake."""
    left, right = factors
    return contract(contract(driven, left.T), right)
