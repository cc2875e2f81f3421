"""MuJoCo Warp: MJX's steps on CUDA GPUs, computed by kernels of Warp."""

from typing import Any

import mujoco
from mujoco import mjx
from mujoco.mjx import warp as mjx_warp

from envs.physics import model as models
from envs.physics.jax import Mjx

# The contacts lie in one buffer for the whole batch, which has room for those of this many
# environments.
_ENVS = 8192


def make(model: mujoco.MjModel, *, substeps: int) -> Mjx:
    """`substeps` of `model`'s time steps in Warp."""
    _, blank = models.put(model)
    room: Any = blank._impl
    on_warp: Any = mjx.put_model(model, impl="warp")
    # A scene's few solver iterations are a choice, which Warp would print a warning about.
    silent = ~mjx_warp.mjwp_types.OverflowType.ITERATIONS
    quiet = {"opt._impl.warn_overflow": on_warp.opt._impl.warn_overflow & silent}
    data = mjx.put_data(
        model,
        mujoco.MjData(model),
        impl="warp",
        naconmax=_ENVS * room.ncon,
        njmax=room.nefc,
    )
    return Mjx(on_warp.tree_replace(quiet), data, substeps=substeps)
