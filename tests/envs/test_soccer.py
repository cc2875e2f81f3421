import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from brax.envs.wrappers.training import AutoResetWrapper, EpisodeWrapper, VmapWrapper

import envs
from envs import tabletop

from .conftest import BATCH

TASK = "soccer"

SCENE = Path(envs.__file__).parent / "assets" / "soccer.xml"

# How many steps of a released rollout pass before the hand meets frame or table, and the ball.
# Here the frame does not stop the hand, and the closed fingers do not cage the ball.
FREE_HAND, FREE_BALL = (45, 38, 33, 43, 50), (10, 16, 50, 9, 50)


def test_distance_is_the_releases(table):
    actual = envs.soccer.distance(object=table["object"], goal=table["goal"])
    np.testing.assert_allclose(actual, table["distance"], rtol=1e-5)


def test_success_is_the_releases(table):
    actual = envs.soccer.success(object=table["object"], goal=table["goal"])
    np.testing.assert_array_equal(actual, table["success"])


def test_reward_terms_add_up_to_the_releases(table):
    points = {name: table[name] for name in ("finger", "object", "goal", "start_distance")}
    terms = envs.soccer.reward(**points, reached=table["reached_before"].astype(bool))
    assert set(terms) == {"reach", "shoot"}
    np.testing.assert_allclose(terms["reach"] + terms["shoot"], table["reward"], rtol=1e-5)


def test_reaching_is_remembered_like_in_the_release(env, table):
    points = {name: table[name] for name in ("finger", "object")}
    after = env.update(points | {"reached": table["reached_before"].astype(bool)})
    np.testing.assert_array_equal(after["reached"], table["reached_after"].astype(bool))


@pytest.mark.parametrize("delay", [1, 5])
@pytest.mark.parametrize("index", range(5))
def test_a_rollout_is_paid_as_in_the_release(released, index, delay):
    """The release's delayed reward sees the object of the first of every five steps."""
    rollout = f"rollout{index:02d}/"
    seen = np.arange(50) // delay * delay
    with jax.enable_x64(True):
        finger = jnp.asarray(released[rollout + "finger_com"])
        ball = jnp.asarray(released[rollout + "obj_pos"][seen])
        now = np.linalg.norm(finger - ball, axis=-1) < 0.05
        before = np.concatenate([[False], np.logical_or.accumulate(now)[:-1]])
        terms = envs.soccer.reward(
            finger=finger,
            object=ball,
            goal=jnp.tile(released[rollout + "goal"], (50, 1)),
            start_distance=jnp.tile(released[rollout + "start_distance"], 50),
            reached=jnp.asarray(before),
        )
        expected = released[rollout + f"reward_delay{delay}"]
        np.testing.assert_allclose(terms["reach"] + terms["shoot"], expected, rtol=1e-5)


@pytest.mark.slow
def test_a_step_pays_what_the_reward_function_says(env, start, step):
    reached = jnp.arange(BATCH) % 2 == 0
    first = step(start, jnp.ones((BATCH, 3)))
    assert not np.any(first.info["reached"])
    after = step(first.replace(info=first.info | {"reached": reached}), jnp.ones((BATCH, 3)))
    terms = envs.soccer.reward(
        finger=after.pipeline_state.site_xpos[:, env.mj_model.site("finger").id],
        object=after.obs[:, 3:6],
        goal=after.obs[:, 6:],
        start_distance=start.metrics["distance"],
        reached=reached,
    )
    np.testing.assert_allclose(after.reward, terms["reach"] + terms["shoot"], rtol=1e-6)
    np.testing.assert_array_equal(after.reward > 0, reached)
    np.testing.assert_array_equal(after.info["reached"], reached)
    distance = envs.soccer.distance(object=after.obs[:, 3:6], goal=after.obs[:, 6:])
    np.testing.assert_allclose(after.metrics["distance"], distance, rtol=1e-6)
    np.testing.assert_array_equal(after.metrics["success"], distance <= 0.07)


