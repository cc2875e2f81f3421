"""Jaco: a six-joint arm with three fingers, moved by position servos."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import mujoco
import numpy as np
from brax.envs.base import State
from jaxtyping import Array, Float

from envs.mjcf import MjcfEnv
from envs.physics.data import Data

_JOINTS = 9
_FINGERS = slice(6, 9)
_FINGER_COMMAND = 7
_ACTION_SCALE = 0.05  # rad
_CONTROL_STEP = 0.05  # s


class Jaco(MjcfEnv):
    """Jaco with its three fingers, on the floor, and a cube (edge 8 cm, 0.2 kg).

    Action (9,), float: how far the servos' targets move along six arm joints and three fingers, in
    units of `action_scale` rad, each clipped to [-5, 5]; the fingers all follow component 7. A
    target stays in its joint's range (`mj_model.actuator_ctrlrange`) and, so that a blocked arm
    winds nothing up, within 0.3 rad of the joint; it moves evenly over the control step. The servos
    keep up with full-size actions.

    Coordinates `qpos` (16,): six arm joints and three fingers (rad), cube position (3, m) and unit
    quaternion (4). Velocities `qvel` (15,): joints (9, rad/s), cube linear (3, m/s, world frame)
    and angular (3, rad/s, cube frame). The finger point is the mean of the fingers' centres of
    mass.
    """

    action_limit = 5.0

    def __init__(self, *, start_pose: tuple[float, ...], episode_length: int = 55, **options: Any):
        """`start_pose`: nine joints (rad)."""
        self._start_pose = start_pose
        super().__init__(episode_length=episode_length, **options)
        fingers = (f"jaco_link_finger_{number}" for number in (1, 2, 3))
        self._fingers = np.array([self.mj_model.body(name).id for name in fingers])

    def pose(self, data: mujoco.MjData) -> None:
        data.qpos[:_JOINTS] = data.ctrl[:] = self._start_pose

    def command(self, data: Data, action: Float[Array, "9"]) -> Data:
        return super().command(data, action.at[_FINGERS].set(action[_FINGER_COMMAND]))

    def tip(self, data: Any) -> Float[Array, "3"]:
        return data.xipos[self._fingers].mean(axis=0)

    def _put_cube(self, data: Data, place: Float[Array, "2"]) -> Data:
        return data.replace(qpos=data.qpos.at[9:11].set(place))

    def observe(self, data: Data, points: dict[str, Any]) -> Float[Array, "34"]:
        return jnp.concatenate([data.qpos, data.qvel, points["finger"]])

    def points(self, data: Data) -> dict[str, Float[Array, "3"]]:
        return {"finger": self.tip(data), "object": data.qpos[9:12]}


class Waypoint(NamedTuple):
    """Where a scripted arm is to be, and when.

    Attributes:
      step: the control step at whose start the waypoint is reached.
      arm: joints for a cube in the middle of its start box, (6,), rad; None to stay.
      fingers: rad.
      slope: change of `arm` per metre the cube lies away from there along x and y, (6, 2).
    """

    step: int
    arm: tuple[float, ...] | None
    fingers: float
    slope: tuple[tuple[float, float], ...] = ((0.0, 0.0),) * 6


def follow(
    state: State, waypoints: tuple[Waypoint, ...], *, cube: tuple[float, float]
) -> Float[Array, "*batch 9"]:
    """Actions that move evenly from each waypoint to the next and stay at the last.

    `cube` (m) is the middle of the cube's start box. Counts steps by `data.time`.
    """
    data: Any = state.pipeline_state
    step = jnp.round(data.time / _CONTROL_STEP).astype(int)
    steps = jnp.array([waypoint.step for waypoint in waypoints])
    stays = jnp.array([waypoint.arm is None for waypoint in waypoints])
    arms = jnp.array([waypoint.arm or (0.0,) * 6 for waypoint in waypoints])
    slopes = jnp.array([waypoint.slope for waypoint in waypoints])
    fingers = jnp.array([(waypoint.fingers,) * 3 for waypoint in waypoints])

    index = jnp.minimum(jnp.searchsorted(steps, step, side="right"), len(waypoints) - 1)
    aside = data.qpos[..., 9:11] - jnp.array(cube)
    arm = arms[index] + jnp.einsum("...ij,...j->...i", slopes[index], aside)
    arm = jnp.where(stays[index][..., None], data.ctrl[..., :6], arm)
    target = jnp.concatenate([arm, fingers[index]], axis=-1)
    left = jnp.maximum(steps[index] - step, 1)[..., None]
    return (target - data.ctrl) / left / _ACTION_SCALE
