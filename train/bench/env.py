"""Environments under random actions, resets included."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from brax.envs.base import State
from jaxtyping import PRNGKeyArray

import envs
from envs.base import MjxEnv
from envs.limits import check_batch
from train.bench.sizes import Sizes
from train.bench.suite import Case, Row, Suite, accelerated, compiled, lacking, measured, seconds
from train.rl import memory
from train.rl.rollout import strong
from train.system.runtime import cache_folder

ON_CPU, ON_ACCELERATOR = (16, 64, 256), (16, 128, 1024, 4096, 8192)
MOST_PROCESSES = 16
"""Of which each is an environment of gymnasium's and takes half a gigabyte."""

IMPLS = {"C": "c", "MJX": "jax"}


class Episode(NamedTuple):
    """What one robot was told in an episode of L steps.

    Attributes:
      qpos: at the start, (nq,).
      ctrl: at the start and in each step, (L + 1, nu).
      mocap_pos: at the start and in each step, (L + 1, nmocap, 3).
    """

    qpos: np.ndarray
    ctrl: np.ndarray
    mocap_pos: np.ndarray


def measure(sizes: Sizes) -> Iterator[Row]:
    """Every task in every number of environments."""
    usual = ON_ACCELERATOR if accelerated() else ON_CPU
    for task in sizes.tasks or envs.TASKS:
        for num_envs in sizes.num_envs or usual:
            yield from measure_task(task, num_envs)


def measure_task(task: str, num_envs: int) -> Iterator[Row]:
    """Ours, and others with as many environments; the loop has one."""
    case = {"": task, "environments": num_envs}
    told: list[Episode] = []
    for way, impl in IMPLS.items():
        try:
            check_batch(task, num_envs)
            env = envs.make(task, impl=impl)
        except ValueError as problem:
            yield Row(case, way, note=str(problem))
            continue
        memory.check_steps(env, num_envs=num_envs)
        play, compilation = compiled(make_episode(env, num_envs), jax.random.key(0))
        told.append(Episode(*map(np.array, play(jax.random.key(0))[1])))
        times, count = seconds(lambda: play(jax.random.key(0))), num_envs * env.episode_length
        yield Row(case, way, times, count, {"compiles": compilation})
    env = envs.make(task)
    for episode in told[:1]:
        loop = partial(c_loop, env, episode)
        yield measured(case, "C MuJoCo loop", loop, count=env.episode_length)
    yield measure_processes(case, env)


def make_episode(env: MjxEnv, num_envs: int) -> Callable[[PRNGKeyArray], tuple[State, Episode]]:
    """A function that plays an episode in each environment; its end, and what one was told."""

    def told(state: State) -> tuple[jax.Array, jax.Array]:
        physics: Any = state.pipeline_state
        return physics.ctrl[0], physics.mocap_pos[0]

    def step(state: State, key: PRNGKeyArray) -> tuple[State, tuple[jax.Array, jax.Array]]:
        shape, limit = (num_envs, env.action_size), env.action_limit
        action = jax.random.uniform(key, shape, minval=-limit, maxval=limit)
        state = strong(jax.vmap(env.step)(state, action))
        return state, told(state)

    def episode(key: PRNGKeyArray) -> tuple[State, Episode]:
        reset_key, key = jax.random.split(key)
        start = strong(jax.vmap(env.reset)(jax.random.split(reset_key, num_envs)))
        end, steps = jax.lax.scan(step, start, jax.random.split(key, env.episode_length))
        commands = jax.tree.map(
            lambda first, rest: jnp.concatenate([first[None], rest]), told(start), steps
        )
        physics: Any = start.pipeline_state
        return end, Episode(physics.qpos[0], *commands)

    return episode


def c_loop(env: MjxEnv, episode: Episode) -> Callable[[], None]:
    """C MuJoCo in one thread, told the same on the same model; it observes and pays nothing."""
    model = env.mj_model
    data = mujoco.MjData(model)
    substeps = round(env.dt / model.opt.timestep)

    def play() -> None:
        mujoco.mj_resetData(model, data)
        data.qpos[:] = episode.qpos
        for before, ctrl, mocap_pos in zip(
            episode.ctrl, episode.ctrl[1:], episode.mocap_pos[1:], strict=False
        ):
            data.mocap_pos[:] = mocap_pos
            for substep in range(1, substeps + 1):
                data.ctrl[:] = before + substep / substeps * (ctrl - before)
                mujoco.mj_step(model, data)

    return play


def measure_processes(case: Case, env: MjxEnv) -> Row:
    """gymnasium's, a process for each environment, which steps C MuJoCo."""
    way, num_envs = "AsyncVectorEnv", case["environments"]
    if note := lacking("gymnasium"):
        return Row(case, way, note=note)
    if num_envs > MOST_PROCESSES:
        return Row(case, way, note=f"left out: more than {MOST_PROCESSES} processes")
    with processes(case[""], num_envs) as many:
        actions = [many.action_space.sample() for _ in range(env.episode_length)]

        def play() -> None:
            many.reset()
            for action in actions:
                many.step(action)

        return Row(case, way, seconds(play), num_envs * env.episode_length)


@contextmanager
def processes(task: str, num_envs: int) -> Iterator[Any]:
    """The environments, in processes that compile what they share once and leave a GPU alone."""
    from gymnasium.vector import AsyncVectorEnv

    from envs.gym import GymEnv

    options = {} if accelerated() else {"impl": "c", "threads": 1}  # there C is what auto means
    cached = {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": str(cache_folder() / "xla")}
    before = dict(os.environ)
    os.environ.update(cached)
    try:
        many = AsyncVectorEnv([partial(GymEnv, task, **options)] * num_envs, context="spawn")
    finally:
        os.environ.clear()
        os.environ.update(before)
    try:
        yield many
    finally:
        many.close()


SUITE = Suite(
    title="Environments under random actions, whole episodes with their resets",
    unit="steps/s",
    ours=tuple(IMPLS),
    measure=measure,
    more={"compiles": "{:.0f} s"},
)
