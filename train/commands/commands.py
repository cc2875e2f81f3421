"""What `ndp` can be asked for, and what it refuses before anything heavy is imported."""

import dataclasses
import difflib
import importlib.util
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar, cast

import tyro

from configs import (
    IMITATED,
    PRESETS,
    CloneConfig,
    Config,
    DigitsConfig,
    ImitateConfig,
    TrainConfig,
)
from configs.fields import flag, settings
from train.runs.checks import (
    check,
    check_idle,
    check_imitation,
    check_known,
    check_sources,
    idle,
)
from train.runs.run import (
    Which,
    check_free,
    check_place,
    load_any,
    load_config,
    load_imitation,
    read_any,
    read_config,
    read_imitation,
    with_steps,
)
from train.sweeps import sweep_folder
from train.sweeps.grid import Axis, Grid, Range, axis, lay_out, program, setting_name
from train.system.errors import UserError
from train.system.hardware import Hardware, check_hardware

FILMS = (".mp4", ".gif", ".png")
IMAGES = (".png", ".pdf", ".svg")
EPISODES = 256
"""Played by `ndp evaluate` unless it is told how many."""
MOST_EPISODES = 65_536
"""At once, for evaluations and films; also environments of the benchmark."""


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


Imitated = TypeVar("Imitated", bound=ImitateConfig)


@dataclasses.dataclass(frozen=True)
class Imitate(Generic[Imitated]):
    """Learn from examples: to write digits, or to do what demonstrations of a task do.

    The settings differ: see `ndp imitate digits --help` and `ndp imitate push --help`.

    --over.NAME V1 V2 ... sweeps a setting, every combination of several: --over.model cnn-ndp cnn
    --over.lr 1e-3 2e-3. Layer widths are joined by x: --over.hidden 64x64 200x200.
    """

    config: Imitated
    seeds: int = 1
    """Runs for each combination, or of the same settings, with seeds from --seed on."""
    file: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """File of settings that take the place of the task's defaults, like the config.json of a
    run."""
    resume: Path | None = None
    """Run or sweep folder to continue, in place of a task; of a run's settings only --steps can be
    raised."""
    out: Path | None = None
    """Folder to create; by default the first free runs/digits-MODEL-seedN or
    runs/TASK-clone-POLICY-seedN, for a sweep runs/digits-sweep or runs/TASK-clone-sweep."""
    grid: tyro.conf.Suppress[Grid | None] = None


@dataclasses.dataclass(frozen=True)
class ResumeImitation:
    """Continue an imitation, or a sweep of them, from its latest checkpoint, as if nothing had
    happened."""

    resume: Path
    """Run or sweep folder."""
    steps: int | None = None
    """Gradient steps to go on to, not of a sweep; by default as many as it was started with."""

    @property
    def sweep(self) -> bool:
        """Whether it is a sweep that goes on."""
        return (self.resume / sweep_folder.SWEEP).is_file()


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Play episodes with a trained policy and print how they went."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    episodes: int = EPISODES
    """Episodes to play."""
    stochastic: bool = False
    """Explore as in training instead of taking the action means."""
    checkpoint: Which = "latest"
    """The latest checkpoint, or the one of the best evaluation during training."""


@dataclasses.dataclass(frozen=True)
class Demos:
    """Record demonstrations of a task, by its script or by a trained policy, in one file."""

    task: tyro.conf.Positional[str]
    """Task: throw, pick, push, soccer or faucet."""
    episodes: int = 200
    """Successful episodes to record."""
    run: Path | None = None
    """Run folder whose policy demonstrates; by default the task's script does."""
    noise: float | None = None
    """Standard deviation of the noise on the actions executed, in action units, which the recorded
    actions are without; by default what the task's script can bear."""
    images: bool = False
    """Record 84 x 84 pictures of the scene, too."""
    seed: int = 0
    """Seed of starts and noise."""
    out: Path | None = None
    """File to create, .npz; by default demos/TASK.npz."""

    @property
    def file(self) -> Path:
        """Where to."""
        return self.out or Path("demos") / f"{self.task}.npz"


