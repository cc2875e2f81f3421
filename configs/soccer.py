"""Push the ball into the goal with the Sawyer arm."""

from configs.base import Primitive, TrainConfig

# Five steps a chunk and .02 m a unit action: an output of 1 asks for actions of about 1.
PRESET = TrainConfig(task="soccer", primitive=Primitive(alpha=15.0, goal_scale=0.1))
