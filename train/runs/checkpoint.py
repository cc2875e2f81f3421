"""Checkpoints of the whole `TrainState`, through orbax.

Each holds the state, packed, and beside it what it was made by: the configuration, the versions
and a digest of all its bytes, so that nothing damaged, edited or foreign is taken for a state.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import absl.logging
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization
from jax.sharding import Mesh
from jaxtyping import Array, PyTree
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, LatestN

from configs import Config
from configs.fields import BOOKKEEPING, flag, marked, settings
from train.runs import metrics, run
from train.system.devices import gather
from train.system.distributed import once
from train.system.errors import Stopped, UserError
from train.system.runtime import check_process, versions

FORMAT = 5
"""Changes when a `TrainState` or what lies beside it does."""

Leaf = Array | jax.ShapeDtypeStruct
State = TypeVar("State")


class BestEvaluation:
    """Orbax's policy of preserving what `metrics.best_evaluation` names."""

    def __init__(self, folder: Path):
        self._folder = folder

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Which of the checkpoints stay."""
        del context
        best = metrics.best_evaluation(self._folder)
        return [checkpoint.step == best for checkpoint in checkpoints]


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
      UserError: there is a file in place of the folder.
      Stopped: a checkpoint could not be written.
    """
    absl.logging.set_verbosity(absl.logging.FATAL)  # orbax's notes; its errors become sentences
    path = (folder / "checkpoints").absolute()
    policy = AnyPreservationPolicy([LatestN(keep), BestEvaluation(folder)])
    process = jax.process_index()
    options = ocp.CheckpointManagerOptions(
        preservation_policy=None if read_only else policy,
        read_only=read_only,
        cleanup_tmp_directories=not read_only,
        multiprocessing_options=ocp.options.MultiprocessingOptions(
            primary_host=process,
            active_processes={process},
            barrier_sync_key_prefix=f"process-{process}",
        ),
        create=False,
    )
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; put the folder of checkpoints there.")
    if not read_only:
        path.mkdir(exist_ok=True)
    manager = ocp.CheckpointManager(path, options=options)
    try:
        yield manager
        with _writing(folder):
            manager.wait_until_finished()
    finally:
        with suppress(Exception):  # what was not written has been told
            manager.close()


def save(
    manager: ocp.CheckpointManager,
    state: PyTree,
    *,
    config: Config,
    steps: int,
) -> None:
    """Writes a checkpoint named after its steps; atomic, in the background.

    The state is a `TrainState`, what holds several, or what an imitation goes on from. The copy to
    the host is made here: the next update reuses the state's buffers.

    Raises:
      Stopped: the checkpoint before this one could not be written.
    """
    leaves = serialization.msgpack_serialize(jax.tree.map(np.array, _flatten(state)))
    made_by = {
        "format": FORMAT,
        "config": dataclasses.asdict(config),
        "versions": circumstances(config),
    }
    made_by["digest"] = digest(leaves, made_by)
    with _writing(Path(manager.directory).parent):
        manager.save(
            steps,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave({"leaves": np.frombuffer(leaves, np.uint8)}),
                made_by=ocp.args.JsonSave(made_by),
            ),
        )


class Saver:
    """Saves a run at regular times, after its best evaluation so far, and when told.

    Args:
      manager: of the checkpoints.
      config: of the run.
      folder: of the run.
      rows: folders whose rows a checkpoint needs; by default the run's.
      mesh: the devices that the state is spread over.
    """

    def __init__(
        self,
        manager: ocp.CheckpointManager,
        config: Config,
        folder: Path,
        *,
        rows: Sequence[Path] = (),
        mesh: Mesh | None = None,
    ):
        self._manager, self._config, self._folder, self._mesh = manager, config, folder, mesh
        self._pause = settings(config)["checkpoint_seconds"]
        self._rows = rows or (folder,)
        self._saved = time.monotonic()

    def __call__(
        self, state: PyTree, *, steps: int, evaluated: bool = False, at_once: bool = False
    ) -> None:
        """Saves the state after `steps` steps if it is time to, but never twice.

        At once means that it is there when this returns.
        """
        if once(lambda: at_once or self._due(steps, evaluated=evaluated)):
            gathered = gather(state, self._mesh)
            once(lambda: self._save(gathered, steps, wait=at_once))

    def _due(self, steps: int, *, evaluated: bool) -> bool:
        due = time.monotonic() - self._saved >= self._pause
        return due or (evaluated and metrics.best_evaluation(self._folder) == steps)

    def _save(self, state: PyTree, steps: int, *, wait: bool) -> None:
        if self._manager.latest_step() != steps:
            for folder in self._rows:
                metrics.sync(folder)
            save(self._manager, state, config=self._config, steps=steps)
            self._saved = time.monotonic()
        if wait:
            with _writing(self._folder):
                self._manager.wait_until_finished()


