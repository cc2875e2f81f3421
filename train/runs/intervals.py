"""How sure one may be of a mean over a few seeds, and of a rate of success."""

import math
from collections.abc import Callable

import numpy as np

RESAMPLES = 2000
"""Of a bootstrap."""


def bootstrap_interval(
    values: np.ndarray, statistic: Callable[..., np.ndarray] = np.mean
) -> np.ndarray:
    """95 % percentile bootstrap interval of a statistic over a few seeds.

    Args:
      values: of N seeds, (N, ...).
      statistic: takes `axis`.

    Returns:
      Its ends, (2, ...).
    """
    draws = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    return np.percentile(statistic(values[draws], axis=1), [2.5, 97.5], axis=0)


def wilson_interval(rate: float, trials: int) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson, 1927)."""
    z2 = 1.959964**2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2))
    half = math.sqrt(z2) * spread / (1 + z2 / trials)
    return max(centre - half, 0.0), min(centre + half, 1.0)
