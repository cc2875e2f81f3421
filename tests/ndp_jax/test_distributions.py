import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ndp_jax import distributions


@pytest.fixture
def normals(x64):
    rng = np.random.default_rng(0)
    mean, other_mean = (jnp.asarray(rng.normal(size=(5, 3, 4))) for _ in range(2))
    log_std, other_log_std = (jnp.asarray(rng.normal(size=4)) for _ in range(2))
    return mean, log_std, other_mean, other_log_std


def test_log_prob_is_scipys(normals):
    mean, log_std, value, _ = normals
    expected = stats.norm.logpdf(value, mean, np.exp(log_std)).sum(axis=-1)
    np.testing.assert_allclose(distributions.log_prob(mean, log_std, value), expected, rtol=1e-12)


def test_log_prob_takes_one_deviation_per_event(normals):
    mean, log_std, value, _ = normals
    every = jnp.broadcast_to(log_std, mean.shape)
    np.testing.assert_allclose(
        distributions.log_prob(mean, log_std, value),
        distributions.log_prob(mean, every, value),
        rtol=1e-12,
    )


def test_entropy_is_scipys(normals):
    _, log_std, _, _ = normals
    expected = stats.norm.entropy(scale=np.exp(log_std)).sum()
    np.testing.assert_allclose(distributions.entropy(log_std), expected, rtol=1e-12)


def test_samples_have_the_mean_and_deviation():
    mean = jnp.broadcast_to(jnp.array([1.0, -2.0]), (100_000, 2))
    log_std = jnp.array([0.0, 1.0])
    drawn = distributions.sample(jax.random.key(0), mean, log_std)
    standard = (drawn - mean) / jnp.broadcast_to(jnp.exp(log_std), mean.shape)
    for column in np.asarray(standard).T:
        assert stats.kstest(column, "norm").pvalue > 0.01
    assert abs(np.corrcoef(np.asarray(standard).T)[0, 1]) < 0.01


def test_sample_is_differentiable_and_keeps_the_dtype():
    key, mean, log_std = jax.random.key(1), jnp.ones(2), jnp.zeros(2)
    noise = distributions.sample(key, mean, log_std) - mean
    total = jax.grad(lambda *args: distributions.sample(key, *args).sum(), argnums=(0, 1))
    to_mean, to_log_std = total(mean, log_std)
    np.testing.assert_array_equal(to_mean, [1, 1])
    np.testing.assert_allclose(to_log_std, noise, atol=2e-6)
    with jax.enable_x64(True):
        assert distributions.sample(key, mean, log_std).dtype == jnp.float32


def test_kl_is_the_expected_log_ratio(normals):
    mean, log_std, other_mean, other_log_std = (x[..., :1] for x in normals)
    points, probabilities = np.polynomial.hermite_e.hermegauss(10)  # exact for quadratics
    expected = 0
    for point, probability in zip(points, probabilities / probabilities.sum(), strict=True):
        value = mean + point * jnp.broadcast_to(jnp.exp(log_std), mean.shape)
        here = distributions.log_prob(mean, log_std, value)
        there = distributions.log_prob(other_mean, other_log_std, value)
        expected = expected + probability * (here - there)
    actual = distributions.kl(mean, log_std, other_mean, other_log_std)
    assert np.all(actual > 0.01)
    np.testing.assert_allclose(actual, expected, rtol=1e-9)


def test_kl_adds_over_dimensions_and_vanishes_on_itself(normals):
    parts = [distributions.kl(*(x[..., i : i + 1] for x in normals)) for i in range(4)]
    np.testing.assert_allclose(distributions.kl(*normals), sum(parts), rtol=1e-12)
    mean, log_std, _, _ = normals
    np.testing.assert_allclose(distributions.kl(mean, log_std, mean, log_std), 0, atol=1e-12)