@pytest.mark.slow
def test_observation_is_hand_ball_goal_in_metres(env, start):
    physics = start.pipeline_state
    goal = physics.mocap_pos[:, env.mj_model.body("goal").mocapid[0]]
    np.testing.assert_allclose(start.obs[:, :3], np.tile([0, 0.6, 0.2], (BATCH, 1)), atol=5e-4)
    np.testing.assert_allclose(start.obs[:, 3:6], physics.qpos[:, 7:], atol=1e-6)
    np.testing.assert_array_equal(start.obs[:, 6:], goal)
    assert env.mj_model.nq == 10


@pytest.mark.slow
def test_an_action_moves_the_mocap_body_by_two_centimetres(env, start, step):
    mocap = env.mj_model.body("mocap").mocapid[0]
    action = jnp.linspace(-2, 2, BATCH)[:, None] * jnp.ones(3)
    before = start.pipeline_state.mocap_pos[:, mocap]
    after = step(start, action).pipeline_state.mocap_pos[:, mocap]
    np.testing.assert_allclose(after - before, 0.02 * np.clip(action, -1, 1), atol=1e-6)
    assert env.dt == pytest.approx(0.0125)


@pytest.fixture(scope="module")
def draws(reset):
    """Observations (1000, 9) at the start of episodes."""
    keys = jax.random.split(jax.random.key(1), (50, BATCH))
    return np.concatenate([reset(batch).obs for batch in keys])


@pytest.mark.slow
def test_starts_are_those_of_the_table(reset, start):
    keys = jax.random.split(jax.random.key(0), BATCH)
    ball, goal = jax.vmap(tabletop.draw_start)(keys)
    np.testing.assert_allclose(start.obs[:, 3:5], ball, atol=1e-6)
    np.testing.assert_array_equal(start.obs[:, 6:8], goal)
    jax.tree.map(np.testing.assert_array_equal, reset(keys), start)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("columns", "low", "high"),
    [((3, 4), (-0.1, 0.6), (0.1, 0.7)), ((6, 7), (-0.1, 0.8), (0.1, 0.9))],
    ids=["ball", "goal"],
)
def test_starts_fill_their_box(draws, columns, low, high):
    points = draws[:, columns]
    assert np.all((points >= np.float32(low) - 1e-6) & (points <= np.float32(high) + 1e-6))
    np.testing.assert_allclose(points.min(axis=0), low, atol=2e-3)
    np.testing.assert_allclose(points.max(axis=0), high, atol=2e-3)
    assert len(np.unique(points, axis=0)) == len(draws)


@pytest.mark.slow
def test_ball_and_goal_start_apart_at_the_ball_s_height(draws):
    assert np.linalg.norm(draws[:, 3:5] - draws[:, 6:8], axis=-1).min() >= 0.15 - 1e-6
    np.testing.assert_allclose(draws[:, 5], 0.03, atol=2e-4)
    np.testing.assert_allclose(draws[:, 8], 0.03, atol=1e-6)


@pytest.fixture(scope="module")
def demonstration(start, play):
    return play(start, lambda state, _: envs.soccer.scripted(state))


@pytest.mark.slow
def test_the_script_brings_the_ball_home(demonstration):
    final, *_ = demonstration
    assert final.metrics["success"].sum() >= 19
    assert np.median(final.metrics["distance"]) < 0.04
    assert np.all(final.info["reached"])


@pytest.mark.slow
def test_a_ball_brought_home_rests(demonstration):
    _, _, observations = demonstration
    drift = np.linalg.norm(observations[-1, :, 3:6] - observations[-20, :, 3:6], axis=-1)
    assert np.median(drift) < 2e-3


@pytest.mark.slow
def test_the_ball_slides_on_the_table(demonstration):
    _, _, observations = demonstration
    assert observations[..., 5].min() > 0.025
    assert observations[..., 5].max() < 0.06
    np.testing.assert_allclose(observations[-1, :, 5], 0.03, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("push", "stop"),
    [((0, 1), 0.041 - 0.001 - 0.03), ((1, 0), 0.105 - 0.001 - 0.03), ((-1, 0), 0.105 - 0.03)],
    ids=["back", "right", "left"],
)
def test_the_frame_stops_the_ball(env, start, play, push, stop):
    """A ball thrown from the middle of the frame comes no farther than its walls."""
    physics = start.pipeline_state
    goal = physics.mocap_pos[:, env.mj_model.body("goal").mocapid[0], :2]
    speed = jnp.linspace(2, 4, BATCH)[:, None] * jnp.array(push, jnp.float32)
    thrown = physics.replace(
        qpos=physics.qpos.at[:, 7:9].set(goal), qvel=physics.qvel.at[:, 7:9].set(speed)
    )
    state = start.replace(pipeline_state=thrown)
    _, _, observations = play(state, lambda *_: jnp.zeros((BATCH, 3)), steps=30)
    travel = (observations[..., 3:5] - observations[..., 6:8]) @ np.array(push)
    assert travel.max(axis=0).min() > stop - 2e-3
    assert travel.max() < stop + 0.015
    assert travel[-1].max() < stop + 1e-3


