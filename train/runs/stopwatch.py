"""Wall time of a run, also of one that was interrupted."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds since a run began, and how many of them were not training."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._before = 0.0
        self._spent = {"evaluating": 0.0, "saving": 0.0}

    def continue_from(self, row: dict[str, float]) -> None:
        """Goes on from the last `row` of the process before."""
        self._before = row.get("seconds", 0.0)
        self._spent |= {name: row.get(name, 0.0) for name in self._spent}

    @contextmanager
    def spending(self, name: str) -> Iterator[None]:
        """Notes the time inside as spent on `evaluating` or `saving`."""
        since = time.monotonic()
        yield
        self._spent[name] += time.monotonic() - since

    def row(self) -> dict[str, float]:
        """All seconds so far, and those spent on other things than training."""
        seconds = self._before + time.monotonic() - self._started
        return {
            name: round(value, 3) for name, value in ({"seconds": seconds} | self._spent).items()
        }
