import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import envs

from .conftest import BATCH

TASK = "faucet"

# Of each rollout of the release without contact, how many steps: the end of 0 and 4 touches.
FREE_ROLLOUTS, CONTACT_ROLLOUTS = {0: 18, 2: 50, 4: 43}, (1, 3)
GOAL = np.array((0.1, -0.015, 0.065), np.float32)


def test_distance_is_the_releases(table):
    actual = envs.faucet.distance(object=table["object"], goal=table["goal"])
    np.testing.assert_allclose(actual, table["distance"], rtol=1e-5)


def test_success_is_the_releases(table):
    actual = envs.faucet.success(object=table["object"], goal=table["goal"])
    np.testing.assert_array_equal(actual, table["success"])


def test_reward_terms_add_up_to_the_releases(table):
    points = {name: table[name] for name in ("finger", "object", "goal", "start_distance")}
    terms = envs.faucet.reward(**points)
    assert set(terms) == {"reach", "turn"}
    np.testing.assert_allclose(terms["reach"] + terms["turn"], table["reward"], rtol=1e-5)


def tips(env, state):
    sites = [env.mj_model.site(name).id for name in ("right_tip", "left_tip")]
    return state.pipeline_state.site_xpos[:, np.array(sites)]


@pytest.mark.slow
def test_a_step_pays_what_the_reward_function_says(env, demonstration):
    final, *_ = demonstration
    terms = envs.faucet.reward(
        finger=tips(env, final).mean(axis=1),
        object=final.obs[:, 3:6],
        goal=final.obs[:, 6:],
        start_distance=jnp.full(BATCH, np.linalg.norm(GOAL)),
    )
    assert jnp.all(terms["turn"] > 2000)
    np.testing.assert_allclose(final.reward, terms["reach"] + terms["turn"], rtol=1e-6)
    distance = envs.faucet.distance(object=final.obs[:, 3:6], goal=final.obs[:, 6:])
    np.testing.assert_allclose(final.metrics["distance"], distance, rtol=1e-6)
    np.testing.assert_array_equal(final.metrics["success"], distance <= 0.05)


@pytest.fixture(scope="module")
def draws(reset):
    """Observations (1000, 9) at the start of episodes."""
    keys = jax.random.split(jax.random.key(1), (50, BATCH))
    return np.concatenate([reset(batch).obs for batch in keys])


@pytest.mark.slow
def test_starts_fill_their_box(draws):
    faucets = (draws[:, 6:] - GOAL)[:, :2]
    low, high = (-0.05, 0.8), (0.05, 0.85)
    assert np.all(faucets >= np.asarray(low, np.float32) - 1e-6)
    assert np.all(faucets <= np.asarray(high, np.float32) + 1e-6)
    np.testing.assert_allclose(faucets.min(axis=0), low, atol=1e-3)
    np.testing.assert_allclose(faucets.max(axis=0), high, atol=1e-3)
    np.testing.assert_allclose(faucets.mean(axis=0), (0, 0.825), atol=4e-3)
    assert len(np.unique(faucets, axis=0)) == len(faucets)


@pytest.mark.slow
def test_the_handle_starts_straight_and_the_goal_is_a_quarter_turn_away(draws):
    faucets = draws[:, 6:] - GOAL
    np.testing.assert_allclose(
        draws[:, 3:6] - faucets, np.tile((-0.015, -0.1, 0.065), (1000, 1)), atol=1e-6
    )
    np.testing.assert_allclose(faucets[:, 2], 0.05, atol=1e-6)


@pytest.mark.slow
def test_observation_is_hand_tip_goal_in_metres(env, demonstration, start):
    np.testing.assert_allclose(start.obs[:, :3], np.tile([0, 0.6, 0.2], (BATCH, 1)), atol=5e-4)
    final, *_ = demonstration
    data = mujoco.MjData(env.mj_model)
    for index in range(BATCH):
        data.qpos[:] = final.pipeline_state.qpos[index]
        data.mocap_pos[:] = final.pipeline_state.mocap_pos[index]
        mujoco.mj_kinematics(env.mj_model, data)
        expected = data.body("hand").xpos, data.site("object").xpos, data.body("goal").xpos
        np.testing.assert_allclose(final.obs[index], np.concatenate(expected), atol=1e-5)


@pytest.mark.slow
def test_the_start_is_settled(start, step):
    still = jnp.zeros((BATCH, 4)).at[:, 3].set(-1)
    after = step(start, still)
    np.testing.assert_allclose(after.obs, start.obs, atol=1e-4)
    np.testing.assert_allclose(after.pipeline_state.qpos, start.pipeline_state.qpos, atol=1e-3)


