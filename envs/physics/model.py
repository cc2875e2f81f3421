"""What every way to step a model needs of it."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from mujoco import mjx

_VISUAL_GROUP = 2


def without_visuals(scene: Path) -> mujoco.MjModel:
    """The same physics without the geoms that only please the eye; a quarter faster to step."""
    spec = mujoco.MjSpec.from_file(str(scene))
    for geom in spec.geoms:
        if geom.group == _VISUAL_GROUP:
            spec.delete(geom)
    return spec.compile()


def put(model: mujoco.MjModel) -> tuple[mjx.Model, mjx.Data]:
    """A model and its data for MJX in JAX, on this process' first device."""
    # MJX's own choice may be a device of another process.
    options: Any = {"impl": "jax", "device": jax.local_devices()[0]}
    return mjx.put_model(model, **options), mjx.put_data(model, mujoco.MjData(model), **options)


def with_mocap_bodies_placed(model: mjx.Model, mocap_pos: jax.Array) -> mjx.Model:
    """`model` with its mocap bodies at `mocap_pos`, (nmocap, 3).

    MJX in JAX moves a mocap body without the bodies that hang on it; they follow the model.
    """
    mocap = np.flatnonzero(model.body_mocapid >= 0)
    if model.impl != mjx.Impl.JAX or not np.isin(model.body_parentid, mocap).any():
        return model
    return model.replace(body_pos=jnp.asarray(model.body_pos).at[mocap].set(mocap_pos))
