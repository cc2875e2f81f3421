"""From the launch of `ndp train` to its first row, with nothing compiled before and with all."""

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from configs import TrainConfig
from train.bench.sizes import NAMES, Sizes
from train.bench.suite import Case, Row, Suite, attempt
from train.runs import metrics
from train.system.errors import UserError

REPEATS = 3
LOOK = 0.05
"""Seconds between looks for the first row."""


def measure(sizes: Sizes) -> Iterator[Row]:
    """Every task in every number of environments, and with everybody's physics."""
    for config in sizes.configs():
        for impl in sizes.impls:
            case = {"": f"{config.task}, {NAMES[impl]}", "environments": config.num_envs}
            for way in ("cold", "warm"):
                yield attempt(case, way, partial(launches, case, way, config, impl))


def launches(case: Case, way: str, config: TrainConfig, impl: str) -> Row:
    """Several, each with an empty cache, or all with one that a first has filled."""
    with TemporaryDirectory() as place:
        caches = [Path(place, str(i) if way == "cold" else "cache") for i in range(REPEATS)]
        if way == "warm":
            launch(config, impl, caches[0])
        seconds, peaks = zip(*(launch(config, impl, cache) for cache in caches), strict=True)
    return Row(case, way, seconds, more={"memory": max(peaks)})


def launch(config: TrainConfig, impl: str, cache: Path) -> tuple[float, float]:
    """Seconds until the first update is written down, and gigabytes in memory until then.

    Raises:
      UserError: the training ended without one.
    """
    with TemporaryDirectory() as place:
        run = Path(place, "run")
        options = {"num-envs": config.num_envs, "steps": config.steps, "impl": impl, "out": run}
        said = [f"--{name}={value}" for name, value in options.items()]
        command = [sys.executable, "-m", "ndp_jax", "train", config.task, *said]
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        began = time.perf_counter()
        with subprocess.Popen(command, env=environment, **pipes) as process:
            try:
                while not metrics.read(run):
                    if process.poll() is not None:
                        raise UserError(process.communicate()[1].strip().rpartition("\n")[-1])
                    time.sleep(LOOK)
                return time.perf_counter() - began, resident(process.pid)
            finally:
                process.kill()


def resident(process: int) -> float:
    """Gigabytes that a process has had in memory at most; NaN where the system does not tell."""
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        return math.nan
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024 / 1e9


SUITE = Suite(
    title="From launch to the first update",
    unit="",
    ours=("warm",),
    measure=measure,
    more={"memory": "{:.1f} GB"},
    about="What evaluates is compiled before the first update, too. Memory is the machine's.",
)
