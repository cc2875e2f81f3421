"""Jaco: a six-joint arm with three fingers, moved by position servos."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import mujoco
import numpy as np
from brax.envs.base import State
from jaxtyping import Array, Float

from envs.base import MjxEnv
from envs.physics.data import Data

_JOINTS = 9
_FINGERS = slice(6, 9)
_FINGER_COMMAND = 7
_SETTLING_STEPS = 250
_ACTION_SCALE = 0.05  # rad
_CONTROL_STEP = 0.05  # s
_MAX_LEAD = 0.3  # rad


class Jaco(MjxEnv):
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

    def __init__(
        self,
        *,
        start_pose: tuple[float, ...],
        episode_length: int = 55,
        action_scale: float = _ACTION_SCALE,
        **options: Any,
    ):
        """`start_pose`: nine joints (rad); `action_scale`: rad a target moves per action of 1."""
        self._start_pose = start_pose
        super().__init__(substeps=5, episode_length=episode_length, **options)
        self.action_scale = action_scale
        model = self.mj_model
        fingers = (f"jaco_link_finger_{number}" for number in (1, 2, 3))
        self._fingers = jnp.array([model.body(name).id for name in fingers])
        self._low, self._high = jnp.asarray(model.actuator_ctrlrange.T, float)

    @property
    def action_size(self) -> int:
        return _JOINTS

    def robot_state(self, state: State) -> tuple[Float[Array, "9"], Float[Array, "9"]]:
        """Positions (rad) and velocities (rad/s) of the joints."""
        data: Any = state.pipeline_state
        return data.qpos[:_JOINTS], data.qvel[:_JOINTS]

    def trace(self, position: Float[np.ndarray, "*batch 9"]) -> Float[np.ndarray, "*batch 3"]:
        """The finger point, m, at these joints."""
        data = mujoco.MjData(self.mj_model)
        fingers = np.asarray(self._fingers)

        def finger_point(joints: Float[np.ndarray, "9"]) -> Float[np.ndarray, "3"]:
            data.qpos[:_JOINTS] = joints
            mujoco.mj_kinematics(self.mj_model, data)
            return data.xipos[fingers].mean(axis=0)

        return np.apply_along_axis(finger_point, -1, position)

    def _settle(self, model: mujoco.MjModel) -> mujoco.MjData:
        data = mujoco.MjData(model)
        data.qpos[:_JOINTS] = data.ctrl[:] = self._start_pose
        mujoco.mj_step(model, data, _SETTLING_STEPS)
        rest = mujoco.MjData(model)
        rest.qpos[:], rest.ctrl[:] = data.qpos, data.ctrl
        mujoco.mj_forward(model, rest)
        return rest

    def _command(self, data: Data, action: Float[Array, "9"]) -> Data:
        action = jnp.clip(action, -self.action_limit, self.action_limit)
        action = action.at[_FINGERS].set(action[_FINGER_COMMAND])
        target = jnp.clip(data.ctrl + self.action_scale * action, self._low, self._high)
        joints = data.qpos[:_JOINTS]
        return data.replace(ctrl=jnp.clip(target, joints - _MAX_LEAD, joints + _MAX_LEAD))

    def _put_cube(self, data: Data, place: Float[Array, "2"]) -> Data:
        return data.replace(qpos=data.qpos.at[9:11].set(place))

    def _observe(self, data: Data, memory: dict[str, Any]) -> Float[Array, "34"]:
        return jnp.concatenate([data.qpos, data.qvel, self._points(data)["finger"]])

    def _points(self, data: Data) -> dict[str, Float[Array, "3"]]:
        return {"finger": data.xipos[self._fingers].mean(axis=0), "object": data.qpos[9:12]}


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
