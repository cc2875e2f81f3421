import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sketch import HAND, Sketch

from train.rl import controllers

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def env():
    env = Sketch(episode_length=150)
    env.action_limit = 0.5
    return env


@pytest.fixture(scope="module")
def states(env):
    return jax.vmap(env.reset)(jax.random.split(KEY, 500))


def test_random_actions_fill_their_range(env, states):
    actions = controllers.make_controller("random", "push", env)(KEY, states)[0][:, 0]
    assert actions.shape == (500, 3)
    np.testing.assert_allclose(actions.min(axis=0), -0.5, atol=0.02)
    np.testing.assert_allclose(actions.max(axis=0), 0.5, atol=0.02)
    np.testing.assert_allclose(actions.mean(axis=0), 0, atol=0.06)
    again = controllers.make_controller("random", "push", env)(jax.random.key(1), states)[0][:, 0]
    assert (again != actions).all()


def test_no_action_is_none(env, states):
    actions = controllers.make_controller("zero", "push", env)(KEY, states)[0][:, 0]
    np.testing.assert_array_equal(actions, np.zeros((500, 3)))


def test_a_script_plays_more_episodes_than_fit_at_once(env):
    """Each to its end, and with the poses after its steps."""
    control = controllers.make_controller("scripted", "push", env)
    outcome = controllers.play(env, control, KEY, episodes=controllers.BATCH + 1)
    assert outcome.success.tolist() == [1] * (controllers.BATCH + 1)
    assert not outcome.broken.any() and (outcome.distance < 0.01).all()
    puck, goal = outcome.poses.qpos[..., -7:-5], outcome.poses.mocap_pos[:, :, 1, :2]
    assert puck.shape == (controllers.BATCH + 1, 150, 2)
    left = jnp.linalg.norm(puck - goal, axis=-1)
    np.testing.assert_allclose(left[:, -1], outcome.distance, rtol=1e-5)
    assert (left[:, 0] > 0.14).all()
    assert len(np.unique(left[:, 0])) == controllers.BATCH + 1
    hand = outcome.poses.mocap_pos[:, 0, 0]
    assert (jnp.abs(hand - jnp.array(HAND)).max(axis=1) < 0.011).all()


def test_returns_are_sums_of_rewards(env):
    """Of a hand that stays where it is: minus its distance from the puck, in every step."""
    control = controllers.make_controller("zero", "push", env)
    outcome = controllers.play(env, control, KEY, episodes=2)
    away = jnp.linalg.norm(jnp.array(HAND) - outcome.poses.qpos[:, 0, -7:-4], axis=-1)
    np.testing.assert_allclose(outcome.returns, -150 * away, rtol=1e-5)
    assert outcome.success.tolist() == [0, 0]
