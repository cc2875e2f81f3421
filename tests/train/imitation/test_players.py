"""Whoever plays an episode that breaks, it ends the same way."""

from contextlib import nullcontext
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from brax.envs.base import State

from envs.base import MjxEnv
from ndp_jax.policies import PolicyOutput
from train.imitation import closed_loop, demonstrations
from train.rl import controllers, evaluate, pictures, rollout
from train.rl.agent import hyperparameters
from train.rl.ppo import make_learner

LAST_SOUND = 3
CONFIG = replace(probes.CONFIG, policy="ppo", num_envs=8)


@MjxEnv.register  # for the players' annotations; it has no scene
class Breaking(probes.ConstantReward):
    """Pays 1 a step; a drawn half of the episodes has a value that is not finite after step 3."""

    length = 10

    def __init__(self, where):
        self.where = where

    def draw(self, key):
        return jax.random.rademacher(key, (), jnp.float32)

    def reset(self, rng):
        state = super().reset(rng)
        return state.replace(metrics=state.metrics | {"success": jnp.ones(())})

    def step(self, state: State, action):
        state = super().step(state, action)
        breaks = (state.info["drawn"] > 0) & (state.info["step"] == LAST_SOUND + 1)
        bad = jnp.where(breaks, jnp.nan, 0.0)
        if self.where == "metrics":
            return state.replace(metrics=state.metrics | {"nan": breaks.astype(float)})
        return state.replace(**{self.where: getattr(state, self.where) + bad})


def policy(env, key):
    state = make_learner(env, CONFIG).init(jax.random.key(0), hyperparameters(CONFIG))
    return evaluate.make_player(env, CONFIG)(state, key, episodes=8)


def exploring_policy(env, key):
    state = make_learner(env, CONFIG).init(jax.random.key(0), hyperparameters(CONFIG))
    return evaluate.make_player(env, CONFIG)(state, key, episodes=8, stochastic=True)


def clone_of_pictures(env, key):
    """A probe has no scene to take pictures of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "camera", lambda env: nullcontext())
        patch.setattr(pictures, "take", lambda camera, poses: np.zeros((8, 84, 84, 3), np.uint8))
        return clone(env, key, camera=True)


def clone(env, key, *, camera=False):
    def answer(learned, inputs):
        mean = jnp.zeros((len(inputs.position), 5, 1))
        value = jnp.zeros(mean.shape[:2])
        return PolicyOutput(mean=mean, decision=mean, log_std=jnp.zeros(1), value=value)

    play = closed_loop.make_player(env, answer, num_envs=8, chunk=5, camera=camera)
    return play({}, key, episodes=8)


def controller(env, key):
    act = controllers.make_controller("random", "probe", env)
    return evaluate.in_batches(
        lambda key: evaluate.play(env, act, key, num_envs=8, chunk=1)[0],
        key,
        episodes=8,
        num_envs=8,
    )


@pytest.mark.parametrize("where", ["metrics", "reward", "obs"])
@pytest.mark.parametrize("player", [policy, exploring_policy, clone, clone_of_pictures, controller])
def test_players_agree_on_an_episode_that_breaks(player, where):
    env, key = Breaking(where), jax.random.key(1)
    drawn = episodes(env, key).state.info["drawn"] > 0
    outcome = player(env, key)
    assert 0 < drawn.sum() < 8
    np.testing.assert_array_equal(outcome.broken, drawn)
    np.testing.assert_array_equal(outcome.success, ~drawn)
    np.testing.assert_array_equal(outcome.returns, np.where(drawn, LAST_SOUND, env.length))


@pytest.mark.parametrize("where", ["metrics", "reward", "obs"])
def test_no_demonstration_breaks(where, monkeypatch):
    monkeypatch.setattr(demonstrations, "BATCH", 8)
    env, key = Breaking(where), jax.random.key(1)
    drawn = jax.vmap(env.draw)(jax.random.split(jax.random.split(key)[0], 8)) > 0
    act = controllers.make_controller("random", "probe", env)
    played = demonstrations.make_batch(env, act)(key, 0.1)
    np.testing.assert_array_equal(played.success, ~drawn)


def episodes(env, key):
    """Where the first batch of a player's key starts."""
    first = evaluate.batch_keys(key, episodes=8, num_envs=8)[0]
    return rollout.reset(env, jax.random.split(first)[0], 8)
