import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs

from .conftest import BATCH
from .test_jaco import in_c

TASK = "pick"


def test_distance_success_and_reward_are_the_releases(table):
    points = {"finger": table["finger"], "object": table["object"]}
    np.testing.assert_allclose(envs.pick.distance(**points), table["distance"], rtol=1e-5)
    np.testing.assert_array_equal(envs.pick.success(**points), table["success"])
    terms = envs.pick.reward(**points)
    assert set(terms) == {"lift"}
    substeps = 5
    np.testing.assert_allclose(substeps * terms["lift"], table["reward"], rtol=1e-5)
    assert 0 < np.mean(table["reward"] > 0) < 1


def test_starts_fill_their_box(reset):
    keys = jax.random.split(jax.random.key(1), (50, BATCH))
    draws = np.concatenate([reset(batch).obs for batch in keys])
    cube = draws[:, 9:12]
    low, high = np.float32([0.53, 0.13]), np.float32([0.57, 0.17])
    assert np.all((cube[:, :2] >= low - 1e-6) & (cube[:, :2] <= high + 1e-6))
    np.testing.assert_allclose(cube[:, :2].min(axis=0), low, atol=2e-4)
    np.testing.assert_allclose(cube[:, :2].max(axis=0), high, atol=2e-4)
    np.testing.assert_allclose(cube[:, :2].mean(axis=0), [0.55, 0.15], atol=2e-3)
    np.testing.assert_allclose(cube[:, 2], 0.04, atol=1e-4)
    assert len(np.unique(cube[:, :2], axis=0)) == len(cube)
    rest = np.delete(draws, (9, 10), axis=1)
    np.testing.assert_allclose(rest, np.tile(rest[0], (len(rest), 1)), atol=1e-6)
    pose = (-0.07855885, -1.0, 0.6731897, 1.5, -2.83926611, 0, 0.2, 0.2, 0.2)
    np.testing.assert_allclose(draws[0, :9], pose, atol=1e-5)


@pytest.fixture(scope="module")
def demonstration(start, play):
    """A scripted episode, followed by 50 steps of doing nothing."""

    def policy(state, time):
        return envs.pick.scripted(state) if time < 55 else jnp.zeros((BATCH, 9))

    return play(start, policy, steps=105)


def held(observations):
    finger, cube = observations[..., 31:34], observations[..., 9:12]
    return envs.pick.success(finger=jnp.asarray(finger), object=jnp.asarray(cube))


def test_the_script_lifts_the_cube_and_holds_it(demonstration):
    final, _, observations = demonstration
    assert np.all(held(observations[54]))
    assert np.all(held(observations[-1]))
    np.testing.assert_array_equal(final.metrics["success"], 1)
    np.testing.assert_allclose(final.obs[:, 11], 0.24, atol=0.03)


def test_every_substep_of_a_step_is_paid(start, step, demonstration):
    """A step with the cube held at height h pays 5 h; while it rises, the five heights it had."""
    _, actions, observations = demonstration
    state, rewards = start, []
    for action in actions[:60]:
        state = step(state, jnp.asarray(action, jnp.float32))
        rewards.append(state.reward)
    np.testing.assert_allclose(rewards[59], 5 * observations[59, :, 11], rtol=1e-3)
    assert np.all(np.array(rewards)[:25] == 0)
    rising = 35
    low, high = observations[rising - 1, :, 11], observations[rising, :, 11]
    assert np.all((rewards[rising] > 5 * low) & (rewards[rising] < 5 * high))


def test_picking_goes_as_in_c(env, start, demonstration):
    _, actions, observations = demonstration
    expected = in_c(env, start, actions)
    error = np.linalg.norm(observations[..., 9:12] - expected[..., 9:12], axis=-1)[54]
    assert np.median(error) < 1e-3
    assert np.quantile(error, 0.95) < 3e-3
    assert np.all(held(expected[54]))
