"""Rows of metrics, in the run folder and in TensorBoard."""

import csv
from pathlib import Path
from types import TracebackType
from typing import Self

from tensorboardX import SummaryWriter


class MetricsLog:
    """Appends one row per update.

    metrics.csv holds what the seed determines, so that two runs can be compared byte for byte;
    timing.csv holds the wall time of the same rows.
    """

    def __init__(self, folder: Path) -> None:
        self._metrics = (folder / "metrics.csv").open("a", newline="")
        self._timing = (folder / "timing.csv").open("a", newline="")
        self._tensorboard = SummaryWriter(str(folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._metrics.close()
        self._timing.close()
        self._tensorboard.close()

    def write(self, *, steps: int, seconds: float, metrics: dict[str, float]) -> None:
        """Adds the row of the update that ended at `steps` environment steps."""
        _append(self._metrics, {"steps": steps} | metrics)
        _append(self._timing, {"steps": steps, "seconds": round(seconds, 3)})
        for name, value in metrics.items():
            self._tensorboard.add_scalar(name, value, steps)


def _append(file, row: dict[str, float]) -> None:
    writer = csv.DictWriter(file, row)
    if not file.tell():
        writer.writeheader()
    writer.writerow(row)
    file.flush()


def read(folder: Path, *, file: str = "metrics.csv") -> dict[str, list[float]]:
    """Columns of a run's metrics.csv or timing.csv."""
    with (folder / file).open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}
