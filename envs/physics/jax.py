"""MJX: the physics as part of the JAX program, on everything JAX runs on."""

import jax
import jax.numpy as jnp
import mujoco
from jaxtyping import Array
from mujoco import mjx

from envs.fusion import materialize
from envs.physics import model as models
from envs.physics.data import DYNAMIC, INPUT, Data, fields


class Mjx:
    """Steps a model with MJX; `model` and `data` may be of JAX's or of Warp's implementation."""

    threads = None

    def __init__(self, model: mjx.Model, data: mjx.Data, *, substeps: int):
        self._model, self._data, self._substeps = model, data, substeps

    def step(self, before: Data, commanded: Data) -> dict[str, Array]:
        def substep(dynamic, progress):
            ctrl = before.ctrl + progress * (commanded.ctrl - before.ctrl)
            stepped = step(inputs.replace(**dynamic, ctrl=ctrl))
            dynamic = fields(stepped, DYNAMIC)
            return dynamic, dynamic

        model = models.with_mocap_bodies_placed(self._model, commanded.mocap_pos)
        step = materialize(lambda data: mjx.step(model, data))
        inputs = self._data.replace(**fields(commanded, INPUT))
        progress = jnp.arange(1, self._substeps + 1) / self._substeps
        # TF32, an accelerator's default for products, is too coarse for the constraint solver.
        with jax.default_matmul_precision("highest"):
            return jax.lax.scan(substep, fields(before, DYNAMIC), progress)[1]


def make(model: mujoco.MjModel, *, substeps: int) -> Mjx:
    """`substeps` of `model`'s time steps in JAX."""
    return Mjx(*models.put(model), substeps=substeps)
