"""The tasks as gymnasium environments.

    import envs.gym, gymnasium

    env = gymnasium.make("ndp/push-v0", render_mode="rgb_array")
    many = gymnasium.make_vec("ndp/push-v0", num_envs=64)

Importing this module registers `ndp/TASK-v0` for every task. Everything is compiled on first use;
environments of the same task and options share the compiled programs of one process.
"""

import functools
import os
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax._src import xla_bridge
from jaxtyping import Array, Key, PRNGKeyArray
from numpy.typing import ArrayLike

import envs
from envs.importing import importing_mjx
from envs.limits import check_batch

with importing_mjx():
    from brax.envs.base import State

    from envs.base import MjxEnv
    from envs.camera import Camera

try:
    import gymnasium
except ImportError as error:
    raise ImportError("envs.gym needs gymnasium; run `pip install gymnasium`.") from error

from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space


class _Compiled(NamedTuple):
    """An environment and its compiled functions.

    Attributes:
      reset: key -> the episode's first state and the key of the next reset.
      step: state and action -> state.

    The states' `metrics` also hold `robot_velocity`.
    """

    env: MjxEnv
    observation_size: int
    reset: Any
    step: Any


@functools.cache
def _compiled(task: str, *, batched: bool, **options: Any) -> _Compiled:
    _check_process()
    env = envs.make(task, **options)

    def measured(state: State) -> State:
        _, velocity = env.robot_state(state)
        return state.replace(  # pyright: ignore[reportAttributeAccessIssue] (flax adds it)
            metrics=state.metrics | {"robot_velocity": velocity}
        )

    def reset(key: PRNGKeyArray):
        now, later = jax.random.split(key)
        return measured(env.reset(now)), later

    def step(state: State, action: Array):
        return measured(env.step(state, action))

    batch = jax.vmap if batched else lambda function: function
    size = cast(int, env.observation_size)
    return _Compiled(env, size, jax.jit(batch(reset)), jax.jit(batch(step)))


class _Simulation:
    """What both environments have: programs, a state and a camera; pickles hold the state."""

    metadata: dict[str, Any]

    def _open(
        self, task: str, *, batched: bool, render_mode: str | None, options: dict[str, Any]
    ) -> tuple[Box, Box]:
        """The spaces of one environment's observations and actions."""
        modes = self.metadata["render_modes"]
        if render_mode is not None and render_mode not in modes:
            raise ValueError(f"There is no render mode {render_mode!r}; use {modes[0]!r} or None.")
        self._recipe = functools.partial(_compiled, task, batched=batched, **options)
        self._programs = self._recipe()
        self._state: State | None = None
        self._camera: Camera | None = None
        self.render_mode = render_mode
        env = self._programs.env
        self.metadata = self.metadata | {"render_fps": round(1 / env.dt)}
        return (
            Box(-np.inf, np.inf, (self._programs.observation_size,), np.float32),
            Box(-env.action_limit, env.action_limit, (env.action_size,), np.float32),
        )

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_programs": None, "_camera": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._programs = self._recipe()

    def _now(self, before: str) -> State:
        """The state, in a process that can compute the next one."""
        _check_process()
        if self._state is None:
            raise ResetNeeded(f"Call reset() before {before}().")
        return self._state

    def _act(self, actions: ArrayLike, shape: tuple[int, ...]) -> State:
        state = self._now("step")
        if np.shape(actions) != shape:
            raise ValueError(f"The action has the shape {np.shape(actions)}; it must be {shape}.")
        return self._programs.step(state, jnp.asarray(actions, jnp.float32))

    def _picture(self, physics: Any) -> np.ndarray:
        self._camera = self._camera or Camera(self._programs.env.mj_model)
        return self._camera.picture(physics)

    def _close_camera(self) -> None:
        if self._camera:
            self._camera.close()
            self._camera = None


