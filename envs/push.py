"""Push: slide a puck over the table to a goal."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from mujoco import mjx

from envs.sawyer import Sawyer

_OBJECT_LOW, _OBJECT_HIGH = (-0.1, 0.6), (0.1, 0.7)
_GOAL_LOW, _GOAL_HIGH = (-0.1, 0.8), (0.1, 0.9)
_MIN_SEPARATION = 0.15


def distance(
    *, object: Float[Array, "*batch 3"], goal: Float[Array, "*batch 3"]
) -> Float[Array, "*batch"]:
    """Horizontal distance of the object from the goal, m."""
    return jnp.linalg.norm((object - goal)[..., :2], axis=-1)


def success(
    *, object: Float[Array, "*batch 3"], goal: Float[Array, "*batch 3"]
) -> Bool[Array, "*batch"]:
    """Whether the object lies within 7 cm of the goal."""
    return distance(object=object, goal=goal) <= 0.07


def reward(
    *,
    finger: Float[Array, "*batch 3"],
    object: Float[Array, "*batch 3"],
    goal: Float[Array, "*batch 3"],
    start_distance: Float[Array, "*batch"],
) -> dict[str, Float[Array, "*batch"]]:
    """Terms of the reward: touch the object, then bring it to the goal.

    Positions in m. `start_distance` is the horizontal object-goal distance (m) the episode began
    with. `reach` is minus the distance from the fingertips to the object; `push` is paid while that
    distance is below 5 cm: 1000 per metre of progress and up to 2000 for being at the goal.
    """
    reach = jnp.linalg.norm(finger - object, axis=-1)
    left = distance(object=object, goal=goal)
    progress = start_distance - left
    closeness = jnp.exp(-(left**2) / 0.01) + jnp.exp(-(left**2) / 0.001)
    push = jnp.maximum(0.0, 1000 * (progress + closeness))
    return {"reach": -reach, "push": jnp.where(reach < 0.05, push, 0.0)}


class Push(Sawyer):
    """Sawyer pushes a puck (radius 3 cm, 0.75 kg) to a goal on the table.

    An episode starts with the hand at (0, 0.6, 0.2), the puck uniform in [-.1, .1] x [.6, .7] and
    the goal uniform in [-.1, .1] x [.8, .9], drawn again while closer than 15 cm. Action and
    observation are those of `Sawyer`; see `reward` and `success` for the rest.
    """

    def __init__(self, *, episode_length: int = 150, action_scale: float = 0.01):
        super().__init__(
            scene="push.xml",
            substeps=5,
            episode_length=episode_length,
            action_scale=action_scale,
        )

    def _place(self, data: mjx.Data, key: PRNGKeyArray) -> mjx.Data:
        puck, goal = _draw_start(key)
        height = data.qpos[9]
        return data.replace(
            qpos=data.qpos.at[7:9].set(puck),
            mocap_pos=data.mocap_pos.at[self._goal].set(jnp.append(goal, height)),
        )

    def _begin(self, data: mjx.Data) -> dict[str, Array]:
        return {"start_distance": distance(**self._object_and_goal(data))}

    def _judge(
        self, data: mjx.Data, memory: dict[str, Array]
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        places = self._object_and_goal(data)
        terms = reward(
            finger=data.site_xpos[self._finger],
            start_distance=memory["start_distance"],
            **places,
        )
        metrics = {
            "success": success(**places).astype(jnp.float32),
            "distance": distance(**places),
        }
        return terms, metrics

    def _object_and_goal(self, data: mjx.Data) -> dict[str, Float[Array, "3"]]:
        return {"object": data.xpos[self._object], "goal": data.mocap_pos[self._goal]}


def _draw_start(key: PRNGKeyArray) -> tuple[Float[Array, "2"], Float[Array, "2"]]:
    def draw(carry):
        key, *_ = carry
        key, puck_key, goal_key = jax.random.split(key, 3)
        puck = jax.random.uniform(
            puck_key, (2,), minval=jnp.array(_OBJECT_LOW), maxval=jnp.array(_OBJECT_HIGH)
        )
        goal = jax.random.uniform(
            goal_key, (2,), minval=jnp.array(_GOAL_LOW), maxval=jnp.array(_GOAL_HIGH)
        )
        return key, puck, goal

    def too_close(carry):
        _, puck, goal = carry
        return jnp.linalg.norm(puck - goal) < _MIN_SEPARATION

    _, puck, goal = jax.lax.while_loop(too_close, draw, draw((key,)))
    return puck, goal


make = Push
