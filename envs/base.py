"""One MJX environment: everything about the physics that no task wants to know."""

import abc
import copy
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from brax.envs.base import Env, State
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from mujoco import mjx
from mujoco.mjx import warp as mjx_warp

from envs.fusion import materialize

_ASSETS = Path(__file__).parent / "assets"
_VISUAL_GROUP = 2

# The fields of `mjx.Data` that carry physics from one step to the next, and those that drive it.
_DYNAMIC = ("qpos", "qvel", "qacc_warmstart", "time")
_INPUT = ("ctrl", "mocap_pos")

# Warp's contacts lie in one buffer for the whole batch, which has room for those of this many
# environments.
_WARP_ENVS = 8192

# MuJoCo's own bound (mjMAXVAL): a simulation with larger numbers has diverged.
_MAX_VALUE = 1e10


class MjxEnv(Env):
    """A robot and an object in MJX, stepped several times per action.

    A robot says how an action moves it and what it observes, a task says where things start and
    what is good. The rest is here: building the model, settling the start pose once with C MuJoCo,
    sub-stepping, and ending an episode whose numbers stop being finite.

    `State.pipeline_state` is the `mjx.Data` of `mj_model` after the last sub-step: coordinates,
    velocities, inputs and the positions of everything (`xpos`, `site_xpos`, ...). Forces, contacts
    and the like are not kept.

    `State.done` is 1 only where the guard strikes: on a non-finite action, or where the physics
    diverges. The physics then stays as it was before the step (at the settled start pose, if that
    was not finite either), the reward is 0 and `metrics["nan"]` is 1. With JAX_DEBUG_NANS or
    JAX_DEBUG_INFS it never strikes, so that JAX stops at what comes out. Time limits are the
    caller's business; `episode_length` is the task's. A robot sets `action_scale`, the position
    change of a unit action in the units of `robot_state`, and `action_limit`: actions are clipped
    to plus and minus that. `State.info` holds what the reward remembers of the episode
    (`_remember`).
    """

    action_scale: float
    action_limit = 1.0
    pays_every_substep = False
    first_refresh = 0

    def __init__(self, *, scene: str, substeps: int, episode_length: int, reward_delay: int = 1):
        """Load `assets/<scene>` (or an absolute path); an action lasts `substeps` time steps.

        The reward sees the object only every `reward_delay` steps, as the release's ndp and
        ppo-multi do: after step `first_refresh` and those that follow, before that at its start.
        """
        for name, value in (("episode_length", episode_length), ("reward_delay", reward_delay)):
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1.")
        self.mj_model = mujoco.MjModel.from_xml_path(str(_ASSETS / scene))
        self.episode_length = episode_length
        self._substeps = substeps
        self._reward_delay = reward_delay
        settled = self._settle(self.mj_model)
        # MJX's own choice may be a device of another process.
        put: Any = {"impl": "jax", "device": jax.local_devices()[0]}
        self._model = mjx.put_model(self.mj_model, **put)
        self._home = mjx.put_data(self.mj_model, settled, **put)
        self._bare = _without_visuals(_ASSETS / scene)
        self._bare_model = mjx.put_model(self._bare, **put)
        self._bare_home = mjx.put_data(self._bare, mujoco.MjData(self._bare), **put)

    def on_warp(self) -> "MjxEnv":
        """This environment with its physics stepped by MuJoCo Warp.

        `pipeline_state` stays a `mjx.Data` of the JAX implementation: Warp's own keeps its contacts
        in one buffer for the whole batch, so that it cannot be cut into environments.
        """
        env = copy.copy(self)
        room: Any = self._bare_home._impl
        model: Any = mjx.put_model(self._bare, impl="warp")
        # A scene's few solver iterations are a choice, which Warp would print a warning about.
        silent = ~mjx_warp.mjwp_types.OverflowType.ITERATIONS
        quiet = {"opt._impl.warn_overflow": model.opt._impl.warn_overflow & silent}
        env._bare_model = model.tree_replace(quiet)
        env._bare_home = mjx.put_data(
            self._bare,
            mujoco.MjData(self._bare),
            impl="warp",
            naconmax=_WARP_ENVS * room.ncon,
            njmax=room.nefc,
        )
        return env

    # What a robot and a task fill in.

    @abc.abstractmethod
    def _settle(self, model: mujoco.MjModel) -> mujoco.MjData:
        """The robot at rest where every episode starts."""

    @abc.abstractmethod
    def _place(self, data: mjx.Data, key: PRNGKeyArray) -> mjx.Data:
        """Draw an episode's start: put object and goal into the settled `data`."""

    @abc.abstractmethod
    def _command(self, data: mjx.Data, action: Float[Array, "act"]) -> mjx.Data:
        """Hand the action to the robot's drives.

        A mocap body jumps at once, `ctrl` moves there evenly over the sub-steps.
        """

    @abc.abstractmethod
    def _observe(self, data: mjx.Data, memory: dict[str, Any]) -> Float[Array, "obs"]:
        """What the policy sees."""

    @abc.abstractmethod
    def _points(self, data: mjx.Data) -> dict[str, Float[Array, "3"]]:
        """Where things are that reward and success ask for, m; `object` is one of them."""

    @abc.abstractmethod
    def _remember(self, points: dict[str, Any]) -> dict[str, Array]:
        """What the reward has to know of the episode's start."""

    def _update(self, points: dict[str, Any], memory: dict[str, Any]) -> dict[str, Any]:
        """What to remember after a step."""
        del points
        return memory

    @abc.abstractmethod
    def _reward(
        self, points: dict[str, Any], memory: dict[str, Any]
    ) -> dict[str, Float[Array, "*batch"]]:
        """The named terms of the reward for the robot and the object being at `points`.

        It is paid once per step or, where `pays_every_substep`, after each sub-step.
        """

    @abc.abstractmethod
    def _outcome(self, points: dict[str, Any]) -> tuple[Bool[Array, ""], Float[Array, ""]]:
        """Success, and the distance (m) that the task is about."""

    @abc.abstractmethod
    def robot_state(self, state: State) -> tuple[Float[Array, "dof"], Float[Array, "dof"]]:
        """Position and velocity of the robot in the units its motion primitive integrates."""

    @abc.abstractmethod
    def trace(self, position: Float[np.ndarray, "*batch dof"]) -> Float[np.ndarray, "*batch 3"]:
        """Where the point that a primitive moves is in the world, m, at these robot positions."""

    # brax's interface.

    def reset(self, rng: PRNGKeyArray) -> State:
        """A fresh draw of the episode's start; `reward` and `done` are 0."""
        data = self._locate(self._place(self._home, rng))
        memory = self._begin(data)
        zero = jnp.zeros(())
        return State(
            pipeline_state=data,
            obs=self._observe(data, memory),
            reward=zero,
            done=zero,
            metrics=self._metrics(self._points(data)) | {"nan": zero},
            info=memory,
        )

    def step(self, state: State, action: Float[Array, "act"]) -> State:
        """Apply `action` for `dt` seconds."""
        before: Any = state.pipeline_state
        after, path = self._simulate(before, self._command(before, action))
        sound = jnp.all(jnp.isfinite(action)) & _is_finite(after)
        if debugging():
            sound = jnp.ones_like(sound)
        last_sound = _choose(_is_finite(before), before, self._home)
        data = self._locate(_choose(sound, after, last_sound))
        points = self._points(data)
        memory = self._recall(before, state.info)
        if self._reward_delay > 1:
            step = jnp.round(data.time / self.dt)
            refresh = (step - self.first_refresh) % self._reward_delay == 0
            memory["delayed"] = jnp.where(refresh, points["object"], memory["delayed"])
        reward = jnp.where(sound, self._pay(path, points, memory), 0)
        nan = 1 - sound.astype(reward.dtype)
        memory = self._update(points, memory)
        return state.replace(  # pyright: ignore[reportAttributeAccessIssue] (flax adds it)
            pipeline_state=data,
            obs=self._observe(data, memory),
            reward=reward,
            done=nan,
            metrics=state.metrics | self._metrics(points) | {"nan": nan},
            info=state.info | memory,
        )

    @property
    def dt(self) -> float:
        """Simulated seconds per action."""
        return self.mj_model.opt.timestep * self._substeps

    @property
    def backend(self) -> str:
        return "mjx"

    # Rewards.

    def _begin(self, data: mjx.Data) -> dict[str, Any]:
        points = self._points(data)
        delayed = {"delayed": points["object"]} if self._reward_delay > 1 else {}
        return self._remember(points) | delayed

    def _recall(self, data: mjx.Data, info: dict[str, Any]) -> dict[str, Any]:
        """The memory in `info`, made anew where an episode begins.

        A wrapper that restarts episodes may bring back the physics and leave `info` as it is.
        """
        begins = data.time == 0
        return {
            name: jnp.where(begins, value, info[name]) for name, value in self._begin(data).items()
        }

    def _pay(
        self, path: dict[str, Any], points: dict[str, Any], memory: dict[str, Any]
    ) -> Float[Array, ""]:
        if self.pays_every_substep:
            points = {
                name: jnp.concatenate([path[name][1:], last[None]]) for name, last in points.items()
            }
        if self._reward_delay > 1:
            points = points | {
                "object": jnp.broadcast_to(memory["delayed"], points["object"].shape)
            }
        return sum(self._reward(points, memory).values(), jnp.zeros(())).sum()

    def _metrics(self, points: dict[str, Any]) -> dict[str, Float[Array, ""]]:
        success, distance = self._outcome(points)
        return {"success": success.astype(distance.dtype), "distance": distance}

    # Physics.

    def _simulate(self, before: mjx.Data, commanded: mjx.Data) -> tuple[mjx.Data, dict[str, Any]]:
        """The physics one action later, and `_points` at the start of each sub-step."""

        def substep(dynamic, progress):
            ctrl = before.ctrl + progress * (commanded.ctrl - before.ctrl)
            stepped = step(inputs.replace(**dynamic, ctrl=ctrl))
            points = self._points(stepped) if self.pays_every_substep else {}
            return _fields(stepped, _DYNAMIC), points

        model = _with_mocap_bodies_placed(self._bare_model, commanded)
        step = materialize(lambda data: mjx.step(model, data))
        inputs = self._bare_home.replace(**_fields(commanded, _INPUT))
        progress = jnp.arange(1, self._substeps + 1) / self._substeps
        # TF32, an accelerator's default for products, is too coarse for the constraint solver.
        with jax.default_matmul_precision("highest"):
            dynamic, path = jax.lax.scan(substep, _fields(before, _DYNAMIC), progress)
        return commanded.replace(**dynamic), path

    def _locate(self, data: mjx.Data) -> mjx.Data:
        model = _with_mocap_bodies_placed(self._model, data)
        return materialize(lambda data: mjx.kinematics(model, data))(data)


