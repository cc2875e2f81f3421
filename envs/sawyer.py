"""Sawyer: a seven-joint arm whose hand follows a mocap body; its gripper is closed or moves."""

from typing import Any

import jax.numpy as jnp
import mujoco
import numpy as np
from brax.envs.base import State
from jaxtyping import Array, Float

from envs.base import MjxEnv
from envs.physics.data import Data

_ARM_JOINTS = 7
_HAND_HIGH = (0.5, 1.0, 0.5)

# Near rest with the hand at (0, 0.6, 0.2), where the scene has the mocap body.
_ARM_HOME = (1.926, -0.517, -1.048, 1.640, 1.014, 1.085, 2.316)


class Sawyer(MjxEnv):
    """Sawyer with its fingers held closed, over a table.

    Action (3,), float: how far the mocap body moves along x, y and z, in units of `action_scale`
    metres, each clipped to [-1, 1]; the mocap body stays in [-.5, .5] x [.4, 1] x [.05, .5] m. A
    soft weld drags the hand after it, a few millimetres behind.

    Observation (9,), float, metres, world frame, after the last sub-step:

        0:3  hand    3:6  object    6:9  goal

    Coordinates `qpos`: seven arm joints (rad), then the object's. The fingers are one solid piece
    and have none. A scene names its parts `mocap`, `hand`, `goal` (mocap body) and the sites
    `finger` and `object`.
    """

    _hand_low = (-0.5, 0.4, 0.05)
    _finger_sites: tuple[str, ...] = ("finger",)
    _resting_ctrl: tuple[float, ...] = ()

    first_refresh = 1

    def __init__(self, *, action_scale: float, episode_length: int = 150, **options: Any):
        """`action_scale`: metres the mocap body moves for an action of 1."""
        super().__init__(substeps=5, episode_length=episode_length, **options)
        self.action_scale = action_scale
        model = self.mj_model
        self._hand = model.body("hand").id
        self._mocap = model.body("mocap").mocapid.item()
        self._goal = model.body("goal").mocapid.item()
        self._fingers = [model.site(name).id for name in self._finger_sites]
        self._object = model.site("object").id

    @property
    def action_size(self) -> int:
        return 3

    def robot_state(self, state: State) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
        """Position (m) and velocity (m/s) of the hand in the world."""
        data: Any = state.pipeline_state
        hand = data.xpos[self._hand]
        arms = hand - data.xanchor[:_ARM_JOINTS]
        velocity = data.qvel[:_ARM_JOINTS] @ jnp.cross(data.xaxis[:_ARM_JOINTS], arms)
        return hand, velocity

    def trace(self, position: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
        """The hand, which is the robot's position itself."""
        return position

    def pose(self, data: mujoco.MjData) -> None:
        data.qpos[:_ARM_JOINTS] = _ARM_HOME
        data.ctrl[:] = self._resting_ctrl

    def command(self, data: Data, action: Float[Array, "3"]) -> Data:
        target = data.mocap_pos[self._mocap] + self.action_scale * jnp.clip(action, -1, 1)
        target = jnp.clip(target, np.array(self._hand_low), np.array(_HAND_HIGH))
        return data.replace(mocap_pos=data.mocap_pos.at[self._mocap].set(target))

    def observe(self, data: Data, points: dict[str, Any]) -> Float[Array, "9"]:
        return jnp.concatenate([data.xpos[self._hand], points["object"], points["goal"]])

    def points(self, data: Data) -> dict[str, Float[Array, "3"]]:
        return {
            "finger": data.site_xpos[np.array(self._fingers)].mean(axis=0),
            "object": data.site_xpos[self._object],
            "goal": data.mocap_pos[self._goal],
        }


class GrippingSawyer(Sawyer):
    """Sawyer with fingers that move.

    Action (4,): the three components of `Sawyer`, and one for the gripper, clipped to [-1, 1]: 1
    closes it, -1 opens it, in about a quarter of a second. The mocap body may go down to .04 m.

    After the arm's joints, `qpos` holds how far the right finger (0 to .04 m) and the left one (0
    to -.03 m) have closed. A scene names the fingers' tips `right_tip` and `left_tip` (sites); the
    finger point lies in the middle.
    """

    _hand_low = (-0.5, 0.4, 0.04)
    _finger_sites = ("right_tip", "left_tip")
    _resting_ctrl = (-1.0, 1.0)

    @property
    def action_size(self) -> int:
        return 4

    def command(self, data: Data, action: Float[Array, "4"]) -> Data:
        closing = jnp.clip(action[3], -1, 1)
        moved = super().command(data, action[:3])
        return moved.replace(ctrl=jnp.stack([closing, -closing]))
