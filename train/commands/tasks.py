"""What the tasks are, told by their own modules."""

import importlib

from rich.box import SIMPLE
from rich.table import Table

import envs


def table() -> Table:
    """A row per task: what to do, sizes, times and when it counts as solved."""
    rows = Table(box=SIMPLE, padding=(0, 1, 1, 0), pad_edge=False)
    for name in ("task", "obs.", "act.", "steps"):
        rows.add_column(name, no_wrap=True)
    rows.add_column("what to do")
    rows.add_column("solved if, at the end,")
    for task in envs.TASKS:
        module, env = importlib.import_module(f"envs.{task}"), envs.make(task)
        rows.add_row(
            task,
            str(env.observation_size),
            str(env.action_size),
            f"{env.episode_length} of {env.dt:g} s",
            first_sentence(module).removeprefix(f"{task.capitalize()}: "),
            first_sentence(module.success).removeprefix("Whether "),
        )
    return rows


def first_sentence(thing: object) -> str:
    """The first line of a docstring, without its full stop."""
    return (thing.__doc__ or "").strip().split("\n")[0].removesuffix(".")
