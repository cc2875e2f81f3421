"""Wall time of trainings until they succeed, compiling included."""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import numpy as np

from configs import TrainConfig
from train.bench.learners import Enough, Learn, contestants
from train.bench.sizes import Sizes
from train.bench.suite import Case, Row, Suite, attempt
from train.system.errors import UserError

SUCCESS, SEEDS = 0.8, 3
"""Of an update's exploring episodes, and how many trainings there are of each kind."""


def measure(sizes: Sizes) -> Iterator[Row]:
    """Every task in every number of environments."""
    for config in sizes.configs():
        case = {"": f"{config.task} to {SUCCESS:.0%} success", "environments": config.num_envs}
        for way, package, learn, chosen in contestants(config, sizes.impls):
            row = partial(measure_way, case, way, learn, chosen)
            yield attempt(case, way, row, package=package)


def measure_way(case: Case, way: str, learn: Learn, config: TrainConfig) -> Row:
    """Trainings with several seeds."""
    seconds, ends = [], []
    for seed in range(SEEDS):
        began, told = time.perf_counter(), []

        def watch(success: float, told: list[float] = told) -> None:
            told.append(success)
            if success >= SUCCESS:
                raise Enough

        with suppress(Enough):
            learn(dataclasses.replace(config, seed=seed), watch)
        seconds.append(time.perf_counter() - began)
        ends.append(told)
    best = [np.nanmax(told) for told in ends]
    if min(best) < SUCCESS:
        raise UserError(
            f"not reached in {config.steps:,} steps by seed {np.argmin(best)}: {min(best):.2f}"
        )
    steps = np.median([len(told) for told in ends]) * config.steps_per_update
    return Row(case, way, tuple(seconds), more={"steps": float(steps)})


SUITE = Suite(
    title="Trainings until they succeed, from nothing compiled",
    unit="",
    ours=("ndp C", "ndp MJX"),
    measure=measure,
    more={"steps": "{:,.0f}"},
    about=f"Success is that of the exploring episodes of an update; {SEEDS} seeds.",
)
