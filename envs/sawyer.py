"""Sawyer: a seven-joint arm whose hand is dragged by a mocap body."""

import jax.numpy as jnp
import mujoco
import numpy as np
from brax.envs.base import State
from jaxtyping import Array, Float
from mujoco import mjx

from envs.base import MjxEnv

_ARM_HOME = (1.9257, -0.5171, -1.0484, 1.6402, 1.0138, 1.0854, 2.3163)
_HAND_LOW, _HAND_HIGH = (-0.5, 0.4, 0.05), (0.5, 1.0, 0.5)
_SETTLE_STEPS = 250


class Sawyer(MjxEnv):
    """Sawyer with closed fingers and a free object on the table.

    Action (3,): displacement of the mocap body along x, y, z, clipped to [-1, 1], in units of
    `action_scale` metres; the mocap body stays inside a box over the table. The hand follows it
    through a soft weld, a few millimetres behind.

    Observation (9,), metres, world frame: hand position (0:3), object position (3:6), goal (6:9).
    """

    action_size = 3
    observation_size = 9

    def __init__(self, *, scene: str, substeps: int, episode_length: int, action_scale: float):
        self.action_scale = action_scale
        super().__init__(scene=scene, substeps=substeps, episode_length=episode_length)
        model = self.mj_model
        self._hand, self._object = model.body("hand").id, model.body("object").id
        self._finger = model.site("finger").id
        self._mocap = model.body("mocap").mocapid.item()
        self._goal = model.body("goal").mocapid.item()
        self._arm = np.array([model.joint(f"right_j{i}").id for i in range(7)])

    def _settle(self, model: mujoco.MjModel) -> mujoco.MjData:
        data = mujoco.MjData(model)
        data.qpos[:7] = _ARM_HOME
        mujoco.mj_step(model, data, _SETTLE_STEPS)
        data.qvel[:] = 0
        data.qacc_warmstart[:] = 0
        data.time = 0
        return data

    def _command(self, data: mjx.Data, action: Float[Array, "3"]) -> mjx.Data:
        target = data.mocap_pos[self._mocap] + self.action_scale * jnp.clip(action, -1, 1)
        target = jnp.clip(target, jnp.array(_HAND_LOW), jnp.array(_HAND_HIGH))
        return data.replace(mocap_pos=data.mocap_pos.at[self._mocap].set(target))

    def _observe(self, data: mjx.Data) -> Float[Array, "9"]:
        hand, thing = data.xpos[self._hand], data.xpos[self._object]
        return jnp.concatenate([hand, thing, data.mocap_pos[self._goal]])

    def robot_state(self, state: State) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
        """Position (m) and velocity (m/s) of the hand in the world."""
        data = state.pipeline_state
        hand = data.xpos[self._hand]
        lever = hand - data.xanchor[self._arm]
        velocity = jnp.cross(data.xaxis[self._arm], lever).T @ data.qvel[self._arm]
        return hand, velocity
