"""The tasks: robot environments in MuJoCo behind brax's `Env` interface.

    import envs

    env = envs.make("push")
    state = jax.jit(env.reset)(jax.random.key(0))
    state = jax.jit(env.step)(state, action)

One environment is one robot; use `jax.vmap` for many. Task modules (`envs.push`, ...) also hold
the pure functions `reward`, `success`, `distance` and `scripted`, and `NOISE`: the standard
deviation of the noise on the actions of demonstrations, in action units, that shows the way back to
the path and lets seven of eight episodes of the script succeed. They load on first use, so that
`import envs` alone costs nothing.

A task that is not ours is named `package.module:Class`: a `MjcfEnv`, which makes a task of a scene,
or another `envs.base.MjxEnv`, beside which its module may have `scripted`, `NOISE` and, for
`ndp train`, `PRESET`, a `configs.TrainConfig`. Environments that know nothing of robots that are
moved by primitives are adapted (`envs.adapt`): brax's by names like `brax/reacher`, MuJoCo
Playground's like `playground/CartpoleBalance`, and anybody's, or what is adapted already, as
`package.module:factory`, a function or class that makes it of no arguments.
"""

import difflib
import functools
import importlib
import inspect
from typing import TYPE_CHECKING, Any

from envs import physics
from envs.importing import importing_mjx
from envs.outside import is_outside, load
from envs.suites import is_of_suite, load_of_suite
from envs.xla_flags import repair_cpu_compiler

if TYPE_CHECKING:
    from envs.adapted import Adapted
    from envs.mjcf import MjcfEnv as MjcfEnv

TASKS = ("throw", "pick", "push", "soccer", "faucet")

repair_cpu_compiler()


def make(task: str, *, impl: str = "auto", threads: int | None = None, **overrides: Any) -> Any:
    """Build the environment of `task`, one of `TASKS` or of those that are not ours.

    `impl` names who computes the physics: `"jax"` (MJX) runs on everything JAX runs on; `"c"` (C
    MuJoCo) on the CPU, where it is several times as fast; `"warp"` on CUDA GPUs and (slowly) on the
    CPU, and needs `warp-lang`. `"auto"` is C on the CPU and MJX elsewhere. The environment's `impl`
    says which it is; environments that are adapted bring their own physics. `threads` are C's: by
    default the cores that this process may use, shared by its devices. `overrides` go to the task's
    constructor: `episode_length` (steps), `action_scale` (m or rad per unit of action) and
    `reward_delay` (the reward sees the object only every so many steps); or, of what is adapted, to
    `adapt`.

    Raises `ValueError` for an unknown task, for an `impl` that is unknown or cannot be had here,
    for `threads` where it is not C, and for a task that is not as it must be.
    """
    if is_foreign(task):
        if threads:
            raise ValueError(f"{task} brings its own physics; leave out threads.")
        return _adapt(_foreign(task, impl), overrides)
    impl = physics.resolve(impl, threads=threads)
    if not is_outside(task):
        return module(task).make(impl=impl, threads=threads, **overrides)
    env = _outside(task)(impl=impl, threads=threads, **overrides)
    importlib.import_module("envs.checks").check(env)
    return env


def module(task: str) -> Any:
    """The module of a task, with what it has beside the environment.

    Raises `ValueError` for an unknown task, and for one of brax or Playground.
    """
    if is_of_suite(task):
        raise ValueError(f"{task} has no module of a task.")
    if is_outside(task):
        return importlib.import_module(_outside(task).__module__)
    if task not in TASKS:
        nearest = max(TASKS, key=lambda name: difflib.SequenceMatcher(None, task, name).ratio())
        raise ValueError(f"There is no task {task!r}; did you mean {nearest!r}?")
    with importing_mjx():
        return importlib.import_module(f"envs.{task}")


def _outside(task: str) -> Any:
    with importing_mjx():
        found = load(task)
    if not callable(found):
        raise _no_task(task)
    return found


def adapt(env: Any, **options: Any) -> "Adapted":
    """Anybody's environment as one that the learner takes; see `envs.adapted.adapt`."""
    with importing_mjx():
        from envs.adapted import adapt

    return adapt(env, **options)


def is_task(name: str) -> bool:
    """Whether it has the form of a name of a task that is not ours."""
    return is_outside(name) or is_of_suite(name)


def is_foreign(task: str) -> bool:
    """Whether the environment of a task is adapted.

    Raises `ValueError` for an unknown task.
    """
    if not is_outside(task):
        return is_of_suite(task)
    found = _outside(task)
    from envs.base import MjxEnv

    return not (isinstance(found, type) and issubclass(found, MjxEnv))


@functools.cache
def _foreign(task: str, impl: str) -> Any:
    with importing_mjx():
        if is_of_suite(task):
            return load_of_suite(task, impl=impl)
        if impl != "auto":
            raise ValueError(f"{task} brings its own physics; leave out --impl {impl}.")
        factory = _outside(task)
        try:
            inspect.signature(factory).bind()
        except TypeError as error:
            raise ValueError(f"{task} must need no arguments, but it has a {error}.") from None
        env = factory()
    if not all(hasattr(env, name) for name in ("reset", "step", "action_size")):
        raise _no_task(task)
    return env


def _no_task(task: str) -> ValueError:
    return ValueError(
        f"{task} is no task; name a class that is an envs.base.MjxEnv, or a function that makes an "
        "environment of brax, Playground or their kind."
    )


def _adapt(env: Any, options: dict[str, Any]) -> Any:
    """An environment, or what somebody has adapted, with these options."""
    from envs.adapted import Adapted

    made_of, told = (env.made_of, env.options) if isinstance(env, Adapted) else (env, {})
    return adapt(made_of, **told | options)


def script(task: str) -> Any:
    """The demonstrator of a task: a state or a batch of them to actions.

    Raises `ValueError` for an unknown task and for one without.
    """
    if is_of_suite(task):
        raise ValueError(f"{task} has no script that demonstrates it.")
    found = getattr(module(task), "scripted", None)
    if found is None:
        raise ValueError(f"The task {task} has no function `scripted` in its module; write one.")
    return found


def __getattr__(name: str) -> Any:
    if name in TASKS:
        return module(name)
    if name == "MjcfEnv":
        with importing_mjx():
            return importlib.import_module("envs.mjcf").MjcfEnv
    raise AttributeError(f"module 'envs' has no attribute {name!r}")
