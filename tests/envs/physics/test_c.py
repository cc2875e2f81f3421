"""C MuJoCo behind our environments: what it computes, and that nothing else gets into it."""

import copy
import functools
import gc
import multiprocessing
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import envs
from envs.physics import c
from envs.physics.model import without_visuals

BATCH = 12
PUSH = Path(envs.__file__).parent / "assets" / "push.xml"


@functools.cache
def make(task):
    env = envs.make(task, impl="c")
    return env, jax.jit(jax.vmap(env.reset)), jax.jit(jax.vmap(env.step))


def actions(env, count, *, seed=0, batch=BATCH):
    shape, limit = (count, batch, env.action_size), env.action_limit
    return jax.random.uniform(jax.random.key(seed), shape, minval=-limit, maxval=limit)


@pytest.fixture(scope="module")
def push():
    return make("push")


@pytest.fixture(scope="module")
def moving(push):
    """A batch in motion, the actions it gets next, and where these lead."""
    env, reset, step = push
    first, then = actions(env, 2)
    state = step(reset(jax.random.split(jax.random.key(0), BATCH)), first)
    return state, then, step(state, then)


def assert_same_bits(tree, other):
    jax.tree.map(np.testing.assert_array_equal, tree, other)


def lane(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def plain_steps(env, before, commanded):
    """The path of one control step in a loop of `mj_step`, on the model that is also drawn."""
    model, data, path = env.mj_model, mujoco.MjData(env.mj_model), []
    data.time, data.qpos[:], data.qvel[:] = before.time, before.qpos, before.qvel
    data.mocap_pos[:] = commanded.mocap_pos
    for progress in np.arange(1, 6) / 5:
        data.ctrl[:] = before.ctrl + progress * (commanded.ctrl - before.ctrl)
        mujoco.mj_step(model, data)
        path.append((data.time, data.qpos.copy(), data.qvel.copy()))
    return path


@pytest.mark.parametrize("task", ["push", "pick", "faucet"])
def test_in_float64_it_steps_as_plain_mujoco_does(task):
    with jax.enable_x64(True):
        env = envs.make(task, impl="c")
        state = jax.jit(env.reset)(jax.random.key(0))
        for action in actions(env, 4)[:, 0]:
            before = state.pipeline_state
            commanded = env.command(before, action)
            path = env._physics.step(before, commanded)
            assert path["qpos"].dtype == np.float64
            for index, (time, qpos, qvel) in enumerate(plain_steps(env, before, commanded)):
                np.testing.assert_allclose(path["time"][index], time)
                np.testing.assert_allclose(path["qpos"][index], qpos, atol=1e-10)
                np.testing.assert_allclose(path["qvel"][index], qvel, atol=1e-8)
            state = state.replace(pipeline_state=commanded.replace(**lane(path, -1)))


def test_the_state_keeps_its_kind(push):
    env, *_ = push
    state = jax.eval_shape(env.reset, jax.random.key(0))
    after = jax.eval_shape(env.step, state, jax.ShapeDtypeStruct((3,), jnp.float32))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(
        lambda x: (x.shape, x.dtype), after
    )


def test_the_state_is_that_of_mjx(push):
    """So that a run may go on with the other one."""
    env, *_ = push
    mjx = envs.make("push", impl="jax")
    kinds = [
        jax.tree.map(lambda x: (x.shape, x.dtype), jax.eval_shape(one.reset, jax.random.key(0)))
        for one in (env, mjx)
    ]
    assert kinds[0] == kinds[1]


def test_time_passes(push, moving):
    env, *_ = push
    np.testing.assert_allclose(moving[2].pipeline_state.time, 2 * env.dt, rtol=1e-6)


# The same state and action give the same bits, whatever else there is.


def test_what_was_stepped_before_changes_no_bit(push, moving):
    env, reset, step = push
    state, then, after = moving
    other = reset(jax.random.split(jax.random.key(7), BATCH))
    for action in actions(env, 3, seed=1):
        other = step(other, action)
    assert_same_bits(step(state, then), after)


def test_a_state_from_elsewhere_goes_on_with_the_same_bits(moving):
    """Everything that a step starts from is in the state."""
    state, then, after = moving
    restored = pickle.loads(pickle.dumps(jax.device_get(state)))
    fresh = envs.make("push", impl="c")
    assert_same_bits(jax.jit(jax.vmap(fresh.step))(restored, then), after)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_no_bit(moving, threads):
    state, then, after = moving
    env = envs.make("push", impl="c", threads=threads)
    assert env.threads == threads
    assert_same_bits(jax.jit(jax.vmap(env.step))(state, then), after)


def test_places_in_the_batch_change_no_bit_of_the_physics(push, moving):
    env, *_ = push
    state, then, _ = moving
    before = state.pipeline_state
    commanded = jax.vmap(env.command)(before, then)
    path = jax.vmap(env._physics.step)(before, commanded)
    order = np.random.default_rng(0).permutation(BATCH)
    shuffled = jax.vmap(env._physics.step)(*lane((before, commanded), order))
    assert_same_bits(shuffled, lane(path, order))
    alone = env._physics.step(*lane((before, commanded), 5))
    assert_same_bits(alone, lane(path, 5))
    nested = jax.tree.map(lambda leaf: leaf.reshape(3, 4, *leaf.shape[1:]), (before, commanded))
    swept = jax.vmap(jax.vmap(env._physics.step))(*nested)
    assert_same_bits(jax.tree.map(lambda leaf: leaf.reshape(BATCH, *leaf.shape[2:]), swept), path)


def test_one_command_for_many_states(push, moving):
    """Inputs that are not batched are those of all."""
    env, *_ = push
    before = moving[0].pipeline_state
    commanded = lane(before, 0)
    path = jax.vmap(env._physics.step, in_axes=(0, None))(before, commanded)
    alone = env._physics.step(lane(before, 4), commanded)
    assert_same_bits(lane(path, 4), alone)


def test_batches_stepped_at_the_same_time_do_not_meet(push, moving):
    """As several devices of one process do it."""
    state, then, after = moving
    _, _, step = push
    with ThreadPoolExecutor(8) as pool:
        for result in pool.map(lambda _: step(state, then), range(40)):
            assert_same_bits(result, after)


# Numbers that are not finite.


STRUCK = np.isin(np.arange(BATCH), (1, 2, 3, 4, 6, 7))


@pytest.fixture
def struck(push, moving, tmp_path, monkeypatch):
    """The step with bad actions, states, and one so fast that it diverges."""
    monkeypatch.chdir(tmp_path)  # where MuJoCo writes its log
    _, _, step = push
    state, then, _ = moving
    physics = state.pipeline_state
    qvel = physics.qvel.at[2, 0].set(jnp.nan).at[3, 8].set(1e30).at[6, 2].set(1e6)
    qpos = physics.qpos.at[4, 3].set(jnp.inf)
    mocap_pos = physics.mocap_pos.at[7, 0, 0].set(jnp.nan)
    broken = physics.replace(qvel=qvel, qpos=qpos, mocap_pos=mocap_pos)
    return step(state.replace(pipeline_state=broken), then.at[1].set(jnp.nan))


def test_the_guard_ends_the_broken_episodes_and_no_other(struck):
    np.testing.assert_array_equal(struck.metrics["nan"], STRUCK)
    np.testing.assert_array_equal(struck.done, STRUCK)
    np.testing.assert_array_equal(struck.reward[STRUCK], 0)
    for leaf in jax.tree.leaves(struck):
        assert jnp.all(jnp.isfinite(leaf))


def test_the_other_episodes_keep_their_bits(struck, moving):
    assert_same_bits(lane(struck, ~STRUCK), lane(moving[2], ~STRUCK))


def test_the_guard_keeps_the_last_finite_physics(struck, moving):
    before = moving[0].pipeline_state
    np.testing.assert_array_equal(struck.pipeline_state.qpos[1], before.qpos[1])
    np.testing.assert_array_equal(struck.pipeline_state.time[1], before.time[1])


def test_broken_episodes_go_on(push, struck):
    env, _, step = push
    after = step(struck, jnp.zeros((BATCH, env.action_size)))
    assert jnp.all(after.metrics["nan"][np.array([1, 2, 3, 4, 7])] == 0)


def test_a_batch_of_nothing_but_nan_ends(push, moving):
    _, _, step = push
    state, then, _ = moving
    assert jnp.all(step(state, jnp.full_like(then, jnp.nan)).metrics["nan"] == 1)


# Threads and copies.


def threads_of_this_process():
    return len(os.listdir("/proc/self/task"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted on Linux")
def test_threads_start_when_needed_and_end_with_the_object(push, moving):
    env, *_ = push
    state, then, _ = moving
    before = jax.device_get(state.pipeline_state)
    before_any = threads_of_this_process()
    physics = c.make(without_visuals(PUSH), substeps=5, threads=5)
    assert threads_of_this_process() == before_any
    start = np.concatenate([before.time[:, None], before.qpos, before.qvel], axis=1).astype(float)
    physics._roll(start, np.zeros((BATCH, 5, 6)))
    assert threads_of_this_process() == before_any + 5
    del physics
    gc.collect()
    assert threads_of_this_process() == before_any


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_step_on(push, moving, copied):
    env, *_ = push
    state, then, after = moving
    assert_same_bits(jax.jit(jax.vmap(copied(env).step))(state, then), after)


def rest(env):
    state = jax.jit(env.reset)(jax.random.key(0))
    return np.asarray(jax.jit(env.step)(state, jnp.zeros(env.action_size)).obs)


@pytest.mark.slow
def test_a_spawned_process_steps_what_it_is_sent(push):
    env, *_ = push
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(rest, (env,)), rest(env))


# Rewards.


def test_pick_pays_for_where_things_are_after_each_substep():
    env, reset, step = make("pick")
    state = reset(jax.random.split(jax.random.key(0), BATCH))
    for time in range(55):
        before, state = state, step(state, envs.pick.scripted(state))
        if time not in (30, 35, 45):
            continue
        for index in range(3):
            path = plain_steps(env, *lane((before.pipeline_state, state.pipeline_state), index))
            heights = sum(qpos[11] for _, qpos, _ in path if qpos[11] >= 0.08)
            np.testing.assert_allclose(state.reward[index], heights, rtol=1e-4)
    assert jnp.all(state.metrics["success"] == 1)
