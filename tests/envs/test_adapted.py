"""Environments that are not ours, as the learner takes them."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from brax.envs.base import Env, State
from brax.envs.wrappers.training import AutoResetWrapper, EpisodeWrapper, VmapWrapper

import envs
from envs.adapted import Adapted
from envs.controllers import PositionTarget, Torque

ARM = """
<mujoco>
  <option gravity="0 0 0"/>
  <worldbody>
    <body>
      <joint name="shoulder" type="hinge" axis="0 0 1"/>
      <geom type="capsule" fromto="0 0 0 .3 0 0" size=".02"/>
      <body pos=".3 0 0">
        <joint name="elbow" type="hinge" axis="0 0 1"/>
        <geom type="capsule" fromto="0 0 0 .3 0 0" size=".02"/>
        <body pos=".3 0 0">
          <joint name="idle" type="hinge" axis="0 0 1"/>
          <geom type="sphere" size=".02"/>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator>
    {actuators}
  </actuator>
</mujoco>
"""
MOTORS = """
    <motor joint="elbow" gear="2" ctrlrange="-1 1" ctrllimited="true"/>
    <motor joint="shoulder" gear="4" ctrlrange="-1 1" ctrllimited="true"/>
"""
SERVOS = '<position joint="elbow" kp="20"/> <position joint="shoulder" kp="20"/>'


class Data:
    """What of MuJoCo's data is asked for."""


@jax.tree_util.register_pytree_node_class
class Points(Data):
    def __init__(self, qpos, qvel):
        self.qpos, self.qvel = qpos, qvel

    def tree_flatten(self):
        return (self.qpos, self.qvel), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)


class Arm(Env):
    """Two joints, each a point mass that its action pushes; `asked` is what it was told last."""

    dt = 0.1
    action_size = 2
    observation_size = 3
    backend = "none"
    actuators = MOTORS

    def __init__(self):
        self.mj_model = mujoco.MjModel.from_xml_string(ARM.format(actuators=self.actuators))

    def reset(self, rng):
        position = jax.random.uniform(rng, (3,))
        return State(
            pipeline_state=Points(position, jnp.zeros(3)),
            obs=position,
            reward=jnp.zeros(()),
            done=jnp.zeros(()),
            metrics={"reward_near": jnp.zeros(())},
            info={"asked": jnp.zeros(self.action_size)},
        )

    def step(self, state, action):
        data = state.pipeline_state
        elbow, shoulder = action[0], action[1]
        velocity = data.qvel + self.dt * jnp.array([4 * shoulder, 2 * elbow, 0.0])
        position = data.qpos + self.dt * velocity
        state.metrics.update(reward_near=-jnp.sum(position**2))
        return state.replace(
            pipeline_state=Points(position, velocity),
            obs=position,
            reward=-jnp.sum(position**2),
            done=(position[0] > 2).astype(float),
            info=state.info | {"asked": action},
        )


def asked(env, action, *, steps=1):
    """What the environment inside is told, and where its joints are before and after."""
    state = env.reset(jax.random.key(0))
    before = env.robot_state(state)[0]
    for _ in range(steps):
        state = env.step(state, jnp.asarray(action))
    return state.pipeline_state.state.info["asked"], before, env.robot_state(state)[0]


def test_it_finds_joints_controller_and_lengths():
    env = envs.adapt(Arm(), speed=2.0)
    assert (env.action_size, env.observation_size, env.episode_length) == (2, 3, 1000)
    assert env.action_scale == pytest.approx(0.2)
    assert env.ends_early
    state = env.reset(jax.random.key(0))
    position, velocity = env.robot_state(state)
    np.testing.assert_array_equal(position, state.obs[jnp.array([1, 0])])  # elbow, shoulder
    np.testing.assert_array_equal(velocity, 0)
    assert isinstance(env._controller, Torque)
    assert state.metrics == {}


def test_actions_move_the_joints_that_were_named_and_the_others_are_the_environments():
    env = envs.adapt(Arm(), joints=["shoulder"], controller="increment")
    told, _, _ = asked(env, [0.5, -0.25])
    np.testing.assert_allclose(told, [-0.25, 0.5])
    told, _, _ = asked(env, [5.0, -5.0])
    np.testing.assert_allclose(told, [-1, 1])


