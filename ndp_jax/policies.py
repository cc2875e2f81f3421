"""Policies that answer one query with the next T actions.

The three policies of the paper are one module with two heads: `PrimitiveHead` integrates a
dynamic movement primitive (ndp; prodmp with another solver), `DirectHead` outputs the actions
themselves (ppo-multi, and ppo with T = 1). Everything else is equal: the same actor and critic
networks, the same state-independent noise, the same T value heads.

Source: Bahl et al., "Neural Dynamic Policies for End-to-End Sensorimotor Learning", NeurIPS 2020,
section 3.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import flax.linen as nn
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from ndp_jax.dmp import DMP, rollout
from ndp_jax.networks import CNN, MLP, parameter_dtype
from ndp_jax.prodmp import solve

OUTPUT_INIT = nn.initializers.orthogonal(0.01)
"""The last layer starts near zero, so that the first actions lie well inside the action box."""

VALUE_INIT = nn.initializers.zeros
"""Nothing is promised before something was earned: without rewards every advantage is zero."""


class PolicyOutput(NamedTuple):
    """What a policy says about the T steps after a query, in which it takes K decisions.

    Attributes:
      mean: action means, in action units, (..., T, A).
      decision: mean of each decision, a normally distributed vector, (..., K, P).
      log_std: log standard deviation of every decision, (P,).
      value: discounted return expected from each decision on, (..., K).
    """

    mean: Float[Array, "*batch T A"]
    decision: Float[Array, "*batch K P"]
    log_std: Float[Array, " P"]
    value: Float[Array, "*batch K"]


class Plan(NamedTuple):
    """The movement that an answer stands for, in the units of the robot's position.

    Attributes:
      path: samples of the movement, the first where the robot is, (..., K, D).
      goal: where the primitive's spring pulls to, (..., D); None without a primitive.
    """

    path: Float[Array, "*batch K D"]
    goal: Float[Array, "*batch D"] | None


@runtime_checkable
class ActionHead(Protocol):
    """What `ActorCritic` asks for action means: a Flax module with this signature.

    Attributes:
      chunk: T.
      action_size: A.
    """

    chunk: int
    action_size: int

    def __call__(
        self,
        features: Float[Array, "*batch features"],
        position: Float[Array, "*batch D"],
        velocity: Float[Array, "*batch D"],
    ) -> Float[Array, "*batch T A"]: ...


@runtime_checkable
class TrajectoryHead(ActionHead, Protocol):
    """A head that first says what the movement is, by P numbers, and then makes actions of it."""

    def parameters(
        self, features: Float[Array, "*batch features"], position: Float[Array, "*batch D"]
    ) -> Float[Array, "*batch P"]: ...

    def actions(
        self,
        parameters: Float[Array, "*batch P"],
        position: Float[Array, "*batch D"],
        velocity: Float[Array, "*batch D"],
    ) -> Float[Array, "*batch T A"]:
        """Nothing is learned here."""
        ...


@runtime_checkable
class Solver(Protocol):
    """How a primitive becomes the path of a movement that begins."""

    def path(
        self,
        dmp: DMP,
        goal: Float[Array, "*batch D"],
        weights: Float[Array, "*batch D N"],
        y0: Float[Array, "*batch D"],
        dy0: Float[Array, "*batch D"],
        *,
        alpha: float | Float[Array, ""] | None,
    ) -> Float[Array, "*batch K D"]:
        """The n_steps + 1 positions; arguments are those of `ndp_jax.rollout`."""
        ...


@dataclass(frozen=True)
class Euler:
    """Explicit Euler steps, as the paper integrates.

    Attributes:
      method: "matrix" or "scan", see `ndp_jax.rollout`.
    """

    method: str = "matrix"

    def path(self, dmp, goal, weights, y0, dy0, *, alpha):
        return rollout(dmp, goal, weights, y0, dy0, alpha=alpha, method=self.method).position


@dataclass(frozen=True)
class ClosedForm:
    """The solution itself, of a primitive whose forcing is unscaled: a ProDMP."""

    def path(self, dmp, goal, weights, y0, dy0, *, alpha):
        return solve(dmp, goal, weights, y0, dy0, alpha=alpha).position


class PrimitiveHead(nn.Module):
    """Goal and weights from features, actions from the integrated primitive.

    The goal is an offset from the robot's position, `g = y0 + goal_scale * output`, and the weights
    are `weight_scale * output`, times `goal_scale` unless the forcing term is scaled: as strong as
    with the goal one unit of output away. Actions are the differences of the T + 1 positions
    sampled every `dmp.n_steps / T` integration steps, divided by `action_scale` (the inverse
    controller). Action dimensions beyond the robot's D (a gripper) come from a layer of their own
    and are not integrated. The `Plan` is sown as `plan` among the intermediates.

    Attributes:
      dmp: the primitive; one unit of its time `tau` lasts the whole chunk. Its alpha is the one
        used, wherever that is known.
      chunk: T, environment steps per query; divides dmp.n_steps.
      action_size: A >= D.
      duration: seconds that one chunk lasts; turns y/s into y/tau.
      action_scale: position change of a unit action, in units of y.
      goal_scale: goal offset per unit of network output, in units of y.
      weight_scale: basis weight per unit of network output (and of goal_scale, unless scaled).
      alpha: stiffness in place of `dmp.alpha`, in 1/tau, which may be known only when a compiled
        function runs; None for that of `dmp`.
      solver: how the primitive is integrated, `Euler` or `ClosedForm`.
    """

    dmp: DMP
    chunk: int
    action_size: int
    duration: float
    action_scale: float
    goal_scale: float | Float[Array, ""]
    weight_scale: float | Float[Array, ""]
    alpha: float | Float[Array, ""] | None = None
    solver: Solver = Euler()

    def __post_init__(self):
        if self.alpha is not None and not isinstance(self.alpha, Tracer):
            self.dmp = dataclasses.replace(self.dmp, alpha=self.alpha)
        super().__post_init__()

    def __call__(
        self,
        features: Float[Array, "*batch features"],
        position: Float[Array, "*batch D"],
        velocity: Float[Array, "*batch D"],
    ) -> Float[Array, "*batch T A"]:
        return self.actions(self.parameters(features, position), position, velocity)

    @nn.compact
    def parameters(
        self, features: Float[Array, "*batch features"], position: Float[Array, "*batch D"]
    ) -> Float[Array, "*batch P"]:
        """Goal, weights and actions that are not integrated, as the network says them."""
        dims = position.shape[-1]
        options = {"kernel_init": OUTPUT_INIT, "param_dtype": parameter_dtype(features)}
        parameters = [nn.Dense(dims, name="goal", **options)(features)]
        if count := dims * self.dmp.n_basis:
            parameters.append(nn.Dense(count, name="weights", **options)(features))
        if extra := self.action_size - dims:
            direct = DirectHead(chunk=self.chunk, action_size=extra, name="extra")
            parameters.append(direct.parameters(features, position))
        return jnp.concatenate(parameters, axis=-1)

    def actions(
        self,
        parameters: Float[Array, "*batch P"],
        position: Float[Array, "*batch D"],
        velocity: Float[Array, "*batch D"],
    ) -> Float[Array, "*batch T A"]:
        """Integrates the primitive."""
        batch, dims = position.shape[:-1], position.shape[-1]
        ends = dims, dims + dims * self.dmp.n_basis
        offset, weights, rest = jnp.split(parameters, ends, axis=-1)
        goal = position + self.goal_scale * offset
        unit = self.weight_scale * (1 if self.dmp.forcing == "scaled" else self.goal_scale)
        path = self.solver.path(
            self.dmp,
            goal,
            unit * weights.reshape(*batch, dims, self.dmp.n_basis),
            position,
            velocity * (self.duration / self.dmp.tau),
            alpha=self.alpha,
        )
        if self.scope:  # else nobody looks
            self.sow("intermediates", "plan", Plan(path=path, goal=goal))
        waypoints = path[..., :: self.dmp.n_steps // self.chunk, :]
        actions = jnp.diff(waypoints, axis=-2) / self.action_scale
        if extra := self.action_size - dims:
            direct = DirectHead(chunk=self.chunk, action_size=extra, parent=None)
            more = direct.actions(rest, position, velocity)
            actions = jnp.concatenate([actions, more], axis=-1)
        return actions

    def velocity_size(self, params: PyTree) -> int:
        """D, as the parameters of the head have it; a head without this asks for no velocity."""
        return params["goal"]["bias"].size


class DirectHead(nn.Module):
    """T x A action means straight from the features; one unit of output is one unit of action.

    Attributes:
      chunk: T.
      action_size: A.
      correlation: r of any two of the T actions, where the outputs are independent and of the same
        deviation: then so many are the actions' deviations, too.
    """

    chunk: int
    action_size: int
    correlation: float = 0.0

    def __call__(
        self,
        features: Float[Array, "*batch features"],
        position: Float[Array, "*batch D"],
        velocity: Float[Array, "*batch D"],
    ) -> Float[Array, "*batch T A"]:
        return self.actions(self.parameters(features, position), position, velocity)

    @nn.compact
    def parameters(
        self, features: Float[Array, "*batch features"], position: Float[Array, "*batch D"]
    ) -> Float[Array, "*batch P"]:
        """The T x A outputs, row by row."""
        del position
        return nn.Dense(
            self.chunk * self.action_size,
            kernel_init=OUTPUT_INIT,
            param_dtype=parameter_dtype(features),
        )(features)

    def actions(
        self,
        parameters: Float[Array, "*batch P"],
        position: Float[Array, "*batch D"],
        velocity: Float[Array, "*batch D"],
    ) -> Float[Array, "*batch T A"]:
        del position, velocity
        actions = parameters.reshape(*parameters.shape[:-1], self.chunk, self.action_size)
        if not self.correlation:
            return actions
        alone, together = 1 - self.correlation, 1 + (self.chunk - 1) * self.correlation
        mean = jnp.mean(actions, axis=-2, keepdims=True)
        return math.sqrt(alone) * (actions - mean) + math.sqrt(together) * mean


Head = TypeVar("Head", bound=ActionHead, contravariant=True)


@runtime_checkable
class Exploration(Protocol[Head]):
    """What the noise is added to: the decisions that a policy takes, each of a normal distribution.

    Both methods are given the policy's head.
    """

    def decisions(
        self,
        head: Head,
        features: Float[Array, "*batch features"],
        position: Float[Array, "*batch D"],
        velocity: Float[Array, "*batch D"],
    ) -> tuple[Float[Array, "*batch T A"], Float[Array, "*batch K P"]]:
        """Action means, and the mean of each decision."""
        ...

    def actions(
        self,
        head: Head,
        decision: Float[Array, "*batch K P"],
        position: Float[Array, "*batch D"],
        velocity: Float[Array, "*batch D"],
    ) -> Float[Array, "*batch T A"]:
        """What decisions lead to; nothing is learned here."""
        ...


@dataclass(frozen=True)
class ActionNoise:
    """Step-based exploration: each of the T actions is a decision of its own."""

    def decisions(self, head: ActionHead, features, position, velocity):
        mean = head(features, position, velocity)
        return mean, mean

    def actions(self, head: ActionHead, decision, position, velocity):
        del head, position, velocity
        return decision


@dataclass(frozen=True)
class TrajectoryNoise:
    """Episode-based exploration: the parameters of a movement of T steps are one decision."""

    def decisions(self, head: TrajectoryHead, features, position, velocity):
        parameters = head.parameters(features, position)
        return head.actions(parameters, position, velocity), parameters[..., None, :]

    def actions(self, head: TrajectoryHead, decision, position, velocity):
        return head.actions(decision[..., 0, :], position, velocity)


class ActorCritic(nn.Module):
    """Observation and robot state to T action means, noise and T values.

    Attributes:
      head: `PrimitiveHead`, `DirectHead` or another `ActionHead`.
      encoder: makes features of observations that are pictures; None for states.
      hidden: layer widths of the actor and of the critic.
      initial_log_std: where the log standard deviation starts.
      exploration: what it is the deviation of.
    """

    head: ActionHead
    encoder: CNN | None = None
    hidden: Sequence[int] = (100, 100)
    initial_log_std: float | Float[Array, ""] = -0.5
    exploration: Exploration[Any] = ActionNoise()

    @nn.compact
    def __call__(
        self,
        observation: Float[Array, "..."],
        position: Float[Array, "*batch D"],
        velocity: Float[Array, "*batch D"],
    ) -> PolicyOutput:
        """Answers a batch of queries.

        Args:
          observation: normalised observations, (..., O), or with an encoder pictures, (..., height,
            width, channels).
          position: the robot's own position, in the units the primitive integrates, (..., D).
          velocity: its velocity, per second, (..., D).

        Returns:
          Means (..., T, A), decisions (..., K, P), log standard deviation (P,), values (..., K).
        """
        if self.encoder is not None:
            observation = self.encoder(observation)
        features = MLP(self.hidden, name="actor")(observation)
        mean, decision = self.exploration.decisions(self.head, features, position, velocity)
        log_std = self.param(
            "log_std",
            lambda _: jnp.broadcast_to(
                jnp.asarray(self.initial_log_std, observation.dtype), decision.shape[-1:]
            ),
        )
        critic = MLP(self.hidden, name="critic")(observation)
        value = nn.Dense(
            decision.shape[-2],
            kernel_init=VALUE_INIT,
            param_dtype=parameter_dtype(critic),
            name="value",
        )(critic)
        return PolicyOutput(mean=mean, decision=decision, log_std=log_std, value=value)

    def actions(
        self,
        decision: Float[Array, "*batch K P"],
        position: Float[Array, "*batch D"],
        velocity: Float[Array, "*batch D"],
    ) -> Float[Array, "*batch T A"]:
        """What decisions lead to, in action units; needs no parameters."""
        return self.exploration.actions(self.head, decision, position, velocity)
