"""A policy of one's own: instead of a primitive a cubic that goes on from the robot's motion.

ndp train push --policy examples.spline:spline
ndp export runs/push-spline-seed0
ndp sweep push --over.policy ndp examples.spline:spline --seeds 3
"""

from math import comb

import flax.linen as nn
import jax.numpy as jnp

from configs import Head

OUTPUT_INIT = nn.initializers.orthogonal(0.01)  # the first movements are small


class Spline(nn.Module):
    """T actions along a cubic whose first two control points the robot's motion gives.

    The last two are the network's, in actions; what moves no joint, a gripper, it says directly.
    """

    chunk: int
    action_size: int
    actions_per_speed: float

    def __call__(self, features, position, velocity):
        return self.actions(self.parameters(features, position), position, velocity)

    @nn.compact
    def parameters(self, features, position):
        dims = position.shape[-1]
        parameters = nn.Dense(2 * dims, kernel_init=OUTPUT_INIT, name="points")(features)
        if rest := self.chunk * (self.action_size - dims):
            direct = nn.Dense(rest, kernel_init=OUTPUT_INIT, name="direct")(features)
            parameters = jnp.concatenate([parameters, direct], axis=-1)
        return parameters

    def actions(self, parameters, position, velocity):
        batch, dims = position.shape[:-1], position.shape[-1]
        points = parameters[..., : 2 * dims].reshape(*batch, 2, dims)
        direct = parameters[..., 2 * dims :].reshape(*batch, self.chunk, self.action_size - dims)
        first = jnp.stack(
            [jnp.zeros_like(velocity), velocity * self.actions_per_speed / 3], axis=-2
        )
        time = jnp.linspace(0, 1, self.chunk + 1)[:, None]
        basis = [comb(3, k) * time**k * (1 - time) ** (3 - k) for k in range(4)]
        curve = jnp.hstack(basis) @ jnp.concatenate([first, points], axis=-2)
        return jnp.concatenate([self.chunk * jnp.diff(curve, axis=-2), direct], axis=-1)

    def velocity_size(self, params):
        """Of the robot's: an exported policy asks for it."""
        return params["points"]["bias"].size // 2


def make(env, config):
    per_speed = env.dt / env.action_scale
    return Spline(config.steps_per_query, env.action_size, actions_per_speed=per_speed)


spline = Head(make, settings=("chunk", "explore"), color="#cc79a7")
