"""Speed of the parts, next to a peer in the same run."""

import os
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from rich.console import Console
from rich.table import Table

import envs
from envs.base import MjxEnv
from ndp_jax import DMP, rollout

REPEATS = 5
PRIMITIVES = ((1024, 9, 6, 40), (100, 2, 30, 300))
"""Batch, D, N and steps of the robot tasks and of the digits."""


def bench(task: str, *, num_envs: int, console: Console) -> None:
    """Prints a table of the primitive's integration and one of the environment's steps."""
    device = jax.devices()[0].device_kind
    console.print(f"{device}, {os.cpu_count()} CPU cores, jax {jax.__version__}")
    primitives = Table("Primitive, forward + backward", "scan", "matrix")
    for batch, dims, n_basis, n_steps in PRIMITIVES:
        times = [
            primitive_seconds(batch, dims, n_basis, n_steps, method)
            for method in ("scan", "matrix")
        ]
        label = f"batch {batch}, D {dims}, N {n_basis}, {n_steps} steps"
        primitives.add_row(label, *(f"{1000 * t:.2f} ms" for t in times))
    console.print(primitives)

    env = envs.make(task)
    environments = Table(f"Environment {task}", "control steps/s", "compilation")
    speed, compilation = mjx_speed(env, num_envs)
    environments.add_row(f"MJX, {num_envs} at once", f"{speed:,.0f}", f"{compilation:.0f} s")
    environments.add_row("C MuJoCo, one thread", f"{c_speed(env):,.0f}", "none")
    console.print(environments)


def seconds(run: Callable[[], object]) -> float:
    """Median wall time of a call, after one that is not counted."""
    times = []
    for _ in range(REPEATS + 1):
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


def mjx_speed(env: MjxEnv, num_envs: int) -> tuple[float, float]:
    """Control steps per second of random episodes, reset included, and seconds to compile."""

    def episode(key: jax.Array) -> jax.Array:
        reset_key, key = jax.random.split(key)
        state = jax.vmap(env.reset)(jax.random.split(reset_key, num_envs))

        def step(state, key):
            action = jax.random.uniform(key, (num_envs, env.action_size), minval=-1.0)
            state = jax.vmap(env.step)(state, action)
            return state, state.reward

        return jax.lax.scan(step, state, jax.random.split(key, env.episode_length))[1]

    began = time.perf_counter()
    compiled = jax.jit(episode).lower(jax.random.key(0)).compile()
    compilation = time.perf_counter() - began
    duration = seconds(lambda: compiled(jax.random.key(1)))
    return num_envs * env.episode_length / duration, compilation


def c_speed(env: MjxEnv) -> float:
    """Control steps per second of C MuJoCo on the same model, its control moved at random."""
    model = env.mj_model
    data = mujoco.MjData(model)
    substeps = round(env.dt / model.opt.timestep)
    draws = np.random.default_rng(0).uniform(-1, 1, (env.episode_length, 3))

    def episode() -> None:
        mujoco.mj_resetData(model, data)
        for draw in draws:
            data.mocap_pos[0] += env.action_scale * draw
            mujoco.mj_step(model, data, substeps)

    return env.episode_length / seconds(episode)