@pytest.fixture(scope="module")
def frames(env, released):
    """Our kinematics in the 100 configurations of the release."""
    model, data = env.mj_model, mujoco.MjData(env.mj_model)
    found = []
    for qpos, qvel in zip(released["fk/qpos"], released["fk/qvel"], strict=True):
        data.qpos[:], data.qvel[:] = qpos, qvel
        mujoco.mj_forward(model, data)
        inertia = np.zeros((model.nv, model.nv))
        mujoco.mj_fullM(model, data, inertia)
        found.append(
            {
                "xpos": [data.body(name).xpos.copy() for name in released["fk/bodies"]],
                "xquat": [data.body(name).xquat.copy() for name in released["fk/bodies"]],
                "site_xpos": [data.site(name).xpos.copy() for name in released["fk/sites"]],
                "M": inertia,
                "qfrc_bias": data.qfrc_bias.copy(),
            }
        )
    return {name: np.array([frame[name] for frame in found]) for name in found[0]}


def test_frames_are_those_of_the_release(frames, released):
    np.testing.assert_allclose(frames["xpos"], released["fk/xpos"], atol=1e-6)
    np.testing.assert_allclose(frames["site_xpos"], released["fk/site_xpos"], atol=1e-6)
    alike = np.abs(np.sum(frames["xquat"] * released["fk/xquat"], axis=-1))
    np.testing.assert_allclose(alike, 1, atol=1e-6)


