"""A task of one's own: the arm of reach.xml, beside this file, brings its tip to a ball in the air.

ndp train examples.my_task:Reach        # a minute on 2 CPU cores, ends with a video
ndp render examples.my_task:Reach       # what `scripted` does
ndp demos examples.my_task:Reach        # demonstrations of it ...
ndp imitate examples.my_task:Reach      # ... and a policy that does what they do
"""

import jax
import jax.numpy as jnp

from configs import Primitive, TrainConfig
from envs import MjcfEnv

LOW, HIGH = (0.35, -0.25, 0.2), (0.6, 0.25, 0.6)  # m


class Reach(MjcfEnv):
    """The ball is anywhere in a box in front of the robot; in the end the tip is within 5 cm of it.

    Observation (20,): positions and velocities of seven joints, the tip, and from there to the
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


# Five steps a chunk and .05 rad a unit action: an output of 1 asks for actions of about 1.
PRESET = TrainConfig(
    task="examples.my_task:Reach",
    steps=200_000,
    episode_length=50,
    rollout_steps=50,
    primitive=Primitive(goal_scale=0.25),
)


def scripted(state):
    """A demonstrator: the joints' smallest motion that moves the tip straight to the ball."""
    data, tip, to_ball = state.pipeline_state, state.obs[..., 14:17], state.obs[..., 17:]
    jacobian = jnp.cross(data.xaxis, tip[..., None, :] - data.xanchor)  # (..., 7, 3)
    square = jnp.einsum("...ji,...jk->...ik", jacobian, jacobian) + 0.01 * jnp.eye(3)
    return (jacobian @ jnp.linalg.solve(square, to_ball[..., None]))[..., 0] / 0.05


NOISE = 0.5  # standard deviation of that on the demonstrator's actions
