"""Anybody's environment as one that the learner takes.

    env = envs.adapt(Mine(), joints=("shoulder", "elbow"), controller="torque")

`Mine()` is a brax `Env` or a MuJoCo Playground `MjxEnv`, or anything with their `reset`, `step` and
`action_size`: of one robot, without wrappers that batch or restart it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from brax.envs.base import Env, State
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from envs.controllers import (
    Controller,
    Motion,
    PositionIncrement,
    PositionTarget,
    Torque,
    VelocityTarget,
    gains,
    kind_of,
)

CONTROLLERS = ("increment", "position", "velocity", "torque")
EPISODE_LENGTH = 1000
"""Of environments that do not say theirs: brax's own default."""
SPEED = 2.5
LARGEST_ACTION = 3.0
"""Of the actions that a controller turns into others."""

Joints = Callable[[Any], tuple[Float[Array, " D"], Float[Array, " D"]]]
"""Position and velocity of what moves, from the environment's own state."""
Measure = str | Callable[[Any], Array]
"""The name of one of the environment's metrics, or a function of its state."""


def adapt(
    env: Any,
    *,
    joints: Sequence[str] | Joints = (),
    controller: str | Controller = "auto",
    kp: float = 0.0,
    kd: float = 0.0,
    unit: float = 1.0,
    speed: float = SPEED,
    chunk: int = 1,
    episode_length: int | None = None,
    dt: float | None = None,
    observation: str = "",
    success: Measure | None = None,
    distance: Measure | None = None,
    trace: Callable[[np.ndarray], np.ndarray] | None = None,
) -> "Adapted":
    """An environment that knows what the primitive moves, and how.

    Args:
      env: one robot.
      joints: names of those that the primitive moves, hinges or slides that each have an actuator;
        by default all that do. Or a function; then the first D actions move what it tells.
      controller: how an action moves them: "increment", "position", "velocity" or "torque", which
        make the classes in `envs.controllers`, or a function like these; "auto" is what the
        actuators are.
      kp: of torque: action per rad or m; 0 for what the masses of the model suggest.
      kd: of torque: action per rad/s or m/s; 0 for what they suggest.
      unit: of position and velocity: what an action of 1 is, rad(/s) or m(/s).
      speed: that an action of 1 asks a joint for, rad/s or m/s.
      chunk: steps that are planned at once: the target sets out anew from where the joints are
        every so many steps.
      episode_length: steps; by default the environment's own, or 1000.
      dt: seconds per step; by default the environment's own.
      observation: which of the observations the policy sees where they are a dict; by default
        `state`.
      success: by default the metric `success`, if there is one.
      distance: m; by default unknown.
      trace: where the point that moves is in the world, (..., 3) m, at positions (..., D): needed
        only to draw plans into films.

    Raises:
      ValueError: something does not fit, or has to be told.
    """
    options = {name: value for name, value in locals().items() if name != "env"}
    return Adapted(env, **options)


class Inner(struct.PyTreeNode):
    """The state of an environment, and what MuJoCo needs to draw it.

    Attributes:
      state: as the environment gave it.
    """

    state: Any

    @property
    def qpos(self) -> Any:
        return coordinates(self.state)[0]

    @property
    def mocap_pos(self) -> Any:
        return getattr(physics_of(self.state), "mocap_pos", self._none(3))

    @property
    def mocap_quat(self) -> Any:
        return getattr(physics_of(self.state), "mocap_quat", self._none(4))

    def _none(self, size: int) -> Array:
        return jnp.zeros((*self.qpos.shape[:-1], 0, size))


