"""A whole run, from configuration to curve, video and checkpoint."""

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
from jax.sharding import Mesh
from rich.console import Console

from configs import TrainConfig
from configs.fields import replaced
from envs.base import MjxEnv
from envs.camera import NoRenderer
from train.rl import film, memory
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
from train.rl.ppo import TrainState, make_learner, place, row
from train.runs import checkpoint, loop, metrics, physics, plots, run
from train.runs.checks import check
from train.runs.progress import learning
from train.system.devices import gather
from train.system.distributed import in_lead, once
from train.system.errors import UserError
from train.system.hints import hint
from train.system.runtime import configure_jax, versions


def train(
    env: RobotEnv,
    config: TrainConfig,
    *,
    out: Path | None = None,
    wandb: bool = False,
    console: Console | None = None,
    mesh: Mesh | None = None,
) -> Path:
    """What `ndp train` does: trains, evaluates, draws and films.

    Args:
      env: one environment; one without physics is not filmed.
      config: what is trained, and how; `config.task` names the environment.
      out: the run folder to create; by default the first free runs/TASK-POLICY-seedN.
      wandb: publish to Weights & Biases, too.
      console: where progress is printed; by default the terminal.
      mesh: the devices that share the environments; None for one.

    Returns:
      The run folder.

    Raises:
      UserError: a setting cannot work, memory does not suffice, or the folder cannot be used.
      Stopped: the disk is full, or nothing but non-finite numbers comes out.
      Interrupted: SIGINT or SIGTERM arrived; the last update's checkpoint has been written.
    """
    config = replaced(config, {"impl": getattr(env, "impl", config.impl)})
    check(config)
    configure_jax()
    once(lambda: memory.check_run(env, config, mesh=mesh))
    folder = once(lambda: run.fresh(config, out))
    once(lambda: run.save_config(folder, config, versions()))
    return complete(env, config, folder, wandb=wandb, console=console, mesh=mesh)


def resume(
    folder: Path,
    *,
    changes: Mapping[str, Any],
    wandb: bool,
    console: Console,
    mesh: Mesh | None = None,
) -> Path:
    """Continues a run from its latest checkpoint, or from the start if it has none.

    It goes on exactly as it would have without the interruption. With more steps than before, the
    learning rate decays towards the new end from here on.

    Args:
      folder: of the run.
      changes: as `run.changed` takes them.
      wandb: publish to Weights & Biases, too.
      console: where progress is printed.
      mesh: the devices that share the environments; None for one.

    Raises:
      UserError: the folder is not a run, is in use or damaged, or has gone further than `steps`.
      Stopped, Interrupted: as `train`.
    """
    config = physics.resolved(once(lambda: run.changed(run.load_config(folder), changes)))
    env = make_env(config)
    once(lambda: memory.check_run(env, config, mesh=mesh, resumed=True))
    return complete(env, config, folder, wandb=wandb, console=console, mesh=mesh)


def complete(
    env: RobotEnv,
    config: TrainConfig,
    folder: Path,
    *,
    wandb: bool,
    console: Console | None,
    mesh: Mesh | None,
) -> Path:
    """Brings a run from wherever it is to its end."""
    console = console or Console(highlight=False, markup=False)
    console.print(f"Run folder {folder}", soft_wrap=True)
    if isinstance(env, MjxEnv):
        console.print(physics.line(config))
    play = make_player(env, config, mesh=mesh)
    publisher = metrics.weights_and_biases(folder, config) if wandb else nullcontext()
    needs = f"--num-envs {config.num_envs} and --rollout-steps {config.rollout_steps}"
    again = hint("train", "--resume", folder)
    with loop.held(folder, needs=needs, again=again):
        once(lambda: run.save_settings(folder, config))
        with in_lead(publisher) as publish:
            console.print("Compiling (up to a minute the first time, seconds afterwards) ...")
            work = Run(config, env, play, folder, mesh=mesh)
            options = {"publish": publish, "mesh": mesh}
            learn = partial(loop.train, work, folder, console, **options)
            state = loop.interruptible(learn, again=again)
        console.print(f"Evaluating {config.eval_episodes} deterministic episodes ...")
        outcome = play(state, held_out_key(config.seed), episodes=config.eval_episodes)
        state = gather(state, mesh)
        once(lambda: finish(config, env, state, outcome, folder, console))
    return folder


