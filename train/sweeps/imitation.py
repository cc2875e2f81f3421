"""A sweep of imitations: runs one after another, those of the same program compiled once.

They are not vmapped: over 3 seeds of CNN-NDP, a gradient step would take 98 ms of processor time
per member instead of 32 on 2 CPU cores, because XLA makes grouped convolutions of it; over those of
MLP-NDP 5.0 ms instead of 4.8.
"""

from pathlib import Path
from typing import cast

from rich.console import Console

from configs import CloneConfig, ImitateConfig
from train.imitation import train as imitation
from train.imitation.figures import Success, imitation_curves, success_bars
from train.runs import loop, metrics
from train.sweeps import table
from train.sweeps.figures import draw_best
from train.sweeps.folder import Run, Sweep, fresh, settled
from train.sweeps.grid import Grid
from train.sweeps.table import Row
from train.system.errors import Diverged
from train.system.hints import hint
from train.system.runtime import versions


def sweep(grid: Grid, *, out: Path | None, console: Console) -> Sweep:
    """Runs all members, and writes tables and figures.

    Args:
      grid: the members.
      out: folder to create; by default the first free runs/digits-sweep or runs/TASK-clone-sweep.
      console: for the progress.

    Raises:
      UserError: the folder, or what to learn from, cannot be used.
      Stopped: the disk or the memory is full.
      Interrupted: SIGINT or SIGTERM arrived; a checkpoint has been written.
    """
    grid = settled(grid)
    kit = imitation.prepare(cast(ImitateConfig, grid.members[0].config))  # before a folder is made
    created = fresh(grid, out, halving=False, versions=versions())
    return complete(created, console=console, kit=kit)


def complete(found: Sweep, *, console: Console, kit: imitation.Kit | None = None) -> Sweep:
    """Brings a sweep from wherever it is to its end.

    Members that have come to their end are left as they are. One of which nothing but NaN comes
    out stays without evaluation, and the others go on.

    Args:
      kit: of the first member, if it has been prepared already.

    Raises:
      UserError, Stopped, Interrupted: as `sweep`.
    """
    console.print(f"Sweep folder {found.folder}", soft_wrap=True)
    again = hint("imitate", "--resume", found.folder)
    needs = f"members with --batch {found.runs[0].config.descent.batch}"
    number = {member: place for place, member in enumerate(found.runs, 1)}
    with loop.held(found.folder, needs=needs, again=again):
        for group in found.groups:
            unfinished = [member for member in group if not member.evaluation]
            if not unfinished:
                continue
            kit = kit or imitation.prepare(group[0].config)
            for member in unfinished:
                console.print(f"Member {number[member]} of {len(found.runs)}")
                try:
                    imitation.complete(member.config, kit, member.folder, console, again=again)
                except Diverged as problem:
                    console.print(str(problem), soft_wrap=True)
            kit = None  # makes room for the next
        table.write(found)
        draw(found)
    return found


def draw(found: Sweep) -> None:
    """Writes curves.png, of the best settings, and bars.png if tasks or policies were swept alone.

    Members that came to nothing are not drawn.
    """
    draw_best(found, imitation_curves, drawable)
    rows = bars(found, table.read(found)["members"])
    if rows:
        success_bars(rows, found.folder / "bars.png")


def drawable(member: Run) -> bool:
    """Whether a member came to its end with an error that a logarithmic axis can show."""
    last = metrics.last_row(member.folder, metrics.EVALUATIONS)
    return bool(member.evaluation) and last["error"] > 0


def bars(found: Sweep, members: list[Row]) -> list[Success]:
    """Success by task and policy, empty unless these alone were swept."""
    if not found.over or not {*found.over} <= {"task", "policy"}:
        return []
    seeds: dict[tuple[str, str], list[float]] = {}
    for member, row in zip(found.runs, members, strict=True):
        config = member.config
        if isinstance(config, CloneConfig) and row["success"] is not None:
            seeds.setdefault((config.task, config.policy), []).append(row["success"])
    return [Success(task, policy, tuple(values)) for (task, policy), values in seeds.items()]
