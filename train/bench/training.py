"""Speed of training, and what it is spent on."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
from brax.envs.base import State
from jaxtyping import PRNGKeyArray
from rich.console import Console
from rich.table import Column, Table

from configs import TrainConfig
from train.bench.speed import compiled, machine, seconds
from train.rl import memory
from train.rl.agent import hyperparameters, make_env
from train.rl.ppo import make_learner


class Update(NamedTuple):
    """Seconds of an update.

    Attributes:
      compilation: to compile it.
      whole: it takes.
      collection: of it, until the batch is there.
      physics: of as many steps of the environments under random actions.
    """

    compilation: float
    whole: float
    collection: float
    physics: float


def bench_training(configs: Sequence[TrainConfig], *, console: Console) -> None:
    """Prints what an update takes, and what of it are physics, policy and learning."""
    console.print(machine())
    columns = ("compiles in", "update", "physics", "policy", "learning", "steps/s")
    environments = Column("environments", no_wrap=True)
    table = Table("task", environments, *columns, title="Training: an update and its parts")
    for config in configs:
        update = time_update(config)
        policy, learning = update.collection - update.physics, update.whole - update.collection
        shares = [
            f"{100 * part / update.whole:.0f} %" for part in (update.physics, policy, learning)
        ]
        speed = config.steps_per_update / update.whole
        times = f"{update.compilation:.0f} s", f"{update.whole:.2f} s"
        table.add_row(config.task, f"{config.num_envs}", *times, *shares, f"{speed:,.0f}")
        console.print(f"Measured {config.task}, {config.num_envs} environments")
    console.print(table)


def time_update(config: TrainConfig) -> Update:
    """Compiles an update and its parts, and runs them."""
    env = make_env(config)
    memory.check_run(env, config)
    learner = make_learner(env, config)

    def play(start: State, key: PRNGKeyArray) -> State:
        def step(state: State, key: PRNGKeyArray) -> tuple[State, None]:
            shape, limit = (config.num_envs, env.action_size), env.action_limit
            action = jax.random.uniform(key, shape, minval=-limit, maxval=limit)
            return jax.vmap(env.step)(state, action), None

        return jax.lax.scan(step, start, jax.random.split(key, config.rollout_steps))[0]

    state = jax.jit(learner.init)(jax.random.key(0), hyperparameters(config))
    update, compilation = compiled(learner.update, state)
    state, _ = update(state)
    collect, _ = compiled(learner.collect, state)
    inputs = state.episodes.state, jax.random.key(0)
    physics, _ = compiled(play, *inputs)
    return Update(
        compilation=compilation,
        whole=seconds(lambda: update(state)),
        collection=seconds(lambda: collect(state)),
        physics=seconds(lambda: physics(*inputs)),
    )
