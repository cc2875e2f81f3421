"""Probabilistic dynamic movement primitives: the primitive's equation, solved in closed form.

A `DMP` whose forcing is unscaled is linear in its weights and its goal, and critically damped. With
s = t / tau, a prime for d/ds and f(s) = x(s) sum_i psi_i w_i / sum_i psi_i, x(s) = exp(-alpha_x s):

    y'' + alpha y' + alpha**2 / 4 y = alpha**2 / 4 g + f(s)
    y(t) = c1 y1 + c2 y2 + Phi(t)^T [w, g]       y1 = exp(-alpha s / 2)      y2 = s y1

Each basis function of position is the answer to one psi_i alone, from rest at 0,

    Phi_i(s) = integral from 0 to s of (s - r) exp(-alpha (s - r) / 2) x(r) psi_i / sum_j psi_j dr
    Phi_g(s) = 1 - (1 + alpha s / 2) exp(-alpha s / 2)

and c1 and c2 follow from position and velocity at any one time: a movement that is planned anew
goes on smoothly from where the last one is, its phase with it. `ndp_jax.rollout` with the same
forcing is the Euler integration of the same equation from time 0.

Source: Li, Jin, Volpp, Otto, Lioutikov, Neumann, "ProDMP: A Unified Perspective on Dynamic and
Probabilistic Movement Primitives", IEEE Robotics and Automation Letters 8, 2023, sections III and
IV; there the integral stands as y2 p2 - y1 p1, which overflows where this does not. The phase and
the kernels are those of `DMP`.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ndp_jax.dmp import (
    ALPHA_RANGE,
    DMP,
    Floats,
    activations,
    as_arrays,
    clamped,
    contract,
    rollout_shape,
)

NODES = 8
"""Of Gauss and Legendre's quadrature, in each of its panels."""


class Motion(NamedTuple):
    """Samples of a movement, each (..., K, D).

    Attributes:
      position: y.
      velocity: dy/dt, units of y per unit of time, of which the movement lasts tau.
    """

    position: Float[Array, "..."]
    velocity: Float[Array, "..."]


def solve(
    dmp: DMP,
    goal: Floats,
    weights: Floats | None,
    y0: Floats,
    dy0: Floats,
    *,
    t0: Floats = 0.0,
    times: Floats | None = None,
    alpha: Floats | None = None,
) -> Motion:
    """A primitive's movement through a position and a velocity at a time, differentiably.

    Leading axes are batch axes and broadcast against each other. For times or an alpha of each
    batch element, `jax.vmap` this.

    Args:
      dmp: the primitive; its forcing is "unscaled".
      goal: where the spring pulls to, in units of y, (..., D).
      weights: of the basis functions, in units of y, (..., D, N); None for none.
      y0: position at t0, (..., D).
      dy0: velocity at t0, in units of y per unit of time, (..., D).
      t0: when that is, in the time that starts with the phase at 1 and ends at tau, ().
      times: of the samples, (K,); None for n_steps + 1 from 0 to tau. Those before t0 are the past
        that leads there.
      alpha: stiffness in place of `dmp.alpha`, (); clamped to `ndp_jax.dmp.ALPHA_RANGE`.

    Returns:
      Position and velocity, each (..., K, D), of the inputs' dtype. Of times and an alpha that are
      known beforehand, basis functions are computed once, in float64.

    Raises:
      ValueError: shapes do not fit together or to the primitive, or it is scaled.
    """
    if dmp.forcing != "unscaled":
        raise ValueError(
            f"forcing is {dmp.forcing!r}, which depends on where a movement began; give a DMP with "
            'forcing="unscaled".'
        )
    goal, weights, y0, dy0 = as_arrays(goal=goal, weights=weights, y0=y0, dy0=dy0)
    for name, value, axes in (("t0", t0, 0), ("times", times, 1), ("alpha", alpha, 0)):
        if value is not None and np.ndim(value) != axes:
            wanted = "one for all, ()" if axes == 0 else "one axis, (K,)"
            raise ValueError(f"{name} has shape {np.shape(value)}; give {wanted}, or jax.vmap.")
    shape = rollout_shape(dmp, goal, weights, y0, dy0, None, None)
    given = [value for value in (goal, weights, y0, dy0) if value is not None]
    dtype = jnp.result_type(float, *given)
    if any(isinstance(value, Tracer) for value in (t0, times, alpha)):
        times = _samples(dmp) if times is None else times
        t0, times = jnp.asarray(t0, dtype), jnp.asarray(times, dtype)
        alpha = dmp.alpha if alpha is None else clamped(alpha, dtype)
        response = _responses(dmp, t0, times, alpha)
    else:
        times = None if times is None else tuple(np.asarray(times, float).tolist())
        alpha = dmp.alpha if alpha is None else float(np.clip(alpha, *ALPHA_RANGE))
        response = _known_responses(dmp, np.asarray(t0, float).item(), times, alpha)
    return _motion(dmp, shape, dtype, response, goal, weights, y0, dy0)


