"""What is known by names: ours, and by `package.module:NAME` anybody's."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import tyro

from envs import TASKS
from envs.outside import is_outside

Item = TypeVar("Item")


class Registry(Mapping[str, Item]):
    """Ours by their names, over which it iterates, and others by where they are.

    Args:
      ours: by name.
      load: something by the name of where it is; raises `ValueError` with a sentence for people.
    """

    def __init__(self, ours: Mapping[str, Item], load: Callable[[str], Item]) -> None:
        self._ours, self._load = ours, load

    def __getitem__(self, name: str) -> Item:
        return self._load(name) if is_outside(name) else self._ours[name]

    def __contains__(self, name: object) -> bool:
        try:
            return isinstance(name, str) and bool(self[name])
        except (KeyError, ValueError):
            return False

    def refusal(self, name: str) -> str:
        """Why a name that says where it is does not lead there, for people; empty for others."""
        try:
            return "" if not is_outside(name) or self._load(name) else ""
        except ValueError as problem:
            return str(problem)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ours)

    def __len__(self) -> int:
        return len(self._ours)


def task_option(metavar: str, more: str = "") -> object:
    """A word that names a task."""
    tasks = f"{', '.join(TASKS[:-1])} or {TASKS[-1]}, or the package.module:Class of your own"
    return tyro.conf.arg(metavar=metavar, help=f"Task: {tasks}{f'; {more}' if more else ''}.")
