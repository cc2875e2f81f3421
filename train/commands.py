"""What `ndp` can be asked for, and what it refuses before anything heavy is imported."""

import dataclasses
import difflib
import importlib.util
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, cast

import tyro

from configs import PRESETS, TrainConfig
from train import sweep_folder
from train.checks import check, check_devices, check_idle, flag, idle, settings
from train.errors import UserError
from train.grid import Grid, Range, axis, lay_out, program, setting_name
from train.run import Which, check_free, check_place, load_config, read_config, with_steps

FILMS = (".mp4", ".gif", ".png")
IMAGES = (".png", ".pdf", ".svg")
MOST_EPISODES = 65_536
"""At once, for evaluations and films; also environments of the benchmark."""


@dataclasses.dataclass(frozen=True)
class Hardware:
    """What computes a run; another one may continue it."""

    devices: int = 1
    """Devices of this machine to spread the environments over."""
    distributed: bool = False
    """Spread them over all devices of several processes, each started with this option."""
    coordinator: str | None = None
    """HOST:PORT of process 0, where neither Slurm nor a Cloud TPU tells."""
    processes: int | None = None
    """How many processes there are, where that is not told either."""
    process: int | None = None
    """Which of them this one is, from 0 on."""
    join_seconds: int = 300
    """How long the processes wait for each other at the start."""


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a policy on a task and leave a run folder with curve, video and checkpoints."""

    config: TrainConfig
    file: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """File of settings that take the place of the task's defaults, like the best.json of a sweep or
    the config.json of a run."""
    resume: Path | None = None
    """Run folder to continue, in place of a task; of its settings only --steps can be raised."""
    out: Path | None = None
    """Run folder to create; by default the first free runs/TASK-POLICY-seedN."""
    wandb: bool = False
    """Publish to Weights & Biases, too."""
    hardware: Hardware = Hardware()


@dataclasses.dataclass(frozen=True)
class Resume:
    """Continue a run from its latest checkpoint, as if nothing had happened."""

    resume: Path
    """Run folder."""
    steps: int | None = None
    """Environment steps to go on to; by default as many as it was started with."""
    wandb: bool = False
    """Publish to Weights & Biases, too."""
    hardware: Hardware = Hardware()


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Train many settings and seeds as one program.

    --over.NAME V1 V2 ... sweeps a setting, every combination of several: --over.lr 1e-4 1e-3
    --over.alpha 5 15. Layer widths are joined by x: --over.hidden 64x64 100x100. With --samples,
    combinations are drawn at random, and a setting may be a range: --over.lr loguniform 1e-4 1e-2,
    --over.clip uniform .1 .3. Settings that are not just numbers in the program (chunk, policy,
    task, num-envs, ...) make groups, each compiled once, trained one after another.
    """

    config: TrainConfig
    seeds: int = 1
    """Runs for each combination, with seeds from --seed on."""
    samples: int | None = None
    """Combinations to draw at random; by default all are trained."""
    halving: bool = False
    """Stop the worse half of the settings after 1/8, 1/4 and 1/2 of the updates."""
    devices: int = 1
    """Devices to spread the members over."""
    file: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """File of settings that take the place of the task's defaults, like the best.json of a sweep or
    the config.json of a run."""
    resume: Path | None = None
    """Sweep folder to continue, in place of everything else but --devices."""
    out: Path | None = None
    """Sweep folder to create; by default the first free runs/TASK-sweep."""
    grid: tyro.conf.Suppress[Grid | None] = None


@dataclasses.dataclass(frozen=True)
class ResumeSweep:
    """Continue a sweep from its latest checkpoint, as if nothing had happened."""

    resume: Path
    """Sweep folder."""
    devices: int = 1
    """Devices to spread the members over."""


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
    """Time the primitive and the environments, or sweeps, each next to a peer."""

    tasks: tyro.conf.Positional[tuple[str, ...]] = ()
    """Task names; all if none is given."""
    num_envs: int | None = None
    """Environments stepped in parallel; 256 by default, and as many as in training for sweeps."""
    members: tuple[int, ...] = ()
    """Time only sweeps, of so many members each, next to a run alone."""
    digits: bool = False
    """Time only a training step on digits, next to PyTorch."""

    def learner(self, task: str) -> TrainConfig:
        """What a sweep of the task is timed with."""
        preset = PRESETS[task]
        return dataclasses.replace(preset, num_envs=self.num_envs or preset.num_envs)


COMMANDS = ("train", "sweep", "evaluate", "export", "render", "plot", "tasks", "bench")
Command = Train | Resume | Sweep | ResumeSweep | Evaluate | Export | Render | Plot | Tasks | Bench


