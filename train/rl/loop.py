"""A whole run, from configuration to curve, video and checkpoint."""

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import jax
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray
from orbax.checkpoint import CheckpointManager
from rich.console import Console

from configs import TrainConfig
from envs.base import MjxEnv
from envs.camera import NoRenderer
from train.rl import memory, render
from train.rl.agent import RobotEnv, hyperparameters, make_env
from train.rl.evaluate import (
    Outcome,
    Play,
    held_out_key,
    make_player,
    sentence,
    summarize,
    validation_key,
)
from train.rl.ppo import Learner, TrainState, make_learner, place, row
from train.runs import checkpoint, metrics, plots, run
from train.runs.metrics import EVALUATIONS, METRICS, TIMING
from train.runs.progress import learning, progress
from train.runs.stopwatch import Stopwatch
from train.system.devices import gather
from train.system.errors import Interrupted, Stopped, UserError
from train.system.hints import hint
from train.system.hosts import in_lead, once, share
from train.system.runtime import versions


def train(
    config: TrainConfig,
    *,
    out: Path | None,
    wandb: bool,
    console: Console,
    mesh: Mesh | None = None,
) -> Path:
    """Trains on the devices of a mesh, evaluates, draws and films; returns the run folder.

    Raises:
      UserError: memory does not suffice, or the output folder cannot be used.
      Stopped: the disk is full, or nothing but non-finite numbers comes out.
      Interrupted: SIGINT or SIGTERM arrived; the last update's checkpoint has been written.
    """
    once(lambda: memory.check_run(config, mesh=mesh))
    folder = once(lambda: run.fresh(config, out))
    once(lambda: run.save_config(folder, config, versions()))
    return complete(config, folder, wandb=wandb, console=console, mesh=mesh)


def resume(
    folder: Path,
    *,
    steps: int | None,
    wandb: bool,
    console: Console,
    mesh: Mesh | None = None,
) -> Path:
    """Continues a run from its latest checkpoint, or from the start if it has none.

    It goes on exactly as it would have without the interruption. With more `steps` than before, the
    learning rate decays towards the new end from here on.

    Raises:
      UserError: the folder is not a run, is in use or damaged, or has gone further than `steps`.
      Stopped, Interrupted: as `train`.
    """
    config = once(lambda: run.with_steps(run.load_config(folder), steps))
    once(lambda: memory.check_run(config, mesh=mesh, resumed=True))
    return complete(config, folder, wandb=wandb, console=console, mesh=mesh)


def complete(
    config: TrainConfig,
    folder: Path,
    *,
    wandb: bool,
    console: Console,
    mesh: Mesh | None,
) -> Path:
    """Brings a run from wherever it is to its end."""
    console.print(f"Run folder {folder}", soft_wrap=True)
    env = make_env(config)
    play = make_player(env, config, mesh=mesh)
    publisher = metrics.weights_and_biases(folder, config) if wandb else nullcontext()
    needs = f"--num-envs {config.num_envs} and --rollout-steps {config.rollout_steps}"
    again = hint("train", "--resume", folder)
    with explained(folder, needs=needs, again=again), in_lead(run.held(folder)):
        once(lambda: run.save_steps(folder, config.steps))
        with interruption() as signals, in_lead(publisher) as publish:
            state = learn(config, env, play, folder, console, signals, publish=publish, mesh=mesh)
        if share(signals):
            raise Interrupted(f"Stopped; checkpoint saved. To continue: {again}", signal=signals[0])
        console.print(f"Evaluating {config.eval_episodes} deterministic episodes ...")
        outcome = play(state, held_out_key(config.seed), episodes=config.eval_episodes)
        state = gather(state, mesh)
        once(lambda: finish(config, env, state, outcome, folder, console))
    return folder


@contextmanager
def explained(folder: Path, *, needs: str, again: str) -> Iterator[None]:
    """Turns a lack of memory or of room on the disk into a sentence.

    Args:
      folder: that is written.
      needs: the settings that memory has to suffice for.
      again: the command that goes on after there is room on the disk.

    Raises:
      Stopped: either is lacking.
    """
    try:
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


def learn(
    config: TrainConfig,
    env: RobotEnv,
    play: Play,
    folder: Path,
    console: Console,
    signals: list[int],
    *,
    publish: metrics.Publish | None = None,
    mesh: Mesh | None = None,
) -> TrainState:
    """Runs updates until the configured steps or a signal, writing rows and checkpoints.

    Raises:
      Stopped: too many minibatches in a row were not finite, or the disk is full.
    """
    watch = Stopwatch()
    console.print("Compiling (up to a minute the first time, seconds afterwards) ...")
    learner = make_learner(env, config, mesh=mesh)
    seed, key = jax.random.key(config.seed), validation_key(config.seed)
    update = jax.jit(learner.update, donate_argnums=0)
    end, skipped = config.updates * config.steps_per_update, 0
    with in_lead(checkpoint.open_manager(folder, keep=config.keep_checkpoints)) as manager:
        begun = once(lambda: begin(config, learner, manager, folder, console))
        steps, state = begun or (0, jax.jit(learner.init)(seed, hyperparameters(config)))
        state = jax.jit(partial(place, mesh=mesh))(state)
        once(lambda: watch.continue_from(metrics.last_row(folder, TIMING)))
        save = checkpoint.Saver(manager, config, folder, mesh=mesh)

        def evaluate() -> dict[str, float]:
            with watch.spending("evaluating"):
                return validate(play, state, key, episodes=config.num_envs)

        with (
            in_lead(metrics.open_log(folder, publish=publish)) as write,
            progress(console, total=end) as report,
        ):
            # In a resumed run only to compile it, so that later no signal has to wait for that.
            untrained = evaluate() if config.eval_every else None
            if not begun and untrained:
                once(lambda: write(EVALUATIONS, 0, untrained))
            if not begun:
                save(state, steps=0, at_once=True)
            latest = None
            while steps < end and not share(signals) and skipped < config.ppo.max_skipped:
                state, numbers = update(state)
                steps += config.steps_per_update
                ended = steps // config.num_envs >= env.episode_length
                numbers = row(jax.device_get(numbers), ended=ended)
                skipped = numbers["skipped_in_a_row"]
                evaluation = evaluate() if evaluation_due(config, steps) else None
                once(partial(add_rows, write, steps, numbers, evaluation, watch.row()))
                with watch.spending("saving"):
                    save(state, steps=steps, evaluated=bool(evaluation))
                latest = evaluation or latest
                report(steps=steps, learning=learning(numbers, latest))
        save(state, steps=steps, at_once=True)
    if skipped >= config.ppo.max_skipped:
        raise Stopped(
            f"The last {skipped:.0f} minibatches were not finite and were skipped, so that nothing "
            f"is learned any more; the state before them is saved in {folder}. A lower "
            "--learning-rate or --max-grad-norm may help."
        )
    return state


