import dataclasses
import json
import re
from pathlib import Path

import hypothesis
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import strategies as st
from jax.test_util import check_grads
from jax.typing import DTypeLike

from ndp_jax import DMP, fit, fit_shared, resample, rollout
from ndp_jax.dmp import ALPHA_RANGE, FORCINGS, KERNELS

REFERENCE = np.load(Path(__file__).parents[1] / "data" / "dmp.npz")
CASES = json.loads(str(REFERENCE["meta"]))["cases"]
TOLERANCE = {"float64": 1e-6, "float32": 1e-4}
"""Of the release's numbers, relative to the largest of an array; it rounds centres and widths to
float32, which moves its float64 results by up to 3e-7."""


def draw(dmp, batch, dims, *, dtype: DTypeLike = np.float32):
    """goal, weights, y0 and dy0 of ordinary size."""
    rng = np.random.default_rng(0)
    shape = (*batch, dims)
    arrays = (
        rng.normal(size=shape),
        20 * rng.normal(size=(*shape, dmp.n_basis)),
        rng.normal(size=shape),
        rng.normal(size=shape),
    )
    return tuple(jnp.asarray(array, dtype) for array in arrays)


def assert_close(actual, expected, tolerance):
    """Equal up to a tolerance relative to the largest expected number, leaf by leaf."""
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape
        error = np.max(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)))
        assert error <= tolerance * np.max(np.abs(b))


def start(dmp, positions):
    """The y0 and dy0 that fit assumes."""
    y0 = positions[..., 0, :]
    return y0, (positions[..., 1, :] - y0) * dmp.n_steps / dmp.tau


# The release's numbers


def case_arguments(case, inputs, y0, dy0, method):
    """The release's flat inputs as ours."""
    dims, n_basis = case["dims"], case["n_basis"]
    dmp = DMP(**{k: case[k] for k in ("n_basis", "n_steps", "alpha", "kernel")})
    weights = inputs[:, dims : dims * (1 + n_basis)].reshape(-1, dims, n_basis)
    arguments = (
        inputs[:, :dims],
        None if case["only_goal"] else weights,
        y0,
        0 * dy0 if case["zero_velocity"] else dy0,
    )
    options = {"alpha": inputs[:, -1]} if case["learned_alpha"] else {}
    return dmp, arguments, {"method": method, **options}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("case", "method"),
    [
        pytest.param(case, method, id=f"{case['case']}-{method}")
        for case in CASES
        for method in ("scan", "matrix")
        if not (case["learned_alpha"] and method == "matrix")
    ],
)
def test_agrees_with_the_release(x64, case, method, dtype):
    def recorded(*names):
        return tuple(REFERENCE[f"{case['case']}/{name}"] for name in names)

    def loss(inputs, y0, dy0, cotangent):
        dmp, arguments, options = case_arguments(case, inputs, y0, dy0, method)
        trajectory = rollout(dmp, *arguments, **options)
        trajectory = jax.tree.map(lambda x: jnp.swapaxes(x, -1, -2), trajectory)
        return jnp.sum(trajectory.position * cotangent), tuple(trajectory)

    arguments = [x.astype(dtype) for x in recorded("inputs", "y0", "dy0", "cotangent")]
    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True)).lower(*arguments)
    # Nearly all of this test's time is XLA's, so its slower passes are left out.
    compiled = gradient.compile(compiler_options={"xla_backend_optimization_level": 0})
    gradients, trajectory = compiled(*arguments)

    assert_close(trajectory, recorded("Y", "dY", "ddY"), TOLERANCE[dtype])
    assert_close(gradients, recorded("grad_inputs", "grad_y0", "grad_dy0"), TOLERANCE[dtype])


# Closed forms


