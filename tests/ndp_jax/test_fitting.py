import dataclasses
import re

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from jax.test_util import check_grads
from movements import assert_close, draw, start

from ndp_jax import DMP, fit, fit_shared, resample, rollout
from ndp_jax.dmp import FORCINGS, KERNELS

# Fit


@hypothesis.settings(max_examples=5)
@hypothesis.given(
    kernel=st.sampled_from(sorted(KERNELS)),
    n_basis=st.integers(0, 30),
    n_steps=st.integers(7, 300),
    tau=st.floats(0.1, 10.0),
    alpha=st.floats(1.0, 25.0),
    dims=st.integers(1, 9),
    batch=st.lists(st.integers(1, 3), max_size=2),
)
def test_fit_redraws_any_rollout(kernel, n_basis, n_steps, tau, alpha, dims, batch):
    dmp = DMP(n_basis=n_basis, n_steps=n_steps, tau=tau, alpha=alpha, kernel=kernel)
    with jax.enable_x64(True):
        for dtype, tolerance in ((np.float64, 1e-6), (np.float32, 1e-3)):
            positions = rollout(dmp, *draw(dmp, tuple(batch), dims, dtype=dtype)).position
            goal, weights = fit(dmp, positions)
            assert goal.shape == (*batch, dims)
            assert weights.shape == (*batch, dims, n_basis)
            redrawn = rollout(dmp, goal, weights, *start(dmp, positions)).position
            assert_close(redrawn, positions, tolerance)


def test_fit_recovers_goal_and_weights_where_they_are_unique(x64):
    dmp = DMP(n_basis=5)
    goal, weights, y0, dy0 = draw(dmp, (3,), 2, dtype=np.float64)
    actual = fit(dmp, rollout(dmp, goal, weights, y0, dy0).position)
    assert_close(actual, (goal, weights), 1e-8)


def test_fit_is_the_least_squares_optimum(x64):
    dmp = DMP(n_basis=4, n_steps=30, kernel="inverse_quadric")
    time = np.linspace(0, 1, dmp.n_steps + 1)
    positions = np.stack([np.sin(7 * time) + 3, np.cos(5 * time)], axis=-1)
    y0, dy0 = start(dmp, positions)

    def path(parameters):
        """Linear in goal offset and in the products of weights and goal offset."""
        offset, products = parameters[:1], parameters[None, 1:]
        forced = rollout(dmp, jnp.ones(1), products, jnp.zeros(1), jnp.zeros(1)).position
        unforced = rollout(dmp, jnp.ones(1), None, jnp.zeros(1), jnp.zeros(1)).position
        pulled = rollout(dmp, offset, None, jnp.zeros(1), jnp.zeros(1)).position
        return (forced - unforced + pulled)[:, 0]

    matrix = jax.jacfwd(path)(jnp.zeros(5))
    initial = rollout(dmp, y0, None, y0, dy0).position
    _, squares, _, _ = np.linalg.lstsq(matrix, positions - initial)

    goal, weights = fit(dmp, positions)
    error = rollout(dmp, goal, weights, y0, dy0).position - positions
    assert np.all(squares > 1e-4)
    assert_close(np.sum(error**2, axis=0), squares, 1e-6)


def test_fit_draws_a_closed_curve(x64):
    dmp = DMP(n_basis=30, n_steps=300, alpha=25.0)
    angle = np.linspace(0, 2 * np.pi, dmp.n_steps + 1)
    positions = np.stack([10 + 3 * np.cos(angle), 3 * np.sin(angle)], axis=-1)
    goal, weights = fit(dmp, positions)
    redrawn = rollout(dmp, goal, weights, *start(dmp, positions)).position
    assert np.max(np.abs(redrawn - positions)) < 1e-4


@pytest.mark.parametrize(
    ("dtype", "shift", "tolerance"),
    [
        (np.float64, 0, 1e-8),
        (np.float64, 100, 1e-8),
        (np.float32, 0, 1e-3),
        (np.float32, 100, 1e-3),
    ],
)
def test_fit_bends_a_path_whose_goal_is_its_start(x64, dtype, shift, tolerance):
    dmp = DMP(alpha=5.0)
    _, products, zero, _ = draw(dmp, (4,), 2, dtype=dtype)
    zero = jnp.zeros_like(zero)
    forced, plain = (
        rollout(dmp, zero + 1, weights, zero, zero).position for weights in (products, None)
    )
    bend = forced - plain  # what forcing does with no goal offset to scale it
    positions = bend + shift
    goal, weights = fit(dmp, positions)
    redrawn = rollout(dmp, goal, weights, *start(dmp, positions)).position
    assert_close(redrawn - shift, bend, tolerance)
    extent = jnp.min(jnp.max(jnp.abs(bend), axis=1))
    least = np.sqrt(np.finfo(dtype).eps) * extent
    assert jnp.max(jnp.abs(weights)) < 3 * jnp.max(jnp.abs(products)) / least