@dataclasses.dataclass(frozen=True)
class Export:
    """Write what was learned into one file that `ndp_jax.load_policy` reads, or `load_writer`."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    out: Path | None = None
    """File to write; by default policy.msgpack in the run folder."""
    checkpoint: Which = "latest"
    """The latest checkpoint, or the one of the best evaluation during training."""


@dataclasses.dataclass(frozen=True)
class Render:
    """Film episodes of a trained policy, or of a task under a controller that nobody trained.

    Of a run of digits it draws a picture: held-out digits and what was written.

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
    video.mp4 in the run folder, or runs/TASK-CONTROLLER.mp4. Of digits a .png, .pdf or .svg; by
    default digits.png in the run folder."""


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


COMMANDS = (
    *("train", "sweep", "demos", "imitate"),
    *("evaluate", "export", "render", "plot", "tasks", "bench"),
)
Resumption = Resume | ResumeSweep | ResumeImitation
RESUMPTIONS = {
    "train": (Resume, Hardware),
    "sweep": (ResumeSweep,),
    "imitate": (ResumeImitation,),
}
"""What --resume makes of a command; the first holds the options of the others."""

Making = Train | Sweep | Demos | Imitate | Resumption
Command = Making | Evaluate | Export | Render | Plot | Tasks | Bench
FLAT = (
    tyro.conf.OmitArgPrefixes,
    tyro.conf.OmitSubcommandPrefixes,
    tyro.conf.PositionalRequiredArgs,
    tyro.conf.FlagCreatePairsOff,
)


def parse(arguments: Sequence[str]) -> Command:
    """Understands a command line; exits with code 2 where it cannot.

    The task named in it selects the preset that the defaults come from.
    """
    first = arguments[0] if arguments else ""
    if first in RESUMPTIONS and any(word.split("=")[0] == "--resume" for word in arguments):
        return parse_resume(first, arguments[1:])
    if first == "imitate":
        return parse_imitate(arguments[1:])
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
    config = read_any(Path(given))
    named = next((word for word in words if word in IMITATED), config.task)
    if named != config.task:
        raise UserError(f"{given} is of the task {config.task}; leave out '{named}'.")
    return words if named in words else [words[0], named, *words[1:]], Path(given)


def parse_plain(arguments: Sequence[str], preset: TrainConfig | None = None) -> Command:
    """Understands what holds for one task, whose preset may be given."""
    if preset is None:
        preset = PRESETS[next((word for word in arguments if word in PRESETS), "push")]
    preset = dataclasses.replace(preset, task=tyro.MISSING)
    train, sweep = Train(config=preset), Sweep(config=preset)
    digits = Imitate(config=IMITATED["digits"])
    return tyro.cli(
        Annotated[Train, tyro.conf.subcommand("train", default=train)]
        | Annotated[Sweep, tyro.conf.subcommand("sweep", default=sweep)]
        | Annotated[Imitate[DigitsConfig], tyro.conf.subcommand("imitate", default=digits)]
        | Annotated[Demos, tyro.conf.subcommand("demos")]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Export, tyro.conf.subcommand("export")]
        | Annotated[Render, tyro.conf.subcommand("render")]
        | Annotated[Plot, tyro.conf.subcommand("plot")]
        | Annotated[Tasks, tyro.conf.subcommand("tasks")]
        | Annotated[Bench, tyro.conf.subcommand("bench")],
        prog="ndp",
        description="Neural dynamic policies: training, evaluation, plots and videos. "
        "`ndp --version` says which release this is.",
        args=arguments,
        config=FLAT,
    )


def parse_imitate(arguments: Sequence[str]) -> Imitate:
    """Understands what follows `ndp imitate`; its help is that of digits if it names no task."""
    words, file = take_file(["imitate", *arguments])
    named = next((word for word in words[1:] if word in IMITATED), None)
    if named is None and words[1:] and not words[1].startswith("-"):
        check_known(words[1], IMITATED)
    preset = read_imitation(file) if file else None
    kind = type(preset or IMITATED[named or "digits"])
    lines, axes = unfold(words[1:], kind, preset)
    commands = [parse_imitation(line, preset) for line in lines]
    command = dataclasses.replace(commands[0], file=file)
    for name, values in axes.items():
        if isinstance(values, Range):
            raise UserError(
                f"--over.{name} is a range, which `ndp imitate` cannot draw from; list the values."
            )
    if command.seeds == 1 and not any(word.startswith("--over.") for word in words):
        return command
    bases = [command.config for command in commands]
    grid = lay_out(bases, axes, seeds=command.seeds, samples=None)
    return dataclasses.replace(command, grid=grid)


def parse_imitation(arguments: Sequence[str], preset: ImitateConfig | None) -> Imitate:
    """Understands what holds for one task, whose preset may be given."""
    named = next((word for word in arguments if word in IMITATED), "digits")
    preset = preset or IMITATED[named]
    return tyro.cli(
        Imitate[DigitsConfig] if isinstance(preset, DigitsConfig) else Imitate[CloneConfig],
        default=Imitate(config=dataclasses.replace(preset, task=tyro.MISSING)),
        prog="ndp imitate",
        args=arguments,
        config=FLAT,
    )


def parse_sweep(arguments: Sequence[str], preset: TrainConfig | None) -> Sweep:
    """Understands `ndp sweep`: what it sweeps, and for every task what holds beside that."""
    lines, axes = unfold(arguments, TrainConfig, preset)
    commands = [cast(Sweep, parse_plain(line, preset)) for line in lines]
    command = commands[0]
    known_task(command.config.task)
    bases = [command.config for command in commands]
    grid = lay_out(bases, axes, seeds=command.seeds, samples=command.samples)
    return dataclasses.replace(command, grid=grid)


def unfold(
    arguments: Sequence[str], kind: type[Config], preset: Config | None
) -> tuple[list[list[str]], dict[str, Axis]]:
    """A command line for every task, without --over, and the values of the other swept settings.

    Args:
      kind: of configuration, whose settings may be swept.
      preset: the file that --config named.
    """
    known = PRESETS if kind is TrainConfig else IMITATED
    words, over = split_over(arguments, kind)
    axes = {name: axis(name, values, kind) for name, values in over.items()}
    tasks = axes.pop("task", ())
    if isinstance(tasks, Range):
        raise UserError("--over.task cannot be a range; list tasks.")
    for task in tasks:
        check_known(task, known)
        if preset and task != preset.task:
            raise UserError(f"--config is of the task {preset.task}; leave out --over.task.")
    if len(tasks) > 1 and "digits" in tasks:
        raise UserError("--over.task: digits have other settings than robot tasks; leave them out.")
    place = next((i for i, word in enumerate(words) if word in known), len(words))
    named = words[place : place + 1]
    if tasks and named and named[0] not in tasks:
        raise UserError(f"{named[0]} is not among --over.task; leave it out.")
    lines = [[*words[:place], task, *words[place + 1 :]] for task in tasks or named]
    return lines or [words], axes


def split_over(
    arguments: Sequence[str], kind: type[Config]
) -> tuple[list[str], dict[str, list[str]]]:
    """A command line without its --over.NAME V1 V2 ..., and these values by the setting's name."""
    plain: list[str] = []
    over: dict[str, list[str]] = {}
    into = plain
    for word in arguments:
        if word.startswith("--over."):
            given, _, first = word.removeprefix("--over.").partition("=")
            name = setting_name(given, kind)
            if name in over:
                raise UserError(f"--over.{given} comes twice; name all its values behind one.")
            into = over[name] = [first] if first else []
        elif word.startswith("--"):
            plain.append(word)
            into = plain
        else:
            into.append(word)
    return plain, over


