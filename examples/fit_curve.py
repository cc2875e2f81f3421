"""Fits a primitive to a drawn curve, moves its goal, and draws what becomes of it.

    python examples/fit_curve.py --out fit.png

Two curves, one that goes somewhere and one that ends where it began, and a move along a line, with
each forcing term.
"""

import argparse
from typing import Any

import jax
import matplotlib
import numpy as np

from ndp_jax import DMP, fit, resample, rollout

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

DURATION = 2.0
"""Seconds."""

DMPS = {
    forcing: DMP(
        n_basis=30, n_steps=400, tau=DURATION, alpha=25.0, alpha_x=alpha_x, forcing=forcing
    )
    for forcing, alpha_x in {"scaled": 2.0, "unscaled": 2.0, "hoffmann": 4.0}.items()
}
"""Hoffmann's term leaves exp(-alpha_x) of the way to another goal."""

GOALS = {
    "from left to right": np.array([[15.0, 6.0], [12.0, -2.0], [8.0, 3.0]]),
    "back to its start": np.array([[3.0, 1.0], [-1.0, -3.0], [-4.0, 2.0]]),
    "along a line": np.array([[5.0], [15.0], [-5.0]]),
}
"""Other goals for each curve, in cm."""

FRAME = 50.0
"""Farther away, in cm, nothing is drawn."""


def pen(curve: str) -> tuple[np.ndarray, np.ndarray]:
    """What a hand drew: 77 positions in cm, (77, D), and when, in s, (77,), not evenly."""
    times = DURATION * np.linspace(0, 1, 77) ** 1.3
    s = times / DURATION
    way = s**3 * (10 - 15 * s + 6 * s**2)  # from rest to rest
    if curve == "along a line":
        return 10 * way[:, None], times
    angle = 2 * np.pi * way
    if curve == "from left to right":
        return np.stack([12 * way - 2 * np.sin(angle), 3 * way + 3 * np.sin(angle)], axis=-1), times
    return np.stack([3 * np.sin(2 * angle), 5 * np.cos(angle) - 5], axis=-1), times


def follow(dmp: DMP, curve: str) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The curve evenly timed, its reproduction, and the same movement to its other goals.

    Returns:
      Paths in cm, (401, D), (401, D) and (3, 401, D).
    """
    positions, times = pen(curve)
    demonstration = resample(positions, dmp.n_steps, times=times)
    goal, weights = fit(dmp, demonstration, goal=demonstration[-1], regularization=1e-8)
    y0 = demonstration[0]
    dy0 = (demonstration[1] - y0) * dmp.n_steps / dmp.tau
    reproduction = rollout(dmp, goal, weights, y0, dy0).position
    return demonstration, reproduction, rollout(dmp, GOALS[curve], weights, y0, dy0).position


def draw(path: str) -> None:
    """Writes the picture: a row for each curve, a column for each forcing term."""
    figure, rows = plt.subplots(3, 3, figsize=(12, 11), sharex="row", sharey="row")
    for curve, row in zip(GOALS, rows, strict=True):
        for (forcing, dmp), axes in zip(DMPS.items(), row, strict=True):
            panel(axes, curve, *follow(dmp, curve))
            axes.set_title(f"{curve}, {forcing}")
    handles, labels = rows[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def panel(
    axes: Axes, curve: str, demonstration: jax.Array, reproduction: jax.Array, moved: jax.Array
) -> None:
    """Paths in the plane, or over time; those that leave the picture are told in words."""
    plane = demonstration.shape[-1] == 2
    time = np.linspace(0, DURATION, len(demonstration))

    def line(path: jax.Array, **style: Any) -> None:
        axes.plot(*(path.T if plane else (time, path[:, 0])), **style)

    line(demonstration, color="0.8", linewidth=7, label="demonstration")
    line(reproduction, color="black", linewidth=1.5, label="reproduction")
    axes.plot(*(demonstration[0] if plane else (0, 0)), "o", color="black", label="start")
    farthest = np.max(np.abs(moved))
    for number, (goal, path) in enumerate(zip(GOALS[curve], moved, strict=True)):
        if farthest < FRAME:
            line(path, color=f"C{number}", linewidth=1.5)
        end = goal if plane else (DURATION, goal[0])
        axes.plot(*end, "x", color=f"C{number}", markersize=9, markeredgewidth=2.5)
    if farthest > FRAME:
        text = f"the other goals (x) throw it\n{farthest / 100:,.0f} m away"
        axes.text(0.5, 0.04, text, transform=axes.transAxes, ha="center")
    axes.plot([], [], color="C0", marker="x", label="to another goal")
    if plane:
        axes.set(xlabel="x (cm)", ylabel="y (cm)", aspect="equal")
    else:
        axes.set(xlabel="time (s)", ylabel="x (cm)")
    axes.grid(alpha=0.3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fit a primitive to a curve and move its goal.")
    parser.add_argument("--out", default="fit.png", help="where the picture goes")
    out = parser.parse_args().out
    draw(out)
    print(out)
