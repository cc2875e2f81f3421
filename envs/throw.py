"""Throw: toss a cube into a tray out of reach."""

from typing import Any

import jax
import jax.numpy as jnp
from brax.envs.base import State
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from envs.jaco import Jaco, Waypoint, follow
from envs.physics.data import Data

_START_POSE = (-0.07855885, -0.1, 0.6731897, 1.5, -2.83926611, 0.0, 0.9, 0.9, 0.9)
_OBJECT_LOW, _OBJECT_HIGH = (0.58, 0.08), (0.62, 0.12)

_IN_TRAY = 0.18
_SUCCESS = 0.19


def distance(
    *, object: Float[Array, "*batch 3"], goal: Float[Array, "*batch 3"]
) -> Float[Array, "*batch"]:
    """Horizontal distance of the object from the goal, m."""
    return jnp.linalg.norm((object - goal)[..., :2], axis=-1)


def success(
    *, object: Float[Array, "*batch 3"], goal: Float[Array, "*batch 3"]
) -> Bool[Array, "*batch"]:
    """Whether the cube's centre is less than 19 cm from the goal, seen from above."""
    return distance(object=object, goal=goal) < _SUCCESS


def reward(
    *,
    object: Float[Array, "*batch 3"],
    goal: Float[Array, "*batch 3"],
    start_distance: Float[Array, "*batch"],
) -> dict[str, Float[Array, "*batch"]]:
    """The terms of the reward.

    `object` is the cube's centre, `goal` the tray's centre of mass, both in m; `start_distance` (m)
    is how far apart they were, in space, at the start of the episode.

    `approach` is 40 times the share of `start_distance` that the cube is closer, seen from above;
    within 18 cm `arrive` makes it up to 40.
    """
    left = distance(object=object, goal=goal)
    approach = 40 * (1 - jnp.minimum(1, left / start_distance))
    return {"approach": approach, "arrive": jnp.where(left < _IN_TRAY, 40 - approach, 0)}


class Throw(Jaco):
    """Jaco throws a cube into a tray.

    An episode starts with the hand above the floor, the cube on it with its centre uniform in
    [.58, .62] x [.08, .12] m. The tray, 25 cm square with walls 10 cm high and open towards the
    robot, stands at (1.5, 0); the goal is its centre of mass, (1.531, 0, .042). Action, coordinates
    and robot state are those of `Jaco`. A control step is 0.05 s.

    Observation (37,), float, after the last sub-step:

        0:16   qpos: joints (rad), cube position (m), cube orientation (unit quaternion)
        16:31  qvel: joints (rad/s), cube linear (m/s) and angular velocity (rad/s)
        31:34  finger point (m)
        34:37  from the cube to the goal at the start of the episode (m)
    """

    def __init__(self, **options: Any):
        super().__init__(scene="assets/throw.xml", start_pose=_START_POSE, **options)
        self._goal = self.mj_model.site("goal").id

    def place(self, data: Data, key: PRNGKeyArray) -> Data:
        low, high = jnp.array(_OBJECT_LOW), jnp.array(_OBJECT_HIGH)
        cube = jax.random.uniform(key, (2,), minval=low, maxval=high)
        return self._put_cube(data, cube)

    def points(self, data: Data) -> dict[str, Float[Array, "3"]]:
        return super().points(data) | {"goal": data.site_xpos[self._goal]}

    def remember(self, points: dict[str, Any]) -> dict[str, Array]:
        return {"to_goal": points["goal"] - points["object"]}

    def observe(self, data: Data, points: dict[str, Any]) -> Float[Array, "37"]:
        return jnp.concatenate([super().observe(data, points), points["to_goal"]])

    def reward(self, points: dict[str, Any]) -> dict[str, Float[Array, "*batch"]]:
        start_distance = jnp.linalg.norm(points["to_goal"])
        places = {"object": points["object"], "goal": points["goal"]}
        return reward(**places, start_distance=start_distance)

    def outcome(self, points: dict[str, Any]) -> tuple[Bool[Array, ""], Float[Array, ""]]:
        places = {"object": points["object"], "goal": points["goal"]}
        return success(**places), distance(**places)


# The grasp is found by inverse kinematics. The underhand swing, the same for every start, is found
# by a cross-entropy search for a low and repeatable landing on this model.
_WAYPOINTS = (
    Waypoint(
        step=8,
        arm=(0.068, -0.096, 0.255, 0.417, -0.816, -1.199),
        slope=(
            (-0.306, 2.72),
            (-0.132, -0.073),
            (-3.543, -0.388),
            (-1.822, 2.162),
            (4.781, 0.633),
            (-2.049, 0.27),
        ),
        fingers=0.0,
    ),
    Waypoint(
        step=13,
        arm=(0.051, 0.089, -0.183, 0.306, -0.493, -1.33),
        slope=(
            (-0.178, 2.297),
            (0.423, 0.066),
            (-4.154, -0.296),
            (-1.444, 2.489),
            (4.694, 0.274),
            (-1.83, -0.461),
        ),
        fingers=0.0,
    ),
    Waypoint(step=18, arm=None, fingers=0.6),
    Waypoint(
        step=26,
        arm=(-0.103, -0.164, 0.836, -0.25, -1.242, -1.227),
        fingers=0.6,
    ),
    Waypoint(step=27, arm=None, fingers=0.6),
    Waypoint(
        step=31,
        arm=(-0.035, -0.14, -0.164, -0.266, -0.579, -1.291),
        fingers=0.431,
    ),
    Waypoint(
        step=35,
        arm=(0.033, -0.115, -1.164, -0.281, 0.084, -1.355),
        fingers=-0.184,
    ),
)


NOISE = 0.05


def scripted(state: State) -> Float[Array, "*batch 9"]:
    """A demonstrator: grasp the cube, pull it back, swing forward and let go.

    Reads time, targets and the cube's position off `state.pipeline_state`.
    """
    return follow(state, _WAYPOINTS, cube=(0.6, 0.1))


make = Throw