@functools.partial(jax.jit, static_argnames=("dmp", "shape", "dtype"))
def _motion(dmp: DMP, shape, dtype, response, goal, weights, y0, dy0) -> Motion:
    goal, y0, dy0 = (jnp.broadcast_to(jnp.asarray(v, dtype), shape) for v in (goal, y0, dy0))
    inputs = [dy0[..., None], (goal - y0)[..., None]]
    if weights is not None:
        weights = jnp.asarray(weights, dtype)
        inputs.append(jnp.broadcast_to(weights, (*shape, dmp.n_basis)))
    inputs = jnp.concatenate(inputs, axis=-1)
    position, velocity = (
        jnp.swapaxes(contract(inputs, matrix[:, : inputs.shape[-1]]), -1, -2) for matrix in response
    )
    return Motion(position + y0[..., None, :], velocity)


@functools.lru_cache
def _known_responses(
    dmp: DMP, t0: float, times: tuple[float, ...] | None, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    samples = _samples(dmp) if times is None else np.asarray(times)
    return _responses(dmp, np.asarray(t0), samples, alpha)


def _samples(dmp: DMP) -> np.ndarray:
    return np.linspace(0, dmp.tau, dmp.n_steps + 1)


def _responses(dmp: DMP, t0: Any, times: Any, alpha: Any) -> tuple[Any, Any]:
    """Position, as seen from y0, and velocity, each (K, 2 + N), of NumPy or JAX.

    Every column answers one unit input: dy0, g - y0, and each weight. What the bases say of t0 is
    taken back by the solution without forcing that has it there.
    """
    xp = times.__array_namespace__()
    position, velocity = _bases(dmp, times / dmp.tau, alpha)
    position0, velocity0 = _bases(dmp, t0.reshape(1) / dmp.tau, alpha)
    lag = ((times - t0) / dmp.tau)[:, None]
    half = alpha / 2
    decay = xp.exp(-half * lag)
    from_velocity = lag * decay
    position = position - (1 + half * lag) * decay * position0 - from_velocity * velocity0
    velocity = velocity + half**2 * from_velocity * position0 - (1 - half * lag) * decay * velocity0
    return (
        xp.concatenate([from_velocity * dmp.tau, position], axis=1),
        xp.concatenate([(1 - half * lag) * decay, velocity / dmp.tau], axis=1),
    )


def _bases(dmp: DMP, s: Any, alpha: Any) -> tuple[Any, Any]:
    """Phi and dPhi/ds at times s in units of tau, (K,): of goal and weights, (K, 1 + N).

    The integrals are sums over nodes that part the time before s.
    """
    xp = s.__array_namespace__()
    places, shares = (v.astype(s.dtype)[None, :] for v in _quadrature(dmp))
    s, half = s[:, None], alpha / 2
    lag = s * (1 - places)
    impulse = xp.exp(-half * lag) * shares * s
    active = activations(dmp, xp.exp(-dmp.alpha_x * s * places)[..., None])

    def integral(response: Any) -> Any:
        return xp.sum(response[..., None] * active, axis=1)

    decay = xp.exp(-half * s)
    position = [1 - (1 + half * s) * decay, integral(lag * impulse)]
    velocity = [half**2 * s * decay, integral((1 - half * lag) * impulse)]
    return xp.concatenate(position, axis=1), xp.concatenate(velocity, axis=1)


@functools.lru_cache
def _quadrature(dmp: DMP) -> tuple[np.ndarray, np.ndarray]:
    """Nodes within [0, 1] and their weights; a panel is as wide as the narrowest basis function."""
    panels = 4 + math.ceil(math.sqrt(dmp.alpha_x * dmp.n_basis**1.5))
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    places = (np.arange(panels)[:, None] + (1 + nodes) / 2) / panels
    return places.ravel(), np.tile(weights / 2 / panels, panels)
