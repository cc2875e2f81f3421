"""The tasks: robot environments in MJX behind brax's `Env` interface.

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

from envs.xla_flags import repair_cpu_compiler

if TYPE_CHECKING:
    from envs.base import MjxEnv

TASKS = ("push",)

repair_cpu_compiler()


def make(task: str, **overrides: Any) -> "MjxEnv":
    """Build the environment of `task`, one of `TASKS`.

    `overrides` go to the task's constructor, for example `make("push", episode_length=50)`.
    Raises `ValueError` for an unknown task.
    """
    if task not in TASKS:
        nearest = max(TASKS, key=lambda name: difflib.SequenceMatcher(None, task, name).ratio())
        raise ValueError(f"There is no task {task!r}; did you mean {nearest!r}?")
    return importlib.import_module(f"envs.{task}").make(**overrides)


def __getattr__(name: str) -> Any:
    if name in TASKS:
        return importlib.import_module(f"envs.{name}")
    raise AttributeError(f"module 'envs' has no attribute {name!r}")
