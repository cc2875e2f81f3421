"""Environments under random actions, resets included."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any
from unittest import mock

import jax
import mujoco
import numpy as np
from brax.envs.base import State
from jaxtyping import PRNGKeyArray

import envs
from configs import PRESETS
from envs.base import MjxEnv
from train.bench.sizes import NAMES, Sizes
from train.bench.suite import Case, Row, Suite, accelerated, attempt, compiled, seconds
from train.rl import memory
from train.rl.agent import make_env
from train.rl.rollout import strong
from train.runs.checks import check_environments
from train.system.errors import UserError
from train.system.runtime import cache_folder

ON_CPU, ON_ACCELERATOR = (16, 64, 256), (16, 1024, 4096, 8192)
THOROUGH = (16, 64, 256, 1024, 4096, 8192)
MOST_PROCESSES = 16
"""Of which each is an environment of gymnasium's and takes half a gigabyte."""


Told = tuple[np.ndarray, np.ndarray, np.ndarray]
"""One robot's qpos (L, nq), ctrl (L, nu) and mocap_pos (L, nmocap, 3) before each step."""


def measure(sizes: Sizes) -> Iterator[Row]:
    """Every task in every number of environments; in haste only push in more than one."""
    usual = ON_ACCELERATOR if accelerated() else ON_CPU
    for task in sizes.tasks or envs.TASKS:
        hasty = usual if task == "push" else usual[-1:]
        for num_envs in sizes.num_envs or (THOROUGH if sizes.thorough else hasty):
            yield from measure_task(task, num_envs, sizes.impls)


def measure_task(task: str, num_envs: int, impls: tuple[str, ...]) -> Iterator[Row]:
    """Ours, and others with as many environments; the loop has one."""
    case = {"": task, "environments": num_envs}
    told: list[Told] = []

    def ours(impl: str) -> Row:
        config = dataclasses.replace(PRESETS[task], impl=impl, num_envs=num_envs)
        check_environments(config)
        env = make_env(config)
        memory.check_steps(env, num_envs=num_envs)
        play, compilation = compiled(make_episode(env, num_envs), jax.random.key(0))
        told.append(jax.device_get(play(jax.random.key(0))[1]))
        times, count = seconds(lambda: play(jax.random.key(0))), num_envs * env.episode_length
        return Row(case, NAMES[impl], times, count, {"compiles": compilation})

    for impl in impls:
        yield attempt(case, NAMES[impl], partial(ours, impl))
    env = make_env(PRESETS[task])
    for episode in told[:1]:
        yield Row(case, "C MuJoCo loop", seconds(c_loop(env, episode)), env.episode_length - 1)
    processes = partial(measure_processes, case, env.episode_length)
    yield attempt(case, "AsyncVectorEnv", processes, package="gymnasium")


def make_episode(env: MjxEnv, num_envs: int) -> Callable[[PRNGKeyArray], tuple[State, Any]]:
    """A function that plays an episode in each environment; its end, and what one was `Told`."""

    def step(state: State, key: PRNGKeyArray) -> tuple[State, tuple[jax.Array, ...]]:
        physics: Any = state.pipeline_state
        shape, limit = (num_envs, env.action_size), env.action_limit
        action = jax.random.uniform(key, shape, minval=-limit, maxval=limit)
        after = strong(jax.vmap(env.step)(state, action))
        return after, (physics.qpos[0], physics.ctrl[0], physics.mocap_pos[0])

    def episode(key: PRNGKeyArray) -> tuple[State, tuple[jax.Array, ...]]:
        reset_key, key = jax.random.split(key)
        start = strong(jax.vmap(env.reset)(jax.random.split(reset_key, num_envs)))
        return jax.lax.scan(step, start, jax.random.split(key, env.episode_length))

    return episode


def c_loop(env: MjxEnv, told: Told) -> Callable[[], None]:
    """C MuJoCo in one thread, told the same on the same model but for the last step; it observes
    and pays nothing."""
    model, (qpos, ctrl, mocap_pos) = env.mj_model, told
    data = mujoco.MjData(model)
    substeps = round(env.dt / model.opt.timestep)

    def play() -> None:
        mujoco.mj_resetData(model, data)
        data.qpos[:] = qpos[0]
        for before, after, data.mocap_pos[:] in zip(ctrl, ctrl[1:], mocap_pos[1:], strict=False):
            for substep in range(1, substeps + 1):
                data.ctrl[:] = before + substep / substeps * (after - before)
                mujoco.mj_step(model, data)

    return play


def measure_processes(case: Case, episode_length: int) -> Row:
    """gymnasium's, a process for each environment, which steps C MuJoCo.

    They compile what they share once, and leave a GPU alone.
    """
    from gymnasium.vector import AsyncVectorEnv

    from envs.gym import GymEnv

    num_envs = case["environments"]
    if num_envs > MOST_PROCESSES:
        raise UserError(f"left out: more than {MOST_PROCESSES} processes")
    options: dict[str, Any] = (
        {} if accelerated() else {"impl": "c", "threads": 1}
    )  # there C is auto
    make = partial(GymEnv, case[""], episode_length=episode_length, **options)
    cached = {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": str(cache_folder() / "xla")}
    with mock.patch.dict(os.environ, cached):
        many = AsyncVectorEnv([make] * num_envs, context="spawn")
    with closing(many):
        actions = [many.action_space.sample() for _ in range(episode_length)]

        def play() -> None:
            many.reset()
            for action in actions:
                many.step(action)

        return Row(case, "AsyncVectorEnv", seconds(play), num_envs * episode_length)


SUITE = Suite(
    title="Environments under random actions, whole episodes with their resets",
    unit="steps/s",
    ours=("C", "MJX"),
    measure=measure,
    more={"compiles": "{:.0f} s"},
)