def test_fit_of_rest_is_rest():
    dmp = DMP()
    positions = jnp.broadcast_to(jnp.array([3.0, 0.0]), (dmp.n_steps + 1, 2))
    goal, weights = fit(dmp, positions)
    assert np.array_equal(goal, positions[0])
    assert np.array_equal(weights, np.zeros((2, dmp.n_basis)))
    gradient = jax.grad(lambda positions: sum(x.sum() for x in fit(dmp, positions)))(positions)
    assert np.all(np.isfinite(gradient))


def test_fit_with_a_larger_rcond_keeps_noisy_weights_small(x64):
    dmp = DMP(n_basis=30, n_steps=300, alpha=25.0)
    rng = np.random.default_rng(0)
    positions = np.linspace(0, 1, dmp.n_steps + 1)[:, None] + rng.normal(0, 1e-3, (301, 1))
    y0, dy0 = start(dmp, positions)
    products, errors = [], []
    for rcond in (1e-12, 1e-4):
        goal, weights = fit(dmp, positions, rcond=rcond)
        products.append(np.max(np.abs(weights * (goal - y0)[:, None])))
        redrawn = rollout(dmp, goal, weights, y0, dy0).position
        errors.append(np.sqrt(np.mean((redrawn - positions) ** 2)))
    assert products[1] < 0.01 * products[0]
    assert errors[0] <= errors[1] < 1.1 * errors[0]


def test_fit_is_differentiable(x64):
    dmp = DMP(n_basis=3, n_steps=8)
    positions = rollout(dmp, *draw(dmp, (2,), 2, dtype=np.float64)).position
    check_grads(lambda positions: fit(dmp, positions), (positions,), order=1, rtol=1e-4)


@pytest.mark.parametrize("forcing", FORCINGS)
def test_a_given_goal_is_kept(x64, forcing):
    dmp = DMP(n_basis=9, forcing=forcing)
    goal, weights, y0, dy0 = draw(dmp, (3,), 2, dtype=np.float64)
    positions = rollout(dmp, goal, weights, y0, dy0).position
    actual, weights = fit(dmp, positions, goal=goal)
    assert_close(actual, goal, 1e-14)
    redrawn = rollout(dmp, goal, weights, *start(dmp, positions)).position
    assert_close(redrawn, positions, 1e-6)


@pytest.fixture
def eight():
    """A stroke that ends where it began, 2 by 4, (301, 2)."""
    angle = np.linspace(0, 2 * np.pi, 301)
    return np.stack([np.sin(2 * angle) + 10, 2 * np.cos(angle)], axis=-1)


def test_unscaled_forcing_fits_a_stroke_that_ends_where_it_began(x64, eight):
    """A thousandth off, its goal moves the stroke by that, and throws a scaled one far away."""
    moved = {}
    for forcing in FORCINGS:
        dmp = DMP(n_basis=30, n_steps=300, alpha=25.0, forcing=forcing)
        goal, weights = fit(dmp, eight, goal=eight[0])
        redrawn, other, same = (
            rollout(dmp, g, weights, *start(dmp, eight)).position
            for g in (goal, goal + 1e-3, eight[0])
        )
        assert np.max(np.abs(redrawn - eight)) < 1e-6
        moved[forcing] = np.max(np.abs(other - eight))
        if forcing != "scaled":
            assert np.max(np.abs(same - eight)) < 1e-6
        else:
            assert np.max(np.abs(same - eight)) > 1
    assert moved["unscaled"] < 1.1e-3
    assert moved["hoffmann"] < 1e-3
    assert moved["scaled"] > 100


# Resample


@pytest.mark.parametrize("samples", [2, 41, 77, 500])
def test_resample_is_linear_in_time(x64, samples):
    rng = np.random.default_rng(0)
    positions = rng.normal(size=(3, samples, 2))
    actual = resample(positions, 40)
    time = np.linspace(0, samples - 1, 41)
    for demonstration, others in zip(actual, positions, strict=True):
        for column, other in zip(demonstration.T, others.T, strict=True):
            assert_close(column, np.interp(time, np.arange(samples), other), 1e-12)


