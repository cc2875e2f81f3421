"""What is known by names: ours, and by `package.module:NAME` anybody's."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from envs.outside import is_outside

Item = TypeVar("Item")


class Registry(Mapping[str, Item]):
    """Ours by their names, over which it iterates, and others by where they are.

    Args:
      ours: by name.
      load: something by the name of where it is; raises `ValueError` with a sentence for people.
      is_theirs: whether a name has the form of one that says where something is.
    """

    def __init__(
        self,
        ours: Mapping[str, Item],
        load: Callable[[str], Item],
        is_theirs: Callable[[str], bool] = is_outside,
    ) -> None:
        self._ours, self._load, self.is_theirs = ours, load, is_theirs

    def __getitem__(self, name: str) -> Item:
        if self.is_theirs(name):
            return self._load(name)
        if name not in self._ours:
            raise KeyError(f"there is no {name!r} among {', '.join(self._ours)}")
        return self._ours[name]

    def __contains__(self, name: object) -> bool:
        return name in self._ours or (self.is_theirs(str(name)) and not self.refusal(str(name)))

    def refusal(self, name: str) -> str:
        """Why a name that says where it is leads nowhere, for people; empty if it does not."""
        try:
            self._load(name)
        except ValueError as problem:
            return str(problem)
        return ""

    def __iter__(self) -> Iterator[str]:
        return iter(self._ours)

    def __len__(self) -> int:
        return len(self._ours)
