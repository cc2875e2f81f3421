"""A whole imitation, from configuration to curve, pictures and checkpoint."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray, PyTree
from orbax.checkpoint import CheckpointManager
from rich.console import Console

from configs import DigitsConfig, ImitateConfig
from train.imitation.imitation import Learner, LearnerState, Material, Problem, make_learner
from train.imitation.imitation_figures import imitation_curves
from train.rl.loop import compare_versions, explained, interruption
from train.runs import checkpoint, metrics, run
from train.runs.metrics import EVALUATIONS, METRICS, TIMING
from train.runs.progress import progress
from train.runs.stopwatch import Stopwatch
from train.system.errors import Diverged, Interrupted
from train.system.hints import hint
from train.system.runtime import versions

ROW = 100
"""Gradient steps that a row of metrics.csv is the mean of, and that a signal may have to wait."""


def module(config: ImitateConfig) -> Any:
    """Who knows how this is learned, judged, drawn and exported: functions of the same names."""
    if isinstance(config, DigitsConfig):
        from train.imitation import digit_writing

        return digit_writing
    from train.imitation import cloning

    return cloning


def imitate(config: ImitateConfig, *, out: Path | None, console: Console) -> Path:
    """Learns, judges and draws; returns the run folder.

    Raises:
      UserError: the output folder, or the file to learn from, cannot be used.
      Stopped: the disk is full, or nothing but non-finite numbers comes out.
      Interrupted: SIGINT or SIGTERM arrived; a checkpoint has been written.
    """
    kit = prepare(config)  # before a folder is made
    folder = run.fresh(config, out)
    run.save_config(folder, config, versions())
    return complete(config, kit, folder, console)


def resume(folder: Path, *, steps: int | None, console: Console) -> Path:
    """Continues a run from its latest checkpoint, or from the start if it has none.

    Raises:
      UserError: the folder is not a run, is in use or damaged, or has gone further than `steps`.
      Stopped, Interrupted: as `imitate`.
    """
    config: Any = run.with_steps(run.load_imitation(folder), steps)
    return complete(config, prepare(config), folder, console)


class Kit(NamedTuple):
    """What runs can share whose settings make the same `grid.program`.

    Attributes:
      problem: what is imitated.
      material: what is learned from.
      update: the compiled gradient step of `imitation.Learner`; consumes the state it is given.
    """

    problem: Problem
    material: Material
    update: Callable[[LearnerState, PyTree], tuple[LearnerState, dict[str, Array]]]


def prepare(config: ImitateConfig) -> Kit:
    """What a run needs beside its settings.

    Raises:
      UserError: there is nothing to learn from.
    """
    problem = module(config).problem(config)
    learner = make_learner(problem.loss, config.descent, examples=problem.size)
    return Kit(problem, problem.load(), jax.jit(learner.update, donate_argnums=0))


def complete(
    config: ImitateConfig, kit: Kit, folder: Path, console: Console, *, again: str = ""
) -> Path:
    """Brings a run from wherever it is to its end.

    Args:
      kit: of this configuration, or of another with the same `grid.program`.
      again: the command that goes on after an interruption, if not that of the run alone.

    Raises:
      UserError, Stopped, Interrupted: as `imitate`.
    """
    console.print(f"Run folder {folder}", soft_wrap=True)
    console.print(f"Learning from {kit.material.about}", soft_wrap=True)
    again = again or hint("imitate", "--resume", folder)
    needs = f"--batch {config.descent.batch} and {kit.problem.size} examples"
    with explained(folder, needs=needs, again=again), run.held(folder):
        run.save_steps(folder, config.descent.steps)
        with interruption() as signals:
            state = learn(config, kit, folder, console, signals)
        if signals:
            raise Interrupted(f"Stopped; checkpoint saved. To continue: {again}", signal=signals[0])
        finish = kit.material.finish
        summary, sentence = finish(state.variables, folder, console, seed=config.seed)
        run.write_json(folder / "evaluation.json", summary)
        imitation_curves([folder], folder / "curve.png")
        console.print(sentence, soft_wrap=True)
    return folder


def learn(
    config: ImitateConfig, kit: Kit, folder: Path, console: Console, signals: Sequence[int]
) -> LearnerState:
    """Descends until the configured steps or a signal, writing rows and checkpoints.

    Raises:
      Diverged: too many minibatches in a row were not finite.
      Stopped: the disk is full.
    """
    watch, descent, material = Stopwatch(), config.descent, kit.material
    with checkpoint.open_manager(folder, keep=descent.keep_checkpoints) as manager:
        state = begin(config, kit, manager, folder, console)
        steps, skipped = int(state.steps), 0
        watch.continue_from(metrics.last_row(folder, TIMING))
        save = checkpoint.Saver(manager, config, folder)
        with (
            metrics.open_log(folder) as write,
            progress(console, total=descent.steps) as report,
        ):
            latest = None
            while steps < descent.steps and not signals and skipped < descent.max_skipped:
                rows = []
                for _ in range(min(ROW - steps % ROW, descent.steps - steps)):
                    state, numbers = kit.update(state, material.examples)
                    rows.append(numbers)
                steps, skipped = steps + len(rows), int(state.skipped_in_a_row)
                write(METRICS, steps, summary_of(rows, state))
                passed = steps // descent.eval_every > (steps - len(rows)) // descent.eval_every
                due = passed or steps == descent.steps
                if due:
                    with watch.spending("evaluating"):
                        latest = material.error(state.variables)
                    write(EVALUATIONS, steps, {"error": latest})
                write(TIMING, steps, watch.row())
                with watch.spending("saving"):
                    save(state, steps=steps, evaluated=due)
                report(steps=steps, learning=learning(rows, skipped, latest))
        save(state, steps=steps, at_once=True)
    if skipped >= descent.max_skipped:
        raise Diverged(
            f"The last {skipped} minibatches were not finite and were skipped, so that nothing is "
            f"learned any more; the state before them is saved in {folder}. A lower "
            "--learning-rate may help."
        )
    return state


def begin(
    config: ImitateConfig, kit: Kit, manager: CheckpointManager, folder: Path, console: Console
) -> LearnerState:
    """Where a run stands; rows after that are dropped."""
    problem = kit.problem
    learner = make_learner(problem.loss, config.descent, examples=problem.size)
    if manager.latest_step() is None:
        metrics.clear(folder)
        variables_key, key = jax.random.split(jax.random.key(config.seed))
        variables = problem.init(variables_key, kit.material.examples)
        return learner.init(variables, key)
    template = jax.eval_shape(partial(fresh, problem, learner), jax.random.key(0))
    steps, state, made_with = checkpoint.restore(manager, template, config=config)
    metrics.rewind(folder, steps=steps)
    finished = steps >= config.descent.steps
    console.print(
        f"Finished already, at {steps:,} steps; to go further, raise --steps."
        if finished
        else f"Continuing at {steps:,} steps"
    )
    compare_versions(made_with, console)
    total = np.asarray(config.descent.steps, np.int32)
    return state.replace(total_steps=jax.numpy.asarray(total))


def fresh(problem: Problem, learner: Learner, key: PRNGKeyArray) -> LearnerState:
    """A state of the right shapes, from a blank example."""
    return learner.init(problem.init(key, problem.blank), key)


def summary_of(rows: Sequence[dict[str, Any]], state: LearnerState) -> dict[str, float]:
    """Means over gradient steps, and what was left out so far."""
    fetched = jax.device_get(rows)
    means = {name: float(np.mean([row[name] for row in fetched])) for name in fetched[0]}
    return means | {
        "skipped_minibatches": int(state.skipped_minibatches),
        "skipped_in_a_row": int(state.skipped_in_a_row),
    }


def learning(rows: Sequence[dict[str, Any]], skipped: int, error: float | None) -> str:
    """How well a run learns; `nan` counts the latest minibatches that were not finite."""
    evaluated = [] if error is None else [f"held-out error {error:.4f}"]
    return "  ".join([f"loss {float(rows[-1]['loss']):.4f}", f"nan {skipped}", *evaluated])


def restored(folder: Path, which: run.Which) -> tuple[Any, PyTree]:
    """Configuration and variables of a run folder.

    Raises:
      UserError: as `run.load_imitation` and `checkpoint.restore`.
    """
    config = run.load_imitation(folder)
    problem = module(config).problem(config)
    learner = make_learner(problem.loss, config.descent, examples=problem.size)
    template = jax.eval_shape(partial(fresh, problem, learner), jax.random.key(0))
    with checkpoint.open_manager(folder, read_only=True) as manager:
        state = checkpoint.restore(manager, template, config=config, which=which)[1]
    return config, state.variables


def evaluate(folder: Path, *, which: run.Which) -> dict[str, Any]:
    """Judges a run's checkpoint anew."""
    config, variables = restored(folder, which)
    return module(config).judge(config, variables)


def export(folder: Path, path: Path | None = None, *, which: run.Which = "latest") -> Path:
    """Writes what was learned to one file, by default policy.msgpack in the run's folder.

    Raises:
      UserError: the run cannot be loaded or the file cannot be written.
    """
    config, variables = restored(folder, which)
    path = path or folder / "policy.msgpack"
    return module(config).export(config, variables, folder, path)


def render(
    folder: Path,
    path: Path | None = None,
    *,
    which: run.Which = "latest",
    episodes: Sequence[int],
    near: bool = False,
    at: Sequence[int] | None = None,
    seed: int | None = None,
) -> Path:
    """Draws what was learned: digits to digits.png, or episodes of a robot to video.mp4.

    Raises:
      NoRenderer: no OpenGL here.
      UserError: the run cannot be loaded, or there is no such episode or step.
    """
    config, variables = restored(folder, which)
    options = {"episodes": episodes, "near": near, "at": at, "seed": seed}
    return module(config).render(config, variables, folder, path, **options)