def test_without_forcing_is_the_critically_damped_spring(x64):
    dmp = DMP(n_steps=20_000, tau=2.0, alpha=8.0)
    goal, _, y0, dy0 = draw(dmp, (), 3, dtype=np.float64)
    trajectory = rollout(dmp, goal, None, y0, dy0)

    time = np.linspace(0, dmp.tau, dmp.n_steps + 1)[:, None]
    omega = dmp.alpha / (2 * dmp.tau)
    offset, slope = y0 - goal, dy0 + omega * (y0 - goal)
    decay = np.exp(-omega * time)
    assert_close(
        trajectory.position, goal[None] + (offset[None] + slope[None] * time) * decay, 1e-3
    )
    velocity = (slope[None] - omega * (offset[None] + slope[None] * time)) * decay
    assert_close(trajectory.velocity, velocity, 1e-3)


def test_one_basis_function_forces_with_the_phase(x64):
    dmp = DMP(n_basis=1, n_steps=20_000, alpha=9.0, alpha_x=3.0)
    goal, weights, y0, dy0 = draw(dmp, (), 2, dtype=np.float64)
    actual = rollout(dmp, goal, weights, y0, dy0).position

    time = np.linspace(0, 1, dmp.n_steps + 1)[:, None]
    omega = dmp.alpha / 2
    driven = weights[:, 0] * (goal - y0) / (dmp.alpha_x - omega) ** 2
    offset = y0 - goal - driven
    slope = dy0 + dmp.alpha_x * driven + omega * offset
    expected = (
        goal[None]
        + driven[None] * np.exp(-dmp.alpha_x * time)
        + (offset[None] + slope[None] * time) * np.exp(-omega * time)
    )
    assert_close(actual, expected, 1e-3)


