"""Understands a command line: which verb, and what is said about it."""

import dataclasses
import difflib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Union, cast

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
from configs import preset as named_preset
from configs.fields import flag, settings
from train.commands.bench import Bench
from train.commands.command import Command, check_task
from train.commands.demos import Demos
from train.commands.evaluate import Evaluate
from train.commands.export import Export
from train.commands.imitate import Imitate
from train.commands.plot import Plot
from train.commands.render import Render
from train.commands.resume import Resume
from train.commands.study import QUICK, Study
from train.commands.sweep import Sweep
from train.commands.tasks import Tasks
from train.commands.train import Train
from train.runs.checks import check_known
from train.runs.run import read_any, read_config, read_imitation
from train.studies.cells import cells_of
from train.sweeps.grid import Axis, Range, axis, lay_out, setting_name
from train.system.errors import UserError

VERBS: dict[str, Any] = {
    "train": Train,
    "sweep": Sweep,
    "study": Study,
    "demos": Demos,
    "imitate": Imitate[DigitsConfig],
    "resume": Resume,
    "evaluate": Evaluate,
    "export": Export,
    "render": Render,
    "plot": Plot,
    "tasks": Tasks,
    "bench": Bench,
}
RESUMABLE = ("train", "sweep", "study", "imitate")
"""Verbs that --resume turns into `Resume`."""

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
    verb = arguments[0] if arguments else "--help"
    if verb in RESUMABLE and any(word.split("=")[0] == "--resume" for word in arguments):
        return parse_resume(arguments[1:])
    if verb == "imitate":
        return parse_imitate(arguments[1:])
    if verb == "study":
        return parse_study(arguments)
    if not verb.startswith("-") and verb not in VERBS:
        nearest = difflib.get_close_matches(verb, VERBS, n=1, cutoff=0.0)[0]
        raise UserError(f"There is no command '{verb}'; did you mean '{nearest}'?")
    if verb not in ("train", "sweep"):
        return parse_plain(arguments)
    words, file = take_file(arguments)
    preset = read_config(file) if file else None
    command = (parse_sweep if verb == "sweep" else parse_plain)(words, preset)
    return dataclasses.replace(cast(Train | Sweep, command), file=file)


def said(arguments: Sequence[str], option: str) -> str:
    """The word behind an option in a command line, the last if it comes twice."""
    found = ""
    for before, word in itertools.pairwise(["", *arguments]):
        if before == option:
            found = word
        elif word.startswith(f"{option}="):
            found = word.removeprefix(f"{option}=")
    return found


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
        task = next((word for word in arguments if word in PRESETS), "push")
        paper = said(arguments, "--preset") == "paper"
        preset = named_preset(task, said(arguments, "--policy") or "ndp", paper=paper)
    preset = dataclasses.replace(preset, task=tyro.MISSING)
    defaults: dict[str, Any] = {
        "train": {"default": Train(config=preset)},
        "sweep": {"default": Sweep(config=preset)},
        "imitate": {"default": Imitate(config=IMITATED["digits"])},
    }
    verbs = [
        Annotated[kind, tyro.conf.subcommand(verb, **defaults.get(verb, {}))]
        for verb, kind in VERBS.items()
    ]
    return tyro.cli(
        cast(Any, Union[tuple(verbs)]),  # noqa: UP007
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
    check_task(command.config.task)
    bases = [command.config for command in commands]
    grid = lay_out(bases, axes, seeds=command.seeds, samples=command.samples)
    return dataclasses.replace(command, grid=grid)


def parse_study(arguments: Sequence[str]) -> Study:
    """Understands `ndp study`: its cells, unless nothing is trained."""
    words, over = split_over(arguments, TrainConfig)
    command = cast(Study, parse_plain(words))
    if command.plot:
        return command
    axes = {name: axis(name, values) for name, values in over.items()}
    extent = {name: getattr(command, name) for name in ("tasks", "seeds", "steps")}
    if command.quick:
        for name in QUICK:
            if extent[name] != getattr(Study(), name):
                raise UserError(f"--quick says how many {name}; leave out {flag(name)}.")
        extent = QUICK
    paper = command.preset == "paper"
    cells = cells_of(policies=command.policies, axes=axes, **extent, paper=paper)
    return dataclasses.replace(command, cells=cells)


def unfold(
    arguments: Sequence[str], kind: type[Config], preset: Config | None
) -> tuple[list[list[str]], dict[str, Axis]]:
    """A command line for every task and policy, without --over, and the values of the other axes.

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
    lines = [[*words[:place], task, *words[place + 1 :]] for task in tasks or named] or [words]
    policies = axes.get("policy", ())
    if isinstance(policies, Range) or not policies:
        return lines, axes
    return [[*line, "--policy", policy] for line in lines for policy in policies], axes


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


def parse_resume(arguments: Sequence[str]) -> Resume:
    """Understands what follows a verb where it contains --resume, as `ndp resume` would."""
    folders, others = [], []
    for before, word in zip(["", *arguments], arguments, strict=False):
        if before == "--resume" or word.startswith("--resume="):
            folders.append(word.removeprefix("--resume="))
        elif word != "--resume":
            others.append(word)
    if not folders:
        raise UserError("--resume needs a folder; give that of the run, sweep or study.")
    known = sorted({flag(name) for name in settings(Resume(Path()))} - {"--folder"})
    for word in others:
        option = word.split("=")[0]
        if option.startswith("--") and option not in (*known, "--help"):
            raise UserError(f"{option} cannot be given with --resume; only {', '.join(known)} can.")
        if word in IMITATED:
            raise UserError(f"Leave out '{word}': with --resume the run says its task.")
    return cast(Resume, parse_plain(["resume", *folders, *others]))
