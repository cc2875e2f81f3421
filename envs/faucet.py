"""Faucet: turn a faucet's handle until its tip is at a goal."""

from typing import Any, cast

import jax
import jax.numpy as jnp
from brax.envs.base import State
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from envs.physics.data import Data
from envs.sawyer import GrippingSawyer

_FAUCET_LOW, _FAUCET_HIGH = (-0.05, 0.8), (0.05, 0.85)
_HEIGHT = 0.05

# The handle's tip after a quarter turn, seen from the faucet.
_GOAL = (0.1, -0.015, 0.065)

_REACHED = 0.05
_SUCCESS = 0.05


def distance(
    *, object: Float[Array, "*batch 3"], goal: Float[Array, "*batch 3"]
) -> Float[Array, "*batch"]:
    """Distance of the handle's tip from the goal, m."""
    return jnp.linalg.norm(object - goal, axis=-1)


def success(
    *, object: Float[Array, "*batch 3"], goal: Float[Array, "*batch 3"]
) -> Bool[Array, "*batch"]:
    """Whether the handle's tip is within 5 cm of the goal."""
    return distance(object=object, goal=goal) <= _SUCCESS


def reward(
    *,
    finger: Float[Array, "*batch 3"],
    object: Float[Array, "*batch 3"],
    goal: Float[Array, "*batch 3"],
    start_distance: Float[Array, "*batch"],
) -> dict[str, Float[Array, "*batch"]]:
    """The terms of the reward: stay at the handle's tip, and turn it to the goal.

    `finger` is the point between the fingertips, all points are in m; `start_distance` (m) is the
    distance from the goal to the faucet.

    `reach` is minus the distance from finger to tip. `turn` is paid while that is below 5 cm: 1000
    per metre that the tip is closer to the goal than `start_distance`, and up to 2000 for being
    there.
    """
    reach = jnp.linalg.norm(finger - object, axis=-1)
    left = distance(object=object, goal=goal)
    there = jnp.exp(-(left**2) / 0.01) + jnp.exp(-(left**2) / 0.001)
    turn = 1000 * jnp.maximum(0, start_distance - left + there)
    return {"reach": -reach, "turn": jnp.where(reach < _REACHED, turn, 0)}


class Faucet(GrippingSawyer):
    """Sawyer turns the handle of a faucet by a quarter.

    An episode starts with the hand at (0, .6, .2), the gripper open, the faucet uniform in
    [-.05, .05] x [.8, .85] and the goal where a quarter turn brings the handle's tip (all m). The
    object is that tip. Action, observation and robot state are those of `GrippingSawyer`. After the
    robot's coordinates, `qpos` holds the handle's angle (rad, 0 at the start, pi/2 at the goal).
    The faucet stands on a mocap body. A control step is 0.0125 s.
    """

    def __init__(self, *, action_scale: float = 0.01, **options: Any):
        super().__init__(scene="assets/faucet.xml", action_scale=action_scale, **options)
        self._faucet = self.mj_model.body("faucet").mocapid.item()

    def place(self, data: Data, key: PRNGKeyArray) -> Data:
        place = jax.random.uniform(
            key, (2,), minval=jnp.array(_FAUCET_LOW), maxval=jnp.array(_FAUCET_HIGH)
        )
        faucet = jnp.append(place, _HEIGHT)
        mocap = data.mocap_pos.at[self._faucet].set(faucet)
        return data.replace(mocap_pos=mocap.at[self._goal].set(faucet + jnp.array(_GOAL)))

    def remember(self, points: dict[str, Any]) -> dict[str, Array]:
        del points
        return {"start_distance": jnp.linalg.norm(jnp.array(_GOAL))}

    def reward(self, points: dict[str, Any]) -> dict[str, Float[Array, "*batch"]]:
        return reward(**points)

    def outcome(self, points: dict[str, Any]) -> tuple[Bool[Array, ""], Float[Array, ""]]:
        places = {"object": points["object"], "goal": points["goal"]}
        return success(**places), distance(**places)


NOISE = 0.3


def scripted(state: State) -> Float[Array, "*batch 4"]:
    """A demonstrator: come down behind the handle near its tip and push along its circle.

    Needs nothing but `state.obs` (*batch, 9); turns every handle home within 150 steps.
    """
    hand, tip, goal = jnp.split(cast(Array, state.obs), 3, axis=-1)
    pivot = goal - jnp.array(_GOAL)
    x, y = _unit((tip - pivot)[..., :2])
    c, s = _unit(jnp.array([0.1, 0.015]))
    outward = jnp.concatenate([c * x - s * y, s * x + c * y], axis=-1)
    forward = jnp.concatenate([-outward[..., 1:], outward[..., :1]], axis=-1)
    fingers = hand[..., :2] + jnp.array([0, 0.005])
    radius = _dot(fingers - pivot[..., :2], outward)
    lead = _dot(fingers - pivot[..., :2], forward)
    height = hand[..., 2:]

    behind = pivot[..., :2] + 0.09 * outward - 0.04 * forward - fingers
    pushing = (lead > -0.06) & (lead < -0.005) & (jnp.abs(radius - 0.09) < 0.03) & (height < 0.15)
    onward = jnp.where(outward[..., :1] < 0.976, 1, 0) * forward
    push = onward + jnp.clip(30 * (0.09 - radius), -1, 1) * outward
    floor = jnp.where(jnp.linalg.norm(behind, axis=-1, keepdims=True) < 0.03, 0.13, 0.2)
    move = jnp.where(pushing, push, 50 * behind)
    climb = jnp.where(pushing, 0, 50 * (floor - height))
    return jnp.concatenate([move, climb, jnp.ones_like(climb)], axis=-1)


def _unit(vector: Float[Array, "*batch 2"]) -> tuple[Array, Array]:
    unit = vector / jnp.linalg.norm(vector, axis=-1, keepdims=True)
    return unit[..., :1], unit[..., 1:]


def _dot(a: Float[Array, "*batch 2"], b: Float[Array, "*batch 2"]) -> Float[Array, "*batch 1"]:
    return jnp.sum(a * b, axis=-1, keepdims=True)


make = Faucet
