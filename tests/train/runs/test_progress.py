import io
import itertools
import time

import pytest
from rich.console import Console

from train.runs.progress import learning, pace, progress

NUMBERS = {
    "success": 0.5,
    "returns": 123456.7,
    "kl": 0.0123,
    "clip_fraction": 0.25,
    "broken_episodes": 2,
    "skipped_minibatches": 1,
}


def test_pace_tells_how_long_it_still_takes():
    assert pace(1_000_000, 1_500_000, 8000.0) == "1.00/1.50M steps  8,000/s  left 1:02"
    assert pace(1_000_000, 91_000_000, 8000.0) == "1.00/91.00M steps  8,000/s  left 3:07:30"
    assert pace(2_000, 10_000, 80.0) == "2,000/10,000 steps  80/s  left 1:40"


def test_learning_counts_what_was_not_finite_and_shows_the_evaluation():
    line = "success 0.50  return 123,457  kl 0.012  clipped 0.25  nan 3"
    assert learning(NUMBERS, None) == line
    assert learning(NUMBERS, {"success": 0.876}) == f"{line}  evaluated 0.88"


def run(console, monkeypatch):
    """Three updates of 100 steps, each a second after the one before."""
    monkeypatch.setattr(time, "monotonic", itertools.count(0.0).__next__)
    with progress(console, total=300) as report:
        for steps in (100, 200, 300):
            report(steps, learning(NUMBERS, {"success": 1.0}))


def test_without_a_terminal_progress_is_plain_lines(monkeypatch):
    file = io.StringIO()
    run(Console(file=file, force_terminal=False, width=80), monkeypatch)
    first, *lines = file.getvalue().splitlines()
    assert first.startswith("First update done after")
    assert len(lines) == 2
    assert all("/s  left 0:0" in line and "evaluated 1.00" in line for line in lines)


@pytest.mark.parametrize("width", [80, 200])
def test_a_live_display_fits_the_terminal(monkeypatch, width):
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, legacy_windows=False)
    monkeypatch.setattr(time, "monotonic", itertools.count(0.0).__next__)
    with progress(console, total=300) as report:
        for steps in (100, 200):
            report(steps, learning(NUMBERS, {"success": 1.0}))
    shown = file.getvalue()
    for part in ("steps", "left", "kl 0.012", "nan 3", "evaluated 1.00"):
        assert part in shown
    assert "…" not in shown