def parse(arguments: Sequence[str]) -> Command:
    """Understands a command line; exits with code 2 where it cannot.

    The task named in it selects the preset that the defaults come from.
    """
    if [*arguments[:1]] in (["train"], ["sweep"]) and any(
        word.split("=")[0] == "--resume" for word in arguments
    ):
        return parse_resume(arguments[0], arguments[1:])
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        nearest = difflib.get_close_matches(arguments[0], COMMANDS, n=1, cutoff=0.0)[0]
        raise UserError(f"There is no command '{arguments[0]}'; did you mean '{nearest}'?")
    if [*arguments[:1]] not in (["train"], ["sweep"]):
        return parse_plain(arguments)
    words, file = take_file(arguments)
    preset = read_config(file) if file else None
    command = (parse_sweep if words[0] == "sweep" else parse_plain)(words, preset)
    return dataclasses.replace(cast(Train | Sweep, command), file=file)


def take_file(arguments: Sequence[str]) -> tuple[list[str], Path | None]:
    """A command line without --config FILE but with the task of the file, and the file."""
    words, given = [], None
    for before, word in zip(["", *arguments], arguments, strict=False):
        if before == "--config":
            given = word
        elif word.startswith("--config="):
            given = word.removeprefix("--config=")
        elif word != "--config":
            words.append(word)
    if given is None:
        if "--config" in arguments:
            raise UserError("--config needs a file; give the best.json of a sweep.")
        return words, None
    config = read_config(Path(given))
    named = next((word for word in words if word in PRESETS), config.task)
    if named != config.task:
        raise UserError(f"{given} is of the task {config.task}; leave out '{named}'.")
    return words if named in words else [words[0], named, *words[1:]], Path(given)


