"""Dynamic movement primitives: a goal and a few weights become a smooth trajectory.

A primitive is a critically damped spring towards a goal, bent on its way by a forcing term that
fades with a phase x. Per degree of freedom:

    tau z' = alpha (beta (g - y) - z) + f(x)      tau y' = z      beta = alpha / 4
    tau x' = -alpha_x x                           x(0) = 1
    f(x) = x (g - y0) sum_i psi_i(x) w_i / sum_i psi_i(x)

The unscaled forcing term leaves out the factor g - y0, and Hoffmann's subtracts from that
alpha beta (g - y0) x, so that the spring pulls to where the goal has come from y0: y0 + (1 - x)
(g - y0).

Sources: Ijspeert et al., "Dynamical movement primitives", Neural Computation 25, 2013, equations
2.1 to 2.6; Bahl et al., "Neural Dynamic Policies for End-to-End Sensorimotor Learning", NeurIPS
2020, section 2 and its appendix on kernels. Unscaled, and with the start term: Hoffmann et al.,
"Biologically-inspired dynamical systems for movement generation", ICRA 2009.
"""

import functools
import math
import numbers
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float

Floats = Float[ArrayLike, "..."] | list[Any] | tuple[Any, ...]
"""An array, a number, or numbers in nested lists."""

ALPHA_RANGE = (0.5, 30.0)
"""What a learned alpha is clamped to."""


def _softmin(distance: Any) -> Any:
    """exp(-distance) up to a factor that normalisation removes, without underflow."""
    difference = distance.min(axis=-1, keepdims=True, initial=np.inf) - distance
    return difference.__array_namespace__().exp(difference)


KERNELS: dict[str, Callable[[Any], Any]] = {
    "gaussian": _softmin,
    "multiquadric": lambda distance: (1 + distance) ** 0.5,
    "inverse_quadric": lambda distance: 1 / (1 + distance),
    "inverse_multiquadric": lambda distance: 1 / (1 + distance) ** 0.5,
    "linear": lambda distance: distance,
}
"""psi as a function of h (x - c)**2, for NumPy and JAX; what matters is only the ratio of one basis
to another."""

FORCINGS = ("scaled", "unscaled", "hoffmann")

METHODS = ("scan", "matrix")


@dataclass(frozen=True, kw_only=True)
class DMP:
    """What is fixed about a primitive. Hashable, so it can be a static argument of jax.jit.

    Attributes:
      n_basis: N, basis functions per degree of freedom; 0 for a primitive that only pulls to its
        goal.
      n_steps: explicit Euler steps; a trajectory has n_steps + 1 samples, tau / n_steps apart.
      tau: duration of the movement. Stretches time, leaves the path the same.
      alpha: stiffness. Without forcing, 4 % of the way is left after a time of 10 tau / alpha.
        Euler integration diverges from alpha = 4 n_steps on.
      alpha_x: decay of the phase, which ends near exp(-alpha_x).
      kernel: shape of the basis functions, one of `KERNELS`.
      forcing: "scaled", by g - y0, stretches a movement's shape with its goal and knows no shape
        that ends where it began; "unscaled" keeps the shape's size and shifts its end, at the cost
        of a start that pulls to the new goal at once; "hoffmann" is unscaled and moves the goal
        there gradually, of which exp(-alpha_x) is left to do in the end.

    Raises:
      ValueError: a value is outside its range, or known only when a compiled function runs.
    """

    n_basis: int = 6
    n_steps: int = 40
    tau: float | int = 1.0
    alpha: float | int = 15.0
    alpha_x: float | int = 1.0
    kernel: str = "gaussian"
    forcing: str = "scaled"

    def __post_init__(self):
        for name, least in {"n_basis": 0, "n_steps": 1}.items():
            value = _number(name, getattr(self, name))
            if not isinstance(value, numbers.Integral) or value < least:
                raise ValueError(f"{name} is {value!r}; give a whole number of at least {least}.")
            object.__setattr__(self, name, int(value))
        for name in ("tau", "alpha", "alpha_x"):
            value = _number(name, getattr(self, name))
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


