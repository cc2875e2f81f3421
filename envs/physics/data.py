"""What of an environment's physics outlives a control step."""

import dataclasses
from typing import Protocol

import jax.numpy as jnp
import mujoco
from flax import struct
from jaxtyping import Array, Float
from mujoco import mjx

DYNAMIC = ("qpos", "qvel", "qacc_warmstart", "time")
"""The fields that a step may change."""

INPUT = ("ctrl", "mocap_pos")
"""The fields that a command changes."""


class Data(struct.PyTreeNode):
    """State, inputs and positions of a robot and its object, float, named as in `mujoco.MjData`.

    Attributes:
      qpos: coordinates, (nq,).
      qvel: velocities, (nv,).
      qacc_warmstart: where MJX's contact solver starts; C MuJoCo leaves it alone, (nv,).
      time: since the episode's start, s, ().
      ctrl: inputs of the actuators, (nu,).
      mocap_pos: positions of mocap bodies, m, (nmocap, 3).
      mocap_quat: their orientations, which never change, (nmocap, 4).
      xpos: positions of bodies, m, (nbody, 3).
      xipos: their centres of mass, m, (nbody, 3).
      xanchor: points that joints turn about, m, (njnt, 3).
      xaxis: axes of joints, (njnt, 3).
      site_xpos: positions of sites, m, (nsite, 3).
    """

    qpos: Float[Array, "..."]
    qvel: Float[Array, "..."]
    qacc_warmstart: Float[Array, "..."]
    time: Float[Array, "..."]
    ctrl: Float[Array, "..."]
    mocap_pos: Float[Array, "..."]
    mocap_quat: Float[Array, "..."]
    xpos: Float[Array, "..."]
    xipos: Float[Array, "..."]
    xanchor: Float[Array, "..."]
    xaxis: Float[Array, "..."]
    site_xpos: Float[Array, "..."]


def put(data: mujoco.MjData) -> Data:
    """`data` on this process' first device."""
    names = [field.name for field in dataclasses.fields(Data)]
    return Data(**{name: jnp.asarray(getattr(data, name), float) for name in names})


def fields(data: Data | mjx.Data, names: tuple[str, ...]) -> dict[str, Array]:
    """Some fields."""
    return {name: getattr(data, name) for name in names}


class Physics(Protocol):
    """A way to step one model.

    Attributes:
      threads: how many it has of its own, if any.
    """

    threads: int | None

    def step(self, before: Data, commanded: Data) -> dict[str, Array]:
        """The fields that change, after each of a control step's S sub-steps, leaves (S, ...).

        Mocap bodies jump to where `commanded` has them, `ctrl` moves there evenly.
        """
        ...
