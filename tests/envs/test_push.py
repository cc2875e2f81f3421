import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import envs

from .conftest import BATCH

FREE_ROLLOUTS, CONTACT_ROLLOUTS = (0, 2, 4), (1, 3)


@pytest.fixture
def table(released):
    with jax.enable_x64(True):
        names = ("finger", "object", "goal", "start_distance", "reward", "success", "distance")
        yield {name: jnp.asarray(released[f"table/{name}"]) for name in names}


class TestTable:
    """300 states judged by the release, in float64."""

    def test_distance(self, table):
        actual = envs.push.distance(object=table["object"], goal=table["goal"])
        np.testing.assert_allclose(actual, table["distance"], rtol=1e-5)

    def test_success(self, table):
        actual = envs.push.success(object=table["object"], goal=table["goal"])
        np.testing.assert_array_equal(actual, table["success"])

    def test_reward_is_the_sum_of_its_terms(self, table):
        points = {name: table[name] for name in ("finger", "object", "goal", "start_distance")}
        terms = envs.push.reward(**points)
        assert set(terms) == {"reach", "push"}
        np.testing.assert_allclose(sum(terms.values()), table["reward"], rtol=1e-5)


def test_a_step_pays_what_the_reward_function_says(env, start, step):
    after = step(start, jnp.ones((BATCH, 3)))
    terms = envs.push.reward(
        finger=after.pipeline_state.site_xpos[:, env.mj_model.site("finger").id],
        object=after.obs[:, 3:6],
        goal=after.obs[:, 6:],
        start_distance=start.metrics["distance"],
    )
    np.testing.assert_allclose(after.reward, sum(terms.values()), rtol=1e-6)
    distance = np.linalg.norm((after.obs[:, 3:6] - after.obs[:, 6:])[:, :2], axis=-1)
    np.testing.assert_allclose(after.metrics["distance"], distance, rtol=1e-6)


class TestReset:
    @pytest.fixture(scope="class")
    def draws(self, reset):
        keys = jax.random.split(jax.random.key(1), (50, BATCH))
        return np.concatenate([reset(batch).obs for batch in keys])

    def test_object_and_goal_fill_their_boxes(self, draws):
        for columns, low, high in (
            (slice(3, 5), (-0.1, 0.6), (0.1, 0.7)),
            (slice(6, 8), (-0.1, 0.8), (0.1, 0.9)),
        ):
            assert np.all(draws[:, columns] >= low)
            assert np.all(draws[:, columns] <= high)
            np.testing.assert_allclose(draws[:, columns].min(axis=0), low, atol=2e-3)
            np.testing.assert_allclose(draws[:, columns].max(axis=0), high, atol=2e-3)

    def test_pairs_are_drawn_again_until_they_are_apart(self, draws, rng):
        distance = np.linalg.norm(draws[:, 3:5] - draws[:, 6:8], axis=-1)
        assert distance.min() >= 0.15
        pairs = rng.uniform((-0.1, 0.6, -0.1, 0.8), (0.1, 0.7, 0.1, 0.9), (100_000, 4))
        expected = np.linalg.norm(pairs[:, :2] - pairs[:, 2:], axis=-1)
        expected = expected[expected >= 0.15]
        error = expected.std() / np.sqrt(len(distance))
        assert abs(distance.mean() - expected.mean()) < 4 * error

    def test_no_two_are_alike(self, draws):
        assert len(np.unique(draws[:, 3:5], axis=0)) == len(draws)
        assert len(np.unique(draws[:, 6:8], axis=0)) == len(draws)

    def test_the_same_key_gives_the_same(self, reset, start):
        again = reset(jax.random.split(jax.random.key(0), BATCH))
        jax.tree.map(np.testing.assert_array_equal, again, start)

    def test_the_puck_lies_on_the_table_and_the_goal_at_its_height(self, draws):
        np.testing.assert_allclose(draws[:, 5], 0.015, atol=2e-4)
        np.testing.assert_array_equal(draws[:, 8], draws[:, 5])


@pytest.fixture(scope="module")
def demonstration(start, play):
    return play(start, lambda state, _: envs.push.scripted(state))


def test_the_script_brings_the_puck_home(demonstration):
    final, *_ = demonstration
    assert final.metrics["success"].sum() >= 19
    assert np.median(final.metrics["distance"]) < 0.01