def test_resample_takes_uneven_times(x64):
    """In any unit, from any start, the same for all or each its own."""
    rng = np.random.default_rng(0)
    times = 1.7e9 + np.cumsum(rng.uniform(0.1, 2, (3, 77)), axis=-1)
    evenly = np.linspace(times[:, 0], times[:, -1], 41)
    actual = resample(np.sin(times)[..., None].astype(np.float32), 40, times=times)
    expected = [np.interp(*several) for several in zip(evenly.T, times, np.sin(times), strict=True)]
    assert actual.dtype == jnp.float32
    assert_close(actual[..., 0], np.stack(expected), 1e-4)
    line = 3 * (times[0, :, None] - times[0, 0])
    shared = resample(np.stack([line, -line]), 40, times=times[0])
    assert_close(shared[0, :, 0], np.linspace(0, line[-1, 0], 41), 1e-6)
    assert_close(shared[1], -shared[0], 1e-15)


def test_resample_is_differentiable(x64):
    rng = np.random.default_rng(0)
    positions, times = rng.normal(size=(2, 9, 2)), np.cumsum(rng.uniform(1, 2, 9))
    check_grads(
        lambda positions, times: resample(positions, 5, times=times),
        (positions, times),
        order=1,
        rtol=1e-6,
    )


def test_fit_takes_a_demonstration_of_any_length(x64):
    """What 77 uneven samples of a movement say is what the movement says."""
    dmp = DMP(n_basis=20, n_steps=200, alpha=25.0)
    time = np.linspace(0, 1, 77) ** 1.5
    positions = np.stack([np.sin(3 * time), time**2], axis=-1)
    evenly = np.linspace(0, 1, 201)
    path = resample(positions, dmp.n_steps, times=time)
    redrawn = rollout(dmp, *fit(dmp, path), *start(dmp, path)).position
    assert_close(redrawn, np.stack([np.sin(3 * evenly), evenly**2], axis=-1), 1e-3)


# Another number of steps


def rest_to_rest(n_steps):
    time = np.linspace(0, 1, n_steps + 1)[:, None]
    return 10 * time**3 * (10 - 15 * time + 6 * time**2)


@pytest.mark.parametrize(
    ("n_steps", "off", "left"), [(1000, 0.1, 0.001), (100, 0.1, 0.001), (25, 0.9, 0.01)]
)
@pytest.mark.parametrize("forcing", FORCINGS)
def test_fitting_again_keeps_the_path_with_other_steps(x64, forcing, n_steps, off, left):
    """As docs/fit.md does it; `off` is how far the old weights lead astray at least."""
    dmp = DMP(n_basis=10, n_steps=200, alpha=25.0, alpha_x=2.0, forcing=forcing)
    path = rest_to_rest(200)
    goal, weights = fit(dmp, path, goal=path[-1])
    y0, dy0 = start(dmp, path)
    path = rollout(dmp, goal, weights, y0, dy0).position

    other = dataclasses.replace(dmp, n_steps=n_steps)
    again = resample(path, n_steps)
    astray = rollout(other, goal, weights, y0, dy0).position
    assert np.max(np.abs(astray - again)) > off
    _, weights = fit(other, again, goal=goal)
    kept = rollout(other, goal, weights, *start(other, again)).position
    assert np.max(np.abs(kept - again)) < left


# Several demonstrations, and regularisation


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("forcing", FORCINGS)
def test_a_shared_shape_is_recovered(x64, forcing, given, dtype):
    dmp = DMP(n_basis=3, forcing=forcing)
    goal, weights, y0, dy0 = draw(dmp, (2, 4), 3, dtype=dtype)
    weights = weights[:, 0]
    positions = rollout(dmp, goal, weights[:, None], y0, dy0).position
    actual = fit_shared(dmp, positions, goal=goal if given else None)
    assert all(x.dtype == dtype for x in actual)
    assert_close(actual, (goal, weights), 1e-9 if dtype == np.float64 else 2e-2)
    redrawn = rollout(dmp, actual[0], actual[1][:, None], *start(dmp, positions)).position
    assert_close(redrawn, positions, 1e-9 if dtype == np.float64 else 1e-4)


