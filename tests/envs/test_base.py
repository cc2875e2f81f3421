import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from .conftest import BATCH

TASK = "push"


def describe(tree):
    return [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(tree)]


def lane(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def assert_finite(state):
    for leaf in jax.tree.leaves(state):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            assert jnp.all(jnp.isfinite(leaf))


def test_reset_and_step_return_the_same_kind_of_state(env):
    state = jax.eval_shape(env.reset, jax.random.key(0))
    action = jax.ShapeDtypeStruct((env.action_size,), jnp.float32)
    after = jax.eval_shape(env.step, state, action)
    assert jax.tree.structure(state) == jax.tree.structure(after)
    assert describe(state) == describe(after)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(state))
    assert state.obs.shape == (env.observation_size,)
    assert set(state.metrics) == {"success", "distance", "nan"}


def test_time_passes(env, start, step):
    assert env.dt == pytest.approx(0.05)
    assert env.episode_length == 150
    after = step(start, jnp.zeros((BATCH, 3)))
    np.testing.assert_allclose(after.pipeline_state.time, env.dt, rtol=1e-5)
    assert jnp.all(after.done == 0)


def test_the_start_is_settled(start, step):
    after = step(start, jnp.zeros((BATCH, 3)))
    np.testing.assert_allclose(after.obs, start.obs, atol=1e-3)


def test_positions_belong_to_the_last_substep(env, start, step, rng):
    after = step(start, jnp.asarray(rng.uniform(-1, 1, (BATCH, 3)), jnp.float32))
    data = mujoco.MjData(env.mj_model)
    for index in range(BATCH):
        data.qpos[:] = after.pipeline_state.qpos[index]
        mujoco.mj_kinematics(env.mj_model, data)
        np.testing.assert_allclose(after.obs[index, :3], data.body("hand").xpos, atol=1e-5)
        np.testing.assert_allclose(after.obs[index, 3:6], data.site("object").xpos, atol=1e-5)


@pytest.fixture(scope="module")
def moving(start, step):
    """A batch in motion and the actions it gets next."""
    actions = np.random.default_rng(1).uniform(-1, 1, (BATCH, 3)).astype(np.float32)
    return step(start, jnp.asarray(actions)), actions


@pytest.fixture(scope="module")
def struck(moving, step):
    """That step, with lanes 3 and 5 given bad actions and lanes 7 and 9 bad velocities."""
    state, actions = moving
    actions = actions.copy()
    actions[3, 0], actions[5] = np.nan, np.inf
    physics = state.pipeline_state
    qvel = physics.qvel.at[7, 2].set(jnp.nan).at[9, 8].set(1e30)
    broken = state.replace(pipeline_state=physics.replace(qvel=qvel))
    return step(broken, jnp.asarray(actions))


STRUCK = np.isin(np.arange(BATCH), (3, 5, 7, 9))


def test_the_guard_ends_the_broken_episodes_and_no_other(struck):
    np.testing.assert_array_equal(struck.done, STRUCK)
    np.testing.assert_array_equal(struck.metrics["nan"], STRUCK)
    np.testing.assert_array_equal(struck.reward[STRUCK], 0)


def test_the_guard_leaves_the_other_episodes_alone_bit_for_bit(moving, struck, step):
    state, actions = moving
    clean = step(state, jnp.asarray(actions))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[~STRUCK], b[~STRUCK]), struck, clean)


def test_the_guard_keeps_the_last_finite_physics(moving, struck, start):
    before, after = moving[0].pipeline_state, struck.pipeline_state
    for index in (3, 5):
        np.testing.assert_array_equal(struck.obs[index], moving[0].obs[index])
        np.testing.assert_array_equal(after.qpos[index], before.qpos[index])
        np.testing.assert_array_equal(after.mocap_pos[index], before.mocap_pos[index])
    for index in (7, 9):
        np.testing.assert_array_equal(struck.obs[index, :3], start.obs[index, :3])
        np.testing.assert_array_equal(after.qvel[index], 0)


def test_the_guard_lets_nothing_out_that_is_not_finite(struck, step):
    assert_finite(struck)
    after = step(struck, jnp.zeros((BATCH, 3)))
    assert_finite(after)
    assert jnp.all(after.done == 0)


def test_any_finite_action_is_fine(moving, step):
    state, actions = moving
    huge = step(state, jnp.asarray(1e30 * np.sign(actions)))
    unit = step(state, jnp.asarray(np.sign(actions)))
    assert jnp.all(huge.done == 0)
    np.testing.assert_array_equal(huge.obs, unit.obs)


def test_survives_wild_play(start, play, rng):
    """Full-speed actions, mostly downwards: into the puck, and it into the table."""

    def policy(_, time):
        return jnp.asarray(np.sign(rng.uniform(-1, 1, (BATCH, 3)) - [0, 0, 0.5]), jnp.float32)

    final, _, observations = play(start, policy)
    assert jnp.all(final.metrics["nan"] == 0)
    assert_finite(final)
    assert observations[..., 5].min() > 0
    assert observations[..., 5].max() < 0.1
