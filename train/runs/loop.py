"""The host's loop, which a run, a sweep and an imitation share.

Work is on all processes; rows, checkpoints and the terminal are the leading one's business.
"""

import errno
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import jax
from jax.sharding import Mesh
from orbax.checkpoint import CheckpointManager
from rich.console import Console

from configs import AnyConfig
from configs.fields import settings
from train.runs import checkpoint, metrics, run
from train.runs.metrics import EVALUATIONS, METRICS, TIMING
from train.runs.progress import progress
from train.runs.stopwatch import Stopwatch
from train.system.distributed import in_lead, once, share
from train.system.errors import Diverged, Interrupted, Stopped, UserError

State = TypeVar("State")
Rows = dict[int, dict[str, float]]
"""A row of numbers for each member that is still trained."""


class Work(Generic[AnyConfig, State]):
    """What the loop does not know: what a state is, what an update is, what is measured.

    Attributes:
      config: what checkpoints are made with.
      members: the run folders that rows go to.
      end: steps.
      max_skipped: minibatches in a row that are not finite, at which it stops.
      remedy: for people of whose run nothing but such minibatches comes out.
      measured_first: whether it is evaluated before it is trained.
    """

    config: AnyConfig
    members: Sequence[Path]
    end: int
    max_skipped: float

    remedy = "A lower --learning-rate may help."
    measured_first = True

    def init(self) -> State:
        """The state at the start; also evaluated for its shapes alone."""
        raise NotImplementedError

    def go_on(self, state: State) -> State:
        """A state from a checkpoint as it is trained on; raises `UserError` if it cannot be."""
        return state

    def place(self, state: State) -> State:
        """The state on its devices."""
        return state

    def stands(self, state: State, steps: int) -> dict[int, int]:
        """The steps of each member whose rows are to stay."""
        del state
        return {0: steps}

    def standing(self, steps: int) -> str:
        """Where it goes on from, in a sentence."""
        if steps >= self.end:
            return f"Finished already, at {steps:,} steps; to go further, raise --steps."
        return f"Continuing at {steps:,} steps"

    def update(self, state: State, steps: int) -> tuple[State, int, Rows]:
        """Trains on for a row: the state and steps afterwards, and the rows."""
        raise NotImplementedError

    def due(self, steps: int) -> bool:
        """Whether the update that ended there is followed by an evaluation."""
        raise NotImplementedError

    def evaluate(self, state: State) -> Rows:
        """Measures what was learned."""
        raise NotImplementedError

    def select(self, state: State, steps: int, evaluations: Rows) -> State:
        """The state with those members that are trained on."""
        del steps, evaluations
        return state

    def learning(self, rows: Rows, evaluations: Rows) -> str:
        """How well it learns, in a line."""
        raise NotImplementedError

    def effort(self, steps: int) -> int:
        """What has been done up to there, for the bar."""
        return steps


def train(
    work: Work[Any, State],
    home: Path,
    console: Console,
    signals: list[int],
    *,
    publish: metrics.Publish | None = None,
    mesh: Mesh | None = None,
) -> State:
    """Trains from wherever it stands until its end or a signal, writing rows and checkpoints.

    Args:
      home: the folder of the checkpoints.
      signals: that have been received so far; see `interruptible`.
      publish: takes the first member's numbers, too.

    Raises:
      Diverged: too many minibatches in a row were not finite.
      Stopped: the disk is full.
      UserError: it cannot go on from its checkpoint.
    """
    watch, keep = Stopwatch(), settings(work.config)["keep_checkpoints"]
    with in_lead(checkpoint.open_manager(home, keep=keep)) as manager:
        # Where it stands. Only the lead reads; all processes then hold the same state.
        begun = once(lambda: begin(work, manager, console))
        steps, state = begun or (0, work.init())
        state = work.place(state)
        once(lambda: watch.continue_from(latest_timing(work.members)))
        save = checkpoint.Saver(manager, work.config, home, rows=work.members, mesh=mesh)

        def evaluate() -> Rows:
            with watch.spending("evaluating"):
                return work.evaluate(state)

        with (
            in_lead(open_logs(work.members, publish)) as write,
            progress(console, total=work.effort(work.end)) as report,
        ):
            # Before the first update. What goes on evaluates too, only to compile that now, so that
            # later no signal has to wait for it.
            untrained = evaluate() if work.measured_first else {}
            if not begun:
                once(partial(add_rows, write, 0, {EVALUATIONS: untrained}))
                save(state, steps=0, at_once=True)

            # One update after another: train, measure, write, choose who goes on, save.
            latest: Rows = {}
            skipped = 0
            while steps < work.end and not share(signals) and skipped < work.max_skipped:
                state, steps, rows = work.update(state, steps)
                skipped = min(row["skipped_in_a_row"] for row in rows.values())
                measured = evaluate() if work.due(steps) else {}
                timing = dict.fromkeys(rows, watch.row())
                tables = {METRICS: rows, EVALUATIONS: measured, TIMING: timing}
                once(partial(add_rows, write, steps, tables))
                state = work.select(state, steps, measured)
                with watch.spending("saving"):
                    save(state, steps=steps, evaluated=bool(measured))
                latest = measured or latest
                report(work.effort(steps), work.learning(rows, latest))
        save(state, steps=steps, at_once=True)
    if skipped >= work.max_skipped:
        raise Diverged(
            f"The last {skipped:.0f} minibatches were not finite and were skipped, so that nothing "
            f"is learned any more; the state before them is saved in {home}. {work.remedy}"
        )
    return state


