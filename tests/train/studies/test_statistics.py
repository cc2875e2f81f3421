"""Statistics against cases worked out by hand."""

import numpy as np
import pytest

from train.studies.record import Cell
from train.studies.statistics import (
    after,
    estimate,
    improvement,
    interquartile_mean,
    over_shares,
    reached,
)

CELL = Cell(
    steps=np.array([0.0, 100.0, 200.0, 400.0]),
    minutes=np.array([0.0, 1.0, 2.0, 4.0]),
    hours=0.5,
    success=np.array([[0.0, 0.5, 0.85, 1.0], [0.0, 0.1, 0.6, 0.7]]),
    final=np.array([0.95, 0.65]),
    episodes=256,
)


def test_the_interquartile_mean_leaves_a_quarter_out_at_either_end():
    assert interquartile_mean(np.array([0.0, 0.2, 0.4, 9.0])) == pytest.approx(0.3)
    tasks = np.array([9.0, 0.0]), np.array([0.2, 0.4, 0.3, 0.3])
    assert interquartile_mean(*tasks) == pytest.approx(0.3)


def test_the_probability_of_improvement_counts_pairs_and_half_of_ties():
    ours, theirs = np.array([1.0, 0.5]), np.array([0.5, 0.2, 0.9])
    assert improvement(ours, theirs) == pytest.approx((3 + 1.5) / 6)
    assert improvement(theirs, ours) == pytest.approx(1 - (3 + 1.5) / 6)


def test_the_probability_of_improvement_is_averaged_over_tasks():
    one, zero = np.ones(3), np.zeros(5)
    assert improvement(one, one, zero, one) == pytest.approx((1 + 0.5) / 2)


def test_resampling_stays_within_a_task():
    """Seeds of a task do the same: nothing is left to resample, though the tasks differ much."""
    found = estimate([np.zeros(3), np.ones(3)], interquartile_mean)
    assert [*found] == pytest.approx([0.5, 0.5, 0.5])


def test_the_interval_is_that_of_all_resamples():
    """Of two seeds a resample is 0, 0.5 or 1 with probabilities 1/4, 1/2, 1/4."""
    value, low, high = estimate([np.array([0.0, 1.0])], interquartile_mean)
    assert (value, low, high) == (0.5, 0, 1)
    values = np.random.default_rng(1).normal(size=400)
    found = estimate([values], lambda sample, axis: np.mean(sample, axis=axis))
    half = 1.96 * values.std() / 20
    np.testing.assert_allclose([found.low, found.high], values.mean() + [-half, half], atol=0.02)


def test_estimates_are_the_same_every_time_and_of_every_point_of_a_curve():
    curves = np.random.default_rng(0).uniform(size=(4, 7))
    found, again = (estimate([curves, curves[:3]], interquartile_mean) for _ in range(2))
    for one, other in zip(found, again, strict=True):
        assert one.shape == (7,)
        np.testing.assert_array_equal(one, other)
    assert (found.low <= found.value).all() and (found.value <= found.high).all()


def test_success_after_a_share_is_the_latest_evaluation_up_to_there():
    np.testing.assert_array_equal(after(CELL, 0.25), [0.5, 0.1])
    np.testing.assert_array_equal(after(CELL, 0.49), [0.5, 0.1])
    np.testing.assert_array_equal(after(CELL, 0.5), [0.85, 0.6])
    np.testing.assert_array_equal(after(CELL, 1.0), CELL.final)


def test_a_level_is_reached_at_the_first_evaluation_that_has_it_or_never():
    np.testing.assert_array_equal(reached(CELL, 0.5, CELL.steps), [100, 200])
    np.testing.assert_array_equal(reached(CELL, 0.8, CELL.minutes), [2, np.inf])
    np.testing.assert_array_equal(reached(CELL, 0.0, CELL.steps), [0, 0])


def test_curves_are_compared_at_shares_of_their_steps():
    found = over_shares(CELL, np.array([0.0, 0.125, 0.75]))
    np.testing.assert_allclose(found, [[0, 0.25, 0.925], [0, 0.05, 0.65]])