def _without_visuals(scene: Path) -> mujoco.MjModel:
    """The same physics without the geoms that only please the eye; a quarter faster to step."""
    spec = mujoco.MjSpec.from_file(str(scene))
    for geom in spec.geoms:
        if geom.group == _VISUAL_GROUP:
            spec.delete(geom)
    return spec.compile()


def _with_mocap_bodies_placed(model: mjx.Model, data: mjx.Data) -> mjx.Model:
    """`model` with its mocap bodies where `data` has them.

    MJX in JAX moves a mocap body without the bodies that hang on it; they follow the model.
    """
    mocap = np.flatnonzero(model.body_mocapid >= 0)
    if model.impl != mjx.Impl.JAX or not np.isin(model.body_parentid, mocap).any():
        return model
    return model.replace(body_pos=jnp.asarray(model.body_pos).at[mocap].set(data.mocap_pos))


def _fields(data: mjx.Data, names: tuple[str, ...]) -> dict[str, Array]:
    return {name: getattr(data, name) for name in names}


def debugging() -> bool:
    """Whether JAX is to stop at numbers that are not finite, so that no guard may hide them."""
    return bool(jax.config.jax_debug_nans or jax.config.jax_debug_infs)


def _is_finite(data: mjx.Data) -> Bool[Array, ""]:
    numbers = _fields(data, _DYNAMIC + _INPUT).values()
    return jnp.all(jnp.stack([jnp.all(jnp.abs(number) < _MAX_VALUE) for number in numbers]))


def _choose(condition: Bool[Array, ""], data: mjx.Data, other: mjx.Data) -> mjx.Data:
    choices = {
        name: jnp.where(condition, getattr(data, name), getattr(other, name))
        for name in _DYNAMIC + _INPUT
    }
    return data.replace(**choices)
