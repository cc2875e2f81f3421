"""What a person watching a run sees: a live line on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 15.0


class Report(Protocol):
    """Takes the state of a run after an update."""

    def __call__(self, *, steps: int, speed: float, metrics: dict[str, float]) -> None: ...


def describe(speed: float, metrics: dict[str, float]) -> str:
    """The figures of an update in one line."""
    return (
        f"{speed:,.0f} steps/s  success {metrics['success']:.2f}  return {metrics['returns']:,.0f}"
    )


@contextmanager
def progress(console: Console, *, total: int) -> Iterator[Report]:
    """Shows environment steps, speed, success, return and time left until `total` steps."""
    if console.is_terminal:
        with Progress(
            TextColumn("{task.completed:>9,}/{task.total:,} steps"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.description}"),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
            console=console,
            expand=True,
        ) as bar:
            task = bar.add_task("", total=total)

            def live(*, steps: int, speed: float, metrics: dict[str, float]) -> None:
                bar.update(task, completed=steps, description=describe(speed, metrics))

            yield live
        return

    last = -float("inf")

    def line(*, steps: int, speed: float, metrics: dict[str, float]) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < SECONDS_BETWEEN_LINES and steps < total:
            return
        last = now
        left = (total - steps) / speed
        console.print(
            f"{steps:>9,}/{total:,} steps  {describe(speed, metrics)}  "
            f"left {int(left) // 60}:{int(left) % 60:02d}",
            soft_wrap=True,
        )

    yield line
