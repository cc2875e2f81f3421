import shlex

from rich.console import Console

from train.commands.command import farewell
from train.system.hints import hint


def test_a_hint_can_be_pasted(tmp_path):
    folder = tmp_path / "my runs" / "it's; a run"
    said = hint("render", folder, "--which", 3)
    assert shlex.split(said) == ["ndp", "render", str(folder), "--which", "3"]
    assert hint("plot", "runs/push-ndp-seed0") == "ndp plot runs/push-ndp-seed0"


def test_what_follows_a_run_can_be_pasted(tmp_path, capsys):
    folder = tmp_path / "a run"
    farewell(folder, Console())
    told = [shlex.split(line)[-3:] for line in capsys.readouterr().out.splitlines()[1:]]
    commands = ("evaluate", "render", "plot", "export")
    assert told == [["ndp", command, str(folder)] for command in commands]
