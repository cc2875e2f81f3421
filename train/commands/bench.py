"""`ndp bench`."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console

from configs.base import Impl
from train.bench.sizes import Sizes
from train.commands.command import Command, check_count, check_task
from train.runs.checks import check, is_foreign
from train.runs.run import check_place
from train.system.errors import UserError

TRAINING = {"tasks", "num_envs", "impl"}
USES = {
    "dmp": {"batches"},
    "env": TRAINING,
    "train": TRAINING,
    "sweep": TRAINING | {"members"},
    "startup": TRAINING,
    "success": TRAINING,
}
"""Suites, which are modules of `train.bench`, and the fields of `Sizes` that each of them reads."""


@dataclass(frozen=True)
class Bench(Command):
    """Measure speed next to peers; every table leaves its numbers as JSON, and a figure."""

    tasks: tyro.conf.Positional[tuple[str, ...]] = ()
    """Task names; by default push, and for env all."""
    suite: Literal["dmp", "env", "train", "sweep", "startup", "success", "all"] = "all"
    """The primitive, environments, updates, sweeps, the start of a run, or wall time to .8 success,
    which takes an hour and is not among all."""
    num_envs: tuple[int, ...] = ()
    """Environments stepped in parallel; one number or several."""
    batches: tuple[int, ...] = ()
    """Movements integrated at once, for dmp."""
    members: tuple[int, ...] = ()
    """Members trained at once, for sweep."""
    impl: Impl | None = None
    """Physics: C MuJoCo (c), MJX (jax) or MuJoCo Warp (warp); by default c next to jax, and auto
    for sweep."""
    thorough: bool = False
    """More sizes for dmp, env and train, which take an hour or more."""
    out: Path = Path("bench")
    """Folder for JSON and figures."""

    @property
    def suites(self) -> list[str]:
        """Names of what is measured."""
        return [name for name in USES if name != "success"] if self.suite == "all" else [self.suite]

    @property
    def sizes(self) -> Sizes:
        """How much of it."""
        return Sizes(**{name: getattr(self, name) for name in Sizes._fields})

    def check(self) -> None:
        """Refuses what cannot be timed, or means nothing to the suite."""
        used = {"thorough"}.union(*(USES[name] for name in self.suites))
        for name, value in self.sizes._asdict().items():
            option = f"--{name.replace('_', '-')}"
            if value and name not in used:
                given = value[0] if name == "tasks" else option
                raise UserError(f"{given} means nothing to --suite {self.suite}; leave it out.")
            if name in ("num_envs", "batches", "members"):
                for count in value:
                    check_count(option, count)
        for task in self.tasks:
            check_task(task)
            if is_foreign(task):
                raise UserError(f"{task} brings its own physics, which is not timed; leave it out.")
        if set(self.suites) - {"dmp", "env"}:
            for config in self.sizes.configs():
                check(config)
        check_place(self.out)

    def execute(self, console: Console) -> None:
        import jax

        from train.bench.report import report

        jax.config.update("jax_enable_compilation_cache", False)  # compiling is measured, too
        self.out.mkdir(parents=True, exist_ok=True)
        for name in self.suites:
            suite = importlib.import_module(f"train.bench.{name}").SUITE
            report(name, suite, suite.measure(self.sizes), self.out, console)
