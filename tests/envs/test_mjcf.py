"""Scenes and tasks of somebody else's."""

import re
import sys

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import envs
from envs.physics.model import without_visuals

SCENE = """
<mujoco>
  <compiler angle="radian"/>
  <option timestep=".01" integrator="implicitfast"/>
  <worldbody>
    <site/>
    <geom name="floor" type="plane" size="1 1 .1"/>
    <body name="goal" mocap="true"><site name="goal"/></body>
    <body name="cube" pos=".5 0 .05">
      <freejoint/>
      <geom name="cube" type="box" size=".05 .05 .05"/>
    </body>
    <body name="slider">
      <joint name="slide" type="slide" axis="1 0 0" range="-.2 .2"/>
      <geom type="sphere" size=".02" group="2" contype="0" conaffinity="0"/>
      <body name="lever" pos="0 0 .5">
        <joint name="turn" axis="0 0 1" range="-2 2"/>
        <joint name="loose" axis="0 1 0" stiffness="10" damping="1"/>
        <geom type="capsule" fromto="0 0 0 .1 0 0" size=".01" contype="0" conaffinity="0"/>
        <site name="tip" pos=".1 0 0"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor joint="loose"/>
    <position joint="turn" kp="20" kv="2"/>
    <position joint="slide" kp="100" kv="20" ctrlrange="-.1 .1"/>
  </actuator>
  <keyframe>
    <key name="bent" qpos=".5 0 .05 1 0 0 0  .05 1 0"/>
  </keyframe>
</mujoco>
"""

TASK = """
import jax
import jax.numpy as jnp

from envs import MjcfEnv


class Touch(MjcfEnv):
    def __init__(self, **options):
        super().__init__(**{"scene": "scene.xml"} | options)

    def place(self, data, key):
        where = jax.random.uniform(key, (3,), minval=0.2, maxval=0.4)
        return self.put(self.put(data, "goal", where), "cube", where + 0.2)

    def reward(self, points):
        return {"near": -jnp.linalg.norm(points["tip"] - points["goal"])}

    def outcome(self, points):
        distance = jnp.linalg.norm(points["tip"] - points["goal"])
        return distance < 0.1, distance
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with `touch:Touch` and its scene."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "scene.xml").write_text(SCENE)
    (tmp_path / "touch.py").write_text(TASK)
    yield tmp_path
    sys.modules.pop("touch", None)


def make(**options):
    return envs.make("touch:Touch", **options)


def change(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def refused(sentence, **options):
    with pytest.raises(ValueError) as caught:
        make(**options)
    said = caught.value.args[0]
    assert sentence in said
    assert "\n" not in said


def test_the_servos_joints_are_the_robot_by_default(here):
    env = make()
    assert env.action_size == 2
    np.testing.assert_array_equal(env.servos.position, [8, 7])
    np.testing.assert_array_equal(env.servos.velocity, [7, 6])
    np.testing.assert_array_equal(env.servos.actuator, [1, 2])
    np.testing.assert_array_equal(env.servos.low, [-2, -0.1])
    assert make(joints=["slide"]).servos.position.tolist() == [7]


def test_a_joint_without_any_range_goes_anywhere(here):
    change(here / "scene.xml", ' range="-2 2"', "")
    assert make().servos.high.tolist() == [np.inf, 0.1]


@pytest.mark.parametrize("impl", ["c", "jax"])
def test_an_action_moves_the_joints(here, impl):
    env = make(impl=impl)
    step, state = jax.jit(env.step), jax.jit(env.reset)(jax.random.key(0))
    for _ in range(30):
        state = step(state, jnp.array([1.0, -1.0]))
    np.testing.assert_allclose(
        state.pipeline_state.ctrl[env.servos.actuator], [1.5, -0.1], rtol=1e-5
    )
    position, velocity = env.robot_state(state)
    np.testing.assert_allclose(position, [1.5, -0.1], atol=0.1)
    assert velocity.shape == (2,)
    np.testing.assert_allclose(state.obs[4:7], env.trace(np.asarray(position)), atol=1e-3)
    assert state.done == 0


def test_targets_stay_near_the_joints(here):
    env = make()
    data = env.home.replace(ctrl=env.home.ctrl.at[1].set(0.29))
    np.testing.assert_allclose(env.command(data, jnp.ones(2)).ctrl, [0, 0.3, 0.05], atol=1e-3)


def test_the_observation_is_joints_tip_and_what_is_around(here):
    env = make()
    state = env.reset(jax.random.key(1))
    data = state.pipeline_state
    assert env.observation_size == len(state.obs) == 10
    np.testing.assert_array_equal(state.obs[:2], data.qpos[jnp.array([8, 7])])
    points = env.points(data)
    assert set(points) == {"tip", "goal"}
    np.testing.assert_array_equal(state.obs[4:7], points["tip"])
    np.testing.assert_array_equal(state.obs[7:], points["goal"] - points["tip"])


def test_bodies_are_put_where_they_are_to_start(here):
    data = make().reset(jax.random.key(1)).pipeline_state
    np.testing.assert_allclose(data.qpos[:3], data.mocap_pos[0] + 0.2, rtol=1e-6)
    assert jnp.all((data.mocap_pos > 0.2) & (data.mocap_pos < 0.4))


def test_episodes_start_at_rest_in_a_keyframe(here):
    env = make(keyframe="bent")
    np.testing.assert_allclose(env.home.qpos[jnp.array([7, 8])], [0.05, 1], atol=1e-3)
    np.testing.assert_allclose(env.home.ctrl, [0, 1, 0.05], rtol=1e-6)
    assert not env.home.qvel.any()


def test_a_subclass_elsewhere_finds_the_scene(here):
    (here / "other").mkdir()
    (here / "other" / "mine.py").write_text("from touch import Touch\nclass Mine(Touch): pass")
    assert envs.make("other.mine:Mine").scene == here / "scene.xml"
    assert make(scene=str(here / "scene.xml")).scene == here / "scene.xml"
    for name in ("other", "other.mine"):
        sys.modules.pop(name)


def test_visual_geoms_that_weigh_or_collide_stay(here):
    """The slider's only mass is in the group of geoms that usually only please the eye."""
    spheres = mujoco.mjtGeom.mjGEOM_SPHERE
    bare = without_visuals(here / "scene.xml")
    assert spheres in bare.geom_type
    change(
        here / "scene.xml",
        '<geom type="sphere"',
        '<inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/><geom type="sphere"',
    )
    assert spheres not in without_visuals(here / "scene.xml").geom_type


