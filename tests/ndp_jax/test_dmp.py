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
from movements import assert_close, draw, start

from ndp_jax import DMP, begin, fit, rollout, step
from ndp_jax.dmp import ALPHA_RANGE, FORCINGS, KERNELS, METHODS

REFERENCE = np.load(Path(__file__).parents[1] / "data" / "dmp.npz")
CASES = json.loads(str(REFERENCE["meta"]))["cases"]
TOLERANCE = {"float64": 1e-6, "float32": 1e-4}
"""Of the release's numbers, relative to the largest of an array; it rounds centres and widths to
float32, which moves its float64 results by up to 3e-7."""


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
    n_basis=st.integers(0, 30),
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


# A duration in place of the primitive's


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("forcing", FORCINGS)
def test_a_given_duration_equals_the_fixed_one(x64, forcing, method):
    dmp = DMP(tau=0.7, forcing=forcing)
    arguments = draw(dmp, (3,), 2, dtype=np.float64)
    taus = (0.3, 1.0, 2.5)
    several = rollout(dmp, *arguments, tau=jnp.array(taus), method=method)
    for number, tau in enumerate(taus):
        other = dataclasses.replace(dmp, tau=tau)
        expected = rollout(other, *(x[number] for x in arguments), method=method)
        assert_close(jax.tree.map(lambda x, n=number: x[n], several), expected, 1e-12)
        one = rollout(dmp, *(x[number] for x in arguments), tau=tau, method=method)
        assert_close(one, expected, 1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_duration_can_be_learned(x64, method):
    """Gradients of all that a rollout says, with respect to the logarithm of tau."""
    dmp = DMP(n_basis=3, n_steps=8, tau=2.0)
    arguments = draw(dmp, (2,), 2, dtype=np.float64)

    def function(logarithm, *arguments):
        return rollout(dmp, *arguments, tau=jnp.exp(logarithm), alpha=9.0, method=method)

    arguments = (jnp.array([-0.4, 0.8]), *arguments)
    check_grads(function, arguments, order=1, modes=("fwd", "rev"), rtol=1e-4)
    slope = jax.jit(jax.grad(lambda *arguments: function(*arguments).position.sum()))(*arguments)
    assert slope.shape == (2,) and np.all(np.abs(slope) > 1e-3)


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf])
def test_a_duration_that_is_none_is_refused(wrong):
    dmp, message = DMP(), f"tau is {wrong}; give finite numbers above 0."
    arguments = draw(dmp, (2,), 2)
    with pytest.raises(ValueError, match=message):
        rollout(dmp, *arguments, tau=jnp.array([1.0, wrong]))
    goal, weights, y0, dy0 = arguments
    with pytest.raises(ValueError, match=message):
        step(dmp, begin(y0, dy0), goal, weights, tau=[1.0, wrong])


# Unscaled forcing, and with a start term


@pytest.mark.parametrize(
    ("method", "alpha"), [("scan", None), ("matrix", None), ("matrix", 9.0), ("scan", [9.0, 12.0])]
)
def test_unscaled_forcing_leaves_out_one_factor(x64, method, alpha):
    scaled, unscaled, hoffmann = (DMP(forcing=forcing) for forcing in FORCINGS)
    goal, weights, y0, dy0 = draw(scaled, (2,), 3, dtype=np.float64)
    options = {"method": method, "alpha": None if alpha is None else jnp.array(alpha)}
    expected = rollout(scaled, goal, weights, y0, dy0, **options)
    weights = weights * (goal - y0)[..., None]
    assert_close(rollout(unscaled, goal, weights, y0, dy0, **options), expected, 1e-11)

    # Basis functions add up to 1, so that the start term is as good as a part of every weight.
    stiffness = np.broadcast_to(scaled.alpha if alpha is None else alpha, (2,))[:, None, None]
    weights = weights + stiffness**2 / 4 * (goal - y0)[..., None]
    assert_close(rollout(hoffmann, goal, weights, y0, dy0, **options), expected, 1e-11)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("alpha", [None, 6.0])
@pytest.mark.parametrize("forcing", FORCINGS[1:])
def test_matrix_equals_scan_for_other_forcings(x64, kernel, alpha, forcing):
    """Also where the goal is the start."""
    dmp = DMP(n_basis=9, n_steps=70, tau=0.4, alpha_x=2.0, kernel=kernel, forcing=forcing)
    goal, weights, y0, dy0 = draw(dmp, (3,), 2, dtype=np.float64)
    y0 = y0.at[0].set(goal[0])
    scan, matrix = (
        rollout(dmp, goal, weights, y0, dy0, alpha=alpha, method=method) for method in METHODS
    )
    assert_close(matrix, scan, 1e-11)
    assert jnp.min(jnp.ptp(scan.position[0], axis=0)) > 0.01


