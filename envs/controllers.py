"""Controllers: what makes an environment's own action of where a joint is to be next.

A controller is any function from a `Motion` to the actions of the joints that move, (D,), evaluated
at every environment step. The primitive says where the joints are to be after the step; the inverse
controller of the paper (Bahl et al., 2020, section 3.2) is one of these.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Float

BANDWIDTH = 0.3
"""Of a PD law whose gains are found, per environment step: fast, but no faster than it is asked."""


class Motion(NamedTuple):
    """One step of D joints, in rad and rad/s, or m and m/s.

    Attributes:
      action: the change of position that is asked for, in units of the environment's action scale.
      position: where the joints are.
      velocity: how fast they move.
      target: where they are to be after the step.
      target_velocity: how fast they are to move.
    """

    action: Float[Array, " D"]
    position: Float[Array, " D"]
    velocity: Float[Array, " D"]
    target: Float[Array, " D"]
    target_velocity: Float[Array, " D"]


Controller = Callable[[Motion], Float[Array, " D"]]


@dataclass(frozen=True)
class PositionIncrement:
    """The environment's actions are changes of position themselves, or are to be taken for such."""

    def __call__(self, motion: Motion) -> Float[Array, " D"]:
        return motion.action


@dataclass(frozen=True)
class PositionTarget:
    """The environment's actions are positions.

    Attributes:
      unit: rad or m per unit of action.
      offset: position at which the action is 0, rad or m.
    """

    unit: float | Float[np.ndarray, " D"] = 1.0
    offset: float | Float[np.ndarray, " D"] = 0.0

    def __call__(self, motion: Motion) -> Float[Array, " D"]:
        return (motion.target - self.offset) / self.unit


@dataclass(frozen=True)
class VelocityTarget:
    """The environment's actions are velocities.

    Attributes:
      unit: rad/s or m/s per unit of action.
    """

    unit: float | Float[np.ndarray, " D"] = 1.0

    def __call__(self, motion: Motion) -> Float[Array, " D"]:
        return motion.target_velocity / self.unit


@dataclass(frozen=True)
class Torque:
    """The environment's actions, from -1 to 1, are torques or forces: a PD law asks for them.

    Attributes:
      kp: action per rad or m that the joint is away from its target.
      kd: action per rad/s or m/s that it moves otherwise than its target.
    """

    kp: float | Float[np.ndarray, " D"]
    kd: float | Float[np.ndarray, " D"]

    def __call__(self, motion: Motion) -> Float[Array, " D"]:
        error, slip = motion.target - motion.position, motion.target_velocity - motion.velocity
        return jnp.clip(self.kp * error + self.kd * slip, -1.0, 1.0)


def kind_of(model: mujoco.MjModel, actuator: int) -> str:
    """What the control of an actuator is: torque, position, velocity, or unknown."""
    gain, bias = model.actuator_gainprm[actuator, 0], model.actuator_biasprm[actuator, :3]
    kind = model.actuator_gaintype[actuator], model.actuator_biastype[actuator]
    fixed = int(mujoco.mjtGain.mjGAIN_FIXED)
    if kind == (fixed, int(mujoco.mjtBias.mjBIAS_NONE)):
        return "torque"
    if kind != (fixed, int(mujoco.mjtBias.mjBIAS_AFFINE)):
        return "unknown"
    if np.isclose(bias[1], -gain):
        return "position"
    return "velocity" if np.isclose(bias[2], -gain) and bias[1] == 0 else "unknown"


def gains(
    model: mujoco.MjModel, actuators: np.ndarray, dofs: np.ndarray, *, dt: float
) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, " D"]]:
    """`kp` and `kd` with which joints, each alone, reach targets critically damped.

    They follow from the masses at the model's first position and from the motors, whose controls
    are taken to be full at an action of 1.

    Args:
      model: of the robot.
      actuators: that drive the joints.
      dofs: of the joints.
      dt: s between two evaluations.
    """
    limited = model.actuator_ctrllimited[actuators].astype(bool)
    full = np.where(limited, np.abs(model.actuator_ctrlrange[actuators]).max(axis=1), 1.0)
    force = full * model.actuator_gear[actuators, 0] * model.actuator_gainprm[actuators, 0]
    acceleration = force / model.dof_M0[dofs]
    frequency = BANDWIDTH / dt
    return frequency**2 / acceleration, 2 * frequency / acceleration
