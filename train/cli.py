"""The `ndp` command. Heavy imports come only after the arguments have been understood."""

import dataclasses
import difflib
import importlib.util
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console

from configs import PRESETS, TrainConfig
from train import runtime
from train.checks import check, flag, settings
from train.errors import Interrupted, Stopped, UserError
from train.run import Which, check_free, check_place, load_config, with_steps

if TYPE_CHECKING:
    from envs.base import MjxEnv
    from ndp_jax.policies import Plan
    from train.evaluate import Outcome


FILMS = (".mp4", ".gif", ".png")
IMAGES = (".png", ".pdf", ".svg")
MOST_EPISODES = 65_536
"""At once, for evaluations and films; also environments of the benchmark."""


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a policy on a task and leave a run folder with curve, video and checkpoints.

    `ndp train --resume RUN` continues one; of its settings only --steps can be raised.
    """

    config: TrainConfig
    out: Path | None = None
    """Run folder to create; by default the first free runs/TASK-POLICY-seedN."""
    wandb: bool = False
    """Publish to Weights & Biases, too."""


@dataclasses.dataclass(frozen=True)
class Resume:
    """Continue a run from its latest checkpoint, as if nothing had happened."""

    resume: Path
    """Run folder."""
    steps: int | None = None
    """Environment steps to go on to; by default as many as it was started with."""
    wandb: bool = False
    """Publish to Weights & Biases, too."""


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Play episodes with a trained policy and print how they went."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    episodes: int = 256
    """Episodes to play."""
    stochastic: bool = False
    """Explore as in training instead of taking the action means."""
    checkpoint: Which = "latest"
    """The latest checkpoint, or the one of the best evaluation during training."""


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a policy into one file that `ndp_jax.load_policy` reads."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    out: Path | None = None
    """File to write; by default policy.msgpack in the run folder."""
    checkpoint: Which = "latest"
    """The latest checkpoint, or the one of the best evaluation during training."""


@dataclasses.dataclass(frozen=True)
class Render:
    """Film episodes of a trained policy, or of a task under a controller that nobody trained.

    What the policy planned is drawn into the scene: the path of the movement that the robot
    follows, a stripe per action, its goal as a ball, and paler the plans before it.
    """

    what: tyro.conf.Positional[str]
    """Run folder or task name."""
    controller: Literal["scripted", "random", "zero"] | None = None
    """Who acts in a task; scripted if not given."""
    episodes: int = 4
    """Episodes to film, one after the other, from the first on."""
    which: tuple[int, ...] = ()
    """Episodes of a run to film instead, counted from 0 as `ndp evaluate` counts them."""
    checkpoint: Which = "latest"
    """The latest checkpoint, or the one of the best evaluation during training."""
    near: bool = False
    """Show only where the plans of a run go instead of the whole scene."""
    at: tuple[int, ...] = ()
    """Steps after which the pictures of a .png are taken; by default spread evenly."""
    seed: int | None = None
    """Seed of the episodes; by default the run's, and 0 for a task."""
    out: Path | None = None
    """File to write: .mp4, .gif, or .png for moments of the first episode side by side; by default
    video.mp4 in the run folder, or runs/TASK-CONTROLLER.mp4."""


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw learning curves; runs that differ only in their seed become one curve with a band."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders."""
    out: Path = Path("curves.png")
    """Image to write."""
    statistic: Literal["mean", "iqm"] = "mean"
    """What to draw of several seeds: their mean or their interquartile mean."""


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


Command = Train | Resume | Evaluate | Export | Render | Plot | Tasks | Bench


def parse(arguments: Sequence[str]) -> Command:
    """Understands a command line; exits with code 2 where it cannot.

    The task named in it selects the preset that the defaults come from.
    """
    if [*arguments[:1]] == ["train"] and any(
        word.split("=")[0] == "--resume" for word in arguments
    ):
        return parse_resume(arguments[1:])
    preset = PRESETS[next((word for word in arguments if word in PRESETS), "push")]
    train = Train(config=dataclasses.replace(preset, task=tyro.MISSING))
    command = tyro.cli(
        Annotated[Train, tyro.conf.subcommand("train", default=train)]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Export, tyro.conf.subcommand("export")]
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
    return command


def parse_resume(arguments: Sequence[str]) -> Resume:
    """Understands what follows `ndp train` where it contains --resume."""
    known = {flag(field.name) for field in dataclasses.fields(Resume)}
    for before, word in zip(["", *arguments], arguments, strict=False):
        option = word.split("=")[0]
        if option.startswith("--") and option not in known | {"--help"}:
            raise UserError(f"{option} cannot be given with --resume: only --steps can be raised.")
        if word in PRESETS and before != "--resume":
            raise UserError(f"Leave out '{word}': with --resume the run says its task.")
    return tyro.cli(
        Resume, prog="ndp train", args=arguments, config=(tyro.conf.FlagCreatePairsOff,)
    )