@pytest.mark.slow
def test_a_new_episode_has_not_reached(env, start):
    """Also where brax restarts it, which leaves `info` as it was."""
    wrapped = AutoResetWrapper(EpisodeWrapper(VmapWrapper(env), 2, 1))
    assert not np.any(start.info["reached"])
    step = jax.jit(wrapped.step)
    state = jax.jit(wrapped.reset)(jax.random.split(jax.random.PRNGKey(0), BATCH))
    state = state.replace(info=state.info | {"reached": jnp.ones(BATCH, bool)})
    down = jnp.tile(jnp.array([0.0, 0.0, -1.0]), (BATCH, 1))
    first = step(state, down)
    np.testing.assert_array_equal(first.info["reached"], False)
    touched = first.replace(info=first.info | {"reached": jnp.ones(BATCH, bool)})
    restarted = step(touched, down)
    assert np.all(restarted.done)
    np.testing.assert_array_equal(step(restarted, down).info["reached"], False)


def in_c(env, start, actions):
    """Joints (time, BATCH, 7), hand and ball (time, BATCH, 3) in C MuJoCo, on our model."""
    model, physics = env.mj_model, start.pipeline_state
    joints, places = np.zeros((*actions.shape[:2], 7)), np.zeros((2, *actions.shape))
    for index in range(BATCH):
        data = mujoco.MjData(model)
        data.qpos[:], data.mocap_pos[:] = physics.qpos[index], physics.mocap_pos[index]
        for time, action in enumerate(actions[:, index]):
            target = data.mocap_pos[0] + env.action_scale * np.clip(action, -1, 1)
            data.mocap_pos[0] = np.clip(target, (-0.5, 0.4, 0.05), (0.5, 1, 0.5))
            mujoco.mj_step(model, data, 5)
            mujoco.mj_kinematics(model, data)
            joints[time, index] = data.qpos[:7]
            places[:, time, index] = data.body("hand").xpos, data.site("object").xpos
    return joints, places[0], places[1]


