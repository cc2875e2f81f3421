"""Pick: lift a cube off the floor and keep it in the hand."""

from typing import Any

import jax
import jax.numpy as jnp
from brax.envs.base import State
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from envs.jaco import Jaco, Waypoint, follow
from envs.physics.data import Data

_START_POSE = (-0.07855885, -1.0, 0.6731897, 1.5, -2.83926611, 0.0, 0.2, 0.2, 0.2)
_OBJECT_LOW, _OBJECT_HIGH = (0.53, 0.13), (0.57, 0.17)

_OFF_THE_FLOOR = 0.08
_IN_HAND = 0.1
_SUCCESS = 0.15


def distance(
    *, finger: Float[Array, "*batch 3"], object: Float[Array, "*batch 3"]
) -> Float[Array, "*batch"]:
    """Distance of the object from the finger point, m."""
    return jnp.linalg.norm(object - finger, axis=-1)


def success(
    *, finger: Float[Array, "*batch 3"], object: Float[Array, "*batch 3"]
) -> Bool[Array, "*batch"]:
    """Whether the cube's centre is more than 8 cm high and within 15 cm of the fingers."""
    return (object[..., 2] > _OFF_THE_FLOOR) & (distance(finger=finger, object=object) < _SUCCESS)


def reward(
    *, finger: Float[Array, "*batch 3"], object: Float[Array, "*batch 3"]
) -> dict[str, Float[Array, "*batch"]]:
    """The term of the reward, paid after every sub-step.

    `finger` is the mean of the fingers' centres of mass, `object` the cube's centre, both in m.
    `lift` is the height of the cube's centre once that is 8 cm, while it is within 10 cm of the
    fingers.
    """
    height = object[..., 2]
    held = (height >= _OFF_THE_FLOOR) & (distance(finger=finger, object=object) < _IN_HAND)
    return {"lift": jnp.where(held, height, 0)}


class Pick(Jaco):
    """Jaco lifts a cube.

    An episode starts with the arm raised, the cube on the floor and its centre uniform in
    [.53, .57] x [.13, .17] m. Action, coordinates and robot state are those of `Jaco`. A control
    step is 0.05 s and pays the reward of its five sub-steps.

    Observation (34,), float, after the last sub-step:

        0:16   qpos: joints (rad), cube position (m), cube orientation (unit quaternion)
        16:31  qvel: joints (rad/s), cube linear (m/s) and angular velocity (rad/s)
        31:34  finger point (m)
    """

    pays_every_substep = True

    def __init__(self, **options: Any):
        super().__init__(scene="assets/pick.xml", start_pose=_START_POSE, **options)

    def place(self, data: Data, key: PRNGKeyArray) -> Data:
        low, high = jnp.array(_OBJECT_LOW), jnp.array(_OBJECT_HIGH)
        cube = jax.random.uniform(key, (2,), minval=low, maxval=high)
        return self._put_cube(data, cube)

    def reward(self, points: dict[str, Any]) -> dict[str, Float[Array, "*batch"]]:
        return reward(**points)

    def outcome(self, points: dict[str, Any]) -> tuple[Bool[Array, ""], Float[Array, ""]]:
        return success(**points), distance(**points)


# The grasp comes down at .8 rad; found by inverse kinematics.
_WAYPOINTS = (
    Waypoint(
        step=9,
        arm=(0.238, -0.091, 0.389, 0.613, -0.992, -1.067),
        slope=(
            (-0.892, 2.901),
            (-0.342, -0.211),
            (-3.169, -0.954),
            (-2.099, 1.759),
            (4.554, 1.743),
            (-2.814, 0.032),
        ),
        fingers=0.0,
    ),
    Waypoint(
        step=16,
        arm=(0.189, 0.077, -0.018, 0.492, -0.687, -1.242),
        slope=(
            (-0.557, 2.481),
            (0.138, 0.011),
            (-3.609, -0.809),
            (-1.458, 2.121),
            (4.375, 1.039),
            (-2.383, -0.356),
        ),
        fingers=0.0,
    ),
    Waypoint(step=26, arm=None, fingers=0.6),
    Waypoint(step=40, arm=(0.187, -0.413, 0.355, 0.463, -0.54, -1.323), fingers=0.6),
)


NOISE = 0.2


def scripted(state: State) -> Float[Array, "*batch 9"]:
    """A demonstrator: go behind the cube, around it, close the fingers, lift it 20 cm, hold.

    Reads time, targets and the cube's position off `state.pipeline_state`.
    """
    return follow(state, _WAYPOINTS, cube=(0.55, 0.15))


make = Pick