def check_command(command: Command) -> None:
    """Raises `UserError` for arguments that cannot work, as long as nothing heavy is imported."""
    match command:
        case Train():
            check_train(command)
        case Resume():
            with_steps(load_config(command.resume), command.steps)
            check_wandb(command.wandb)
        case Evaluate():
            count("--episodes", command.episodes)
            load_config(command.run)
        case Export():
            load_config(command.run)
            check_file(command.out)
        case Render():
            check_render(command)
        case Plot():
            if not command.runs:
                raise UserError("Name at least one run folder to plot.")
            for folder in command.runs:
                load_config(folder)
            check_file(command.out, IMAGES)
        case Bench():
            count("--num-envs", command.num_envs)
            for task in command.tasks:
                known_task(task)


def check_train(command: Train) -> None:
    """Refuses a run that cannot start, or that would ignore what it was told."""
    config = command.config
    known_task(config.task)
    check(config)
    preset = PRESETS[config.task]
    idle = () if config.policy == "ndp" else settings(config.primitive)
    for name in (*idle, *(("chunk",) if config.policy == "ppo" else ())):
        if settings(config)[name] != settings(preset)[name]:
            raise UserError(
                f"{flag(name)} means nothing to --policy {config.policy}; leave it out."
            )
    if command.out:
        check_free(command.out)
    check_wandb(command.wandb)


def check_wandb(wanted: bool) -> None:
    if wanted and not importlib.util.find_spec("wandb"):
        raise UserError("--wandb needs the package wandb; run `pip install wandb`.")


def check_render(command: Render) -> None:
    """Refuses a film that cannot be made."""
    count("--episodes", command.episodes)
    check_file(command.out, FILMS)
    if command.seed is not None and not 0 <= command.seed < 2**32:
        raise UserError(f"--seed is {command.seed}; it must lie between 0 and 4294967295.")
    if Path(command.what).exists() and not command.controller:
        config = load_config(Path(command.what))
    else:
        known_task(command.what, or_else="" if command.controller else "run folder or ")
        config = PRESETS[command.what]
        for option, given in (("--which", command.which), ("--near", command.near)):
            if given:
                raise UserError(f"{option} needs a run, and {command.what} is a task.")
    for episode in command.which:
        if not 0 <= episode < MOST_EPISODES:
            raise UserError(
                f"--which names {episode}; give episodes from 0 to {MOST_EPISODES - 1}."
            )
    if command.at and (not command.out or command.out.suffix != ".png"):
        raise UserError("--at is for pictures; give an --out that ends in .png, too.")
    for step in command.at:
        if not 1 <= step <= config.episode_length:
            raise UserError(f"--at names step {step}; give 1 to {config.episode_length}.")


def check_file(path: Path | None, suffixes: Sequence[str] = ()) -> None:
    """Refuses a file that cannot be written."""
    if path is None:
        return
    if suffixes and path.suffix not in suffixes:
        raise UserError(f"--out is {path}; it must end in {', '.join(suffixes)}.")
    if path.is_dir():
        raise UserError(f"--out is {path}, which is a folder; name a file.")
    check_place(path.parent)


def known_task(name: str, *, or_else: str = "") -> None:
    if name not in PRESETS:
        nearest = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.0)[0]
        raise UserError(f"There is no {or_else}task '{name}'; did you mean '{nearest}'?")


def count(option: str, value: int) -> None:
    if not 1 <= value <= MOST_EPISODES:
        raise UserError(
            f"{option} is {value}; it must be greater than 0 and at most {MOST_EPISODES}."
        )


def train(command: Train, console: Console) -> None:
    """`ndp train`."""
    from train import loop

    folder = loop.train(command.config, out=command.out, wandb=command.wandb, console=console)
    farewell(folder, console)


def resume(command: Resume, console: Console) -> None:
    """`ndp train --resume`."""
    from train import loop

    folder = loop.resume(command.resume, steps=command.steps, wandb=command.wandb, console=console)
    farewell(folder, console)


def farewell(folder: Path, console: Console) -> None:
    """What a run has left, and what to do with it."""
    video = folder / "video.mp4"
    for line in (
        f"Curve  {folder / 'curve.png'}",
        *([f"Video  {video}"] if video.exists() else []),
        f"Next   ndp evaluate {folder}",
        f"       ndp render {folder}",
        f"       ndp plot {folder}",
        f"       ndp export {folder}",
    ):
        console.print(line, soft_wrap=True)


