"""Policies and writers as files, which hold what is needed to act and nothing else.

    policy = ndp_jax.load_policy("policy.msgpack")
    actions = policy(observation, velocity)  # (..., T, A), the robot's next T actions
    writer = ndp_jax.load_writer("policy.msgpack")
    path = writer(image)  # (..., samples, 2), the stroke that drew the picture

The first line of a file names its format and the SHA-256 of the rest, which is MessagePack: a
description of the policy's modules, their parameters, the statistics of the observations, and what
the writer says about it all.
"""

import dataclasses
import functools
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization
from jaxtyping import Array, Float, PyTree

from ndp_jax.dmp import DMP, Floats, as_arrays
from ndp_jax.networks import CNN
from ndp_jax.normalize import RunningStats, normalize
from ndp_jax.policies import (
    ActionNoise,
    ActorCritic,
    ClosedForm,
    DirectHead,
    Euler,
    PolicyOutput,
    PrimitiveHead,
    TrajectoryNoise,
)
from ndp_jax.writing import ParameterHead, PathHead, StrokeHead, Writer, Written

FORMAT = 6
"""Of the files written; whoever changes a part's fields raises it."""

PARTS = {"Policy": ActorCritic} | {
    part.__name__: part
    for part in (
        *(PrimitiveHead, DirectHead, DMP, Euler, ClosedForm, ActionNoise, TrajectoryNoise),
        *(CNN, Writer, StrokeHead, ParameterHead, PathHead),
    )
}
"""What a file can describe: parts whose actions do not depend on where the robot is. Those of
somebody else are named by both who writes and who reads."""

Parts = Sequence[type]


@dataclass(frozen=True, eq=False)
class LoadedPolicy:
    """What the robot sees to its next T actions: pure, for one robot or a batch, compiled.

    Attributes:
      policy: the Flax module.
      params: its parameters.
      statistics: of the observations it learned from.
      about: what the writer said. `ndp export` names the `task`, its `dt` (s per action),
        `action_scale` (position change of a unit action) and `action_limit` (where the task clips
        actions, on both sides), and the `config` and `versions` of the training run.
    """

    policy: ActorCritic
    params: PyTree
    statistics: RunningStats
    about: dict[str, Any]

    def __repr__(self) -> str:
        seen = f"observation {self.observation_shape}"
        if self.velocity_size:
            seen += f", velocity {(self.velocity_size,)}"
        actions = f"actions {(self.chunk, self.action_size)}"
        kind = f"{type(self.policy.head).__name__}, {_count(self.params):,} parameters"
        task = f"{self.about['task']}: " if "task" in self.about else ""
        return f"LoadedPolicy({task}{seen} -> {actions}; {kind})"

    @property
    def chunk(self) -> int:
        """T, actions per query."""
        return self.policy.head.chunk

    @property
    def action_size(self) -> int:
        """A."""
        return self.policy.head.action_size

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """(O,), or (height, width, channels) of a policy that sees pictures."""
        return self.statistics.mean.shape

    @property
    def velocity_size(self) -> int:
        """D; 0 for a policy without a primitive, which asks for no velocity."""
        asks = getattr(self.policy.head, "velocity_size", None)
        return asks(self.params["params"]["head"]) if asks else 0

    def __call__(
        self,
        observation: Floats,
        velocity: Floats | None = None,
    ) -> Float[Array, "..."]:
        """Action means of the next T steps; the next query is due when all have been executed.

        Where the robot is does not enter but through the observation: actions are differences of
        positions, which shift with the robot.

        Args:
          observation: as the task gives it, (..., O), or pictures from 0 to 1, (..., height, width,
            channels).
          velocity: of the robot when asked, per second, in the units that actions move, (..., D);
            what the movement sets out with. None for a robot at rest. A policy without a primitive
            ignores it.

        Returns:
          Actions in action units, not clipped, (..., T, A).

        Raises:
          ValueError: a shape is not what the policy has learned with.
        """
        observation, velocity = as_arrays(observation=observation, velocity=velocity)
        observation = jnp.asarray(observation, self.statistics.mean.dtype)
        axes = len(self.observation_shape)
        if observation.shape[-axes:] != self.observation_shape:
            expected = ", ".join(map(str, self.observation_shape))
            raise ValueError(f"observation has shape {observation.shape}; give (..., {expected}).")
        shape = (*observation.shape[:-axes], self.velocity_size)
        rest = jnp.zeros(shape, observation.dtype)
        if velocity is None or not self.velocity_size:
            velocity = rest
        velocity = jnp.asarray(velocity, observation.dtype)
        if velocity.shape != shape:
            raise ValueError(f"velocity has shape {velocity.shape}; give {shape}, or None at rest.")
        return _means(self.policy, self.params, self.statistics, observation, rest, velocity)