def begin(
    work: Work[Any, State], manager: CheckpointManager, console: Console
) -> tuple[int, State] | None:
    """Where work stands, in steps, and its state; None if it has not begun.

    Rows after that are dropped.
    """
    if manager.latest_step() is None:
        for folder in work.members:
            if metrics.read(folder):
                raise UserError(
                    f"{folder} has rows but no checkpoint; put {manager.directory} back or start "
                    "anew."
                )
            metrics.clear(folder)
        return None
    template = jax.eval_shape(work.init)
    steps, state, made_with = checkpoint.restore(manager, template, config=work.config)
    state = work.go_on(state)
    for member, end in work.stands(state, steps).items():
        metrics.rewind(work.members[member], steps=end)
    console.print(work.standing(steps))
    for name, now in checkpoint.circumstances(work.config).items():
        if made_with.get(name, now) != now:
            console.print(
                f"Not bit for bit: the checkpoint was made with {name} {made_with.get(name)}, "
                f"this is {now}",
                soft_wrap=True,
            )
    return steps, state


def latest_timing(members: Sequence[Path]) -> dict[str, float]:
    """The last row of seconds of the member that was trained the longest."""
    rows = [metrics.last_row(folder, TIMING) for folder in members]
    return max(rows, key=lambda row: row.get("seconds", 0.0))


@contextmanager
def open_logs(
    members: Sequence[Path], publish: metrics.Publish | None
) -> Iterator[list[metrics.Write]]:
    """Where the rows of each member go."""
    with ExitStack() as logs:
        yield [
            logs.enter_context(metrics.open_log(folder, publish=None if place else publish))
            for place, folder in enumerate(members)
        ]


def add_rows(write: Sequence[metrics.Write], steps: int, tables: dict[str, Rows]) -> None:
    """Writes rows of the members by the files they belong to."""
    for file, rows in tables.items():
        for member, row in rows.items():
            write[member](file, steps, row)


def interruptible(learn: Callable[[list[int]], State], *, again: str) -> State:
    """What `learn` returns, given the signals that arrive while it runs.

    Args:
      again: the command that goes on after an interruption.

    Raises:
      Interrupted: SIGINT or SIGTERM arrived.
    """
    with interruption() as signals:
        state = learn(signals)
    if share(signals):
        raise Interrupted(f"Stopped; checkpoint saved. To continue: {again}", signal=signals[0])
    return state


@contextmanager
def interruption() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM; a second one of either ends the process as usual."""
    received: list[int] = []
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def note(number: int, frame: object) -> None:
        received.append(number)
        restore()

    for number in previous:
        signal.signal(number, note)
    try:
        yield received
    finally:
        restore()


@contextmanager
def held(folder: Path, *, needs: str, again: str) -> Iterator[None]:
    """Keeps other processes out of a folder, and turns a lack of memory or of room on the disk
    into a sentence.

    Args:
      folder: that is written.
      needs: the settings that memory has to suffice for.
      again: the command that goes on after there is room on the disk.

    Raises:
      Stopped: either is lacking.
      UserError: another process is at work there.
    """
    try:
        with in_lead(run.held(folder)):
            yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise Stopped(f"Memory does not suffice for {needs}; start with fewer.") from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Stopped(
            f"The disk is full, {error.filename or folder} could not be written; checkpoints are "
            f"intact. Make room, then: {again}"
        ) from None
