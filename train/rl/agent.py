"""The agent: a policy sized for an environment, with the numbers that may be swept as leaves."""

from collections.abc import Callable
from dataclasses import make_dataclass
from typing import Any, Protocol, cast, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
from brax.envs.base import State
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

import envs
from configs import Adapter, CloneConfig, TrainConfig
from configs.fields import SWEPT, marked, replaced, settings
from envs.outside import load
from ndp_jax.distributions import log_prob, sample
from ndp_jax.normalize import RunningStats, normalize
from ndp_jax.policies import (
    ActionHead,
    ActionNoise,
    ActorCritic,
    PolicyOutput,
    TrajectoryHead,
    TrajectoryNoise,
)
from train.system.errors import UserError


@runtime_checkable
class RobotEnv(Protocol):
    """What the learner asks of a task: brax's reset and step for one environment, and this.

    Attributes:
      action_size: A.
      action_scale: position change of a unit action, in the units of `robot_state`.
      action_limit: where the task clips actions, on both sides.
      dt: seconds per step.
      episode_length: steps, at most.
      ends_early: whether an episode may end before that, so that each environment starts anew by
        itself; otherwise `done` only means that something broke.
    """

    action_scale: float
    action_limit: float
    episode_length: int
    ends_early: bool

    @property
    def action_size(self) -> int: ...
    @property
    def dt(self) -> float: ...
    def reset(self, rng: PRNGKeyArray) -> State: ...
    def step(self, state: State, action: Array) -> State: ...
    def robot_state(self, state: State) -> tuple[Array, Array]:
        """Position and velocity (per second) that the primitive integrates, (D,) each."""
        ...


def make_env(config: TrainConfig | CloneConfig) -> Any:
    """The environment of a configuration: a `MjxEnv`, or one that is adapted.

    Raises:
      UserError: there is no such task, nothing here to compute its physics so, or it cannot be
        moved so.
    """
    options: dict[str, Any] = {"episode_length": config.episode_length}
    try:
        if envs.is_foreign(config.task):
            options |= adapter_options(config)
        else:
            options["reward_delay"] = getattr(config, "reward_delay", 1)
        return envs.make(config.task, impl=config.impl, threads=config.threads or None, **options)
    except ValueError as error:
        raise UserError(str(error)) from None


def adapter_options(config: TrainConfig | CloneConfig) -> dict[str, Any]:
    """What `envs.adapt` is told: what somebody chose, beside what a factory may have said."""
    section = getattr(config, "adapter", Adapter())
    chosen = {
        name: value for name, value in vars(section).items() if value != getattr(Adapter, name)
    }
    return {"chunk": config.steps_per_query} | chosen


Numbers: Any = make_dataclass(
    "Numbers", [(name, Float[Array, ""]) for name in marked(TrainConfig, SWEPT)], frozen=True
)


class Hyperparameters(struct.PyTreeNode, Numbers):
    """Every number of a run that does not change the shape of its program; scalars.

    Those that are marked as swept in `TrainConfig`, by their names, and one that follows from it.
    """

    total_updates: Int[Array, ""]


def hyperparameters(config: TrainConfig) -> Hyperparameters:
    """The swept numbers of a configuration."""
    values = settings(config)
    numbers = {name: jnp.asarray(values[name], float) for name in marked(TrainConfig, SWEPT)}
    return Hyperparameters(**numbers, total_updates=jnp.asarray(config.updates, jnp.int32))


def make_policy(env: RobotEnv, config: TrainConfig, hyper: Hyperparameters) -> ActorCritic:
    """The policy of a configuration with these numbers, sized for an environment."""
    config = replaced(config, vars(hyper))
    return ActorCritic(
        head=make_head(env, config),
        hidden=config.network.hidden,
        initial_log_std=config.network.initial_log_std,
        exploration=TrajectoryNoise() if config.explores_trajectories else ActionNoise(),
    )


