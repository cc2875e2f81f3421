import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sketch import Sketch

from envs.push import Push
from ndp_jax.policies import PolicyOutput
from train.imitation.closed_loop import make_player

CHUNK, LENGTH = 5, 10
LEARNED = jnp.array([0.5, -0.5, 0.2])
TRACED = []


def answer(learned, inputs):
    """The same actions whatever is seen, fading with the height of the hand."""
    TRACED.append(inputs)
    actions = learned * jnp.ones((len(inputs.position), CHUNK, 3))
    mean = actions * inputs.position[:, None, 2:]
    value = jnp.zeros(mean.shape[:2])
    return PolicyOutput(mean=mean, decision=mean, log_std=jnp.zeros(3), value=value)


@pytest.fixture(scope="module", params=[Sketch, pytest.param(Push, marks=pytest.mark.slow)])
def env(request):
    return request.param(episode_length=LENGTH)


@pytest.fixture(scope="module")
def of_states(env):
    return make_player(env, answer, num_envs=2, chunk=CHUNK)


@pytest.fixture(scope="module")
def played(of_states):
    return of_states(LEARNED, jax.random.key(0), episodes=3)


def test_shapes(played):
    assert played.success.shape == played.returns.shape == (3,)
    assert played.poses.qpos.shape[:2] == (3, LENGTH)
    assert played.inputs.observation.shape == (3, LENGTH // CHUNK, 9)
    assert not played.broken.any()


def test_the_policy_moves_the_robot(played):
    path = played.inputs.position
    moved = np.asarray(path[:, -1] - path[:, 0])
    assert (np.sign(moved) == np.sign(LEARNED)).all()


def test_the_same_key_gives_the_same_episodes(of_states, played):
    again = of_states(LEARNED, jax.random.key(0), episodes=2)
    for name in ("qpos", "mocap_pos"):
        np.testing.assert_array_equal(getattr(again.poses, name), getattr(played.poses, name)[:2])
    other = of_states(LEARNED, jax.random.key(1), episodes=2)
    assert (other.distance != again.distance).all()


@pytest.mark.usefixtures("renderer")
def test_a_policy_of_pictures_sees_the_scene_and_plays_the_same_episodes(env, played):
    shapes = []

    def watch(learned, inputs):
        images = inputs.observation
        shapes.append((images.shape, images.dtype))
        sound = (images.min() >= 0) & (images.max() <= 1) & (images.std() > 0.05)
        chosen = answer(learned, inputs)
        return chosen._replace(mean=jnp.where(sound, chosen.mean, jnp.nan))

    seeing = make_player(env, watch, num_envs=2, chunk=CHUNK, camera=True)
    outcome = seeing(LEARNED, jax.random.key(0), episodes=3)
    assert shapes == [((2, 84, 84, 3), jnp.float32)]
    assert outcome.inputs is None
    assert not outcome.broken.any()
    for name in ("qpos", "mocap_pos"):
        there = getattr(played.poses, name)
        np.testing.assert_allclose(getattr(outcome.poses, name), there, atol=1e-4)
    np.testing.assert_allclose(outcome.returns, played.returns, rtol=1e-3)


def test_other_parameters_play_otherwise_and_compile_nothing_anew(of_states, played):
    before = len(TRACED)
    other = of_states(-LEARNED, jax.random.key(0), episodes=3)
    assert (other.poses.mocap_pos != played.poses.mocap_pos).any()
    assert len(TRACED) == before
