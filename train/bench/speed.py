"""Speed of the parts, next to a peer in the same run."""

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from brax.envs.base import State
from rich.console import Console
from rich.table import Table

import envs
from configs import TrainConfig
from envs.base import MjxEnv
from envs.limits import largest_batch
from ndp_jax import DMP, rollout
from ndp_jax.dmp import METHODS
from train.rl import memory
from train.rl.agent import hyperparameters, make_env
from train.rl.population import make_programs
from train.rl.ppo import make_learner

REPEATS, SWEEP_REPEATS = 5, 3
ENVIRONMENTS = 256
EPISODES = 3
PRIMITIVES = ((1024, 9, 6, 40), (100, 2, 30, 300))
"""Batch, D, N and steps of the robot tasks and of the digits."""


def bench(tasks: Sequence[str], *, num_envs: int, console: Console) -> None:
    """Prints a table of the primitive's integration and one of the environments' steps."""
    console.print(machine())
    began = time.perf_counter()
    primitives = Table("Primitive, forward + backward", *METHODS)
    for batch, dims, n_basis, n_steps in PRIMITIVES:
        times = [primitive_seconds(batch, dims, n_basis, n_steps, method) for method in METHODS]
        label = f"batch {batch}, D {dims}, N {n_basis}, {n_steps} steps"
        primitives.add_row(label, *(f"{1000 * t:.2f} ms" for t in times))
    console.print(primitives)
    console.print(f"Measured in {time.perf_counter() - began:.0f} s")

    columns = ("task", "environments", "MJX with resets", "C, one thread", "step compiles in")
    environments = Table(*columns, title="Control steps/s under random actions")
    for task in tasks:
        began = time.perf_counter()
        env = envs.make(task)
        batch = min(num_envs, largest_batch(task) or num_envs)
        memory.check_steps(env, num_envs=batch)
        speed, compilation, episode = mjx_speed(env, batch)
        speeds = f"{speed:,.0f}", f"{c_speed(env, episode):,.0f}"
        environments.add_row(task, f"{batch}", *speeds, f"{compilation:.0f} s")
        console.print(f"Measured {task} in {time.perf_counter() - began:.0f} s")
    console.print(environments)


def bench_sweeps(config: TrainConfig, members: Sequence[int], *, console: Console) -> None:
    """Prints what an update of sweeps of so many members takes, next to a run alone."""
    console.print(machine())
    env = make_env(config)
    columns = ("members", "compiles in", "update", "update per member", "of a run alone")
    title = f"Sweeps of {config.task}, {config.num_envs} environments each"
    table = Table(*columns, title=title)
    memory.check_members(env, config, max(members))
    learner = make_learner(env, config)
    state = jax.jit(learner.init)(jax.random.key(0), hyperparameters(config))
    compilation, alone = update_seconds(learner.update, state)
    table.add_row("alone", f"{compilation:.0f} s", f"{alone:.2f} s", f"{alone:.3f} s", "1")
    for count in members:
        configs = [dataclasses.replace(config, seed=seed) for seed in range(count)]
        programs = make_programs(env, configs, slots=count)
        compilation, update = update_seconds(programs.update, programs.init())
        share = update / count
        console.print(f"Measured {count} members, {share:.3f} s each")
        times = f"{compilation:.0f} s", f"{update:.2f} s", f"{share:.3f} s"
        table.add_row(f"{count}", *times, f"{share / alone:.2f}")
    console.print(table)


def machine() -> str:
    """What is measured on."""
    device = jax.devices()[0].device_kind
    return f"{device}, {os.cpu_count()} CPU cores, jax {jax.__version__}"


def compiled(fn: Callable, *args: Any, donate: bool = False) -> tuple[Callable, float]:
    """A function compiled for arguments, of which it may use up the first, and the seconds."""
    began = time.perf_counter()
    program = jax.jit(fn, donate_argnums=0 if donate else ()).lower(*args).compile()
    return program, time.perf_counter() - began


def update_seconds(update: Callable[[Any], tuple[Any, Any]], state: Any) -> tuple[float, float]:
    """Seconds to compile an update, and the median of running it."""
    program, compilation = compiled(update, state, donate=True)

    def run() -> Any:
        nonlocal state
        state, _ = program(state)
        return state

    return compilation, seconds(run, repeats=SWEEP_REPEATS)


def seconds(run: Callable[[], object], *, repeats: int = REPEATS) -> float:
    """Median wall time of a call, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - began)
    return float(np.median(times[1:]))


def primitive_seconds(batch: int, dims: int, n_basis: int, n_steps: int, method: str) -> float:
    """Time of one rollout and its gradient with respect to everything."""
    dmp = DMP(n_basis=n_basis, n_steps=n_steps)
    shapes = ((dims,), (dims, n_basis), (dims,), (dims,), (n_steps + 1, dims))
    keys = jax.random.split(jax.random.key(0), len(shapes))
    *arguments, cotangent = (
        jax.random.normal(key, (batch, *shape)) for key, shape in zip(keys, shapes, strict=True)
    )

    @jax.jit
    def gradient(arguments: list[jax.Array], cotangent: jax.Array) -> list[jax.Array]:
        def cost(arguments):
            return jnp.sum(rollout(dmp, *arguments, method=method).position * cotangent)

        return jax.grad(cost)(arguments)

    return seconds(lambda: gradient(arguments, cotangent))


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


def mjx_speed(env: MjxEnv, num_envs: int) -> tuple[float, float, Episode]:
    """Speed of episodes of full-range random actions, resets included, and of compiling a step.

    Returns:
      Control steps per second (median of `EPISODES`), seconds to compile a step, and the last
      episode of the first environment.
    """

    def start(key: jax.Array) -> State:
        return jax.vmap(env.reset)(jax.random.split(key, num_envs))

    def act(state: State, key: jax.Array) -> tuple[State, tuple[jax.Array, ...]]:
        shape, limit = (num_envs, env.action_size), env.action_limit
        action = jax.random.uniform(key, shape, minval=-limit, maxval=limit)
        state = jax.vmap(env.step)(state, action)
        return state, told(state)

    def told(state: State) -> tuple[jax.Array, ...]:
        physics: Any = state.pipeline_state
        return physics.ctrl[0], physics.mocap_pos[0]

    reset = jax.jit(start)
    state = reset(jax.random.key(0))
    step, compilation = compiled(act, state, jax.random.key(0))
    keys = list(jax.random.split(jax.random.key(1), env.episode_length))
    jax.block_until_ready(step(state, keys[0]))
    times, qpos, commands = [], np.empty(0), []
    for episode in range(EPISODES):
        began = time.perf_counter()
        state = reset(jax.random.key(episode))
        physics: Any = state.pipeline_state
        qpos, commands = physics.qpos[0], [told(state)]
        for key in keys:
            state, command = step(state, key)
            commands.append(command)
        jax.block_until_ready(state)
        times.append(time.perf_counter() - began)
    ctrl, mocap_pos = (np.array(column) for column in zip(*commands, strict=True))
    told_first = Episode(np.array(qpos), ctrl, mocap_pos)
    return num_envs * env.episode_length / float(np.median(times)), compilation, told_first


def c_speed(env: MjxEnv, episode: Episode) -> float:
    """Control steps per second of C MuJoCo, told the same on the same model."""
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

    return env.episode_length / seconds(play)