class Adapted(Env):
    """What `adapt` makes; `made_of` is the environment inside, `options` how it was adapted.

    Actions: first how far each joint moves, in units of `action_scale`, then those actions of the
    environment that move no joint of these. `State.pipeline_state` is an `Inner`. `State.metrics`
    has what is known of `success` and `distance`.
    """

    ends_early = True

    def __init__(self, env: Any, **options: Any):
        self.made_of, self.options = env, options
        self.trace = options["trace"]
        name = type(env).__name__
        self.dt = round(float(options["dt"] or getattr(env, "dt", 0.0)), 9)
        if not self.dt > 0:
            raise ValueError(f"{name} has no dt; give its seconds per step.")
        self.episode_length = options["episode_length"] or own_episode_length(env)
        self.action_scale = options["speed"] * self.dt
        self.mj_model = model_of(env)
        check_alone(env)
        start = jax.eval_shape(self._begin, jax.random.key(0))
        if jnp.shape(start.reward) != ():
            raise ValueError(f"{name} is a batch of environments; adapt one, without wrappers.")
        self._key = observation_key(start.obs, options["observation"])
        self._seen_size = int(sum(np.prod(x.shape, dtype=int) for x in self._seen(start.obs)))
        self._size = int(env.action_size)
        self._moving = moving(env, self.mj_model, start, options["joints"])
        self._others = np.setdiff1d(np.arange(self._size), self._moving.actions)
        self._controller = controller_of(self._moving, self.mj_model, options, name, dt=self.dt)
        is_increment = isinstance(self._controller, PositionIncrement)
        self.action_limit = 1.0 if is_increment else LARGEST_ACTION
        self._measures = measures(start, options)

    # brax's interface.

    def reset(self, rng: PRNGKeyArray) -> State:
        """A fresh start."""
        start = self._begin(rng)
        memory = {"step": jnp.zeros((), jnp.int32), "target": self._moving.read(start)[0]}
        return self._state(start, start, memory)

    def step(self, state: State, action: Float[Array, " A"]) -> State:
        """Lets the controller ask for what the joints are to do."""
        before, memory = state.pipeline_state.state, state.info  # pyright: ignore
        position, velocity = self._moving.read(before)
        count = len(self._moving.actions)
        asked = jnp.clip(action[:count], -self.action_limit, self.action_limit)
        change = self.action_scale * asked
        plans = memory["step"] % self.options["chunk"] == 0
        target = jnp.where(plans, position, memory["target"]) + change
        moved = self._controller(Motion(asked, position, velocity, target, change / self.dt))
        own = jnp.zeros(self._size, action.dtype).at[self._moving.actions].set(moved)
        own = own.at[self._others].set(jnp.clip(action[count:], -1.0, 1.0))
        # A copy, because some write into the dicts of a state.
        after = self.made_of.step(jax.tree.map(lambda x: x, before), own)
        memory = {"step": memory["step"] + 1, "target": target}
        return self._state(after, alike(after, before, type(self.made_of).__name__), memory)

    @property
    def observation_size(self) -> int:
        return self._seen_size

    @property
    def action_size(self) -> int:
        return self._size

    @property
    def backend(self) -> str:
        return getattr(self.made_of, "backend", "mjx")

    def robot_state(self, state: State) -> tuple[Float[Array, " D"], Float[Array, " D"]]:
        """Position and velocity of what moves: rad and rad/s, or m and m/s."""
        inner: Any = state.pipeline_state
        position, velocity = self._moving.read(inner.state)
        return position.astype(float), velocity.astype(float)

    def _begin(self, rng: PRNGKeyArray) -> Any:
        typed = jnp.issubdtype(rng.dtype, jax.dtypes.prng_key)
        start = self.made_of.reset(jax.random.key_data(rng) if typed else rng)
        return jax.tree.map(strong, start)

    def _seen(self, obs: Any) -> list[Any]:
        return jax.tree.leaves(obs[self._key] if self._key else obs)

    def _state(self, told: Any, kept: Any, memory: dict[str, Array]) -> State:
        """What the learner sees of a state of which one of other types may have to be kept."""
        cut = {"truncation": told.info["truncation"]} if "truncation" in told.info else {}
        seen = [jnp.ravel(jnp.asarray(x, float)) for x in self._seen(told.obs)]
        return State(
            pipeline_state=Inner(kept),  # pyright: ignore[reportArgumentType]
            obs=jnp.concatenate(seen),
            reward=jnp.asarray(told.reward, float),
            done=jnp.asarray(told.done, float),
            metrics={name: jnp.asarray(of(told), float) for name, of in self._measures.items()},
            info={name: jnp.asarray(x, float) for name, x in cut.items()} | memory,
        )


