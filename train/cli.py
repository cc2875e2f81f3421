"""The `ndp` command. Heavy imports come only after the arguments have been understood."""

import dataclasses
import difflib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console

from configs import PRESETS, TrainConfig
from train import runtime
from train.checks import check
from train.errors import Interrupted, UserError

if TYPE_CHECKING:
    from envs.base import MjxEnv
    from train.evaluate import Outcome


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a policy on a task and leave a run folder with curve, video and checkpoint."""

    config: TrainConfig
    out: Path | None = None
    """Run folder to create; by default the first free runs/TASK-POLICY-seedN."""


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Play episodes with a trained policy and print how they went."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    episodes: int = 256
    """Episodes to play."""
    stochastic: bool = False
    """Explore as in training instead of taking the action means."""


@dataclasses.dataclass(frozen=True)
class Render:
    """Film episodes of a trained policy, or of a task under a controller that nobody trained."""

    what: tyro.conf.Positional[str]
    """Run folder or task name."""
    controller: Literal["scripted", "random", "zero"] | None = None
    """Who acts in a task; scripted if not given."""
    episodes: int = 4
    """Episodes to film, one after the other."""
    seed: int | None = None
    """Seed of the episodes; by default the run's, and 0 for a task."""
    out: Path | None = None
    """File to write: .mp4, .gif, or .png for moments of the first episode side by side; by default
    video.mp4 in the run folder, or runs/TASK-CONTROLLER.mp4."""


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw learning curves; seeds of the same task and policy become one curve with a band."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders."""
    out: Path = Path("curves.png")
    """Image to write."""


@dataclasses.dataclass(frozen=True)
class Tasks:
    """List the tasks."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """Time the primitive and the environments, each next to a peer."""

    tasks: tyro.conf.Positional[tuple[str, ...]] = ()
    """Task names; all if none is given."""
    num_envs: int = 256
    """Environments stepped in parallel."""


Command = Train | Evaluate | Render | Plot | Tasks | Bench


def parse(arguments: Sequence[str]) -> Command:
    """Understands a command line; exits with code 2 where it cannot.

    The task named in it selects the preset that the defaults come from.
    """
    preset = PRESETS[next((word for word in arguments if word in PRESETS), "push")]
    train = Train(config=dataclasses.replace(preset, task=tyro.MISSING))
    command = tyro.cli(
        Annotated[Train, tyro.conf.subcommand("train", default=train)]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Render, tyro.conf.subcommand("render")]
        | Annotated[Plot, tyro.conf.subcommand("plot")]
        | Annotated[Tasks, tyro.conf.subcommand("tasks")]
        | Annotated[Bench, tyro.conf.subcommand("bench")],
        prog="ndp",
        description="Neural dynamic policies: training, evaluation, plots and videos.",
        args=arguments,
        config=(
            tyro.conf.OmitArgPrefixes,
            tyro.conf.OmitSubcommandPrefixes,
            tyro.conf.PositionalRequiredArgs,
            tyro.conf.FlagCreatePairsOff,
        ),
    )
    if isinstance(command, Train):
        known_task(command.config.task)
        check(command.config)
    return command


def known_task(name: str, *, or_else: str = "") -> None:
    if name not in PRESETS:
        nearest = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.0)[0]
        raise UserError(f"There is no {or_else}task '{name}'; did you mean '{nearest}'?")


def train(command: Train, console: Console) -> None:
    """`ndp train`."""
    from train import loop

    folder = loop.train(command.config, out=command.out, console=console)
    for line in (
        f"Curve  {folder / 'curve.png'}",
        f"Video  {folder / 'video.mp4'}",
        f"Next   ndp evaluate {folder}",
        f"       ndp plot {folder}",
    ):
        console.print(line, soft_wrap=True)


def evaluate(command: Evaluate, console: Console) -> None:
    """`ndp evaluate`."""
    from train import checkpoint, run
    from train.evaluate import held_out_key, make_player, sentence, summarize

    positive("--episodes", command.episodes)
    config, env, state = checkpoint.load_run(command.run)
    play, key = make_player(env, config), held_out_key(config.seed)
    summary = summarize(play(state, key, episodes=command.episodes, stochastic=command.stochastic))
    if command.stochastic:
        run.write_json(command.run / "evaluation-stochastic.json", summary)
        console.print(f"Stochastic {sentence(summary)}", soft_wrap=True)
    else:
        run.write_json(command.run / "evaluation.json", summary)
        console.print(f"Deterministic {sentence(summary)}", soft_wrap=True)


def render(command: Render, console: Console) -> None:
    """`ndp render`."""
    from train.render import FORMATS, NoRenderer, film

    positive("--episodes", command.episodes)
    if command.out and command.out.suffix not in FORMATS:
        raise UserError(f"--out is {command.out}; it must end in {', '.join(FORMATS)}.")
    folder = Path(command.what)
    if command.controller or not folder.exists():
        known_task(command.what, or_else="" if command.controller else "run folder or ")
        env, outcome, path = controlled(command)
    else:
        env, outcome = learned(command)
        path = folder / "video.mp4"
    path = command.out or path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        film(env, outcome, path, episodes=command.episodes)
    except NoRenderer as problem:
        raise UserError(f"No video: {problem}") from None
    console.print(f"Wrote {path}", soft_wrap=True)


def learned(command: Render) -> "tuple[MjxEnv, Outcome]":
    """Episodes of a run's policy."""
    from train import checkpoint
    from train.evaluate import held_out_key, make_player

    config, env, state = checkpoint.load_run(Path(command.what))
    key = held_out_key(config.seed if command.seed is None else command.seed)
    return env, make_player(env, config)(state, key, episodes=command.episodes)


