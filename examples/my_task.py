"""A task of one's own: the arm of reach.xml, which is beside this file, reaches a ball in the air.

    cd examples
    ndp train my_task:Reach         # two minutes on 2 CPU cores; ends with a video
    ndp render my_task:Reach        # what `scripted` does
    ndp demos my_task:Reach         # its demonstrations, and a policy that learns from them:
    ndp imitate my_task:Reach
"""

import jax
import jax.numpy as jnp

from configs import Primitive, TrainConfig
from envs import MjcfEnv

LOW, HIGH = (0.35, -0.25, 0.2), (0.6, 0.25, 0.6)  # m


class Reach(MjcfEnv):
    """The ball is anywhere in a box in front of the robot; its tip is to get within 5 cm.

    Observation (20,): positions and velocities of the seven joints, the tip, and from there to the
    ball.
    """

    def __init__(self, **options):
        super().__init__(scene="reach.xml", keyframe="home", **options)

    def place(self, data, key):
        low, high = jnp.array(LOW), jnp.array(HIGH)
        return self.put(data, "target", jax.random.uniform(key, (3,), minval=low, maxval=high))

    def reward(self, points):
        distance = jnp.linalg.norm(points["tip"] - points["target"])
        return {"reach": -distance, "there": jnp.exp(-((distance / 0.1) ** 2))}

    def outcome(self, points):
        distance = jnp.linalg.norm(points["tip"] - points["target"])
        return distance < 0.05, distance


PRESET = TrainConfig(
    task="my_task:Reach",
    steps=400_000,
    episode_length=50,
    rollout_steps=50,
    primitive=Primitive(goal_scale=0.25),
)