def physics_of(state: Any) -> Any:
    """MuJoCo's data, or brax's, in a state of Playground or brax."""
    return state.data if hasattr(state, "data") else state.pipeline_state


def coordinates(state: Any) -> tuple[Any, Any]:
    """Generalised positions and velocities."""
    data = physics_of(state)
    return (data.qpos, data.qvel) if hasattr(data, "qpos") else (data.q, data.qd)


def model_of(env: Any) -> mujoco.MjModel | None:
    """The environment's model, if it has one."""
    return getattr(env, "mj_model", None) or getattr(getattr(env, "sys", None), "mj_model", None)


def own_episode_length(env: Any) -> int:
    """What an environment says of itself, or what brax assumes."""
    config: Any = getattr(env, "_config", None)
    said = config.get("episode_length") if hasattr(config, "get") else None
    return int(getattr(env, "episode_length", None) or said or EPISODE_LENGTH)


def check_alone(env: Any) -> None:
    """Raises `ValueError` where a wrapper restarts an environment: its last state would be lost."""
    while env is not None:
        if "AutoReset" in type(env).__name__:
            raise ValueError(f"{type(env).__name__} restarts its environment; adapt that itself.")
        env = vars(env).get("env")


def observation_key(obs: Any, told: str) -> str:
    """Under which key of a dict what the policy sees is; empty where there is no dict."""
    if not isinstance(obs, Mapping):
        if told:
            raise ValueError(f"The observation is no dict that has {told!r}; leave that out.")
        return ""
    key = told or "state"
    if key not in obs:
        raise ValueError(f"The observations are {', '.join(obs)}; name one of them, not {key!r}.")
    return key


class Moving(NamedTuple):
    """What the primitive moves.

    Attributes:
      read: their positions and velocities, from the environment's state.
      actions: of the environment, that move them.
      dofs: of the model, that they are; None where a function tells of them.
    """

    read: Joints
    actions: Int[np.ndarray, " D"]
    dofs: Int[np.ndarray, " D"] | None


def moving(
    env: Any, model: mujoco.MjModel | None, start: Any, joints: Sequence[str] | Joints
) -> Moving:
    """Who moves, by which of the environment's actions."""
    name, size = type(env).__name__, int(env.action_size)
    if callable(joints):
        told = jax.eval_shape(joints, start)
        shapes = [x.shape for x in jax.tree.leaves(told)]
        if len(shapes) != 2 or shapes[0] != shapes[1] or len(shapes[0]) != 1:
            raise ValueError(
                f"joints of {name} must give positions and velocities of the same shape (D,), "
                f"not {', '.join(map(str, shapes))}."
            )
        count = shapes[0][0]
        if count > size:
            raise ValueError(
                f"joints of {name} tell of {count}, but its actions are {size}; tell only of those "
                "that an action moves."
            )
        return Moving(joints, np.arange(count), None)
    if model is None:
        raise ValueError(f"{name} has no MuJoCo model; give joints as a function.")
    if model.nu != size:
        raise ValueError(
            f"{name} has {size} actions, but its model {model.nu} actuators; give joints as a "
            "function from Python."
        )
    ids, actuators = driven(model, joints, name)
    positions, dofs = model.jnt_qposadr[ids], model.jnt_dofadr[ids]

    def read(state: Any) -> tuple[Array, Array]:
        position, velocity = coordinates(state)
        return position[positions], velocity[dofs]

    return Moving(read, actuators, dofs)


