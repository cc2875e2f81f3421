"""C MuJoCo, called from XLA's threads, makes no program wait for ever.

A callback may not wait for work that XLA would do on the thread it runs on. So here programs are
queued without waiting for them, on one core, on one device and on eight, for batches of which XLA
computes all or nothing in parallel.
"""

import os
import subprocess
import sys

import pytest

# Compiling takes most of it; a busy machine may need ten times as long as an idle one.
SECONDS = 1200

PROGRAM = """
import os, sys
import jax
import jax.numpy as jnp
import envs

task, batch, cores = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if cores == "one" and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
env = envs.make(task, impl="c")

def play(keys):
    def step(state, key):
        shape = (*keys.shape, env.action_size)
        action = jax.random.uniform(key, shape, minval=-1)
        state = map_step(state, action)
        return state, state.obs @ jnp.ones((env.observation_size, 256))

    map_reset, map_step = jax.vmap(env.reset), jax.vmap(env.step)
    if keys.ndim > 1:
        map_reset, map_step = jax.vmap(map_reset), jax.vmap(map_step)
    return jax.lax.scan(step, map_reset(keys), jax.random.split(jax.random.key(1), 5))

devices = len(jax.devices())
keys = jax.random.split(jax.random.key(0), batch)
if devices > 1:
    spec = jax.sharding.PartitionSpec("devices")
    mesh = jax.make_mesh((devices,), ("devices",), axis_types=(jax.sharding.AxisType.Auto,))
    outs = (spec, jax.sharding.PartitionSpec(None, "devices"))
    play = jax.shard_map(play, mesh=mesh, in_specs=spec, out_specs=outs, check_vma=False)
elif batch > 1:
    keys = keys.reshape(2, -1)  # a sweep
program = jax.jit(play)
results = [program(keys) for _ in range(3)]
jax.block_until_ready(results)
for final, _ in results:
    assert jnp.all(final.metrics["nan"] == 0)
assert jax.tree.all(jax.tree.map(lambda a, b: jnp.array_equal(a, b), results[0], results[2]))
"""


def run(task, batch, cores, *, devices=1):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    subprocess.run(
        [sys.executable, "-c", PROGRAM, task, str(batch), cores],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        timeout=SECONDS,
        check=True,
    )


@pytest.mark.parametrize("cores", ["one", "all"])
def test_a_sweep_of_128_runs(cores):
    run("push", 128, cores)


@pytest.mark.slow
@pytest.mark.parametrize("cores", ["one", "all"])
@pytest.mark.parametrize("batch", [1, 2, 64, 512, 4096])
@pytest.mark.parametrize("task", ["push", "pick"])
def test_every_batch_runs(task, batch, cores):
    run(task, batch, cores)


@pytest.mark.slow
@pytest.mark.parametrize("cores", ["one", "all"])
@pytest.mark.parametrize("batch", [8, 512, 4096])
def test_eight_devices_run(batch, cores):
    run("push", batch, cores, devices=8)
