"""Training on a probe in this process, for tests of what a run leaves."""

from pathlib import Path

import probes
from rich.console import Console

from configs import TrainConfig
from train.rl.evaluate import make_player
from train.rl.ppo import TrainState
from train.rl.train import Run
from train.runs import loop


def learn(
    folder: Path,
    config: TrainConfig,
    *,
    env: probes.Probe | None = None,
    publish=None,
    console: Console | None = None,
) -> tuple[TrainState, list[int]]:
    """The state after the run's end, or after a signal, and the signals."""
    folder.mkdir(exist_ok=True)
    env = env or probes.RewardFromBoth()
    work = Run(config, env, make_player(env, config), folder)
    with loop.interruption() as signals:
        console = console or Console(quiet=True)
        return loop.train(work, folder, console, signals, publish=publish), signals