class Run(loop.Work[TrainConfig, TrainState]):
    """One run, to the host's loop."""

    remedy = "A lower --learning-rate or --max-grad-norm may help."

    def __init__(
        self,
        config: TrainConfig,
        env: RobotEnv,
        play: Play,
        folder: Path,
        *,
        mesh: Mesh | None = None,
    ) -> None:
        self.config, self.members = config, (folder,)
        self.end = config.updates * config.steps_per_update
        self.max_skipped = config.ppo.max_skipped
        self.measured_first = bool(config.eval_every)
        self._env, self._play, self._mesh = env, play, mesh
        self._learner = make_learner(env, config, mesh=mesh)
        self._update = jax.jit(self._learner.update, donate_argnums=0)

    def init(self) -> TrainState:
        key = jax.random.key(self.config.seed)
        return jax.jit(self._learner.init)(key, hyperparameters(self.config))

    def go_on(self, state: TrainState) -> TrainState:
        total = hyperparameters(self.config).total_updates
        return state.replace(hyper=state.hyper.replace(total_updates=total))

    def place(self, state: TrainState) -> TrainState:
        return jax.jit(partial(place, mesh=self._mesh))(state)

    def update(self, state: TrainState, steps: int) -> tuple[TrainState, int, loop.Rows]:
        state, numbers = self._update(state)
        steps += self.config.steps_per_update
        ended = steps // self.config.num_envs >= self._env.episode_length
        return state, steps, {0: row(jax.device_get(numbers), ended=ended)}

    def due(self, steps: int) -> bool:
        return evaluation_due(self.config, steps)

    def evaluate(self, state: TrainState) -> loop.Rows:
        """With action means and, in columns that say so, exploring."""
        key, episodes = validation_key(self.config.seed), self.config.num_envs
        means, exploring = (
            summarize(self._play(state, key, episodes=episodes, stochastic=stochastic))
            for stochastic in (False, True)
        )
        return {0: measured(means, exploring)}

    def learning(self, rows: loop.Rows, evaluations: loop.Rows) -> str:
        return learning(rows[0], evaluations.get(0))


def measured(means: dict[str, float], exploring: dict[str, float]) -> dict[str, float]:
    """The row of an evaluation with action means, and of one that explores."""
    return means | {f"stochastic_{name}": value for name, value in exploring.items()}


def evaluation_due(config: TrainConfig, steps: int) -> bool:
    """Whether the update that ended at `steps` is followed by an evaluation; the last one is."""
    updates = steps // config.steps_per_update
    every = config.eval_every
    return every > 0 and (updates % every == 0 or updates == config.updates)


def finish(
    config: TrainConfig,
    env: RobotEnv,
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
        plan = film.plans_of(env, config, state, outcome)
        episodes = film.first_few(outcome)
        film.film(env, outcome, folder / "video.mp4", episodes=episodes, plan=plan)
    except NoRenderer as problem:
        console.print(f"No video: {problem}", soft_wrap=True)
    console.print(f"Deterministic {sentence(summary)}", soft_wrap=True)


def load_run(
    folder: Path, *, which: run.Which = "latest", changes: Mapping[str, Any] = MappingProxyType({})
) -> tuple[TrainConfig, Any, TrainState]:
    """Configuration, environment and a checkpoint of a run folder.

    Args:
      folder: of the run.
      which: checkpoint.
      changes: settings that differ from the run's, by name: impl and threads.

    Raises:
      UserError: as `run.load_config` and `restore`.
    """
    config = run.changed(run.load_config(folder), changes)
    if not (folder / "checkpoints").is_dir():
        raise UserError(f"{folder} holds no checkpoint yet.")
    env = make_env(config)
    template = memory.shapes(env, config)
    with checkpoint.open_manager(folder, read_only=True) as manager:
        return config, env, checkpoint.restore(manager, template, config=config, which=which)[1]