class GymEnv(_Simulation, gymnasium.Env):
    """One environment of `task`.

    Observations and actions are the task's; `info` has `success` (bool), `distance` (m) and
    `robot_velocity`, per second, (D,), which an exported policy asks for. An episode is truncated
    at the task's `episode_length`, and terminated only where the guard of `MjxEnv` strikes.
    `render` takes a picture with the scene's camera (`rgb_array`). `options` go to `envs.make`.

    A pickle or a deep copy goes on with the same episode. Raises `ValueError` for an action of
    another shape, `gymnasium.error.ResetNeeded` before the first `reset`, and `RuntimeError` in a
    process that was forked from one in which JAX was in use, which would hang.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}

    def __init__(self, task: str, *, render_mode: str | None = None, **options: Any):
        self.observation_space, self.action_space = self._open(
            task, batched=False, render_mode=render_mode, options=options
        )
        self._key: PRNGKeyArray | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        _check_process()
        super().reset(seed=seed)
        if seed is not None or self._key is None:
            self._key = _keys([self.np_random])[0]
        state, self._key = self._programs.reset(self._key)
        self._state, self._elapsed = state, 0
        return _observation(state), self._info(state)

    def step(self, action: ArrayLike) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        state = self._act(action, cast(tuple[int, ...], self.action_space.shape))
        self._state, self._elapsed = state, self._elapsed + 1
        truncated = self._elapsed >= self._programs.env.episode_length
        reward, terminated = float(state.reward), bool(state.done)
        return _observation(state), reward, terminated, truncated, self._info(state)

    def render(self) -> np.ndarray | None:
        if self.render_mode is None:
            return None
        return self._picture(self._now("render").pipeline_state)

    def close(self) -> None:
        self._close_camera()

    def _info(self, state: State) -> dict[str, Any]:
        return {
            "success": bool(state.metrics["success"]),
            "distance": float(state.metrics["distance"]),
            "robot_velocity": np.array(state.metrics["robot_velocity"]),
        }


class GymVectorEnv(_Simulation, gymnasium.vector.VectorEnv):
    """`num_envs` environments of `task`, stepped by one program.

    Does what gymnasium's `SyncVectorEnv` of `GymEnv`s does. They are seeded with `seed`,
    `seed + 1`, ... or with a list, in which None leaves an environment its random numbers;
    `options={"reset_mask": mask}` resets only some. `autoreset_mode` says when an environment whose
    episode has ended starts a new one: in the next `step`, whose action it ignores and whose reward
    is 0 (`NEXT_STEP`); at once, with `final_obs` and `final_info` in `info` (`SAME_STEP`); or when
    `reset` is told to (`DISABLED`), before which `step` raises `ResetNeeded`. Pickles and errors
    are those of `GymEnv`.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}

    def __init__(
        self,
        task: str,
        num_envs: int = 1,
        *,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **options: Any,
    ):
        if num_envs < 1:
            raise ValueError(f"num_envs is {num_envs}; it must be at least 1.")
        check_batch(task, num_envs)
        self.single_observation_space, self.single_action_space = self._open(
            task, batched=True, render_mode=render_mode, options=options
        )
        self.num_envs = num_envs
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = self.metadata | {"autoreset_mode": self.autoreset_mode}
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._sources = [seeding.np_random() for _ in range(num_envs)]
        self._keys: Key[Array, "num_envs"] | None = None

    @property
    def np_random(  # pyright: ignore[reportIncompatibleMethodOverride] (SyncVectorEnv's type)
        self,
    ) -> tuple[np.random.Generator, ...]:
        """The generator of each environment."""
        return tuple(generator for generator, _ in self._sources)

    @property
    def np_random_seed(  # pyright: ignore[reportIncompatibleMethodOverride] (SyncVectorEnv's type)
        self,
    ) -> tuple[int, ...]:
        """The seed of each environment."""
        return tuple(seed for _, seed in self._sources)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        _check_process()
        chosen = self._chosen(options or {})
        if self._state is None and not chosen.all():
            raise ResetNeeded("Call reset() without a reset_mask first.")
        self._seed(seed, chosen)
        if chosen.all():
            self._state, self._keys = self._programs.reset(self._keys)
            self._elapsed = np.zeros(self.num_envs, int)
            self._over = np.zeros(self.num_envs, bool)
        else:
            self._restart(chosen)
        return _observation(self._now("reset")), self._info(chosen)

    def step(
        self, actions: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        after = self._act(actions, cast(tuple[int, ...], self.action_space.shape))
        ended = self._over
        if ended.any() and self.autoreset_mode == AutoresetMode.DISABLED:
            raise ResetNeeded(
                f"The episodes of {np.flatnonzero(ended).tolist()} have ended; call "
                "reset(options={'reset_mask': terminated | truncated}) before the next step()."
            )
        self._state, self._elapsed = after, self._elapsed + 1
        if ended.any() and self.autoreset_mode == AutoresetMode.NEXT_STEP:
            self._restart(ended)
        reward = np.array(self._state.reward, float)
        terminated = np.array(self._state.done, bool)
        truncated = self._elapsed >= self._programs.env.episode_length
        self._over = terminated | truncated
        final = {}
        if self._over.any() and self.autoreset_mode == AutoresetMode.SAME_STEP:
            final = self._final(self._over)
            self._restart(self._over)
        return _observation(self._state), reward, terminated, truncated, self._info() | final

    def render(self) -> tuple[np.ndarray, ...] | None:
        if self.render_mode is None:
            return None
        physics = jax.device_get(self._now("render").pipeline_state)
        lanes = (jax.tree.map(itemgetter(i), physics) for i in range(self.num_envs))
        return tuple(self._picture(lane) for lane in lanes)

    def close_extras(self, **_: Any) -> None:
        self._close_camera()

    def _chosen(self, options: dict[str, Any]) -> np.ndarray:
        """The environments to reset."""
        if "reset_mask" not in options:
            return np.ones(self.num_envs, bool)
        mask = np.asarray(options["reset_mask"])
        if mask.dtype != bool or mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"reset_mask must hold {self.num_envs} booleans, one of them True; it is {mask}."
            )
        return mask

    def _seed(self, seed: int | Sequence[int | None] | None, chosen: np.ndarray) -> None:
        """New random numbers for the `chosen` environments that have a seed, or had none yet."""
        if seed is None:
            seeds = [None] * self.num_envs
        elif isinstance(seed, int):
            seeds = range(seed, seed + self.num_envs)
        else:
            seeds = seed
        if len(seeds) != self.num_envs:
            raise ValueError(f"There are {len(seeds)} seeds for {self.num_envs} environments.")
        seeded = [i for i in np.flatnonzero(chosen).tolist() if seeds[i] is not None]
        for i in seeded:
            self._sources[i] = seeding.np_random(seeds[i])
        if self._keys is None:
            self._keys = _keys(self.np_random)
        elif seeded:
            self._keys = self._keys.at[np.array(seeded)].set(
                _keys([self.np_random[i] for i in seeded])
            )

    def _restart(self, chosen: np.ndarray) -> None:
        """Starts a new episode in the `chosen` environments."""

        def pick(new, old):
            return jnp.where(jnp.asarray(chosen).reshape(-1, *[1] * (new.ndim - 1)), new, old)

        state, keys = self._programs.reset(self._keys)
        self._state = jax.tree.map(pick, state, self._state)
        self._keys = pick(keys, self._keys)
        self._elapsed = np.where(chosen, 0, self._elapsed)
        self._over = self._over & ~chosen

    def _final(self, over: np.ndarray) -> dict[str, Any]:
        """What `info` tells of the episodes that are `over`."""
        observation = _observation(self._now("step"))
        final = np.full(self.num_envs, None, object)
        for i in np.flatnonzero(over):
            final[i] = observation[i]
        return {
            "final_obs": final,
            "_final_obs": over.copy(),
            "final_info": self._info(over),
            "_final_info": over.copy(),
        }

    def _info(self, chosen: np.ndarray | None = None) -> dict[str, Any]:
        """`info` of the `chosen` environments, or of all; masks say which, as gymnasium has it."""
        chosen = np.ones(self.num_envs, bool) if chosen is None else chosen
        metrics = self._now("reset").metrics
        velocity = np.array(metrics["robot_velocity"])
        values = {
            "success": np.array(metrics["success"], bool) & chosen,
            "distance": np.where(chosen, np.array(metrics["distance"], float), 0),
            "robot_velocity": np.where(chosen[:, None], velocity, np.zeros_like(velocity)),
        }
        return values | {f"_{name}": chosen.copy() for name in values}


def _observation(state: State) -> np.ndarray:
    return np.array(state.obs, np.float32)


def _keys(generators: Sequence[np.random.Generator]) -> Key[Array, "K"]:
    seeds = [int(generator.integers(2**31)) for generator in generators]
    return jax.vmap(jax.random.key)(jnp.array(seeds, jnp.uint32))


_jax_was_in_use = False


def _after_fork() -> None:
    global _jax_was_in_use
    _jax_was_in_use = xla_bridge.backends_are_initialized()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _check_process() -> None:
    """Raises `RuntimeError` where JAX would wait for threads that a fork has left behind."""
    if _jax_was_in_use:
        raise RuntimeError(
            "JAX hangs in a process that was forked from one using it; start this process anew, "
            "with context='spawn' (make_vec: vector_kwargs={'context': 'spawn'})."
        )


for _task in envs.TASKS:
    gymnasium.register(
        id=f"ndp/{_task}-v0",
        entry_point="envs.gym:GymEnv",
        vector_entry_point="envs.gym:GymVectorEnv",
        kwargs={"task": _task},
    )
