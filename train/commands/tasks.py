"""`ndp tasks`: what the tasks are, told by their own modules."""

from dataclasses import dataclass
from typing import ClassVar

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from train.commands.command import Command


@dataclass(frozen=True)
class Tasks(Command):
    """List the tasks."""

    computes: ClassVar[bool] = False

    def execute(self, console: Console) -> None:
        console.print(table())


def table() -> Table:
    """A row per task: what to do, sizes, times and when it counts as solved."""
    import envs

    rows = Table(box=SIMPLE, padding=(0, 1, 1, 0), pad_edge=False)
    for name in ("task", "obs.", "act.", "steps"):
        rows.add_column(name, no_wrap=True)
    rows.add_column("what to do")
    rows.add_column("solved if, at the end,")
    for task in envs.TASKS:
        module, env = envs.module(task), envs.make(task)
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
