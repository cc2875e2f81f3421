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
from jaxtyping import Array, ArrayLike, Float

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
        response = responses(dmp) if alpha is None else _response_for(dmp, alpha)
        return _matrix_rollout(dmp, response, goal, weights, y0, dy0)
    if alpha is None:
        return _scan_rollout(dmp, goal, weights, y0, dy0, dmp.alpha)
    alpha = jnp.broadcast_to(jnp.broadcast_to(alpha, shape[:-1])[..., None], shape)
    return _scan_rollout(dmp, goal, weights, y0, dy0, alpha)


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
        forcing = contract(weights, _features(dmp))
        forcing = jnp.moveaxis(forcing * amplitude(dmp, goal - y0)[..., None], -1, 0)

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
        inputs.append(weights * amplitude(dmp, offset))
    inputs = jnp.concatenate(inputs, axis=-1)
    position, velocity, acceleration = (
        jnp.swapaxes(contract(inputs, matrix[:, : inputs.shape[-1]]), -1, -2) for matrix in response
    )
    return Trajectory(position + y0[..., None, :], velocity, acceleration)


def amplitude(dmp: DMP, offset: Array) -> Array:
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
def responses(dmp: DMP) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
    """`responses` for a stiffness known only when the program runs, (), in its dtype.

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


def contract(inputs: Array, matrix: np.ndarray | Array) -> Array:
    """(..., K) and (M, K) to (..., M), in full float32 on devices that would use less."""
    constant = jnp.asarray(matrix, inputs.dtype)
    return jnp.einsum("...k,mk->...m", inputs, constant, precision=lax.Precision.HIGHEST)
