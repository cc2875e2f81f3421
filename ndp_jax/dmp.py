"""Dynamic movement primitives: a goal and a few weights become a smooth trajectory.

A primitive is a critically damped spring towards a goal, bent on its way by a forcing term that
fades with a phase x. Per degree of freedom:

    tau z' = alpha (beta (g - y) - z) + f(x)      tau y' = z      beta = alpha / 4
    tau x' = -alpha_x x                           x(0) = 1
    f(x) = x (g - y0) sum_i psi_i(x) w_i / sum_i psi_i(x)

The unscaled forcing term leaves out the factor g - y0.

Sources: Ijspeert et al., "Dynamical movement primitives", Neural Computation 25, 2013, equations
2.1 to 2.6; Bahl et al., "Neural Dynamic Policies for End-to-End Sensorimotor Learning", NeurIPS
2020, section 2 and its appendix on kernels. Unscaled: Hoffmann et al., "Biologically-inspired
dynamical systems for movement generation", ICRA 2009.
"""

import functools
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float, Int

ALPHA_RANGE = (0.5, 30.0)
"""What a learned alpha is clamped to."""


def _softmin(distance: np.ndarray) -> np.ndarray:
    """exp(-distance) up to a factor that normalisation removes, without underflow."""
    return np.exp(distance.min(axis=-1, keepdims=True) - distance)


KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gaussian": _softmin,
    "multiquadric": lambda distance: np.sqrt(1 + distance),
    "inverse_quadric": lambda distance: 1 / (1 + distance),
    "inverse_multiquadric": lambda distance: 1 / np.sqrt(1 + distance),
    "linear": lambda distance: distance,
}
"""psi as a function of h (x - c)**2; what matters is only the ratio of one basis to another."""

GAP = "leave that sample out and give ndp_jax.resample the times of the others."

FORCINGS = ("scaled", "unscaled")

METHODS = ("scan", "matrix")