def farthest(points, others):
    return np.linalg.norm(points - others, axis=-1).max()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("speed", "hand_error", "joint_error"), [(0.1, 1e-4, 1e-4), (1, 1e-2, 5e-2)]
)
def test_the_arm_moves_as_in_c(env, start, play, rng, speed, hand_error, joint_error):
    """50 steps of random motion above the ball, slow and as fast as can be.

    C MuJoCo's weld accounts for the change of its Jacobian, which grows with the square of the
    velocity; MJX leaves it out.
    """
    moves = speed * rng.uniform(-1, 1, (10, BATCH, 3))
    moves[..., 2] = np.abs(moves[..., 2]) - 0.4 * speed
    moves = moves.astype(np.float32)
    final, actions, observations = play(
        start, lambda _, time: jnp.asarray(moves[time // 5]), steps=50
    )
    joints, hand, ball = in_c(env, start, actions)
    assert observations[..., 2].min() > 0.11
    assert farthest(observations[..., :3], hand) < hand_error
    assert np.abs(final.pipeline_state.qpos[:, :7] - joints[-1]).max() < joint_error
    assert farthest(observations[..., 3:6], ball) < 1e-5


@pytest.mark.slow
def test_pushing_goes_as_in_c(env, start, demonstration):
    _, actions, observations = demonstration
    _, hand, ball = in_c(env, start, actions)
    assert farthest(observations[..., :3], hand) < 5e-3
    error = np.linalg.norm(observations[-1, :, 3:6] - ball[-1], axis=-1)
    assert np.median(error) < 5e-3
    assert np.quantile(error, 0.95) < 3e-2


def ours(coordinates):
    """Arm and ball's position, without the fingers and the ball's orientation."""
    return np.concatenate([coordinates[:7], coordinates[9:12]])


@pytest.mark.slow
@pytest.mark.parametrize("index", range(5))
def test_the_hand_moves_as_in_the_release(recorded, replay, index):
    hand, ball = recorded(index)
    steps = FREE_HAND[index]
    assert farthest(replay[:steps, index, :3], hand[:steps]) < 4e-3
    steps = FREE_BALL[index]
    assert farthest(replay[:steps, index, 3:6], ball[:steps]) < 2e-4


def released_ball():
    """Our scene with the release's ball, finger boxes, contacts, elliptic cone and solver."""
    spec = mujoco.MjSpec.from_file(str(SCENE))
    for pair in spec.pairs:
        spec.delete(pair)
    ball, hand = spec.body("object"), spec.body("hand")
    for joint in ball.joints:
        spec.delete(joint)
    ball.add_freejoint()
    ball.inertia = (1e5, 1e5, 1e5)

    def touch(name, friction, solref, solimp, margin=0.0):
        spec.add_pair(
            geomname1=name,
            geomname2="object",
            condim=4,
            friction=(friction, friction, 0.1, 0.002, 0.002),
            solref=(solref, 1),
            solimp=(*solimp, 0.5, 2),
            margin=margin,
        )

    touch("table", 2, 0.015, (0.995, 0.995, 0.005))
    for side in (-1, 1):
        for name, y in (("claw", 0.006), ("pad", 0.003)):
            hand.add_geom(
                name=f"{name}{side}",
                type=mujoco.mjtGeom.mjGEOM_BOX,
                size=(0.045, 0.003, 0.015),
                pos=(0, y * side, 0),
                mass=0,
                contype=0,
                conaffinity=0,
            )
        touch(f"claw{side}", 1, 0.015, (0.995, 0.995, 0.005), 0.001)
        touch(f"pad{side}", 2, 0.01, (0.945, 0.945, 0.01), 0.001)
    model = spec.compile()
    model.opt.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    model.opt.iterations = model.opt.ls_iterations = 50
    return model


def pushes(model, *, pace):
    """Where the closed fingers push the ball, 16 cm from 6 cm behind it, in C MuJoCo.

    `pace` is the way of the mocap body in a control step, m.
    """
    ends = []
    held = mujoco.MjData(model)
    held.qpos[:7] = (1.926, -0.517, -1.048, 1.640, 1.014, 1.085, 2.316)
    held.qpos[7:9] = held.mocap_pos[1, :2] = 0.4, 0.4
    for z in np.linspace(0.2, 0.055, 40):
        held.mocap_pos[0, 2] = z
        mujoco.mj_step(model, held, 20)
    mujoco.mj_step(model, held, 400)
    for angle, offset in itertools.product((0, 30, 60, 90, -45), (-0.012, -0.005, 0, 0.008, 0.014)):
        ahead = np.array([np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))])
        ball = (0, 0.6) + 0.06 * ahead + offset * np.array([-ahead[1], ahead[0]])
        data = mujoco.MjData(model)
        mujoco.mj_copyData(data, model, held)
        data.qpos[7:10], data.qvel[7:] = (*ball, 0.03), 0
        for _ in range(round(0.16 / pace)):
            data.mocap_pos[0, :2] += pace * ahead
            mujoco.mj_step(model, data, 5)
        mujoco.mj_step(model, data, 50)
        ends.append(data.qpos[7:9] - ball)
    return np.array(ends)


@pytest.mark.parametrize(("pace", "mean_error"), [(0.01, 5e-3), (0.02, 1.5e-2)])
def test_our_ball_ends_up_where_the_releases_does(pace, mean_error):
    ours = pushes(mujoco.MjModel.from_xml_path(str(SCENE)), pace=pace)
    theirs = pushes(released_ball(), pace=pace)
    lengths = np.linalg.norm(ours, axis=-1), np.linalg.norm(theirs, axis=-1)
    assert lengths[1].mean() > 0.12
    np.testing.assert_allclose(lengths[0].mean(), lengths[1].mean(), rtol=0.1)
    assert np.linalg.norm(ours - theirs, axis=-1).mean() < mean_error
