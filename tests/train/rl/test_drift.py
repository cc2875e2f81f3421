"""What a policy that earns nothing learns all the same: nothing, or little."""

import jax
import jax.numpy as jnp
import pytest
from probes import RewardFromBoth

from configs import PPO, TrainConfig
from ndp_jax.distributions import kl
from train.rl.agent import hyperparameters, make_inference_fn, make_policy, observe
from train.rl.ppo import make_learner

POLICIES = ("ndp", "ppo-multi", "ppo")


class Pays(RewardFromBoth):
    """Any number is observed, and the best action is half of it."""

    length = 10
    terminates = False

    def draw(self, key):
        return jax.random.normal(key, ())


class NeverPays(Pays):
    def reward(self, drawn, step, action):
        return jnp.zeros(())


def configured(policy, explore="actions", **changes):
    ppo = PPO(minibatches=8, **changes)
    extent = {"rollout_steps": 10, "steps": 64_000}
    return TrainConfig(task="probe", policy=policy, explore=explore, ppo=ppo, **extent)


def after(env, config, state, *, updates):
    """The state after so many updates in an environment, and their metrics."""
    return jax.lax.scan(lambda s, _: make_learner(env, config).update(s), state, length=updates)


@pytest.mark.parametrize(
    ("policy", "explore"),
    [*((policy, "actions") for policy in POLICIES), ("ndp", "trajectory")],
)
def test_nothing_is_learned_before_the_first_reward(policy, explore):
    """A critic that starts with promises of its own moves policies by .005 to .04 nats here."""
    env, config = NeverPays(), configured(policy, explore)
    hyper = hyperparameters(config)

    @jax.jit
    def run(key):
        start = make_learner(env, config).init(key, hyper)
        end, _ = after(env, config, start, updates=10)
        inputs = observe(env, end.episodes.state)
        old, new = (
            make_inference_fn(make_policy(env, config, hyper), state.params, end.obs_stats)(inputs)
            for state in (start, end)
        )
        moved = kl(old.decision, old.log_std, new.decision, new.log_std)
        return moved, new.log_std - old.log_std

    moved, widened = run(jax.random.key(0))
    assert jnp.max(moved) < 1e-6
    assert jnp.all(widened == 0)


@pytest.mark.parametrize("policy", POLICIES)
def test_less_is_learned_from_what_the_critic_expects_in_vain(policy):
    """Once rewards are lost, its errors count as much as rewards if only their order matters."""

    @jax.jit
    def run(key, hyper):
        config = configured(policy)
        start = make_learner(Pays(), config).init(key, hyper)
        paid, _ = after(Pays(), config, start, updates=5)
        return jnp.mean(after(NeverPays(), config, paid, updates=20)[1]["kl"][5:])

    ours, unbounded = (
        run(jax.random.key(0), hyperparameters(configured(policy, **changes)))
        for changes in ({}, {"min_advantage_std": 0.0})
    )
    assert ours < 0.75 * unbounded