def _number(name: str, value: Any) -> Any:
    """A scalar array as Python's number, anything else as it is."""
    if isinstance(value, Tracer):
        other = f"; give rollout(..., {name}=...) instead" if name in ("tau", "alpha") else ""
        raise ValueError(
            f"{name} is known only when the compiled function runs, but a DMP is part of its "
            f"program{other or '; give a number that Python knows'}."
        )
    scalar = isinstance(value, jax.Array | np.ndarray) and value.ndim == 0
    return value.item() if scalar else value


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


class DMPState(NamedTuple):
    """Where a movement is: what `begin` makes, and `step` takes and gives.

    Attributes:
      position: y, (..., D).
      velocity: y' with which it goes on, in units of y per unit of time, (..., D).
      phase: x, 1 at the start, (...,).
      y0: where the movement began, (..., D).
    """

    position: Float[Array, "..."]
    velocity: Float[Array, "..."]
    phase: Float[Array, "..."]
    y0: Float[Array, "..."]


def rollout(
    dmp: DMP,
    goal: Floats,
    weights: Floats | None,
    y0: Floats,
    dy0: Floats,
    *,
    alpha: Floats | None = None,
    tau: Floats | None = None,
    method: str = "scan",
) -> Trajectory:
    """Integrates a primitive, differentiably, for any number of degrees of freedom D at once.

    Leading axes are batch axes and broadcast against each other.

    Args:
      dmp: the primitive.
      goal: where the spring pulls to, in units of y, (..., D).
      weights: of the basis functions, (..., D, N), dimensionless if the forcing is scaled, else
        in units of y; None for none.
      y0: initial position, (..., D).
      dy0: initial velocity, in units of y per unit of time, (..., D).
      alpha: stiffness in place of `dmp.alpha`, one per batch element, (...,), or for method
        "matrix" one for all, (); clamped to `ALPHA_RANGE`.
      tau: duration in place of `dmp.tau`, above 0, one per batch element, (...,). From the same
        tau * dy0 the path is the same. To learn one, learn its logarithm.
      method: "scan" integrates step by step; "matrix" gives the same numbers, up to rounding, as
        one product with a matrix, which is faster.

    Returns:
      Position, velocity and acceleration, each (..., n_steps + 1, D), of the inputs' dtype.

    Raises:
      ValueError: shapes do not fit together or to the primitive, the method cannot do it, or a
        duration is not above 0. Durations inside a compiled function are not looked at.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; give one of {', '.join(METHODS)}.")
    goal, weights, y0, dy0, alpha, tau = as_arrays(
        goal=goal, weights=weights, y0=y0, dy0=dy0, alpha=alpha, tau=tau
    )
    if method == "matrix" and alpha is not None and np.shape(alpha):
        raise ValueError(
            'method "matrix" has one alpha for all; use method="scan" for one per batch element.'
        )
    shape = rollout_shape(dmp, goal, weights, y0, dy0, alpha, tau)
    _check_duration(tau)
    return _rollout(dmp, shape, goal, weights, y0, dy0, alpha, tau, method)


def begin(y0: Floats, dy0: Floats) -> DMPState:
    """The state of a movement that sets out, for `step`.

    Args:
      y0: initial position, (..., D).
      dy0: initial velocity, in units of y per unit of time, (..., D).

    Returns:
      A state whose batch axes are those of y0 and dy0, broadcast, of their dtype.

    Raises:
      ValueError: shapes do not fit together.
    """
    y0, dy0 = as_arrays(y0=y0, dy0=dy0)
    shape = _broadcast_shape({"y0": y0, "dy0": dy0}, {}, {})
    dtype = jnp.result_type(float, y0, dy0)
    y0, dy0 = (jnp.broadcast_to(jnp.asarray(v, dtype), shape) for v in (y0, dy0))
    return DMPState(position=y0, velocity=dy0, phase=jnp.ones(shape[:-1], dtype), y0=y0)


def step(
    dmp: DMP,
    state: DMPState,
    goal: Floats,
    weights: Floats | None,
    *,
    alpha: Floats | None = None,
    tau: Floats | None = None,
) -> DMPState:
    """One Euler step, tau / n_steps long, to a goal that may be another one at every step.

    `dmp.n_steps` of them from `begin` are a `rollout`; more go on to the goal. Replace the state's
    position and velocity by measured ones to go on from there, and its phase by the earlier one to
    let the forcing term wait.

    Args:
      dmp: the primitive.
      state: from `begin` or the step before.
      goal: as in `rollout`, (..., D).
      weights: as in `rollout`, (..., D, N).
      alpha: as in `rollout`, (...,).
      tau: as in `rollout`, (...,).

    Returns:
      The next state, of the same shapes and dtype. Its position is the next sample of the
      `Trajectory`, its velocity the one that leads to the sample after that.

    Raises:
      ValueError: shapes do not fit to the primitive or to the state, or a duration is not above 0.
        Durations inside a compiled function are not looked at.
    """
    position, velocity, phase, y0, goal, weights, alpha, tau = as_arrays(
        **state._asdict(), goal=goal, weights=weights, alpha=alpha, tau=tau
    )
    shape = np.shape(y0)
    wanted = rollout_shape(dmp, goal, weights, position, velocity, alpha, tau)
    if wanted != shape:
        raise ValueError(
            f"the state began with y0 of shape {shape}, and the step makes {wanted} of it; begin "
            f"with y0 of shape {wanted}, or step with fewer."
        )
    _check_duration(tau)
    return _step(dmp, DMPState(position, velocity, phase, y0), goal, weights, alpha, tau)


def as_arrays(**given: Any) -> tuple[Any, ...]:
    """Nested lists as arrays, of the dtype of what is an array already; that, and None, as it is.

    Raises:
      ValueError: something cannot be an array of numbers.
    """
    known = {name: value for name, value in given.items() if _is_numeric(value)}
    dtype = jnp.result_type(float, *known.values())

    def convert(name: str, value: Any) -> Any:
        if value is None or name in known:
            return value
        try:
            return jnp.asarray(value, dtype)
        except (TypeError, ValueError):
            raise ValueError(
                f"{name} is {reprlib.repr(value)}; give numbers, as an array or in lists of equal "
                "lengths."
            ) from None

    return tuple(convert(name, value) for name, value in given.items())


def _is_numeric(value: Any) -> bool:
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind not in "OSU"
    return isinstance(value, jax.Array | int | float)


def _check_duration(tau: Any) -> None:
    if tau is None or isinstance(tau, Tracer):
        return
    wrong = [value for value in np.ravel(tau).tolist() if not 0 < value < math.inf]
    if wrong:
        raise ValueError(f"tau is {wrong[0]}; give finite numbers above 0.")


@functools.partial(jax.jit, static_argnames=("dmp", "shape", "method"))
def _rollout(dmp: DMP, shape, goal, weights, y0, dy0, alpha, tau, method) -> Trajectory:
    given = [value for value in (goal, weights, y0, dy0, alpha, tau) if value is not None]
    dtype = jnp.result_type(float, *given)
    if tau is not None:
        tau = jnp.broadcast_to(jnp.asarray(tau, dtype), shape[:-1])[..., None]
        dy0 = jnp.broadcast_to(jnp.asarray(dy0, dtype), shape)
        stretched = _rollout(
            dmp, shape, goal, weights, y0, dy0 * (tau / dmp.tau), alpha, None, method
        )
        return _retimed(dmp, stretched, dy0, tau[..., None])
    goal, weights, y0, dy0 = _aligned(dmp, shape, dtype, goal, weights, y0, dy0)
    alpha = None if alpha is None else clamped(alpha, dtype)
    if method == "matrix":
        response = responses(dmp) if alpha is None else _response_for(dmp, alpha)
        return matrix_rollout(dmp, response, goal, weights, y0, dy0)
    if alpha is None:
        return _scan_rollout(dmp, goal, weights, y0, dy0, dmp.alpha)
    alpha = jnp.broadcast_to(jnp.broadcast_to(alpha, shape[:-1])[..., None], shape)
    return _scan_rollout(dmp, goal, weights, y0, dy0, alpha)


def _retimed(dmp: DMP, trajectory: Trajectory, dy0: Array, tau: Array) -> Trajectory:
    """A trajectory that lasts dmp.tau, in another time, (..., 1, 1), from a dy0 of that."""
    position, velocity, acceleration = trajectory
    pace = dmp.tau / tau
    velocity = jnp.concatenate([dy0[..., None, :], velocity[..., 1:, :] * pace], axis=-2)
    first, rest = acceleration[..., :1, :], acceleration[..., 1:, :]  # the first is tau * dy0
    return Trajectory(position, velocity, jnp.concatenate([first, rest * pace], axis=-2))


@functools.partial(jax.jit, static_argnames="dmp")
def _step(dmp: DMP, state: DMPState, goal, weights, alpha, tau) -> DMPState:
    shape, dtype = state.y0.shape, jnp.result_type(float, state.y0)
    goal, weights, position, velocity = _aligned(
        dmp, shape, dtype, goal, weights, state.position, state.velocity
    )

    def of_batch(value: Any) -> Array:
        return jnp.broadcast_to(jnp.broadcast_to(value, shape[:-1])[..., None], shape)

    alpha = dmp.alpha if alpha is None else of_batch(clamped(alpha, dtype))
    tau = dmp.tau if tau is None else of_batch(jnp.asarray(tau, dtype))
    phase = jnp.asarray(state.phase, dtype) * (1 - dmp.alpha_x / dmp.n_steps)
    offset = goal - state.y0
    if weights is None:
        forcing = jnp.zeros(shape, dtype)
    else:
        active = activations(dmp, phase[..., None])
        forcing = jnp.einsum("...dn,...n->...d", weights, active, precision=lax.Precision.HIGHEST)
        forcing = forcing * amplitude(dmp, offset)
    if dmp.forcing == "hoffmann":
        forcing = forcing - alpha**2 / 4 * of_batch(phase) * offset
    (position, z), _ = _euler_step(dmp, alpha, goal, forcing, (position, velocity * tau))
    return DMPState(position, z / tau, phase, state.y0)


def _aligned(dmp: DMP, shape, dtype, goal, weights, y0, dy0) -> tuple:
    """Of one dtype, with all their batch axes."""
    goal, y0, dy0 = (jnp.broadcast_to(jnp.asarray(v, dtype), shape) for v in (goal, y0, dy0))
    if weights is not None:
        weights = jnp.broadcast_to(jnp.asarray(weights, dtype), (*shape, dmp.n_basis))
    return goal, weights, y0, dy0


def clamped(alpha, dtype) -> Array:
    low, high = (jnp.asarray(bound, dtype) for bound in ALPHA_RANGE)
    return lax.clamp(low, jnp.asarray(alpha, dtype), high)


def rollout_shape(dmp: DMP, goal, weights, y0, dy0, alpha, tau) -> tuple:
    """(..., D), the broadcast shape of all arguments."""
    batches, dims = {}, {}
    if weights is not None:
        shape = np.shape(weights)
        if len(shape) < 2:
            raise ValueError(f"weights has shape {shape}; give (..., D, {dmp.n_basis}).")
        if shape[-1] != dmp.n_basis:
            raise ValueError(
                f"weights has {shape[-1]} basis functions but dmp.n_basis is {dmp.n_basis}; "
                f"give weights (..., D, {dmp.n_basis}) or a DMP with n_basis={shape[-1]}."
            )
        batches["weights"], dims["weights"] = shape[:-2], shape[-2]
    for name, value in {"alpha": alpha, "tau": tau}.items():
        if value is not None:
            batches[name] = np.shape(value)
    return _broadcast_shape({"goal": goal, "y0": y0, "dy0": dy0}, batches, dims)


def _broadcast_shape(
    vectors: dict[str, Any], batches: dict[str, tuple], dims: dict[str, Any]
) -> tuple:
    """(..., D) of vectors (..., D), and of others whose batch shapes and D are known."""
    shapes = {name: np.shape(value) for name, value in vectors.items()}
    for name, shape in shapes.items():
        if not shape:
            raise ValueError(f"{name} is a scalar; give (..., D), with D = 1 for a single one.")
    batches = {name: shape[:-1] for name, shape in shapes.items()} | batches
    dims = {name: shape[-1] for name, shape in shapes.items()} | dims
    if len(set(dims.values())) > 1:
        found = ", ".join(f"{name} {size}" for name, size in dims.items())
        raise ValueError(f"degrees of freedom differ ({found}); give every argument the same D.")
    try:
        batch = jnp.broadcast_shapes(*batches.values())
    except ValueError as error:
        found = ", ".join(f"{name} {size}" for name, size in batches.items())
        raise ValueError(
            f"batch shapes do not broadcast ({found}); give every argument the same."
        ) from error
    return (*batch, next(iter(dims.values())))


def _scan_rollout(dmp: DMP, goal, weights, y0, dy0, alpha) -> Trajectory:
    if weights is None:
        forcing = jnp.zeros((dmp.n_steps, *goal.shape), goal.dtype)
    else:
        forcing = contract(weights, _features(dmp))
        forcing = jnp.moveaxis(forcing * amplitude(dmp, goal - y0)[..., None], -1, 0)
    if dmp.forcing == "hoffmann":
        start = alpha**2 / 4 * (goal - y0)
        forcing = forcing - jnp.multiply.outer(jnp.asarray(_phases(dmp), goal.dtype), start)

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


def matrix_rollout(dmp: DMP, response, goal, weights, y0, dy0) -> Trajectory:
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


def _phases(dmp: DMP) -> np.ndarray:
    """x in every step, (n_steps,)."""
    return (1 - dmp.alpha_x / dmp.n_steps) ** np.arange(1, dmp.n_steps + 1)


def activations(dmp: DMP, phase: Any) -> Any:
    """x psi_i(x) / sum_j psi_j(x) of phases (..., 1), of NumPy or JAX: (..., N)."""
    if dmp.n_basis == 1:
        return phase  # also where a linear one is 0
    row = (*(1,) * (phase.ndim - 1), dmp.n_basis)
    centres = np.exp(-dmp.alpha_x * np.linspace(0, 1, dmp.n_basis)).reshape(row)
    widths = (dmp.n_basis**1.5 / centres / dmp.alpha_x).astype(phase.dtype)
    psi = KERNELS[dmp.kernel](widths * (phase - centres.astype(phase.dtype)) ** 2)
    return phase * psi / psi.sum(axis=-1, keepdims=True)


@functools.lru_cache
def _features(dmp: DMP) -> np.ndarray:
    """`activations` in every step, (n_steps, N)."""
    return activations(dmp, _phases(dmp)[:, None])


@functools.lru_cache
def responses(dmp: DMP) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position, velocity and acceleration from y0 = 0, each (n_steps + 1, 2 + N), in float64.

    Every column answers one unit input: dy0, g - y0, and each weight times its amplitude.
    """
    unit = np.eye(2 + dmp.n_basis)
    dy0, goal, basis = unit[0], unit[1], unit[2:]
    state = (np.zeros_like(dy0), dy0 * dmp.tau)
    samples = [(state[0], dy0, state[1])]
    forcings = _features(dmp) @ basis
    if dmp.forcing == "hoffmann":
        forcings -= dmp.alpha**2 / 4 * np.outer(_phases(dmp), goal)
    for forcing in forcings:
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

    reached = 1 - _phases(dmp) if dmp.forcing == "hoffmann" else np.ones(dmp.n_steps)
    reached, features = (jnp.asarray(v, alpha.dtype) for v in (reached, _features(dmp)))
    drive = jnp.concatenate([(alpha**2 / 4 * reached)[:, None], features], axis=1)
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
