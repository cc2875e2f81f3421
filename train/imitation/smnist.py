"""Reads 40x40-smnist.mat, the synthetic digits of the papers, for those who have the file.

What is publicly known of its layout comes from programs that read and write such files: the
release of Bahl et al. 2020, and imednet by Pahič and Ridge, which made it. Accepted are

- MATLAB files before version 7.3, which scipy reads;
- the variables `imageArray` and `trajArray`, or `im` and `trj`, of the file itself or the fields
  of its struct `Data` or `slike`; everything else in it is left alone;
- cell arrays (or arrays of structs) of as many images as trajectories;
- images of 40 x 40 pixels, or of 1600 in a row or column, from 0 to 1 or from 0 to 255;
- trajectories of 301 samples with the columns x, y and, if there, time, which is ignored.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy.io
from jaxtyping import Float

from train.imitation.digits import SIZE, STEPS, Digits
from train.system.errors import UserError

STRUCTS = ("Data", "slike")
UNREADABLE = (OSError, EOFError, ValueError, TypeError, zlib.error, scipy.io.matlab.MatReadError)
"""What scipy raises of files that are not MATLAB's, or damaged."""
NAMES = (("imageArray", "trajArray"), ("im", "trj"))


def read(file: Path) -> Digits:
    """The digits of a file in its order.

    Images are turned to lie with rows downwards, whichever way MATLAB's or another program's order
    of pixels put them: the way that has the ink under the trajectories. Coordinates are the
    file's; whether it counts pixels from 0 or from 1 is not known.

    Args:
      file: 40x40-smnist.mat, or one of the same layout.

    Returns:
      NumPy arrays: images (M, 40, 40) and paths (M, 301, 2) in float32, and labels (M,) of -1, as
      the file has none.

    Raises:
      UserError: the file cannot be read, has another layout, an image or a trajectory has another
        size or values that are none, or the two do not belong together.
    """
    images, paths = (_cells(array) for array in _arrays(file))
    if not images or len(images) != len(paths):
        raise UserError(
            f"{file} has {len(images)} images and {len(paths)} trajectories; "
            "give a file with one trajectory for each image."
        )
    pictures = np.stack([_picture(file, i, image) for i, image in enumerate(images)])
    strokes = np.stack([_stroke(file, i, path) for i, path in enumerate(paths)])
    if pictures.max() > 1:
        pictures /= 255
    labels = np.full(len(pictures), -1, np.int32)
    return Digits(_upright(file, pictures, strokes), strokes, labels)


def _arrays(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """The array of images and the array of trajectories."""
    try:
        with file.open("rb") as stream:
            content = scipy.io.loadmat(stream)
    except NotImplementedError:
        raise UserError(
            f"{file} is in MATLAB's format 7.3, which cannot be read here; save it with -v7."
        ) from None
    except UNREADABLE as error:
        raise UserError(f"Cannot read {file} ({error}); give a MATLAB file.") from None
    holders: list[Mapping | np.ndarray] = [content, *(content[s] for s in STRUCTS if s in content)]
    for holder in holders:
        for image_name, path_name in NAMES:
            if {image_name, path_name} <= set(_fields(holder)):
                return holder[image_name], holder[path_name]
    found = ", ".join(name for name in content if not name.startswith("__")) or "nothing"
    raise UserError(
        f"{file} holds {found}; expected are imageArray and trajArray, or im and trj, "
        f"alone or in a struct {' or '.join(STRUCTS)}."
    )


def _fields(holder: Mapping | np.ndarray) -> tuple[str, ...]:
    return tuple(holder) if isinstance(holder, Mapping) else holder.dtype.names or ()


def _cells(array: np.ndarray) -> list[np.ndarray]:
    """What a cell array holds; a field of a single struct holds the cell array itself."""
    if array.dtype == object and array.size == 1 and array.item().dtype == object:
        array = array.item()
    return list(array.ravel()) if array.dtype == object else [array]


def _picture(file: Path, number: int, image: np.ndarray) -> Float[np.ndarray, "40 40"]:
    if image.shape not in ((SIZE, SIZE), (1, SIZE**2), (SIZE**2, 1)):
        shape = " x ".join(map(str, image.shape))
        raise UserError(
            f"Image {number} of {file} has {shape} pixels; give {SIZE} x {SIZE} or {SIZE**2}."
        )
    if image.dtype.kind not in "buif" or not ((image >= 0) & (image <= 255)).all():
        raise UserError(f"Image {number} of {file} has pixels that are not between 0 and 255.")
    return image.reshape(SIZE, SIZE).astype(np.float32)


def _stroke(file: Path, number: int, path: np.ndarray) -> Float[np.ndarray, "301 2"]:
    if path.ndim != 2 or path.shape[0] != STEPS + 1 or path.shape[1] not in (2, 3):
        shape = " x ".join(map(str, path.shape))
        raise UserError(
            f"Trajectory {number} of {file} is {shape}; give {STEPS + 1} samples of x, y and time."
        )
    if path.dtype.kind not in "uif" or not np.isfinite(path[:, :2]).all():
        raise UserError(f"Trajectory {number} of {file} has coordinates that are not numbers.")
    return path[:, :2].astype(np.float32)


def _upright(
    file: Path, images: Float[np.ndarray, "batch 40 40"], paths: Float[np.ndarray, "batch 301 2"]
) -> Float[np.ndarray, "batch 40 40"]:
    """The images, or their transposes, whichever have more ink under the paths."""
    columns, rows = np.moveaxis(np.clip(np.rint(paths), 0, SIZE - 1).astype(int), -1, 0)
    numbers = np.arange(len(images))[:, None]
    ways = (images, images.swapaxes(1, 2))
    ink = [way[numbers, rows, columns].mean() for way in ways]
    if max(ink) <= 2 * images.mean():
        raise UserError(
            f"In {file} the trajectories do not lie on the ink of the images; "
            "give x and y in pixels, ink brighter than paper, and both in the same order."
        )
    return np.ascontiguousarray(ways[int(np.argmax(ink))])
