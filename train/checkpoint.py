"""Checkpoints of the whole `TrainState`, through orbax."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import Array

import envs
from configs import TrainConfig
from envs.base import MjxEnv
from train import run
from train.agent import hyperparameters
from train.errors import UserError
from train.ppo import TrainState, make_learner

Leaf = Array | jax.ShapeDtypeStruct


def open_manager(folder: Path) -> ocp.CheckpointManager:
    """The manager of a run's checkpoints/; close it to wait for pending writes."""
    options = ocp.CheckpointManagerOptions(max_to_keep=2, create=True)
    return ocp.CheckpointManager((folder / "checkpoints").absolute(), options=options)


def save(
    manager: ocp.CheckpointManager, state: TrainState, *, config: TrainConfig, steps: int
) -> None:
    """Writes a checkpoint named after its environment steps; atomic, in the background.

    The copy to the host is made here: the next update reuses the state's buffers.
    """
    manager.save(
        steps,
        args=ocp.args.Composite(
            state=ocp.args.StandardSave(jax.tree.map(np.array, _flatten(state))),
            made_by=ocp.args.JsonSave(_made_by(config)),
        ),
    )


def restore_latest(folder: Path, template: TrainState, *, config: TrainConfig) -> TrainState:
    """Reads the newest checkpoint of a run.

    Args:
      folder: the run folder.
      template: a `TrainState` of arrays or `jax.ShapeDtypeStruct`s with the expected shapes.
      config: what the run folder says it holds.

    Raises:
      UserError: there is none, it is of another task or policy, or it cannot be read.
    """
    if not (folder / "checkpoints").is_dir():
        raise UserError(f"{folder} holds no checkpoint yet.")
    with open_manager(folder) as manager:
        step = manager.latest_step()
        if step is None:
            raise UserError(f"{folder} holds no checkpoint yet.")
        path = folder / "checkpoints" / str(step)
        try:
            saved = manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(), made_by=ocp.args.JsonRestore()
                ),
            )
        except (ValueError, OSError, KeyError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f"Checkpoint {path} cannot be read ({reason}).") from None
    for name, expected in _made_by(config).items():
        found = saved.made_by.get(name)
        if found != expected:
            raise UserError(
                f"Checkpoint {path} is of {name} '{found}', but the run is of {name} '{expected}'."
            )
    for name, leaf in jax.eval_shape(_flatten, template).items():
        shape = saved.state[name].shape if name in saved.state else "missing"
        if shape != leaf.shape:
            raise UserError(
                f"Checkpoint {path} does not fit the run's config.json: "
                f"{name} is {shape} and should be {leaf.shape}."
            )
    return _unflatten(saved.state, template)


def load_run(folder: Path) -> tuple[TrainConfig, MjxEnv, TrainState]:
    """Configuration, environment and newest checkpoint of a run folder.

    Raises:
      UserError: as `run.load_config` and `restore_latest`.
    """
    config = run.load_config(folder)
    env = envs.make(config.task, episode_length=config.episode_length)
    learner = make_learner(env, config)
    template = jax.eval_shape(learner.init, jax.random.key(config.seed), hyperparameters(config))
    return config, env, restore_latest(folder, template, config=config)


def _made_by(config: TrainConfig) -> dict[str, str]:
    return {"task": config.task, "policy": config.policy}


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
