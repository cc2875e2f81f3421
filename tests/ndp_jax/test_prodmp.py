"""The closed form is the solution of the primitive's equation, from any time on."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from movements import assert_close, draw
from scipy.integrate import solve_ivp

from ndp_jax import DMP, rollout
from ndp_jax.dmp import ALPHA_RANGE, FORCINGS, KERNELS
from ndp_jax.prodmp import solve

PRIMITIVE = DMP(n_steps=20, tau=2.0, alpha=9.0, alpha_x=1.5, forcing="unscaled")


def integrated(dmp, goal, weights, y0, dy0, times):
    """Position and velocity (K, D) of the differential equation from time 0, by SciPy."""

    def rate(time, state, goal, weights):
        position, z = state
        phase = np.exp(-dmp.alpha_x * time / dmp.tau)
        centres = np.exp(-dmp.alpha_x * np.linspace(0, 1, dmp.n_basis))
        distance = dmp.n_basis**1.5 / centres / dmp.alpha_x * (phase - centres) ** 2
        psi = KERNELS[dmp.kernel](distance)
        forcing = phase * (np.average(weights, weights=psi) if dmp.n_basis > 1 else weights[0])
        pull = dmp.alpha * (dmp.alpha / 4 * (goal - position) - z)
        return [z / dmp.tau, (pull + forcing) / dmp.tau]

    def solution(goal, weights, y0, dy0):
        options = {"t_eval": times, "args": (goal, weights), "rtol": 1e-11, "atol": 1e-12}
        start = (y0, dy0 * dmp.tau)
        return solve_ivp(rate, (0, times[-1]), start, method="DOP853", **options).y

    each = map(solution, goal, weights, y0, dy0)
    position, z = np.stack(list(each), axis=-1)
    return position, z / dmp.tau


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("n_basis", [1, 6, 30])
def test_it_solves_the_differential_equation(x64, n_basis, kernel):
    dmp = dataclasses.replace(PRIMITIVE, n_basis=n_basis, kernel=kernel)
    arguments = draw(dmp, (), 2, dtype=np.float64)
    times = np.linspace(0, dmp.tau, dmp.n_steps + 1)
    expected = integrated(dmp, *map(np.asarray, arguments), times)
    assert_close(tuple(solve(dmp, *arguments)), expected, 1e-8)


def test_a_sharp_and_fast_phase_is_solved_too(x64):
    dmp = dataclasses.replace(PRIMITIVE, n_basis=40, alpha_x=20.0, alpha=30.0)
    arguments = draw(dmp, (), 1, dtype=np.float64)
    times = np.linspace(0, dmp.tau, dmp.n_steps + 1)
    expected = integrated(dmp, *map(np.asarray, arguments), times)
    assert_close(tuple(solve(dmp, *arguments)), expected, 1e-6)


def test_euler_steps_come_the_nearer_the_more_there_are(x64):
    arguments = draw(PRIMITIVE, (3,), 2, dtype=np.float64)
    exact = solve(PRIMITIVE, *arguments).position
    errors = []
    for finer in (10, 100, 1000):
        dmp = dataclasses.replace(PRIMITIVE, n_steps=finer * PRIMITIVE.n_steps)
        steps = rollout(dmp, *arguments).position[:, ::finer]
        errors.append(np.max(np.abs(steps - exact)))
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("t0", [0.0, 0.37, 2.0, 2.5])
def test_it_goes_through_the_given_position_and_velocity(x64, t0):
    goal, weights, y0, dy0 = draw(PRIMITIVE, (3,), 2, dtype=np.float64)
    motion = solve(PRIMITIVE, goal, weights, y0, dy0, t0=t0, times=[t0, t0 + 0.1])
    assert motion.position.shape == (3, 2, 2)
    assert_close(motion.position[:, 0], y0, 1e-15)
    assert_close(motion.velocity[:, 0], dy0, 1e-15)


def test_a_plan_made_anew_under_way_is_the_plan(x64):
    """Unless goal or weights change; then position and velocity are still continuous."""
    goal, weights, y0, dy0 = draw(PRIMITIVE, (3,), 2, dtype=np.float64)
    plan, again = solve(PRIMITIVE, goal, weights, y0, dy0), 7
    state = plan.position[:, again], plan.velocity[:, again]
    t0 = again * PRIMITIVE.tau / PRIMITIVE.n_steps
    assert_close(solve(PRIMITIVE, goal, weights, *state, t0=t0), plan, 1e-11)
    other = solve(PRIMITIVE, goal + 1, -weights, *state, t0=t0)
    assert_close((other.position[:, again], other.velocity[:, again]), state, 1e-15)
    assert np.max(np.abs(other.position[:, -1] - plan.position[:, -1])) > 0.1


def test_velocity_is_the_derivative_of_position(x64):
    arguments = draw(PRIMITIVE, (), 2, dtype=np.float64)
    times = jnp.linspace(0.1, 1.9, 7)
    position = functools.partial(solve, PRIMITIVE, *arguments, t0=0.5)
    at = jax.vmap(lambda time: jax.jacfwd(lambda t: position(times=t[None]).position[0])(time))
    assert_close(at(times), position(times=times).velocity, 1e-10)


def test_where_it_is_does_not_matter(x64):
    goal, weights, y0, dy0 = draw(PRIMITIVE, (3,), 2, dtype=np.float64)
    here = solve(PRIMITIVE, goal, weights, y0, dy0, t0=1.0).position
    there = solve(PRIMITIVE, goal + 5, weights, y0 + 5, dy0, t0=1.0).position
    assert_close(there - 5, here, 1e-12)


def test_tau_stretches_time(x64):
    goal, weights, y0, dy0 = draw(PRIMITIVE, (3,), 2, dtype=np.float64)
    slow = dataclasses.replace(PRIMITIVE, tau=6.0)
    quick = solve(PRIMITIVE, goal, weights, y0, dy0, t0=0.5)
    stretched = solve(slow, goal, weights, y0, dy0 / 3, t0=1.5)
    assert_close(stretched.position, quick.position, 1e-12)
    assert_close(3 * stretched.velocity, quick.velocity, 1e-12)


def test_no_weights_are_zero_weights(x64):
    goal, weights, y0, dy0 = draw(PRIMITIVE, (3,), 2, dtype=np.float64)
    zero = solve(PRIMITIVE, goal, 0 * weights, y0, dy0)
    assert_close(solve(PRIMITIVE, goal, None, y0, dy0), zero, 1e-15)


@pytest.mark.parametrize("alpha", [0.5, 7.0, 30.0])
@pytest.mark.parametrize("t0", [0.0, 0.7])
def test_an_alpha_known_later_gives_the_same(alpha, t0):
    """Also under vmap, where every member of a sweep has its own."""
    dmp, other = (dataclasses.replace(PRIMITIVE, alpha=value) for value in (alpha, 1.0))
    with jax.enable_x64(True):
        for dtype, tolerance in ((np.float64, 1e-11), (np.float32, 2e-5)):
            arguments = draw(dmp, (3,), 2, dtype=dtype)
            times = np.linspace(t0, dmp.tau, 9)
            expected = solve(dmp, *arguments, t0=t0, times=times)
            assert all(leaf.dtype == dtype for leaf in expected)

            def answer(alpha, arguments=arguments, times=times):
                return solve(other, *arguments, t0=t0, times=times, alpha=alpha)

            assert_close(answer(alpha), expected, tolerance)
            several = jax.jit(jax.vmap(answer))(jnp.asarray([alpha, 3.0], dtype))
            assert_close(jax.tree.map(lambda x: x[0], several), expected, tolerance)


def test_float32_is_near(x64):
    exact = draw(PRIMITIVE, (3,), 2, dtype=np.float64)
    rounded = [jnp.asarray(argument, np.float32) for argument in exact]
    assert_close(solve(PRIMITIVE, *rounded), solve(PRIMITIVE, *exact), 1e-5)


def test_times_of_each_batch_element_come_by_vmap(x64):
    arguments = draw(PRIMITIVE, (3,), 2, dtype=np.float64)
    t0 = np.array([0.0, 0.5, 1.0])
    each = jax.vmap(lambda t0, *arguments: solve(PRIMITIVE, *arguments, t0=t0))(t0, *arguments)
    for index, time in enumerate(t0):
        alone = solve(PRIMITIVE, *(x[index] for x in arguments), t0=time)
        assert_close(jax.tree.map(lambda x, at=index: x[at], each), alone, 1e-11)


def test_an_alpha_is_clamped(x64):
    arguments = draw(PRIMITIVE, (3,), 2, dtype=np.float64)
    for given, clamped in zip((-3.0, 99.0), ALPHA_RANGE, strict=True):
        expected = solve(dataclasses.replace(PRIMITIVE, alpha=clamped), *arguments)
        assert_close(solve(PRIMITIVE, *arguments, alpha=given), expected, 1e-15)


def test_gradients_equal_finite_differences(x64):
    dmp = dataclasses.replace(PRIMITIVE, n_steps=4)
    arguments = *draw(dmp, (2,), 2, dtype=np.float64), jnp.asarray(0.3), jnp.asarray(8.0)

    def answer(goal, weights, y0, dy0, t0, alpha):
        times = jnp.array([0.5, 1.0, 2.0])
        return tuple(solve(dmp, goal, weights, y0, dy0, t0=t0, times=times, alpha=alpha))

    check_grads(answer, arguments, order=1, rtol=1e-6)


# Refusals


@pytest.mark.parametrize("forcing", [name for name in FORCINGS if name != "unscaled"])
def test_a_forcing_that_depends_on_the_start_is_refused(forcing):
    dmp = DMP(forcing=forcing)
    with pytest.raises(ValueError, match=f"forcing is '{forcing}', .* forcing=\"unscaled\"."):
        solve(dmp, *draw(dmp, (), 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"t0": np.zeros(3)}, "t0 has shape (3,); give one for all, (), or jax.vmap."),
        ({"alpha": np.ones(3)}, "alpha has shape (3,); give one for all, (), or jax.vmap."),
        ({"times": 1.0}, "times has shape (); give one axis, (K,), or jax.vmap."),
    ],
)
def test_a_time_of_each_is_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        solve(PRIMITIVE, *draw(PRIMITIVE, (3,), 2), **options)


def test_shapes_that_do_not_fit_are_refused():
    goal, weights, y0, dy0 = draw(PRIMITIVE, (3,), 2)
    with pytest.raises(ValueError, match="weights has 5 basis functions but dmp.n_basis is 6"):
        solve(PRIMITIVE, goal, weights[..., :5], y0, dy0)
    with pytest.raises(ValueError, match=r"degrees of freedom differ \(goal 2, y0 1"):
        solve(PRIMITIVE, goal, weights, y0[..., :1], dy0)
