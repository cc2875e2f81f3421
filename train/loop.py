"""A whole run, from configuration to curve, video and checkpoint."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
from rich.console import Console

import envs
from configs import TrainConfig
from envs.base import MjxEnv
from train import checkpoint, plots, render, run
from train.agent import RobotEnv, hyperparameters
from train.errors import Interrupted
from train.evaluate import held_out_key, make_player, sentence, summarize
from train.metrics import open_log
from train.ppo import TrainState, make_learner
from train.progress import progress
from train.runtime import versions

SECONDS_BETWEEN_CHECKPOINTS = 120.0


def train(config: TrainConfig, *, out: Path | None, console: Console) -> Path:
    """Trains, evaluates, draws and films; returns the run folder.

    Raises:
      UserError: the configuration cannot run or the output folder cannot be used.
      Interrupted: SIGINT or SIGTERM arrived; the last update's checkpoint has been written.
    """
    env = envs.make(config.task, episode_length=config.episode_length)
    folder = run.fresh(config, out)
    run.save_config(folder, config, versions())
    console.print(f"Run folder {folder}", soft_wrap=True)

    with interruption() as signals:
        state = learn(config, env, folder, console, signals)
    if signals:
        raise Interrupted(f"Stopped; checkpoint saved in {folder}.", signal=signals[0])
    finish(config, env, state, folder, console)
    return folder


def learn(
    config: TrainConfig, env: RobotEnv, folder: Path, console: Console, signals: list[int]
) -> TrainState:
    """Runs updates until the configured steps or a signal, writing metrics and checkpoints."""
    started = time.monotonic()
    console.print("Compiling (up to a minute the first time, seconds afterwards) ...")
    learner = make_learner(env, config)
    state = jax.jit(learner.init)(jax.random.key(config.seed), hyperparameters(config))
    update = jax.jit(learner.update, donate_argnums=0)

    per_update = config.num_envs * config.rollout_steps
    total = config.steps // per_update * per_update
    steps, first, saved = 0, started, started
    with (
        open_log(folder) as write,
        checkpoint.open_manager(folder) as manager,
        progress(console, total=total) as report,
    ):
        while steps < total and not signals:
            state, metrics = update(state)
            metrics = {name: float(value) for name, value in jax.device_get(metrics).items()}
            now = time.monotonic()
            steps += per_update
            write(steps=steps, seconds=now - started, metrics=metrics)
            if steps == per_update:
                first = now
                console.print(f"First update done after {now - started:.0f} s")
            else:
                report(steps=steps, speed=(steps - per_update) / (now - first), metrics=metrics)
            if steps < total and now - saved > SECONDS_BETWEEN_CHECKPOINTS:
                checkpoint.save(manager, state, config=config, steps=steps)
                saved = now
        checkpoint.save(manager, state, config=config, steps=steps)
    return state


def finish(
    config: TrainConfig, env: MjxEnv, state: TrainState, folder: Path, console: Console
) -> None:
    """Evaluates the final policy and draws the curve and the video."""
    console.print(f"Evaluating {config.eval_episodes} deterministic episodes ...")
    key = held_out_key(config.seed)
    outcome = make_player(env, config)(state, key, episodes=config.eval_episodes)
    summary = summarize(outcome)
    run.write_json(folder / "evaluation.json", summary)
    plots.learning_curves([folder], folder / "curve.png")
    try:
        render.film(env, outcome, folder / "video.mp4")
    except render.NoRenderer as problem:
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
