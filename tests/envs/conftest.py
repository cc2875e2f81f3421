"""One compiled environment per task for all tests of this folder; compiling is most of their time,
so that nothing is compiled for a test that needs the environment alone.

A test module says which task it is about: `TASK = "push"`.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.importing import importing_mjx

with importing_mjx():
    import mujoco

BATCH = 20


class Compiled(NamedTuple):
    """An environment, and its batched reset and step."""

    env: Any
    reset: Callable[..., Any]
    step: Callable[..., Any]


@functools.cache
def compiled(task: str, *, impl: str = "jax") -> Compiled:
    env = envs.make(task, impl=impl)
    return Compiled(env, jax.jit(jax.vmap(env.reset)), jax.jit(jax.vmap(env.step)))


@functools.cache
def started(task: str, *, impl: str = "jax") -> Any:
    return compiled(task, impl=impl).reset(jax.random.split(jax.random.key(0), BATCH))


@pytest.fixture(scope="module")
def env(request):
    return compiled(request.module.TASK).env


@pytest.fixture(scope="module")
def reset(request):
    """Keys (BATCH,) -> batched `State`."""
    return compiled(request.module.TASK).reset


@pytest.fixture(scope="module")
def step(request):
    """Batched `State`, actions (BATCH, A) -> batched `State`."""
    return compiled(request.module.TASK).step


@pytest.fixture(scope="module")
def start(request):
    return started(request.module.TASK)


@pytest.fixture(scope="module")
def play(step, env):
    """State, policy(state, time) -> final state, actions and observations (time, BATCH, ...)."""

    def play(state, policy, steps=env.episode_length):
        actions, observations = [], []
        for time in range(steps):
            actions.append(policy(state, time))
            state = step(state, actions[-1])
            observations.append(state.obs)
        return state, np.array(actions, float), np.array(observations, float)

    return play


@pytest.fixture(scope="module")
def released(request):
    """Numbers recorded from the released environment (MuJoCo 3.17, float64)."""
    return np.load(Path(__file__).parents[1] / "data" / f"{request.module.TASK}.npz")


@pytest.fixture(scope="module")
def replay(request, released, start, play):
    """Observations (50, BATCH, 9) of the release's five rollouts, each in the lane of its number.

    For the tasks whose actions move Sawyer's hand alone; a module's `ours` makes the release's
    coordinates those of our model.
    """
    ours = request.module.ours
    physics = jax.device_get(start.pipeline_state)
    qpos, qvel = physics.qpos.copy(), physics.qvel.copy()
    mocap, actions = physics.mocap_pos.copy(), np.zeros((50, BATCH, 3), np.float32)
    for index in range(5):
        rollout = f"rollout{index:02d}/"
        qpos[index] = ours(released[rollout + "init_qpos"])
        qvel[index] = ours(released[rollout + "init_qvel"])
        mocap[index] = released[rollout + "init_mocap_pos"], released[rollout + "goal"]
        actions[:, index] = released[rollout + "actions"]
    state = start.replace(
        pipeline_state=start.pipeline_state.replace(
            qpos=jnp.asarray(qpos), qvel=jnp.asarray(qvel), mocap_pos=jnp.asarray(mocap)
        )
    )
    return play(state, lambda _, time: jnp.asarray(actions[time]), steps=50)[2]


@pytest.fixture
def recorded(request, env, released):
    """Number -> hand and object (50, 3) of the release's rollout after the last sub-step."""

    def recorded(index):
        data = mujoco.MjData(env.mj_model)
        places = np.zeros((2, 50, 3))
        for time, qpos in enumerate(released[f"rollout{index:02d}/qpos"]):
            data.qpos[:] = request.module.ours(qpos)
            mujoco.mj_kinematics(env.mj_model, data)
            places[:, time] = data.body("hand").xpos, data.site("object").xpos
        return places

    return recorded


@pytest.fixture
def table(released):
    """300 states judged by the release, in float64."""
    with jax.enable_x64(True):
        names = [name for name in released.files if name.startswith("table/")]
        yield {name.removeprefix("table/"): jnp.asarray(released[name]) for name in names}


@pytest.fixture
def rng():
    return np.random.default_rng(0)
