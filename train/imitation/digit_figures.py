"""Digits, and the strokes that write them, drawn side by side."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from train.imitation.digits import PEN, SIZE
from train.runs.plots import plt, save

PAPER = "gray_r"
BLACK = 1.6
"""Ink that would be black: a pen's is 1 and grey, so that strokes show on it."""
TIME = "plasma"
PREDICTED = "#7fe0ff"
INCHES = 1.1
"""Of a digit in a figure."""


def draw_digits(
    images: Float[np.ndarray, "batch 40 40"],
    paths: Float[np.ndarray, "batch samples 2"],
    predicted: Float[np.ndarray, "batch samples 2"] | None = None,
    *,
    path: Path,
    columns: int = 10,
) -> None:
    """Writes a picture of digits, row by row: image in grey, its stroke colored by time.

    Args:
      images: ink from 0 to 1.
      paths: the strokes in pixels.
      predicted: strokes to compare with them, drawn on them in light blue.
      path: picture to write.
      columns: digits in a row.

    Raises:
      UserError: the picture cannot be written.
    """
    rows = -(-len(images) // columns)
    strokes = paths if predicted is None else np.concatenate([paths, predicted])
    low, high = _window(strokes)
    width, height = high - low
    legend = 0.35  # inches
    size = (INCHES * columns, INCHES * rows * height / width + legend)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    top = 1 - legend / size[1]
    figure.subplots_adjust(left=0, right=1, bottom=0, top=top, wspace=0.03, hspace=0.03)
    for axis in axes.flat:
        axis.set_axis_off()
    for number, axis in enumerate(axes.flat[: len(images)]):
        axis.imshow(images[number], cmap=PAPER, vmin=0, vmax=BLACK)
        _draw_in_time(axis, paths[number], width=1.6 if predicted is None else 4)
        if predicted is not None:
            axis.plot(*predicted[number].T, color=PREDICTED, linewidth=1.2)
        axis.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]))
    colors = plt.get_cmap(TIME)
    shown = [
        Line2D([], [], color=colors(0.0), linewidth=4, label="start of the stroke"),
        Line2D([], [], color=colors(0.9), linewidth=4, label="its end"),
    ]
    if predicted is not None:
        shown.append(Line2D([], [], color=PREDICTED, linewidth=1.2, label="predicted"))
    figure.legend(handles=shown, loc="upper center", ncols=len(shown), frameon=False)
    save(figure, path)


def _window(strokes: Float[np.ndarray, "batch samples 2"]) -> tuple[np.ndarray, np.ndarray]:
    """The part of the canvas with all strokes in it, as its lower and its higher corner."""
    low = np.clip(np.nanmin(strokes, axis=(0, 1)) - PEN, -0.5, None)
    high = np.clip(np.nanmax(strokes, axis=(0, 1)) + PEN, None, SIZE - 0.5)
    return low, high


def _draw_in_time(axis: Axes, stroke: Float[np.ndarray, "samples 2"], *, width: float) -> None:
    pieces = np.stack([stroke[:-1], stroke[1:]], axis=1)
    time = np.linspace(0, 0.9, len(pieces))  # the last tenth of the colors is too light to see
    axis.add_collection(
        LineCollection(list(pieces), colors=plt.get_cmap(TIME)(time), linewidth=width)
    )
