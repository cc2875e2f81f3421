"""The settings of a training run. Fields hold bounds and defaults; the string below is the help."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from configs.fields import (
    BOOKKEEPING,
    NOT_NEGATIVE,
    POSITIVE,
    SEED,
    SWEPT,
    WIDTHS,
    at_most,
    between,
    tells_ranges,
)
from configs.heads import HEADS, Head, policy_option
from envs import TASKS

STIFFNESS = between(0.5, 30, if_used=True)
"""To which `ndp_jax.dmp` clamps an alpha that it is given."""

DECAY = between(1e-6, 100, if_used=True)
"""In which every kernel's basis functions are finite numbers."""

Impl = Literal["auto", "jax", "c", "warp"]
"""Who computes the physics; `envs.make` says more."""

THREADS = between(0, 4096)

PresetName = Literal["tuned", "paper"]

PAPER = {
    "explore": "actions",
    "initial_log_std": 0.0,
    "learning_rate": 3e-4,
    "clip": 0.1,
    "gae_lambda": 0.95,
    "entropy_coefficient": 0.01,
    "min_advantage_std": 0.0,
    "max_kl": 1e6,
    "minibatches": 32,
}
"""What the paper's learner has otherwise than ours, for every task and policy; the number of
environments and what the task counts as an episode are ours."""


def task_option(metavar: str, more: str = "") -> object:
    """A word that names a task."""
    tasks = (
        f"{', '.join(TASKS)}, brax/NAME or playground/NAME of those libraries, or the "
        "package.module:Class of your own"
    )
    return tyro.conf.arg(metavar=metavar, help=f"Task: {tasks}{f'; {more}' if more else ''}.")


@tells_ranges
@dataclass(frozen=True)
class Primitive:
    """The dynamic movement primitive inside a policy that has one."""

    n_basis: Annotated[int, between(0, 1_000)] = 6
    """Basis functions per degree of freedom (N); with 0 the primitive only pulls to its goal."""
    alpha: Annotated[float, SWEPT, POSITIVE, STIFFNESS] = 5.0
    """Stiffness of the transformation system, in 1/tau; damping is critical (beta = alpha/4)."""
    alpha_x: Annotated[float, POSITIVE, DECAY] = 1.0
    """Decay rate of the phase, in 1/tau."""
    kernel: Literal[
        "gaussian", "multiquadric", "inverse_quadric", "inverse_multiquadric", "linear"
    ] = "gaussian"
    """Basis function kernel."""
    forcing: Literal["scaled", "unscaled", "hoffmann"] = "scaled"
    """What weights are multiplied by: the goal's offset from the robot's position, as in the paper,
    or goal_scale, so that a movement can be shaped whose goal is near; hoffmann also lets the
    spring's goal set out from where the robot is."""
    substeps: Annotated[int, POSITIVE, at_most(1_000)] = 8
    """Euler integration steps per environment step (l)."""
    method: Literal["matrix", "scan"] = "matrix"
    """How the primitive is integrated: precomputed linear map, or step by step."""
    goal_scale: Annotated[float, SWEPT, POSITIVE, at_most(1_000_000)] = 0.05
    """Goal offset from the robot's position per unit of network output, in m (rad for Jaco)."""
    weight_scale: Annotated[float, SWEPT, POSITIVE, at_most(1_000_000)] = 50.0
    """Basis weight per unit of network output, before the factor of the forcing."""


@tells_ranges
@dataclass(frozen=True)
class Network:
    """The actor and the critic: tanh layers, the same for every policy."""

    hidden: Annotated[tuple[int, ...], WIDTHS] = (100, 100)
    """Layer widths of the actor and of the critic."""
    initial_log_std: Annotated[float, SWEPT, between(-10, 10)] = -0.5
    """Log standard deviation of the exploration noise at the start, in action units; of the
    parameters of a trajectory, in units of network output."""


@tells_ranges
@dataclass(frozen=True)
class Adapter:
    """How the environment of a task of brax, Playground or your own is moved; of no other."""

    joints: tuple[str, ...] = ()
    """Joints that the primitive moves; by default all that an actuator drives."""
    controller: Literal["auto", "increment", "position", "velocity", "torque"] = "auto"
    """What makes the environment's actions of a change of the joints' positions: they are that
    change, its target, its velocity, or torques that a PD law asks for; auto is what the actuators
    are."""
    speed: Annotated[float, POSITIVE, at_most(1_000_000)] = 2.5
    """Of a joint where an action is 1, in rad/s or m/s."""
    kp: Annotated[float, NOT_NEGATIVE, at_most(1_000_000)] = 0.0
    """PD law: action per rad or m of error; 0 for what the masses of the model suggest."""
    kd: Annotated[float, NOT_NEGATIVE, at_most(1_000_000)] = 0.0
    """PD law: action per rad/s or m/s of error; 0 for what they suggest."""
    unit: Annotated[float, POSITIVE, at_most(1_000_000)] = 1.0
    """Position and velocity: what an environment's action of 1 is, in rad(/s) or m(/s)."""
    observation: str = ""
    """Which of the observations the policy sees, where they are a dict; by default `state`."""