def evaluate(command: Evaluate, console: Console) -> None:
    """`ndp evaluate`."""
    from train import checkpoint, run
    from train.evaluate import held_out_key, make_player, sentence, summarize

    config, env, state = checkpoint.load_run(command.run, which=command.checkpoint)
    play, key = make_player(env, config), held_out_key(config.seed)
    outcome = play(state, key, episodes=command.episodes, stochastic=command.stochastic)
    summary = summarize(outcome)
    best = "-best" if command.checkpoint == "best" else ""
    kind = "stochastic" if command.stochastic else "deterministic"
    exploring = "-stochastic" if command.stochastic else ""
    run.write_json(command.run / f"evaluation{best}{exploring}.json", summary)
    console.print(f"{kind.capitalize()} {sentence(summary)}", soft_wrap=True)
    failed = [str(episode) for episode in (outcome.success == 0).nonzero()[0][:8]]
    if failed and not command.stochastic and not best:
        console.print(
            f"To see failures: ndp render {command.run} --which {' '.join(failed)}", soft_wrap=True
        )


def export(command: Export, console: Console) -> None:
    """`ndp export`."""
    from train.export import export

    path = export(command.run, command.out, which=command.checkpoint)
    console.print(f"Wrote {path}", soft_wrap=True)


def render(command: Render, console: Console) -> None:
    """`ndp render`."""
    from envs.camera import NoRenderer
    from train.render import film

    folder = Path(command.what)
    of_a_run = folder.exists() and not command.controller
    env, outcome, plan = learned(command) if of_a_run else controlled(command)
    name = f"{command.what}-{command.controller or 'scripted'}.mp4"
    path = command.out or (folder / "video.mp4" if of_a_run else Path("runs") / name)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        film(
            env,
            outcome,
            path,
            episodes=command.which or range(command.episodes),
            plan=plan,
            near=command.near,
            at=command.at or None,
        )
    except NoRenderer as problem:
        raise UserError(f"No video: {problem}") from None
    console.print(f"Wrote {path}", soft_wrap=True)


def learned(command: Render) -> "tuple[MjxEnv, Outcome, Plan | None]":
    """Episodes of a run's policy, and its plans."""
    from train import checkpoint
    from train.evaluate import held_out_key, make_player
    from train.render import plans

    config, env, state = checkpoint.load_run(Path(command.what), which=command.checkpoint)
    key = held_out_key(config.seed if command.seed is None else command.seed)
    episodes = max(command.which, default=command.episodes - 1) + 1
    outcome = make_player(env, config)(state, key, episodes=episodes)
    return env, outcome, plans(env, config, state, outcome)


def controlled(command: Render) -> "tuple[MjxEnv, Outcome, Plan | None]":
    """Episodes of a task under a controller, who plans nothing."""
    import envs
    from train.controllers import make_controller, play
    from train.evaluate import held_out_key

    task, name = command.what, command.controller or "scripted"
    env = envs.make(task)
    control = make_controller(name, task, env)
    outcome = play(env, control, held_out_key(command.seed or 0), episodes=command.episodes)
    return env, outcome, None


def plot(command: Plot, console: Console) -> None:
    """`ndp plot`."""
    from train import plots

    plots.learning_curves(list(command.runs), command.out, statistic=command.statistic)
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

    jax.config.update("jax_enable_compilation_cache", False)  # compiling is measured, too
    bench.bench(command.tasks or tuple(PRESETS), num_envs=command.num_envs, console=console)


ACTIONS = {
    Train: train,
    Resume: resume,
    Evaluate: evaluate,
    Export: export,
    Render: render,
    Plot: plot,
    Tasks: tasks,
    Bench: bench,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `ndp`.

    Returns:
      Exit code: 0; 1 if the work cannot go on; 2 for a mistake of the user; 130 or 143 after an
      interruption.
    """
    console = Console(highlight=False, markup=False)
    try:
        command = parse(sys.argv[1:] if arguments is None else arguments)
        check_command(command)
        runtime.prepare()
        ACTIONS[type(command)](command, console)
    except UserError as error:
        print(f"ndp: {error}", file=sys.stderr)
        return 2
    except Stopped as error:
        print(f"ndp: {error}", file=sys.stderr)
        return 1
    except Interrupted as stop:
        console.print(str(stop), soft_wrap=True)
        return 128 + stop.signal
    except OSError as error:
        print(
            f"ndp: {error.filename or 'A file'} cannot be used ({error.strerror}).", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