@pytest.mark.parametrize("method", ["scan", "matrix"])
def test_reaches_the_goal_without_forcing(method):
    dmp = DMP(n_steps=400, alpha=60.0)
    goal, weights, y0, dy0 = draw(dmp, (4,), 9)
    last = rollout(dmp, goal, jnp.zeros_like(weights), y0, dy0, method=method).position[:, -1]
    assert_close(last, goal, 1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_equal_weights_act_as_one(x64, kernel):
    one, many = (DMP(n_basis=n, kernel=kernel) for n in (1, 7))
    goal, weights, y0, dy0 = draw(one, (), 2, dtype=np.float64)
    expected = rollout(one, goal, weights, y0, dy0)
    assert_close(rollout(many, goal, jnp.tile(weights, 7), y0, dy0), expected, 1e-12)


KERNEL_FORMULAS = {
    "gaussian": lambda h, e: np.exp(-h * e),
    "multiquadric": lambda h, e: np.sqrt(1 + h * e),
    "inverse_quadric": lambda h, e: 1 / (1 + h * e),
    "inverse_multiquadric": lambda h, e: 1 / np.sqrt(1 + h * e),
    "linear": lambda h, e: h * e,
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_basis_functions_are_as_defined(x64, kernel):
    n, steps, alpha_x = 5, 20, 3.0
    dmp = DMP(n_basis=n, n_steps=steps, tau=2.0, alpha=6.0, alpha_x=alpha_x, kernel=kernel)
    zero, one, each = jnp.zeros((n, 1)), jnp.ones((n, 1)), jnp.eye(n)[:, None]
    # The forcing term alone, from the equation of motion; weight i is 1 in batch element i.
    position, velocity, acceleration = jax.tree.map(
        lambda forced, plain: (forced - plain)[..., 0],
        rollout(dmp, one, each, zero, zero),
        rollout(dmp, one, None, zero, zero),
    )
    spring = dmp.alpha * (dmp.alpha / 4 * position[:, :-1] + dmp.tau * velocity[:, 1:])
    forcing = dmp.tau * acceleration[:, 1:] + spring

    x = (1 - alpha_x / steps) ** np.arange(1, steps + 1)
    centres = np.exp(-alpha_x * np.linspace(0, 1, n))[:, None]
    psi = KERNEL_FORMULAS[kernel](n**1.5 / centres / alpha_x, (x - centres) ** 2)
    assert_close(forcing, x * psi / psi.sum(axis=0), 1e-10)


@pytest.mark.parametrize("method", ["scan", "matrix"])
def test_tau_stretches_time_and_keeps_the_path(x64, method):
    dmp = DMP(tau=1.0)
    goal, weights, y0, dy0 = draw(dmp, (2,), 3, dtype=np.float64)
    slow = dataclasses.replace(dmp, tau=2.5)
    expected = rollout(dmp, goal, weights, y0, dy0, method=method)
    actual = rollout(slow, goal, weights, y0, dy0 / slow.tau, method=method)
    assert_close(actual.position, expected.position, 1e-12)
    assert_close(actual.velocity, expected.velocity / slow.tau, 1e-12)


@pytest.mark.parametrize("method", ["scan", "matrix"])
def test_samples_obey_their_convention(x64, method):
    dmp = DMP(tau=2.0, n_steps=20)
    goal, weights, y0, dy0 = draw(dmp, (3,), 2, dtype=np.float64)
    position, velocity, acceleration = rollout(dmp, goal, weights, y0, dy0, method=method)
    dt = dmp.tau / dmp.n_steps
    assert_close((position[:, 0], velocity[:, 0], acceleration[:, 0]), (y0, dy0, 2.0 * dy0), 1e-15)
    assert_close(velocity[:, 1:], jnp.diff(position, axis=1) / dt, 1e-12)
    assert_close(acceleration[:, 1:-1], dmp.tau * jnp.diff(velocity[:, 1:], axis=1) / dt, 1e-12)


def test_many_basis_functions_far_from_the_phase_stay_finite(x64):
    dmp = DMP(n_basis=1000, n_steps=2, alpha_x=2.0)
    trajectory = rollout(dmp, *draw(dmp, (), 1, dtype=np.float64))
    assert all(jnp.isfinite(x).all() for x in trajectory)


# The two methods


@hypothesis.settings(max_examples=6)
@hypothesis.given(
    kernel=st.sampled_from(sorted(KERNELS)),
    n_basis=st.integers(1, 30),
    n_steps=st.integers(7, 300),
    tau=st.floats(0.1, 10.0),
    alpha=st.floats(1.0, 25.0),
    alpha_x=st.floats(0.1, 5.0),
    dims=st.integers(1, 9),
    batch=st.lists(st.integers(1, 3), max_size=2),
    forced=st.booleans(),
)
def test_matrix_equals_scan(kernel, n_basis, n_steps, tau, alpha, alpha_x, dims, batch, forced):
    dmp = DMP(
        n_basis=n_basis, n_steps=n_steps, tau=tau, alpha=alpha, alpha_x=alpha_x, kernel=kernel
    )
    with jax.enable_x64(True):
        for dtype, tolerance in ((np.float64, 1e-10), (np.float32, 1e-5)):
            goal, weights, y0, dy0 = draw(dmp, tuple(batch), dims, dtype=dtype)
            arguments = (dmp, goal, weights if forced else None, y0, dy0)
            scan, matrix = (rollout(*arguments, method=method) for method in ("scan", "matrix"))
            assert scan.position.shape == (*batch, n_steps + 1, dims)
            assert_close(matrix, scan, tolerance)


def test_no_weights_are_zero_weights():
    dmp = DMP()
    goal, weights, y0, dy0 = draw(dmp, (5,), 2)
    for method in ("scan", "matrix"):
        zero = rollout(dmp, goal, 0 * weights, y0, dy0, method=method)
        assert_close(rollout(dmp, goal, None, y0, dy0, method=method), zero, 1e-6)


# Learned alpha


def test_learned_alpha_equals_the_fixed_one(x64):
    dmp = DMP(alpha=7.0)
    arguments = draw(dmp, (3,), 2, dtype=np.float64)
    expected = rollout(dmp, *arguments)
    other = dataclasses.replace(dmp, alpha=1.0)
    assert_close(rollout(other, *arguments, alpha=jnp.full(3, 7.0)), expected, 1e-12)
    assert_close(rollout(other, *arguments, alpha=7.0), expected, 1e-12)


@pytest.mark.parametrize(("n_steps", "tau"), [(1, 1.0), (8, 0.5), (40, 2.0), (300, 1.0)])
@pytest.mark.parametrize("alpha", [0.5, 7.0, 15.9, 30.0])
def test_a_matrix_for_an_alpha_equals_the_fixed_one(n_steps, tau, alpha):
    """Also under vmap, where every member of a sweep has its own."""
    dmp = DMP(n_steps=n_steps, tau=tau, alpha=alpha, alpha_x=0.5)
    other = dataclasses.replace(dmp, alpha=1.0)
    with jax.enable_x64(True):
        for dtype, tolerance in ((np.float64, 1e-11), (np.float32, 2e-5)):
            arguments = draw(dmp, (3,), 2, dtype=dtype)
            expected = rollout(dmp, *arguments, method="matrix")

            def answer(alpha, arguments=arguments):
                return rollout(other, *arguments, alpha=alpha, method="matrix")

            assert_close(answer(dtype(alpha)), expected, tolerance)
            several = jax.vmap(answer)(jnp.asarray([alpha, 3.0], dtype))
            assert_close(jax.tree.map(lambda x: x[0], several), expected, tolerance)


def test_learned_alpha_is_clamped(x64):
    low, high = ALPHA_RANGE
    dmp = DMP()
    arguments = draw(dmp, (2,), 2, dtype=np.float64)

    def final(alpha):
        return rollout(dmp, *arguments, alpha=alpha).position[:, -1].sum(axis=-1)

    assert_close(final(jnp.array([-3.0, 99.0])), final(jnp.array([low, high])), 1e-15)
    gradient = jax.grad(lambda alpha: final(alpha).sum())
    assert np.array_equal(gradient(jnp.array([-3.0, 99.0])), [0, 0])
    assert np.all(gradient(jnp.array([1.0, 20.0])) != 0)


# Unscaled forcing


@pytest.mark.parametrize(
    ("method", "alpha"), [("scan", None), ("matrix", None), ("matrix", 9.0), ("scan", [9.0, 12.0])]
)
def test_unscaled_forcing_leaves_out_one_factor(x64, method, alpha):
    scaled, unscaled = (DMP(forcing=forcing) for forcing in FORCINGS)
    goal, weights, y0, dy0 = draw(scaled, (2,), 3, dtype=np.float64)
    options = {"method": method, "alpha": None if alpha is None else jnp.array(alpha)}
    expected = rollout(scaled, goal, weights, y0, dy0, **options)
    weights = weights * (goal - y0)[..., None]
    assert_close(rollout(unscaled, goal, weights, y0, dy0, **options), expected, 1e-11)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("alpha", [None, 6.0])
def test_matrix_equals_scan_for_unscaled_forcing(x64, kernel, alpha):
    """Also where the goal is the start."""
    dmp = DMP(n_basis=9, n_steps=70, tau=0.4, alpha_x=2.0, kernel=kernel, forcing="unscaled")
    goal, weights, y0, dy0 = draw(dmp, (3,), 2, dtype=np.float64)
    y0 = y0.at[0].set(goal[0])
    scan, matrix = (
        rollout(dmp, goal, weights, y0, dy0, alpha=alpha, method=method)
        for method in ("scan", "matrix")
    )
    assert_close(matrix, scan, 1e-11)
    assert jnp.min(jnp.ptp(scan.position[0], axis=0)) > 0.01


# Transformations


@pytest.mark.parametrize("variant", ["scan", "matrix", "alpha"])
def test_derivatives(x64, variant):
    dmp = DMP(n_basis=3, n_steps=8)
    arguments = draw(dmp, (2,), 2, dtype=np.float64)
    alpha = (jnp.array([5.0, 12.0]),) if variant == "alpha" else ()
    method = "matrix" if variant == "matrix" else "scan"

    def function(goal, weights, y0, dy0, *alpha):
        options = {"alpha": alpha[0]} if alpha else {}
        return rollout(dmp, goal, weights, y0, dy0, method=method, **options)

    arguments = (*arguments, *alpha)
    check_grads(function, arguments, order=1, modes=("fwd", "rev"), rtol=1e-4)
    numbers = tuple(range(len(arguments)))
    forward = jax.jacfwd(function, argnums=numbers)(*arguments)
    assert_close(forward, jax.jacrev(function, argnums=numbers)(*arguments), 1e-12)


@pytest.mark.parametrize("variant", ["scan", "matrix", "alpha"])
def test_vmap_equals_batch(variant):
    dmp = DMP()
    arguments = draw(dmp, (4,), 3)
    alpha = jnp.array([3.0, 5.0, 8.0, 13.0]) if variant == "alpha" else None
    method = "matrix" if variant == "matrix" else "scan"

    def function(alpha, *arguments):
        return rollout(dmp, *arguments, alpha=alpha, method=method)

    assert_close(jax.vmap(function)(alpha, *arguments), function(alpha, *arguments), 1e-6)


@pytest.mark.parametrize("method", ["scan", "matrix"])
def test_batch_axes_broadcast(method):
    dmp = DMP()
    goal, weights, y0, dy0 = draw(dmp, (3, 4), 2)
    few = (goal[0], weights[:, :1], y0[0, 0], dy0)
    full = (
        jnp.broadcast_to(goal[:1], goal.shape),
        jnp.broadcast_to(weights[:, :1], weights.shape),
        jnp.broadcast_to(y0[:1, :1], y0.shape),
        dy0,
    )
    actual = rollout(dmp, *few, method=method)
    assert_close(actual, rollout(dmp, *full, method=method), 1e-6)


@pytest.mark.parametrize("method", ["scan", "matrix"])
def test_jit_equals_eager(method):
    dmp = DMP(n_steps=10)
    arguments = draw(dmp, (3,), 2)
    compiled = jax.jit(lambda *args: rollout(dmp, *args, method=method))(*arguments)
    with jax.disable_jit():
        eager = rollout(dmp, *arguments, method=method)
    assert_close(compiled, eager, 1e-5)


def test_is_a_static_argument_of_jit():
    traces = []

    def function(dmp, *arguments):
        traces.append(dmp)
        return rollout(dmp, *arguments).position

    compiled = jax.jit(function, static_argnums=0)
    arguments = draw(DMP(n_basis=4), (), 1)
    for dmp in (DMP(n_basis=4), DMP(n_basis=4, tau=1), DMP(n_basis=4, alpha=3.0)):
        compiled(dmp, *arguments)
    assert traces == [DMP(n_basis=4), DMP(n_basis=4, alpha=3.0)]
    with pytest.raises(dataclasses.FrozenInstanceError):
        traces[0].alpha = 1.0


def test_unused_samples_cost_nothing():
    dmp = DMP()
    arguments = draw(dmp, (2,), 2)
    lowered = jax.jit(lambda *args: rollout(dmp, *args, method="matrix").position).lower(*arguments)
    assert lowered.as_text().count("dot_general") == 1


# Dtypes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("variant", ["scan", "matrix", "alpha"])
def test_dtype_follows_the_inputs(x64, variant, dtype):
    dmp = DMP(n_steps=12)
    arguments = draw(dmp, (2,), 2, dtype=dtype)
    options = {"alpha": jnp.full(2, 9, dtype)} if variant == "alpha" else {"method": variant}

    def function(*arguments):
        trajectory = rollout(dmp, *arguments, **options)
        return trajectory, fit(dmp, trajectory.position)

    for leaf in jax.tree.leaves(jax.eval_shape(function, *arguments)):
        assert leaf.dtype == dtype
        assert not leaf.weak_type
    if dtype == np.float32:
        lowered = jax.jit(jax.jacrev(function, argnums=(0, 1, 2, 3))).lower(*arguments)
        assert "f64" not in lowered.as_text()


def test_python_and_numpy_numbers_are_welcome():
    dmp = DMP()
    trajectory = rollout(dmp, np.ones(2), None, np.zeros(2), np.zeros(2), alpha=np.float64(4))
    assert trajectory.position.dtype == jnp.float32
    whole = rollout(dmp, jnp.array([1.0]), None, jnp.array([0.0]), jnp.array([0.0]))
    with jax.numpy_dtype_promotion("standard"):
        assert_close(
            rollout(dmp, jnp.array([1.0]), None, jnp.array([0.0]), np.array([0.0])), whole, 1e-7
        )


# Fit


@hypothesis.settings(max_examples=5)
@hypothesis.given(
    kernel=st.sampled_from(sorted(KERNELS)),
    n_basis=st.integers(1, 30),
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
        if forcing == "unscaled":
            assert np.max(np.abs(same - eight)) < 1e-6
        else:
            assert np.max(np.abs(same - eight)) > 1
    assert moved["unscaled"] < 1.1e-3
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


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("n_basis", 0, "n_basis is 0; give a whole number of at least 1"),
        ("n_steps", -1, "n_steps is -1; give a whole number"),
        ("tau", 0.0, "tau is 0.0; give a finite number above 0"),
        ("alpha", -2, "alpha is -2; give a finite number above 0"),
        ("alpha", float("nan"), "alpha is nan; give a finite number"),
        ("alpha_x", float("inf"), "alpha_x is inf; give a finite number"),
        ("alpha_x", 41.0, "alpha_x is 41.0 with 40 steps.*give alpha_x at most 40"),
        ("kernel", "cubic", "kernel is 'cubic'; give one of gaussian, multiquadric, "),
        ("forcing", "none", "forcing is 'none'; give one of scaled, unscaled"),
    ],
)
def test_a_wrong_setting_says_how_to_fix_it(field, value, message):
    with pytest.raises(ValueError, match=message):
        DMP(**{field: value})


@pytest.mark.parametrize(("field", "value"), [("n_steps", 2.5), ("alpha", "15")])
def test_a_setting_of_a_wrong_type_is_named(field, value):
    # TypeCheckError comes first where annotations are checked at run time.
    with pytest.raises((ValueError, jaxtyping.TypeCheckError), match=f"(?s){field}.*{value}"):
        DMP(**{field: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": (4, 2, 5)}, "weights has 5 basis functions but dmp.n_basis is 6"),
        ({"weights": (6,)}, r"weights has shape \(6,\); give \(..., D, 6\)"),
        ({"weights": (4, 3, 6)}, "degrees of freedom differ .*weights 3"),
        ({"y0": (4, 1)}, "degrees of freedom differ .goal 2, y0 1, dy0 2"),
        ({"goal": ()}, r"goal is a scalar; give \(..., D\)"),
        ({"dy0": (3, 2)}, r"batch shapes do not broadcast .*dy0 \(3,\)"),
        ({"alpha": (3,)}, r"batch shapes do not broadcast .*alpha \(3,\)"),
        ({"alpha": (4,), "method": "matrix"}, 'method "matrix" has one alpha for all'),
        ({"method": "euler"}, "method is 'euler'; give one of scan, matrix"),
    ],
)
@pytest.mark.parametrize("transformation", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_wrong_rollout_says_how_to_fix_it(transformation, changes, message):
    shapes = {"goal": (4, 2), "weights": (4, 2, 6), "y0": (4, 2), "dy0": (4, 2)}
    method = changes.get("method", "scan")
    changes = {name: shape for name, shape in changes.items() if name != "method"}
    arrays = {name: jnp.zeros(shape) for name, shape in (shapes | changes).items()}
    with pytest.raises(ValueError, match=message):
        transformation(lambda arrays: rollout(DMP(), method=method, **arrays))(arrays)


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
