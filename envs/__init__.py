"""The tasks: robot environments in MuJoCo behind brax's `Env` interface.

    import envs

    env = envs.make("push")
    state = jax.jit(env.reset)(jax.random.key(0))
    state = jax.jit(env.step)(state, action)

One environment is one robot; use `jax.vmap` for many. Task modules (`envs.push`, ...) also hold the
pure functions `reward`, `success`, `distance` and `scripted`. They load on first use, so that
`import envs` alone costs nothing.
"""

import difflib
import importlib
from typing import TYPE_CHECKING, Any

from envs import physics
from envs.importing import importing_mjx
from envs.xla_flags import repair_cpu_compiler

if TYPE_CHECKING:
    from envs.base import MjxEnv

TASKS = ("throw", "pick", "push", "soccer", "faucet")

repair_cpu_compiler()


def make(task: str, *, impl: str = "jax", threads: int | None = None, **overrides: Any) -> "MjxEnv":
    """Build the environment of `task`, one of `TASKS`.

    `impl` names who computes the physics: `"jax"` (MJX) runs on everything JAX runs on; `"c"` (C
    MuJoCo) on the CPU, where it is several times as fast; `"warp"` on CUDA GPUs and (slowly) on the
    CPU, and needs `warp-lang`. `"auto"` is C on the CPU and MJX elsewhere. The environment's `impl`
    says which it is. `threads` are C's: by default the cores that this process may use, shared by
    its devices. `overrides` go to the task's constructor: `episode_length` (steps), `action_scale`
    (m or rad per unit of action) and `reward_delay` (the reward sees the object only every so many
    steps).

    Raises `ValueError` for an unknown task, for an `impl` that is unknown or cannot be had here,
    and for `threads` where it is not C.
    """
    if task not in TASKS:
        nearest = max(TASKS, key=lambda name: difflib.SequenceMatcher(None, task, name).ratio())
        raise ValueError(f"There is no task {task!r}; did you mean {nearest!r}?")
    impl = physics.resolve(impl, threads=threads)
    return _module(task).make(impl=impl, threads=threads, **overrides)


def _module(task: str) -> Any:
    with importing_mjx():
        return importlib.import_module(f"envs.{task}")


def __getattr__(name: str) -> Any:
    if name in TASKS:
        return _module(name)
    raise AttributeError(f"module 'envs' has no attribute {name!r}")
