"""What a person watching a run sees: two live lines on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

SECONDS_BETWEEN_LINES = 15.0
SHORT = 100_000
"""Steps that are not counted in millions."""


Show = Callable[[int, str, str], None]
"""Shows how many steps a run has done, its pace, and how well it learns."""


@contextmanager
def progress(console: Console, *, total: int) -> Iterator[Callable[[int, str], None]]:
    """Shows a run's pace and learning until `total` environment steps.

    Gives what takes the steps after an update, and how well the run learns.
    """
    with (live if console.is_terminal else lines)(console, total=total) as show:
        started, first = time.monotonic(), None

        def report(steps: int, learning: str) -> None:
            nonlocal first
            now = time.monotonic()
            if first is None:
                first = now, steps
                console.print(f"First update done after {now - started:.0f} s")
                return
            speed = (steps - first[1]) / (now - first[0])
            show(steps, pace(steps, total, speed), learning)

        yield report


def pace(steps: int, total: int, speed: float) -> str:
    """How far a run is, its speed in steps, and how long it still takes."""
    minutes, seconds = divmod(int((total - steps) / speed), 60)
    hours, minutes = divmod(minutes, 60)
    left = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
    if total < SHORT:
        return f"{steps:,}/{total:,} steps  {speed:,.0f}/s  left {left}"
    return f"{steps / 1e6:.2f}/{total / 1e6:.2f}M steps  {speed:,.0f}/s  left {left}"


def learning(metrics: dict[str, float], evaluation: dict[str, float] | None) -> str:
    """How well a run learns; `nan` counts episodes and minibatches that were not finite."""
    figures = [
        f"success {metrics['success']:.2f}",
        f"return {metrics['returns']:,.0f}",
        f"kl {metrics['kl']:.3f}",
        f"clipped {metrics['clip_fraction']:.2f}",
        f"nan {metrics['broken_episodes'] + metrics['skipped_minibatches']:.0f}",
    ]
    if evaluation:
        figures.append(f"evaluated {evaluation['success']:.2f}")
    return "  ".join(figures)


@contextmanager
def live(console: Console, *, total: int) -> Iterator[Show]:
    """A bar and the pace, and below it the learning."""
    bars, below = Progress(BarColumn(None), TextColumn("{task.description}"), expand=True), Text()
    bar = bars.add_task("", total=total)
    with Live(Group(bars, below), console=console):

        def show(steps: int, pace: str, learning: str) -> None:
            bars.update(bar, completed=steps, description=pace)
            below.plain = learning

        yield show


@contextmanager
def lines(console: Console, *, total: int) -> Iterator[Show]:
    """A line every now and then."""
    shown = -float("inf")

    def show(steps: int, pace: str, learning: str) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= SECONDS_BETWEEN_LINES or steps >= total:
            shown = now
            console.print(f"{pace}  {learning}", soft_wrap=True)

    yield show