def controlled(command: Render) -> "tuple[MjxEnv, Outcome, Path]":
    """Episodes of a task under a controller, and where their film goes."""
    import envs
    from train.controllers import make_controller, play
    from train.evaluate import held_out_key

    task, name = command.what, command.controller or "scripted"
    env = envs.make(task)
    control = make_controller(name, task, env)
    outcome = play(env, control, held_out_key(command.seed or 0), episodes=command.episodes)
    return env, outcome, Path("runs") / f"{task}-{name}.mp4"


def plot(command: Plot, console: Console) -> None:
    """`ndp plot`."""
    from train import plots

    if not command.runs:
        raise UserError("Name at least one run folder to plot.")
    plots.learning_curves(list(command.runs), command.out)
    console.print(f"Wrote {command.out}", soft_wrap=True)


def tasks(command: Tasks, console: Console) -> None:
    """`ndp tasks`."""
    del command
    from train.tasks import table

    console.print(table())


def bench(command: Bench, console: Console) -> None:
    """`ndp bench`."""
    import jax

    from train import bench

    for task in command.tasks:
        known_task(task)
    positive("--num-envs", command.num_envs)
    jax.config.update("jax_enable_compilation_cache", False)  # compiling is measured, too
    bench.bench(command.tasks or tuple(PRESETS), num_envs=command.num_envs, console=console)


def positive(flag: str, value: int) -> None:
    if value < 1:
        raise UserError(f"{flag} is {value}; it must be greater than 0.")


ACTIONS = {
    Train: train,
    Evaluate: evaluate,
    Render: render,
    Plot: plot,
    Tasks: tasks,
    Bench: bench,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `ndp`.

    Returns:
      Exit code: 0; 2 for a mistake in the arguments; 130 or 143 after an interruption.
    """
    console = Console(highlight=False, markup=False)
    try:
        command = parse(sys.argv[1:] if arguments is None else arguments)
        runtime.prepare()
        ACTIONS[type(command)](command, console)
    except UserError as error:
        print(f"ndp: {error}", file=sys.stderr)
        return 2
    except Interrupted as stop:
        console.print(str(stop), soft_wrap=True)
        return 128 + stop.signal
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
