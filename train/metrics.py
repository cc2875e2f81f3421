"""Rows of metrics, in the run folder and in TensorBoard."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TextIO

from tensorboardX import SummaryWriter


class Write(Protocol):
    """Adds the row of the update that ended at `steps` environment steps."""

    def __call__(self, *, steps: int, seconds: float, metrics: dict[str, float]) -> None: ...


@contextmanager
def open_log(folder: Path) -> Iterator[Write]:
    """Appends to a run's metrics, one row per call.

    metrics.csv holds what the seed determines, so that two runs can be compared byte for byte;
    timing.csv holds the wall time of the same rows.
    """
    with (
        (folder / "metrics.csv").open("a", newline="") as metrics_file,
        (folder / "timing.csv").open("a", newline="") as timing_file,
        SummaryWriter(str(folder)) as tensorboard,
    ):

        def write(*, steps: int, seconds: float, metrics: dict[str, float]) -> None:
            _append(metrics_file, {"steps": steps} | metrics)
            _append(timing_file, {"steps": steps, "seconds": round(seconds, 3)})
            for name, value in metrics.items():
                tensorboard.add_scalar(name, value, steps)

        yield write


def _append(file: TextIO, row: dict) -> None:
    writer = csv.DictWriter(file, list(row))
    if not file.tell():
        writer.writeheader()
    writer.writerow(row)
    file.flush()


def read(folder: Path, *, file: str = "metrics.csv") -> dict[str, list[float]]:
    """Columns of a run's metrics.csv or timing.csv."""
    with (folder / file).open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}
