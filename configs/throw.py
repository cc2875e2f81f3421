"""Throw the cube into the tray with the Jaco arm."""

from configs.base import Primitive, TrainConfig

# Five steps a chunk and .05 rad a unit action: an output of 1 asks for actions of about 1.
PRESET = TrainConfig(
    task="throw",
    episode_length=55,
    rollout_steps=55,
    primitive=Primitive(n_basis=5, alpha=5.0, goal_scale=0.25),
)
