"""What a person watching a run sees: a live line on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

SECONDS_BETWEEN_LINES = 15.0


class Report(Protocol):
    """Takes the state of a run after an update."""

    def __call__(self, *, steps: int, speed: float, metrics: dict[str, float]) -> None: ...


def describe(steps: int, total: int, speed: float, metrics: dict[str, float]) -> str:
    """The figures of an update in one line that fits into 80 columns beside a small bar."""
    minutes, seconds = divmod(int((total - steps) / speed), 60)
    return (
        f"{steps / 1e6:.2f}/{total / 1e6:.2f}M steps {speed:,.0f}/s "
        f"success {metrics['success']:.2f} return {metrics['returns']:,.0f} "
        f"left {minutes}:{seconds:02d}"
    )


@contextmanager
def progress(console: Console, *, total: int) -> Iterator[Report]:
    """Shows environment steps, speed, success, return and time left until `total` steps."""
    if console.is_terminal:
        with Progress(
            BarColumn(bar_width=10),
            TextColumn("{task.fields[figures]}"),
            console=console,
        ) as bar:
            task = bar.add_task("", total=total, figures="")

            def live(*, steps: int, speed: float, metrics: dict[str, float]) -> None:
                bar.update(task, completed=steps, figures=describe(steps, total, speed, metrics))

            yield live
        return

    last = -float("inf")

    def line(*, steps: int, speed: float, metrics: dict[str, float]) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < SECONDS_BETWEEN_LINES and steps < total:
            return
        last = now
        console.print(describe(steps, total, speed, metrics), soft_wrap=True)

    yield line