def test_controllers_ask_for_what_their_names_say():
    def told(**options):
        return asked(envs.adapt(Arm(), speed=2.0, **options), [0.5, -1.0])

    action, before, _ = told(controller="position", unit=0.5)
    np.testing.assert_allclose(action, (before + jnp.array([0.1, -0.2])) / 0.5, rtol=1e-6)
    action, _, _ = told(controller="velocity", unit=4.0)
    np.testing.assert_allclose(action, [0.25, -0.5], rtol=1e-6)
    action, _, _ = told(controller="torque", kp=2.0, kd=0.1)
    np.testing.assert_allclose(action, [2 * 0.1 + 0.1 * 1, -2 * 0.2 - 0.1 * 2], rtol=1e-5)
    action, before, _ = told(controller=PositionTarget(offset=np.array([1.0, 2.0])))
    np.testing.assert_allclose(action, before + jnp.array([0.1 - 1, -0.2 - 2]), rtol=1e-6)


def test_the_target_of_a_chunk_goes_on_from_where_it_was_and_that_of_the_next_from_the_joints():
    env = envs.adapt(Arm(), controller="torque", kp=0.1, kd=0.1, chunk=2, speed=2.0)
    state = env.reset(jax.random.key(0))
    action, targets, places = jnp.array([0.5, 0.5]), [], []
    for _ in range(3):
        places.append(env.robot_state(state)[0])
        state = env.step(state, action)
        targets.append(state.info["target"])
    np.testing.assert_allclose(targets[0], places[0] + 0.1, rtol=1e-6)
    np.testing.assert_allclose(targets[1], targets[0] + 0.1, rtol=1e-6)
    np.testing.assert_allclose(targets[2], places[2] + 0.1, rtol=1e-6)
    assert np.all(np.abs(places[2] - targets[1]) > 0.01)


def test_gains_that_are_found_follow_a_plan():
    """Where the motors are as strong as the plan needs, joints are where they are to be."""
    env = envs.adapt(Strong(), chunk=10, speed=1.0)
    state = env.reset(jax.random.key(0))
    start = env.robot_state(state)[0]
    step = jax.jit(env.step)
    for _ in range(10):
        state = step(state, jnp.array([0.3, -0.3]))
    moved = env.robot_state(state)[0] - start
    np.testing.assert_allclose(moved, [0.3, -0.3], atol=0.05)


class Strong(Arm):
    """Its joints accelerate as those of the model, each alone, do."""

    def step(self, state, action):
        force = jnp.array([4.0, 2.0]) / self.mj_model.dof_M0[:2]
        return super().step(state, action * force[::-1] / jnp.array([2.0, 4.0]))


def test_position_servos_are_found():
    class Servoed(Arm):
        actuators = SERVOS

    assert isinstance(envs.adapt(Servoed())._controller, PositionTarget)


def test_joints_may_be_a_function_and_the_controller_too():
    def read(state):
        return state.pipeline_state.qpos[:1], state.pipeline_state.qvel[:1]

    env = envs.adapt(Arm(), joints=read, controller=lambda motion: 7 * motion.target_velocity)
    told, _, _ = asked(env, [0.1, 0.2])
    np.testing.assert_allclose(told, [7 * 0.25, 0.2], rtol=1e-6)


class Careless(Arm):
    """Python's numbers, integers, booleans and float16 where one expects an array."""

    def reset(self, rng):
        state = super().reset(rng)
        return state.replace(reward=0, done=False, info=state.info | {"count": 0, "key": rng})

    def step(self, state, action):
        inner = state.replace(info={"asked": state.info["asked"]})
        after = super().step(inner, action)
        more = {"count": state.info["count"] + 1.0, "key": state.info["key"]}
        return after.replace(
            reward=1.5,
            done=after.done > 0,
            obs=after.obs.astype(jnp.float16),
            info=after.info | more,
        )


@pytest.mark.parametrize("wide", [False, True])
def test_types_are_set_right(wide):
    with jax.enable_x64(wide):
        env = envs.adapt(Careless())
        first = env.reset(jax.random.key(0))
        then = jax.jit(env.step)(first, jnp.zeros(2))
        assert [*map(jax.typeof, jax.tree.leaves(then))] == [
            *map(jax.typeof, jax.tree.leaves(first))
        ]
        assert then.reward == 1.5
        assert {first.obs.dtype, then.reward.dtype, then.done.dtype} == {jnp.zeros(()).dtype}
        jax.lax.scan(lambda s, _: (env.step(s, jnp.zeros(2)), None), first, length=2)


def test_a_caller_keeps_the_state_that_was_stepped():
    env = envs.adapt(Arm())
    state = env.reset(jax.random.key(0))
    env.step(state, jnp.ones(2))
    assert state.pipeline_state.state.metrics == {"reward_near": 0}