@dataclass(frozen=True, kw_only=True)
class DMP:
    """What is fixed about a primitive. Hashable, so it can be a static argument of jax.jit.

    Attributes:
      n_basis: N, basis functions per degree of freedom.
      n_steps: explicit Euler steps; a trajectory has n_steps + 1 samples, tau / n_steps apart.
      tau: duration of the movement. Stretches time, leaves the path the same.
      alpha: stiffness. Without forcing, 4 % of the way is left after a time of 10 tau / alpha.
        Euler integration diverges from alpha = 4 n_steps on.
      alpha_x: decay of the phase, which ends near exp(-alpha_x).
      kernel: shape of the basis functions, one of `KERNELS`.
      forcing: "scaled", by g - y0, stretches a movement's shape with its goal and knows no shape
        that ends where it began; "unscaled" keeps the shape's size and shifts its end.

    Raises:
      ValueError: a value is outside its range.
    """

    n_basis: int = 6
    n_steps: int = 40
    tau: float | int = 1.0
    alpha: float | int = 15.0
    alpha_x: float | int = 1.0
    kernel: str = "gaussian"
    forcing: str = "scaled"

    def __post_init__(self):
        for name in ("n_basis", "n_steps"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or value < 1:
                raise ValueError(f"{name} is {value!r}; give a whole number of at least 1.")
            object.__setattr__(self, name, int(value))
        for name in ("tau", "alpha", "alpha_x"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Real) or not 0 < float(value) < math.inf:
                raise ValueError(f"{name} is {value!r}; give a finite number above 0.")
            object.__setattr__(self, name, float(value))
        if self.alpha_x > self.n_steps:
            raise ValueError(
                f"alpha_x is {self.alpha_x} with {self.n_steps} steps, which makes the phase "
                f"negative; give alpha_x at most {self.n_steps} or more n_steps."
            )
        if self.kernel not in KERNELS:
            raise ValueError(f"kernel is {self.kernel!r}; give one of {', '.join(KERNELS)}.")
        if self.forcing not in FORCINGS:
            raise ValueError(f"forcing is {self.forcing!r}; give one of {', '.join(FORCINGS)}.")


class Trajectory(NamedTuple):
    """Samples 0 .. n_steps of a movement, each (..., n_steps + 1, D).

    Velocity and acceleration of sample i + 1 are those which led from sample i to it, so
    `position[i + 1] = position[i] + velocity[i + 1] * tau / n_steps`.

    Attributes:
      position: y. Sample 0 is y0.
      velocity: y', units of y per unit of time, of which the movement lasts tau. Sample 0 is dy0.
      acceleration: z' = tau y''. Sample 0 precedes every step and holds tau * dy0, as in the
        authors' release.
    """

    position: Float[Array, "..."]
    velocity: Float[Array, "..."]
    acceleration: Float[Array, "..."]


@functools.partial(jax.jit, static_argnames=("dmp", "method"))
def rollout(
    dmp: DMP,
    goal: Float[ArrayLike, "..."],
    weights: Float[ArrayLike, "..."] | None,
    y0: Float[ArrayLike, "..."],
    dy0: Float[ArrayLike, "..."],
    *,
    alpha: Float[ArrayLike, "..."] | None = None,
    method: str = "scan",
) -> Trajectory:
    """Integrates a primitive, differentiably, for any number of degrees of freedom D at once.

    Leading axes are batch axes and broadcast against each other.

    Args:
      dmp: the primitive.
      goal: where the spring pulls to, in units of y, (..., D).
      weights: of the basis functions, (..., D, N), dimensionless, or in units of y if the forcing
        is unscaled; None for no forcing term.
      y0: initial position, (..., D).
      dy0: initial velocity, in units of y per unit of time, (..., D).
      alpha: stiffness in place of `dmp.alpha`, one per batch element, (...,), or for method
        "matrix" one for all, (); clamped to `ALPHA_RANGE`.
      method: "scan" integrates step by step; "matrix" gives the same numbers, up to rounding, as
        one product with a matrix, which is faster.

    Returns:
      Position, velocity and acceleration, each (..., n_steps + 1, D), of the inputs' dtype.

    Raises:
      ValueError: shapes do not fit together or to the primitive, or the method cannot do it.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; give one of {', '.join(METHODS)}.")
    if method == "matrix" and jnp.ndim(alpha if alpha is not None else 0.0):
        raise ValueError(
            'method "matrix" has one alpha for all; use method="scan" for one per batch element.'
        )
    shape = _rollout_shape(dmp, goal, weights, y0, dy0, alpha)
    given = [value for value in (goal, weights, y0, dy0, alpha) if value is not None]
    dtype = jnp.result_type(float, *given)
    goal, y0, dy0 = (jnp.broadcast_to(jnp.asarray(v, dtype), shape) for v in (goal, y0, dy0))
    if weights is not None:
        weights = jnp.broadcast_to(jnp.asarray(weights, dtype), (*shape, dmp.n_basis))
    if alpha is not None:
        low, high = (jnp.asarray(bound, dtype) for bound in ALPHA_RANGE)
        alpha = lax.clamp(low, jnp.asarray(alpha, dtype), high)
    if method == "matrix":
        response = _response(dmp) if alpha is None else _response_for(dmp, alpha)
        return _matrix_rollout(dmp, response, goal, weights, y0, dy0)
    if alpha is None:
        return _scan_rollout(dmp, goal, weights, y0, dy0, dmp.alpha)
    alpha = jnp.broadcast_to(jnp.broadcast_to(alpha, shape[:-1])[..., None], shape)
    return _scan_rollout(dmp, goal, weights, y0, dy0, alpha)


def resample(
    positions: Float[ArrayLike, "..."],
    n_steps: int,
    *,
    times: Float[ArrayLike, "..."] | Int[ArrayLike, "..."] | None = None,
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
    shape = jnp.shape(positions)
    if len(shape) < 2 or shape[-2] < 2:
        raise ValueError(f"positions has shape {shape}; give (..., S, D) with S of at least 2.")
    _check_finite("positions", positions, GAP)
    positions = jnp.asarray(positions, jnp.result_type(float, positions))
    if times is None:
        times = np.arange(shape[-2])
    elif jnp.shape(times) not in (shape[-2:-1], shape[:-1]):
        raise ValueError(
            f"times has shape {jnp.shape(times)}; give {shape[-2:-1]}, one for each sample"
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
    positions: Float[ArrayLike, "..."],
    *,
    goal: Float[ArrayLike, "..."] | None = None,
    rcond: float | None = None,
    regularization: float = 0.0,
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Goal and weights whose rollout is nearest to a demonstration, by least squares.

    The rollout starts at the demonstration's first sample with the velocity that leads to its
    second, and these are the y0 and dy0 to reproduce it with:

        y0 = positions[..., 0, :]
        dy0 = (positions[..., 1, :] - y0) * dmp.n_steps / dmp.tau

    It is linear in the goal's offset g - y0 and in the weights times g - y0 (unscaled: in the
    weights), which are solved for together: the goal is where the spring should pull to, not the
    last sample. Basis functions overlap, so other goals and weights than those which drew a
    trajectory may redraw it; give the goal of a movement that is to be moved to other goals.

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
        weight does, |w (g - y0)| / (alpha beta), or unscaled |w| / (alpha beta). The goal itself
        costs nothing.

    Returns:
      goal in units of y, (..., D), and weights, (..., D, N), dimensionless, or in units of y if the
      forcing is unscaled; of the input's dtype.

    Raises:
      ValueError: a shape is another, a number is not finite, or regularization is negative.
        Numbers inside a compiled function are not looked at.
    """
    positions, goal = _demonstration(dmp, positions, goal, "(...,", axes=2)
    return _fit(dmp, positions, goal, rcond=rcond, regularization=_ridge(regularization))


def fit_shared(
    dmp: DMP,
    positions: Float[ArrayLike, "..."],
    *,
    goal: Float[ArrayLike, "..."] | None = None,
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
      goals in units of y, (..., K, D), and weights, (..., D, N), dimensionless, or in units of y if
      the forcing is unscaled; of the input's dtype.

    Raises:
      ValueError: a shape is another, a number is not finite, or regularization is negative.
        Numbers inside a compiled function are not looked at.
    """
    positions, goal = _demonstration(dmp, positions, goal, "(..., K,", axes=3)
    return _fit_shared(dmp, positions, goal, rcond=rcond, regularization=_ridge(regularization))


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
    response = _response(dmp)[0][:, 1:]
    # A forcing of alpha * beta displaces the spring as far as a goal offset of 1 does.
    scale = np.r_[1, np.full(dmp.n_basis, dmp.alpha**2 / 4)]
    movements = response * scale
    if start:
        movements, scale = np.c_[np.ones(len(movements)), movements], np.r_[1, scale]
    _, values, right = np.linalg.svd(movements / math.sqrt(len(movements)), full_matrices=False)
    return scale[:, None] * right.T / np.hypot(values, damping * values[0])


def _rollout_shape(dmp: DMP, goal, weights, y0, dy0, alpha) -> tuple[int, ...]:
    """(..., D), the broadcast shape of all arguments."""
    shapes = {"goal": jnp.shape(goal), "y0": jnp.shape(y0), "dy0": jnp.shape(dy0)}
    for name, shape in shapes.items():
        if not shape:
            raise ValueError(f"{name} is a scalar; give (..., D), with D = 1 for a single one.")
    batches = {name: shape[:-1] for name, shape in shapes.items()}
    dims = {name: shape[-1] for name, shape in shapes.items()}
    if weights is not None:
        shape = jnp.shape(weights)
        if len(shape) < 2:
            raise ValueError(f"weights has shape {shape}; give (..., D, {dmp.n_basis}).")
        if shape[-1] != dmp.n_basis:
            raise ValueError(
                f"weights has {shape[-1]} basis functions but dmp.n_basis is {dmp.n_basis}; "
                f"give weights (..., D, {dmp.n_basis}) or a DMP with n_basis={shape[-1]}."
            )
        batches["weights"], dims["weights"] = shape[:-2], shape[-2]
    if len(set(dims.values())) > 1:
        found = ", ".join(f"{name} {size}" for name, size in dims.items())
        raise ValueError(f"degrees of freedom differ ({found}); give every argument the same D.")
    if alpha is not None:
        batches["alpha"] = jnp.shape(alpha)
    try:
        batch = jnp.broadcast_shapes(*batches.values())
    except ValueError as error:
        found = ", ".join(f"{name} {size}" for name, size in batches.items())
        raise ValueError(
            f"batch shapes do not broadcast ({found}); give every argument the same."
        ) from error
    return (*batch, dims["goal"])


def _scan_rollout(dmp: DMP, goal, weights, y0, dy0, alpha) -> Trajectory:
    if weights is None:
        forcing = jnp.zeros((dmp.n_steps, *goal.shape), goal.dtype)
    else:
        forcing = _contract(weights, _features(dmp))
        forcing = jnp.moveaxis(forcing * _amplitude(dmp, goal - y0)[..., None], -1, 0)

    def step(state, forcing):
        state, sample = _euler_step(dmp, alpha, goal, forcing, state)
        return state, sample

    z0 = dy0 * dmp.tau
    _, samples = lax.scan(step, (y0, z0), forcing)
    return Trajectory(
        *(
            jnp.moveaxis(jnp.concatenate([first[None], rest]), 0, -2)
            for first, rest in zip((y0, dy0, z0), samples, strict=True)
        )
    )


def _matrix_rollout(dmp: DMP, response, goal, weights, y0, dy0) -> Trajectory:
    offset = (goal - y0)[..., None]
    inputs = [dy0[..., None], offset]
    if weights is not None:
        inputs.append(weights * _amplitude(dmp, offset))
    inputs = jnp.concatenate(inputs, axis=-1)
    position, velocity, acceleration = (
        jnp.swapaxes(_contract(inputs, matrix[:, : inputs.shape[-1]]), -1, -2)
        for matrix in response
    )
    return Trajectory(position + y0[..., None, :], velocity, acceleration)


def _demonstration(
    dmp: DMP, positions: ArrayLike, goal: ArrayLike | None, leading: str, *, axes: int
) -> tuple[Array, Array | None]:
    """Both as arrays of one dtype, checked."""
    shape = jnp.shape(positions)
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
    if jnp.shape(goal) != expected:
        raise ValueError(f"goal has shape {jnp.shape(goal)}; give {expected}, as positions has.")
    _check_finite("goal", goal)
    return positions, jnp.asarray(goal, positions.dtype)


def _check_finite(name: str, values: ArrayLike, fix: str = "give a finite number.") -> None:
    """Of numbers that are known already, which those inside a compiled function are not."""
    if isinstance(values, Tracer):
        return
    values = np.asarray(values)
    wrong = np.argwhere(~np.isfinite(values))
    if wrong.size:
        place = wrong[0].tolist()
        raise ValueError(f"{name}{place} is {values[tuple(place)]}; {fix}")


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
    response, _, _ = _response(dmp)
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
    products = _solve(inverse.forcing, driven - _contract(offset, response[:, 1:2]))
    amplitude = _amplitude(dmp, offset)
    return goal, products / jnp.where(amplitude == 0, 1, amplitude)


@functools.partial(jax.jit, static_argnames=("dmp", "rcond", "regularization"))
def _fit_shared(
    dmp: DMP, positions: Array, goal: Array | None, *, rcond: float | None, regularization: float
) -> tuple[Array, Array]:
    """`fit` of one combination of the demonstrations, moved to start at 0.

    With a scaled forcing they are multiples of one trajectory, in the ratio of their goals'
    offsets; with an unscaled one they differ from their mean by what their goals pull.
    """
    fit_one = functools.partial(_fit, dmp, rcond=rcond, regularization=regularization)
    y0 = positions[..., 0, :]
    positions = positions - y0[..., None, :]
    offsets = None if goal is None else goal - y0  # (..., K, D)

    if dmp.forcing == "scaled":
        if offsets is None:
            inverse = _inverse(dmp, _cutoff(rcond, positions), regularization)
            explained = _contract(_driven(dmp, positions), inverse.goal_and_forcing[0].T)
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
    pull = _response(dmp)[0][:, 1:2]
    differences = _driven(dmp, positions - mean[..., None, :, :])
    own = _contract(differences, pull.T / np.sum(pull**2))[..., 0]
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
    response, _, _ = _response(dmp)
    travelled = jnp.swapaxes(positions, -1, -2) - positions[..., 0, :, None]
    step = travelled[..., 1:2] * dmp.n_steps / dmp.tau
    return travelled - _contract(step, response[:, :1])


def _amplitude(dmp: DMP, offset: Array) -> Array:
    """What weights are multiplied by, given the goal's offset g - y0."""
    return offset if dmp.forcing == "scaled" else jnp.ones_like(offset)


def _euler_step(dmp: DMP, alpha: Any, goal: Any, forcing: Any, state: tuple) -> tuple:
    """One explicit Euler step of (y, z); the new state, and the new sample."""
    position, z = state
    dt = dmp.tau / dmp.n_steps
    z_rate = (alpha * (alpha / 4 * (goal - position) - z) + forcing) / dmp.tau
    velocity = z / dmp.tau
    position = position + velocity * dt
    return (position, z + z_rate * dt), (position, velocity, z_rate)


@functools.lru_cache
def _features(dmp: DMP) -> np.ndarray:
    """x psi_i(x) / sum_j psi_j(x) in every step, (n_steps, N)."""
    phase = (1 - dmp.alpha_x / dmp.n_steps) ** np.arange(1, dmp.n_steps + 1)[:, None]
    centres = np.exp(-dmp.alpha_x * np.linspace(0, 1, dmp.n_basis))
    widths = dmp.n_basis**1.5 / centres / dmp.alpha_x
    psi = KERNELS[dmp.kernel](widths * (phase - centres) ** 2)
    return phase * psi / psi.sum(axis=-1, keepdims=True)


@functools.lru_cache
def _response(dmp: DMP) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position, velocity and acceleration from y0 = 0, each (n_steps + 1, 2 + N), in float64.

    Every column answers one unit input: dy0, g - y0, and each weight times its amplitude.
    """
    unit = np.eye(2 + dmp.n_basis)
    dy0, goal, basis = unit[0], unit[1], unit[2:]
    state = (np.zeros_like(dy0), dy0 * dmp.tau)
    samples = [(state[0], dy0, state[1])]
    for forcing in _features(dmp) @ basis:
        state, sample = _euler_step(dmp, dmp.alpha, goal, forcing, state)
        samples.append(sample)
    position, velocity, acceleration = zip(*samples, strict=True)
    return np.stack(position), np.stack(velocity), np.stack(acceleration)


def _response_for(dmp: DMP, alpha: Array) -> tuple[Array, Array, Array]:
    """`_response` for a stiffness known only when the program runs, (), in its dtype.

    A step takes (y, z) to M (y, z) + (0, u / n_steps), where u is the drive. Critical damping gives
    M one double eigenvalue r, so that M^k = r^k + k r^(k-1) (M - r) needs no integration.
    """
    steps = np.arange(dmp.n_steps + 1)
    h = 1 / dmp.n_steps
    r = 1 - alpha * h / 2
    exponents = jnp.asarray(steps, alpha.dtype)
    power = r**exponents
    slope = exponents * jnp.pad(power[:-1], (1, 0))
    to_position = slope * h  # row y, column z of M^k
    to_z = power - slope * alpha * h / 2  # row z, column z

    drive = jnp.concatenate(
        [jnp.full((dmp.n_steps, 1), alpha**2 / 4), jnp.asarray(_features(dmp), alpha.dtype)], axis=1
    )
    lag = steps[:, None] - 1 - steps[None, :-1]  # steps between a drive and a sample

    def answer(impulse: Array) -> Array:
        driven = jnp.where(lag >= 0, impulse[np.maximum(lag, 0)], 0) * h
        driven = jnp.einsum("kj,jm->km", driven, drive, precision=lax.Precision.HIGHEST)
        return jnp.concatenate([impulse[:, None] * dmp.tau, driven], axis=1)

    position, z = answer(to_position), answer(to_z)
    start = jnp.zeros((1, 2 + dmp.n_basis), alpha.dtype).at[0, 0].set(1)
    pull = jnp.pad(drive, ((0, 0), (1, 0)))
    rate = (pull - alpha**2 / 4 * position[:-1] - alpha * z[:-1]) / dmp.tau
    velocity = jnp.concatenate([start, z[:-1] / dmp.tau])
    return position, velocity, jnp.concatenate([dmp.tau * start, rate])


class _Inverse(NamedTuple):
    """Truncated pseudo-inverses, each the factors (n_steps + 1, rank) and (inputs, rank)."""

    goal_and_forcing: tuple[np.ndarray, np.ndarray]
    forcing: tuple[np.ndarray, np.ndarray]


@functools.lru_cache
def _inverse(dmp: DMP, rcond: float, regularization: float) -> _Inverse:
    matrix = _response(dmp)[0][:, 1:]
    # A forcing of alpha * beta displaces the spring as far as a goal offset of 1 does.
    scale = np.r_[1, np.full(dmp.n_basis, dmp.alpha**2 / 4)]
    samples = len(matrix)
    matrix = matrix * scale
    if regularization:  # as more samples to explain, which are 0
        penalty = np.eye(len(scale))[1:] * math.sqrt(regularization * samples / dmp.n_basis)
        matrix = np.concatenate([matrix, penalty])

    def factors(matrix, scale):
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        rank = np.count_nonzero(values > rcond * values[0])
        return left[:samples, :rank], scale[:, None] * right[:rank].T / values[:rank]

    return _Inverse(factors(matrix, scale), factors(matrix[:, 1:], scale[1:]))


def _solve(factors: tuple[np.ndarray, np.ndarray], driven: Array) -> Array:
    """Least squares along the last axis. Two factors, not their product, for float32's sake."""
    left, right = factors
    return _contract(_contract(driven, left.T), right)


def _contract(inputs: Array, matrix: np.ndarray | Array) -> Array:
    """(..., K) and (M, K) to (..., M), in full float32 on devices that would use less."""
    constant = jnp.asarray(matrix, inputs.dtype)
    return jnp.einsum("...k,mk->...m", inputs, constant, precision=lax.Precision.HIGHEST)