@pytest.mark.parametrize("method", METHODS)
def test_without_weights_the_start_term_moves_the_goal_there(x64, method):
    dmp = DMP(n_steps=20, alpha=8.0, alpha_x=2.0, forcing="hoffmann")
    goal, _, y0, dy0 = draw(dmp, (), 2, dtype=np.float64)
    y, z, x, path = y0, dy0, 1.0, [y0]
    for _ in range(20):
        x -= 2.0 / 20 * x
        pulled = y0 + (1 - x) * (goal - y0)
        y, z = y + z / 20, z + 8.0 * (8.0 / 4 * (pulled - y) - z) / 20
        path.append(y)
    assert_close(rollout(dmp, goal, None, y0, dy0, method=method).position, np.stack(path), 1e-12)


def test_a_nearer_goal_throws_the_path_back_but_for_the_start_term(x64):
    """Of a movement from rest to rest, 0 to 10, when it is to go to 5."""
    time = np.linspace(0, 1, 201)[:, None]
    positions = 10 * time**3 * (10 - 15 * time + 6 * time**2)
    lowest, last = {}, {}
    for forcing in FORCINGS:
        dmp = DMP(n_basis=10, n_steps=200, alpha=25.0, alpha_x=2.0, forcing=forcing)
        _, weights = fit(dmp, positions, goal=positions[-1])
        y0, dy0 = start(dmp, positions)
        again, moved = (rollout(dmp, [g], weights, y0, dy0).position for g in (10.0, 5.0))
        assert_close(again, positions, 5e-4)
        lowest[forcing], last[forcing] = float(moved.min()), float(moved[-1, 0])
    assert lowest["unscaled"] < -3
    assert lowest["hoffmann"] > -0.1
    assert last["hoffmann"] == pytest.approx(5 + 5 * np.exp(-2), rel=0.06)
    assert last["unscaled"] == pytest.approx(5, abs=0.01)


# Step by step


def steps(dmp, goal, weights, y0, dy0, **options):
    """Positions, and the velocities with which the movement goes on."""

    def advance(state, _):
        state = step(dmp, state, goal, weights, **options)
        return state, state

    _, states = jax.lax.scan(advance, begin(y0, dy0), length=dmp.n_steps)
    return jnp.moveaxis(states.position, 0, -2), jnp.moveaxis(states.velocity, 0, -2)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("forcing", FORCINGS)
def test_steps_are_a_rollout(x64, forcing, kernel):
    dmp = DMP(n_steps=200, tau=2.0, alpha=25.0, alpha_x=2.0, kernel=kernel, forcing=forcing)
    goal, weights, y0, dy0 = draw(dmp, (3,), 2, dtype=np.float64)
    for forced in (weights, None) if kernel == "gaussian" else (weights,):
        arguments = (goal, forced, y0, dy0)
        position, velocity = jax.jit(lambda *arguments: steps(dmp, *arguments))(*arguments)
        expected = rollout(dmp, *arguments)
        assert_close(position, expected.position[:, 1:], 1e-12)
        assert_close(velocity[:, :-1], expected.velocity[:, 2:], 1e-12)


@pytest.mark.parametrize("options", [{"tau": [0.5, 3.0]}, {"alpha": [9.0, 99.0]}, {"tau": 2.0}])
@pytest.mark.parametrize("forcing", FORCINGS)
def test_steps_of_another_duration_or_stiffness_are_a_rollout(x64, forcing, options):
    dmp = DMP(n_basis=4, n_steps=20, forcing=forcing)
    arguments = draw(dmp, (2,), 3, dtype=np.float64)
    position, velocity = steps(dmp, *arguments, **options)
    expected = rollout(dmp, *arguments, **options)
    assert_close(position, expected.position[:, 1:], 1e-12)
    assert_close(velocity[:, :-1], expected.velocity[:, 2:], 1e-12)


@pytest.mark.parametrize("forcing", FORCINGS)
def test_a_goal_may_move_while_the_robot_does(x64, forcing):
    """As the equations say, one step at a time; beyond the duration the goal is reached."""
    dmp = DMP(n_basis=1, n_steps=30, tau=2.0, alpha=12.0, alpha_x=3.0, forcing=forcing)
    _, weights, y0, dy0 = draw(dmp, (), 2, dtype=np.float64)
    goals = np.random.default_rng(3).normal(size=(30, 2))
    goals = np.concatenate([goals, np.tile(goals[-1], (300, 1))])

    y, z, x, expected = y0, 2.0 * dy0, 1.0, []
    for goal in goals:
        x -= 3.0 / 30 * x
        f = x * weights[:, 0] * (goal - y0 if forcing == "scaled" else 1)
        if forcing == "hoffmann":
            f = f - 36 * (goal - y0) * x
        y, z = y + z / 30, z + (12.0 * (3.0 * (goal - y) - z) + f) / 30
        expected.append(y)

    def advance(state, goal):
        state = step(dmp, state, goal, weights)
        return state, state.position

    _, actual = jax.lax.scan(advance, begin(y0, dy0), jnp.asarray(goals))
    assert_close(actual, np.stack(expected), 1e-12)
    assert_close(actual[-1], goals[-1], 1e-9)


