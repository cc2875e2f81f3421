"""Soccer: slide a ball into a goal frame."""

from typing import Any, cast

import jax.numpy as jnp
from brax.envs.base import State
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from envs.physics.data import Data
from envs.sawyer import Sawyer
from envs.tabletop import draw_start

_REACHED = 0.05
_SUCCESS = 0.07


def distance(
    *, object: Float[Array, "*batch 3"], goal: Float[Array, "*batch 3"]
) -> Float[Array, "*batch"]:
    """Horizontal distance of the ball from the goal, m."""
    return jnp.linalg.norm((object - goal)[..., :2], axis=-1)


def success(
    *, object: Float[Array, "*batch 3"], goal: Float[Array, "*batch 3"]
) -> Bool[Array, "*batch"]:
    """Whether the ball lies within 7 cm of the goal."""
    return distance(object=object, goal=goal) <= _SUCCESS


def reward(
    *,
    finger: Float[Array, "*batch 3"],
    object: Float[Array, "*batch 3"],
    goal: Float[Array, "*batch 3"],
    start_distance: Float[Array, "*batch"],
    reached: Bool[Array, "*batch"],
) -> dict[str, Float[Array, "*batch"]]:
    """The terms of the reward: reach the ball, and bring it to the goal.

    `finger` is the point between the fingertips, all points are in m; `start_distance` (m) is the
    `distance` at the start of the episode; `reached` says whether the finger has come within 5 cm
    of the ball in an earlier step of the episode.

    `reach` is minus the distance from finger to ball. `shoot` is paid from the step on in which
    that is first below 5 cm: 1000 per metre the ball has come closer to the goal, and up to 2000
    for being there.
    """
    reach = _reach(finger, object)
    left = distance(object=object, goal=goal)
    there = jnp.exp(-(left**2) / 0.01) + jnp.exp(-(left**2) / 0.001)
    shoot = 1000 * jnp.maximum(0, start_distance - left + there)
    return {"reach": -reach, "shoot": jnp.where(reached | (reach < _REACHED), shoot, 0)}


class Soccer(Sawyer):
    """Sawyer slides a ball (radius 3 cm, 10 g) into a goal frame 21 cm wide and 8 cm deep.

    The ball never turns: it slides, and friction stops it within centimetres. The frame is open
    towards the robot and `goal` is the middle of its floor, at the height of the ball's centre.

    An episode starts with the hand at (0, .6, .2), the ball uniform in [-.1, .1] x [.6, .7] and the
    goal uniform in [-.1, .1] x [.8, .9], drawn again while closer than .15 (all m). Action,
    observation and robot state are those of `Sawyer`. After the arm's joints, `qpos` holds the
    ball's position (3). A control step is 0.0125 s.

    Only the ball touches the frame. The original frame also stops the hand; here that would cost
    several box-box contacts in MJX, and no shot needs it.
    """

    def __init__(self, *, action_scale: float = 0.02, **options: Any):
        super().__init__(scene="assets/soccer.xml", action_scale=action_scale, **options)

    def place(self, data: Data, key: PRNGKeyArray) -> Data:
        ball, goal = draw_start(key)
        return data.replace(
            qpos=data.qpos.at[-3:-1].set(ball),
            mocap_pos=data.mocap_pos.at[self._goal, :2].set(goal),
        )

    def remember(self, points: dict[str, Any]) -> dict[str, Array]:
        start_distance = distance(object=points["object"], goal=points["goal"])
        return {"start_distance": start_distance, "reached": jnp.zeros((), bool)}

    def update(self, points: dict[str, Any]) -> dict[str, Array]:
        reached = _reach(points["finger"], points["object"]) < _REACHED
        return {"reached": points["reached"] | reached}

    def reward(self, points: dict[str, Any]) -> dict[str, Float[Array, "*batch"]]:
        return reward(**points)

    def outcome(self, points: dict[str, Any]) -> tuple[Bool[Array, ""], Float[Array, ""]]:
        places = {"object": points["object"], "goal": points["goal"]}
        return success(**places), distance(**places)


def _reach(
    finger: Float[Array, "*batch 3"], ball: Float[Array, "*batch 3"]
) -> Float[Array, "*batch"]:
    return jnp.linalg.norm(finger - ball, axis=-1)


NOISE = 0.2


def scripted(state: State) -> Float[Array, "*batch 3"]:
    """A demonstrator: hover over the place behind the ball, come down, push, stop in the goal.

    It pushes towards a point in front of the frame, the nearer the frame the better the ball is
    lined up with it. Needs nothing but `state.obs` (*batch, 9).
    """
    hand, ball, goal = jnp.split(cast(Array, state.obs), 3, axis=-1)
    height, floor, ceiling = hand[..., 2:], 0.055, 0.125
    to_ball, to_goal = (ball - hand)[..., :2], (goal - ball)[..., :2]
    detour = jnp.clip(1.5 * jnp.abs(to_goal[..., :1]), 0, 0.1)
    to_aim = to_goal - jnp.concatenate([jnp.zeros_like(detour), detour], axis=-1)
    forward = to_aim / jnp.maximum(_norm(to_aim), 1e-6)
    lead = jnp.sum(to_ball * forward, axis=-1, keepdims=True)
    aside = to_ball - lead * forward
    behind = to_ball - 0.06 * forward

    low = height < 0.07
    home = _norm(to_goal) < 0.045
    pushing = low & (lead > 0.02) & (_norm(aside) < 0.025)
    arrived = _norm(behind) < 0.012
    hovering = height > 0.11

    move = jnp.where(hovering | arrived, 0.25 * behind, 0)
    move = jnp.where(pushing, 0.006 * forward + 0.2 * aside, move)
    climb = 0.25 * (jnp.where(pushing | arrived, floor, ceiling) - height)
    return jnp.where(home, 0, jnp.concatenate([move, climb], axis=-1) / 0.02)


def _norm(vector: Float[Array, "*batch 2"]) -> Float[Array, "*batch 1"]:
    return jnp.linalg.norm(vector, axis=-1, keepdims=True)


make = Soccer
