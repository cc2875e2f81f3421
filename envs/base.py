"""One MJX environment: everything about the physics that no task wants to know."""

import abc
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
from brax.envs.base import Env, State
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from mujoco import mjx

_ASSETS = Path(__file__).parent / "assets"

# What a physics step reads and writes; every other field of `mjx.Data` follows from these.
_INTEGRATED = ("qpos", "qvel", "qacc_warmstart", "time")
# Beyond this bound (MuJoCo's own mjMAXVAL) a number counts as non-finite.
_MAX_VALUE = 1e10


class MjxEnv(Env):
    """A robot and an object in MJX, stepped `substeps` times per action.

    A robot says how an action moves it and what it observes; a task says where things start and
    what is good. The rest is here: building the model, settling the start pose once with C MuJoCo,
    sub-stepping, and ending an episode whose numbers stop being finite.

    `State.pipeline_state` is the `mjx.Data` after the last sub-step; positions in it (`xpos`,
    `site_xpos`, ...) belong to its `qpos`, the fields of velocities and forces are not kept up to
    date. `State.done` is 1 only on a step that produced a non-finite number (or got a non-finite
    action): physics then stays where it was, the reward is 0 and `metrics["nan"]` is 1. Time limits
    belong to the caller; `episode_length` says what the task's is.
    """

    def __init__(self, *, scene: str, substeps: int, episode_length: int):
        self.mj_model = mujoco.MjModel.from_xml_path(str(_ASSETS / scene))
        self.episode_length = episode_length
        self._substeps = substeps
        self._model = mjx.put_model(self.mj_model)
        self._home = mjx.put_data(self.mj_model, self._settle(self.mj_model))

    # What a robot and a task fill in.

    @abc.abstractmethod
    def _settle(self, model: mujoco.MjModel) -> mujoco.MjData:
        """The pose every episode starts from, at rest."""

    @abc.abstractmethod
    def _place(self, data: mjx.Data, key: PRNGKeyArray) -> mjx.Data:
        """Draw the start of an episode: object and goal put into the settled `data`."""

    @abc.abstractmethod
    def _command(self, data: mjx.Data, action: Float[Array, "act"]) -> mjx.Data:
        """Hand `action` to the robot's drives."""

    @abc.abstractmethod
    def _observe(self, data: mjx.Data) -> Float[Array, "obs"]:
        """What the policy sees."""

    @abc.abstractmethod
    def _begin(self, data: mjx.Data) -> dict[str, Array]:
        """What the task has to remember of an episode's start, kept in `State.info`."""

    @abc.abstractmethod
    def _judge(
        self, data: mjx.Data, memory: dict[str, Array]
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Reward terms, and the metrics `success` (0 or 1) and `distance` (m)."""

    @abc.abstractmethod
    def robot_state(self, state: State) -> tuple[Float[Array, "dof"], Float[Array, "dof"]]:
        """Position and velocity of the robot in the units its motion primitive integrates."""

    # brax's interface.

    def reset(self, rng: PRNGKeyArray) -> State:
        data = mjx.kinematics(self._model, self._place(self._home, rng))
        memory = self._begin(data)
        _, metrics = self._judge(data, memory)
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
        before = state.pipeline_state
        after = self._advance(self._command(before, action))
        sound = _is_sound(after) & jnp.all(jnp.isfinite(action))
        fallback = _where(_is_sound(before), before, self._home)
        data = mjx.kinematics(self._model, _where(sound, after, fallback))
        terms, metrics = self._judge(data, state.info)
        nan = jnp.where(sound, 0.0, 1.0)
        return state.replace(
            pipeline_state=data,
            obs=self._observe(data),
            reward=jnp.where(sound, sum(terms.values()), 0.0),
            done=nan,
            metrics=state.metrics | metrics | {"nan": nan},
        )

    def _advance(self, data: mjx.Data) -> mjx.Data:
        def substep(integrated, _):
            stepped = mjx.step(self._model, data.replace(**integrated))
            return {name: getattr(stepped, name) for name in integrated}, None

        integrated = {name: getattr(data, name) for name in _INTEGRATED}
        # TF32 products, an accelerator's default, are too coarse for the constraint solver.
        with jax.default_matmul_precision("highest"):
            integrated, _ = jax.lax.scan(substep, integrated, length=self._substeps)
        return data.replace(**integrated)

    @property
    def dt(self) -> float:
        """Seconds of simulated time per action."""
        return self.mj_model.opt.timestep * self._substeps

    @property
    def observation_size(self) -> int:
        return jax.eval_shape(self.reset, jax.random.key(0)).obs.shape[-1]

    @property
    def backend(self) -> str:
        return "mjx"


def _is_sound(data: mjx.Data) -> Bool[Array, ""]:
    numbers = (data.qpos, data.qvel, data.qacc_warmstart, data.mocap_pos, data.ctrl)
    return jnp.all(jnp.stack([jnp.all(jnp.abs(number) < _MAX_VALUE) for number in numbers]))


def _where(condition: Bool[Array, ""], data: mjx.Data, other: mjx.Data) -> mjx.Data:
    names = (*_INTEGRATED, "mocap_pos", "ctrl")
    return data.replace(
        **{name: jnp.where(condition, getattr(data, name), getattr(other, name)) for name in names}
    )