def begin(
    config: TrainConfig,
    learner: Learner,
    manager: CheckpointManager,
    folder: Path,
    console: Console,
) -> tuple[int, TrainState] | None:
    """Where a run stands, in environment steps, and its state; None if it has not begun.

    Rows after that are dropped.
    """
    if manager.latest_step() is None:
        if metrics.read(folder):
            raise UserError(
                f"{folder} has rows but no checkpoint; put checkpoints/ back or start a new run."
            )
        metrics.clear(folder)
        return None
    hyper = hyperparameters(config)
    template = jax.eval_shape(learner.init, jax.random.key(config.seed), hyper)
    steps, state, made_with = checkpoint.restore(manager, template, config=config)
    metrics.rewind(folder, steps=steps)
    if steps >= config.updates * config.steps_per_update:
        console.print(f"Finished already, at {steps:,} steps; to go further, raise --steps.")
    else:
        console.print(f"Continuing at {steps:,} steps")
    compare_versions(made_with, console)
    schedule = state.hyper.replace(total_updates=hyper.total_updates)
    return steps, state.replace(hyper=schedule)


def compare_versions(made_with: dict[str, str], console: Console) -> None:
    """Says what keeps a continued run from being exactly what it would have been."""
    for name, now in versions().items():
        if made_with.get(name, now) != now:
            console.print(
                f"Not bit for bit: the checkpoint was made with {name} {made_with.get(name)}, "
                f"this is {now}",
                soft_wrap=True,
            )


def add_rows(
    write: metrics.Write,
    steps: int,
    numbers: dict[str, float],
    evaluation: dict[str, float] | None,
    timing: dict[str, float],
) -> None:
    """Writes the rows of an update."""
    write(METRICS, steps, numbers)
    if evaluation:
        write(EVALUATIONS, steps, evaluation)
    write(TIMING, steps, timing)


def evaluation_due(config: TrainConfig, steps: int) -> bool:
    """Whether the update that ended at `steps` is followed by an evaluation; the last one is."""
    updates = steps // config.steps_per_update
    every = config.eval_every
    return every > 0 and (updates % every == 0 or updates == config.updates)


def validate(
    play: Play, state: TrainState, key: PRNGKeyArray, *, episodes: int
) -> dict[str, float]:
    """Evaluates with action means and, in columns that say so, exploring."""
    means = summarize(play(state, key, episodes=episodes))
    exploring = summarize(play(state, key, episodes=episodes, stochastic=True))
    return means | {f"stochastic_{name}": value for name, value in exploring.items()}


def finish(
    config: TrainConfig,
    env: MjxEnv,
    state: TrainState,
    outcome: Outcome,
    folder: Path,
    console: Console,
) -> None:
    """Sums the final evaluation up, and draws the curve and the video."""
    summary = summarize(outcome)
    run.write_json(folder / "evaluation.json", summary)
    plots.learning_curves([folder], folder / "curve.png")
    try:
        plan = render.plans_of(env, config, state, outcome)
        episodes = render.first_few(outcome)
        render.film(env, outcome, folder / "video.mp4", episodes=episodes, plan=plan)
    except NoRenderer as problem:
        console.print(f"No video: {problem}", soft_wrap=True)
    console.print(f"Deterministic {sentence(summary)}", soft_wrap=True)


@contextmanager
def interruption() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM; a second one of either ends the process as usual."""
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def note(number: int, frame: object) -> None:
        received.append(number)
        restore()

    for number in numbers:
        signal.signal(number, note)
    try:
        yield received
    finally:
        restore()


def load_run(
    folder: Path, *, which: run.Which = "latest"
) -> tuple[TrainConfig, MjxEnv, TrainState]:
    """Configuration, environment and a checkpoint of a run folder.

    Raises:
      UserError: as `run.load_config` and `restore`.
    """
    config = run.load_config(folder)
    if not (folder / "checkpoints").is_dir():
        raise UserError(f"{folder} holds no checkpoint yet.")
    env = make_env(config)
    learner = make_learner(env, config)
    template = jax.eval_shape(learner.init, jax.random.key(config.seed), hyperparameters(config))
    with checkpoint.open_manager(folder, read_only=True) as manager:
        return config, env, checkpoint.restore(manager, template, config=config, which=which)[1]