def parse_resume(command: str, arguments: Sequence[str]) -> Resumption:
    """Understands what follows a command where it contains --resume."""
    kinds = RESUMPTIONS[command]
    known = {flag(field.name) for part in kinds for field in dataclasses.fields(part)}
    others = ", ".join(sorted(known - {"--resume"}))
    for before, word in zip(["", *arguments], arguments, strict=False):
        option = word.split("=")[0]
        if option.startswith("--") and option not in known | {"--help"}:
            raise UserError(f"{option} cannot be given with --resume; only {others} can.")
        if word in IMITATED and before != "--resume":
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
            check_resumed_sweep(command.resume, "sweep")
            count("--devices", command.devices)
        case Imitate():
            check_imitate(command)
        case ResumeImitation(steps=steps) if command.sweep:
            check_resumed_sweep(command.resume, "imitate")
            if steps is not None:
                raise UserError(
                    f"--steps cannot be given for {command.resume}, a sweep; leave it out."
                )
        case ResumeImitation():
            check_sources(with_steps(load_imitation(command.resume), command.steps))
        case Resume():
            config = with_steps(load_config(command.resume), command.steps)
            check_wandb(command.wandb)
            check_hardware(command.hardware, config)
        case Demos():
            check_demos(command)
        case Evaluate():
            check_evaluate(command)
        case Export():
            load_any(command.run)
            check_file(command.out)
        case Render():
            check_render(command)
        case Plot():
            check_plot(command)
        case Bench():
            check_bench(command)