def controller_of(
    moving: Moving,
    model: mujoco.MjModel | None,
    options: dict[str, Any],
    env: str,
    *,
    dt: float,
) -> Controller:
    """Somebody's controller, or the one that is named or found."""
    told = options["controller"]
    known = model is not None and moving.dofs is not None
    if callable(told):
        return cast(Controller, told)
    if told == "auto":
        if not known:
            raise ValueError(f"The controller for {env} cannot be found; name one.")
        kinds = {kind_of(model, int(actuator)) for actuator in moving.actions}
        if len(kinds) > 1 or "unknown" in kinds:
            raise ValueError(
                f"The actuators of {env} do not say what controls them; name one controller of "
                f"{', '.join(CONTROLLERS)}."
            )
        (told,) = kinds
    match told:
        case "increment":
            return PositionIncrement()
        case "position":
            return PositionTarget(options["unit"])
        case "velocity":
            return VelocityTarget(options["unit"])
        case "torque":
            kp, kd = options["kp"], options["kd"]
            if not (kp and kd):
                if not known or moving.dofs is None:
                    raise ValueError(f"The gains for {env} cannot be found; give kp and kd.")
                found = gains(model, moving.actions, moving.dofs, dt=dt)
                kp, kd = kp or found[0], kd or found[1]
            return Torque(kp, kd)
    raise ValueError(f"controller is {told!r}; it must be one of {', '.join(CONTROLLERS)}.")


def driven(model: mujoco.MjModel, names: Sequence[str], env: str) -> tuple[np.ndarray, np.ndarray]:
    """Joints, by their names or all that have one, and the actuators that drive them."""
    single = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
    found = {
        int(model.actuator_trnid[actuator, 0]): actuator
        for actuator in range(model.nu)
        if model.actuator_trntype[actuator] == int(mujoco.mjtTrn.mjTRN_JOINT)
        and model.jnt_type[model.actuator_trnid[actuator, 0]] in single
    }
    by_name = {model.joint(joint).name: joint for joint in found}
    for name in names:
        if name not in by_name:
            raise ValueError(
                f"No actuator of {env} drives a joint {name!r}; "
                f"name some of {', '.join(filter(None, by_name)) or 'none, for it drives none'}."
            )
    if len(set(names)) < len(names):
        raise ValueError(f"A joint is named twice in {' '.join(names)}; leave one out.")
    if not found:
        raise ValueError(f"No actuator of {env} drives a joint; give joints as a function.")
    joints = [by_name[name] for name in names] or list(found)
    return np.array(joints), np.array([found[joint] for joint in joints])


def measures(start: Any, options: dict[str, Any]) -> dict[str, Callable[[Any], Array]]:
    """Success and distance as functions of the environment's state, if there are such things."""

    def metric(name: str) -> Callable[[Any], Array]:
        if name not in start.metrics:
            known = ", ".join(start.metrics) or "none"
            raise ValueError(f"There is no metric {name!r}; those of the environment are {known}.")
        return lambda state: state.metrics[name]

    told = {name: options[name] for name in ("success", "distance")}
    if told["success"] is None and "success" in start.metrics:
        told["success"] = "success"
    return {
        name: metric(of) if isinstance(of, str) else of
        for name, of in told.items()
        if of is not None
    }


def strong(x: Any) -> Array:
    """A number as an array whose type is its own."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else jnp.asarray(x, x.dtype)


def alike(state: Any, before: Any, env: str) -> Any:
    """A state in the types of the one before, so that a loop can go on from it.

    Raises:
      ValueError: it is of another structure, or of other shapes.
    """
    if jax.tree.structure(state) != jax.tree.structure(before):
        raise ValueError(f"step of {env} returns a state of another structure than reset does.")

    def one(after: Any, before: Array) -> Array:
        if jnp.shape(after) != before.shape:
            raise ValueError(
                f"step of {env} returns a state with {jnp.shape(after)} where reset has "
                f"{before.shape}; give both the same shape."
            )
        if jnp.issubdtype(before.dtype, jax.dtypes.prng_key):
            return after
        return jnp.asarray(after, before.dtype)

    return jax.tree.map(one, state, before)