def make_head(env: RobotEnv, config: TrainConfig | CloneConfig) -> ActionHead:
    """The head of a policy.

    Raises:
      UserError: somebody's is none.
    """
    make = config.head.make
    head = (load(make) if isinstance(make, str) else make)(env, config)
    sizes = config.steps_per_query, env.action_size
    if not isinstance(head, ActionHead) or (head.chunk, head.action_size) != sizes:
        raise UserError(
            f"--policy {config.policy} makes {head!r}; it must make a Flax module with chunk "
            f"{sizes[0]} and action_size {sizes[1]}."
        )
    if config.explores_trajectories and not isinstance(head, TrajectoryHead):
        raise UserError(
            f"--explore is trajectory, but the head that --policy {config.policy} makes has no "
            "`parameters` and `actions`; explore actions."
        )
    return head


class Inputs(struct.PyTreeNode):
    """What the policy is given at a query.

    Attributes:
      observation: as the environment gives it, (E, O), or pictures of it, (E, 84, 84, 3).
      position: of the robot, in the units the primitive integrates, (E, D).
      velocity: of the robot, per second, (E, D).
    """

    observation: Array
    position: Float[Array, "*batch D"]
    velocity: Float[Array, "*batch D"]


def observe(env: RobotEnv, state: State) -> Inputs:
    """Reads the policy's inputs off a batch of environment states."""
    position, velocity = jax.vmap(env.robot_state)(state)
    return Inputs(observation=cast(Array, state.obs), position=position, velocity=velocity)


InferenceFn = Callable[[Inputs], PolicyOutput]


def make_inference_fn(policy: nn.Module, params: PyTree, obs_stats: RunningStats) -> InferenceFn:
    """The policy as a function of raw inputs."""

    def inference_fn(inputs: Inputs) -> PolicyOutput:
        observation = normalize(obs_stats, inputs.observation)
        output = policy.apply(params, observation, inputs.position, inputs.velocity)
        return cast(PolicyOutput, output)

    return inference_fn


Act = Callable[[PRNGKeyArray, State], tuple[Float[Array, "E T A"], Any]]
"""Who acts: from a key and a batch of E states the next T actions of each, and whatever else is
worth keeping of the answer (brax's signature of a policy, for chunks)."""

Choose = Callable[
    [PRNGKeyArray, Inputs, PolicyOutput], tuple[Float[Array, "E K P"], Float[Array, "E T A"]]
]
"""How a policy's answer becomes decisions and the actions that they lead to."""


class Answer(struct.PyTreeNode):
    """What is worth keeping of a policy's answer.

    Attributes:
      inputs: what it was given, leaves (E, ...).
      decision: what was chosen, (E, K, P).
      log_prob: log density of each decision, (E, K).
      value: what the K value heads say, (E, K).
    """

    inputs: Inputs
    decision: Float[Array, "E K P"]
    log_prob: Float[Array, "E K"]
    value: Float[Array, "E K"]


def means(
    key: PRNGKeyArray, inputs: Inputs, output: PolicyOutput
) -> tuple[Float[Array, "E K P"], Float[Array, "E T A"]]:
    """The mean decisions, and the action means."""
    del key, inputs
    return output.decision, output.mean


def make_explore(policy: ActorCritic) -> Choose:
    """All K decisions, each with its own noise."""

    def explore(key: PRNGKeyArray, inputs: Inputs, output: PolicyOutput):
        decision = sample(key, output.decision, output.log_std)
        return decision, policy.actions(decision, inputs.position, inputs.velocity)

    return explore


def make_act(env: RobotEnv, inference_fn: InferenceFn, choose: Choose) -> Act:
    """A policy as somebody who acts; its extras are an `Answer`."""

    def act(key: PRNGKeyArray, state: State) -> tuple[Float[Array, "E T A"], Answer]:
        inputs = observe(env, state)
        output = inference_fn(inputs)
        decision, action = choose(key, inputs, output)
        likelihood = log_prob(output.decision, output.log_std, decision)
        answer = Answer(inputs=inputs, decision=decision, log_prob=likelihood, value=output.value)
        return action, answer

    return act
