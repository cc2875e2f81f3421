"""One environment: everything about robot and object that no task wants to know."""

import abc
import sys
from operator import itemgetter
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from brax.envs.base import Env, State
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from envs import physics
from envs.physics import model as models
from envs.physics.data import DYNAMIC, INPUT, Data, fields, put
from envs.physics.kinematics import Kinematics

# MuJoCo's own bound (mjMAXVAL): a simulation with larger numbers has diverged.
_MAX_VALUE = 1e10

_SETTLING_TIME = 2.5


class MjxEnv(Env):
    """A robot and an object in MuJoCo, stepped several times per action.

    A robot says how an action moves it, a task says where things start (`place`), what the policy
    sees (`observe`), what is good (`reward`) and when it is solved (`outcome`); `envs.physics`
    steps the model. The rest is here: building it, settling the start pose once with C MuJoCo, and
    ending an episode whose numbers stop being finite.

    `State.pipeline_state` is the `Data` of `mj_model` after the last sub-step: everything that the
    next step needs, and where things are. Forces, contacts and the like are not kept.

    `State.done` is 1 only where the guard strikes: on a non-finite action, or where the physics
    diverges. The physics then stays as it was before the step (at the settled start pose, if that
    was not finite either), the reward is 0 and `metrics["nan"]` is 1. With JAX_DEBUG_NANS or
    JAX_DEBUG_INFS it never strikes, so that JAX stops at what comes out. Time limits are the
    caller's business; `episode_length` is the task's. A robot sets `action_scale`, the position
    change of a unit action in the units of `robot_state`, and `action_limit`: actions are clipped
    to plus and minus that. `State.info` holds what is remembered of the episode (`remember`),
    `home` is the settled start pose.
    """

    action_scale: float
    action_limit = 1.0
    ends_early = False
    pays_every_substep = False
    first_refresh = 0

    def __init__(
        self,
        *,
        scene: str,
        substeps: int,
        episode_length: int,
        reward_delay: int = 1,
        impl: str = "jax",
        threads: int | None = None,
    ):
        """Load `scene`; an action lasts `substeps` time steps.

        A relative path starts where the module of the class is, or of one that it is made of. The
        reward sees the object only every `reward_delay` steps, as the release's ndp and ppo-multi
        do: after step `first_refresh` and those that follow, before that at its start. `impl` and
        `threads` are those of `envs.make`.

        Raises `ValueError` for a scene that is missing or wrong, diverges before the robot is at
        rest, or cannot be stepped by `impl`.
        """
        for name, value in (("episode_length", episode_length), ("reward_delay", reward_delay)):
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1.")
        self.scene = _find(scene, type(self))
        self.mj_model = models.load(self.scene)
        self.episode_length = episode_length
        self._substeps = substeps
        self.reward_delay = reward_delay
        self.impl = physics.resolve(impl, threads=threads)
        self.home = put(self._settle())
        bare = models.without_visuals(self.scene)
        self._locate = Kinematics(bare)
        self._physics = physics.make(self.impl, bare, substeps=substeps, threads=threads)

    # What a robot fills in.

    @abc.abstractmethod
    def pose(self, data: mujoco.MjData) -> None:
        """Put the robot into the pose that episodes start in; there it comes to rest."""

    @abc.abstractmethod
    def command(self, data: Data, action: Float[Array, "act"]) -> Data:
        """Hand the action to the robot's drives.

        A mocap body jumps at once, `ctrl` moves there evenly over the sub-steps.
        """

    @abc.abstractmethod
    def robot_state(self, state: State) -> tuple[Float[Array, "dof"], Float[Array, "dof"]]:
        """Position and velocity of the robot in the units its motion primitive integrates."""

    @abc.abstractmethod
    def trace(self, position: Float[np.ndarray, "*batch dof"]) -> Float[np.ndarray, "*batch 3"]:
        """Where the point that a primitive moves is in the world, m, at these robot positions."""

    # What a task fills in.

    @abc.abstractmethod
    def place(self, data: Data, key: PRNGKeyArray) -> Data:
        """Draw an episode's start: put object and goal into the settled `data`."""

    @abc.abstractmethod
    def points(self, data: Data) -> dict[str, Float[Array, "3"]]:
        """Where things are that the task is about, m; `reward_delay` asks for an `object`."""

    @abc.abstractmethod
    def observe(self, data: Data, points: dict[str, Any]) -> Float[Array, "obs"]:
        """What the policy sees; `points` are those of `reward`."""

    @abc.abstractmethod
    def reward(self, points: dict[str, Any]) -> dict[str, Float[Array, "*batch"]]:
        """The named terms of the reward for things being at `points`.

        Beside the `points` stands there what is remembered of the episode. It is paid once per step
        or, where `pays_every_substep`, after each sub-step.
        """

    @abc.abstractmethod
    def outcome(self, points: dict[str, Any]) -> tuple[Bool[Array, ""], Float[Array, ""]]:
        """Success, and the distance (m) that the task is about."""

    def remember(self, points: dict[str, Any]) -> dict[str, Array]:
        """What reward and policy have to know of the episode's start."""
        del points
        return {}

    def update(self, points: dict[str, Any]) -> dict[str, Array]:
        """What a step has changed of it; `points` are those of `reward`."""
        del points
        return {}

    # brax's interface.

    def reset(self, rng: PRNGKeyArray) -> State:
        """A fresh draw of the episode's start; `reward` and `done` are 0."""
        data: Any = self._locate(self.place(self.home, rng))
        points = self.points(data)
        memory = self._begin(points)
        zero = jnp.zeros(())
        return State(
            pipeline_state=data,
            obs=self.observe(data, points | memory),
            reward=zero,
            done=zero,
            metrics=self._metrics(points) | {"nan": zero},
            info=memory,
        )

    def step(self, state: State, action: Float[Array, "act"]) -> State:
        """Apply `action` for `dt` seconds."""
        before: Any = state.pipeline_state
        commanded = self.command(before, action)
        path = self._physics.step(before, commanded)
        after = commanded.replace(**jax.tree.map(itemgetter(-1), path))
        sound = jnp.all(jnp.isfinite(action)) & _is_finite(after)
        if debugging():
            sound = jnp.ones_like(sound)
        last_sound = _choose(_is_finite(before), before, self.home)
        data = self._locate(_choose(sound, after, last_sound))
        points = self.points(data)
        memory = self._recall(before, state.info)
        if self.reward_delay > 1:
            step = jnp.round(data.time / self.dt)
            refresh = (step - self.first_refresh) % self.reward_delay == 0
            memory["delayed"] = jnp.where(refresh, points["object"], memory["delayed"])
        paid = self._passed(commanded, path, points) if self.pays_every_substep else points
        reward = jnp.where(sound, self._pay(paid, memory), 0)
        nan = 1 - sound.astype(reward.dtype)
        memory |= self.update(points | memory)
        return state.replace(  # pyright: ignore[reportAttributeAccessIssue] (flax adds it)
            pipeline_state=data,
            obs=self.observe(data, points | memory),
            reward=reward,
            done=nan,
            metrics=state.metrics | self._metrics(points) | {"nan": nan},
            info=state.info | memory,
        )

    @property
    def observation_size(self) -> int:
        def observe(data: Data) -> Array:
            points = self.points(data)
            return self.observe(data, points | self._begin(points))

        return jax.eval_shape(observe, self.home).shape[-1]

    @property
    def dt(self) -> float:
        """Simulated seconds per action."""
        return self.mj_model.opt.timestep * self._substeps

    @property
    def threads(self) -> int | None:
        """Threads that C MuJoCo steps on; None where another `impl` does."""
        return self._physics.threads

    @property
    def backend(self) -> str:
        return "mjx"

    # The start pose.

    def _settle(self) -> mujoco.MjData:
        model = self.mj_model
        data = mujoco.MjData(model)
        self.pose(data)
        steps = round(_SETTLING_TIME / model.opt.timestep)
        mujoco.mj_step(model, data, steps)
        if data.time < (steps - 0.5) * model.opt.timestep:  # MuJoCo has started again
            raise ValueError(
                f"The scene {self.scene.name} diverges before the robot is at rest; reduce the "
                "timestep or the gains of its servos."
            )
        rest = mujoco.MjData(model)
        for name in ("qpos", "mocap_quat", *INPUT):
            getattr(rest, name)[:] = getattr(data, name)
        mujoco.mj_forward(model, rest)
        return rest

    # Rewards.

    def _begin(self, points: dict[str, Any]) -> dict[str, Any]:
        delayed = {"delayed": points["object"]} if self.reward_delay > 1 else {}
        return self.remember(points) | delayed

    def _recall(self, data: Data, info: dict[str, Any]) -> dict[str, Any]:
        """The memory in `info`, made anew where an episode begins.

        A wrapper that restarts episodes may bring back the physics and leave `info` as it is.
        """
        begins, anew = data.time == 0, self._begin(self.points(data))
        return {name: jnp.where(begins, value, info[name]) for name, value in anew.items()}

    def _passed(
        self, commanded: Data, path: dict[str, Array], points: dict[str, Any]
    ) -> dict[str, Any]:
        """`points` after each sub-step, of which the last were at `points`."""

        def passed(dynamic: dict[str, Array]) -> dict[str, Any]:
            return self.points(self._locate(commanded.replace(**dynamic)))

        earlier = jax.vmap(passed)(jax.tree.map(itemgetter(slice(-1)), path))
        return {name: jnp.concatenate([earlier[name], last[None]]) for name, last in points.items()}

    def _pay(self, points: dict[str, Any], memory: dict[str, Any]) -> Float[Array, ""]:
        points = points | memory
        if self.reward_delay > 1:
            points["object"] = jnp.broadcast_to(points.pop("delayed"), points["object"].shape)
        return sum(self.reward(points).values(), jnp.zeros(())).sum()

    def _metrics(self, points: dict[str, Any]) -> dict[str, Float[Array, ""]]:
        success, distance = self.outcome(points)
        return {"success": success.astype(distance.dtype), "distance": distance}


def debugging() -> bool:
    """Whether JAX is to stop at numbers that are not finite, so that no guard may hide them."""
    return bool(jax.config.jax_debug_nans or jax.config.jax_debug_infs)


def _is_finite(data: Data) -> Bool[Array, ""]:
    numbers = fields(data, DYNAMIC + INPUT).values()
    return jnp.all(jnp.stack([jnp.all(jnp.abs(number) < _MAX_VALUE) for number in numbers]))


def _choose(condition: Bool[Array, ""], data: Data, other: Data) -> Data:
    choices = {
        name: jnp.where(condition, getattr(data, name), getattr(other, name))
        for name in DYNAMIC + INPUT
    }
    return data.replace(**choices)


def _find(scene: str, kind: type) -> Path:
    """A scene, next to the module of a class or of one that it is made of.

    Raises `ValueError` if there is none.
    """
    files = (getattr(sys.modules[part.__module__], "__file__", None) for part in kind.__mro__)
    places = [Path(file).parent / scene for file in files if file]
    for place in places:
        if place.is_file():
            return place
    raise ValueError(
        f"There is no scene {places[0]}; give {kind.__name__} a path that starts where its module "
        "is, or an absolute one."
    )
