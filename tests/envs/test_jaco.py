import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from envs.jaco import Waypoint, follow

from .conftest import BATCH

TASK = "pick"


def test_frames_and_masses_are_those_of_the_release(env, released):
    model, data = env.mj_model, mujoco.MjData(env.mj_model)
    bodies = [model.body(name).id for name in released["fk/bodies"]]
    inertia = np.zeros((model.nv, model.nv))
    names = ("qpos", "qvel", "xpos", "xquat", "M", "qfrc_bias")
    for qpos, qvel, xpos, xquat, expected_inertia, bias in zip(
        *(released[f"fk/{name}"] for name in names), strict=True
    ):
        data.qpos[:9], data.qvel[:9] = qpos, qvel
        mujoco.mj_forward(model, data)
        mujoco.mj_fullM(model, data, inertia)
        np.testing.assert_allclose(data.xpos[bodies], xpos, atol=1e-6)
        np.testing.assert_allclose(np.abs(np.sum(data.xquat[bodies] * xquat, axis=-1)), 1)
        np.testing.assert_allclose(inertia[:9, :9], expected_inertia, rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(data.qfrc_bias[:9], bias, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_an_action_moves_the_targets_of_arm_and_fingers(env, start, step, rng):
    action = rng.uniform(-7, 7, (BATCH, 9)).astype(np.float32)
    before = np.asarray(start.pipeline_state.ctrl)
    after = step(start, jnp.asarray(action)).pipeline_state.ctrl
    moves = 0.05 * np.clip(action, -5, 5)
    moves[:, 6:] = moves[:, 7:8]
    low, high = env.mj_model.actuator_ctrlrange.T
    np.testing.assert_allclose(after, np.clip(before + moves, low, high), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [-1, 1])
def test_targets_stay_in_their_ranges(env, start, play, sign):
    final, *_ = play(start, lambda *_: jnp.full((BATCH, 9), 5 * sign, jnp.float32), steps=20)
    bound = env.mj_model.actuator_ctrlrange[:, (sign + 1) // 2]
    np.testing.assert_allclose(final.pipeline_state.ctrl, np.tile(bound, (BATCH, 1)), atol=1e-6)


@pytest.mark.slow
def test_the_servos_keep_up_with_full_size_actions(start, play):
    """Quarter-radian reversals of every joint at once, in the air."""

    def policy(_, time):
        return jnp.full((BATCH, 9), 5 * (-1) ** time, jnp.float32).at[:, 7].set(0)

    final, *_ = play(start, policy, steps=10)
    physics = final.pipeline_state
    np.testing.assert_allclose(physics.qpos[:, :6], physics.ctrl[:, :6], atol=0.03)


@pytest.mark.slow
def test_observation_is_coordinates_velocities_and_finger_point(env, start, step):
    state = step(start, jnp.ones((BATCH, 9)))
    physics = state.pipeline_state
    np.testing.assert_array_equal(state.obs[:, :16], physics.qpos)
    np.testing.assert_array_equal(state.obs[:, 16:31], physics.qvel)
    data = mujoco.MjData(env.mj_model)
    for index in range(BATCH):
        data.qpos[:] = physics.qpos[index]
        mujoco.mj_kinematics(env.mj_model, data)
        fingers = [data.body(f"jaco_link_finger_{number}").xipos for number in (1, 2, 3)]
        np.testing.assert_allclose(state.obs[index, 31:34], np.mean(fingers, axis=0), atol=1e-5)


@pytest.mark.slow
def test_robot_state_is_position_and_velocity_of_the_joints(env, start, step):
    state = step(start, jnp.ones((BATCH, 9)))
    position, velocity = jax.vmap(env.robot_state)(state)
    np.testing.assert_array_equal(position, state.obs[:, :9])
    np.testing.assert_array_equal(velocity, state.obs[:, 16:25])


@pytest.mark.slow
def test_a_trace_goes_through_the_finger_point(env, start, step):
    state = step(start, jnp.ones((BATCH, 9)))
    position, _ = jax.vmap(env.robot_state)(state)
    trace = env.trace(np.asarray(position).reshape(2, BATCH // 2, 9))
    np.testing.assert_allclose(trace.reshape(BATCH, 3), state.obs[:, 31:34], atol=1e-5)


@pytest.mark.slow
def test_arm_and_cube_rest(start, play):
    _, _, observations = play(start, lambda *_: jnp.zeros((BATCH, 9)))
    np.testing.assert_allclose(
        observations[..., :9], np.tile(start.obs[:, :9], (55, 1, 1)), atol=1e-4
    )
    drift = np.linalg.norm(observations[..., 9:12] - np.asarray(start.obs)[:, 9:12], axis=-1)
    assert drift.max() < 1e-3


@pytest.mark.slow
def test_the_arm_moves_as_in_c(env, start, play, rng):
    """50 steps of random motion in the air."""
    moves = rng.uniform(-1, 1, (10, BATCH, 9)).astype(np.float32)
    _, actions, observations = play(start, lambda _, time: jnp.asarray(moves[time // 5]), steps=50)
    expected = in_c(env, start, actions)
    assert observations[..., 33].min() > 0.15
    np.testing.assert_allclose(observations[..., :9], expected[..., :9], atol=1e-4)
    np.testing.assert_allclose(observations[..., 31:34], expected[..., 31:34], atol=1e-4)


def in_c(env, start, actions):
    """Observations (time, BATCH, 34) in C MuJoCo, on our model under the same actions."""
    model, physics = env.mj_model, start.pipeline_state
    low, high = model.actuator_ctrlrange.T
    observations = np.zeros((*actions.shape[:2], 34))
    for index in range(BATCH):
        data = mujoco.MjData(model)
        data.qpos[:], data.ctrl[:] = physics.qpos[index], physics.ctrl[index]
        for time, action in enumerate(np.clip(actions[:, index], -5, 5)):
            action = np.array([*action[:6], *[action[7]] * 3])
            before, after = data.ctrl.copy(), np.clip(data.ctrl + 0.05 * action, low, high)
            after = np.clip(after, data.qpos[:9] - 0.3, data.qpos[:9] + 0.3)
            for progress in (0.2, 0.4, 0.6, 0.8, 1):
                data.ctrl[:] = before + progress * (after - before)
                mujoco.mj_step(model, data)
            mujoco.mj_kinematics(model, data)
            fingers = [data.body(f"jaco_link_finger_{number}").xipos for number in (1, 2, 3)]
            observations[time, index] = *data.qpos, *data.qvel, *np.mean(fingers, axis=0)
    return observations


@pytest.mark.slow
def test_survives_wild_play(start, play, rng):
    """Full-size actions, mostly downwards: the cube is hit, and pressed into the floor at times."""

    def policy(_, time):
        push = np.array([0, 0.5, -0.5, 0, 0, 0, 0, 0, 0])
        return jnp.asarray(5 * np.sign(rng.uniform(-1, 1, (BATCH, 9)) + push), jnp.float32)

    final, _, observations = play(start, policy)
    assert jnp.all(final.metrics["nan"] == 0)
    assert np.all(np.isfinite(observations))
    assert np.linalg.norm(observations[-1, :, 9:11] - observations[0, :, 9:11], axis=-1).max() > 0.1
    assert observations[..., 11].min() > -0.04
    assert observations[-1, :, 11].min() > 0.03


@pytest.mark.slow
def test_a_script_reaches_its_waypoints_in_time(start, play):
    first, second = (0.1, -0.9, 0.5, 1.4, -2.7, 0.1), (0.0, -0.8, 0.6, 1.3, -2.6, 0.0)
    waypoints = (
        Waypoint(step=3, arm=first, fingers=0.3, slope=((1.0, 0.0),) + ((0.0, 0.0),) * 5),
        Waypoint(step=5, arm=None, fingers=0.5),
        Waypoint(step=9, arm=second, fingers=0.5),
    )
    targets = []

    def policy(state, _):
        targets.append(np.asarray(state.pipeline_state.ctrl))
        return follow(state, waypoints, cube=(0.55, 0.15))

    play(start, policy, steps=12)
    aside = np.asarray(start.obs[:, 9]) - 0.55
    expected = np.tile(first, (BATCH, 1)) + np.outer(aside, [1, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(targets[3][:, :6], expected, atol=1e-5)
    np.testing.assert_allclose(targets[5][:, :6], expected, atol=1e-5)
    np.testing.assert_allclose(targets[5][:, 6:], 0.5, atol=1e-5)
    for target in targets[9:]:
        np.testing.assert_allclose(target[:, :6], np.tile(second, (BATCH, 1)), atol=1e-5)