@dataclass(frozen=True, eq=False)
class LoadedWriter:
    """A picture to the stroke that drew it: pure, for one or a batch, compiled.

    Attributes:
      writer: the Flax module.
      variables: its parameters, and what was not learned.
      about: the settings of the run, and the `versions` it was made with.
    """

    writer: Writer
    variables: PyTree
    about: dict[str, Any]

    def __repr__(self) -> str:
        size = self.about.get("image_size")
        start = ", start (2,)" if self.about.get("start") == "given" else ""
        head = self.writer.head
        samples = head.samples if isinstance(head, PathHead) else head.dmp.n_steps + 1
        kind = f"{type(head).__name__}, {_count(self.variables['params']):,} parameters"
        return f"LoadedWriter(image {(size, size)}{start} -> path {(samples, 2)}; {kind})"

    def __call__(
        self,
        image: Floats,
        start: Floats | None = None,
    ) -> Float[Array, "..."]:
        """Writes.

        Args:
          image: ink from 0 to 1, of the size it has learned with, (..., height, width).
          start: where the stroke starts, in pixels, (..., 2); only for a writer that has learned
            with it.

        Returns:
          Positions of the pen in pixels, (..., samples, 2).

        Raises:
          ValueError: a shape is not what the writer has learned with, or `start` is missing or of
            no use.
        """
        size, given = self.about["image_size"], self.about["start"] == "given"
        image, start = as_arrays(image=image, start=start)
        image = jnp.asarray(image, jnp.float32)
        if image.shape[-2:] != (size, size):
            raise ValueError(f"image has shape {image.shape}; give (..., {size}, {size}).")
        if given != (start is not None):
            raise ValueError(
                "start is missing; give where the stroke starts, as in training."
                if given
                else "start is given, but this writer predicts it; leave it out."
            )
        if start is not None:
            start = jnp.asarray(start, jnp.float32)
            if start.shape != (*image.shape[:-2], 2):
                raise ValueError(f"start has shape {start.shape}; give {(*image.shape[:-2], 2)}.")
        return _stroke(self.writer, self.variables, image, start)


def save_writer(
    path: str | os.PathLike[str], writer: Writer, variables: PyTree, *, about: dict[str, Any]
) -> None:
    """Writes a file that is either complete or absent.

    Args:
      path: of the file.
      writer: the module.
      variables: what `writer.init` made and a learner improved.
      about: `image_size`, whether `start` is "given" or "predicted", and anything worth knowing.

    Raises:
      ValueError: `about` holds something else than strings, numbers, lists and dictionaries.
      OSError: the file cannot be written.
    """
    content = {
        "writer": _describe(writer),
        "variables": serialization.to_state_dict(variables),
        "about": _describe(about),
    }
    _write(path, content)


def load_writer(path: str | os.PathLike[str]) -> LoadedWriter:
    """Reads what `ndp export` made of a run of `ndp imitate digits`, or `save_writer` wrote.

    Raises:
      ValueError: there is no such file, it is not a writer, it is damaged, or too new.
    """
    saved = _read(path)
    if "writer" not in saved:
        raise ValueError(f"{path} holds a policy; ndp_jax.load_policy reads it.")
    return LoadedWriter(
        writer=_build(saved["writer"]),
        variables=jax.tree.map(jnp.asarray, saved["variables"]),
        about=saved["about"],
    )


def save_policy(
    path: str | os.PathLike[str],
    policy: ActorCritic,
    params: PyTree,
    statistics: RunningStats,
    *,
    about: dict[str, Any],
    parts: Parts = (),
) -> None:
    """Writes a file that is either complete or absent.

    Args:
      path: of the file.
      policy: its parts are `PARTS` or among `parts`.
      params: what `policy.init` made and a learner improved.
      statistics: by which the observations were normalised.
      about: anything worth knowing, of strings, numbers, lists and dictionaries.
      parts: Flax modules of somebody else, whose actions do not depend on where the robot is.

    Raises:
      ValueError: the policy has another part, or `about` holds something else.
      OSError: the file cannot be written.
    """
    content = {
        "policy": _describe(policy, parts),
        "params": serialization.to_state_dict(params),
        "statistics": serialization.to_state_dict(statistics),
        "about": _describe(about),
    }
    _write(path, content)


