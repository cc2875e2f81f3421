"""No batch makes a program wait for ever."""

import os
import subprocess
import sys

import pytest

import envs
from envs.limits import largest_batch

# Compiling takes most of it; a busy machine may need ten times as long as an idle one.
SECONDS = 1200

PROGRAM = """
import sys
import jax
import jax.numpy as jnp
import envs

task, batch = sys.argv[1], int(sys.argv[2])
env = envs.make(task)
keys = jax.random.split(jax.random.key(0), batch)
state = jax.jit(jax.vmap(env.reset))(keys)
step = jax.jit(jax.vmap(env.step))
limit = env.action_limit
for time in range(4):
    shape = (batch, env.action_size)
    action = jax.random.uniform(jax.random.key(time), shape, minval=-limit, maxval=limit)
    state = step(state, action)
assert jnp.all(jnp.isfinite(state.obs)) and state.obs.shape[0] == batch
"""


@pytest.mark.slow
@pytest.mark.parametrize("batch", [16, 64, 256, 1024])
@pytest.mark.parametrize("task", envs.TASKS)
def test_every_batch_runs(task, batch):
    limit = largest_batch(task)
    if limit and batch > limit:
        pytest.skip(f"{batch} environments of {task} are refused here")
    subprocess.run(
        [sys.executable, "-c", PROGRAM, task, str(batch)],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        timeout=SECONDS,
        check=True,
    )
