"""Five tiny environments whose values and best policies are known exactly."""

import jax
import jax.numpy as jnp
from brax.envs.base import Env, State

from configs import PPO, Network, TrainConfig

CONFIG = TrainConfig(
    task="probe",
    num_envs=8,
    rollout_steps=5,
    steps=400,
    network=Network(hidden=(16,)),
    ppo=PPO(minibatches=2, epochs=1),
)


class Probe(Env):
    """One number observed, one action, `length` steps; terminates at the end if `terminates`."""

    length = 5
    terminates = True
    dt = 0.1
    action_scale = 1.0
    action_limit = 1.0
    ends_early = False
    action_size = 1
    observation_size = 1
    backend = "none"

    @property
    def episode_length(self):
        return self.length

    def draw(self, key):
        """What the episode's observation starts from."""
        return jnp.zeros(())

    def observe(self, drawn, step):
        return drawn

    def reward(self, drawn, step, action):
        raise NotImplementedError

    def reset(self, rng):
        drawn = self.draw(rng)
        zero = jnp.zeros(())
        return State(
            pipeline_state=None,
            obs=self.observe(drawn, zero)[None],
            reward=zero,
            done=zero,
            metrics={"success": zero, "distance": zero, "nan": zero},
            info={"drawn": drawn, "step": zero},
        )

    def step(self, state, action):
        drawn, step = state.info["drawn"], state.info["step"]
        after = step + 1
        return state.replace(
            obs=self.observe(drawn, after)[None],
            reward=self.reward(drawn, step, action[0]),
            done=jnp.where(self.terminates & (after >= self.length), 1.0, 0.0),
            info={"drawn": drawn, "step": after},
        )

    def robot_state(self, state):
        return jnp.zeros(1), jnp.zeros(1)


class ConstantReward(Probe):
    """Reward 1 for ever: every value is 1 / (1 - gamma), if the time limit is bootstrapped.

    Numbers that mean nothing are observed, because a critic that starts at zero learns no faster
    than its bias where it sees nothing.
    """

    terminates = False

    def draw(self, key):
        return jax.random.rademacher(key, (), jnp.float32)

    def reward(self, drawn, step, action):
        return jnp.ones(())


class RewardFromObservation(Probe):
    """Reward is the observation, -1 or 1: head i is worth o (1 - gamma^(5-i)) / (1 - gamma)."""

    def draw(self, key):
        return jax.random.rademacher(key, (), jnp.float32)

    def reward(self, drawn, step, action):
        return drawn


class DelayedReward(Probe):
    """Reward 1 in the last of ten steps: step t is worth gamma^(9-t)."""

    length = 10

    def observe(self, drawn, step):
        return step / self.length

    def reward(self, drawn, step, action):
        return jnp.where(step == self.length - 1, 1.0, 0.0)


class RewardFromAction(Probe):
    """The best action is 0.5."""

    def reward(self, drawn, step, action):
        return -jnp.square(action - 0.5)


class RewardFromBoth(Probe):
    """The best action is half the observation, -0.5 or 0.5."""

    def draw(self, key):
        return jax.random.rademacher(key, (), jnp.float32)

    def reward(self, drawn, step, action):
        return -jnp.square(action - 0.5 * drawn)
