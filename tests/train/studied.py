"""A small study over probes, also in a process of its own: python studied.py study ..."""

import sys

from train import cli
from train.system import runtime

if __name__ == "__main__":
    runtime.prepare()

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


def main() -> int:
    from train.sweeps import train as sweeps

    sweeps.make_env = lambda config: Succeeds()
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
