"""Synthetic handwritten digits: a picture of each, and the stroke that wrote it.

A digit is one stroke of straight segments and elliptic arcs, written without lifting the pen: its
parts vary a little, its corners are rounded, and one random affine map turns, shears, scales and
shifts it. The map acts on the stroke before the stroke is drawn, so that picture and stroke agree
by construction. The pen moves along the stroke with the speed of a minimum-jerk movement.

Coordinates are pixels of the picture, x right and y down; the centre of `image[row, column]` is
at x = column, y = row.

Source: Pahič et al., "Training of deep neural networks for the generation of dynamic movement
primitives", Neural Networks 127, 2020, who describe such a family; shapes and numbers are ours.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from train.imitation import archive
from train.system.errors import UserError
from train.system.runtime import drawn_folder

SIZE = 40
"""Width and height of a picture in pixels."""

STEPS = 300
"""Of a path, which has one more sample."""

PEN = 2.0
"""Width of the stroke in pixels."""

ROTATION = math.radians(8)
SCALE = SHEAR = 0.1
SHIFT = 3.0
"""Bounds of the affine map to either side: radians, as a fraction, pixels."""

VERSION = 1
"""Changes when the same key gives another digit."""

BATCH = 500
"""Digits made at once."""

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")


class Digits(NamedTuple):
    """One digit, or any batch of them.

    Attributes:
      images: ink from 0 to 1 in 256 levels, (..., 40, 40).
      paths: the pen's x and y in pixels at equal intervals of time, (..., 301, 2).
      labels: which digit it is, 0 to 9, (...,); -1 where a file does not say.
    """

    images: Float[Array | np.ndarray, "..."]
    paths: Float[Array | np.ndarray, "..."]
    labels: Int[Array | np.ndarray, "..."]


def arc(width: float, height: float, start: float, sweep: float) -> tuple[float, ...]:
    """Part of an ellipse: its radii in pixels, where it starts and how far it goes in degrees.

    0 is right, 90 is bottom; a positive sweep goes clockwise.
    """
    return (width, height, math.radians(start), math.radians(sweep), 0.0, 0.0)


def line(right: float, down: float) -> tuple[float, ...]:
    """A straight segment in pixels."""
    return (0.0, 0.0, 0.0, 0.0, right, down)


STROKES: tuple[Sequence[tuple[float, ...]], ...] = (
    [arc(5.4, 10, -80, -365)],
    [line(4.5, -4.5), line(0, 20)],
    [arc(5, 5.4, -165, 205), line(-7.5, 10.5), line(10.5, 0)],
    [arc(4.8, 4.8, -150, 225), arc(5.4, 5.4, -65, 210)],
    [line(0, -20), arc(0.6, 0.6, 0, -145), line(-8.5, 12.5), line(12.5, 0)],
    [line(-8.5, 0), line(-0.8, 8.5), arc(5.6, 5.8, -125, 265)],
    [arc(7.5, 15.5, -62, -118), arc(5.2, 5.4, 180, -375)],
    [line(10.5, 0), line(-6.5, 20)],
    [arc(4.6, 4.8, -75, -195), arc(5.4, 5.2, -90, 360), arc(4.6, 4.8, 90, -185)],
    [arc(4.8, 5.2, -15, -360), arc(0.6, 0.6, -15, -165), line(0, 18)],
)
"""Every digit from its first part to its last; each part starts where the one before ended."""

POINTS_PER_PART = 40
POINTS = 161
"""Of a stroke, evenly along it."""

ROUNDING = 0.015
"""Standard deviation of the smoothing along a stroke, as a fraction of its length."""


def _parts() -> np.ndarray:
    """STROKES as one table, (10, parts, 6), short strokes padded with parts of no length."""
    most = max(map(len, STROKES))
    return np.array([[*parts, *[line(0, 0)] * (most - len(parts))] for parts in STROKES])


def _kernel() -> np.ndarray:
    """Weights of the smoothing, an odd number of them."""
    reach = int(3 * ROUNDING * POINTS) + 1
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (ROUNDING * (POINTS - 1))) ** 2)
    return (weights / weights.sum()).astype(np.float32)


def sample(key: Key[Array, ""]) -> Digits:
    """A random digit, as single arrays in place of a batch."""
    which, shape, place = jax.random.split(key, 3)
    label = jax.random.randint(which, (), 0, len(STROKES), jnp.int32)
    parts = jnp.asarray(_parts(), jnp.float32)[label]
    stroke = _rounded(_along(_vary(shape, parts), np.linspace(0, 1, POINTS)))
    stroke -= (stroke.min(axis=0) + stroke.max(axis=0)) / 2
    matrix, shift = random_map(place)
    stroke = stroke @ matrix.T + (SIZE - 1) / 2 + shift
    return Digits(draw(stroke), _along(stroke, minimum_jerk(STEPS)), label)


sample_batch = jax.jit(jax.vmap(sample))
"""A random digit for each of a batch of keys."""


def keys_of(seed: int, split: Split, numbers: Int[np.ndarray, "batch"]) -> Key[Array, "batch"]:
    """The keys of a split's samples by their numbers, different ones in every split."""
    key = jax.random.fold_in(jax.random.key(seed), SPLITS.index(split))
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(numbers, jnp.uint32))


def generate(count: int, *, seed: int, split: Split) -> Digits:
    """The first `count` digits of a split, as NumPy arrays; more of them begin with the same."""
    batches = [
        jax.device_get(sample_batch(keys_of(seed, split, np.arange(first, first + BATCH))))
        for first in range(0, count, BATCH)
    ]
    return Digits(*(np.concatenate(parts)[:count] for parts in zip(*batches, strict=True)))


