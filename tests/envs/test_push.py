import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import envs

from .conftest import BATCH

TASK = "push"

FREE_ROLLOUTS, CONTACT_ROLLOUTS = (0, 2, 4), (1, 3)


def test_distance_is_the_releases(table):
    actual = envs.push.distance(object=table["object"], goal=table["goal"])
    np.testing.assert_allclose(actual, table["distance"], rtol=1e-5)


def test_success_is_the_releases(table):
    actual = envs.push.success(object=table["object"], goal=table["goal"])
    np.testing.assert_array_equal(actual, table["success"])


def test_reward_terms_add_up_to_the_releases(table):
    points = {name: table[name] for name in ("finger", "object", "goal", "start_distance")}
    terms = envs.push.reward(**points)
    assert set(terms) == {"reach", "push"}
    np.testing.assert_allclose(terms["reach"] + terms["push"], table["reward"], rtol=1e-5)


def test_a_step_pays_what_the_reward_function_says(env, start, step):
    after = step(start, jnp.ones((BATCH, 3)))
    terms = envs.push.reward(
        finger=after.pipeline_state.site_xpos[:, env.mj_model.site("finger").id],
        object=after.obs[:, 3:6],
        goal=after.obs[:, 6:],
        start_distance=start.metrics["distance"],
    )
    np.testing.assert_allclose(after.reward, terms["reach"] + terms["push"], rtol=1e-6)
    distance = envs.push.distance(object=after.obs[:, 3:6], goal=after.obs[:, 6:])
    np.testing.assert_allclose(after.metrics["distance"], distance, rtol=1e-6)
    np.testing.assert_array_equal(after.metrics["success"], distance <= 0.07)


@pytest.mark.slow
def test_a_delayed_reward_sees_the_object_after_every_other_step():
    """The release's phase: after the first step, and every `reward_delay` steps from there on."""
    env = envs.make("push", reward_delay=2)
    state, step = jax.jit(env.reset)(jax.random.key(0)), jax.jit(env.step)
    site = env.mj_model.site("finger").id
    seen = state.obs[3:6]
    for number in range(1, 5):
        physics = state.pipeline_state
        puck = jnp.array([0.03, -0.02]) * number
        moved = physics.replace(qpos=physics.qpos.at[-7:-5].add(puck))
        state = step(state.replace(pipeline_state=moved), jnp.zeros(3))
        seen = state.obs[3:6] if number % 2 else seen
        terms = envs.push.reward(
            finger=state.pipeline_state.site_xpos[site],
            object=seen,
            goal=state.obs[6:],
            start_distance=state.info["start_distance"],
        )
        np.testing.assert_allclose(state.reward, terms["reach"] + terms["push"], rtol=1e-5)


@pytest.fixture(scope="module")
def draws(reset):
    """Observations (1000, 9) at the start of episodes."""
    keys = jax.random.split(jax.random.key(1), (50, BATCH))
    return np.concatenate([reset(batch).obs for batch in keys])


@pytest.mark.parametrize(
    ("columns", "low", "high"),
    [((3, 4), (-0.1, 0.6), (0.1, 0.7)), ((6, 7), (-0.1, 0.8), (0.1, 0.9))],
    ids=["object", "goal"],
)
def test_starts_fill_their_box(draws, columns, low, high):
    points = draws[:, columns]
    assert np.all((points >= np.float32(low) - 1e-6) & (points <= np.float32(high) + 1e-6))
    np.testing.assert_allclose(points.min(axis=0), low, atol=2e-3)
    np.testing.assert_allclose(points.max(axis=0), high, atol=2e-3)


def test_starts_are_drawn_again_until_object_and_goal_are_apart(draws, rng):
    distance = np.linalg.norm(draws[:, 3:5] - draws[:, 6:8], axis=-1)
    assert distance.min() >= 0.15 - 1e-6
    pairs = rng.uniform((-0.1, 0.6, -0.1, 0.8), (0.1, 0.7, 0.1, 0.9), (100_000, 4))
    expected = np.linalg.norm(pairs[:, :2] - pairs[:, 2:], axis=-1)
    expected = expected[expected >= 0.15]
    standard_error = expected.std() / np.sqrt(len(distance))
    assert abs(distance.mean() - expected.mean()) < 4 * standard_error


def test_no_two_starts_are_alike(draws):
    for columns in ((3, 4), (6, 7)):
        assert len(np.unique(draws[:, columns], axis=0)) == len(draws)