def load_policy(path: str | os.PathLike[str], *, parts: Parts = ()) -> LoadedPolicy:
    """Reads what `ndp export` or `save_policy` wrote.

    Args:
      path: of the file.
      parts: the Flax modules of somebody else that the policy is made of.

    Raises:
      ValueError: there is no such file, it is not a policy, it is damaged, or too new, or has parts
        that are not given.
    """
    saved = _read(path)
    if "policy" not in saved:
        raise ValueError(f"{path} holds a writer of digits; ndp_jax.load_writer reads it.")
    return LoadedPolicy(
        policy=_build(saved["policy"], parts),
        params=jax.tree.map(jnp.asarray, saved["params"]),
        statistics=RunningStats(**jax.tree.map(jnp.asarray, saved["statistics"])),
        about=saved["about"],
    )


def _write(path: str | os.PathLike[str], content: dict[str, Any]) -> None:
    body = serialization.msgpack_serialize(content)
    header = f"ndp_jax policy {FORMAT} {hashlib.sha256(body).hexdigest()}\n"
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(header.encode() + body)
    partial.replace(path)


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(
            f"The policy {path} cannot be read ({error.strerror}); `ndp export RUN` writes one."
        ) from None
    header, _, body = content.partition(b"\n")
    match = re.fullmatch(rb"ndp_jax policy ([1-9]\d*) ([0-9a-f]{64})", header)
    if not match:
        raise ValueError(f"{path} is not a policy; give a file that `ndp export RUN` wrote.")
    if int(match[1]) > FORMAT:
        raise ValueError(
            f"The policy {path} has format {int(match[1])} and this ndp_jax reads formats up to "
            f"{FORMAT}; install a newer ndp_jax."
        )
    if hashlib.sha256(body).hexdigest() != match[2].decode():
        raise ValueError(f"The policy {path} is truncated or was changed; export it again.")
    return cast(Any, serialization.msgpack_restore(body))


@functools.partial(jax.jit, static_argnames="writer")
def _stroke(
    writer: Writer,
    variables: PyTree,
    image: Float[Array, "*batch height width"],
    start: Float[Array, "*batch 2"] | None,
) -> Float[Array, "*batch samples 2"]:
    with jax.default_matmul_precision("highest"):
        return cast(Written, writer.apply(variables, image, start)).path


@functools.partial(jax.jit, static_argnames="policy")
def _means(
    policy: ActorCritic,
    params: PyTree,
    statistics: RunningStats,
    observation: Float[Array, "..."],
    position: Float[Array, "*batch D"],
    velocity: Float[Array, "*batch D"],
) -> Float[Array, "*batch T A"]:
    with jax.default_matmul_precision("highest"):
        output = policy.apply(params, normalize(statistics, observation), position, velocity)
    return cast(PolicyOutput, output).mean


def _count(params: PyTree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _known(parts: Parts) -> dict[str, Any]:
    """Parts by the names that files have for them."""
    return {f"{part.__module__}:{part.__qualname__}": part for part in parts} | PARTS


def _describe(value: Any, parts: Parts = ()) -> Any:
    """Parts as dictionaries that name their class, tuples as lists, scalar arrays as numbers."""
    named = {part: name for name, part in _known(parts).items()}
    if type(value) in named:
        fields = [field.name for field in dataclasses.fields(value) if field.name != "parent"]
        described = {name: _describe(getattr(value, name), parts) for name in fields}
        return {"class": named[type(value)]} | described
    if isinstance(value, dict):
        return {name: _describe(item, parts) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_describe(item, parts) for item in value]
    if isinstance(value, jax.Array | np.ndarray | np.generic) and value.ndim == 0:
        return value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ValueError(
        f"A policy file cannot hold {type(value).__name__}; it can hold "
        f"{', '.join(_known(parts))}, numbers, strings, lists and dictionaries."
    )


def _build(description: Any, parts: Parts = ()) -> Any:
    """What `_describe` described; hashable."""
    if isinstance(description, dict):
        values = {name: _build(value, parts) for name, value in description.items()}
        kind = values.pop("class")
        if kind not in _known(parts):
            raise ValueError(f"The policy has a part {kind}; give load_policy its class as a part.")
        part = _known(parts)[kind]
        if issubclass(part, PrimitiveHead) and "method" in values:  # until format 5
            values["solver"] = Euler(values.pop("method"))
        return part(**values)
    if isinstance(description, list):
        return tuple(_build(item, parts) for item in description)
    return description
