"""The tasks: robot environments in MJX behind brax's `Env` interface.

    import envs

    env = envs.make("push")
    state = jax.jit(env.reset)(jax.random.key(0))
    state = jax.jit(env.step)(state, action)

One environment is one robot; use `jax.vmap` for many. Task modules (`envs.push`, ...) also hold
the pure functions `reward`, `success`, `distance` and `scripted`, and `NOISE`: the standard
deviation of the noise on the actions of demonstrations, in action units, that shows the way back to
the path and lets seven of eight episodes of the script succeed. They load on first use, so that
`import envs` alone costs nothing.

A task that is not ours is named `package.module:Class`: a `MjxEnv`, beside which its module may
have `scripted`, `NOISE` and, for `ndp train`, `PRESET`, a `configs.TrainConfig`.
"""

import difflib
import importlib
from typing import TYPE_CHECKING, Any

from envs.importing import importing_mjx
from envs.outside import is_outside, load
from envs.xla_flags import repair_cpu_compiler

if TYPE_CHECKING:
    from envs.base import MjxEnv

TASKS = ("throw", "pick", "push", "soccer", "faucet")

repair_cpu_compiler()


def make(task: str, *, impl: str = "jax", **overrides: Any) -> "MjxEnv":
    """Build the environment of `task`, one of `TASKS` or `package.module:Class`.

    `impl` names who computes the physics: `"jax"` runs on everything JAX runs on; `"warp"`, on CUDA
    GPUs and (slowly) on the CPU, needs `warp-lang`. `overrides` go to the task's constructor:
    `episode_length` (steps), `action_scale` (m or rad per unit of action) and `reward_delay` (the
    reward sees the object only every so many steps).

    Raises `ValueError` for an unknown task and for an `impl` that is unknown or cannot be had here.
    """
    maker = _outside(task) if is_outside(task) else module(task).make
    if impl not in ("jax", "warp"):
        raise ValueError(f"There is no impl {impl!r}; use 'jax' or 'warp'.")
    if impl == "warp":
        _require_warp()
    env = maker(**overrides)
    return env if impl == "jax" else env.on_warp()


def _require_warp() -> None:
    """Raises `ValueError` where MJX cannot step with Warp."""
    import jax
    from mujoco.mjx import warp

    if not warp.WARP_INSTALLED:
        raise ValueError(
            "impl='warp' needs the package warp-lang, which is not installed or cannot be loaded; "
            "run `pip install 'mujoco-mjx[warp]'` or use impl='jax'."
        )
    if jax.default_backend() != "cpu" and not _on_cuda():
        kind = jax.devices()[0].device_kind
        raise ValueError(
            f"impl='warp' needs a CUDA GPU or the CPU, but JAX computes on {kind}; use impl='jax'."
        )


def _on_cuda() -> bool:
    import jax

    try:
        return jax.devices()[0] in jax.devices("cuda")
    except RuntimeError:
        return False


def module(task: str) -> Any:
    """The module of a task, with what it has beside the environment.

    Raises `ValueError` for an unknown task.
    """
    if is_outside(task):
        return importlib.import_module(_outside(task).__module__)
    if task not in TASKS:
        nearest = max(TASKS, key=lambda name: difflib.SequenceMatcher(None, task, name).ratio())
        raise ValueError(f"There is no task {task!r}; did you mean {nearest!r}?")
    with importing_mjx():
        return importlib.import_module(f"envs.{task}")


def _outside(task: str) -> Any:
    with importing_mjx():
        from envs.base import MjxEnv

        found = load(task)
    if not (isinstance(found, type) and issubclass(found, MjxEnv)):
        raise ValueError(f"{task} is no task; name a class that is an envs.base.MjxEnv.")
    return found


def script(task: str) -> Any:
    """The demonstrator of a task: a state or a batch of them to actions.

    Raises `ValueError` for an unknown task and for one without.
    """
    found = getattr(module(task), "scripted", None)
    if found is None:
        raise ValueError(f"The task {task} has no function `scripted` in its module; write one.")
    return found


def __getattr__(name: str) -> Any:
    if name in TASKS:
        return module(name)
    raise AttributeError(f"module 'envs' has no attribute {name!r}")