def test_the_same_key_gives_the_same_start(reset, start):
    again = reset(jax.random.split(jax.random.key(0), BATCH))
    jax.tree.map(np.testing.assert_array_equal, again, start)


def test_the_puck_lies_on_the_table_and_the_goal_at_its_height(draws):
    np.testing.assert_allclose(draws[:, 5], 0.015, atol=2e-4)
    np.testing.assert_array_equal(draws[:, 8], draws[:, 5])


@pytest.fixture(scope="module")
def demonstration(start, play):
    return play(start, lambda state, _: envs.push.scripted(state))


def test_the_script_brings_the_puck_home(demonstration):
    final, *_ = demonstration
    assert final.metrics["success"].sum() >= 19
    assert np.median(final.metrics["distance"]) < 0.01


def test_the_puck_slides_flat_on_the_table(demonstration):
    _, _, observations = demonstration
    assert observations[..., 5].min() > 0.01
    assert observations[..., 5].max() < 0.02


def in_c(env, start, actions):
    """Hand and object (time, BATCH, 3) in C MuJoCo, on our model under the same actions."""
    model, physics = env.mj_model, start.pipeline_state
    places = np.zeros((2, *actions.shape))
    for index in range(BATCH):
        data = mujoco.MjData(model)
        data.qpos[:], data.mocap_pos[:] = physics.qpos[index], physics.mocap_pos[index]
        for time, action in enumerate(actions[:, index]):
            target = data.mocap_pos[0] + env.action_scale * np.clip(action, -1, 1)
            data.mocap_pos[0] = np.clip(target, (-0.5, 0.4, 0.05), (0.5, 1, 0.5))
            mujoco.mj_step(model, data, 5)
            mujoco.mj_kinematics(model, data)
            places[:, time, index] = data.body("hand").xpos, data.site("object").xpos
    return places


def farthest(points, others):
    return np.linalg.norm(points - others, axis=-1).max()


def test_the_hand_moves_as_in_c(env, start, play, rng):
    """150 steps of random motion above the puck."""
    moves = rng.uniform(-1, 1, (30, BATCH, 3))
    moves[..., 2] = np.abs(moves[..., 2]) - 0.4
    moves[:4, :, 2] = 1
    moves = moves.astype(np.float32)
    _, actions, observations = play(start, lambda _, time: jnp.asarray(moves[time // 5]))
    hand, puck = in_c(env, start, actions)
    assert observations[..., 2].min() > 0.1
    assert farthest(observations[..., :3], hand) < 1e-3
    assert farthest(observations[..., 3:6], puck) < 1e-6


def test_pushing_goes_as_in_c(env, start, demonstration):
    """A pushed puck rolls along the finger and may leave it, so rounding can grow without bound.

    Half of the pucks end within 1 cm of where C leaves them, nine in ten within 4 cm.
    """
    _, actions, observations = demonstration
    hand, puck = in_c(env, start, actions)
    assert farthest(observations[..., :3], hand) < 5e-3
    error = np.linalg.norm(observations[-1, :, 3:6] - puck[-1], axis=-1)
    assert np.median(error) < 1e-2
    assert np.quantile(error, 0.9) < 4e-2
    goal = observations[-1, :, 6:]
    assert np.mean(np.linalg.norm((puck[-1] - goal)[:, :2], axis=-1) <= 0.07) >= 0.9


def ours(coordinates):
    """Without the fingers, which are one solid piece here."""
    return np.delete(coordinates, (7, 8))


@pytest.mark.parametrize("index", FREE_ROLLOUTS)
def test_the_hand_moves_as_in_the_release(released, recorded, replay, index):
    hand, puck = recorded(index)
    assert farthest(replay[:, index, :3], hand) < 1e-3
    assert farthest(replay[:, index, 3:6], puck) < 1e-3
    lagging_one_substep = released[f"rollout{index:02d}/obs"]
    assert farthest(replay[:, index, :3], lagging_one_substep[:, :3]) < 5e-3


@pytest.mark.parametrize("index", CONTACT_ROLLOUTS)
def test_the_hand_follows_the_release_through_contact(recorded, replay, index):
    """There the open gripper comes down around the puck and takes it along, up to 10 cm; here the
    closed one comes down on top of it. `test_puck.py` compares like with like."""
    hand, puck = recorded(index)
    assert farthest(replay[:, index, :3], hand) < 2e-2
    assert farthest(replay[:, index, 3:6], puck) < 0.15
