from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import envs

from .conftest import BATCH

TASK = "push"

SAWYER = Path(envs.__file__).parent / "assets" / "sawyer.xml"


def with_moving_fingers():
    """Our arm with the release's two sliding fingers in place of the closed ones."""
    spec = mujoco.MjSpec.from_file(str(SAWYER))
    hand = spec.body("hand")
    hand.mass, hand.ipos, hand.inertia = 0.08635, (-0.05, 0, 0), (8.7789e-5, 1.439e-6, 8.7789e-5)
    x, y, z = 0.045, 0.003, 0.015
    for side in (-1, 1):
        finger = hand.add_body(pos=(0, 0.05 * side, 0))
        finger.add_joint(type=mujoco.mjtJoint.mjJNT_SLIDE, axis=(0, 1, 0), armature=100)
        pad = finger.add_body(pos=(0, -y * side, 0))
        for body in (finger, pad):
            body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=(x, y, z), mass=0.0162)
    return spec.compile()


def test_frames_are_those_of_the_release(released):
    model = mujoco.MjModel.from_xml_path(str(SAWYER))
    data = mujoco.MjData(model)
    bodies = [model.body(name).id for name in released["fk/bodies"]]
    for qpos, xpos, xquat in zip(
        released["fk/qpos"], released["fk/xpos"], released["fk/xquat"], strict=True
    ):
        data.qpos[:] = qpos[:7]
        mujoco.mj_kinematics(model, data)
        np.testing.assert_allclose(data.xpos[bodies], xpos, atol=1e-6)
        np.testing.assert_allclose(np.abs(np.sum(data.xquat[bodies] * xquat, axis=-1)), 1)


def test_masses_are_those_of_the_release(released):
    """Inertia matrix and velocity-dependent forces of arm and fingers."""
    model = with_moving_fingers()
    data = mujoco.MjData(model)
    inertia = np.zeros((9, 9))
    for qpos, qvel, expected_inertia, expected_bias in zip(
        *(released[f"fk/{name}"] for name in ("qpos", "qvel", "M", "qfrc_bias")), strict=True
    ):
        data.qpos[:], data.qvel[:] = qpos, qvel
        mujoco.mj_forward(model, data)
        mujoco.mj_fullM(model, data, inertia)
        np.testing.assert_allclose(inertia, expected_inertia, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(data.qfrc_bias, expected_bias, atol=1e-3, rtol=1e-3)


def test_closing_the_fingers_hardly_changes_the_arm(released):
    model = mujoco.MjModel.from_xml_path(str(SAWYER))
    data = mujoco.MjData(model)
    inertia = np.zeros((7, 7))
    for qpos, expected in zip(released["fk/qpos"], released["fk/M"], strict=True):
        data.qpos[:] = qpos[:7]
        mujoco.mj_forward(model, data)
        mujoco.mj_fullM(model, data, inertia)
        error = np.linalg.norm(inertia - expected[:7, :7])
        assert error < 1e-3 * np.linalg.norm(expected[:7, :7])


def test_observation_is_hand_object_goal_in_metres(env, start):
    physics = start.pipeline_state
    np.testing.assert_allclose(start.obs[:, :3], np.tile([0, 0.6, 0.2], (BATCH, 1)), atol=5e-4)
    np.testing.assert_array_equal(start.obs[:, 3:6], physics.qpos[:, 7:10])
    np.testing.assert_array_equal(
        start.obs[:, 6:], physics.mocap_pos[:, env.mj_model.body("goal").mocapid[0]]
    )


@pytest.mark.parametrize("axis", range(3))
def test_an_action_moves_the_mocap_body_by_action_scale(env, start, step, axis):
    mocap = env.mj_model.body("mocap").mocapid[0]
    action = jnp.zeros((BATCH, 3)).at[:, axis].set(jnp.linspace(-2, 2, BATCH))
    before = start.pipeline_state.mocap_pos[:, mocap]
    after = step(start, action).pipeline_state.mocap_pos[:, mocap]
    np.testing.assert_allclose(after - before, 0.01 * np.clip(action, -1, 1), atol=1e-6)


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_hand_stays_in_its_box(env, start, play, sign):
    final, *_ = play(start, lambda *_: jnp.full((BATCH, 3), sign, jnp.float32), steps=60)
    mocap = final.pipeline_state.mocap_pos[:, env.mj_model.body("mocap").mocapid[0]]
    corner = (-0.5, 0.4, 0.05) if sign < 0 else (0.5, 1, 0.5)
    np.testing.assert_allclose(mocap, np.tile(corner, (BATCH, 1)), atol=1e-6)


def test_robot_state_is_position_and_velocity_of_the_hand(env, start, step):
    state = step(start, jnp.ones((BATCH, 3)))
    state = jax.tree.map(lambda leaf: leaf[0], state)
    position, velocity = env.robot_state(state)
    data = mujoco.MjData(env.mj_model)
    data.qpos[:], data.qvel[:] = state.pipeline_state.qpos, state.pipeline_state.qvel
    mujoco.mj_forward(env.mj_model, data)
    jacobian = np.zeros((3, env.mj_model.nv))
    mujoco.mj_jacBody(env.mj_model, data, jacobian, None, env.mj_model.body("hand").id)
    np.testing.assert_allclose(position, data.body("hand").xpos, atol=1e-5)
    np.testing.assert_allclose(velocity, jacobian @ data.qvel, atol=1e-4)
    assert np.linalg.norm(velocity) > 0.1


def test_a_trace_goes_through_the_hand(env, start, step):
    state = step(start, jnp.ones((BATCH, 3)))
    position, _ = jax.vmap(env.robot_state)(state)
    np.testing.assert_array_equal(env.trace(np.asarray(position)), state.obs[:, :3])
