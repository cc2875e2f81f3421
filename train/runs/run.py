"""The run folder: self-describing, never overwritten, continued by one process at a time.

config.json, metrics.csv, timing.csv, evaluations.csv, TensorBoard events, checkpoints/,
evaluation.json, curve.png and the video.
"""

import dataclasses
import fcntl
import json
import os
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from configs import AnyConfig, CloneConfig, Config, DigitsConfig, ImitateConfig, TrainConfig
from configs.fields import flag, replaced, settings
from envs.outside import short
from train.runs.checks import check_any
from train.system.errors import UserError

CONFIG = "config.json"

Which = Literal["latest", "best"]
"""A run's latest checkpoint, or the one of its best evaluation."""


def kind_of(content: dict[str, Any]) -> type[Config]:
    """The class of the configuration that a config.json holds."""
    if "descent" not in content:
        return TrainConfig
    return DigitsConfig if "model" in content else CloneConfig


def default_name(config: Config) -> str:
    """Of a run's folder."""
    match config:
        case DigitsConfig():
            what = config.model
        case CloneConfig():
            what = f"clone-{short(config.policy)}" + "-image" * (config.observation == "image")
        case TrainConfig():
            what = short(config.policy)
    return f"{short(config.task)}-{what}-seed{config.seed}"


def fresh(config: Config, out: Path | None) -> Path:
    """Creates the folder of a new run: `out`, or the first free name under runs/.

    Raises:
      UserError: `out` holds something already, or cannot be written.
    """
    return claim(out, Path("runs") / default_name(config), mark=CONFIG)


def claim(out: Path | None, default: Path, *, mark: str) -> Path:
    """Creates a folder for one caller alone, however many ask for it at the same moment.

    Args:
      out: the folder, which may exist if it is empty.
      default: what is tried if there is no `out`, then with -2, -3, ... behind its name.
      mark: the file that says that the folder is taken; made empty, to be overwritten.

    Raises:
      UserError: `out` holds something already, or cannot be written.
    """
    check_free(out) if out else check_place(default)
    folder = out or make_next(default)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / mark).touch(exist_ok=False)
    except FileExistsError:
        raise taken(folder) from None
    return folder


def make_next(folder: Path) -> Path:
    """Makes `folder`, or folder-2, folder-3, ... whichever does not exist yet."""
    candidate, number = folder, 2
    folder.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            candidate.mkdir()
            return candidate
        except FileExistsError:
            candidate, number = folder.with_name(f"{folder.name}-{number}"), number + 1


def check_free(folder: Path) -> None:
    """Raises `UserError` unless `folder` is empty or can be made."""
    check_place(folder)
    if folder.exists() and any(folder.iterdir()):
        raise taken(folder)


def taken(folder: Path) -> UserError:
    """That a folder cannot be used because there is something in it."""
    return UserError(f"The output folder {folder} is not empty; choose another --out.")


def check_place(path: Path) -> None:
    """Raises `UserError` where no folder `path` can be or be made."""
    nearest = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise UserError(f"Cannot use {path}: {nearest} is a file; choose another --out.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"Cannot use {path}: {nearest} is not writable; choose another --out.")


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps other processes from training in the folder.

    Raises:
      UserError: another one does already.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UserError(
            f"Another process is training in {folder}; wait for it or stop it."
        ) from None
    finally:
        os.close(handle)


def write_json(path: Path, content: Any) -> None:
    """Writes a file that is either complete or absent."""
    write_whole(path, json.dumps(content, indent=2) + "\n")


def write_whole(path: Path, content: str) -> None:
    """Writes a text file that is either complete or absent."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(content)
    partial.replace(path)


def changed(config: AnyConfig, changes: Mapping[str, Any]) -> AnyConfig:
    """A run's configuration for those who go on with it: settings by name, None as they were.

    Raises:
      UserError: there are to be less steps than before, or a setting means nothing or cannot work.
    """
    changes = {name: value for name, value in changes.items() if value is not None}
    before = settings(config)
    for name in changes.keys() - before.keys():
        raise UserError(f"{flag(name)} means nothing to a run of {config.task}; leave it out.")
    if changes.get("steps", before["steps"]) < before["steps"]:
        raise UserError(
            f"--steps {changes['steps']} is less than the run's {before['steps']}; they can only "
            "be raised."
        )
    config = replaced(config, changes)
    check_any(config)
    return config


def save_settings(folder: Path, config: Config) -> None:
    """Brings config.json up to date and leaves the versions in it."""
    versions = json.loads((folder / CONFIG).read_text()).get("versions", {})
    save_config(folder, config, versions)


def save_config(folder: Path, config: Config, versions: dict[str, str]) -> None:
    """Writes config.json: every setting, and what the run was made with."""
    write_json(folder / CONFIG, dataclasses.asdict(config) | {"versions": versions})


def copy_config(folder: Path, path: Path) -> None:
    """Writes the settings of a run to a file that `ndp train --config` takes."""
    write_whole(path, (folder / CONFIG).read_text())


def load_config(folder: Path) -> TrainConfig:
    """Reads the config.json of a run of `ndp train` back.

    Raises:
      UserError: the folder is not such a run, or its config.json is not a configuration that can
        run.
    """
    return read_config(config_file(folder))


def load_imitation(folder: Path) -> ImitateConfig:
    """Reads the config.json of a run of `ndp imitate` back; raises as `load_config`."""
    return read_imitation(config_file(folder))


def load_any(folder: Path) -> Config:
    """Reads the config.json of any run back; raises as `load_config`."""
    return read_any(config_file(folder))


def config_file(folder: Path) -> Path:
    """The config.json of a run.

    Raises:
      UserError: the folder is not a run.
    """
    path = folder / CONFIG
    if not folder.exists():
        raise UserError(f"There is no run folder {folder}.")
    if not path.is_file():
        raise UserError(f"{folder} is not a run folder: it has no config.json.")
    return path


def read_config(path: Path) -> TrainConfig:
    """Reads a file like the config.json of `ndp train`.

    Raises:
      UserError: as `read_any`, or it is one of `ndp imitate`.
    """
    config = read_any(path)
    if not isinstance(config, TrainConfig):
        raise UserError(f"{path} is of `ndp imitate`; give one of `ndp train`.")
    return config


def read_imitation(path: Path) -> ImitateConfig:
    """Reads a file like the config.json of `ndp imitate`.

    Raises:
      UserError: as `read_any`, or it is one of `ndp train`.
    """
    config = read_any(path)
    if isinstance(config, TrainConfig):
        raise UserError(f"{path} is of `ndp train`; give one of `ndp imitate`.")
    return config


def read_any(path: Path) -> Config:
    """Reads a file like config.json.

    Raises:
      UserError: there is none, or it is not a configuration that can run.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    try:
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            raise ValueError("it must hold settings by name")
        content.pop("versions", None)
        config = restore(kind_of(content), content)
        check_any(config)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read as a configuration ({error}).") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return config


def restore(kind: type, content: dict[str, Any]) -> Any:
    """Rebuilds a dataclass from what `dataclasses.asdict` and JSON made of it."""
    hints = typing.get_type_hints(kind)
    values = {}
    for name, value in content.items():
        if name not in hints:
            raise ValueError(f"unknown setting '{name}'")
        if dataclasses.is_dataclass(hints[name]):
            if not isinstance(value, dict):
                raise ValueError(f"'{name}' is {value!r}; it must hold settings by name")
            value = restore(typing.cast(type, hints[name]), value)
        values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)
