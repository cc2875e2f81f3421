"""Rows of numbers: in the run folder, in TensorBoard and, if wished, in Weights & Biases."""

import csv
import dataclasses
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.record_writer import RecordWriter

from configs import Config
from train.runs.run import write_whole
from train.system.errors import UserError

METRICS, TIMING, EVALUATIONS = FILES = ("metrics.csv", "timing.csv", "evaluations.csv")
"""What the seed determines, row by row, so that two runs can be compared byte for byte; the wall
time of the same rows; the evaluations in between."""


Write = Callable[[str, int, dict[str, float]], None]
"""Adds to one of `FILES`, after so many steps, a row."""


@runtime_checkable
class Publish(Protocol):
    """Sends numbers by their names to a service that draws them."""

    def __call__(self, numbers: dict[str, float], *, steps: int) -> None: ...


@contextmanager
def open_log(folder: Path, *, publish: Publish | None = None) -> Iterator[Write]:
    """Appends to a run's files and TensorBoard events, and publishes the same numbers.

    Events are written row by row, not in a thread as by a `SummaryWriter`: those of a checkpoint's
    row are on disk before the checkpoint is, and a full disk is noticed here. TensorBoard hides
    what an earlier process has written after the row that this one goes on from.
    """
    events = RecordWriter(str(folder / f"events.out.tfevents.{time.time_ns()}"))

    def record(**content: Any) -> None:
        events.write(Event(wall_time=time.time(), **content).SerializeToString())

    record(file_version="brain.Event:2")
    begin = int(last_row(folder, METRICS).get("steps", -1)) + 1
    record(step=begin, session_log=SessionLog(status=SessionLog.START))
    try:

        def write(file: str, steps: int, row: dict[str, float]) -> None:
            append(folder / file, {"steps": steps} | row)
            if file == TIMING:
                return
            group = "evaluation/" if file == EVALUATIONS else ""
            numbers = {group + name: value for name, value in row.items()}
            values = [Summary.Value(tag=name, simple_value=x) for name, x in numbers.items()]
            record(step=steps, summary=Summary(value=values))
            events.flush()
            if publish:
                publish(numbers, steps=steps)

        yield write
    finally:
        with suppress(OSError):  # of a full disk, which has been told
            events.close()


@contextmanager
def weights_and_biases(folder: Path, config: Config) -> Iterator[Publish]:
    """Publishes to a Weights & Biases run, always the same for a run folder."""
    import wandb  # pyright: ignore[reportMissingImports]

    identity = folder / "wandb" / "id"
    if not identity.exists():
        identity.parent.mkdir(exist_ok=True)
        write_whole(identity, uuid.uuid4().hex)
    run = wandb.init(
        project="ndp-jax",
        name=folder.resolve().name,
        id=identity.read_text(),
        dir=folder,
        config=dataclasses.asdict(config),
        resume="allow",
    )
    try:
        yield lambda numbers, *, steps: run.log(numbers, step=steps)
    finally:
        run.finish()


def clear(folder: Path) -> None:
    """Drops all rows of a run."""
    for file in FILES:
        (folder / file).unlink(missing_ok=True)


def rewind(folder: Path, *, steps: int) -> None:
    """Drops the rows of a run after its first `steps` environment steps, and a torn last line.

    Raises:
      UserError: rows before that are missing.
    """
    for file in FILES:
        path = folder / file
        if path.exists():
            os.truncate(path, _end(path, steps=steps))
    for file in (METRICS, TIMING):
        end = last_row(folder, file).get("steps", 0.0)
        if end != steps:
            raise UserError(
                f"{folder / file} ends at {end:.0f} steps, but the checkpoint is of {steps}; put "
                "the missing rows back or delete that checkpoint."
            )


def sync(folder: Path) -> None:
    """Sees to it that all rows so far outlive a power cut, as a checkpoint after them needs."""
    for file in FILES:
        if (folder / file).exists():
            with (folder / file).open("rb") as rows:
                os.fsync(rows.fileno())


def best_evaluation(folder: Path) -> int | None:
    """Steps of the evaluation with the highest success, if there is such a thing, then return, or
    with the lowest error.

    Of equals it is the first; None without evaluations.
    """
    columns = read(folder, EVALUATIONS)
    if "error" in columns and "success" not in columns:
        columns["success"] = [-e if math.isfinite(e) else -math.inf for e in columns["error"]]
        columns["returns"] = [0.0] * len(columns["error"])
    names = [name for name in ("success", "returns") if name in columns]
    rows = zip(*(columns.get(name, []) for name in (*names, "steps")), strict=True)
    best = max(rows, key=lambda row: row[:-1], default=None)
    return int(best[-1]) if best else None


def append(path: Path, row: dict[str, float]) -> None:
    """Adds a row to a file, which starts with the names of its columns."""
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if not file.tell():
            writer.writeheader()
        writer.writerow(row)


def read(folder: Path, file: str = METRICS) -> dict[str, list[float]]:
    """Columns of one of a run's `FILES`, without a last line that is not complete yet.

    There are none if the file has no rows or does not exist.

    Raises:
      UserError: it is not a table of numbers.
    """
    path = folder / file
    if not path.exists():
        return {}
    try:
        complete, _, _ = path.read_text().rpartition("\n")
        rows = list(csv.DictReader(complete.splitlines()))
        return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a table of numbers ({error}).") from None


def last_row(folder: Path, file: str) -> dict[str, float]:
    """The last row of a file; empty if there is none."""
    return {name: values[-1] for name, values in read(folder, file).items()}


def _end(path: Path, *, steps: int) -> int:
    """Length of the file up to its last complete row of at most `steps` steps, in bytes."""
    size = 0
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True)):
        try:
            if not line.endswith(b"\n") or (number and float(line.split(b",")[0]) > steps):
                break
        except ValueError as error:
            raise UserError(f"{path} cannot be read as a table of numbers ({error}).") from None
        size += len(line)
    return size
