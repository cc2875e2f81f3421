"""brax's own wrappers and learner, driving our environment."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brax.envs.wrappers.training import wrap
from brax.training.agents.ppo import networks, train

from .conftest import BATCH

README = Path(__file__).parents[2] / "README.md"
TASK = "push"
EPISODE = 4

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def unroll(env):
    """brax's wrapper around our environment: the first state, and those of the next steps."""
    wrapped = wrap(env, episode_length=EPISODE)
    first = jax.jit(wrapped.reset)(jax.random.split(jax.random.PRNGKey(0), BATCH))

    @jax.jit
    def play(state, actions):
        def step(state, action):
            state = wrapped.step(state, action)
            return state, state

        return jax.lax.scan(step, state, actions)[1]

    actions = jnp.ones((EPISODE + 2, BATCH, env.action_size))
    actions = actions.at[1, 0].set(jnp.nan)
    return first, play(first, actions)


def test_the_wrapper_truncates_and_restarts_episodes(unroll):
    first, states = unroll
    expected = np.arange(1, EPISODE + 3) == EPISODE
    np.testing.assert_array_equal(states.done[:, 1:], np.tile(expected[:, None], (1, BATCH - 1)))
    np.testing.assert_array_equal(states.info["truncation"][:, 1:], states.done[:, 1:])
    np.testing.assert_array_equal(states.obs[EPISODE - 1, 1:], first.obs[1:])
    assert jnp.all(states.obs[EPISODE, 1:, 0] > first.obs[1:, 0])


def test_a_restarted_episode_pays_what_the_first_paid(unroll):
    _, states = unroll
    np.testing.assert_allclose(states.reward[EPISODE, 1:], states.reward[0, 1:], rtol=1e-5)
    np.testing.assert_allclose(states.reward[EPISODE + 1, 1:], states.reward[1, 1:], rtol=1e-4)


def test_the_guard_is_a_termination_that_is_no_truncation(unroll):
    first, states = unroll
    np.testing.assert_array_equal(states.done[:, 0], [0, 1, 0, 0, 0, 1])
    np.testing.assert_array_equal(states.info["truncation"][:, 0], [0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(states.obs[1, 0], first.obs[0])
    assert states.info["episode_metrics"]["nan"][1, 0] == 1


def test_braxs_ppo_trains_on_it_with_the_line_of_the_readme(env, monkeypatch):
    monkeypatch.setattr(jax, "device_put_replicated", None, raising=False)  # and back afterwards
    (line,) = re.findall(r"^jax\.device_put_replicated = .*?^\)$", README.read_text(), re.M | re.S)
    exec(line, {"jax": jax, "jnp": jnp})
    progress, policies = [], []

    def small(observation_size, action_size, preprocess_observations_fn):
        return networks.make_ppo_networks(
            observation_size,
            action_size,
            preprocess_observations_fn,
            policy_hidden_layer_sizes=(16,),
            value_hidden_layer_sizes=(16,),
        )

    train.train(
        env,
        num_timesteps=3 * 8 * 2 * EPISODE,
        num_envs=8,
        episode_length=EPISODE,
        unroll_length=EPISODE,
        batch_size=8,
        num_minibatches=2,
        run_evals=False,  # an evaluation compiles everything once more
        normalize_observations=True,
        learning_rate=1e-2,
        network_factory=small,
        progress_fn=lambda steps, metrics: progress.append((steps, metrics)),
        policy_params_fn=lambda steps, make_policy, params: policies.append(params),
    )
    ((steps, metrics),) = progress
    assert steps == 3 * 8 * 2 * EPISODE
    assert {"training/total_loss", "training/policy_loss", "training/v_loss"} <= metrics.keys()
    assert all(np.isfinite(value) for value in metrics.values())
    (_, before, _), (_, after, _) = policies
    changed = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), before, after)
    assert all(jax.tree.leaves(changed))
