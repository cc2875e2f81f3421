import dataclasses
import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from probes import CONFIG

from configs import PRESETS
from configs.fields import replaced
from train.rl.agent import hyperparameters, make_env
from train.rl.evaluate import batch_keys, make_player
from train.rl.population import make_programs, map_blocks
from train.rl.ppo import make_learner

ENV = probes.RewardFromBoth()
CONFIGS = [
    dataclasses.replace(CONFIG, seed=seed, ppo=dataclasses.replace(CONFIG.ppo, learning_rate=rate))
    for rate in (1e-3, 1e-2)
    for seed in (0, 1, 2)
]


@functools.cache
def programs_of(slots):
    return make_programs(ENV, CONFIGS, slots=slots)


def advanced(programs, updates):
    population = programs.init()
    for _ in range(updates):
        population, metrics = programs.update(population)
    return population, metrics


def member(population, number):
    (seat,) = np.argwhere(np.asarray(population.member) == number)
    return jax.tree.map(lambda leaf: leaf[tuple(seat)], population.states)


@functools.cache
def learner():
    """For all: they differ in nothing that is compiled."""
    learner = make_learner(ENV, CONFIG)
    return jax.jit(learner.init), jax.jit(learner.update)


def alone(config, updates):
    init, update = learner()
    state = init(jax.random.key(config.seed), hyperparameters(config))
    for _ in range(updates):
        state, _ = update(state)
    return state


@pytest.mark.slow
@pytest.mark.parametrize("slots", [4, 6])
def test_a_member_is_a_run_of_its_own(slots):
    """Batched products add up in another order: equal but for rounding, however many at once."""
    population, metrics = advanced(programs_of(slots), 4)
    for number in (0, 4):
        state, expected = member(population, number), alone(CONFIGS[number], 4)
        for part in ("params", "observation", "reward", "hyper"):
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
                getattr(state, part),
                getattr(expected, part),
            )
        assert state.updates == expected.updates == 4
    assert metrics["kl"].shape == population.member.shape == (-(-6 // slots), slots)


@pytest.mark.slow
def test_a_member_of_push_is_a_run_of_its_own():
    """Small updates, so that contact has not yet multiplied the difference in rounding."""
    small = replaced(PRESETS["push"], {"num_envs": 16, "epochs": 2, "minibatches": 4})
    configs = [replaced(small, {"seed": seed, "alpha": 5.0 + seed}) for seed in range(3)]
    env = make_env(small)
    population, _ = advanced(make_programs(env, configs, slots=3), 3)
    learner = make_learner(env, configs[2])
    state = jax.jit(learner.init)(jax.random.key(2), hyperparameters(configs[2]))
    for _ in range(3):
        state, _ = jax.jit(learner.update)(state)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5),
        member(population, 2).params,
        state.params,
    )


@pytest.mark.slow
def test_an_evaluation_is_a_runs():
    programs = programs_of(4)
    population, _ = advanced(programs, 3)
    (key,) = batch_keys(jax.random.key(5), episodes=8, num_envs=8)
    outcome = programs.evaluate(population, jnp.broadcast_to(key, (2, 4)), True)
    play = make_player(ENV, CONFIGS[2])
    expected = play(member(population, 2), jax.random.key(5), episodes=8, stochastic=True)
    assert outcome.returns.shape == (2, 4, CONFIG.num_envs)
    np.testing.assert_allclose(outcome.returns[0, 2], expected.returns, rtol=1e-5)


@pytest.mark.slow
def test_only_active_blocks_are_trained():
    programs = programs_of(2)
    population, _ = advanced(programs, 1)
    before = jax.tree.map(np.asarray, population.states.params)
    population = programs.keep(population, np.array([4, 5, 0, 1, 2, 3]), 1)
    np.testing.assert_array_equal(population.member, [[4, 5], [0, 1], [2, 3]])
    population, metrics = programs.update(population)
    after = population.states
    np.testing.assert_array_equal(after.updates, [[2, 2], [1, 1], [1, 1]])
    order = [2, 0, 1]
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after.params), strict=True):
        np.testing.assert_array_equal(old[order][1:], new[1:])
        assert np.any(old[order][0] != new[0])
    assert np.all(metrics["kl"][0] > 0) and not np.any(metrics["kl"][1:])


def test_one_program_serves_every_number_of_active_blocks():
    programs = programs_of(2)
    population, _ = advanced(programs, 2)
    order = np.arange(6)
    for active in (3, 2, 1):
        population = programs.keep(population, order, active)
        population, _ = programs.update(population)
        programs.evaluate(population, jax.random.split(jax.random.key(0), (3, 2)), False)
    assert programs.update._cache_size() == 1


def test_blocks_beyond_the_active_ones_stay_and_tell_nothing():
    def fn(block):
        return block + 1, {"sum": jnp.sum(block), "count": jnp.ones((), jnp.int32)}

    tree, told = map_blocks(fn, jnp.asarray(2), jnp.arange(6.0).reshape(3, 2))
    np.testing.assert_array_equal(tree, [[1, 2], [3, 4], [4, 5]])
    np.testing.assert_array_equal(told["sum"], [1, 5, 0])
    np.testing.assert_array_equal(told["count"], [1, 1, 0])


DEVICES = """
import sys, jax, numpy as np
sys.path[:0] = sys.argv[1:]
import test_population as tests
from train.system.devices import choose
from train.rl.population import make_programs
found = [
    tests.advanced(make_programs(tests.ENV, tests.CONFIGS[:4], slots=4, mesh=choose(devices)), 3)[0]
    for devices in (1, 4)
]
leaves = jax.tree.leaves(found[1].states.params)
assert all(len(leaf.sharding.device_set) == 4 for leaf in leaves)
assert all(leaf.addressable_shards[0].data.shape[1] == 1 for leaf in leaves)
jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    *(population.states.params for population in found),
)
"""


@pytest.mark.slow
def test_members_may_be_spread_over_devices():
    flags = "--xla_force_host_platform_device_count=4"
    subprocess.run(
        [sys.executable, "-c", DEVICES, *map(str, Path(__file__).parents[:2])],
        env=os.environ | {"XLA_FLAGS": flags},
        check=True,
    )
