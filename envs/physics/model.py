"""What every way to step a model needs of it."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from mujoco import mjx

_VISUAL_GROUP = 2


def load(scene: Path) -> mujoco.MjModel:
    """The model of a scene, to be drawn.

    Raises `ValueError` where MuJoCo cannot read it, and for actuators with a state of their own,
    which `Data` does not hold.
    """
    try:
        model = mujoco.MjModel.from_xml_path(str(scene))
    except ValueError as problem:
        why = " ".join(str(problem).split()).rstrip(".")
        raise ValueError(f"MuJoCo cannot read the scene {scene}: {why}.") from None
    if model.na:
        raise ValueError(
            f"An actuator in the scene {scene} has a state of its own, such as a filter's, which "
            "no step hands on; leave out its timeconst or dyntype."
        )
    return model


def without_visuals(scene: Path) -> mujoco.MjModel:
    """The same physics without the geoms that only please the eye; a quarter faster to step."""
    spec = mujoco.MjSpec.from_file(str(scene))
    for geom in spec.geoms:
        if geom.group == _VISUAL_GROUP and not (geom.contype or geom.conaffinity or _weighs(geom)):
            spec.delete(geom)
    return spec.compile()


def _weighs(geom: Any) -> bool:
    return not (geom.mass == 0 or geom.parent.explicitinertial or geom.parent.name == "world")


def put(model: mujoco.MjModel) -> tuple[mjx.Model, mjx.Data]:
    """A model and its data for MJX in JAX, on this process' first device.

    Raises `ValueError` for a model that MJX cannot step.
    """
    # MJX's own choice may be a device of another process.
    options: Any = {"impl": "jax", "device": jax.local_devices()[0]}
    try:
        on_jax = mjx.put_model(model, **options)
    except NotImplementedError as problem:
        why = str(problem).rstrip(".")
        raise ValueError(
            f"MJX cannot step this scene ({why}); change it, or use impl='c' on a CPU."
        ) from None
    return on_jax, mjx.put_data(model, mujoco.MjData(model), **options)


def with_mocap_bodies_placed(model: mjx.Model, mocap_pos: jax.Array) -> mjx.Model:
    """`model` with its mocap bodies at `mocap_pos`, (nmocap, 3).

    MJX in JAX moves a mocap body without the bodies that hang on it; they follow the model.
    """
    mocap = np.flatnonzero(model.body_mocapid >= 0)
    if model.impl != mjx.Impl.JAX or not np.isin(model.body_parentid, mocap).any():
        return model
    return model.replace(body_pos=jnp.asarray(model.body_pos).at[mocap].set(mocap_pos))
