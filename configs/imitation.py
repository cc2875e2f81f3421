"""The settings of imitation: digits from pictures, and robots from demonstrations."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from configs.base import DECAY, STIFFNESS, THREADS, Impl, Primitive, task_option
from configs.fields import (
    BOOKKEEPING,
    CONSTANT,
    NOT_NEGATIVE,
    POSITIVE,
    SEED,
    SWEPT,
    WIDTHS,
    at_most,
    tells_ranges,
)
from configs.heads import CLONED, Head, policy_option

IMITATED_TASK = task_option("digits|TASK", "or digits")


@tells_ranges
@dataclass(frozen=True)
class Descent:
    """Gradient descent on a fixed set of examples."""

    steps: Annotated[int, SWEPT, POSITIVE, at_most(2**31 - 1)] = 10_000
    """Gradient steps."""
    batch: Annotated[int, POSITIVE, at_most(1_000_000)] = 100
    """Examples in a minibatch."""
    learning_rate: Annotated[float, SWEPT, POSITIVE, at_most(1)] = 1e-3
    """Adam step size at the start; decays to zero at the last step, along half a cosine."""
    eval_every: Annotated[int, BOOKKEEPING, POSITIVE] = 1_000
    """Gradient steps between evaluations while training."""
    checkpoint_seconds: Annotated[float, BOOKKEEPING, POSITIVE] = 120.0
    """Wall time between checkpoints, in s; the best evaluation so far is saved at once."""
    keep_checkpoints: Annotated[int, BOOKKEEPING, POSITIVE] = 2
    """Latest checkpoints to keep, beside the one of the best evaluation."""
    max_skipped: Annotated[int, BOOKKEEPING, POSITIVE] = 320
    """Training stops after this many minibatches in a row whose loss or gradient is not finite."""


@tells_ranges
@dataclass(frozen=True)
class Pen:
    """The dynamic movement primitive that moves the pen (ignored by cnn)."""

    n_basis: Annotated[int, POSITIVE, at_most(1_000)] = 30
    """Basis functions per degree of freedom (N)."""
    alpha: Annotated[float, POSITIVE, STIFFNESS] = 25.0
    """Stiffness of the transformation system, in 1/tau; damping is critical (beta = alpha/4)."""
    alpha_x: Annotated[float, POSITIVE, DECAY] = 1.0
    """Decay rate of the phase, in 1/tau."""
    kernel: Literal[
        "gaussian", "multiquadric", "inverse_quadric", "inverse_multiquadric", "linear"
    ] = "gaussian"
    """Basis function kernel."""
    forcing: Literal["unscaled", "scaled", "hoffmann"] = "unscaled"
    """Whether weights are multiplied by the goal's distance from the start; others can draw a
    stroke that ends where it began, and with hoffmann the spring's goal sets out from the start."""
    method: Literal["matrix", "scan"] = "matrix"
    """How the primitive is integrated: precomputed linear map, or step by step."""


@tells_ranges
@dataclass(frozen=True)
class DigitsConfig:
    """Write the digit that a picture shows."""

    task: Annotated[str, IMITATED_TASK] = "digits"
    model: Literal["cnn-ndp", "mlp-ndp", "cnn-dmp", "cnn"] = "cnn-ndp"
    """cnn-ndp, mlp-ndp: picture to primitive, trained on the stroke that it integrates to; cnn-dmp:
    trained on the parameters fitted to each stroke; cnn: picture to the stroke's coordinates."""
    seed: Annotated[int, SEED] = 0
    """Seed of parameters and minibatches."""
    samples: Annotated[int, POSITIVE, at_most(1_000_000)] = 20_000
    """Digits to learn from."""
    held_out: Annotated[int, POSITIVE, at_most(1_000_000)] = 2_000
    """Digits to be judged by."""
    shift: Annotated[int, NOT_NEGATIVE, at_most(20)] = 2
    """Pixels by which a digit is moved at random whenever it is learned from, at most."""
    data: str = ""
    """A 40x40-smnist.mat, whose last digits are held out; by default digits are generated."""
    start: Literal["predicted", "given"] = "predicted"
    """Whether the stroke's first point is predicted, too, or given to the model."""
    hidden: Annotated[tuple[int, ...], WIDTHS] = (200, 200)
    """Widths of the dense layers."""
    pen: Pen = field(default_factory=Pen)
    descent: Descent = field(default_factory=lambda: Descent(steps=10_000, learning_rate=2e-3))


@tells_ranges
@dataclass(frozen=True)
class CloneConfig:
    """Do what demonstrations of a robot task do."""

    task: Annotated[str, IMITATED_TASK]
    policy: Annotated[str, policy_option(CLONED)] = "ndp"
    observation: Literal["state", "image"] = "state"
    """What the policy sees: the task's observation, or 84 x 84 pictures of the scene."""
    seed: Annotated[int, SEED] = 0
    """Seed of parameters, minibatches and held-out resets."""
    episodes: Annotated[int, POSITIVE, at_most(1_000_000)] = 200
    """Demonstrations, the first of the file if it has more; a tenth is held out for the error."""
    demos: str = ""
    """File that `ndp demos` wrote; by default the task's script demonstrates."""
    episode_length: Annotated[int, POSITIVE, at_most(1_000_000)] = 150
    """Environment steps per episode."""
    chunk: Annotated[int, POSITIVE] = 5
    """Environment steps per policy query (T)."""
    num_envs: Annotated[int, POSITIVE, at_most(1_000_000)] = 64
    """Environments stepped in parallel in evaluations."""
    eval_episodes: Annotated[int, BOOKKEEPING, POSITIVE, at_most(1_000_000)] = 256
    """Episodes evaluated after the last step."""
    impl: Impl = "auto"
    """Physics: C MuJoCo (c), MJX (jax) or MuJoCo Warp (warp); auto is C on a CPU, MJX elsewhere."""
    threads: Annotated[int, BOOKKEEPING, THREADS] = 0
    """Threads of C MuJoCo; 0 for the cores that this process may use, shared by its devices."""
    hidden: Annotated[tuple[int, ...], WIDTHS] = (256, 256)
    """Layer widths of the policy."""
    primitive: Annotated[Primitive, CONSTANT] = field(default_factory=Primitive)
    descent: Descent = field(default_factory=lambda: Descent(steps=20_000, batch=256))

    @property
    def head(self) -> Head:
        """Of the policy."""
        return CLONED[self.policy]

    @property
    def steps_per_query(self) -> int:
        """T."""
        return self.chunk

    @property
    def explores_trajectories(self) -> bool:
        """Nothing is explored."""
        return False


ImitateConfig = DigitsConfig | CloneConfig