def check_train(command: Train) -> None:
    """Refuses a run that cannot start, or that would ignore what it was told."""
    config = command.config
    known_task(config.task)
    check(config)
    preset = read_config(command.file) if command.file else PRESETS[config.task]
    check_idle(config, chosen(config, preset))
    if command.out:
        check_free(command.out)
    check_wandb(command.wandb)
    check_hardware(command.hardware, config)


def check_imitate(command: Imitate) -> None:
    """Refuses an imitation that cannot start, or that would ignore what it was told."""
    config: ImitateConfig = command.config
    preset = read_imitation(command.file) if command.file else IMITATED[config.task]
    if command.out:
        check_free(command.out)
    if command.grid:
        check_chosen(command.grid, preset)
        for member in command.grid.members:
            check_sources(cast(ImitateConfig, member.config))
        return
    check_imitation(config)
    check_idle(config, chosen(config, preset))
    check_sources(config)


def check_resumed_sweep(folder: Path, wanted: Literal["sweep", "imitate"]) -> None:
    """Refuses a folder that is no sweep, or one that another command goes on with."""
    found = sweep_folder.load(folder)
    command = "sweep" if isinstance(found.runs[0].config, TrainConfig) else "imitate"
    if command != wanted:
        raise UserError(f"{folder} is a sweep of `ndp {command}`; give it to that command.")


def check_evaluate(command: Evaluate) -> None:
    """Refuses an evaluation that cannot be made."""
    count("--episodes", command.episodes)
    if isinstance(load_any(command.run), TrainConfig):
        return
    for option, given in (
        ("--episodes", command.episodes != EPISODES),
        ("--stochastic", command.stochastic),
    ):
        if given:
            raise UserError(
                f"{option} means nothing to {command.run}, a run of `ndp imitate`; leave it out."
            )


def check_plot(command: Plot) -> None:
    """Refuses runs that have no axes in common, and an image that cannot be written."""
    if not command.runs:
        raise UserError("Name at least one run folder to plot.")
    first, *others = command.runs
    kind = type(load_any(first))
    for folder in others:
        if type(load_any(folder)) is not kind:
            raise UserError(
                f"{first} and {folder} measure different things; plot them one after the other."
            )
    check_file(command.out, IMAGES)


def chosen(config: Config, preset: Config) -> list[str]:
    """Settings that are not what the task's preset, or the file in its place, says."""
    before = settings(preset)
    return [name for name in before if settings(config)[name] != before[name]]