def test_c_steps_what_mjx_cannot(here):
    change(here / "scene.xml", 'name="cube" type="box"', 'name="cube" type="cylinder"')
    change(here / "scene.xml", "<site/>", '<geom type="box" size=".1 .1 .1" pos="1 1 0"/>')
    refused("MJX cannot step this scene ((mjtGeom.mjGEOM_CYLINDER", impl="jax")
    env = make(impl="c")
    state = env.step(env.reset(jax.random.key(0)), jnp.zeros(2))
    assert state.done == 0


@pytest.mark.parametrize(
    ("sentence", "options"),
    [
        ("There is no scene", {"scene": "scenes.xml"}),
        ("give Touch a path that starts where its module is, or an abs", {"scene": "scenes.xml"}),
        ("There is no joint 'elbow' in scene.xml; it has [", {"joints": ["turn", "elbow"]}),
        ("No position servo moves the joint 'loose' in scene.xml; add", {"joints": ["loose"]}),
        ("There is no keyframe 'home' in scene.xml; it has ['bent']", {"keyframe": "home"}),
        ("There is no site 'hand' in scene.xml; it has ['goal', 'tip']", {"tip": "hand"}),
        ("reward_delay is 5, but Touch has no point 'object'; let it", {"reward_delay": 5}),
    ],
)
def test_what_the_scene_does_not_have_is_named(here, sentence, options):
    refused(sentence, **options)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('joint="turn" kp', 'joint="turned" kp', "MuJoCo cannot read the scene"),
        ('kv="2"', 'timeconst=".1"', "has a state of its own"),
        ("<option ", '<option gravity="0 0 -1e11" ', "scene.xml diverges before the robot is"),
        ("<position", "<motor", "No position servo moves a joint in scene.xml"),
    ],
)
def test_a_scene_that_cannot_be_used_is_refused(here, old, new, sentence):
    text = (here / "scene.xml").read_text()
    if new == "<motor":
        text = re.sub(r'<position (joint="\w+").*?/>', r"<motor \1/>", text)
    (here / "scene.xml").write_text(text.replace(old, new))
    refused(sentence)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"goal", where', '"goals", where', "There is no body 'goals' in scene.xml; it has ["),
        ('"goal", where', '"lever", where', "The body 'lever' in scene.xml cannot be put anywhere"),
        (
            'self.put(data, "goal", where)',
            "data.replace(mocap_pos=where)",
            "`place` of Touch returns 'mocap_pos' with the shape (3,); it must be (1, 3).",
        ),
        (
            'jnp.linalg.norm(points["tip"] - points["goal"])}',
            '(points["tip"] - points["goal"])}',
            "`reward` of Touch returns 'near' with the shape (3,); it must be ().",
        ),
        (
            'return {"near": -jnp',
            "return -(jnp",
            "`reward` of Touch returns no dictionary; it must return its terms by their names.",
        ),
        (
            "distance < 0.1,",
            'points["goal"] < 0.1,',
            "`outcome` of Touch returns 'success' with the shape (3,); it must be ().",
        ),
    ],
)
def test_what_a_task_returns_is_checked_before_compilation(here, old, new, sentence):
    change(here / "touch.py", old, new)
    if new.startswith("return -("):
        change(here / "touch.py", 'points["goal"])}', 'points["goal"]))')
    refused(sentence)
