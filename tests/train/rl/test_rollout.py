"""Episodes that end early: where they start anew, and what the learner makes of their ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import Probe

from configs import PPO, Network, TrainConfig
from ndp_jax import normalize
from train.rl import rollout
from train.rl.agent import hyperparameters
from train.rl.ppo import make_learner

T, GAMMA, LAMBDA = 5, 0.5, 0.25
VALUES = np.array([0.5, -1.0, 2.0, 0.25, 1.0])
"""What the heads say of every state."""


class Ending(Probe):
    """Observes its draw and its time, pays 1, 2, 3, ...; ends as it is told."""

    observation_size = 2
    length = 10
    ends_early = True

    def __init__(self, *, terminates_after=99, cuts_after=99, length=10, breaks_after=99):
        self.terminates_after, self.cuts_after = terminates_after, cuts_after
        self.length, self.breaks_after = length, breaks_after

    def draw(self, key):
        return jax.random.uniform(key)

    def told(self, state):
        drawn, step = state.info["drawn"], state.info["step"]
        cut = (step >= self.cuts_after).astype(float)
        done = jnp.maximum(cut, (step >= self.terminates_after).astype(float))
        reward = jnp.where(step > self.breaks_after, jnp.nan, step)
        return state.replace(
            obs=jnp.stack([drawn, step]),
            reward=reward,
            done=done,
            info=state.info | {"truncation": cut},
        )

    def reset(self, rng):
        return self.told(super().reset(rng))

    def reward(self, drawn, step, action):
        return step

    def step(self, state, action):
        return self.told(super().step(state, action))


def play(env, *, queries=2, num_envs=3, restarts=True):
    """Two queries of T steps: transitions, all observations, and the last of each query."""

    def act(key, state):
        return jnp.zeros((num_envs, T, 1)), state.obs

    keys = jax.random.split(jax.random.key(1), queries)
    return jax.jit(
        lambda: rollout.collect(
            env,
            act,
            rollout.reset(env, jax.random.key(0), num_envs),
            keys,
            restarts=keys if restarts else None,
            record=lambda state: state.obs,
            conclude=lambda episodes: episodes.state.obs,
        )
    )()


ENDS = [
    ({"terminates_after": 3}, "terminated"),
    ({"cuts_after": 3}, "truncated"),
    ({"length": 3}, "truncated"),
]


@pytest.mark.parametrize(("told", "kind"), ENDS)
def test_an_episode_that_ends_in_a_chunk_starts_anew_at_the_next_query(told, kind):
    _, done, seen = play(Ending(**told))
    valid = np.tile([True, True, True, False, False], (2, 3, 1))
    np.testing.assert_array_equal(done.valid, valid)
    expected = np.tile([False, False, True, False, False], (2, 3, 1))
    other = "truncated" if kind == "terminated" else "terminated"
    np.testing.assert_array_equal(getattr(done, kind), expected)
    assert not np.any(getattr(done, other))
    np.testing.assert_array_equal(done.reward, np.tile([1, 2, 3, 0, 0], (2, 3, 1)))
    # Asked where it starts, it waits where it ended, and each start is a draw of its own.
    np.testing.assert_array_equal(done.extras[..., 1], 0)
    np.testing.assert_array_equal(done.ends[..., 1], 3)
    np.testing.assert_array_equal(seen[..., 1].reshape(2, T, 3)[:, 2:], 3)
    assert len(np.unique(done.extras[..., 0])) == 6
    np.testing.assert_array_equal(done.ends[..., 0], done.extras[..., 0])


def test_without_restarts_it_waits_to_the_end():
    final, done, _ = play(Ending(terminates_after=3), restarts=False)
    assert done.valid.sum() == 9 and not final.alive.any()
    np.testing.assert_array_equal(final.returns, 6)
    np.testing.assert_array_equal(done.ends[..., 1], 3)


def test_an_episode_that_goes_on_spans_queries():
    _, done, _ = play(Ending(terminates_after=7))
    np.testing.assert_array_equal(done.extras[..., 1], [[0] * 3, [5] * 3])
    np.testing.assert_array_equal(done.valid.sum(axis=-1), [[5] * 3, [2] * 3])


def test_a_broken_episode_starts_anew_and_its_last_step_does_not_count():
    _, done, _ = play(Ending(breaks_after=3))
    np.testing.assert_array_equal(done.valid, np.tile([True] * 3 + [False] * 2, (2, 3, 1)))
    assert not np.any(done.terminated | done.truncated)
    np.testing.assert_array_equal(done.ends[..., 1], 3)


def advantages(values, rewards, *, after_last):
    """By the definition, of an episode's steps one after another."""
    following = [*values[1:], after_last]
    errors = [r + GAMMA * w - v for r, v, w in zip(rewards, values, following, strict=True)]
    return [
        sum((GAMMA * LAMBDA) ** (j - i) * errors[j] for j in range(i, len(errors)))
        for i in range(len(errors))
    ]


