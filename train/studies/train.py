"""A study: cell after cell in one process, what it came to so far after each."""

import os
from collections.abc import Sequence
from pathlib import Path

import jax
from rich.console import Console

from train.runs import run
from train.studies import folder as studies
from train.studies import record, report
from train.studies.folder import STUDY, Study, fresh, is_finished
from train.sweeps import train as sweeps
from train.sweeps.grid import Grid
from train.system.devices import choose
from train.system.hints import hint
from train.system.runtime import versions


def study(cells: Sequence[Grid], *, out: Path | None, devices: int, console: Console) -> Study:
    """Trains all cells, and writes tables and figures.

    Args:
      cells: each a sweep over seeds.
      out: folder to create; by default the first free runs/study.
      devices: over how many devices the seeds of a cell are spread.
      console: for the progress.

    Raises:
      UserError: the folder cannot be used, or memory does not suffice for the seeds of a cell.
      Stopped: the disk or the memory is full.
      Interrupted: SIGINT or SIGTERM arrived; a checkpoint has been written.
    """
    choose(devices)  # before a folder is made
    return complete(fresh(cells, out, versions=versions()), devices=devices, console=console)


def complete(found: Study, *, devices: int, console: Console) -> Study:
    """Brings a study from wherever it is to its end; finished cells are left as they are.

    Raises:
      UserError, Stopped, Interrupted: as `study`.
    """
    console.print(f"Study folder {found.folder}", soft_wrap=True)
    again = hint("study", "--resume", found.folder)
    with run.held(found.folder):
        for number, cell in enumerate(found.cells, 1):
            if not is_finished(cell):
                console.print(f"\nCell {number} of {len(found.cells)}: {cell.folder.name}")
                note_machine(found.folder)
                sweeps.complete(cell, devices=devices, console=console, again=again)
                jax.clear_caches()  # nothing of it is used again
                write(found)
        write(found)
    return found


def note_machine(folder: Path) -> None:
    """Adds what computes from here on to study.json, if it is not there."""
    content, here = studies.read(folder), machine()
    if here not in content["machines"]:
        content["machines"].append(here)
        run.write_json(folder / STUDY, content)


def machine() -> str:
    """What this process computes on."""
    cores, devices = os.cpu_count(), jax.devices()
    each = f"{len(devices)} x " if len(devices) > 1 else ""
    parts = (processor(), f"{cores} cores", f"{each}{devices[0].device_kind}")
    return ", ".join((*filter(None, parts), f"jax {jax.__version__}"))


def processor() -> str:
    """The model of the CPU, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "")


def write(found: Study) -> None:
    """Writes evaluations.csv, the table and the figures of the cells that are finished."""
    record.write(record.rows_of(found), found.folder / report.EVALUATIONS)
    report.write([found.folder], found.folder)
