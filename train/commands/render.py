"""`ndp render`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import tyro
from rich.console import Console

from configs import IMITATED, PRESETS, CloneConfig, DigitsConfig, TrainConfig
from configs.fields import flag, replaced
from envs.outside import short
from train.commands.command import (
    IMAGES,
    MOST_EPISODES,
    Command,
    Simulation,
    check_count,
    check_file,
    check_seed,
    check_task,
    imitated,
    make_folder_of,
)
from train.runs import physics
from train.runs.checks import is_foreign
from train.runs.run import Which, changed, load_any
from train.system.errors import UserError

if TYPE_CHECKING:
    from ndp_jax.policies import Plan
    from train.rl.agent import RobotEnv
    from train.rl.evaluate import Outcome

FILMS = (".mp4", ".gif", ".png")


@dataclass(frozen=True)
class Render(Command):
    """Film episodes of a trained policy, or of a task under a scripted or random controller.

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
    simulation: Simulation = Simulation()

    @property
    def folder(self) -> Path | None:
        """The run folder, if it is one."""
        return Path(self.what) if Path(self.what).exists() else None

    def check(self) -> None:
        """Refuses a film or picture that cannot be made."""
        check_count("--episodes", self.episodes)
        if self.folder:
            changed(load_any(self.folder), self.simulation.changes)
        if self.folder and self.controller:
            raise UserError(f"--controller needs a task, and {self.what} is a run.")
        if self.folder and isinstance(load_any(self.folder), DigitsConfig):
            check_drawing(self)
        else:
            check_film(self)

    def execute(self, console: Console) -> None:
        with film_explained():
            if self.folder and imitated(self.folder):
                path = render_imitation(self, self.folder)
            else:
                path = render_policy(self)
        console.print(f"Wrote {path}", soft_wrap=True)


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
    if command.folder:
        config = cast(TrainConfig | CloneConfig, load_any(command.folder))
    else:
        check_task(command.what, or_else="" if command.controller else "run folder or ")
        config = PRESETS[command.what]
        for option, given in (("--which", command.which), ("--near", command.near)):
            if given:
                raise UserError(f"{option} needs a run, and {command.what} is a task.")
    for episode in command.which:
        if not 0 <= episode < MOST_EPISODES:
            raise UserError(
                f"--which names {episode}; give episodes from 0 to {MOST_EPISODES - 1}."
            )
    picture = command.out and command.out.suffix == ".png"
    if command.at and not picture:
        raise UserError("--at is for pictures; give an --out that ends in .png, too.")
    if len(command.which) > 1 and picture:
        raise UserError("--which names several episodes, but a .png shows one; name one of them.")
    for step in command.at:
        if not 1 <= step <= config.episode_length:
            raise UserError(f"--at names step {step}; give 1 to {config.episode_length}.")


@contextmanager
def film_explained() -> Iterator[None]:
    """Turns what keeps a film from being made into a sentence."""
    from envs.camera import NoRenderer

    try:
        yield
    except NoRenderer as problem:
        raise UserError(f"No video: {problem}") from None


def render_imitation(command: Render, folder: Path) -> Path:
    """Of a run of `ndp imitate`; returns where the film or picture is."""
    from train.imitation.train import render

    make_folder_of(command.out)
    return render(
        folder,
        command.out,
        which=command.checkpoint,
        changes=command.simulation.changes,
        episodes=command.which or range(command.episodes),
        near=command.near,
        at=command.at or None,
        seed=command.seed,
    )


def render_policy(command: Render) -> Path:
    """Of a run of `ndp train` or of a task; returns where the film is."""
    from train.rl.film import film

    env, outcome, plan = learned(command, command.folder) if command.folder else controlled(command)
    name = f"{short(command.what)}-{command.controller or 'scripted'}.mp4"
    default = command.folder / "video.mp4" if command.folder else Path("runs") / name
    path = command.out or default
    make_folder_of(path)
    film(
        env,
        outcome,
        path,
        episodes=command.which or range(command.episodes),
        plan=plan,
        near=command.near,
        at=command.at or None,
    )
    return path


def learned(command: Render, folder: Path) -> "tuple[RobotEnv, Outcome, Plan | None]":
    """Episodes of a run's policy, and its plans."""
    from train.rl import memory
    from train.rl.evaluate import held_out_key, make_player
    from train.rl.film import plans_of
    from train.rl.train import load_run

    config, env, state = load_run(
        folder, which=command.checkpoint, changes=command.simulation.changes
    )
    key = held_out_key(config.seed if command.seed is None else command.seed)
    episodes = max(command.which, default=command.episodes - 1) + 1
    memory.check_play(env, num_envs=config.num_envs, episodes=episodes)
    outcome = make_player(env, config)(state, key, episodes=episodes)
    return env, outcome, plans_of(env, config, state, outcome)


def controlled(command: Render) -> "tuple[RobotEnv, Outcome, Plan | None]":
    """Episodes of a task under a controller, which plans nothing."""
    from train.rl import memory
    from train.rl.agent import make_env
    from train.rl.controllers import BATCH, make_controller, play
    from train.rl.evaluate import held_out_key

    task, name = command.what, command.controller or "scripted"
    config = PRESETS[task] if is_foreign(task) else IMITATED[task]
    env = make_env(physics.resolved(replaced(config, command.simulation.changes)))
    lanes = min(command.episodes, BATCH)
    memory.check_play(env, num_envs=lanes, episodes=command.episodes)
    control = make_controller(name, task, env)
    outcome = play(env, control, held_out_key(command.seed or 0), episodes=command.episodes)
    return env, outcome, None
