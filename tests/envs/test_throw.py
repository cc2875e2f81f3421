import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs

from .conftest import BATCH
from .test_jaco import in_c

TASK = "throw"
GOAL = (1.53125, 0, 0.04175)


def test_distance_and_reward_are_the_releases(table):
    points = {"object": table["object"], "goal": table["goal"]}
    np.testing.assert_allclose(envs.throw.distance(**points), table["distance"], rtol=1e-5)
    terms = envs.throw.reward(**points, start_distance=table["start_distance"])
    assert set(terms) == {"approach", "arrive"}
    np.testing.assert_allclose(terms["approach"] + terms["arrive"], table["reward"], rtol=1e-5)
    assert 0 < np.mean(terms["arrive"] > 0) < 1


def test_success_is_less_than_19_cm_from_the_goal(table):
    """The release never sets its flag."""
    actual = envs.throw.success(object=table["object"], goal=table["goal"])
    np.testing.assert_array_equal(actual, table["distance"] < 0.19)
    assert 0 < np.mean(actual) < 1


def test_starts_fill_their_box(reset):
    keys = jax.random.split(jax.random.key(1), (50, BATCH))
    draws = np.concatenate([reset(batch).obs for batch in keys])
    cube = draws[:, 9:12]
    low, high = np.float32([0.58, 0.08]), np.float32([0.62, 0.12])
    assert np.all((cube[:, :2] >= low - 1e-6) & (cube[:, :2] <= high + 1e-6))
    np.testing.assert_allclose(cube[:, :2].min(axis=0), low, atol=2e-4)
    np.testing.assert_allclose(cube[:, :2].max(axis=0), high, atol=2e-4)
    np.testing.assert_allclose(cube[:, :2].mean(axis=0), [0.6, 0.1], atol=2e-3)
    np.testing.assert_allclose(cube[:, 2], 0.04, atol=1e-4)
    assert len(np.unique(cube[:, :2], axis=0)) == len(cube)
    np.testing.assert_allclose(draws[:, 34:], GOAL - cube, atol=1e-6)
    pose = (-0.07855885, -0.1, 0.6731897, 1.5, -2.83926611, 0, 0.9, 0.9, 0.9)
    np.testing.assert_allclose(draws[0, :9], pose, atol=1e-5)


@pytest.fixture(scope="module")
def demonstration(start, play):
    return play(start, lambda state, _: envs.throw.scripted(state))


def test_the_script_throws_the_cube_into_the_tray(demonstration):
    final, _, observations = demonstration
    assert final.metrics["success"].sum() >= 19
    in_tray = np.all(np.abs(observations[-1, :, 9:11] - (1.5, 0)) < 0.125, axis=-1)
    assert in_tray.sum() >= 19
    flight = (observations[..., 9] > 1.0) & (observations[..., 9] < 1.3)
    assert np.median(observations[..., 11][flight]) > 0.1


def test_the_observation_keeps_where_the_tray_was(start, demonstration):
    _, _, observations = demonstration
    expected = np.tile(start.obs[:, 34:], (55, 1, 1))
    np.testing.assert_allclose(observations[..., 34:], expected, atol=1e-6)


def test_a_step_pays_what_the_reward_function_says(start, step, demonstration):
    final, _, observations = demonstration
    for state in (start, final):
        after = step(state, jnp.zeros((BATCH, 9)))
        terms = envs.throw.reward(
            object=after.obs[:, 9:12],
            goal=jnp.tile(jnp.array(GOAL), (BATCH, 1)),
            start_distance=jnp.linalg.norm(start.obs[:, 34:], axis=-1),
        )
        np.testing.assert_allclose(after.reward, terms["approach"] + terms["arrive"], atol=1e-4)


def test_throwing_goes_as_in_c(env, start, demonstration):
    """Up to the landing; in which way a cube tumbles then is a matter of rounding."""
    _, actions, observations = demonstration
    expected = in_c(env, start, actions)
    error = np.linalg.norm(observations[..., 9:12] - expected[..., 9:12], axis=-1)
    release = 34
    assert np.median(error[release]) < 1e-2
    assert np.quantile(error[release], 0.95) < 3e-2
    landed = expected[-1, :, 9:11]
    assert np.mean(np.linalg.norm(landed - GOAL[:2], axis=-1) < 0.19) >= 0.9
