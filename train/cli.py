"""The `ndp` command. Heavy imports come only after the arguments have been understood."""

import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console

from train.commands.commands import (
    Bench,
    Command,
    Demos,
    Evaluate,
    Export,
    Imitate,
    Plot,
    Render,
    Resume,
    ResumeImitation,
    ResumeSweep,
    Sweep,
    Tasks,
    Train,
    check_command,
    parse,
)
from train.sweeps.grid import Grid
from train.system import runtime
from train.system.errors import Interrupted, Stopped, UserError
from train.system.hints import hint

if TYPE_CHECKING:
    from envs.base import MjxEnv
    from ndp_jax.policies import Plan
    from train.rl.evaluate import Outcome


def train(command: Train, console: Console) -> None:
    """`ndp train`."""
    from train.rl import loop
    from train.system import hosts

    with hosts.joined(command.hardware, command.config) as mesh:
        console.quiet = not hosts.leads()
        folder = loop.train(
            command.config, out=command.out, wandb=command.wandb, console=console, mesh=mesh
        )
    farewell(folder, console)


def resume(command: Resume, console: Console) -> None:
    """`ndp train --resume`."""
    from train.rl import loop
    from train.runs.run import load_config
    from train.system import hosts

    with hosts.joined(command.hardware, load_config(command.resume)) as mesh:
        console.quiet = not hosts.leads()
        folder = loop.resume(
            command.resume, steps=command.steps, wandb=command.wandb, console=console, mesh=mesh
        )
    farewell(folder, console)


def sweep(command: Sweep | ResumeSweep, console: Console) -> None:
    """`ndp sweep`."""
    from train.sweeps import sweep, sweep_figures, sweep_folder, table

    if isinstance(command, Sweep):
        done = sweep.sweep(
            cast(Grid, command.grid),
            out=command.out,
            halving=command.halving,
            devices=command.devices,
            console=console,
        )
    else:
        found = sweep_folder.load(command.resume)
        done = sweep.complete(found, devices=command.devices, console=console)
    console.print(table.summary(done))
    folder, best = done.folder, table.best(done)
    many = len({member.setting for member in done.runs}) > sweep_figures.MOST_CURVES
    some = f", the best {sweep_figures.MOST_CURVES} settings" if many else ""
    for line in (
        f"Table  {folder / 'table.csv'}",
        *([f"Curves {curves}{some}"] if (curves := folder / "curves.png").exists() else []),
        *([f"Figure {figure}"] if (figure := folder / "sweep.png").exists() else []),
        f"Next   {hint('train', '--config', folder / 'best.json')}",
        f"       {hint('render', best.folder)}",
    ):
        console.print(line, soft_wrap=True)


def imitate(command: Imitate | ResumeImitation, console: Console) -> None:
    """`ndp imitate`."""
    from train.imitation import imitate

    if command.grid if isinstance(command, Imitate) else command.sweep:
        imitate_many(command, console)
        return
    if isinstance(command, Imitate):
        folder = imitate.imitate(command.config, out=command.out, console=console)
    else:
        folder = imitate.resume(command.resume, steps=command.steps, console=console)
    farewell(folder, console)


def imitate_many(command: Imitate | ResumeImitation, console: Console) -> None:
    """`ndp imitate` of several settings or seeds."""
    from train.sweeps import imitation_sweep, imitation_table, sweep_folder, table

    if isinstance(command, Imitate):
        grid = cast(Grid, command.grid)
        done = imitation_sweep.sweep(grid, out=command.out, console=console)
    else:
        found = sweep_folder.load(command.resume)
        done = imitation_sweep.complete(found, console=console)
    console.print(imitation_table.summary(done))
    folder = done.folder
    for line in (
        f"Table  {folder / 'table.csv'}",
        *([f"Curves {curves}"] if (curves := folder / "curves.png").exists() else []),
        *([f"Figure {bars}"] if (bars := folder / "bars.png").exists() else []),
        f"Next   {hint('imitate', '--config', folder / 'best.json')}",
        f"       {hint('render', table.best(done).folder)}",
    ):
        console.print(line, soft_wrap=True)


