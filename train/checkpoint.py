"""Checkpoints of the whole `TrainState`, through orbax.

Each holds the state, packed, and beside it what it was made by: the configuration, the versions
and a digest of all its bytes, so that nothing damaged, edited or foreign is taken for a state.
"""

import dataclasses
import hashlib
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization
from jaxtyping import Array
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from configs import TrainConfig
from envs.base import MjxEnv
from train import run
from train.agent import hyperparameters, make_env
from train.checks import flag, settings
from train.errors import Stopped, UserError
from train.ppo import TrainState, make_learner
from train.runtime import versions

FORMAT = 2
"""Changes when a `TrainState` or what lies beside it does."""

Leaf = Array | jax.ShapeDtypeStruct
Which = Literal["latest", "best"]


def score(evaluation: dict[str, float]) -> Any:
    """What makes one evaluation better than another: success, then the return; a tuple."""
    return evaluation["success"], evaluation["returns"]


@contextmanager
def open_manager(
    folder: Path, *, keep: int = 2, read_only: bool = False
) -> Iterator[ocp.CheckpointManager]:
    """The manager of a run's checkpoints/, waiting for pending writes at the end.

    Args:
      folder: the run folder.
      keep: how many of the latest checkpoints stay; the one of the best evaluation does, too.
      read_only: for looking at a run that may be in training.

    Raises:
      Stopped: a checkpoint could not be written.
    """
    policy = AnyPreservationPolicy(
        [LatestN(keep), BestN(get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False)]
    )
    options = ocp.CheckpointManagerOptions(
        best_fn=score,
        preservation_policy=None if read_only else policy,
        read_only=read_only,
        cleanup_tmp_directories=not read_only,
    )
    manager = ocp.CheckpointManager((folder / "checkpoints").absolute(), options=options)
    try:
        yield manager
        with _writing(folder):
            manager.wait_until_finished()
    finally:
        manager.close()


def save(
    manager: ocp.CheckpointManager,
    state: TrainState,
    *,
    config: TrainConfig,
    steps: int,
    evaluation: dict[str, float] | None = None,
) -> None:
    """Writes a checkpoint named after its environment steps; atomic, in the background.

    The copy to the host is made here: the next update reuses the state's buffers.

    Raises:
      Stopped: the checkpoint before this one could not be written.
    """
    leaves = serialization.msgpack_serialize(jax.tree.map(np.array, _flatten(state)))
    made_by = {
        "format": FORMAT,
        "config": dataclasses.asdict(config),
        "versions": versions(),
        "digest": hashlib.sha256(leaves).hexdigest(),
    }
    with _writing(Path(manager.directory).parent):
        manager.save(
            steps,
            metrics=evaluation,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave({"leaves": np.frombuffer(leaves, np.uint8)}),
                made_by=ocp.args.JsonSave(made_by),
            ),
        )


class Saver:
    """Saves a run at regular times, after its best evaluation so far, and when told."""

    def __init__(
        self,
        manager: ocp.CheckpointManager,
        config: TrainConfig,
        *,
        best: tuple[float, float],
    ):
        """`best` is the highest `score` of the run so far."""
        self._manager, self._config, self._best = manager, config, best
        self._saved = time.monotonic()

    def __call__(
        self,
        state: TrainState,
        *,
        steps: int,
        evaluation: dict[str, float] | None = None,
        at_once: bool = False,
    ) -> None:
        """Saves the state after `steps` environment steps if it is time to, but never twice."""
        best = max(self._best, score(evaluation)) if evaluation else self._best
        due = time.monotonic() - self._saved >= self._config.checkpoint_seconds
        if (at_once or due or best > self._best) and self._manager.latest_step() != steps:
            save(self._manager, state, config=self._config, steps=steps, evaluation=evaluation)
            self._saved = time.monotonic()
        self._best = best