class Dicts(Arm):
    def see(self, state):
        return state.replace(obs={"state": state.obs, "privileged_state": jnp.tile(state.obs, 2)})

    def reset(self, rng):
        return self.see(super().reset(rng))

    def step(self, state, action):
        return self.see(super().step(state, action))


def test_of_dicts_of_observations_one_is_seen():
    assert envs.adapt(Dicts()).reset(jax.random.key(0)).obs.shape == (3,)
    env = envs.adapt(Dicts(), observation="privileged_state")
    assert env.observation_size == 6
    assert env.step(env.reset(jax.random.key(0)), jnp.zeros(2)).obs.shape == (6,)


def test_success_and_distance_are_what_one_says():
    env = envs.adapt(
        Arm(),
        success=lambda state: state.pipeline_state.qpos[0] > 0.5,
        distance="reward_near",
    )
    state = env.step(env.reset(jax.random.key(0)), jnp.zeros(2))
    assert state.metrics["distance"] == state.reward
    assert state.metrics["success"] == (state.obs[0] > 0.5)


def test_a_wrappers_time_limit_is_a_truncation():
    env = envs.adapt(EpisodeWrapper(Arm(), episode_length=2, action_repeat=1))
    state = env.reset(jax.random.key(0))
    for expected in (0, 1):
        state = env.step(state, jnp.zeros(2))
        assert (state.done, state.info["truncation"]) == (expected, expected)


class Growing(Arm):
    def step(self, state, action):
        after = super().step(state, action)
        return after.replace(info=after.info | {"more": action})


class Reshaping(Arm):
    def step(self, state, action):
        after = super().step(state, action)
        return after.replace(info={"asked": action[:1]})


class Wide(Arm):
    action_size = 3


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: envs.adapt(Arm(), joints=["wrist"]), "'wrist'; name some of elbow, shoulder"),
        (lambda: envs.adapt(Arm(), joints=["idle"]), "'idle'; name some of elbow, shoulder"),
        (lambda: envs.adapt(Arm(), joints=["elbow"] * 2), "twice in elbow elbow"),
        (lambda: envs.adapt(Wide()), "Wide has 3 actions, but its model 2 actuators"),
        (
            lambda: envs.adapt(Arm(), joints=lambda state: (state.obs, state.obs)),
            "tell of 3, but its actions are 2",
        ),
        (
            lambda: envs.adapt(Arm(), joints=lambda state: (state.obs, state.reward)),
            r"same shape \(D,\), not \(3,\), \(\)",
        ),
        (
            lambda: envs.adapt(Arm(), joints=lambda state: (state.obs[:1], state.obs[:1])),
            "The controller for Arm cannot be found; name one",
        ),
        (lambda: envs.adapt(Arm(), controller="force"), "'force'; it must be one of increment"),
        (lambda: envs.adapt(Dicts(), observation="all"), "privileged_state, state; name one"),
        (lambda: envs.adapt(Arm(), observation="all"), "no dict that has 'all'"),
        (lambda: envs.adapt(Arm(), success="won"), "no metric 'won'; those of .* reward_near"),
        (lambda: envs.adapt(VmapWrapper(Arm(), 2)), "is a batch of environments"),
        (
            lambda: envs.adapt(AutoResetWrapper(EpisodeWrapper(Arm(), 9, 1))),
            "AutoResetWrapper restarts its environment",
        ),
        (lambda: asked(envs.adapt(Growing()), [0.0, 0.0]), "another structure than reset"),
        (lambda: asked(envs.adapt(Reshaping()), [0.0, 0.0]), r"\(1,\) where reset has \(2,\)"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "options", "sentence"),
    [
        ("brax/reecher", {}, "There is no brax/reecher; did you mean brax/reacher"),
        ("brax/reacher", {"impl": "c"}, "not computed by --impl c"),
        ("brax/reacher", {"threads": 2}, "brings its own physics; leave out threads"),
    ],
)
def test_names_are_known_before_anything_is_compiled(task, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        envs.make(task, **options)


@pytest.mark.filterwarnings("ignore:Accessing .* directly from `Data`:DeprecationWarning")
def test_an_environment_of_brax_is_one():
    env = envs.make("brax/reacher", chunk=5)
    assert isinstance(env, Adapted)
    assert (env.action_size, env.observation_size, env.episode_length) == (2, 11, 1000)
    assert env.dt == pytest.approx(0.02)
    state = jax.eval_shape(env.reset, jax.random.key(0))
    assert state.pipeline_state.qpos.shape == (4,)
    assert jax.eval_shape(env.robot_state, state)[0].shape == (2,)
    assert "success" not in state.metrics