@tells_ranges
@dataclass(frozen=True)
class PPO:
    """Proximal policy optimisation."""

    learning_rate: Annotated[float, SWEPT, POSITIVE, at_most(1)] = 1e-3
    """Adam step size at the start; decays linearly to zero at the last update."""
    clip: Annotated[float, SWEPT, POSITIVE, at_most(1_000_000)] = 0.2
    """Clip range of the probability ratio and of the value change."""
    gamma: Annotated[float, SWEPT, between(0, 1)] = 0.99
    """Discount per environment step."""
    gae_lambda: Annotated[float, SWEPT, between(0, 1)] = 0.95
    """Decay of generalised advantage estimation, per environment step."""
    min_advantage_std: Annotated[float, SWEPT, NOT_NEGATIVE, at_most(1_000_000)] = 0.3
    """Advantages are divided by their standard deviation, or by this if that is less: where nothing
    is earned they are errors of the critic. In units of the scaled return."""
    entropy_coefficient: Annotated[float, SWEPT, NOT_NEGATIVE, at_most(1_000_000)] = 0.0
    """Weight of the entropy bonus."""
    value_coefficient: Annotated[float, SWEPT, NOT_NEGATIVE, at_most(1_000_000)] = 0.5
    """Weight of the value loss."""
    max_kl: Annotated[float, SWEPT, POSITIVE, at_most(1_000_000)] = 0.03
    """No further pass over a batch once the policy has moved this far from it, in nats."""
    max_grad_norm: Annotated[float, SWEPT, POSITIVE, at_most(1_000_000)] = 0.5
    """Gradients are scaled down to this global norm."""
    epochs: Annotated[int, POSITIVE, at_most(1_000)] = 10
    """Passes over each batch."""
    minibatches: Annotated[int, POSITIVE] = 32
    """Gradient steps per pass; divides (queries per rollout) x (environments)."""
    max_skipped: Annotated[int, BOOKKEEPING, POSITIVE] = 320
    """Training stops after this many minibatches in a row whose loss or gradient is not finite."""


@tells_ranges
@dataclass(frozen=True)
class TrainConfig:
    """Task, policy and extent of the run."""

    task: Annotated[str, task_option("TASK", "it selects the defaults of all other settings")]
    policy: Annotated[str, policy_option(HEADS)] = "ndp"
    seed: Annotated[int, SEED] = 0
    """Seed of every random number in the run."""
    steps: Annotated[int, POSITIVE] = 1_500_000
    """Environment steps; rounded down to whole updates."""
    episode_length: Annotated[int, POSITIVE, at_most(1_000_000)] = 150
    """Environment steps per episode."""
    reward_delay: Annotated[int, POSITIVE, at_most(1_000_000)] = 1
    """Environment steps between the reward's looks at the object; 1 looks at every one."""
    num_envs: Annotated[int, POSITIVE, at_most(1_000_000)] = 64
    """Environments stepped in parallel."""
    rollout_steps: Annotated[int, POSITIVE] = 150
    """Environment steps per environment and update; divides the episode."""
    chunk: Annotated[int, POSITIVE] = 5
    """Environment steps per policy query (T) of policies with chunks; divides rollout_steps."""
    explore: Literal["actions", "trajectory"] = "actions"
    """Noise on every action, or on the parameters of the movement that a query is answered with."""
    eval_episodes: Annotated[int, BOOKKEEPING, POSITIVE, at_most(1_000_000)] = 256
    """Deterministic episodes evaluated after the last update."""
    eval_every: Annotated[int, BOOKKEEPING, NOT_NEGATIVE] = 20
    """Updates between evaluations while training; 0 for none."""
    checkpoint_seconds: Annotated[float, BOOKKEEPING, POSITIVE] = 120.0
    """Wall time between checkpoints, in s; the best evaluation so far is saved at once."""
    keep_checkpoints: Annotated[int, BOOKKEEPING, POSITIVE] = 2
    """Latest checkpoints to keep, beside the one of the best evaluation."""
    impl: Impl = "auto"
    """Physics: C MuJoCo (c), MJX (jax) or MuJoCo Warp (warp); auto is C on a CPU, MJX elsewhere."""
    threads: Annotated[int, BOOKKEEPING, THREADS] = 0
    """Threads of C MuJoCo; 0 for the cores that this process may use, shared by its devices."""
    primitive: Primitive = field(default_factory=Primitive)
    network: Network = field(default_factory=Network)
    ppo: PPO = field(default_factory=PPO)
    adapter: Adapter = field(default_factory=Adapter)

    @property
    def head(self) -> Head:
        """Of the policy."""
        return HEADS[self.policy]

    @property
    def steps_per_query(self) -> int:
        """T: 1 for a head to which chunks mean nothing."""
        return self.chunk if "chunk" in self.head.settings else 1

    @property
    def explores_trajectories(self) -> bool:
        """Whether a query is answered with one decision."""
        return self.explore == "trajectory" and "explore" in self.head.settings

    @property
    def steps_per_update(self) -> int:
        """Environment steps, over all environments."""
        return self.num_envs * self.rollout_steps

    @property
    def updates(self) -> int:
        """Of the whole run."""
        return self.steps // self.steps_per_update