def objective(dmp, positions, goal, weights, regularization):
    """What `fit_shared` minimises, as its documentation says."""
    y0, dy0 = start(dmp, positions)
    error = rollout(dmp, goal, weights, y0, dy0).position - positions
    amplitude = (goal - y0)[..., None] if dmp.forcing == "scaled" else jnp.ones((*y0.shape, 1))
    pulled = weights[None] * amplitude / (dmp.alpha**2 / 4)
    return jnp.mean(error**2) + regularization * jnp.mean(pulled**2)


@pytest.mark.parametrize("regularization", [0.0, 1e-3])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("forcing", FORCINGS)
@pytest.mark.parametrize("several", [1, 5])
def test_no_other_goals_and_weights_are_better(x64, several, forcing, given, regularization):
    dmp = DMP(n_basis=3, alpha=8.0, forcing=forcing)
    goal, weights, y0, dy0 = draw(dmp, (several,), 2, dtype=np.float64)
    positions = rollout(dmp, goal, weights[0], y0, dy0).position
    positions = positions + 0.01 * np.random.default_rng(1).normal(size=positions.shape)
    options = {"goal": goal if given else None, "regularization": regularization}
    best = fit_shared(dmp, positions, **options)
    if several == 1:
        alone = fit(dmp, positions[0], **{**options, "goal": goal[0] if given else None})
        assert_close((best[0][0], best[1]), alone, 1e-9)

    def loss(goal, weights):
        return objective(dmp, positions, goal, weights, regularization)

    argnums = (1,) if given else (0, 1)
    slope = jax.grad(loss, argnums)
    off = best[0] if given else best[0] * 1.01, best[1] * 1.01
    for here, there in zip(slope(*best), slope(*off), strict=True):
        assert np.max(np.abs(here)) < 1e-6 * np.max(np.abs(there))
    assert loss(*best) < loss(*off)


def test_shared_weights_of_rest_are_zero():
    dmp = DMP()
    for forcing in FORCINGS:
        dmp = DMP(forcing=forcing)
        positions = jnp.broadcast_to(jnp.array([3.0, 0.0]), (4, dmp.n_steps + 1, 2))
        goal, weights = fit_shared(dmp, positions)
        assert np.array_equal(goal, positions[:, 0])
        assert np.array_equal(weights, np.zeros((2, dmp.n_basis)))

        def total(positions, dmp=dmp):
            return sum(x.sum() for x in fit_shared(dmp, positions))

        assert np.all(np.isfinite(jax.grad(total)(positions)))


@pytest.mark.parametrize("forcing", FORCINGS)
def test_fit_shared_is_differentiable(x64, forcing):
    dmp = DMP(n_basis=2, n_steps=8, forcing=forcing)
    positions = np.random.default_rng(0).normal(size=(3, 9, 1))
    check_grads(lambda positions: fit_shared(dmp, positions), (positions,), order=1, rtol=1e-4)


@pytest.mark.parametrize("forcing", FORCINGS)
def test_regularisation_shrinks_weights(x64, forcing, eight):
    """To none at last, and at the price of a larger error."""
    dmp = DMP(n_basis=30, n_steps=300, alpha=25.0, forcing=forcing)
    goal = eight[0] + 1
    sizes, errors = [], []
    for regularization in (0.0, 1e-12, 1e-9, 1e-6, 1e-3, 1.0, 1e6):
        goal, weights = fit(dmp, eight, goal=goal, regularization=regularization)
        sizes.append(np.linalg.norm(weights))
        redrawn = rollout(dmp, goal, weights, *start(dmp, eight)).position
        errors.append(np.mean((redrawn - eight) ** 2))
    assert np.all(np.diff(sizes) < 0)
    assert np.all(np.diff(errors) > 0)
    assert sizes[-1] < 1e-4 * sizes[0]


# Errors


@pytest.mark.parametrize("shape", [(41,), (40, 2), (2, 41)])
def test_a_wrong_demonstration_says_how_to_fix_it(shape):
    with pytest.raises(ValueError, match=r"positions has shape .* give \(..., 41, D\)"):
        fit(DMP(n_steps=40), jnp.zeros(shape))


