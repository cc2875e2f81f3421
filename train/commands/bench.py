"""`ndp bench`."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console

from configs import PRESETS
from configs.base import Impl
from train.bench.sizes import Sizes, train_config
from train.commands.command import Command, check_count, check_task
from train.runs.checks import check
from train.runs.run import check_place
from train.system.errors import UserError

Name = Literal["dmp", "env", "train", "sweep", "startup", "success", "all"]

USES = {
    "dmp": {"batches"},
    "env": {"tasks", "num_envs", "impl"},
    "train": {"tasks", "num_envs", "impl"},
    "sweep": {"tasks", "num_envs", "impl", "members"},
    "startup": {"tasks", "num_envs", "impl"},
    "success": {"tasks", "num_envs", "impl"},
}
"""Options that mean something to a suite; `Sizes` has the same names."""


@dataclass(frozen=True)
class Bench(Command):
    """Measure speed next to peers; leaves JSON and a figure for each table."""

    tasks: tyro.conf.Positional[tuple[str, ...]] = ()
    """Task names; by default push, and for env all."""
    suite: Name = "all"
    """The primitive, environments, updates of a training, sweeps, the start of a run, or wall time
    to .8 success, which is not among all as it takes half an hour."""
    num_envs: tuple[int, ...] = ()
    """Environments stepped in parallel, one number or several."""
    batches: tuple[int, ...] = ()
    """Movements integrated at once, for dmp."""
    members: tuple[int, ...] = ()
    """Members trained at once, for sweep."""
    impl: Impl | None = None
    """Physics: C MuJoCo (c), MJX (jax) or MuJoCo Warp (warp); by default c and jax are compared."""
    thorough: bool = False
    """More sizes, for dmp, env and train; takes long."""
    out: Path = Path("bench")
    """Folder for JSON and figures."""

    @property
    def suites(self) -> list[str]:
        """Names of what is measured."""
        return [name for name in USES if name != "success"] if self.suite == "all" else [self.suite]

    def check(self) -> None:
        """Refuses what cannot be timed, or means nothing to the suite."""
        used = set().union(*(USES[name] for name in self.suites))
        for name in ("tasks", "num_envs", "batches", "members", "impl"):
            if getattr(self, name) and name not in used:
                option = "A task" if name == "tasks" else f"--{name.replace('_', '-')}"
                raise UserError(f"{option} means nothing to --suite {self.suite}; leave it out.")
        for name in ("num_envs", "batches", "members"):
            for value in getattr(self, name):
                check_count(f"--{name.replace('_', '-')}", value)
        for task in self.tasks:
            check_task(task)
        if set(self.suites) - {"dmp", "env"}:
            for task in self.tasks or ("push",):
                for num_envs in self.num_envs or (PRESETS[task].num_envs,):
                    check(train_config(task, num_envs, impl=self.impl or "auto", every_pass=False))
        check_place(self.out)

    def execute(self, console: Console) -> None:
        import jax

        from train.bench.report import report

        jax.config.update("jax_enable_compilation_cache", False)  # compiling is measured, too
        sizes = Sizes(**{name: getattr(self, name) for name in Sizes._fields})
        self.out.mkdir(parents=True, exist_ok=True)
        for name in self.suites:
            suite = importlib.import_module(f"train.bench.{name}").SUITE
            report(name, suite, suite.measure(sizes), self.out, console)
