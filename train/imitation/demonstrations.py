"""Demonstrations of a robot task: what somebody who can do it saw, and did."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from brax.envs.base import State
from jaxtyping import Array, Bool, Float, Key, PRNGKeyArray, UInt8

import envs
from configs import CloneConfig, TrainConfig
from envs.base import MjxEnv
from envs.outside import is_outside
from train.imitation import archive
from train.rl import memory, pictures, rollout
from train.rl.agent import (
    Act,
    Inputs,
    make_act,
    make_env,
    make_inference_fn,
    make_policy,
    means,
    observe,
)
from train.rl.controllers import make_controller
from train.rl.evaluate import Pose, demonstration_key, pose
from train.rl.ppo import TrainState
from train.system.errors import UserError
from train.system.runtime import drawn_folder

BATCH = 64
"""Episodes played at once."""

PATIENCE = 256
"""Episodes after which one in 20 must have succeeded."""

VERSION = 1
"""Changes when a task's script demonstrates something else."""

TRAJECTORIES = ("observation", "position", "velocity", "action")


class Demonstrations(NamedTuple):
    """N successful episodes of L steps, every array as it was before the step's action.

    Attributes:
      observation: as the environment gives it, (N, L, O).
      position: of the robot, in the units the primitive integrates, (N, L, D).
      velocity: of the robot, per second, (N, L, D).
      action: what the demonstrator wanted to do, without the noise, in action units within the
        environment's limit, (N, L, A).
      images: pictures of the scene, (N, L, 84, 84, 3); None if none were taken.
      task: its name.
      played: how many episodes it took to see N succeed.
    """

    observation: Float[np.ndarray, "N L O"]
    position: Float[np.ndarray, "N L D"]
    velocity: Float[np.ndarray, "N L D"]
    action: Float[np.ndarray, "N L A"]
    images: UInt8[np.ndarray, "N L 84 84 3"] | None
    task: str
    played: int


class Played(NamedTuple):
    """A batch of episodes: leaves (E, L, ...), but success (E,)."""

    inputs: Inputs
    action: Float[Array, "E L A"]
    poses: Pose | None
    success: Bool[Array, " E"]


def noise_of(task: str) -> float:
    """Standard deviation of the noise on the actions of a task's demonstrations."""
    return getattr(envs.module(task), "NOISE", 0.0)


def policy(env: MjxEnv, config: TrainConfig, state: TrainState) -> Act:
    """A trained policy as demonstrator, by its action means."""
    policy = make_policy(env, config, state.hyper)
    return make_act(env, make_inference_fn(policy, state.params, state.obs_stats), means)


def record(
    env: MjxEnv,
    task: str,
    demonstrator: Act,
    *,
    episodes: int,
    seed: int,
    noise: float,
    images: bool = False,
) -> Demonstrations:
    """Plays until `episodes` episodes have succeeded.

    Args:
      env: the task's environment.
      task: its name.
      demonstrator: who acts, not by chance; its T divides the episode.
      episodes: N.
      seed: of starts and noise; those of training and evaluation are others.
      noise: standard deviation of what is added to every action executed, in action units.
      images: take a picture before every action, too.

    Returns:
      The first N successes; more of them begin with the same.

    Raises:
      UserError: memory does not suffice, fewer than one in 20 succeed, or pictures cannot be taken
        here.
    """
    memory.check_recording(env, num_envs=BATCH, episodes=episodes, images=images)
    play = jax.jit(make_batch(env, demonstrator))
    key, kept, found, played = demonstration_key(seed), [], 0, 0
    with pictures.camera(env) if images else nullcontext() as camera:
        while found < episodes:
            batch = jax.device_get(play(jax.random.fold_in(key, played), noise))
            good = np.flatnonzero(batch.success)[: episodes - found]
            kept.append(jax.tree.map(lambda leaf, good=good: leaf[good], batch))
            found += len(good)
            played += int(good[-1]) + 1 if found == episodes else BATCH
            if played >= PATIENCE and 20 * found < played:
                raise UserError(
                    f"Only {found} of {played} demonstrations of {task} succeed within "
                    f"{env.episode_length} steps; give them more, or let `ndp demos` record others "
                    "with less --noise or another --run."
                )
        all_: Any = jax.tree.map(lambda *parts: np.concatenate(parts), *kept)
        return Demonstrations(
            observation=all_.inputs.observation,
            position=all_.inputs.position,
            velocity=all_.inputs.velocity,
            action=all_.action,
            images=pictures.take(camera, all_.poses) if camera else None,
            task=task,
            played=played,
        )


