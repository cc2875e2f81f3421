"""The settings of a training run. Fields hold defaults; the string under a field is its help."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class Primitive:
    """The dynamic movement primitive inside the ndp policy (ignored by ppo-multi and ppo)."""

    n_basis: int = 6
    """Basis functions per degree of freedom (N)."""
    alpha: float = 5.0
    """Stiffness of the transformation system, in 1/tau; damping is critical (beta = alpha/4)."""
    alpha_x: float = 1.0
    """Decay rate of the phase, in 1/tau."""
    kernel: Literal[
        "gaussian", "multiquadric", "inverse_quadric", "inverse_multiquadric", "linear"
    ] = "gaussian"
    """Basis function kernel."""
    forcing: Literal["scaled", "unscaled", "hoffmann"] = "scaled"
    """What weights are multiplied by: the goal's offset from the robot's position, as in the paper,
    or goal_scale, so that a movement can be shaped whose goal is near; hoffmann also lets the
    spring's goal set out from where the robot is."""
    substeps: int = 8
    """Euler integration steps per environment step (l)."""
    method: Literal["matrix", "scan"] = "matrix"
    """How the primitive is integrated: precomputed linear map, or step by step."""
    goal_scale: float = 0.05
    """Goal offset from the robot's position per unit of network output, in m (rad for Jaco)."""
    weight_scale: float = 50.0
    """Basis weight per unit of network output, before the factor of the forcing."""


@dataclass(frozen=True)
class Network:
    """The actor and the critic: tanh layers, the same for every policy."""

    hidden: tuple[int, ...] = (100, 100)
    """Layer widths of the actor and of the critic."""
    initial_log_std: float = -0.5
    """Log standard deviation of the exploration noise at the start, in action units."""


@dataclass(frozen=True)
class PPO:
    """Proximal policy optimisation."""

    learning_rate: float = 1e-3
    """Adam step size at the start; decays linearly to zero at the last update."""
    clip: float = 0.2
    """Clip range of the probability ratio and of the value change."""
    gamma: float = 0.99
    """Discount per environment step."""
    gae_lambda: float = 0.95
    """Decay of generalised advantage estimation, per environment step."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus."""
    value_coefficient: float = 0.5
    """Weight of the value loss."""
    max_kl: float = 0.03
    """No further pass over a batch once the policy has moved this far from it, in nats."""
    max_grad_norm: float = 0.5
    """Gradients are scaled down to this global norm."""
    epochs: int = 10
    """Passes over each batch."""
    minibatches: int = 32
    """Gradient steps per pass; divides (queries per rollout) x (environments)."""
    max_skipped: int = 320
    """Training stops after this many minibatches in a row whose loss or gradient is not finite."""


@dataclass(frozen=True)
class TrainConfig:
    """Task, policy and extent of the run."""

    task: Annotated[str, tyro.conf.arg(metavar="TASK")]
    """Task: throw, pick, push, soccer or faucet; selects the defaults of all other settings."""
    policy: Literal["ndp", "ppo-multi", "ppo"] = "ndp"
    """ndp: T actions through the primitive; ppo-multi: T actions directly; ppo: one action."""
    seed: int = 0
    """Seed of every random number in the run."""
    steps: int = 1_500_000
    """Environment steps; rounded down to whole updates."""
    episode_length: int = 150
    """Environment steps per episode."""
    reward_delay: int = 1
    """Environment steps between the reward's looks at the object; 1 looks at every one."""
    num_envs: int = 64
    """Environments stepped in parallel."""
    rollout_steps: int = 150
    """Environment steps per environment and update; divides the episode."""
    chunk: int = 5
    """Environment steps per policy query (T) of ndp and ppo-multi; divides rollout_steps."""
    eval_episodes: int = 256
    """Deterministic episodes evaluated after the last update."""
    eval_every: int = 20
    """Updates between evaluations while training; 0 for none."""
    checkpoint_seconds: float = 120.0
    """Wall time between checkpoints, in s; the best evaluation so far is saved at once."""
    keep_checkpoints: int = 2
    """Latest checkpoints to keep, beside the one of the best evaluation."""
    primitive: Primitive = field(default_factory=Primitive)
    network: Network = field(default_factory=Network)
    ppo: PPO = field(default_factory=PPO)

    @property
    def steps_per_query(self) -> int:
        """T: ppo asks its network at every step."""
        return 1 if self.policy == "ppo" else self.chunk

    @property
    def steps_per_update(self) -> int:
        """Environment steps, over all environments."""
        return self.num_envs * self.rollout_steps

    @property
    def updates(self) -> int:
        """Of the whole run."""
        return self.steps // self.steps_per_update