def test_masses_are_those_of_the_release(frames, released, env):
    """But for the handle's armature, which stands for its friction on the base."""
    inertia = frames["M"].copy()
    inertia[:, -1, -1] -= env.mj_model.joint("handle").armature
    np.testing.assert_allclose(inertia, released["fk/M"], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(frames["qfrc_bias"], released["fk/qfrc_bias"], rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def demonstration(start, play):
    return play(start, lambda state, _: envs.faucet.scripted(state))


@pytest.mark.slow
def test_the_script_turns_every_handle_home(demonstration):
    final, *_ = demonstration
    assert jnp.all(final.metrics["success"] == 1)
    assert final.metrics["distance"].max() < 0.01


@pytest.mark.slow
def test_the_handle_stops_at_a_quarter_turn_and_the_faucet_stays(start, demonstration, env):
    final, *_ = demonstration
    angle = final.pipeline_state.qpos[:, 9]
    np.testing.assert_allclose(angle, np.pi / 2, atol=5e-3)
    for name in ("faucet", "goal"):
        body = env.mj_model.body(name).id
        np.testing.assert_allclose(
            final.pipeline_state.xpos[:, body], start.pipeline_state.xpos[:, body], atol=1e-6
        )


@pytest.mark.slow
def test_survives_wild_play(start, play, rng):
    """Full-speed moves, mostly towards the faucet and down on it."""

    def policy(_, time):
        moves = rng.uniform(-1, 1, (BATCH, 4)) + [0, 0.4, -0.3, 0]
        return jnp.asarray(np.sign(moves), jnp.float32)

    final, _, observations = play(start, policy)
    assert jnp.all(final.metrics["nan"] == 0)
    assert np.all(np.isfinite(observations))
    assert observations[..., 2].min() > 0.03
    assert np.ptp(final.pipeline_state.qpos[:, 9]) > 0.1
    assert jnp.abs(final.pipeline_state.qpos[:, 9]).max() < np.pi / 2 + 5e-3


@pytest.mark.slow
def test_the_gripper_closes_on_one_and_opens_on_minus_one(start, play):
    closed, *_ = play(start, lambda *_: jnp.zeros((BATCH, 4)).at[:, 3].set(1), steps=50)
    np.testing.assert_allclose(closed.pipeline_state.qpos[:, 7], 0.04, atol=1e-3)
    np.testing.assert_allclose(closed.pipeline_state.qpos[:, 8], -0.03, atol=1e-3)
    again, *_ = play(closed, lambda *_: jnp.zeros((BATCH, 4)).at[:, 3].set(-1), steps=50)
    np.testing.assert_allclose(again.pipeline_state.qpos[:, 7:9], 0, atol=1e-3)


@pytest.mark.slow
def test_the_hand_goes_down_to_four_centimetres(env, start, play):
    final, *_ = play(start, lambda *_: jnp.full((BATCH, 4), -1, jnp.float32), steps=60)
    mocap = final.pipeline_state.mocap_pos[:, env.mj_model.body("mocap").mocapid[0]]
    np.testing.assert_allclose(mocap, np.tile((-0.5, 0.4, 0.04), (BATCH, 1)), atol=1e-6)


def in_c(env, start, actions):
    """Hand, handle's tip (time, BATCH, 3) and `qpos` in C MuJoCo under the same actions."""
    model, physics = env.mj_model, start.pipeline_state
    places, qpos = np.zeros((2, *actions.shape[:2], 3)), np.zeros((*actions.shape[:2], model.nq))
    for index in range(BATCH):
        data = mujoco.MjData(model)
        data.qpos[:], data.mocap_pos[:] = physics.qpos[index], physics.mocap_pos[index]
        data.ctrl[:] = physics.ctrl[index]
        for time, action in enumerate(np.clip(actions[:, index], -1, 1)):
            target = data.mocap_pos[0] + env.action_scale * action[:3]
            data.mocap_pos[0] = np.clip(target, (-0.5, 0.4, 0.04), (0.5, 1, 0.5))
            before, after = data.ctrl.copy(), action[3] * np.array([1, -1])
            for progress in np.arange(1, 6) / 5:
                data.ctrl[:] = before + progress * (after - before)
                mujoco.mj_step(model, data)
            mujoco.mj_kinematics(model, data)
            places[:, time, index] = data.body("hand").xpos, data.site("object").xpos
            qpos[time, index] = data.qpos
    return *places, qpos


def farthest(points, others):
    return np.linalg.norm(points - others, axis=-1).max()


@pytest.mark.slow
def test_the_arm_moves_as_in_c(env, start, play, rng):
    """50 steps of random motion in front of the faucet.

    C MuJoCo counts in that the weld's Jacobian changes as the arm moves, MJX does not.
    """
    moves = rng.uniform(-1, 1, (10, BATCH, 4)).astype(np.float32)
    moves[..., 1] = -np.abs(moves[..., 1])
    final, actions, observations = play(start, lambda _, time: jnp.asarray(moves[time // 5]), 50)
    hand, tip, qpos = in_c(env, start, actions)
    assert farthest(observations[..., :3], hand) < 1.5e-3
    assert farthest(observations[..., 3:6], tip) < 1e-6
    np.testing.assert_allclose(final.pipeline_state.qpos, qpos[-1], atol=3e-3)


@pytest.mark.slow
def test_turning_goes_as_in_c(env, start, demonstration):
    _, actions, observations = demonstration
    _, tip, _ = in_c(env, start, actions)
    error = np.linalg.norm(observations[..., 3:6] - tip, axis=-1).max(axis=0)
    assert np.median(error) < 2e-3
    assert np.quantile(error, 0.95) < 1e-2


@pytest.fixture(scope="module")
def replay(released, start, step):
    """What the release's rollouts become here (50, BATCH, ...), each in the lane of its number."""
    physics = jax.device_get(start.pipeline_state)
    fields = {name: getattr(physics, name).copy() for name in ("qpos", "qvel", "mocap_pos", "ctrl")}
    actions = np.zeros((50, BATCH, 4), np.float32)
    for index in (*FREE_ROLLOUTS, *CONTACT_ROLLOUTS):
        rollout = f"rollout{index:02d}/"
        for name in ("qpos", "qvel", "ctrl"):
            fields[name][index] = released[f"{rollout}init_{name}"]
        names = ("init_mocap_pos", "faucet", "goal")
        fields["mocap_pos"][index] = [released[rollout + name] for name in names]
        actions[:, index] = released[rollout + "actions"]
    fields = {name: jnp.asarray(field) for name, field in fields.items()}
    state = start.replace(pipeline_state=start.pipeline_state.replace(**fields))
    found = {"qpos": [], "obs": [], "ctrl": []}
    for action in actions:
        state = step(state, jnp.asarray(action))
        found["qpos"].append(state.pipeline_state.qpos)
        found["ctrl"].append(state.pipeline_state.ctrl)
        found["obs"].append(state.obs)
    return {name: np.array(values) for name, values in found.items()}


def hands(env, coordinates):
    """Hand positions (time, 3) in the release's configurations."""
    data, places = mujoco.MjData(env.mj_model), []
    for qpos in coordinates:
        data.qpos[:] = qpos
        mujoco.mj_kinematics(env.mj_model, data)
        places.append(data.body("hand").xpos.copy())
    return np.array(places)


@pytest.mark.slow
@pytest.mark.parametrize("index", FREE_ROLLOUTS)
def test_hand_fingers_and_handle_move_as_in_the_release(env, released, replay, index):
    """The servos' targets jump there and move evenly here: fingers are 2 mm apart for a moment."""
    steps = FREE_ROLLOUTS[index]
    expected = released[f"rollout{index:02d}/qpos"][:steps]
    qpos, obs = replay["qpos"][:steps, index], replay["obs"][:steps, index]
    assert farthest(obs[:, :3], hands(env, expected)) < 2e-3
    np.testing.assert_allclose(qpos[:, 7:9], expected[:, 7:9], atol=3e-3)
    np.testing.assert_allclose(qpos[:, 9], expected[:, 9], atol=1e-3)
    ctrl = np.clip(released[f"rollout{index:02d}/ctrl"], -1, 1)[:steps]
    np.testing.assert_allclose(replay["ctrl"][:steps, index], ctrl, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("index", CONTACT_ROLLOUTS)
def test_the_handle_turns_as_in_the_release(env, released, replay, index):
    expected = released[f"rollout{index:02d}/qpos"]
    assert expected[-1, 9] > 0.07
    np.testing.assert_allclose(replay["qpos"][:, index, 9], expected[:, 9], atol=2e-2)
    assert farthest(replay["obs"][:, index, :3], hands(env, expected)) < 2e-2
