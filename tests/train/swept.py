"""A small sweep over a probe, in a process of its own, to be killed: python swept.py FOLDER."""

import dataclasses
import sys
from pathlib import Path
from unittest import mock

import probes
from probes import CONFIG
from rich.console import Console

from train.sweeps import train as sweeps
from train.sweeps.folder import load
from train.sweeps.grid import lay_out
from train.system import runtime

BASE = dataclasses.replace(
    CONFIG, steps=40 * 8, eval_every=3, eval_episodes=12, checkpoint_seconds=1e-9
)
AXES = {"learning_rate": (1e-3, 1e-2), "policy": ("ppo-multi", "ppo")}


def run(folder: Path, *, halving: bool = False, axes=AXES, seeds: int = 2, console=None):
    """Brings the sweep in `folder` to its end."""
    console = console or Console(quiet=True)
    with mock.patch.object(sweeps, "make_env", lambda config: probes.RewardFromBoth()):
        if not (folder / "sweep.json").exists():
            grid = lay_out([BASE], axes, seeds=seeds, samples=None)
            return sweeps.sweep(grid, out=folder, halving=halving, devices=1, console=console)
        return sweeps.complete(load(folder), devices=1, console=console)


if __name__ == "__main__":
    runtime.configure_jax()
    run(Path(sys.argv[1]))