def restore(
    manager: ocp.CheckpointManager,
    template: TrainState,
    *,
    config: TrainConfig,
    which: Which = "latest",
) -> tuple[int, TrainState, dict[str, str]]:
    """Reads a checkpoint.

    Args:
      manager: from `open_manager`.
      template: a `TrainState` of arrays or `jax.ShapeDtypeStruct`s with the expected shapes.
      config: what the run folder says it holds.
      which: the latest, or the one of the best evaluation.

    Returns:
      Its environment steps, the state, and the versions it was made with.

    Raises:
      UserError: there is none, it was made by another configuration or a newer version, or it
        cannot be read or is not what was written.
    """
    folder = Path(manager.directory).parent
    step = manager.best_step() if which == "best" else manager.latest_step()
    if step is None:
        raise UserError(f"{folder} holds no checkpoint yet.")
    path = folder / "checkpoints" / str(step)
    remedy = f"delete {path} to use the checkpoint before it, if there is one"

    made_by = _read(manager, step, "made_by", ocp.args.JsonRestore(), path, remedy)
    found = made_by.get("format", 1) if isinstance(made_by, dict) else None
    if found != FORMAT:
        newer = isinstance(found, int) and found > FORMAT
        raise UserError(
            f"Checkpoint {path} has format {found}, but this ndp-jax reads format {FORMAT}; "
            f"{'upgrade ndp-jax' if newer else 'use the ndp-jax that wrote it'}."
        )
    _check_config(made_by, config, path)

    packed = _read(manager, step, "state", ocp.args.StandardRestore(), path, remedy)
    packed = np.asarray(packed["leaves"]).tobytes()
    if hashlib.sha256(packed).hexdigest() != made_by.get("digest"):
        raise UserError(f"Checkpoint {path} is not what was written there; {remedy}.")
    leaves: Any = serialization.msgpack_restore(packed)
    for name, leaf in jax.eval_shape(_flatten, template).items():
        found = (leaves[name].shape, leaves[name].dtype) if name in leaves else "missing"
        if found != (leaf.shape, leaf.dtype):
            raise UserError(
                f"Checkpoint {path} does not fit its configuration: {name} is {found} and should "
                f"be {(leaf.shape, leaf.dtype)}; {remedy}."
            )
    return step, _unflatten(leaves, template), made_by["versions"]


def load_run(folder: Path, *, which: Which = "latest") -> tuple[TrainConfig, MjxEnv, TrainState]:
    """Configuration, environment and a checkpoint of a run folder.

    Raises:
      UserError: as `run.load_config` and `restore`.
    """
    config = run.load_config(folder)
    if not (folder / "checkpoints").is_dir():
        raise UserError(f"{folder} holds no checkpoint yet.")
    env = make_env(config)
    learner = make_learner(env, config)
    template = jax.eval_shape(learner.init, jax.random.key(config.seed), hyperparameters(config))
    with open_manager(folder, read_only=True) as manager:
        return config, env, restore(manager, template, config=config, which=which)[1]


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # orbax, tensorstore and the file system each raise their own
        full = "No space left on device" in str(error) or "RESOURCE_EXHAUSTED" in str(error)
        reason = "the disk is full" if full else _first_line(error)
        raise Stopped(
            f"A checkpoint of {folder} could not be written ({reason}); those before it are "
            f"intact. Make room, then: ndp train --resume {folder}"
        ) from None


def _read(
    manager: ocp.CheckpointManager, step: int, item: str, args: Any, path: Path, remedy: str
) -> Any:
    try:
        return manager.restore(step, args=ocp.args.Composite(**{item: args}))[item]
    except Exception as error:  # as in _writing
        raise UserError(
            f"Checkpoint {path} cannot be read ({_first_line(error)}); {remedy}."
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _check_config(made_by: dict[str, Any], config: TrainConfig, path: Path) -> None:
    """Raises `UserError` unless the checkpoint was made by this configuration."""
    try:
        saved = settings(run.restore(TrainConfig, made_by["config"]))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"Checkpoint {path} cannot be read ({error}).") from None
    for name, value in settings(config).items():
        if saved.get(name) != value and name not in run.MAY_CHANGE:
            raise UserError(
                f"Checkpoint {path} was made with {flag(name)} {saved.get(name)}, but the run's "
                f"config.json says {value}; put it back."
            )


def _is_key(leaf: Leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _flatten(state: TrainState) -> dict[str, Leaf]:
    """Leaves by their path: random keys as their bits, empty leaves (orbax has none) left out."""
    leaves = {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
        if math.prod(leaf.shape) or _is_key(leaf)
    }
    return {
        name: jax.random.key_data(leaf) if _is_key(leaf) else leaf for name, leaf in leaves.items()
    }


def _unflatten(leaves: dict[str, np.ndarray], template: TrainState) -> TrainState:
    def value(path, leaf: Leaf) -> Array:
        name = jax.tree_util.keystr(path)
        if name not in leaves:
            return jnp.zeros(leaf.shape, leaf.dtype)
        saved = jnp.asarray(leaves[name])
        return jax.random.wrap_key_data(saved) if _is_key(leaf) else saved

    return jax.tree_util.tree_map_with_path(value, template)
