"""Training on a probe in this process, for tests of what a run leaves."""

import copy
import dataclasses
import functools
from pathlib import Path

import probes
from rich.console import Console

from configs import TrainConfig
from train.rl.evaluate import make_player
from train.rl.ppo import TrainState
from train.rl.train import Run
from train.runs import loop

PROBE = probes.RewardFromBoth()


@functools.cache
def made(config: TrainConfig, env: probes.Probe) -> Run:
    """What is compiled, once for all runs that differ in nothing but folder and seed."""
    return Run(config, env, make_player(env, config), Path())


def learn(
    folder: Path,
    config: TrainConfig,
    *,
    env: probes.Probe = PROBE,
    publish=None,
    console: Console | None = None,
) -> tuple[TrainState, list[int]]:
    """The state after the run's end, or after a signal, and the signals."""
    folder.mkdir(exist_ok=True)
    work = copy.copy(made(dataclasses.replace(config, seed=0), env))
    work.config, work.members = config, (folder,)
    with loop.interruption() as signals:
        console = console or Console(quiet=True)
        return loop.train(work, folder, console, signals, publish=publish), signals