def load(count: int, *, seed: int = 0, split: Split = "train") -> Digits:
    """The same as `generate`, made once and kept in the user's cache folder.

    Args:
      count: how many digits.
      seed: of all of them.
      split: "train", or "test" for held-out ones, which have other keys.

    Returns:
      NumPy arrays: images (count, 40, 40) and paths (count, 301, 2) in float32, labels (count,).

    Raises:
      UserError: count is below 1, or the file is damaged or cannot be written.
    """
    if count < 1:
        raise UserError(f"The number of digits is {count}; give at least 1.")
    file = drawn_folder("digits") / f"version{VERSION}-seed{seed}-{split}-{count}.npz"
    if not file.exists():
        _write(file, generate(count, seed=seed, split=split))
    return _read(file, count)


def minimum_jerk(steps: int) -> Float[np.ndarray, "samples"]:
    """The travelled fraction of the way at steps + 1 equal intervals of time."""
    time = np.linspace(0, 1, steps + 1)
    return time**3 * (10 - 15 * time + 6 * time**2)


def random_map(key: Key[Array, ""]) -> tuple[Float[Array, "2 2"], Float[Array, "2"]]:
    """Rotation after shear after scale, (2, 2), and a shift in pixels, (2,)."""
    noise = jax.random.uniform(key, (6,), jnp.float32, -1, 1)
    cos, sin = jnp.cos(ROTATION * noise[0]), jnp.sin(ROTATION * noise[0])
    rotation = jnp.array([[cos, -sin], [sin, cos]])
    shear = jnp.array([[1.0, SHEAR * noise[1]], [0.0, 1.0]])
    return rotation @ shear * (1 + SCALE * noise[2:4]), SHIFT * noise[4:]


def draw(stroke: Float[Array, "points 2"]) -> Float[Array, "40 40"]:
    """The picture of a stroke given by points at most half a pixel apart.

    A pixel's ink falls from 1 to 0 where its centre's distance from the nearest point passes half
    the width of the pen, over one pixel.
    """
    pixels = jnp.arange(SIZE, dtype=stroke.dtype)
    across, down = ((pixels - stroke[:, axis, None]) ** 2 for axis in (0, 1))
    squares = jnp.min(down[:, :, None] + across[:, None, :], axis=0)
    ink = jnp.clip((PEN + 1) / 2 - jnp.sqrt(squares), 0, 1)
    return jnp.round(255 * ink) / 255


def _vary(key: Key[Array, ""], parts: Float[Array, "parts 6"]) -> Float[Array, "points 2"]:
    """The points of a stroke whose parts differ a little from the given ones."""
    noise = jax.random.uniform(key, (len(parts), 7), jnp.float32, -1, 1)
    radii, start, sweep, ahead = parts[:, :2], parts[:, 2:3], parts[:, 3:4], parts[:, 4:]
    radii = radii * (1 + 0.12 * noise[:, :2])
    start = start + math.radians(6) * noise[:, 2:3]
    sweep = sweep * (1 + 0.03 * noise[:, 3:4])
    ahead = ahead + 0.1 * jnp.linalg.norm(ahead, axis=1, keepdims=True) * noise[:, 4:6]
    aside = 0.04 * noise[:, 6:] * jnp.stack([-ahead[:, 1], ahead[:, 0]], axis=1)

    way = jnp.linspace(0, 1, POINTS_PER_PART, dtype=jnp.float32)[1:, None, None]
    angle = start + sweep * way  # (points, parts, 1)
    bent = radii * (_direction(angle) - _direction(start))
    points = bent + ahead * way + 4 * aside * way * (1 - way)
    begin = jnp.cumsum(points[-1], axis=0) - points[-1]
    points = jnp.swapaxes(points + begin, 0, 1).reshape(-1, 2)
    return jnp.concatenate([jnp.zeros_like(points[:1]), points])


def _direction(angle: Float[Array, "*batch 1"]) -> Float[Array, "*batch 2"]:
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def _along(
    stroke: Float[Array, "points 2"], fractions: Float[np.ndarray, "count"]
) -> Float[Array, "count 2"]:
    """Where a stroke is after fractions of its length."""
    lengths = jnp.cumsum(jnp.linalg.norm(jnp.diff(stroke, axis=0), axis=1))
    lengths = jnp.concatenate([jnp.zeros_like(lengths[:1]), lengths])
    wanted = lengths[-1] * jnp.asarray(fractions, stroke.dtype)
    return jnp.stack([jnp.interp(wanted, lengths, axis) for axis in stroke.T], axis=1)


def _rounded(stroke: Float[Array, "points 2"]) -> Float[Array, "points 2"]:
    """A stroke without sharp corners, from the same first point to the same last one."""
    kernel = _kernel()
    reach = len(kernel) // 2
    before = 2 * stroke[0] - stroke[reach:0:-1]
    after = 2 * stroke[-1] - stroke[-2 : -reach - 2 : -1]
    padded = jnp.concatenate([before, stroke, after])
    return jnp.stack([jnp.convolve(axis, kernel, mode="valid") for axis in padded.T], axis=1)


def _write(file: Path, digits: Digits) -> None:
    levels = digits._replace(images=np.round(255 * digits.images).astype(np.uint8))
    archive.write(file, levels._asdict(), remedy="set XDG_CACHE_HOME")


def _read(file: Path, count: int) -> Digits:
    try:
        with file.open("rb") as stream, np.load(stream) as stored:
            digits = Digits(*(stored[name] for name in Digits._fields))
        found = [array.shape for array in digits]
        if found != [(count, SIZE, SIZE), (count, STEPS + 1, 2), (count,)]:
            raise ValueError(f"shapes {found}")
    except archive.UNREADABLE as error:
        raise UserError(f"The cached digits in {file} are damaged ({error}); delete it.") from None
    return digits._replace(images=digits.images.astype(np.float32) / 255)