@pytest.mark.parametrize("shape", [(41, 2), (3, 40, 2), (0, 41, 2)])
def test_wrong_demonstrations_say_how_to_fix_it(shape):
    with pytest.raises(ValueError, match=r"positions has shape .* give \(..., K, 41, D\)"):
        fit_shared(DMP(n_steps=40), jnp.zeros(shape))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"goal": np.zeros(3)}, "goal has shape (3,); give (2,), as positions has."),
        ({"goal": np.array([0, np.inf])}, "goal[1] is inf; give a finite number."),
        ({"regularization": -1.0}, "regularization is -1.0; give a finite number of at least 0."),
        ({"regularization": np.nan}, "regularization is nan; give a finite number of at least 0."),
    ],
)
def test_wrong_options_of_fit_say_how_to_fix_it(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        fit(DMP(), np.zeros((41, 2)), **changes)
    shared = changes if "goal" not in changes else {"goal": changes["goal"][None]}
    message = message.replace("(3,); give (2,)", "(1, 3); give (1, 2)").replace("[1]", "[0, 1]")
    with pytest.raises(ValueError, match=re.escape(message)):
        fit_shared(DMP(), np.zeros((1, 41, 2)), **shared)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 2), {}, "positions has shape (1, 2); give (..., S, D) with S of at least 2."),
        ((7,), {}, "positions has shape (7,); give (..., S, D)"),
        ((7, 2), {"n_steps": 0}, "n_steps is 0; give a whole number of at least 1."),
        ((7, 2), {"times": np.arange(6)}, "times has shape (6,); give (7,), one for each sample."),
        ((3, 7, 2), {"times": np.zeros((2, 7))}, "give (7,), one for each sample, or (3, 7)."),
        (
            (4, 2),
            {"times": np.array([0.0, 2, 2, 3])},
            "times[2] is 2.0 after 2.0; give increasing ti",
        ),
        ((1, 3, 2), {"times": np.array([[0, 3, 1]])}, "times[0, 2] is 1 after 3; give increasing"),
        ((3, 2), {"times": np.array([0, np.nan, 1])}, "times[1] is nan; give a finite number."),
    ],
)
def test_a_wrong_resample_says_how_to_fix_it(shape, options, message):
    options = {"n_steps": 5, **options}
    with pytest.raises(ValueError, match=re.escape(message)):
        resample(np.zeros(shape), **options)


def test_lists_are_welcome(x64):
    dmp = DMP(n_basis=2, n_steps=3)
    positions = [[0, 0.0], [1.0, 0.5], [2.0, 2.0], [3, 1.0]]
    times = [1.7e9, 1.7e9 + 1, 1.7e9 + 2, 1.7e9 + 3]
    array = np.array(positions)
    assert_close(fit(dmp, positions, goal=[3, 1]), fit(dmp, array, goal=array[-1]), 1e-12)
    several = fit_shared(dmp, [positions, positions], goal=[[3, 1], [3, 1.0]])
    assert_close(several[1], fit(dmp, array, goal=array[-1])[1], 1e-9)
    assert_close(resample(positions, 3, times=times), array, 1e-6)
    with jax.enable_x64(False):
        assert_close(resample(positions, 3, times=times), array, 1e-6)
    traced = jax.jit(lambda time: resample(positions, 3, times=[0.0, time, 2.0, 3.0]))
    assert_close(traced(1.0), array, 1e-6)
    assert fit(dmp, np.float32(positions), goal=[3, 1])[1].dtype == np.float32


@pytest.mark.parametrize("wrong", [[[1.0], [1.0, 2.0]], [["one"]]])
@pytest.mark.parametrize(
    "function",
    [
        lambda wrong: fit(DMP(), wrong),
        lambda wrong: fit_shared(DMP(), wrong),
        lambda wrong: resample(wrong, 4),
    ],
)
def test_what_is_no_array_is_named(function, wrong):
    message = re.escape(f"positions is {wrong!r}; give numbers, as an array or in lists of equal")
    with pytest.raises(ValueError, match=message):
        function(wrong)
    message = re.escape(f"times is {wrong!r}; give numbers, as an array or in lists of equal")
    with pytest.raises(ValueError, match=message):
        resample(np.zeros((2, 1)), 4, times=wrong)


def test_a_gap_in_a_demonstration_is_named():
    positions = np.zeros((41, 2))
    positions[7, 1] = np.nan
    message = re.escape("positions[7, 1] is nan; leave that sample out and give ndp_jax.resample")
    for function in (lambda: fit(DMP(), positions), lambda: resample(positions, 40)):
        with pytest.raises(ValueError, match=message):
            function()
    with pytest.raises(ValueError, match=message.replace("7,", "0,\\ 7,")):
        fit_shared(DMP(), positions[None])
    kept = np.arange(41) != 7
    filled = resample(positions[kept], 40, times=np.arange(41.0)[kept])
    assert np.array_equal(filled, np.zeros((41, 2)))
