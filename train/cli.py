"""The `ndp` command. Heavy imports come only after the arguments have been understood."""

import dataclasses
import difflib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from configs import PRESETS, TrainConfig
from train import runtime
from train.errors import Interrupted, UserError


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
    """Film episodes of a trained policy into the run folder."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    episodes: int = 4
    """Episodes to film, one after the other."""


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw learning curves; seeds of the same task and policy become one curve with a band."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders."""
    out: Path = Path("curves.png")
    """Image to write."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """Time the primitive and an environment, each next to a peer."""

    task: tyro.conf.Positional[str] = "push"
    """Task name."""
    num_envs: int = 128
    """Environments stepped in parallel."""


Command = Train | Evaluate | Render | Plot | Bench


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
    return command


def known_task(name: str) -> None:
    if name not in PRESETS:
        nearest = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.0)[0]
        raise UserError(f"There is no task '{name}'; did you mean '{nearest}'?")


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
    from train import checkpoint, rollout, run
    from train.evaluate import held_out_key, play, sentence, summarize

    positive("--episodes", command.episodes)
    config, env, state = checkpoint.load_run(command.run)
    choose = rollout.explore if command.stochastic else rollout.exploit
    key = held_out_key(config.seed)
    outcome = play(env, config, state, key, episodes=command.episodes, choose=choose)
    summary = summarize(outcome)
    if command.stochastic:
        run.write_json(command.run / "evaluation-stochastic.json", summary)
        console.print(f"Stochastic {sentence(summary)}", soft_wrap=True)
    else:
        run.write_json(command.run / "evaluation.json", summary)
        console.print(f"Deterministic {sentence(summary)}", soft_wrap=True)


def render(command: Render, console: Console) -> None:
    """`ndp render`."""
    from train import checkpoint, rollout
    from train.evaluate import held_out_key, play
    from train.render import NoRenderer, film

    positive("--episodes", command.episodes)
    config, env, state = checkpoint.load_run(command.run)
    key = held_out_key(config.seed)
    outcome = play(env, config, state, key, episodes=command.episodes, choose=rollout.exploit)
    path = command.run / "video.mp4"
    try:
        film(env, outcome, path, episodes=command.episodes)
    except NoRenderer as problem:
        raise UserError(f"No video: {problem}") from None
    console.print(f"Wrote {path}", soft_wrap=True)


def plot(command: Plot, console: Console) -> None:
    """`ndp plot`."""
    from train import plots

    if not command.runs:
        raise UserError("Name at least one run folder to plot.")
    plots.learning_curves(list(command.runs), command.out)
    console.print(f"Wrote {command.out}", soft_wrap=True)


def bench(command: Bench, console: Console) -> None:
    """`ndp bench`."""
    from train import bench

    known_task(command.task)
    positive("--num-envs", command.num_envs)
    bench.bench(command.task, num_envs=command.num_envs, console=console)


def positive(flag: str, value: int) -> None:
    if value < 1:
        raise UserError(f"{flag} is {value}; it must be greater than 0.")


ACTIONS = {Train: train, Evaluate: evaluate, Render: render, Plot: plot, Bench: bench}


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
