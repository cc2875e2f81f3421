"""Everything that runs: the learners, whole runs and sweeps of them, and the `ndp` command.

What there is for use from Python (docs/python.md) is imported when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from train.rl.agent import hyperparameters
    from train.rl.evaluate import make_player, summarize
    from train.rl.ppo import make_learner
    from train.rl.train import load_run, train

__all__ = ["hyperparameters", "load_run", "make_learner", "make_player", "summarize", "train"]

_HOMES = {
    "hyperparameters": "agent",
    "load_run": "train",
    "make_learner": "ppo",
    "make_player": "evaluate",
    "summarize": "evaluate",
    "train": "train",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"train.rl.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'train' has no attribute {name!r}")
