"""Five tiny environments whose values and best policies are known: the learner finds both."""

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest

from configs import PPO, Network, Primitive, TrainConfig
from train.rl.agent import hyperparameters, make_inference_fn, make_policy, observe
from train.rl.ppo import make_learner

GAMMA = 0.9
UPDATES = 60


def learned(env, policy):
    """Values (unscaled) and action means at 16 resets after training."""
    config = TrainConfig(
        task="probe",
        policy=policy,
        num_envs=64,
        rollout_steps=env.length,
        steps=64 * env.length * UPDATES,
        network=Network(hidden=(16,)),
        primitive=Primitive(goal_scale=5.0, weight_scale=5.0),
        ppo=PPO(learning_rate=1e-2, gamma=GAMMA, minibatches=4, epochs=4),
    )
    learner, hyper = make_learner(env, config), hyperparameters(config)

    @jax.jit
    def run():
        state = learner.init(jax.random.key(0), hyper)
        state, _ = jax.lax.scan(lambda s, _: learner.update(s), state, length=UPDATES)
        inference_fn = make_inference_fn(
            make_policy(env, config, hyper), state.params, state.obs_stats
        )
        resets = jax.vmap(env.reset)(jax.random.split(jax.random.key(1), 16))
        output = inference_fn(observe(env, resets))
        return output, jnp.sqrt(state.reward.stats.variance), resets.obs

    output, scale, observation = run()
    return np.asarray(output.value * scale), np.asarray(output.mean[..., 0]), observation


def test_constant_reward_is_bootstrapped_at_the_time_limit():
    value, _, _ = learned(probes.ConstantReward(), "ndp")
    np.testing.assert_allclose(value, 1 / (1 - GAMMA), rtol=0.03)


def test_each_head_values_its_own_step():
    value, _, observation = learned(probes.RewardFromObservation(), "ndp")
    left = 5 - np.arange(5)
    np.testing.assert_allclose(
        value, observation * (1 - GAMMA**left) / (1 - GAMMA), rtol=0.05, atol=0.05
    )


def test_delayed_reward_is_discounted():
    value, _, _ = learned(probes.DelayedReward(), "ppo-multi")
    np.testing.assert_allclose(value, np.tile(GAMMA ** (9.0 - np.arange(5)), (16, 1)), rtol=0.05)


@pytest.mark.parametrize(
    "policy",
    ["ndp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ppo-multi", "ppo"))],
)
def test_the_best_action_is_found(policy):
    _, action, _ = learned(probes.RewardFromAction(), policy)
    np.testing.assert_allclose(action, 0.5, atol=0.1)


@pytest.mark.parametrize(
    "policy",
    ["ndp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ppo-multi", "ppo"))],
)
def test_the_best_action_for_each_observation_is_found(policy):
    _, action, observation = learned(probes.RewardFromBoth(), policy)
    np.testing.assert_allclose(action, np.broadcast_to(0.5 * observation, action.shape), atol=0.1)
