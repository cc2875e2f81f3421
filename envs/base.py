"""One MJX environment: everything about the physics that no task wants to know."""

import abc
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
from brax.envs.base import Env, State
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from mujoco import mjx

from envs.fusion import materialize

_ASSETS = Path(__file__).parent / "assets"
_VISUAL_GROUP = 2

# The fields of `mjx.Data` that carry physics from one step to the next, and those that drive it.
_DYNAMIC = ("qpos", "qvel", "qacc_warmstart", "time")
_INPUT = ("ctrl", "mocap_pos")

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
    was not finite either), the reward is 0 and `metrics["nan"]` is 1. Time limits are the caller's
    business; `episode_length` is the task's. `action_scale` is what a robot sets: the position
    change of a unit action, in the units of `robot_state`.
    """

    action_scale: float

    def __init__(self, *, scene: str, substeps: int, episode_length: int):
        """Load `assets/<scene>`; one action lasts `substeps` of its time steps."""
        self.mj_model = mujoco.MjModel.from_xml_path(str(_ASSETS / scene))
        self.episode_length = episode_length
        self._substeps = substeps
        settled = self._settle(self.mj_model)
        self._model = mjx.put_model(self.mj_model)
        self._home = mjx.put_data(self.mj_model, settled)
        bare = _without_visuals(_ASSETS / scene)
        self._bare_model = mjx.put_model(bare)
        self._bare_home = mjx.put_data(bare, mujoco.MjData(bare))

    # What a robot and a task fill in.

    @abc.abstractmethod
    def _settle(self, model: mujoco.MjModel) -> mujoco.MjData:
        """The robot at rest where every episode starts."""

    @abc.abstractmethod
    def _place(self, data: mjx.Data, key: PRNGKeyArray) -> mjx.Data:
        """Draw an episode's start: put object and goal into the settled `data`."""

    @abc.abstractmethod
    def _command(self, data: mjx.Data, action: Float[Array, "act"]) -> mjx.Data:
        """Hand the action to the robot's drives."""

    @abc.abstractmethod
    def _observe(self, data: mjx.Data) -> Float[Array, "obs"]:
        """What the policy sees."""

    @abc.abstractmethod
    def _remember(self, data: mjx.Data) -> dict[str, Array]:
        """What the reward has to know of the episode's start; becomes `State.info`."""

    @abc.abstractmethod
    def _judge(
        self, data: mjx.Data, memory: dict[str, Any]
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]], dict[str, Any]]:
        """Reward, the metrics `success` (0 or 1) and `distance` (m), and what to remember on."""

    @abc.abstractmethod
    def robot_state(self, state: State) -> tuple[Float[Array, "dof"], Float[Array, "dof"]]:
        """Position and velocity of the robot in the units its motion primitive integrates."""

    # brax's interface.

    def reset(self, rng: PRNGKeyArray) -> State:
        """A fresh draw of the episode's start; `reward` and `done` are 0."""
        data = self._locate(self._place(self._home, rng))
        memory = self._remember(data)
        _, metrics, _ = self._judge(data, memory)
        zero = jnp.zeros(())
        return State(
            pipeline_state=data,
            obs=self._observe(data),
            reward=zero,
            done=zero,
            metrics=metrics | {"nan": zero},
            info=memory,
        )

    def step(self, state: State, action: Float[Array, "act"]) -> State:
        """Apply `action` for `dt` seconds."""
        before: Any = state.pipeline_state
        after = self._simulate(self._command(before, action))
        sound = jnp.all(jnp.isfinite(action)) & _is_finite(after)
        last_sound = _choose(_is_finite(before), before, self._home)
        data = self._locate(_choose(sound, after, last_sound))
        reward, metrics, memory = self._judge(data, state.info)
        nan = 1 - sound.astype(reward.dtype)
        return state.replace(  # pyright: ignore[reportAttributeAccessIssue] (flax adds it)
            pipeline_state=data,
            obs=self._observe(data),
            reward=jnp.where(sound, reward, 0),
            done=nan,
            metrics=state.metrics | metrics | {"nan": nan},
            info=state.info | memory,
        )

    @property
    def dt(self) -> float:
        """Simulated seconds per action."""
        return self.mj_model.opt.timestep * self._substeps

    @property
    def backend(self) -> str:
        return "mjx"

    # Physics.

    def _simulate(self, data: mjx.Data) -> mjx.Data:
        def substep(dynamic, _):
            stepped = step(inputs.replace(**dynamic))
            return _fields(stepped, _DYNAMIC), None

        step = materialize(lambda data: mjx.step(self._bare_model, data))
        inputs = self._bare_home.replace(**_fields(data, _INPUT))
        # TF32, an accelerator's default for products, is too coarse for the constraint solver.
        with jax.default_matmul_precision("highest"):
            dynamic, _ = jax.lax.scan(substep, _fields(data, _DYNAMIC), length=self._substeps)
        return data.replace(**dynamic)

    def _locate(self, data: mjx.Data) -> mjx.Data:
        return materialize(lambda data: mjx.kinematics(self._model, data))(data)


def _without_visuals(scene: Path) -> mujoco.MjModel:
    """The same physics without the geoms that only please the eye; a quarter faster to step."""
    spec = mujoco.MjSpec.from_file(str(scene))
    for geom in spec.geoms:
        if geom.group == _VISUAL_GROUP:
            spec.delete(geom)
    return spec.compile()


def _fields(data: mjx.Data, names: tuple[str, ...]) -> dict[str, Array]:
    return {name: getattr(data, name) for name in names}


def _is_finite(data: mjx.Data) -> Bool[Array, ""]:
    numbers = _fields(data, _DYNAMIC + _INPUT).values()
    return jnp.all(jnp.stack([jnp.all(jnp.abs(number) < _MAX_VALUE) for number in numbers]))


def _choose(condition: Bool[Array, ""], data: mjx.Data, other: mjx.Data) -> mjx.Data:
    choices = {
        name: jnp.where(condition, getattr(data, name), getattr(other, name))
        for name in _DYNAMIC + _INPUT
    }
    return data.replace(**choices)
