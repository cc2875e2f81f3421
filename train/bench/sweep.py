"""Members of a sweep, trained as one program or one after another."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax

from train.bench.sizes import Sizes
from train.bench.suite import Row, Suite, accelerated, compiled, seconds
from train.rl import memory
from train.rl.agent import hyperparameters, make_env
from train.rl.population import make_programs
from train.rl.ppo import make_learner

ON_CPU, ON_ACCELERATOR = (4, 16), (4, 16, 64)


def measure(sizes: Sizes) -> Iterator[Row]:
    """An update of every training, in sweeps of every number of members."""
    for config in sizes.configs():
        env = make_env(config)
        for members in sizes.members or (ON_ACCELERATOR if accelerated() else ON_CPU):
            memory.check_members(env, config, members)
            case = {"": config.task, "environments each": config.num_envs, "members": members}
            configs = [dataclasses.replace(config, seed=seed) for seed in range(members)]
            programs, learner = (
                make_programs(env, configs, slots=members),
                make_learner(env, config),
            )
            alone = jax.jit(learner.init)(jax.random.key(0), hyperparameters(config))
            for way, update, state, count in (
                ("together", programs.update, programs.init(), members),
                ("one by one", learner.update, alone, 1),
            ):
                times, compilation = updates(update, state)
                more = {"compiles": compilation}
                yield Row(case, way, times, count * config.steps_per_update, more)


def updates(
    update: Callable[[Any], tuple[Any, Any]], state: Any
) -> tuple[tuple[float, ...], float]:
    """Seconds of updates that follow each other, and those to compile one."""
    program, compilation = compiled(update, state, donate=True)

    def run() -> Any:
        nonlocal state
        state, _ = program(state)
        return state

    return seconds(run), compilation


SUITE = Suite(
    title="An update of members of a sweep",
    unit="steps/s",
    ours=("together",),
    measure=measure,
    more={"compiles": "{:.0f} s"},
    about='"one by one": the time of one member.',
)
