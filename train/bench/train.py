"""Updates of a training, learning included, and what they are spent on."""

import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import jax
import numpy as np
from brax.envs.base import State
from jaxtyping import PRNGKeyArray

from configs import TrainConfig
from train.bench.learners import Enough, Learn, contestants
from train.bench.sizes import Sizes
from train.bench.suite import Case, Row, Suite, accelerated, attempt, compiled, seconds, suffice
from train.rl import memory
from train.rl.agent import hyperparameters, make_env
from train.rl.ppo import make_learner

PARTS = ("physics", "policy", "learning")

UNTIMED = 2
"""First updates of others, in which they compile."""


def measure(sizes: Sizes) -> Iterator[Row]:
    """Every task in every number of environments."""
    usual = (1024, 4096, 8192) if accelerated() else (64, 256) if sizes.thorough else ()
    for config in sizes.configs(*usual):
        case = {"": config.task, "environments": config.num_envs}
        for way, package, learn, chosen in contestants(config, sizes.impls):
            by = partial(measure_peer, learn=learn) if package else measure_ours
            yield attempt(case, way, partial(by, case, way, chosen), package=package)


def measure_ours(case: Case, way: str, config: TrainConfig) -> Row:
    """An update of ours, and its parts: the physics are as many steps under random actions, the
    policy is what else is done until the batch is there."""
    env = make_env(config)
    memory.check_run(env, config)
    learner = make_learner(env, config)

    def play(start: State, key: PRNGKeyArray) -> State:
        def step(state: State, key: PRNGKeyArray) -> tuple[State, None]:
            shape, limit = (config.num_envs, env.action_size), env.action_limit
            action = jax.random.uniform(key, shape, minval=-limit, maxval=limit)
            return jax.vmap(env.step)(state, action), None

        return jax.lax.scan(step, start, jax.random.split(key, config.rollout_steps))[0]

    state = jax.jit(learner.init)(jax.random.key(config.seed), hyperparameters(config))
    update, compilation = compiled(learner.update, state)
    state, _ = update(state)
    collect, _ = compiled(learner.collect, state)
    inputs = state.episodes.state, jax.random.key(0)
    physics, _ = compiled(play, *inputs)
    whole, collection, steps = map(
        seconds, (lambda: update(state), lambda: collect(state), lambda: physics(*inputs))
    )
    parts = np.diff([0.0, *map(np.median, (steps, collection, whole))]) / np.median(whole)
    more = dict(zip(PARTS, parts.tolist(), strict=True)) | {"compiles": compilation}
    return Row(case, way, whole, config.steps_per_update, more)


def measure_peer(case: Case, way: str, config: TrainConfig, *, learn: Learn) -> Row:
    """Updates of somebody else."""
    ends: list[float] = []

    def laps() -> tuple[float, ...]:
        return tuple(np.diff(ends[UNTIMED - 1 :]).tolist())

    def watch(success: float) -> None:
        ends.append(time.perf_counter())
        if suffice(laps()):
            raise Enough

    with suppress(Enough):
        learn(config, watch)
    return Row(case, way, laps(), config.steps_per_update)


SUITE = Suite(
    title="Updates of a training, learning included",
    unit="steps/s",
    ours=("ndp C", "ndp MJX"),
    measure=measure,
    more=dict.fromkeys(PARTS, "{:.0%}") | {"compiles": "{:.0f} s"},
    about="brax steps with MJX, stable-baselines3 with C; both have the network, the batch, its 10 "
    "passes and 32 minibatches, and ask the policy in every step, as ppo does.",
)
