"""The supervised learner: passes, learning rate, what is not finite, and what it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import Descent
from train.imitation.learner import make_learner

EXAMPLES = 10


def regression(variables, batch, key):
    """Mean squared error of a linear model."""
    del key
    params = variables["params"]
    return jnp.mean((batch["x"] @ params["slope"] + params["offset"] - batch["y"]) ** 2)


@pytest.fixture
def lines():
    """Examples of an exact linear law."""
    x = np.random.default_rng(0).normal(size=(EXAMPLES, 2)).astype(np.float32)
    return {"x": jnp.asarray(x), "y": jnp.asarray(x @ [2.0, -3.0] + 0.5, jnp.float32)}


def blank():
    return {"params": {"slope": jnp.zeros(2), "offset": jnp.zeros(())}, "fixed": jnp.ones(3)}


def descend(descent, examples, *, loss=regression, seed=0, steps=None, variables=None):
    """All states, from the first on, and all metrics."""
    learner = make_learner(loss, descent, examples=EXAMPLES)
    states = [learner.init(variables or blank(), jax.random.key(seed))]
    rows, update = [], jax.jit(learner.update)
    for _ in range(steps or descent.steps):
        state, row = update(states[-1], examples)
        states.append(state)
        rows.append(row)
    return states, rows


def visited(*, batch, seed=0, steps=9):
    """The examples of every minibatch, in the order of steps."""
    numbers = {"number": jnp.arange(EXAMPLES)}

    def loss(variables, minibatch, key):
        weights = 2.0 ** minibatch["number"]  # of examples in the gradient, which sums them
        return variables["params"]["p"] * jnp.sum(weights)

    descent = Descent(steps=steps, batch=batch)
    variables = {"params": {"p": jnp.zeros(())}}
    _, rows = descend(descent, numbers, loss=loss, seed=seed, variables=variables)
    sums = [round(float(row["gradient_norm"])) for row in rows]
    return [{n for n in range(EXAMPLES) if total >> n & 1} for total in sums]


def test_a_pass_visits_every_example_once_and_passes_differ():
    batches = visited(batch=2, steps=15)
    passes = [batches[first : first + 5] for first in (0, 5, 10)]
    for one in passes:
        assert all(len(batch) == 2 for batch in one)
        assert set.union(*one) == set(range(EXAMPLES))
    assert passes[0] != passes[1] != passes[2]
    assert visited(batch=2, steps=15, seed=1) != batches


def test_what_fills_no_minibatch_waits_for_the_next_pass():
    batches = visited(batch=4, steps=20)
    for first in range(0, 20, 2):
        assert len(set.union(*batches[first : first + 2])) == 8
    assert set.union(*batches) == set(range(EXAMPLES))


def test_a_minibatch_is_at_most_all_examples():
    assert visited(batch=100, steps=2) == [set(range(EXAMPLES))] * 2


def test_the_learning_rate_falls_along_half_a_cosine_to_zero(lines):
    """With a constant gradient Adam's steps are as long as the rate; beyond the end it stays 0."""
    descent = Descent(steps=20, batch=5, learning_rate=0.1)

    def constant(variables, batch, key):
        return variables["params"]["offset"]

    states, _ = descend(descent, lines, loss=constant, steps=24)
    offsets = np.array([state.variables["params"]["offset"] for state in states])
    expected = 0.05 * (1 + np.cos(np.pi * np.minimum(np.arange(24) / 20, 1)))
    np.testing.assert_allclose(-np.diff(offsets), expected, atol=1e-5)
    np.testing.assert_array_equal(offsets[20:], offsets[20])
    assert states[-1].steps == 24


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_minibatch_that_is_not_finite_changes_nothing_and_is_counted(lines, poison):
    poisoned = lines | {"y": lines["y"].at[3].set(poison)}
    states, rows = descend(Descent(steps=15, batch=2), poisoned)
    skipped, in_a_row = 0, 0
    for before, after, row in zip(states, states[1:], rows, strict=False):
        bad = not np.isfinite(row["loss"])
        skipped, in_a_row = skipped + bad, in_a_row + 1 if bad else 0
        assert (after.skipped_minibatches, after.skipped_in_a_row) == (skipped, in_a_row)
        kept = [
            bool(jnp.all(one == other))
            for one, other in zip(
                jax.tree.leaves((before.variables["params"], before.optimizer)),
                jax.tree.leaves((after.variables["params"], after.optimizer)),
                strict=True,
            )
        ]
        assert all(kept) if bad else not all(kept)
        assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(after.variables))
    assert skipped == 3, "once in each pass"


def test_a_gradient_that_is_not_finite_is_skipped_though_the_loss_is(lines):
    def edge(variables, batch, key):
        return jnp.sum(jnp.sqrt(jnp.abs(variables["params"]["slope"])))

    states, rows = descend(Descent(steps=3, batch=2), lines, loss=edge)
    assert all(np.isfinite(row["loss"]) for row in rows)
    assert states[-1].skipped_in_a_row == 3
    np.testing.assert_array_equal(states[-1].variables["params"]["slope"], 0)


def test_it_learns_the_exact_answer(lines):
    states, rows = descend(Descent(steps=400, batch=5, learning_rate=0.1), lines)
    learned = states[-1].variables
    np.testing.assert_allclose(learned["params"]["slope"], [2, -3], atol=1e-3)
    np.testing.assert_allclose(learned["params"]["offset"], 0.5, atol=1e-3)
    np.testing.assert_array_equal(learned["fixed"], 1)
    assert rows[-1]["loss"] < 1e-6 < rows[0]["loss"]


def test_every_step_has_a_key_of_its_own(lines):
    def noise(variables, batch, key):
        return 0 * variables["params"]["offset"] + jax.random.normal(key)

    _, rows = descend(Descent(steps=12, batch=2), lines, loss=noise)
    assert len({float(row["loss"]) for row in rows}) == 12


def test_seeds_and_rates_side_by_side_learn_as_alone(lines):
    descent = Descent(steps=12, batch=3, learning_rate=0.1)
    learner = make_learner(regression, descent, examples=EXAMPLES)
    rates = jnp.array([0.1, 0.03, 0.01])

    def init(seed, rate):
        return learner.init(blank(), jax.random.key(seed)).replace(learning_rate=rate)

    together = jax.vmap(init)(jnp.arange(3), rates)
    update = jax.jit(jax.vmap(learner.update, in_axes=(0, None)))
    for _ in range(12):
        together, _ = update(together, lines)
    for seed in range(3):
        alone = init(seed, rates[seed])
        for _ in range(12):
            alone, _ = jax.jit(learner.update)(alone, lines)
        np.testing.assert_array_equal(together.order[seed], alone.order)
        jax.tree.map(
            lambda one, many, seed=seed: np.testing.assert_allclose(many[seed], one, rtol=1e-5),
            alone.variables,
            together.variables,
        )
