"""Sweeps of `ndp imitate`: members, tables, figures, interruption."""

import csv
import dataclasses
import json
import signal

import imageio
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

from configs import IMITATED
from train.cli import main
from train.imitation import digit_writing
from train.imitation import train as imitation
from train.runs import metrics
from train.runs import run as run_
from train.sweeps import imitation as sweeps
from train.sweeps import table
from train.sweeps.folder import fresh
from train.sweeps.grid import lay_out

SMALL = ("--samples", "32", "--held-out", "8", "--batch", "16", "--hidden", "8")
SHORT = ("--model", "mlp-ndp", "--n-basis", "5", "--steps", "10", "--eval-every", "5")
OVER = ("--over.lr", "1e-3", "3e-2", "--seeds", "2")


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory):
    """Where digits are kept; rows of five steps; counts what is prepared."""
    prepare, prepared = imitation.prepare, []

    def counting(config):
        prepared.append(config)
        return prepare(config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(imitation, "ROW", 5)
        patch.setattr(imitation, "prepare", counting)
        yield prepared


def start(folder, *over):
    return main(["imitate", "digits", *SMALL, *SHORT, *over, "--out", str(folder)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory, quick):
    """A sweep without interruption."""
    folder = tmp_path_factory.mktemp("sweeps") / "whole"
    assert start(folder, *OVER) == 0
    assert len(quick) == 1, "one program for all"
    return folder


def rows(path):
    """Of a table, but for what the clock says."""
    with path.open(newline="") as file:
        return [
            {name: cell for name, cell in row.items() if not name.startswith("seconds")}
            for row in csv.DictReader(file)
        ]


def variables(folder):
    return imitation.restored(folder, "latest")[1]


def test_a_sweep_leaves_what_it_promises(whole):
    assert {path.name for path in whole.iterdir()} == {
        *("sweep.json", "members", "table.csv", "settings.csv", "table.json", "best.json"),
        "curves.png",
    }
    members = rows(whole / "table.csv")
    assert [(row["learning_rate"], row["seed"], row["steps"]) for row in members] == [
        (rate, seed, "10") for rate in ("0.001", "0.03") for seed in ("0", "1")
    ]
    for row in members:
        member = whole / "members" / row["member"]
        found = json.loads((member / "evaluation.json").read_text())
        assert (float(row["error"]), float(row["worst"])) == (found["error"], found["worst"])
        assert {"checkpoints", "curve.png", "digits.png"} <= {f.name for f in member.iterdir()}
    best, other = rows(whole / "settings.csv")
    assert float(best["error"]) < float(other["error"])
    for row in (best, other):
        errors = [float(m["error"]) for m in members if m["setting"] == row["setting"]]
        np.testing.assert_allclose(float(row["error"]), np.mean(errors))
        ends = [float(row["error_low"]), float(row["error_high"])]
        np.testing.assert_allclose(ends, sorted(errors))
    config = run_.read_imitation(whole / "best.json")
    assert f"{config.descent.learning_rate:g}" == best["learning_rate"]
    assert imageio.v3.imread(whole / "curves.png").std() > 5


def test_a_member_is_the_run_alone_bit_for_bit(whole, tmp_path):
    member = whole / "members" / "3-learning_rate0.03-seed1"
    assert start(tmp_path / "run", "--learning-rate", "3e-2", "--seed", "1") == 0
    jax.tree.map(np.testing.assert_array_equal, variables(member), variables(tmp_path / "run"))
    for file in ("metrics.csv", "evaluations.csv", "evaluation.json"):
        assert (member / file).read_bytes() == (tmp_path / "run" / file).read_bytes()


def test_interrupted_and_resumed_is_the_whole(whole, tmp_path, monkeypatch, capsys):
    folder, seen, summary = tmp_path / "sweep", [], imitation.summary_of

    def interrupting(made, state):
        seen.append(int(state.steps))
        if len(seen) == 3:
            signal.raise_signal(signal.SIGINT)
        return summary(made, state)

    with monkeypatch.context() as patch:
        patch.setattr(imitation, "summary_of", interrupting)
        assert start(folder, *OVER) == 130
    said = " ".join(capsys.readouterr().out.split())
    assert f"checkpoint saved. To continue: ndp imitate --resume {folder}" in said
    ended = list(folder.glob("members/*/evaluation.json"))
    assert [path.parent.name for path in ended] == ["0-learning_rate0.001-seed0"]
    before = ended[0].stat().st_mtime_ns
    assert main(["imitate", "--resume", str(folder)]) == 0
    assert ended[0].stat().st_mtime_ns == before, "what has ended is left as it is"
    said = capsys.readouterr().out
    assert "Member 1 of 4" not in said and "Continuing at 5 steps" in said
    assert "learning rate" in said and "Next   ndp imitate --config" in said
    for file in ("table.csv", "settings.csv"):
        assert rows(folder / file) == rows(whole / file)


def test_members_of_which_nothing_comes_do_not_stop_the_others(tmp_path, monkeypatch, capsys):
    make_loss = digit_writing.make_loss

    def poisoned(config):
        if config.pen.n_basis == 6:
            return lambda variables, batch, key: jnp.nan * optax.tree.norm(variables["params"])
        return make_loss(config)

    monkeypatch.setattr(digit_writing, "make_loss", poisoned)
    assert start(tmp_path / "sweep", "--over.n-basis", "6", "5", "--max-skipped", "5") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "minibatches were not finite" in said
    best, other = rows(tmp_path / "sweep" / "settings.csv")
    assert (best["n_basis"], best["steps"]) == ("5", "10") and float(best["error"]) > 0
    assert (other["n_basis"], other["steps"], other["error"]) == ("6", "5", "")
    assert (tmp_path / "sweep" / "curves.png").exists()


def test_what_cannot_be_learned_from_is_refused_before_a_folder_is_made(tmp_path, capsys):
    (tmp_path / "digits.mat").write_text("no digits")
    options = ("--data", str(tmp_path / "digits.mat"), "--seeds", "2")
    assert start(tmp_path / "sweep", *options) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "sweep").exists()


def finished(folder, config, *, success, error):
    """Leaves what a run of a clone leaves."""
    for steps in (1, 2):
        metrics.append(folder / metrics.METRICS, {"steps": steps, "loss": 1.0})
        metrics.append(folder / metrics.EVALUATIONS, {"steps": steps, "error": error / steps})
        timing = {"steps": steps, "seconds": 5.0 * steps, "evaluating": 1.0, "saving": 0.5}
        metrics.append(folder / metrics.TIMING, timing)
    ends = {"success_low": success - 0.1, "success_high": 1.0, "returns": 7.0, "distance": 0.01}
    content = {"success": success, **ends, "episodes": config.eval_episodes}
    run_.write_json(folder / "evaluation.json", content)


@pytest.mark.parametrize("axes", [{"policy": ("ndp", "nn")}, {"episodes": (20, 40)}])
def test_clones_are_compared_by_success(tmp_path, axes):
    bases = [dataclasses.replace(IMITATED[task], eval_episodes=8) for task in ("push", "throw")]
    grid = lay_out(bases, axes, seeds=2, samples=None)
    made = fresh(grid, tmp_path / "sweep", halving=False, versions={})
    for number, member in enumerate(made.runs):
        success, error = ((0.5, 0.2), (0.9, 0.3), (0.9, 0.1), (0.2, 0.1))[number // 2]
        finished(member.folder, member.config, success=success, error=error)
    sweeps.complete(made, console=Console(quiet=True))
    found = table.read(made)
    assert [row["setting"] for row in found["settings"]] == [2, 1, 0, 3]
    assert [row["success"] for row in found["settings"]] == [0.9, 0.9, 0.5, 0.2]
    member = found["members"][0]
    assert (member["error"], member["seconds"], member["success_low"]) == (0.1, 8.5, 0.4)
    (name,) = axes
    assert [row[name] for row in found["members"][::2]] == [*axes[name]] * 2
    view = table.summary(made)
    assert [column.header for column in view.columns][-2:] == ["success", "error"]
    assert (made.folder / "curves.png").exists()
    assert (made.folder / "bars.png").exists() == (name == "policy")
    if name == "policy":
        bars = sweeps.bars(made, found["members"])
        assert bars[0] == ("push", "ndp", (0.5, 0.5)) and len(bars) == 4


def test_clones_that_came_to_nothing_are_last(tmp_path):
    grid = lay_out([IMITATED["push"]], {"episodes": (20, 40)}, seeds=1, samples=None)
    made = fresh(grid, tmp_path / "sweep", halving=False, versions={})
    for member in made.runs:
        finished(member.folder, member.config, success=0.5, error=0.2)
    (made.runs[0].folder / "evaluation.json").unlink()
    table.write(made)
    rows = table.read(made)["settings"]
    assert [(row["setting"], row["success"]) for row in rows] == [(1, 0.5), (0, None)]