def test_a_step_is_pure_and_keeps_its_dtype():
    dmp = DMP()
    goal, weights, y0, dy0 = draw(dmp, (4,), 2)
    state = begin(y0, dy0)
    one = step(dmp, state, goal, weights)
    assert [x.dtype for x in one] == [jnp.float32] * 4
    assert jax.tree.map(jnp.shape, one) == jax.tree.map(jnp.shape, state)
    apart = jax.vmap(lambda *arguments: step(dmp, *arguments))(state, goal, weights)
    jitted = jax.jit(step, static_argnums=0)(dmp, state, goal, weights)
    assert_close((apart, jitted), (one, one), 1e-6)
    slope = jax.grad(
        lambda velocity: step(dmp, state._replace(velocity=velocity), goal, weights).position.sum()
    )(dy0)
    assert_close(slope, jnp.full((4, 2), 1 / 40), 1e-6)


def test_a_step_does_not_enlarge_its_state():
    dmp = DMP()
    goal, weights, y0, dy0 = draw(dmp, (4,), 2)
    message = r"began with y0 of shape \(2,\), and the step makes \(4, 2\) of it; begin with y0 of"
    with pytest.raises(ValueError, match=message):
        step(dmp, begin(y0[0], dy0[0]), goal, weights)
    with pytest.raises(ValueError, match="degrees of freedom differ .y0 2, dy0 1"):
        begin(y0, dy0[:, :1])


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
@pytest.mark.parametrize("variant", ["scan", "matrix", "alpha", "tau"])
def test_dtype_follows_the_inputs(x64, variant, dtype):
    dmp = DMP(n_steps=12)
    arguments = draw(dmp, (2,), 2, dtype=dtype)
    leaf = {variant: jnp.full(2, 9, dtype)}
    options = {"method": variant} if variant in METHODS else leaf

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


# Lists and scalar arrays


def test_lists_are_welcome(x64):
    dmp = DMP(n_basis=2, n_steps=5)
    given = [[1, 2.0], [[3.0, 4.0], [5.0, 6.0]], [0.0, 0.5], (1, -1)]
    expected = rollout(dmp, *(np.array(value, float) for value in given), alpha=9.0, tau=2.0)
    for method in METHODS:
        assert_close(rollout(dmp, *given, alpha=9.0, tau=2.0, method=method), expected, 1e-12)
    assert_close(rollout(dmp, *given, alpha=[9.0], tau=[2.0]).position[0], expected.position, 1e-12)
    goal, weights, y0, dy0 = given
    state = begin(y0, dy0)
    assert_close(state.position, np.array(y0), 1e-15)
    second = step(dmp, state, goal, weights, alpha=9.0, tau=2.0).position
    assert_close(second, expected.position[1], 1e-12)


def test_lists_take_the_dtype_of_arrays_and_may_be_traced(x64):
    dmp = DMP(n_steps=5)

    def last(x):
        return rollout(dmp, [x, 2.0], None, jnp.zeros(2, np.float32), [0, 0]).position[-1, 0]

    assert last(np.float32(1)).dtype == np.float32
    assert jax.grad(last)(np.float32(1)) == pytest.approx(float(last(np.float32(1))), rel=1e-5)


@pytest.mark.parametrize("name", ["goal", "weights", "y0", "dy0", "alpha", "tau"])
@pytest.mark.parametrize("wrong", [[[1.0], [1.0, 2.0]], ["one"], [None]])
def test_what_is_no_array_is_named(name, wrong):
    zero = np.zeros(1, np.float32)
    arguments = {"goal": zero, "weights": None, "y0": zero, "dy0": zero, name: wrong}
    message = re.escape(f"{name} is {wrong!r}; give numbers, as an array or in lists of equal")
    with pytest.raises(ValueError, match=message):
        rollout(DMP(), **arguments)


def test_scalar_arrays_are_numbers():
    given = DMP(
        n_basis=jnp.int32(4), tau=jnp.float32(2), alpha=np.array(3.0), alpha_x=np.float32(2)
    )
    plain = DMP(n_basis=4, tau=2.0, alpha=3.0, alpha_x=2.0)
    assert given == plain and hash(given) == hash(plain)
    with pytest.raises((ValueError, jaxtyping.TypeCheckError), match="(?s)tau.*2."):
        DMP(tau=jnp.array([2.0]))


@pytest.mark.parametrize(
    ("field", "fix"),
    [
        ("tau", r"give rollout\(..., tau=...\) instead"),
        ("alpha", r"give rollout\(..., alpha=...\) instead"),
        ("alpha_x", "give a number that Python knows"),
        ("n_basis", "give a number that Python knows"),
    ],
)
def test_a_traced_setting_says_what_to_do(field, fix):
    with pytest.raises(ValueError, match=f"^{field} is known only when .* its program; {fix}"):
        jax.jit(lambda value: DMP(**{field: value}).n_steps)(2.0)


# Errors


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("n_basis", -1, "n_basis is -1; give a whole number of at least 0"),
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
