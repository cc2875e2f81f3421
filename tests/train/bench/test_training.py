import re

import probes
from rich.console import Console

from train.bench import training


def test_an_update_is_timed_with_its_parts(capsys, monkeypatch):
    """Update, collection and physics, as if the clock had said so."""
    spent, measured = iter([2.0, 1.5, 1.0]), training.seconds

    def told(run):
        measured(run, repeats=1)
        return next(spent)

    monkeypatch.setattr(training, "make_env", lambda config: probes.RewardFromBoth())
    monkeypatch.setattr(training, "seconds", told)
    training.bench_training([probes.CONFIG], console=Console(width=120, force_terminal=False))
    shown = capsys.readouterr().out
    row = r"│ probe +│ 8 +│ \d+ s +│ 2\.00 s +│ 50 % +│ 25 % +│ 25 % +│ 20 +│"
    assert re.search(row, shown)
