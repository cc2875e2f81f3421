"""Two processes that train together end, in every way, like one."""

import re
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import probing
import pytest

from train.cli import main
from train.rl.agent import hyperparameters
from train.rl.ppo import make_learner
from train.runs import checkpoint, metrics, run
from train.system import distributed

SHORT = "--num-envs 8 --steps 6000 --minibatches 4 --epochs 2 --eval-every 2 --eval-episodes 8"
LONG = SHORT.replace("6000", "600000")


def ndp(*arguments):
    """`ndp train` on a probe, in a process of its own."""
    command = [sys.executable, probing.__file__, "train", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def together(*arguments, processes=(0, 1)):
    """Those of two processes that are to come."""
    meeting = ["--distributed", "--coordinator", f"localhost:{free_port()}", "--processes", 2]
    return [ndp(*arguments, *meeting, "--process", i) for i in processes]


def ends(processes, *, within=600):
    """Exit codes, and what was said apart from Gloo's greeting."""
    said = [process.communicate(timeout=within) for process in processes]
    codes = [process.returncode for process in processes]
    out = [re.sub(r"\[Gloo\].*\n|\d+Expected.*\n| peer ranks.*\n", "", text) for text, _ in said]
    return codes, out, [err for _, err in said]


def state_of(folder):
    """Environment steps and parameters of the latest checkpoint."""
    config, env = run.load_config(folder), probing.Probe()
    learner = make_learner(env, config)
    template = jax.eval_shape(learner.init, jax.random.key(0), hyperparameters(config))
    with checkpoint.open_manager(folder, read_only=True) as manager:
        steps, state, _ = checkpoint.restore(manager, template, config=config)
    return steps, state


def until_row(folder, processes, *, steps):
    while metrics.last_row(folder, "metrics.csv").get("steps", 0) < steps:
        assert all(process.poll() is None for process in processes), ends(processes)
        time.sleep(0.1)


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    """Parameters after five updates to 1e-5, and each file written once."""
    alone, two = tmp_path / "alone", tmp_path / "two"
    single = ndp("push", *SHORT.split(), "--out", alone)
    codes, out, err = ends(together("push", *SHORT.split(), "--out", two))
    assert codes == [0, 0], err
    assert "Deterministic success" in out[0] and not out[1].strip()
    assert ends([single])[0] == [0]

    assert len(list(two.glob("events.*"))) == 1
    files = {path.name for path in alone.iterdir() if not path.name.startswith("events")}
    assert {path.name for path in two.iterdir() if not path.name.startswith("events")} == files
    for file in metrics.FILES:
        ours, theirs = metrics.read(two, file), metrics.read(alone, file)
        assert ours["steps"] == theirs["steps"]
        if file != "timing.csv":
            for name, column in theirs.items():
                np.testing.assert_allclose(ours[name], column, atol=1e-5, rtol=1e-4, err_msg=name)
    (steps, state), (steps_alone, state_alone) = state_of(two), state_of(alone)
    assert steps == steps_alone == 6000
    for part in ("params", "optimizer", "observation"):
        ours, theirs = getattr(state, part), getattr(state_alone, part)
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.slow
def test_what_two_began_one_continues_and_the_other_way_round(tmp_path):
    folder = tmp_path / "run"
    codes, _, err = ends(together("push", *SHORT.split(), "--out", folder))
    assert codes == [0, 0], err
    codes, _, err = ends([ndp("--resume", folder, "--steps", 8400)])
    assert codes == [0], err
    assert metrics.read(folder)["steps"] == [1200.0 * i for i in range(1, 8)]
    codes, _, err = ends(together("--resume", folder, "--steps", 10800))
    assert codes == [0, 0], err
    assert metrics.read(folder)["steps"] == [1200.0 * i for i in range(1, 10)]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_either_stops_both_with_a_checkpoint(tmp_path, number):
    pair = together("push", *LONG.split(), "--out", tmp_path / "run")
    until_row(tmp_path / "run", pair, steps=2400)
    pair[number == signal.SIGTERM].send_signal(number)
    codes, out, err = ends(pair)
    assert codes == [128 + number] * 2, err
    assert "Stopped; checkpoint saved." in out[0] and not out[1].strip()
    assert state_of(tmp_path / "run")[0] == metrics.read(tmp_path / "run")["steps"][-1]


@pytest.mark.parametrize("process", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_missing_process_is_one_sentence(tmp_path, process):
    arguments = ["push", *SHORT.split(), "--out", tmp_path / "run", "--join-seconds", 3]
    codes, _, err = ends(together(*arguments, processes=[process]))
    assert codes == [1]
    assert re.fullmatch(
        r"ndp: Not all 2 processes met at localhost:\d+ within 3 s; start those that are missing, "
        r"or wait longer with --join-seconds.\n",
        err[0],
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_process_that_dies_ends_the_other(tmp_path):
    pair = together("push", *LONG.split(), "--out", tmp_path / "run")
    until_row(tmp_path / "run", pair, steps=2400)
    pair[1].kill()
    codes, _, err = ends(pair)
    assert codes[0] == 1
    assert "ndp: Another process has ended, and with it the run." in err[0]


@pytest.mark.slow
def test_what_the_lead_refuses_all_refuse(tmp_path):
    (tmp_path / "run").mkdir()
    codes, _, err = ends(together("push", *SHORT.split(), "--out", tmp_path / "run" / "new"))
    assert codes == [0, 0], err
    rows = tmp_path / "run" / "new" / "metrics.csv"
    rows.write_text(rows.read_text().splitlines()[0] + "\n")
    codes, _, err = ends(together("--resume", rows.parent))
    assert codes == [2, 2]
    assert all("metrics.csv ends at 0 steps, but the checkpoint is of 6000" in said for said in err)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--coordinator host:1", "--coordinator needs --distributed."),
        ("--process 0", "--process needs --distributed."),
        ("--distributed --devices 2", "Leave out --devices: --distributed takes all devices"),
        ("--distributed --processes 2", "--processes needs --coordinator and --process, too."),
        (
            "--distributed --coordinator host --processes 2 --process 0",
            "--coordinator is host; it must be HOST:PORT.",
        ),
        (
            "--distributed --coordinator host:1 --processes 2 --process 2",
            "--process is 2; with --processes 2 it must lie between 0 and 1.",
        ),
        ("--distributed --join-seconds 0", "--join-seconds is 0; it must be at least 1."),
    ],
)
def test_what_cannot_be_meant_is_refused(capsys, tmp_path, arguments, sentence):
    assert main(["train", "push", "--out", str(tmp_path / "run"), *arguments.split()]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_processes_that_nobody_tells_of_are_refused(tmp_path):
    codes, _, err = ends([ndp("push", "--distributed", "--out", tmp_path / "run")])
    assert codes == [2]
    assert "give --coordinator, --processes and --process." in err[0]


@pytest.mark.parametrize("length", [0, 1, 1016, 1017, 5000])
def test_messages_of_any_length_arrive(length):
    message = bytes(range(256)) * 20
    assert distributed.tell(message[:length]) == message[:length]
