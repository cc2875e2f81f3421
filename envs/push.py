"""Push: slide a puck over the table to a goal."""

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
    """Horizontal distance of the object from the goal, m."""
    return jnp.linalg.norm((object - goal)[..., :2], axis=-1)


def success(
    *, object: Float[Array, "*batch 3"], goal: Float[Array, "*batch 3"]
) -> Bool[Array, "*batch"]:
    """Whether the object lies within 7 cm of the goal."""
    return distance(object=object, goal=goal) <= _SUCCESS


def reward(
    *,
    finger: Float[Array, "*batch 3"],
    object: Float[Array, "*batch 3"],
    goal: Float[Array, "*batch 3"],
    start_distance: Float[Array, "*batch"],
) -> dict[str, Float[Array, "*batch"]]:
    """The terms of the reward: stay at the object, and bring it to the goal.

    `finger` is the point between the fingertips, all points are in m; `start_distance` (m) is the
    `distance` at the start of the episode.

    `reach` is minus the distance from finger to object. `push` is paid while that is below 5 cm:
    1000 per metre the object has come closer to the goal, and up to 2000 for being there.
    """
    reach = jnp.linalg.norm(finger - object, axis=-1)
    left = distance(object=object, goal=goal)
    there = jnp.exp(-(left**2) / 0.01) + jnp.exp(-(left**2) / 0.001)
    push = 1000 * jnp.maximum(0, start_distance - left + there)
    return {"reach": -reach, "push": jnp.where(reach < _REACHED, push, 0)}


class Push(Sawyer):
    """Sawyer pushes a puck (radius 3 cm, height 3 cm, 0.75 kg) to a goal on the table.

    An episode starts with the hand at (0, .6, .2), the puck uniform in [-.1, .1] x [.6, .7] and the
    goal uniform in [-.1, .1] x [.8, .9], drawn again while closer than .15 (all m). Action,
    observation and robot state are those of `Sawyer`. After the arm's joints, `qpos` holds the
    puck's position (3) and its unit quaternion (4). A control step is 0.05 s.
    """

    def __init__(self, *, action_scale: float = 0.01, **options: Any):
        super().__init__(scene="assets/push.xml", action_scale=action_scale, **options)

    def place(self, data: Data, key: PRNGKeyArray) -> Data:
        puck, goal = draw_start(key)
        puck = data.qpos[-7:].at[:2].set(puck)
        goal = puck[:3].at[:2].set(goal)
        return data.replace(
            qpos=data.qpos.at[-7:].set(puck),
            mocap_pos=data.mocap_pos.at[self._goal].set(goal),
        )

    def remember(self, points: dict[str, Any]) -> dict[str, Array]:
        start_distance = distance(object=points["object"], goal=points["goal"])
        return {"start_distance": start_distance}

    def reward(self, points: dict[str, Any]) -> dict[str, Float[Array, "*batch"]]:
        return reward(**points)

    def outcome(self, points: dict[str, Any]) -> tuple[Bool[Array, ""], Float[Array, ""]]:
        places = {"object": points["object"], "goal": points["goal"]}
        return success(**places), distance(**places)


NOISE = 0.3


def scripted(state: State) -> Float[Array, "*batch 3"]:
    """A demonstrator: hover over the place behind the puck, come down, push, hold at the goal.

    Needs nothing but `state.obs` (*batch, 9); brings every puck home within 150 steps.
    """
    hand, puck, goal = jnp.split(cast(Array, state.obs), 3, axis=-1)
    height, floor, ceiling = hand[..., 2:], 0.053, 0.125
    to_puck, to_goal = (puck - hand)[..., :2], (goal - puck)[..., :2]
    forward = to_goal / jnp.maximum(_norm(to_goal), 1e-6)
    lead = jnp.sum(to_puck * forward, axis=-1, keepdims=True)
    aside = to_puck - lead * forward
    behind = to_puck - 0.06 * forward

    low = height < 0.065
    holding = low & (_norm(to_goal) < 0.01) & (_norm(to_puck) < 0.06)
    pushing = low & (lead > 0.025) & (_norm(aside) < 0.02)
    arrived = _norm(behind) < 0.01
    hovering = height > 0.11

    move = jnp.where(hovering | arrived, behind, 0)
    move = jnp.where(pushing, 0.01 * forward + 0.6 * aside, move)
    move = jnp.where(holding, 0, move)
    down = pushing | holding | arrived
    climb = jnp.where(down, floor, ceiling) - height
    return jnp.concatenate([move, climb], axis=-1) / 0.01


def _norm(vector: Float[Array, "*batch 2"]) -> Float[Array, "*batch 1"]:
    return jnp.linalg.norm(vector, axis=-1, keepdims=True)


make = Push