def farewell(folder: Path, console: Console) -> None:
    """What a run has left, and what to do with it."""
    video = folder / "video.mp4"
    for line in (
        f"Curve  {folder / 'curve.png'}",
        *([f"Video  {video}"] if video.exists() else []),
        f"Next   {hint('evaluate', folder)}",
        f"       {hint('render', folder)}",
        f"       {hint('plot', folder)}",
        f"       {hint('export', folder)}",
    ):
        console.print(line, soft_wrap=True)


def demos(command: Demos, console: Console) -> None:
    """`ndp demos`."""
    import envs
    from train.imitation import demonstrations
    from train.rl.loop import load_run

    if command.run:
        config, env, state = load_run(command.run)
        demonstrator = demonstrations.policy(env, config, state)
    else:
        env, demonstrator = envs.make(command.task), demonstrations.script(command.task)
    noise = demonstrations.NOISE[command.task] if command.noise is None else command.noise
    recorded = demonstrations.record(
        env,
        command.task,
        demonstrator,
        episodes=command.episodes,
        seed=command.seed,
        noise=noise,
        images=command.images,
    )
    demonstrations.save(command.file, recorded)
    console.print(f"{command.episodes} of {recorded.played} episodes succeeded (noise {noise:g})")
    size = command.file.stat().st_size / 1e6
    console.print(f"Wrote {command.file} ({size:.1f} MB)", soft_wrap=True)


def evaluate(command: Evaluate, console: Console) -> None:
    """`ndp evaluate`."""
    if imitated(command.run):
        evaluate_imitation(command, console)
    else:
        evaluate_policy(command, console)


def imitated(folder: Path) -> bool:
    """Whether a run is one of `ndp imitate`."""
    from configs import TrainConfig
    from train.runs.run import load_any

    return not isinstance(load_any(folder), TrainConfig)


def evaluate_imitation(command: Evaluate, console: Console) -> None:
    """`ndp evaluate` of a run of `ndp imitate`."""
    from train.imitation import imitate
    from train.runs import run

    summary: dict[str, Any] = imitate.evaluate(command.run, which=command.checkpoint)
    best = "-best" if command.checkpoint == "best" else ""
    run.write_json(command.run / f"evaluation{best}.json", summary)
    if "success" in summary:
        from train.rl.evaluate import sentence

        console.print(f"Deterministic {sentence(summary)}", soft_wrap=True)
        return
    from train.imitation.digit_writing import sentence

    console.print(sentence(summary), soft_wrap=True)


def evaluate_policy(command: Evaluate, console: Console) -> None:
    """`ndp evaluate` of a run of `ndp train`."""
    from train.rl import memory
    from train.rl.evaluate import held_out_key, make_player, sentence, summarize
    from train.rl.loop import load_run
    from train.runs import run

    config, env, state = load_run(command.run, which=command.checkpoint)
    memory.check_play(env, num_envs=config.num_envs, episodes=command.episodes)
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
        again = hint("render", command.run, "--which", *failed)
        console.print(f"To see failures: {again}", soft_wrap=True)


def export(command: Export, console: Console) -> None:
    """`ndp export`."""
    if imitated(command.run):
        from train.imitation.imitate import export
    else:
        from train.rl.export import export

    make_folder_of(command.out)
    path = export(command.run, command.out, which=command.checkpoint)
    console.print(f"Wrote {path}", soft_wrap=True)


def render(command: Render, console: Console) -> None:
    """`ndp render`."""
    folder = Path(command.what)
    if folder.exists() and imitated(folder):
        path = render_imitation(command)
    else:
        path = render_policy(command)
    console.print(f"Wrote {path}", soft_wrap=True)


def render_imitation(command: Render) -> Path:
    """`ndp render` of a run of `ndp imitate`; returns where the film or picture is."""
    from envs.camera import NoRenderer
    from train.imitation import imitate

    make_folder_of(command.out)
    try:
        return imitate.render(
            Path(command.what),
            command.out,
            which=command.checkpoint,
            episodes=command.which or range(command.episodes),
            near=command.near,
            at=command.at or None,
            seed=command.seed,
        )
    except NoRenderer as problem:
        raise UserError(f"No video: {problem}") from None


def render_policy(command: Render) -> Path:
    """`ndp render` of a run of `ndp train` or of a task; returns where the film is."""
    from envs.camera import NoRenderer
    from train.rl.render import film

    folder = Path(command.what)
    of_a_run = folder.exists()
    env, outcome, plan = learned(command) if of_a_run else controlled(command)
    name = f"{command.what}-{command.controller or 'scripted'}.mp4"
    path = command.out or (folder / "video.mp4" if of_a_run else Path("runs") / name)
    make_folder_of(path)
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
    return path


