"""Ways to integrate a primitive: ours, and those of others, as their users would write them.

All but `movement_primitives` take the Euler steps that `ndp_jax.rollout` takes, so that they return
the same path.
"""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ndp_jax import DMP, rollout
from train.system.errors import UserError


class Inputs(NamedTuple):
    """A batch of movements, and the gradient of some loss with respect to their paths."""

    goal: Float[Array, "B D"]
    weights: Float[Array, "B D N"]
    y0: Float[Array, "B D"]
    dy0: Float[Array, "B D"]
    cotangent: Float[Array, "B S D"]


Call = Callable[[], tuple[Any, tuple[Any, ...]]]
"""Returns the paths, (B, S, D), and the gradients of the inputs, or none."""

Make = Callable[[DMP, Inputs, bool], Call]
"""Prepares the call, with gradients or without, for a primitive with Gaussian basis functions and
the scaled forcing."""


def ours(dmp: DMP, inputs: Inputs, backward: bool, *, method: str) -> Call:
    """`ndp_jax.rollout`, as one product or step by step."""
    return in_jax(lambda *a: rollout(dmp, *a, method=method).position, inputs, backward)


def diffrax(dmp: DMP, inputs: Inputs, backward: bool) -> Call:
    """diffrax's Euler, which solves for the phase, too."""
    solver: Any = importlib.import_module("diffrax")
    centres, widths = basis(dmp)
    times = jnp.linspace(0, dmp.tau, dmp.n_steps + 1)

    def positions(goal: Array, weights: Array, y0: Array, dy0: Array) -> Array:
        def rate(time: Array, state: tuple[Array, Array, Array], _: None) -> tuple:
            y, z, x = state
            psi = jnp.exp(-widths * (x - centres) ** 2)
            forcing = x * (goal - y0) * (weights @ psi) / psi.sum()
            pull = dmp.alpha * (dmp.alpha / 4 * (goal - y) - z)
            return z / dmp.tau, (pull + forcing) / dmp.tau, -dmp.alpha_x * x / dmp.tau

        first_phase = jnp.asarray(1 - dmp.alpha_x / dmp.n_steps)  # ours is a step ahead
        path = solver.diffeqsolve(
            *(solver.ODETerm(rate), solver.Euler()),
            **{"t0": 0.0, "t1": dmp.tau, "dt0": None, "max_steps": dmp.n_steps},
            y0=(y0, dmp.tau * dy0, first_phase),
            saveat=solver.SaveAt(t0=True, steps=True),
            stepsize_controller=solver.StepTo(times),
        )
        return jnp.moveaxis(path.ys[0], 0, -2)

    return in_jax(positions, inputs, backward)


def in_jax(positions: Callable[..., Array], inputs: Inputs, backward: bool) -> Call:
    """A compiled program of a function of goal, weights, y0 and dy0."""

    @jax.jit
    def run(inputs: Inputs) -> tuple[Array, tuple[Array, ...]]:
        *arguments, cotangent = inputs
        if not backward:
            return positions(*arguments), ()
        path, pull = jax.vjp(positions, *arguments)
        return path, pull(cotangent)

    return lambda: run(inputs)


def torch_loop(dmp: DMP, inputs: Inputs, backward: bool) -> Call:
    """PyTorch, a Python loop over the steps; on a GPU if JAX and PyTorch both have one."""
    torch: Any = importlib.import_module("torch")
    on_gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")

    def tensor(array: Any) -> Any:
        return torch.tensor(np.array(array, np.float32), device=device)

    centres, widths = map(tensor, basis(dmp))
    *arguments, cotangent = map(tensor, inputs)
    for argument in arguments:
        argument.requires_grad_(backward)
    dt = dmp.tau / dmp.n_steps

    def positions(goal: Any, weights: Any, y0: Any, dy0: Any) -> Any:
        y, z, x = y0, dmp.tau * dy0, torch.ones((), device=device)
        path = [y]
        for _ in range(dmp.n_steps):
            x = x - dmp.alpha_x * x / dmp.tau * dt
            psi = torch.exp(-widths * (x - centres) ** 2)
            forcing = x * (goal - y0) * (weights @ psi) / psi.sum()
            pull = dmp.alpha * (dmp.alpha / 4 * (goal - y) - z)
            y, z = y + z / dmp.tau * dt, z + (pull + forcing) / dmp.tau * dt
            path.append(y)
        return torch.stack(path, dim=1)

    def run() -> tuple[Any, tuple[Any, ...]]:
        path = positions(*arguments)
        gradients = torch.autograd.grad(path, arguments, cotangent) if backward else ()
        if on_gpu:
            torch.cuda.synchronize()
        return path.detach(), gradients

    return run


def movement_primitives(dmp: DMP, inputs: Inputs, backward: bool) -> Call:
    """Its fastest, one movement after another, all from rest, without gradients.

    It moves with the velocity that a step leads to, not the one that it begins with, so that its
    path is ours only in the limit of many steps.
    """
    if backward:
        raise UserError("has no gradients")
    module: Any = importlib.import_module("movement_primitives.dmp")
    batch, dims = inputs.goal.shape
    dt = dmp.tau / dmp.n_steps
    peer = module.DMP(dims, dmp.tau, dt, dmp.n_basis, dt, alpha_y=dmp.alpha, beta_y=dmp.alpha / 4)
    term = peer.forcing_term
    term.alpha_z = dmp.alpha_x
    term.centers, term.widths = (np.array(array, float) for array in basis(dmp))
    goal, weights, y0 = (np.array(array, float) for array in inputs[:3])
    weights = weights * (goal - y0)[..., None]

    def run() -> tuple[np.ndarray, tuple[()]]:
        path = np.empty((batch, dmp.n_steps + 1, dims))
        for i in range(batch):
            peer.set_weights(weights[i])
            peer.configure(start_y=y0[i], goal_y=goal[i])
            _, positions = peer.open_loop(step_function="euler-cython")
            path[i] = positions[: dmp.n_steps + 1]  # there may be one more, for rounding
        return path, ()

    return run


def basis(dmp: DMP) -> tuple[np.ndarray, np.ndarray]:
    """Centres and widths of the basis functions, (N,) each."""
    centres = np.exp(-dmp.alpha_x * np.linspace(0, 1, dmp.n_basis))
    return centres.astype(np.float32), (dmp.n_basis**1.5 / centres / dmp.alpha_x).astype(np.float32)