def make_batch(
    env: MjxEnv, demonstrator: Act
) -> Callable[[PRNGKeyArray, Float[Array, ""] | float], Played]:
    """One batch of episodes from a key and the noise, to be jitted."""

    def see(state: State) -> tuple[Inputs, Pose | None]:
        return observe(env, state), pose(state)

    def draw_key(key: PRNGKeyArray, _: None) -> tuple[PRNGKeyArray, PRNGKeyArray]:
        key, noise_key = jax.random.split(key)
        return key, noise_key

    def batch(key: PRNGKeyArray, noise: Float[Array, ""] | float) -> Played:
        reset_key, key = jax.random.split(key)
        start = rollout.reset(env, reset_key, BATCH)
        _, keys = jax.lax.scan(draw_key, key, None, env.episode_length)
        chunk = jax.eval_shape(demonstrator, key, start.state)[0].shape[1]

        def act(keys: Key[Array, "T"], state: State) -> tuple[Float[Array, "E T A"], Array]:
            wanted, _ = demonstrator(keys[0], state)
            wanted = jnp.clip(wanted, -env.action_limit, env.action_limit)
            draw = partial(jax.random.normal, shape=wanted[:, 0].shape)
            return wanted + noise * jax.vmap(draw, out_axes=1)(keys), wanted

        final, transitions, after = rollout.collect(
            env, act, start, keys.reshape(-1, chunk), record=see
        )
        before = jax.tree.map(
            lambda first, later: jnp.concatenate([first[None], later[:-1]]), see(start.state), after
        )
        inputs, poses = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), before)
        wanted = transitions.extras.swapaxes(0, 1).reshape(BATCH, env.episode_length, -1)
        if final.success is None:
            raise UserError(f"{type(env).__name__} knows no success, which demonstrations need.")
        return Played(inputs, wanted, poses, final.success > 0)

    return batch


def save(file: Path, demonstrations: Demonstrations, *, remedy: str = "choose another --out"):
    """Writes an .npz file whole or not at all.

    Raises:
      UserError: it cannot be written; ends with the `remedy`.
    """
    content = demonstrations._asdict().items()
    arrays = {name: np.asarray(value) for name, value in content if value is not None}
    archive.write(file, arrays, remedy=remedy, compressed=True)


def load(file: Path, *, task: str, images: bool = False) -> Demonstrations:
    """Reads what `save` wrote, the pictures only if they are asked for.

    Raises:
      UserError: there is no such file, it is damaged, of another task or without the pictures asked
        for, or holds numbers that are not finite.
    """
    again = f"`ndp demos {task}{' --images' if images else ''} --out NEW.npz`"
    if not file.is_file():
        raise UserError(f"There is no file {file}; record one with {again}.")
    try:
        with file.open("rb") as stream, np.load(stream) as stored:
            found = str(stored["task"])
            if found != task:
                raise UserError(
                    f"{file} demonstrates {found}, not {task}; record others with {again}."
                )
            if images and "images" not in stored:
                raise UserError(f"{file} holds no pictures; record them with {again}.")
            demonstrations = Demonstrations(
                **{name: stored[name] for name in TRAJECTORIES},
                images=stored["images"] if images else None,
                task=task,
                played=int(stored["played"]),
            )
        _check_shapes(demonstrations)
    except archive.UNREADABLE as error:
        raise UserError(
            f"The demonstrations in {file} are damaged, or it holds none ({error}); give a file of "
            f"{again}, or delete it from the cache."
        ) from None
    pictured = demonstrations.images
    if pictured is not None and pictured.shape[2:] != (pictures.SIZE, pictures.SIZE, 3):
        size = " x ".join(map(str, pictured.shape[2:]))
        raise UserError(
            f"The pictures in {file} are {size}, not 84 x 84 x 3; record others with {again}."
        )
    for name in TRAJECTORIES:
        finite = np.isfinite(getattr(demonstrations, name)).all(axis=(1, 2))
        if not finite.all():
            raise UserError(
                f"{name} of episode {finite.argmin()} in {file} holds a number that is not finite; "
                f"record others with {again}."
            )
    return demonstrations


def scripted(config: CloneConfig) -> Demonstrations:
    """Demonstrations by the script of a task, made once and kept in the user's cache folder.

    Those of somebody else's task are made anew: it may have changed.

    Raises:
      UserError: the task has no script, or as `record`, `save` and `load`.
    """

    task, episodes, images = config.task, config.episodes, config.observation == "image"

    def made() -> Demonstrations:
        env = make_env(config)
        script, options = make_controller("scripted", task, env), {"seed": 0, "images": images}
        return record(env, task, script, episodes=episodes, noise=noise_of(task), **options)

    if is_outside(task):
        return made()
    kind = "-images" if images else ""
    what = f"{task}-{config.impl}-{episodes}-of-{config.episode_length}-steps{kind}"
    name = f"version{VERSION}-{what}.npz"
    file = drawn_folder("demos") / name
    if not file.exists():
        save(file, made(), remedy="set XDG_CACHE_HOME")
    return load(file, task=task, images=images)


def _check_shapes(demonstrations: Demonstrations) -> None:
    """Raises `ValueError` unless all arrays are of the same steps of at least one episode."""
    arrays = {name: getattr(demonstrations, name) for name in TRAJECTORIES}
    shapes = [array.shape for array in arrays.values()]
    extents = {shape[:2] for shape in shapes}
    if demonstrations.images is not None:
        extents.add(demonstrations.images.shape[:2])
        if demonstrations.images.dtype != np.uint8 or demonstrations.images.ndim != 5:
            raise ValueError("images are no pictures")
    kinds = {cast(np.ndarray, array).dtype.kind for array in arrays.values()}
    if len(extents) > 1 or {len(shape) for shape in shapes} != {3} or 0 in shapes[0]:
        raise ValueError(f"shapes {shapes}")
    if shapes[1] != shapes[2] or kinds != {"f"}:
        raise ValueError(f"shapes {shapes}, kinds {kinds}")
