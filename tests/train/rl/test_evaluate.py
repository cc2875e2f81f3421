import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from scipy.stats import binomtest

from train.rl import rollout
from train.rl.evaluate import Outcome, Pose, summarize
from train.runs.intervals import wilson_interval


@pytest.mark.parametrize(("successes", "trials"), [(0, 256), (13, 20), (250, 256), (256, 256)])
def test_the_interval_is_wilsons(successes, trials):
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    np.testing.assert_allclose(
        wilson_interval(successes / trials, trials), (expected.low, expected.high), atol=1e-6
    )


def test_a_summary_counts():
    outcome = Outcome(
        success=jnp.array([1.0, 0.0, 1.0, 1.0]),
        returns=jnp.array([1.0, 2.0, 3.0, 4.0]),
        distance=jnp.array([0.1, 0.3, 0.1, 0.1]),
        broken=jnp.array([False, True, False, False]),
        poses=Pose(jnp.zeros((4, 1, 7)), jnp.zeros((4, 1, 1, 3)), jnp.zeros((4, 1, 1, 4))),
    )
    summary = summarize(outcome)
    assert summary["episodes"] == 4
    assert summary["success"] == 0.75
    assert summary["returns"] == 2.5
    assert summary["distance"] == pytest.approx(0.15)
    assert summary["broken"] == 1


def test_records_keep_their_shape_even_if_there_is_nothing_in_them():
    """As the mocap bodies of a scene that has none."""
    env = probes.ConstantReward()

    def act(key, state):
        return jnp.zeros((3, 2, env.action_size)), None

    _, _, records = rollout.collect(
        env,
        act,
        rollout.reset(env, jax.random.key(0), 3),
        jax.random.split(jax.random.key(1), 2),
        record=lambda state: (state.obs, jnp.zeros((3, 0, 4))),
    )
    assert [record.shape for record in records] == [(4, 3, 1), (4, 3, 0, 4)]
