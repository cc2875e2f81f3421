"""The sweep folder: sweep.json and a run folder for each member."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from configs import Config, DigitsConfig, TrainConfig
from configs.fields import settings
from envs.outside import short
from train.runs import physics, run
from train.sweeps.grid import Grid, program, shown
from train.system.errors import UserError

SWEEP = "sweep.json"
LONGEST_NAME = 160
"""Of a member's folder without its seed, so that every file system takes it."""


class Run(NamedTuple):
    """A member: its run folder, its place among the settings, and its `Config`."""

    folder: Path
    setting: int
    config: Any

    @property
    def evaluation(self) -> dict[str, Any]:
        """How it was judged at its end, empty if it has come to none."""
        path = self.folder / "evaluation.json"
        return json.loads(path.read_text()) if path.exists() else {}


class Sweep(NamedTuple):
    """What a sweep folder says.

    Attributes:
      folder: of the sweep.
      over: names of the swept settings.
      halving: whether losers are stopped early.
      runs: of all members.
    """

    folder: Path
    over: tuple[str, ...]
    halving: bool
    runs: tuple[Run, ...]

    @property
    def groups(self) -> list[list[Run]]:
        """Runs that one compiled program can train, in the order of their first."""
        found: dict[Config, list[Run]] = {}
        for member in self.runs:
            found.setdefault(program(member.config), []).append(member)
        return list(found.values())

    def swept(self, config: Config) -> dict[str, Any]:
        """The values of the swept settings in a configuration."""
        every = settings(config)
        return {name: every[name] for name in self.over}


def default_name(config: Config) -> str:
    """Of the folder of a sweep whose first member is configured so."""
    clones = not isinstance(config, TrainConfig | DigitsConfig)
    return f"{short(config.task)}-{'clone-' * clones}sweep"


def fresh(grid: Grid, out: Path | None, *, halving: bool, versions: dict[str, str]) -> Sweep:
    """Creates the folder of a new sweep: `out`, or the first free one of its name under runs/.

    Raises:
      UserError: `out` holds something already, or cannot be written.
    """
    folder = run.claim(out, Path("runs") / default_name(grid.members[0].config), mark=SWEEP)
    width = len(str(len(grid.members) - 1))
    names = {}
    for number, (setting, config) in enumerate(grid.members):
        every = settings(config)
        words = [f"{name}{short(shown(every[name]))}" for name in grid.over]
        name = "-".join((f"{number:0{width}d}", *words))[:LONGEST_NAME] + f"-seed{config.seed}"
        (folder / "members" / name).mkdir(parents=True)
        run.save_config(folder / "members" / name, config, versions)
        names[name] = setting
    run.write_json(
        folder / SWEEP,
        {"over": list(grid.over), "halving": halving, "settings": names, "versions": versions},
    )
    return load(folder)


def settled(grid: Grid) -> Grid:
    """A sweep that names who computes the physics; raises as `physics.resolved`."""
    members = [member._replace(config=physics.resolved(member.config)) for member in grid.members]
    return grid._replace(members=tuple(members))


def load(folder: Path) -> Sweep:
    """Reads a sweep folder.

    Raises:
      UserError: it is none, or damaged.
    """
    path = folder / SWEEP
    if not folder.exists():
        raise UserError(f"There is no sweep folder {folder}.")
    if not path.is_file():
        raise UserError(f"{folder} is not a sweep folder: it has no {SWEEP}.")
    try:
        content = json.loads(path.read_text())
        members = {str(name): int(setting) for name, setting in content["settings"].items()}
        over, halving = tuple(map(str, content["over"])), bool(content["halving"])
        if not members:
            raise ValueError("it has no members")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} cannot be read as a sweep ({error}).") from None
    runs = []
    for name, setting in members.items():
        member = folder / "members" / name
        runs.append(Run(member, setting, run.load_any(member)))
    for name in over:
        if name not in settings(runs[0].config):
            raise UserError(f"{path}: '{name}' was not swept, it is no setting; put it back.")
    imitating = {not isinstance(member.config, TrainConfig) for member in runs}
    if len(imitating) > 1:
        raise UserError(f"{folder} has members of `ndp train` and of `ndp imitate`; separate them.")
    return Sweep(folder, over, halving, tuple(runs))