def make_folder_of(path: Path | None) -> None:
    """Makes the folder of a file that somebody asked for."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)


def learned(command: Render) -> "tuple[MjxEnv, Outcome, Plan | None]":
    """Episodes of a run's policy, and its plans."""
    from train.rl import memory
    from train.rl.evaluate import held_out_key, make_player
    from train.rl.loop import load_run
    from train.rl.render import plans_of

    config, env, state = load_run(Path(command.what), which=command.checkpoint)
    key = held_out_key(config.seed if command.seed is None else command.seed)
    episodes = max(command.which, default=command.episodes - 1) + 1
    memory.check_play(env, num_envs=config.num_envs, episodes=episodes)
    outcome = make_player(env, config)(state, key, episodes=episodes)
    return env, outcome, plans_of(env, config, state, outcome)


def controlled(command: Render) -> "tuple[MjxEnv, Outcome, Plan | None]":
    """Episodes of a task under a controller, who plans nothing."""
    import envs
    from train.rl import memory
    from train.rl.controllers import BATCH, make_controller, play
    from train.rl.evaluate import held_out_key

    task, name = command.what, command.controller or "scripted"
    env = envs.make(task)
    lanes = min(command.episodes, BATCH)
    memory.check_play(env, num_envs=lanes, episodes=command.episodes)
    control = make_controller(name, task, env)
    outcome = play(env, control, held_out_key(command.seed or 0), episodes=command.episodes)
    return env, outcome, None


def plot(command: Plot, console: Console) -> None:
    """`ndp plot`."""
    if imitated(command.runs[0]):
        from train.imitation.imitation_figures import imitation_curves as curves
    else:
        from train.runs.plots import learning_curves as curves

    make_folder_of(command.out)
    curves(list(command.runs), command.out, statistic=command.statistic)
    console.print(f"Wrote {command.out}", soft_wrap=True)


def tasks(command: Tasks, console: Console) -> None:
    """`ndp tasks`."""
    del command
    from train.commands.tasks import table

    console.print(table())


def bench(command: Bench, console: Console) -> None:
    """`ndp bench`."""
    import jax

    import envs
    from configs.imitation import DigitsConfig
    from train.bench import bench

    jax.config.update("jax_enable_compilation_cache", False)  # compiling is measured, too
    if command.digits:
        from train.bench.bench_digits import bench_digits

        bench_digits(DigitsConfig(), console=console)
        return
    if not command.members:
        num_envs = command.num_envs or bench.ENVIRONMENTS
        bench.bench(command.tasks or envs.TASKS, num_envs=num_envs, console=console)
        return
    for task in command.tasks or ("push",):
        bench.bench_sweeps(command.learner(task), command.members, console=console)


ACTIONS = {
    Train: train,
    Resume: resume,
    Sweep: sweep,
    ResumeSweep: sweep,
    Imitate: imitate,
    ResumeImitation: imitate,
    Demos: demos,
    Evaluate: evaluate,
    Export: export,
    Render: render,
    Plot: plot,
    Tasks: tasks,
    Bench: bench,
}

WITHOUT_DEVICE = Plot | Tasks
"""Commands that compute nothing."""


def joins(command: Command) -> bool:
    """Whether other processes must be met before JAX looks for devices."""
    return isinstance(command, Train | Resume) and command.hardware.distributed


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `ndp`.

    Returns:
      Exit code: 0; 1 if the work cannot go on; 2 for a mistake of the user; 130 or 143 after an
      interruption.
    """
    runtime.prepare_terminal()
    console = Console(highlight=False, markup=False)
    arguments = sys.argv[1:] if arguments is None else arguments
    if [*arguments] == ["--version"]:
        print(f"ndp-jax {version('ndp-jax')}")
        return 0
    try:
        command = parse(arguments)
        with runtime.device_explained():
            check_command(command)
            runtime.prepare()
            if not isinstance(command, WITHOUT_DEVICE) and not joins(command):
                runtime.find_device()
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
    except BrokenPipeError:  # the reader of `ndp ... | head` has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
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
