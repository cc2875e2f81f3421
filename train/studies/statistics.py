"""Statistics of a study, as Agarwal et al. (Deep RL at the edge of the statistical precipice, 2021)
recommend them: interquartile means, stratified bootstrap intervals, probability of improvement.

They are scipy's: rliable, the authors' package, was last released in 2024 and brings arch, pandas
and seaborn for what `scipy.stats.bootstrap` of several samples is.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import bootstrap, trim_mean

from train.runs.intervals import RESAMPLES
from train.studies.record import Cell

Strata = Sequence[np.ndarray]
"""Numbers of the seeds of each task, (S, ...); tasks may have different numbers of seeds."""

BATCH = 100
"""Resamples at once, so that those of curves fit into memory."""


class Estimate(NamedTuple):
    """A statistic and the ends of its 95 % interval, () or (...)."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def estimate(strata: Strata, statistic: Callable[..., np.ndarray]) -> Estimate:
    """A statistic with its 95 % percentile interval from a bootstrap within each stratum.

    Args:
      strata: at least two seeds each.
      statistic: takes the strata and `axis`.
    """
    options = {"method": "percentile", "n_resamples": RESAMPLES, "batch": BATCH, "axis": 0}
    rng = np.random.default_rng(0)
    found = bootstrap(tuple(strata), statistic, rng=rng, vectorized=True, **options)
    return Estimate(statistic(*strata, axis=0), *found.confidence_interval)


def interquartile_mean(*strata: np.ndarray, axis: int = 0) -> np.ndarray:
    """Mean of the middle half of all seeds of all tasks."""
    return np.asarray(trim_mean(np.concatenate(strata, axis), 0.25, axis=axis))


def improvement(*strata: np.ndarray, axis: int = 0) -> np.ndarray:
    """Probability that a seed of ours does better than one of theirs, averaged over the tasks.

    Ties count half, as in Mann and Whitney's U.

    Args:
      strata: of T tasks ours, (S, ...), then of the same tasks theirs, (S', ...).
      axis: of the seeds.
    """
    tasks = len(strata) // 2
    found = []
    for ours, theirs in zip(strata[:tasks], strata[tasks:], strict=True):
        a = np.expand_dims(np.moveaxis(ours, axis, -1), -1)
        b = np.expand_dims(np.moveaxis(theirs, axis, -1), -2)
        found.append(((a > b) + 0.5 * (a == b)).mean(axis=(-2, -1)))
    return np.asarray(np.mean(found, axis=0))


def after(cell: Cell, share: float) -> Float[np.ndarray, " S"]:
    """Success of each seed after a share of its steps: the latest evaluation up to there."""
    if share >= 1:
        return cell.final
    place = np.flatnonzero(cell.steps <= share * cell.steps[-1])[-1]
    return cell.success[:, place]


def reached(cell: Cell, level: float, clock: Float[np.ndarray, " E"]) -> Float[np.ndarray, " S"]:
    """What a clock showed each seed at its first evaluation with so much success, or infinity."""
    above = cell.success >= level
    return np.where(above.any(axis=1), clock[above.argmax(axis=1)], np.inf)


def over_shares(cell: Cell, shares: Float[np.ndarray, " P"]) -> Float[np.ndarray, "S P"]:
    """Success of each seed after shares of its steps, evaluations joined by lines."""
    grid = shares * cell.steps[-1]
    return np.stack([np.interp(grid, cell.steps, curve) for curve in cell.success])
