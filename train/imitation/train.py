"""A whole imitation, from configuration to curve, pictures and checkpoint."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree
from rich.console import Console

from configs import DigitsConfig, ImitateConfig
from train.imitation.figures import imitation_curves
from train.imitation.learner import LearnerState, Material, Problem, make_learner
from train.runs import checkpoint, loop, physics, run
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
    config = physics.resolved(config)
    kit = prepare(config)  # before a folder is made
    folder = run.fresh(config, out)
    run.save_config(folder, config, versions())
    return complete(config, kit, folder, console)


def resume(folder: Path, *, changes: Mapping[str, Any], console: Console) -> Path:
    """Continues a run from its latest checkpoint, or from the start if it has none.

    Args:
      folder: of the run.
      changes: as `run.changed` takes them.
      console: where progress is printed.

    Raises:
      UserError: the folder is not a run, is in use or damaged, or has gone further than its steps.
      Stopped, Interrupted: as `imitate`.
    """
    config: Any = physics.resolved(run.changed(run.load_imitation(folder), changes))
    return complete(config, prepare(config), folder, console)


class Kit(NamedTuple):
    """What runs can share whose settings make the same `grid.program`.

    Attributes:
      problem: what is imitated.
      material: what is learned from.
      update: the compiled gradient step of `Learner`; consumes the state it is given.
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
    if not isinstance(config, DigitsConfig):
        console.print(physics.line(config))
    console.print(f"Learning from {kit.material.about}", soft_wrap=True)
    again = again or hint("imitate", "--resume", folder)
    needs = f"--batch {config.descent.batch} and {kit.problem.size} examples"
    with loop.held(folder, needs=needs, again=again):
        run.save_settings(folder, config)
        learn = partial(loop.train, Lessons(config, kit, folder), folder, console)
        state = loop.interruptible(learn, again=again)
        finish = kit.material.finish
        summary, sentence = finish(state.variables, folder, console, config.seed)
        run.write_json(folder / "evaluation.json", summary)
        imitation_curves([folder], folder / "curve.png")
        console.print(sentence, soft_wrap=True)
    return folder


class Lessons(loop.Work[ImitateConfig, LearnerState]):
    """One imitation, to the host's loop; its rows are means over `ROW` gradient steps."""

    measured_first = False

    def __init__(self, config: ImitateConfig, kit: Kit, folder: Path) -> None:
        self.config, self.members = config, (folder,)
        self.end, self.max_skipped = config.descent.steps, config.descent.max_skipped
        self._kit = kit

    def init(self) -> LearnerState:
        problem, descent = self._kit.problem, self.config.descent
        learner = make_learner(problem.loss, descent, examples=problem.size)
        variables_key, key = jax.random.split(jax.random.key(self.config.seed))
        return learner.init(problem.init(variables_key, self._kit.material.examples), key)

    def go_on(self, state: LearnerState) -> LearnerState:
        return state.replace(total_steps=jnp.asarray(self.end, jnp.int32))

    def update(self, state: LearnerState, steps: int) -> tuple[LearnerState, int, loop.Rows]:
        told = []
        for _ in range(min(ROW - steps % ROW, self.end - steps)):
            state, numbers = self._kit.update(state, self._kit.material.examples)
            told.append(numbers)
        return state, steps + len(told), {0: summary_of(told, state)}

    def due(self, steps: int) -> bool:
        every, before = self.config.descent.eval_every, steps - (steps % ROW or ROW)
        return steps // every > before // every or steps == self.end

    def evaluate(self, state: LearnerState) -> loop.Rows:
        return {0: {"error": self._kit.material.error(state.variables)}}

    def learning(self, rows: loop.Rows, evaluations: loop.Rows) -> str:
        """`nan` counts the latest minibatches that were not finite."""
        evaluated = f"  held-out error {evaluations[0]['error']:.4f}" if evaluations else ""
        return f"loss {rows[0]['loss']:.4f}  nan {rows[0]['skipped_in_a_row']:.0f}{evaluated}"


def summary_of(rows: Sequence[dict[str, Any]], state: LearnerState) -> dict[str, float]:
    """Means over gradient steps, and what was left out so far."""
    fetched = jax.device_get(rows)
    means = {name: float(np.mean([row[name] for row in fetched])) for name in fetched[0]}
    return means | {
        "skipped_minibatches": int(state.skipped_minibatches),
        "skipped_in_a_row": int(state.skipped_in_a_row),
    }


def restored(
    folder: Path, which: run.Which, changes: Mapping[str, Any] = MappingProxyType({})
) -> tuple[Any, PyTree]:
    """Configuration and variables of a run folder.

    Args:
      folder: of the run.
      which: checkpoint.
      changes: settings that differ from the run's, by name: impl and threads.

    Raises:
      UserError: as `run.load_imitation` and `checkpoint.restore`.
    """
    config = run.changed(run.load_imitation(folder), changes)
    problem = module(config).problem(config)
    learner = make_learner(problem.loss, config.descent, examples=problem.size)
    key = jax.random.key(0)
    template = jax.eval_shape(lambda: learner.init(problem.init(key, problem.blank), key))
    with checkpoint.open_manager(folder, read_only=True) as manager:
        state = checkpoint.restore(manager, template, config=config, which=which)[1]
    return config, state.variables


def evaluate(
    folder: Path, *, which: run.Which, changes: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Judges a run's checkpoint anew; `changes` as `restored` takes them."""
    config, variables = restored(folder, which, changes)
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
    changes: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> Path:
    """Draws what was learned: digits to digits.png, or episodes of a robot to video.mp4.

    Args:
      folder: of the run.
      path: where to, if not there.
      which: checkpoint.
      changes: as `restored` takes them.
      options: of the film, those of `cloning.render`.

    Raises:
      NoRenderer: no OpenGL here.
      UserError: the run cannot be loaded, or there is no such episode or step.
    """
    config, variables = restored(folder, which, changes)
    return module(config).render(config, variables, folder, path, **options)
