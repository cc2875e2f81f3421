import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ndp_jax import normalize

REFERENCE = np.load(Path(__file__).parents[1] / "data" / "normalize.npz")
META = json.loads(str(REFERENCE["meta"]))


def recorded(case):
    prefix = case["case"] + "/"
    return {k.removeprefix(prefix): REFERENCE[k] for k in REFERENCE if k.startswith(prefix)}


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize("case", META["rms"], ids=lambda case: case["case"])
def test_observations_as_in_the_release(x64, case):
    expected = recorded(case)
    first, steps = jnp.asarray(expected["obs"][0]), len(expected["obs"])
    stats = normalize.init(first.shape[1:], dtype=np.float64)
    for i in range(steps):
        batch = jnp.asarray(expected["obs"][i])
        stats = normalize.update(stats, batch)
        assert_close(stats.mean, expected["mean"][i])
        assert_close(stats.variance, expected["var"][i])
        assert_close(stats.count, expected["count"][i])
        assert_close(normalize.normalize(stats, batch), expected["normalized"][i])
    assert_close(normalize.normalize(stats, first), expected["normalized_eval_first_batch"])


@pytest.mark.parametrize("case", META["ret"], ids=lambda case: case["case"])
def test_rewards_as_in_the_release(x64, case):
    expected = recorded(case)
    shape = expected["rewards"].shape[1:]
    scale = normalize.init_reward_scale(shape, dtype=np.float64)
    for i, reward in enumerate(expected["rewards"]):
        if expected["reset_before_step"][i]:
            scale = scale.replace(returns=jnp.zeros(shape))
        scale, scaled = normalize.scale_reward(
            scale,
            jnp.asarray(reward),
            jnp.asarray(expected["news"][i]),
            discount=case["gamma"],
        )
        assert_close(scaled, expected["normalized_rewards"][i])
        assert_close(scale.returns, expected["ret_after"][i])
        assert_close(scale.stats.mean, expected["ret_mean"][i])
        assert_close(scale.stats.variance, expected["ret_var"][i])


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_batches_merge_to_the_statistics_of_all(x64, shape):
    samples = 5 + 2 * np.random.default_rng(0).normal(size=(4, 25, *shape))
    stats = normalize.init(shape, dtype=np.float64)
    for batch in samples:
        stats = normalize.update(stats, jnp.asarray(batch))
    everything = samples.reshape(-1, *shape)
    prior = normalize.PRIOR_COUNT
    np.testing.assert_allclose(stats.mean, everything.mean(axis=0), rtol=2 * prior / 100)
    np.testing.assert_allclose(stats.variance, everything.var(axis=0), rtol=10 * prior / 100)
    assert_close(stats.count, 100 + prior)

    at_once = normalize.update(normalize.init(shape, dtype=np.float64), jnp.asarray(samples))
    assert_close(jax.tree.leaves(at_once)[0], jax.tree.leaves(stats)[0])
    assert_close(at_once.variance, stats.variance)


def test_float32_survives_a_large_mean_and_many_samples():
    stats = normalize.init((1,))
    update = jax.jit(normalize.update)
    keys = jax.random.split(jax.random.key(0), 200)
    for key in keys:
        stats = update(stats, 1000 + jax.random.normal(key, (1000, 1)))
    np.testing.assert_allclose(stats.mean, 1000, rtol=1e-5)
    np.testing.assert_allclose(stats.variance, 1, rtol=0.05)


def test_values_are_clipped():
    stats = normalize.update(normalize.init(), jnp.array([-1.0, 1.0]))
    value = jnp.array([-1e6, 0.5, 1e6])
    np.testing.assert_allclose(normalize.normalize(stats, value), [-10, 0.5, 10], rtol=1e-4)
    narrow = normalize.normalize(stats, value, clip=2.0)
    np.testing.assert_allclose(narrow, [-2, 0.5, 2], rtol=1e-4)


def test_scaled_rewards_are_clipped():
    scale = normalize.init_reward_scale((300,))
    spike, done = jnp.zeros(300).at[7].set(-1.0), jnp.zeros(300, bool)
    _, scaled = normalize.scale_reward(scale, spike, done, discount=0.9)  # about sqrt(300)
    np.testing.assert_array_equal(scaled, 10 * spike)
    _, scaled = normalize.scale_reward(scale, spike, done, discount=0.9, clip=0.5)
    np.testing.assert_array_equal(scaled, spike / 2)


def test_the_end_of_an_episode_starts_a_new_return():
    scale = normalize.init_reward_scale((2,))
    reward = jnp.ones(2)
    for done in ([False, False], [True, False], [False, False]):
        scale, _ = normalize.scale_reward(scale, reward, jnp.array(done), discount=0.5)
    np.testing.assert_array_equal(scale.returns, [1, 1.75])


def test_runs_inside_a_scan_and_keeps_float32(x64):
    def step(carry, batch):
        stats, scale = carry
        scale, reward = normalize.scale_reward(
            scale, batch[:, 0], jnp.zeros(4, bool), discount=jnp.float32(0.99)
        )
        return (normalize.update(stats, batch), scale), reward

    batches = jnp.ones((3, 4, 2), jnp.float32)
    narrow = {"dtype": jnp.float32}
    initial = (normalize.init((2,), **narrow), normalize.init_reward_scale((4,), **narrow))
    final, rewards = jax.lax.scan(step, initial, batches)
    assert rewards.shape == (3, 4)
    assert {leaf.dtype for leaf in jax.tree.leaves((final, rewards))} == {np.dtype(np.float32)}


def test_a_wrong_batch_says_how_to_fix_it():
    with pytest.raises(ValueError, match=r"batch has shape \(5, 3\).* a sample's \(2,\)"):
        normalize.update(normalize.init((2,)), jnp.zeros((5, 3)))
