"""A task of one's own: a scene in MJCF, and a robot whose joints follow position servos."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import mujoco
import numpy as np
from brax.envs.base import State
from jaxtyping import Array, Float, Int

from envs.base import MjxEnv
from envs.physics.data import Data

_FREE, _HINGE, _SLIDE = (
    int(getattr(mujoco.mjtJoint, f"mjJNT_{kind}")) for kind in ("FREE", "HINGE", "SLIDE")
)
_POSITION_BIAS = 1


class Servos(NamedTuple):
    """What moves J joints.

    Attributes:
      position: where in `qpos` they are, (J,).
      velocity: where in `qvel`, (J,).
      actuator: where in `ctrl` their targets are, (J,).
      low: of the targets, rad (m where a joint slides), (J,).
      high: likewise.
    """

    position: Int[np.ndarray, " J"]
    velocity: Int[np.ndarray, " J"]
    actuator: Int[np.ndarray, " J"]
    low: Float[np.ndarray, " J"]
    high: Float[np.ndarray, " J"]


class MjcfEnv(MjxEnv):
    """A robot with position servos, in any scene.

    A task is a scene and a class that says where things start (`place`), what is good (`reward`)
    and when it is solved (`outcome`). `points` are all sites of the scene that have a name.

    Action (J,), float: how far the servos' targets move along the joints, in units of
    `action_scale` rad (m where a joint slides), each clipped to plus and minus `action_limit`. A
    target stays in its servo's ctrlrange (without one in the joint's range) and, so that a blocked
    arm winds nothing up, within `max_lead` of the joint; it moves evenly over the control step.

    Observation, float, which `observe` may change: positions (J,) and velocities (J,) of the
    joints, the site at the tip (3,), and where from there every other site is (3,), in the order in
    which the scene has them. The robot's state are the joints'.
    """

    max_lead = 0.3

    def __init__(
        self,
        *,
        scene: str,
        joints: Sequence[str] | None = None,
        tip: str = "tip",
        keyframe: str | None = None,
        substeps: int = 5,
        episode_length: int = 100,
        action_scale: float = 0.05,
        **options: Any,
    ):
        """`scene`, `substeps`, `episode_length` and `options` are those of `MjxEnv`.

        The robot's `joints`, by default all that position servos move, are named in the order of
        its actions. The site `tip` is the point that it works with. Episodes start in a `keyframe`,
        by default in the scene's own pose, after the robot has come to rest there.

        Raises `ValueError` for a joint, a servo or a keyframe that the scene does not have.
        """
        self._joints, self._tip, self._keyframe = joints, tip, keyframe
        super().__init__(scene=scene, substeps=substeps, episode_length=episode_length, **options)
        self.action_scale = action_scale

    @functools.cached_property
    def servos(self) -> Servos:
        """Of the robot's joints."""
        model = self.mj_model
        of_joint = {
            model.actuator_trnid[actuator, 0]: actuator
            for actuator in range(model.nu)
            if model.actuator_trntype[actuator] == mujoco.mjtTrn.mjTRN_JOINT
            and model.actuator_biasprm[actuator, _POSITION_BIAS] != 0
            and model.actuator_gear[actuator, 0] == 1
        }
        names = self._joints or [model.joint(joint).name for joint in of_joint]
        joints = [self._part("joint", name).id for name in names]
        for name, joint in zip(names, joints, strict=True):
            if model.jnt_type[joint] not in (_HINGE, _SLIDE):
                raise ValueError(f"The joint '{name}' is no hinge or slide; leave it out.")
            if joint not in of_joint:
                raise ValueError(
                    f"No position servo moves the joint '{name}' in {self.scene.name}; add "
                    f'<position joint="{name}" kp="..."/> to its actuators.'
                )
        if not joints:
            raise ValueError(f"No position servo moves a joint in {self.scene.name}; add some.")
        actuators = np.array([of_joint[joint] for joint in joints])
        ranges = np.where(
            model.jnt_limited[joints, None], model.jnt_range[joints], [-np.inf, np.inf]
        )
        limited = model.actuator_ctrllimited[actuators, None]
        low, high = np.where(limited, model.actuator_ctrlrange[actuators], ranges).T
        return Servos(
            position=model.jnt_qposadr[joints],
            velocity=model.jnt_dofadr[joints],
            actuator=actuators,
            low=low,
            high=high,
        )

    @property
    def action_size(self) -> int:
        return len(self.servos.actuator)

    def pose(self, data: mujoco.MjData) -> None:
        if self._keyframe is not None:
            mujoco.mj_resetDataKeyframe(
                self.mj_model, data, self._part("keyframe", self._keyframe).id
            )
        data.qvel[:] = 0
        data.ctrl[self.servos.actuator] = data.qpos[self.servos.position]

    def command(self, data: Data, action: Float[Array, " J"]) -> Data:
        servos = self.servos
        action = jnp.clip(action, -self.action_limit, self.action_limit)
        target = data.ctrl[servos.actuator] + self.action_scale * action
        target = jnp.clip(target, *jnp.asarray([servos.low, servos.high], float))
        joints = data.qpos[servos.position]
        target = jnp.clip(target, joints - self.max_lead, joints + self.max_lead)
        return data.replace(ctrl=data.ctrl.at[servos.actuator].set(target))

    def robot_state(self, state: State) -> tuple[Float[Array, " J"], Float[Array, " J"]]:
        """Positions (rad or m) and velocities (per second) of the joints."""
        data: Any = state.pipeline_state
        return data.qpos[self.servos.position], data.qvel[self.servos.velocity]

    def tip(self, data: Any) -> Float[Array, "3"] | Float[np.ndarray, "3"]:
        """The point that the robot works with, m, in a `Data` or `mujoco.MjData`."""
        return data.site_xpos[self._part("site", self._tip).id]

    def trace(self, position: Float[np.ndarray, "*batch J"]) -> Float[np.ndarray, "*batch 3"]:
        """The tip, m, at these joints."""
        data = mujoco.MjData(self.mj_model)

        def tip(joints: Float[np.ndarray, " J"]) -> Float[np.ndarray, "3"]:
            data.qpos[self.servos.position] = joints
            mujoco.mj_kinematics(self.mj_model, data)
            return np.array(self.tip(data))

        return np.apply_along_axis(tip, -1, position)

    def put(self, data: Data, body: str, position: Float[Array, "3"]) -> Data:
        """`data` with a mocap body, or one that has a free joint, at `position` (m)."""
        model, part = self.mj_model, self._part("body", body)
        if part.mocapid[0] >= 0:
            return data.replace(mocap_pos=data.mocap_pos.at[part.mocapid[0]].set(position))
        joint = part.jntadr[0]
        if joint < 0 or model.jnt_type[joint] != _FREE:
            raise ValueError(
                f"The body '{body}' in {self.scene.name} cannot be put anywhere; it must have "
                'mocap="true" or a <freejoint/>.'
            )
        first = model.jnt_qposadr[joint]
        return data.replace(qpos=data.qpos.at[first : first + 3].set(position))

    def points(self, data: Data) -> dict[str, Float[Array, "3"]]:
        model = self.mj_model
        names = {site: model.site(site).name for site in range(model.nsite)}
        return {name: data.site_xpos[site] for site, name in names.items() if name}

    def observe(self, data: Data, points: dict[str, Any]) -> Float[Array, "obs"]:
        tip = self.tip(data)
        others = [point - tip for name, point in self.points(data).items() if name != self._tip]
        joints = data.qpos[self.servos.position], data.qvel[self.servos.velocity]
        return jnp.concatenate([*joints, tip, *others])

    def _part(self, kind: str, name: str) -> Any:
        try:
            return getattr(self.mj_model, kind)(name)
        except KeyError as problem:
            names = str(problem.args[0]).partition("Valid names: ")[2]
            raise ValueError(
                f"There is no {kind} '{name}' in {self.scene.name}; it has {names or 'none'}."
            ) from None
