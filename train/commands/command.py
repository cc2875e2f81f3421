"""What every verb of `ndp` is, and the checks that several of them share."""

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console

from configs import PRESETS, Config, TrainConfig, preset
from configs.base import Impl, PresetName
from configs.fields import SEED, settings
from train.runs.checks import check_idle, check_known, idle
from train.runs.run import check_place, load_any, read_config
from train.system.errors import UserError
from train.system.hints import hint

IMAGES = (".png", ".pdf", ".svg")
MOST_EPISODES = 65_536
"""At once, for evaluations and films; also environments of the benchmark."""


class Command:
    """A verb with its options, which are the fields of a dataclass.

    Attributes:
      computes: whether it needs a device.
    """

    computes: ClassVar[bool] = True

    @property
    def joins(self) -> bool:
        """Whether other processes must be met before JAX looks for devices."""
        return False

    def check(self) -> None:
        """Raises `UserError` for arguments that cannot work; nothing heavy is imported yet."""

    def execute(self, console: Console) -> None:
        """Does it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Simulation:
    """Who computes the physics of what is played."""

    impl: Impl | None = None
    """Physics: C MuJoCo (c), MJX (jax) or MuJoCo Warp (warp); by default a run's own, and for a
    task auto, which is C on CPUs and MJX elsewhere."""
    threads: int | None = None
    """Threads of C MuJoCo; by default the cores that this process may use."""

    @property
    def changes(self) -> dict[str, Any]:
        """Of a run's settings."""
        return {name: value for name, value in vars(self).items() if value is not None}


def imitated(folder: Path) -> bool:
    """Whether a run is one of `ndp imitate`."""
    return not isinstance(load_any(folder), TrainConfig)


def start(config: TrainConfig, name: PresetName, file: Path | None) -> TrainConfig:
    """What a command line's settings took the place of: those of a file or a preset."""
    paper = name == "paper"
    if file and paper:
        raise UserError("--config and --preset both name settings to start from; leave one out.")
    return read_config(file) if file else preset(config.task, config.policy, paper=paper)


def chosen(config: Config, start: Config) -> list[str]:
    """Settings that are not what the preset, or the file in its place, says."""
    before = settings(start)
    return [name for name in before if settings(config)[name] != before[name]]


def check_chosen(configs: Iterable[Config], start: Config) -> None:
    """Refuses what somebody chose although it means nothing to any member of a sweep."""
    first, *others = configs
    useless = set.intersection(*(idle(config) for config in (first, *others)))
    check_idle(first, useless.intersection(chosen(first, start)))


def check_wandb(wanted: bool) -> None:
    if wanted and not importlib.util.find_spec("wandb"):
        raise UserError("--wandb needs the package wandb; run `pip install wandb`.")


def check_seed(seed: int | None) -> None:
    if seed is not None and not SEED.holds(seed):
        raise UserError(f"--seed is {seed}; {SEED.demand}.")


def check_file(path: Path | None, suffixes: Sequence[str] = ()) -> None:
    """Refuses a file that cannot be written."""
    if path is None:
        return
    if suffixes and path.suffix not in suffixes:
        raise UserError(f"--out is {path}; it must end in {', '.join(suffixes)}.")
    if path.is_dir():
        raise UserError(f"--out is {path}, which is a folder; name a file.")
    check_place(path.parent)


def check_task(name: str, *, or_else: str = "") -> None:
    if or_else and len(Path(name).parts) > 1:
        raise UserError(f"There is no run folder {name}.")
    check_known(name, PRESETS, or_else=or_else)


def check_count(option: str, value: int) -> None:
    if not 1 <= value <= MOST_EPISODES:
        raise UserError(
            f"{option} is {value}; it must be greater than 0 and at most {MOST_EPISODES}."
        )


def make_folder_of(path: Path | None) -> None:
    """Makes the folder of a file that somebody asked for."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)


def farewell(folder: Path, console: Console) -> None:
    """What a run has left, and what to do with it."""
    video = folder / "video.mp4"
    show(
        console,
        f"Curve  {folder / 'curve.png'}",
        *([f"Video  {video}"] if video.exists() else []),
        f"Next   {hint('evaluate', folder)}",
        f"       {hint('render', folder)}",
        f"       {hint('plot', folder)}",
        f"       {hint('export', folder)}",
    )


def show(console: Console, *lines: str) -> None:
    """Prints lines that may be longer than the terminal is wide, so that they can be copied."""
    for line in lines:
        console.print(line, soft_wrap=True)