def check_sweep(command: Sweep) -> None:
    """Refuses a sweep that cannot start, or that would ignore what it was told."""
    count("--devices", command.devices)
    if command.out:
        check_free(command.out)
    grid = cast(Grid, command.grid)
    task = grid.members[0].config.task
    check_chosen(grid, read_config(command.file) if command.file else PRESETS[task])
    programs = {member.setting: program(member.config) for member in grid.members}
    if command.halving and max(Counter(programs.values()).values()) < 2:
        raise UserError(
            "--halving compares settings within one program, and here every setting makes its own; "
            "leave it out or sweep a number, too."
        )


def check_chosen(grid: Grid, preset: Config) -> None:
    """Refuses what somebody chose although it means nothing to any member."""
    useless = set.intersection(*(idle(member.config) for member in grid.members))
    first = grid.members[0].config
    check_idle(first, useless.intersection(chosen(first, preset)))


def check_wandb(wanted: bool) -> None:
    if wanted and not importlib.util.find_spec("wandb"):
        raise UserError("--wandb needs the package wandb; run `pip install wandb`.")


def check_demos(command: Demos) -> None:
    """Refuses demonstrations that cannot be recorded, or that would overwrite others."""
    known_task(command.task)
    count("--episodes", command.episodes)
    check_seed(command.seed)
    noise = command.noise
    if noise is not None and not 0 <= noise < math.inf:
        raise UserError(f"--noise is {noise}; it must be a finite number and not negative.")
    if command.run:
        task = load_config(command.run).task
        if task != command.task:
            raise UserError(f"{command.run} is a run of {task}; name that task or another run.")
    check_file(command.file, (".npz",))
    if command.file.exists():
        raise UserError(f"{command.file} exists already; choose another --out.")


def check_seed(seed: int | None) -> None:
    if seed is not None and not 0 <= seed < 2**32:
        raise UserError(f"--seed is {seed}; it must lie between 0 and 4294967295.")


def check_render(command: Render) -> None:
    """Refuses a film that cannot be made."""
    count("--episodes", command.episodes)
    of_a_run = Path(command.what).exists()
    if of_a_run and command.controller:
        raise UserError(f"--controller needs a task, and {command.what} is a run.")
    if of_a_run and isinstance(load_any(Path(command.what)), DigitsConfig):
        check_drawing(command)
    else:
        check_film(command)


def check_drawing(command: Render) -> None:
    """Refuses a picture of digits that cannot be made."""
    check_file(command.out, IMAGES)
    for name in ("episodes", "which", "near", "at", "seed"):
        if getattr(command, name) != getattr(Render, name):
            raise UserError(f"{flag(name)} means nothing to the digits of {command.what}.")


def check_film(command: Render) -> None:
    """Refuses a film of a robot that cannot be made."""
    check_file(command.out, FILMS)
    check_seed(command.seed)
    if Path(command.what).exists():
        config = cast(TrainConfig | CloneConfig, load_any(Path(command.what)))
    else:
        known_task(command.what, or_else="" if command.controller else "run folder or ")
        config = PRESETS[command.what]
        for option, given in (("--which", command.which), ("--near", command.near)):
            if given:
                raise UserError(f"{option} needs a run, and {command.what} is a task.")
    check_episodes(command.which)
    if command.at and (not command.out or command.out.suffix != ".png"):
        raise UserError("--at is for pictures; give an --out that ends in .png, too.")
    if len(command.which) > 1 and command.out and command.out.suffix == ".png":
        raise UserError("--which names several episodes, but a .png shows one; name one of them.")
    for step in command.at:
        if not 1 <= step <= config.episode_length:
            raise UserError(f"--at names step {step}; give 1 to {config.episode_length}.")


def check_episodes(which: Sequence[int]) -> None:
    for episode in which:
        if not 0 <= episode < MOST_EPISODES:
            raise UserError(
                f"--which names {episode}; give episodes from 0 to {MOST_EPISODES - 1}."
            )


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
    check_known(name, PRESETS, or_else=or_else)


def count(option: str, value: int) -> None:
    if not 1 <= value <= MOST_EPISODES:
        raise UserError(
            f"{option} is {value}; it must be greater than 0 and at most {MOST_EPISODES}."
        )