def parse_plain(arguments: Sequence[str], preset: TrainConfig | None = None) -> Command:
    """Understands what holds for one task, whose preset may be given."""
    if preset is None:
        preset = PRESETS[next((word for word in arguments if word in PRESETS), "push")]
    preset = dataclasses.replace(preset, task=tyro.MISSING)
    train, sweep = Train(config=preset), Sweep(config=preset)
    return tyro.cli(
        Annotated[Train, tyro.conf.subcommand("train", default=train)]
        | Annotated[Sweep, tyro.conf.subcommand("sweep", default=sweep)]
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


def parse_sweep(arguments: Sequence[str], preset: TrainConfig | None) -> Sweep:
    """Understands `ndp sweep`: what it sweeps, and for every task what holds beside that."""
    words, over = split_over(arguments)
    axes = {name: axis(name, values) for name, values in over.items()}
    tasks = axes.pop("task", ())
    if isinstance(tasks, Range):
        raise UserError("--over.task cannot be a range; list tasks.")
    for task in tasks:
        known_task(task)
        if preset and task != preset.task:
            raise UserError(f"--config is of the task {preset.task}; leave out --over.task.")
    place = next((i for i, word in enumerate(words) if word in PRESETS), len(words))
    if tasks and words[place : place + 1] and words[place] not in tasks:
        raise UserError(f"{words[place]} is not among --over.task; leave it out.")
    commands = [
        cast(Sweep, parse_plain([*words[:place], task, *words[place + 1 :]], preset))
        for task in tasks or words[place : place + 1]
    ] or [cast(Sweep, parse_plain(words, preset))]
    command = commands[0]
    known_task(command.config.task)
    bases = [command.config for command in commands]
    grid = lay_out(bases, axes, seeds=command.seeds, samples=command.samples)
    return dataclasses.replace(command, grid=grid)


def split_over(arguments: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """A command line without its --over.NAME V1 V2 ..., and these values by the setting's name."""
    plain: list[str] = []
    over: dict[str, list[str]] = {}
    into = plain
    for word in arguments:
        if word.startswith("--over."):
            given, _, first = word.removeprefix("--over.").partition("=")
            name = setting_name(given)
            if name in over:
                raise UserError(f"--over.{given} comes twice; name all its values behind one.")
            into = over[name] = [first] if first else []
        elif word.startswith("--"):
            plain.append(word)
            into = plain
        else:
            into.append(word)
    return plain, over


def parse_resume(command: str, arguments: Sequence[str]) -> Resume | ResumeSweep:
    """Understands what follows `ndp train` or `ndp sweep` where it contains --resume."""
    kinds = (Resume, Hardware) if command == "train" else (ResumeSweep,)
    known = {flag(field.name) for part in kinds for field in dataclasses.fields(part)}
    others = ", ".join(sorted(known - {"--resume"}))
    for before, word in zip(["", *arguments], arguments, strict=False):
        option = word.split("=")[0]
        if option.startswith("--") and option not in known | {"--help"}:
            raise UserError(f"{option} cannot be given with --resume; only {others} can.")
        if word in PRESETS and before != "--resume":
            raise UserError(f"Leave out '{word}': with --resume the run says its task.")
    return tyro.cli(
        kinds[0],
        prog=f"ndp {command}",
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )


def check_command(command: Command) -> None:
    """Raises `UserError` for arguments that cannot work, as long as nothing heavy is imported."""
    match command:
        case Train():
            check_train(command)
        case Sweep():
            check_sweep(command)
        case ResumeSweep():
            sweep_folder.load(command.resume)
            count("--devices", command.devices)
        case Resume():
            config = with_steps(load_config(command.resume), command.steps)
            check_wandb(command.wandb)
            check_hardware(command.hardware, config)
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
            check_bench(command)


def check_train(command: Train) -> None:
    """Refuses a run that cannot start, or that would ignore what it was told."""
    config = command.config
    known_task(config.task)
    check(config)
    check_idle(config, chosen(config, command.file))
    if command.out:
        check_free(command.out)
    check_wandb(command.wandb)
    check_hardware(command.hardware, config)


def check_hardware(hardware: Hardware, config: TrainConfig) -> None:
    """Refuses hardware that cannot be described so, or that this run cannot be spread over."""
    for name in ("devices", "processes", "join_seconds"):
        value = getattr(hardware, name)
        if value is not None and value < 1:
            raise UserError(f"{flag(name)} is {value}; it must be at least 1.")
    check_devices(config, hardware.devices)
    told = {name: getattr(hardware, name) for name in ("coordinator", "processes", "process")}
    missing = [flag(name) for name, value in told.items() if value is None]
    given = [flag(name) for name in told if flag(name) not in missing]
    if hardware.distributed and hardware.devices > 1:
        raise UserError("Leave out --devices: --distributed takes all devices of all processes.")
    if given and not hardware.distributed:
        raise UserError(f"{given[0]} needs --distributed.")
    if given and missing:
        raise UserError(f"{given[0]} needs {' and '.join(missing)}, too.")
    if not given:
        return
    host, _, port = str(hardware.coordinator).rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"--coordinator is {hardware.coordinator}; it must be HOST:PORT.")
    if hardware.process not in range(hardware.processes or 0):
        raise UserError(
            f"--process is {hardware.process}; with --processes {hardware.processes} it must lie "
            f"between 0 and {(hardware.processes or 0) - 1}."
        )


def chosen(config: TrainConfig, file: Path | None) -> list[str]:
    """Settings that are not what the task's preset or the file says."""
    preset = settings(read_config(file) if file else PRESETS[config.task])
    return [name for name in preset if settings(config)[name] != preset[name]]


def check_sweep(command: Sweep) -> None:
    """Refuses a sweep that cannot start, or that would ignore what it was told."""
    count("--devices", command.devices)
    if command.out:
        check_free(command.out)
    grid = cast(Grid, command.grid)
    useless = set.intersection(*(idle(member.config) for member in grid.members))
    first = grid.members[0].config
    check_idle(first, useless.intersection(chosen(first, command.file)))
    programs = {member.setting: program(member.config) for member in grid.members}
    if command.halving and max(Counter(programs.values()).values()) < 2:
        raise UserError(
            "--halving compares settings within one program, and here every setting makes its own; "
            "leave it out or sweep a number, too."
        )


def check_wandb(wanted: bool) -> None:
    if wanted and not importlib.util.find_spec("wandb"):
        raise UserError("--wandb needs the package wandb; run `pip install wandb`.")


def check_render(command: Render) -> None:
    """Refuses a film that cannot be made."""
    count("--episodes", command.episodes)
    check_file(command.out, FILMS)
    if command.seed is not None and not 0 <= command.seed < 2**32:
        raise UserError(f"--seed is {command.seed}; it must lie between 0 and 4294967295.")
    if Path(command.what).exists() and command.controller:
        raise UserError(f"--controller needs a task, and {command.what} is a run.")
    if Path(command.what).exists():
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
    if len(command.which) > 1 and command.out and command.out.suffix == ".png":
        raise UserError("--which names several episodes, but a .png shows one; name one of them.")
    for step in command.at:
        if not 1 <= step <= config.episode_length:
            raise UserError(f"--at names step {step}; give 1 to {config.episode_length}.")


def check_bench(command: Bench) -> None:
    """Refuses what cannot be timed."""
    if command.digits:
        others = {"--num-envs": command.num_envs, "--members": command.members}
        given = [*command.tasks, *(option for option, value in others.items() if value)]
        if given:
            raise UserError(f"--digits is timed alone; leave out {given[0]}.")
        if not importlib.util.find_spec("torch"):
            raise UserError("--digits needs the package torch; run `pip install torch`.")
    if command.num_envs is not None:
        count("--num-envs", command.num_envs)
    for members in command.members:
        count("--members", members)
    for task in command.tasks:
        known_task(task)
        if command.members:
            check(command.learner(task))


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
    if or_else and len(Path(name).parts) > 1:
        raise UserError(f"There is no run folder {name}.")
    if name not in PRESETS:
        nearest = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.0)[0]
        raise UserError(f"There is no {or_else}task '{name}'; did you mean '{nearest}'?")


def count(option: str, value: int) -> None:
    if not 1 <= value <= MOST_EPISODES:
        raise UserError(
            f"{option} is {value}; it must be greater than 0 and at most {MOST_EPISODES}."
        )
