"""Push without physics, which compiles in no time: for tests of what comes around a task."""

from typing import NamedTuple

import jax.numpy as jnp
import mujoco
from brax.envs.base import State
from jax import Array

from envs import push, tabletop

HAND = (0.0, 0.6, 0.2)
REACH, LOW = 0.03, 0.07
"""How near, and how far above the table, the hand shoves the puck, m."""


class Bodies(NamedTuple):
    """What a picture is made of, and how fast the hand was, m/s."""

    qpos: Array
    mocap_pos: Array
    mocap_quat: Array
    velocity: Array


class Sketch(push.Push):
    """The hand is where it is told to be; low above the table it shoves the puck along.

    Everything that a task promises is as in `Push`: sizes, units, observation, rewards, success,
    starts, and what becomes of an action that is not finite. The picture's arm stays at home.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self._still = mujoco.MjData(self.mj_model)

    def reset(self, rng):
        puck, goal = (jnp.append(place, 0.015) for place in tabletop.draw_start(rng))
        zero, hand = jnp.zeros(()), jnp.array(HAND)
        start_distance = push.distance(object=puck, goal=goal)
        bodies = self._bodies(hand, puck, goal, jnp.zeros(3))
        metrics = {"success": zero, "distance": start_distance, "nan": zero}
        info = {"start_distance": start_distance}
        return State(bodies, jnp.concatenate([hand, puck, goal]), zero, zero, metrics, info)

    def step(self, state, action):
        sound = jnp.all(jnp.isfinite(action))
        before, puck, goal = jnp.split(state.obs, 3)
        moved = self.action_scale * jnp.clip(jnp.where(sound, action, 0), -1, 1)
        hand = jnp.maximum(before + moved, jnp.array([-1, 0, 0.05]))
        away, along = (puck - hand)[:2], jnp.linalg.norm((puck - hand)[:2])
        touched = (along < REACH) & (hand[2] < LOW)
        shoved = hand[:2] + REACH * away / jnp.maximum(along, 1e-6)
        puck = puck.at[:2].set(jnp.where(touched, shoved, puck[:2]))
        terms = push.reward(finger=hand, object=puck, goal=goal, **state.info)
        nan = 1 - sound.astype(float)
        return state.replace(
            pipeline_state=self._bodies(hand, puck, goal, (hand - before) / self.dt),
            obs=jnp.concatenate([hand, puck, goal]),
            reward=sound * (terms["reach"] + terms["push"]),
            done=nan,
            metrics={
                "success": push.success(object=puck, goal=goal).astype(float),
                "distance": push.distance(object=puck, goal=goal),
                "nan": nan,
            },
        )

    def robot_state(self, state):
        return state.obs[:3], state.pipeline_state.velocity

    def _bodies(self, hand, puck, goal, velocity):
        hand_id, goal_id = (self.mj_model.body(name).mocapid.item() for name in ("mocap", "goal"))
        return Bodies(
            qpos=jnp.asarray(self._still.qpos).at[-7:-4].set(puck),
            mocap_pos=jnp.zeros((2, 3)).at[hand_id].set(hand).at[goal_id].set(goal),
            mocap_quat=jnp.asarray(self._still.mocap_quat),
            velocity=velocity,
        )
