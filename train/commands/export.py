"""`ndp export`."""

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from train.commands.command import Command, check_file, imitated, make_folder_of
from train.runs.run import Which, load_any


@dataclass(frozen=True)
class Export(Command):
    """Write what was learned into one file that `ndp_jax.load_policy` reads, or `load_writer`."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    out: Path | None = None
    """File to write; by default policy.msgpack in the run folder."""
    checkpoint: Which = "latest"
    """The latest checkpoint, or the one of the best evaluation during training."""

    def check(self) -> None:
        load_any(self.run)
        check_file(self.out)

    def execute(self, console: Console) -> None:
        if imitated(self.run):
            from train.imitation.train import export
        else:
            from train.rl.export import export

        make_folder_of(self.out)
        path = export(self.run, self.out, which=self.checkpoint)
        console.print(f"Wrote {path}", soft_wrap=True)
