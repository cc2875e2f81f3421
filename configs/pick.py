"""Pick the cube up with the Jaco arm."""

from configs.base import Primitive, TrainConfig

# Five steps a chunk and .05 rad a unit action: an output of 1 asks for actions of about 1.
PRESET = TrainConfig(
    task="pick",
    episode_length=55,
    rollout_steps=55,
    primitive=Primitive(alpha=10.0, goal_scale=0.25),
)
