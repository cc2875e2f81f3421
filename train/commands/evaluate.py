"""`ndp evaluate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from train.commands.command import Command, Simulation, check_count, imitated
from train.runs import physics
from train.runs.run import Which, changed, load_any, write_json
from train.system.errors import UserError
from train.system.hints import hint

EPISODES = 256
"""Played unless it is told how many."""


@dataclass(frozen=True)
class Evaluate(Command):
    """Play episodes with a trained policy and print how they went."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    episodes: int = EPISODES
    """Episodes to play."""
    stochastic: bool = False
    """Explore as in training instead of taking the action means."""
    checkpoint: Which = "latest"
    """The latest checkpoint, or the one of the best evaluation during training."""
    simulation: Simulation = Simulation()

    def check(self) -> None:
        """Refuses an evaluation that cannot be made."""
        check_count("--episodes", self.episodes)
        changed(load_any(self.run), self.simulation.changes)
        if not imitated(self.run):
            return
        for option, given in (
            ("--episodes", self.episodes != EPISODES),
            ("--stochastic", self.stochastic),
        ):
            if given:
                raise UserError(
                    f"{option} means nothing to {self.run}, a run of `ndp imitate`; leave it out."
                )

    def execute(self, console: Console) -> None:
        evaluate = evaluate_imitation if imitated(self.run) else evaluate_policy
        evaluate(self, console)


def evaluate_imitation(command: Evaluate, console: Console) -> None:
    """Of a run of `ndp imitate`."""
    from train.imitation.train import evaluate

    summary: dict[str, Any] = evaluate(
        command.run, which=command.checkpoint, changes=command.simulation.changes
    )
    best = "-best" if command.checkpoint == "best" else ""
    write_json(command.run / f"evaluation{best}.json", summary)
    if "success" in summary:
        from train.rl.evaluate import sentence

        console.print(f"Deterministic {sentence(summary)}", soft_wrap=True)
        return
    from train.imitation.digit_writing import sentence

    console.print(sentence(summary), soft_wrap=True)


def evaluate_policy(command: Evaluate, console: Console) -> None:
    """Of a run of `ndp train`."""
    from train.rl import memory
    from train.rl.evaluate import held_out_key, make_player, sentence, summarize
    from train.rl.train import load_run

    config, env, state = load_run(
        command.run, which=command.checkpoint, changes=command.simulation.changes
    )
    if hasattr(env, "impl"):
        console.print(physics.line(config))
    memory.check_play(env, num_envs=config.num_envs, episodes=command.episodes)
    play, key = make_player(env, config), held_out_key(config.seed)
    outcome = play(state, key, episodes=command.episodes, stochastic=command.stochastic)
    summary = summarize(outcome)
    best = "-best" if command.checkpoint == "best" else ""
    kind = "stochastic" if command.stochastic else "deterministic"
    exploring = "-stochastic" if command.stochastic else ""
    write_json(command.run / f"evaluation{best}{exploring}.json", summary)
    console.print(f"{kind.capitalize()} {sentence(summary)}", soft_wrap=True)
    if outcome.success is None:
        return
    failed = [str(episode) for episode in (outcome.success == 0).nonzero()[0][:8]]
    if failed and not command.stochastic and not best:
        again = hint("render", command.run, "--which", *failed)
        console.print(f"To see failures: {again}", soft_wrap=True)
