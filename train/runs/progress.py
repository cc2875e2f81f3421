"""What a person watching a run sees: two live lines on a terminal, plain lines elsewhere."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

SECONDS_BETWEEN_LINES = 15.0
SHORT = 100_000
"""Steps that are not counted in millions."""


@contextmanager
def progress(console: Console, *, total: int) -> Iterator[Callable[[int, str], None]]:
    """Shows a run's pace and learning until `total` environment steps.

    Gives what takes the steps after an update, and how well the run learns.
    """
    bars, below = Progress(BarColumn(None), TextColumn("{task.description}"), expand=True), Text()
    bar = bars.add_task("", total=total)
    started, first, shown = time.monotonic(), None, -math.inf

    def report(steps: int, learning: str) -> None:
        nonlocal first, shown
        now = time.monotonic()
        if first is None:
            first = now, steps
            console.print(f"First update done after {now - started:.0f} s")
            return
        going = pace(steps, total, (steps - first[1]) / (now - first[0]))
        if console.is_terminal:
            bars.update(bar, completed=steps, description=going)
            below.plain = learning
        elif now - shown >= SECONDS_BETWEEN_LINES or steps >= total:
            shown = now
            console.print(f"{going}  {learning}", soft_wrap=True)

    with Live(Group(bars, below), console=console) if console.is_terminal else nullcontext():
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
        *([f"success {metrics['success']:.2f}"] if "success" in metrics else []),
        f"return {metrics['returns']:,.0f}",
        f"kl {metrics['kl']:.3f}",
        f"clipped {metrics['clip_fraction']:.2f}",
        f"nan {metrics['broken_episodes'] + metrics['skipped_minibatches']:.0f}",
    ]
    if evaluation:
        known = "success" in evaluation
        told = f"{evaluation['success']:.2f}" if known else f"{evaluation['returns']:,.0f}"
        figures.append(f"evaluated {told}")
    return "  ".join(figures)
