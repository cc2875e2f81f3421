"""Compares one device with eight, in a process that has eight: python spreading.py probe|push."""

import dataclasses
import json
import re
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from train.system import runtime

if __name__ == "__main__":
    runtime.prepare()

import probes

from configs import PPO, PRESETS
from train.rl.agent import hyperparameters, make_env
from train.rl.ppo import make_learner, place
from train.system import devices

PROBE = dataclasses.replace(probes.CONFIG, num_envs=16)
PUSH = dataclasses.replace(PRESETS["push"], num_envs=16, ppo=PPO(epochs=2, minibatches=4))

compilations = []


def count(event, duration, **_):
    """A listener of JAX's: one entry for every program that is compiled or read from the cache."""
    if event == "/jax/core/compile/backend_compile_duration":
        compilations.append(duration)


def largest(ours, theirs):
    """Largest absolute difference between two pytrees."""
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return max(float(np.max(np.abs(np.asarray(a) - np.asarray(b)))) for a, b in pairs)


def precise(state):
    """In float64 throughout, and typed as an update leaves it."""
    return jax.tree.map(
        lambda x: x.astype(float) if jnp.issubdtype(x.dtype, jnp.floating) else x, state
    )


def train(env, config, mesh, *, updates):
    """The last state; what was learned after each update; a gradient; what was compiled."""
    learner = make_learner(env, config, mesh=mesh)
    state = jax.jit(learner.init)(jax.random.key(0), hyperparameters(config))
    if jax.config.jax_enable_x64:
        state = jax.jit(partial(place, mesh=mesh))(precise(state))
        shapes = jax.eval_shape(learner.update, state)[0]
        state = jax.tree.map(
            lambda x, y: x if x.dtype == y.dtype else x.astype(y.dtype), state, shapes
        )
    collect = jax.jit(learner.collect).lower(state).compile()
    _, batch = collect(state)

    @jax.jit
    def gradient(params, batch):
        batch = devices.spread(batch, mesh)
        return jax.grad(learner.loss, has_aux=True)(params, state.obs_stats, batch, state.hyper)[0]

    slope = jax.device_get(gradient(state.params, batch))
    update = jax.jit(learner.update, donate_argnums=0)
    states, before = [], len(compilations)
    for _ in range(updates):
        state, _ = update(state)
        learned = state.params, state.optimizer
        states.append(jax.device_get((learned, state.obs_stats, state.reward.stats)))
    return state, states, slope, len(compilations) - before, waits(collect.as_text())


def waits(program):
    """Names of the operations that wait for other devices, and repeat."""
    found = re.findall(r"(?:all-|collective-|reduce-scatter).*op_name=\"([^\"]*)\"", program)
    return [name for name in found if "/while/body" in name]


def main(what, updates):
    env, config = (probes.RewardFromBoth(), PROBE) if what == "probe" else (make_env(PUSH), PUSH)
    mesh = devices.choose(8)
    one, many = (train(env, config, mesh, updates=updates) for mesh in (None, mesh))
    where = jax.tree.leaves(many[0].episodes.state)
    return {
        "parameters": [largest(a[0], b[0]) for a, b in zip(one[1], many[1], strict=True)],
        "observation": [largest(a[1], b[1]) for a, b in zip(one[1], many[1], strict=True)],
        "reward": [largest(a[2], b[2]) for a, b in zip(one[1], many[1], strict=True)],
        "gradient": largest(one[2], many[2]),
        "compiled": [one[3], many[3]],
        "environments per device": sorted(
            {leaf.addressable_data(0).shape[0] for leaf in where if leaf.size}
        ),
        "devices": len(many[0].episodes.alive.sharding.device_set),
        "waiting in loops": many[4],
    }


if __name__ == "__main__":
    jax.monitoring.register_event_duration_secs_listener(count)
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
