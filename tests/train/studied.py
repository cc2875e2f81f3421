"""A small study over probes, as `ndp study` understands it."""

import jax.numpy as jnp
import probes

SMALL = (
    *("--over.num-envs", "8", "--over.rollout-steps", "5", "--over.episode-length", "5"),
    *("--over.minibatches", "2", "--over.epochs", "1", "--over.hidden", "16"),
    *("--steps", "320", "--seeds", "2"),
)


class Succeeds(probes.RewardFromBoth):
    """Success is an action that is nearly the best."""

    def step(self, state, action):
        after = super().step(state, action)
        near = jnp.where(after.reward > -0.3, 1.0, 0.0)
        return after.replace(metrics=after.metrics | {"success": near})