def started(env, **changes):
    """A learner whose heads say `VALUES` of every state and whose rewards keep their scale."""
    settings = {"num_envs": 4, "rollout_steps": 2 * T, "steps": 400, "chunk": T}
    ppo = PPO(minibatches=2, epochs=1, gamma=GAMMA, gae_lambda=LAMBDA)
    config = TrainConfig(
        task="probe", network=Network(hidden=(8,)), ppo=ppo, **(settings | changes)
    )
    learner, hyper = make_learner(env, config), hyperparameters(config)
    state = learner.init(jax.random.key(0), hyper)
    params = state.params["params"]
    heads = VALUES[: params["value"]["bias"].size]
    value = {"kernel": 0 * params["value"]["kernel"], "bias": jnp.asarray(heads, jnp.float32)}
    params = {"params": params | {"value": value}}
    unit = normalize.init().replace(count=jnp.float32(1e12))
    return learner, state.replace(params=params, reward=state.reward.replace(stats=unit))


@pytest.mark.parametrize(("told", "kind"), ENDS)
@pytest.mark.parametrize("policy", ["ndp", "ppo-multi"])
def test_advantages_of_ends_in_a_chunk_are_those_of_the_definition(told, kind, policy):
    learner, state = started(Ending(**told), policy=policy)
    state, batch = jax.jit(learner.collect)(state)
    after_last = VALUES[0] if kind == "truncated" else 0.0
    expected = advantages(VALUES[:3], [1, 2, 3], after_last=after_last)
    found = (batch.target - batch.value)[:, :3]
    np.testing.assert_allclose(found, np.tile(expected, (8, 1)), rtol=1e-5)
    np.testing.assert_array_equal(batch.mask, np.tile([1, 1, 1, 0, 0], (8, 1)))
    assert state.finished["episodes"] == 8
    assert state.finished["returns"] == 6


@pytest.mark.parametrize("length", [7, 8])
def test_one_decision_for_a_chunk_is_worth_what_its_steps_bring(length):
    """Of an episode that its time limit ends in the second chunk, as one movement each."""
    learner, state = started(Ending(length=length), explore="trajectory")
    _, batch = jax.jit(learner.collect)(state)
    first = sum(GAMMA**i * (i + 1) for i in range(T))
    rest = length - T
    second = sum(GAMMA**i * (T + i + 1) for i in range(rest)) + GAMMA**rest * VALUES[0]
    late = second - VALUES[0]
    early = first + GAMMA**T * (VALUES[0] + LAMBDA**T * late) - VALUES[0]
    found = (batch.target - batch.value).reshape(2, 4)
    np.testing.assert_allclose(found, [[early] * 4, [late] * 4], rtol=1e-5)
    np.testing.assert_array_equal(batch.mask, 1)


def test_each_step_of_a_policy_without_chunks_is_a_query():
    learner, state = started(Ending(terminates_after=3), policy="ppo")
    _, batch = jax.jit(learner.collect)(state)
    seen = batch.inputs.observation[:, 1].reshape(2 * T, 4)
    np.testing.assert_array_equal(seen, np.tile([[0, 1, 2] * 4], (4, 1)).T[: 2 * T])
    np.testing.assert_array_equal(batch.mask, 1)


def test_no_step_after_an_end_enters_a_loss_or_a_statistic():
    """Whatever is paid and answered there."""

    class Haunted(Ending):
        ghost = 0.0

        def told(self, state):
            state = super().told(state)
            past = state.info["step"] > self.terminates_after
            return state.replace(
                obs=state.obs + self.ghost * past, reward=state.reward + self.ghost * past
            )

    class Worse(Haunted):
        ghost = 1e4

    outcomes = []
    for kind in (Haunted, Worse):
        env = kind(terminates_after=3)
        learner, state = started(env)
        state = state.replace(reward=normalize.init_reward_scale((4,)))
        collected, batch = jax.jit(learner.collect)(state)
        dead = 1e3 * (1 - batch.mask)
        poisoned = batch.replace(
            decision=batch.decision + dead[..., None],
            log_prob=batch.log_prob - dead,
            target=batch.target + dead,
        )
        total = [
            learner.loss(state.params, state.obs_stats, each, state.hyper)
            for each in (batch, poisoned)
        ]
        outcomes.append((collected, batch, *total))
    for outcome in outcomes[1:]:
        jax.tree.map(np.testing.assert_array_equal, outcome[1], outcomes[0][1])
        jax.tree.map(np.testing.assert_array_equal, outcome[0].reward, outcomes[0][0].reward)
    collected, _, clean, poisoned = outcomes[0]
    assert collected.reward.stats.count == pytest.approx(4 * 6, rel=1e-4)
    assert float(clean[0]) == pytest.approx(float(poisoned[0]), rel=1e-6)


def test_episodes_that_end_early_are_learned_from():
    learner, state = started(Ending(terminates_after=7))
    update = jax.jit(learner.update)
    for _ in range(3):
        state, metrics = update(state)
        assert metrics["first_ratio_error"] < 1e-5
    assert metrics["episodes"] == 12 and metrics["returns"] == 28
    assert metrics["kl"] > 0 and metrics["skipped_minibatches"] == 0
    assert update._cache_size() == 1