def restore(
    manager: ocp.CheckpointManager,
    template: State,
    *,
    config: Config,
    which: run.Which = "latest",
) -> tuple[int, State, dict[str, str]]:
    """Reads a checkpoint.

    Args:
      manager: from `open_manager`.
      template: the expected shapes, as arrays or `jax.ShapeDtypeStruct`s.
      config: what the run folder says it holds.
      which: the latest, or the one of the best evaluation.

    Returns:
      Its steps, the state, and the versions it was made with.

    Raises:
      UserError: there is none, it was made by another configuration or a newer version, or it
        cannot be read or is not what was written.
    """
    folder = Path(manager.directory).parent
    step = metrics.best_evaluation(folder) if which == "best" else manager.latest_step()
    if step is None or step not in manager.all_steps():
        kind = "of its best evaluation " if which == "best" else ""
        raise UserError(f"{folder} holds no checkpoint {kind}yet.")
    path = folder / "checkpoints" / str(step)
    remedy = f"delete {path} to use the checkpoint before it, if there is one"

    items = ocp.args.Composite(state=ocp.args.StandardRestore(), made_by=ocp.args.JsonRestore())
    try:
        saved: Any = manager.restore(step, args=items)
        made_by = dict(saved.made_by)
        found = made_by.get("format", 1)
        packed = np.asarray(saved.state["leaves"]).tobytes() if found == FORMAT else b""
    except Exception as error:  # orbax, tensorstore and the file system each raise their own
        raise UserError(
            f"Checkpoint {path} cannot be read ({_first_line(error)}); {remedy}."
        ) from None
    if found != FORMAT:
        writer = dict(made_by.get("versions", {})).get("ndp-jax", "that wrote it")
        raise UserError(
            f"Checkpoint {path} has format {found}, but this ndp-jax reads format {FORMAT}; use "
            f"ndp-jax {writer}."
        )
    if made_by.pop("digest", None) != digest(packed, made_by):
        raise UserError(f"Checkpoint {path} is not what was written there; {remedy}.")
    _check_config(made_by["config"], config, path)

    leaves: Any = serialization.msgpack_restore(packed)
    made_with = made_by["versions"]
    check_process(_implied(leaves, template) | made_with, f"Checkpoint {path}")
    for name, leaf in jax.eval_shape(_flatten, template).items():
        shape = (leaves[name].shape, leaves[name].dtype) if name in leaves else "missing"
        if shape != (leaf.shape, leaf.dtype):
            raise UserError(
                f"Checkpoint {path} is undamaged but of another shape than here: {name} is {shape} "
                f"and should be {(leaf.shape, leaf.dtype)}; use what it was made with"
                f"{_differences(made_with, circumstances(config))}."
            )
    return step, _unflatten(leaves, template), made_by["versions"]


def circumstances(config: Config) -> dict[str, str]:
    """What must be the same for a run to go on bit for bit."""
    impl = settings(config).get("impl")
    return versions() | ({"impl": impl} if impl else {})


def digest(leaves: bytes, made_by: dict[str, Any]) -> str:
    """SHA-256 of a checkpoint."""
    return hashlib.sha256(json.dumps(made_by, sort_keys=True).encode() + leaves).hexdigest()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # as in restore
        full = any(hint in str(error) for hint in ("No space left", "RESOURCE_EXHAUSTED", "quota"))
        reason = "the disk is full" if full else _first_line(error)
        raise Stopped(
            f"A checkpoint of {folder} could not be written ({reason}); those before it are "
            f"intact. {'Make room, then' if full else 'Then'} go on with --resume."
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _check_config(saved: dict[str, Any], config: Config, path: Path) -> None:
    """Raises `UserError` unless the checkpoint was made by this configuration."""
    kind = run.kind_of(saved)
    if kind is not type(config):
        raise UserError(
            f"Checkpoint {path} was made with settings of another kind than those of the run's "
            "config.json; put them back."
        )
    before = settings(run.restore(kind, saved))
    may_change = ("steps", "impl", *marked(kind, BOOKKEEPING))
    for name, value in settings(config).items():
        if before[name] != value and name not in may_change:
            raise UserError(
                f"Checkpoint {path} was made with {flag(name)} {before[name]}, but the run's "
                f"config.json says {value}; put it back."
            )


def _implied(leaves: dict[str, np.ndarray], template: PyTree) -> dict[str, str]:
    """The `SHAPING` settings of a process that made such leaves, as far as they tell."""
    wide = any(leaf.dtype.itemsize == 8 for leaf in leaves.values())
    found = {"JAX_ENABLE_X64": f"{wide:d}"}
    for path, leaf in jax.tree_util.tree_leaves_with_path(template):
        bits = leaves.get(jax.tree_util.keystr(path))
        expected = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else None
        if expected and bits is not None and bits.shape[-1] != expected.shape[-1]:
            found["JAX_DEFAULT_PRNG_IMPL"] = "threefry2x32" if bits.shape[-1] == 2 else "rbg"
    return found


def _differences(made_with: dict[str, str], now: dict[str, str]) -> str:
    others = [f"{name} {then}" for name, then in made_with.items() if now.get(name) != then]
    return f", {', '.join(others)}" if others else ""


def _is_key(leaf: Leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _flatten(state: PyTree) -> dict[str, Leaf]:
    """Leaves by their path, random keys as their bits."""
    return {
        jax.tree_util.keystr(path): jax.random.key_data(leaf) if _is_key(leaf) else leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def _unflatten(leaves: dict[str, np.ndarray], template: PyTree) -> PyTree:
    def value(path, leaf: Leaf) -> Array:
        saved = jnp.asarray(leaves[jax.tree_util.keystr(path)])
        return jax.random.wrap_key_data(saved) if _is_key(leaf) else saved

    return jax.tree_util.tree_map_with_path(value, template)
