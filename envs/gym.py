"""The tasks as gymnasium environments.

    import envs.gym, gymnasium

    env = gymnasium.make("ndp/push-v0", render_mode="rgb_array")
    many = gymnasium.make_vec("ndp/push-v0", num_envs=64)

Importing this module registers `ndp/TASK-v0` for every task. Everything is compiled on first use;
environments of the same task and options share the compiled programs of one process.
"""

import functools
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

import envs
from envs.camera import Camera
from envs.importing import importing_mjx
from envs.limits import check_batch

with importing_mjx():
    from brax.envs.base import State

    from envs.base import MjxEnv

try:
    import gymnasium
except ImportError as error:
    raise ImportError("envs.gym needs gymnasium; run `pip install gymnasium`.") from error

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
    reset: Any
    step: Any


@functools.cache
def _compiled(task: str, *, batched: bool, **options: Any) -> _Compiled:
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

    if batched:
        return _Compiled(env, jax.jit(jax.vmap(reset)), jax.jit(jax.vmap(step)))
    return _Compiled(env, jax.jit(reset), jax.jit(step))


def _observation_space(env: MjxEnv) -> Box:
    return Box(-np.inf, np.inf, (cast(int, env.observation_size),), np.float32)


def _action_space(env: MjxEnv) -> Box:
    return Box(-env.action_limit, env.action_limit, (env.action_size,), np.float32)


def _check_render_mode(mode: str | None, modes: list[str]) -> None:
    if mode is not None and mode not in modes:
        raise ValueError(f"There is no render mode {mode!r}; use {modes[0]!r} or None.")


class GymEnv(gymnasium.Env):
    """One environment of `task`.

    Observations and actions are the task's; `info` has `success` (bool), `distance` (m) and
    `robot_velocity`, per second, (D,), which an exported policy asks for. An episode is truncated
    at the task's `episode_length`, and terminated only where the guard of `MjxEnv` strikes.
    `render` takes a picture with the scene's camera (`rgb_array`). `options` go to `envs.make`.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}

    def __init__(self, task: str, *, render_mode: str | None = None, **options: Any):
        _check_render_mode(render_mode, self.metadata["render_modes"])
        self._env, self._reset, self._step = _compiled(task, batched=False, **options)
        self.metadata = self.metadata | {"render_fps": round(1 / self._env.dt)}
        self.render_mode = render_mode
        self.observation_space = _observation_space(self._env)
        self.action_space = _action_space(self._env)
        self._camera: Camera | None = None
        self._key: PRNGKeyArray | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None or self._key is None:
            self._key = _key(self.np_random)
        self._state, self._key = self._reset(self._key)
        self._elapsed = 0
        return np.array(self._state.obs), self._info()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._state = self._step(self._state, jnp.asarray(action, jnp.float32))
        self._elapsed += 1
        return (
            np.array(self._state.obs),
            float(self._state.reward),
            bool(self._state.done),
            self._elapsed >= self._env.episode_length,
            self._info(),
        )

    def render(self) -> np.ndarray | None:
        if self.render_mode is None:
            return None
        self._camera = self._camera or Camera(self._env.mj_model)
        return self._camera.picture(self._state.pipeline_state)

    def close(self) -> None:
        if self._camera:
            self._camera.close()
            self._camera = None

    def _info(self) -> dict[str, Any]:
        metrics = self._state.metrics
        return {
            "success": bool(metrics["success"]),
            "distance": float(metrics["distance"]),
            "robot_velocity": np.array(metrics["robot_velocity"]),
        }


class GymVectorEnv(gymnasium.vector.VectorEnv):
    """`num_envs` environments of `task`, stepped by one program.

    Each is a `GymEnv`, seeded with `seed`, `seed + 1`, ...; an environment whose episode has ended
    starts a new one in the next `step`, whose action it ignores and whose reward is 0
    (`AutoresetMode.NEXT_STEP`).
    """

    metadata: dict[str, Any] = {
        "render_modes": ["rgb_array"],
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self, task: str, num_envs: int = 1, *, render_mode: str | None = None, **options: Any
    ):
        _check_render_mode(render_mode, self.metadata["render_modes"])
        check_batch(task, num_envs)
        self._env, self._reset, self._step = _compiled(task, batched=True, **options)
        self.metadata = self.metadata | {"render_fps": round(1 / self._env.dt)}
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.single_observation_space = _observation_space(self._env)
        self.single_action_space = _action_space(self._env)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._camera: Camera | None = None
        self._keys: PRNGKeyArray | None = None

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed if isinstance(seed, int) else None)
        if seed is not None or self._keys is None:
            self._keys = jnp.stack([_key(generator) for generator in self._generators(seed)])
        self._state, self._keys = self._reset(self._keys)
        self._elapsed = np.zeros(self.num_envs, int)
        self._over = np.zeros(self.num_envs, bool)
        return np.array(self._state.obs), self._info()

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        fresh, self._state = self._over, self._step(self._state, jnp.asarray(actions, jnp.float32))
        if fresh.any():
            self._restart(fresh)
        self._elapsed = np.where(fresh, 0, self._elapsed + 1)
        terminated = np.array(self._state.done, bool)
        truncated = self._elapsed >= self._env.episode_length
        self._over = terminated | truncated
        reward = np.array(self._state.reward, float)
        return np.array(self._state.obs), reward, terminated, truncated, self._info()

    def render(self) -> tuple[np.ndarray, ...] | None:
        if self.render_mode is None:
            return None
        self._camera = self._camera or Camera(self._env.mj_model)
        physics = jax.device_get(self._state.pipeline_state)
        lanes = (jax.tree.map(itemgetter(i), physics) for i in range(self.num_envs))
        return tuple(self._camera.picture(lane) for lane in lanes)

    def close_extras(self, **_: Any) -> None:
        if self._camera:
            self._camera.close()
            self._camera = None

    def _restart(self, chosen: np.ndarray) -> None:
        """Starts a new episode in the `chosen` environments."""

        def pick(new, old):
            return jnp.where(jnp.asarray(chosen).reshape(-1, *[1] * (new.ndim - 1)), new, old)

        state, keys = self._reset(self._keys)
        self._state = jax.tree.map(pick, state, self._state)
        self._keys = pick(keys, self._keys)

    def _generators(self, seed: int | Sequence[int | None] | None) -> list[np.random.Generator]:
        if seed is None:
            seeds = [None] * self.num_envs
        elif isinstance(seed, int):
            seeds = range(seed, seed + self.num_envs)
        else:
            seeds = seed
        if len(seeds) != self.num_envs:
            raise ValueError(f"There are {len(seeds)} seeds for {self.num_envs} environments.")
        return [seeding.np_random(seed)[0] for seed in seeds]

    def _info(self) -> dict[str, Any]:
        """`info` of every environment; the masks say that each has them, as gymnasium has it."""
        everywhere = np.ones(self.num_envs, bool)
        return {
            "success": np.array(self._state.metrics["success"], bool),
            "_success": everywhere,
            "distance": np.array(self._state.metrics["distance"], float),
            "_distance": everywhere.copy(),
            "robot_velocity": np.array(self._state.metrics["robot_velocity"]),
            "_robot_velocity": everywhere.copy(),
        }


def _key(generator: np.random.Generator) -> PRNGKeyArray:
    return jax.random.key(int(generator.integers(2**31)))


for _task in envs.TASKS:
    gymnasium.register(
        id=f"ndp/{_task}-v0",
        entry_point="envs.gym:GymEnv",
        vector_entry_point="envs.gym:GymVectorEnv",
        kwargs={"task": _task},
    )