def in_c(env, start, actions):
    """Hand and object (time, BATCH, 3) of C MuJoCo on our model under the same actions."""
    model, physics = env.mj_model, start.pipeline_state
    low, high = (-0.5, 0.4, 0.05), (0.5, 1, 0.5)
    places = np.zeros((2, *actions.shape))
    for index in range(BATCH):
        data = mujoco.MjData(model)
        data.qpos[:], data.mocap_pos[:] = physics.qpos[index], physics.mocap_pos[index]
        for time, action in enumerate(actions[:, index]):
            target = data.mocap_pos[0] + env.action_scale * np.clip(action, -1, 1)
            data.mocap_pos[0] = np.clip(target, low, high)
            mujoco.mj_step(model, data, 5)
            mujoco.mj_kinematics(model, data)
            places[:, time, index] = data.body("hand").xpos, data.site("object").xpos
    return places


def farthest(points, others):
    return np.linalg.norm(points - others, axis=-1).max()


class TestAgainstC:
    """The same model and actions in C MuJoCo, 150 control steps."""

    def test_hand_without_contact(self, env, start, play, rng):
        moves = rng.uniform(-1, 1, (30, BATCH, 3))
        moves[..., 2] = np.abs(moves[..., 2]) - 0.4
        moves[:4, :, 2] = 1
        _, actions, observations = play(
            start, lambda _, time: jnp.asarray(moves[time // 5], jnp.float32)
        )
        hand, thing = in_c(env, start, actions)
        assert observations[..., 2].min() > 0.1
        assert farthest(observations[..., :3], hand) < 1e-3
        assert farthest(observations[..., 3:6], thing) < 1e-6

    def test_pushing(self, env, start, demonstration):
        """A pushed puck rolls along the finger, so small differences grow: centimetres at worst."""
        _, actions, observations = demonstration
        hand, thing = in_c(env, start, actions)
        assert farthest(observations[..., :3], hand) < 5e-3
        error = np.linalg.norm(observations[-1, :, 3:6] - thing[-1], axis=-1)
        assert np.median(error) < 1e-2
        assert error.max() < 0.12
        left = np.linalg.norm((thing[-1] - observations[-1, :, 6:])[:, :2], axis=-1)
        assert np.mean(left <= 0.07) >= 0.8


class TestAgainstTheRelease:
    """The release's rollouts, 50 control steps under the same actions."""

    @pytest.fixture(scope="class")
    def replay(self, released, start, play):
        """Observations (time, BATCH, 9); the first lanes follow the recorded rollouts."""
        physics = jax.device_get(start.pipeline_state)
        qpos, qvel = physics.qpos.copy(), physics.qvel.copy()
        mocap, actions = physics.mocap_pos.copy(), np.zeros((50, BATCH, 3), np.float32)
        arm_and_puck = np.r_[0:7, 9:16]
        for index in (*FREE_ROLLOUTS, *CONTACT_ROLLOUTS):
            record = {
                name: released[f"rollout{index:02d}/{name}"]
                for name in ("init_qpos", "init_qvel", "init_mocap_pos", "goal", "actions")
            }
            qpos[index] = record["init_qpos"][arm_and_puck]
            qvel[index] = record["init_qvel"][arm_and_puck[:-1]]
            mocap[index] = record["init_mocap_pos"], record["goal"]
            actions[:, index] = record["actions"]
        state = start.replace(
            pipeline_state=start.pipeline_state.replace(
                qpos=jnp.asarray(qpos), qvel=jnp.asarray(qvel), mocap_pos=jnp.asarray(mocap)
            )
        )
        return play(state, lambda _, time: jnp.asarray(actions[time]), steps=50)[2]

    @pytest.fixture(scope="class")
    def recorded(self, env, released):
        """Hand and object positions (time, 3) of a rollout after the last sub-step."""

        def recorded(index):
            data = mujoco.MjData(env.mj_model)
            places = []
            for qpos in released[f"rollout{index:02d}/qpos"]:
                data.qpos[:] = np.delete(qpos, (7, 8))
                mujoco.mj_kinematics(env.mj_model, data)
                places.append((data.body("hand").xpos.copy(), data.site("object").xpos.copy()))
            return np.array(places).swapaxes(0, 1)

        return recorded

    @pytest.mark.parametrize("index", FREE_ROLLOUTS)
    def test_without_contact(self, replay, recorded, released, index):
        hand, thing = recorded(index)
        assert farthest(replay[:, index, :3], hand) < 1e-3
        assert farthest(replay[:, index, 3:6], thing) < 1e-3
        # What the release observes lags one sub-step behind.
        assert farthest(replay[:, index, :3], released[f"rollout{index:02d}/obs"][:, :3]) < 5e-3

    @pytest.mark.parametrize("index", CONTACT_ROLLOUTS)
    def test_with_contact(self, replay, recorded, index):
        """There the open gripper comes down around the puck, here the closed one on top of it."""
        hand, thing = recorded(index)
        assert farthest(replay[:, index, :3], hand) < 2e-2
        assert farthest(replay[:, index, 3:6], thing) < 0.1
